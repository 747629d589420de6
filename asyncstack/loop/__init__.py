"""Event loops that route by address: asyncio's calls go to a stack when the address belongs to it, else to the kernel.

`EventLoop` is uvloop's with that; `SelectorEventLoop` the standard library's; `testing.VirtualTimeLoop` has it too.

- `routing`      the calls that name an address; `sockets` those on sockets
- `choosing`     whose address it is
- `adoption`     sockets of the kernel that a stack's take the place of; `adopted`, `kernel_sockets`
- `opening`      a stack that a loop has from its first turn to its end
- `waiting`      what happens while addresses are waited for
- `settings`     what that stack is, in environment variables or TOML; `tables` reads them
- `running`      `asyncstack.run`
- `program`      a program that runs unchanged (`asyncstack run`) and its stack
- `replacing`    what stands in the place of asyncio's, uvloop's and socket's classes there
- `recording`    its sockets; `relaying` for those of threads
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncstack.loop.loops import EventLoop


def new_event_loop() -> EventLoop:
    """An `EventLoop`, in the shape that `asyncio.Runner(loop_factory=…)` and `uvicorn --loop` ask for.

    Its stack is what the environment says, see `asyncstack.loop.settings`; without such variables it has none, until
    one is made on it. Raises SettingsError, OSError.
    """
    from asyncstack.loop.loops import EventLoop
    from asyncstack.loop.opening import Opening
    from asyncstack.loop.settings import Settings

    settings = Settings.from_environment(os.environ)
    return EventLoop(opening=None if settings is None else Opening(settings))
