"""Where tasks wait, in words: the second half of a deadlock's message."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

MOST_TASKS: Final = 20


def describe_tasks(loop: asyncio.AbstractEventLoop) -> str:
    """One line for each unfinished task of `loop`: its name, the calls down to where it waits, and what for."""
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: (len(task.get_name()), task.get_name()))
    lines = [f"\n  {task.get_name()}: {' > '.join(_calls(task.get_coro()))}{_cause(task)}" for task in tasks]
    if len(lines) > MOST_TASKS:
        lines[MOST_TASKS:] = [f"\n  ... and {len(lines) - MOST_TASKS} more"]
    return "".join(lines)


def _calls(awaitable: Any) -> Iterator[str]:
    """The frames from the outermost coroutine to the innermost."""
    while awaitable is not None:
        frame = getattr(awaitable, "cr_frame", None) or getattr(awaitable, "gi_frame", None)
        if frame is None:
            return
        path = Path(frame.f_code.co_filename)
        yield f"{frame.f_code.co_name} ({path.parent.name}/{path.name}:{frame.f_lineno})"
        awaitable = getattr(awaitable, "cr_await", None) or getattr(awaitable, "gi_yieldfrom", None)


def _cause(task: asyncio.Task[Any]) -> str:
    awaited = getattr(task, "_fut_waiter", None)
    if awaited is None:
        return ""
    if isinstance(awaited, asyncio.Task):
        return f" waits for {awaited.get_name()}"
    return f" waits for a {type(awaited).__name__}"
