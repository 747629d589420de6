"""What `asyncstack serve` serves: a folder, or `module:attribute`."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from typing import Any

from asyncstack.cli.running import Handler, fail


def load_target(target: str) -> Handler:
    """`handler(reader, writer)` for `target`: a folder of static files, a coroutine function, or an HTTP application.

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
    if not inspect.iscoroutinefunction(found):
        fail(
            f"{target} is no async handler(reader, writer) and no asyncstack HTTP application, but {found!r}"
        )
    if len(inspect.signature(found).parameters) != 2:
        fail(f"{target} takes other arguments than (reader, writer)")
    handler: Handler = found
    return handler


def _load(module_name: str, attribute: str) -> Any:
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as exc:
        if exc.name is not None and module_name.split(".")[0] == exc.name.split(".")[0]:
            fail(f"no module {exc.name!r}, looked for from {os.getcwd()}")
        raise
    for name in attribute.split("."):
        if not hasattr(found, name):
            fail(f"module {module_name!r} has no attribute {attribute!r}")
        found = getattr(found, name)
    return found
