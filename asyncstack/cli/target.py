"""What `asyncstack serve` serves: a folder, or `module:attribute`."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from asyncstack.cli.running import fail

_NOTHING: Final = object()

Handler = Callable[[StreamReader, StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class AsgiApplication:
    """What uvicorn is to run, by which version of ASGI."""

    app: Any
    interface: Literal["asgi2", "asgi3"]


def load_target(target: str) -> Handler | AsgiApplication:
    """What `target` names: a folder of static files, `handler(reader, writer)`, an asyncstack HTTP application, or an
    ASGI application.

    Modules are found from the current folder first. Ends the program with one line when there is no such thing.
    """
    from asyncstack.application.http import Application, StaticFiles

    if os.path.isdir(target):
        app = Application()
        app.mount("/", StaticFiles(target))
        return app.handle
    module_name, colon, attribute = target.partition(":")
    if not colon or not attribute:
        fail(f"{target!r} is neither a folder nor module:attribute")
    found = _load(module_name, attribute)
    if isinstance(found, Application):
        return found.handle
    interface = _asgi_interface(found)
    if interface is not None:
        return AsgiApplication(found, interface)
    if not inspect.iscoroutinefunction(found):
        fail(
            f"{target} is no async handler(reader, writer), no ASGI application and no asyncstack HTTP application, "
            f"but {found!r}"
        )
    if not _takes(found, 2):
        fail(f"{target} takes other arguments than (reader, writer), or (scope, receive, send) of ASGI")
    handler: Handler = found
    return handler


def _asgi_interface(found: Any) -> Literal["asgi2", "asgi3"] | None:
    """The version of an ASGI application: 3 for a coroutine function, an object whose `__call__` is one, or a class
    that can be awaited, of (scope, receive, send); 2 for a class of (scope,) with `__call__(receive, send)`."""
    if inspect.isclass(found):
        if hasattr(found, "__await__"):
            return "asgi3" if _takes(found, 3) else None
        return "asgi2" if inspect.iscoroutinefunction(found.__call__) and _takes(found, 1) else None
    if not callable(found) or not _takes(found, 3):
        return None
    if inspect.iscoroutinefunction(found):  # a handler may have one more argument, with a default
        return None if _takes(found, 2) else "asgi3"
    return "asgi3" if inspect.iscoroutinefunction(found.__call__) else None


def _takes(found: Any, count: int) -> bool:
    """Whether `found` can be called with `count` positional arguments."""
    try:
        inspect.signature(found).bind(*[None] * count)
    except (TypeError, ValueError):
        return False
    return True


def _load(module_name: str, attribute: str) -> Any:
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as exc:
        if exc.name is not None and module_name.split(".")[0] == exc.name.split(".")[0]:
            fail(f"no module {exc.name!r}, looked for from {os.getcwd()}")
        raise
    for name in attribute.split("."):
        found = getattr(found, name, _NOTHING)  # once: a module may make it just now
        if found is _NOTHING:
            fail(f"module {module_name!r} has no attribute {attribute!r}")
    return found
