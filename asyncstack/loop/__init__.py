"""Event loops that route by address: asyncio's calls go to a stack when the address belongs to it, else to the kernel.

`EventLoop` is uvloop's with that; `SelectorEventLoop` the standard library's; `testing.VirtualTimeLoop` has it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncstack.loop.loops import EventLoop


def new_event_loop() -> EventLoop:
    """An `EventLoop`, in the shape that `asyncio.Runner(loop_factory=…)` and `uvicorn --loop` ask for."""
    from asyncstack.loop.loops import EventLoop

    return EventLoop()
