"""What stands in other things' places in a program that runs unchanged: loop classes of asyncio and uvloop, `socket`.

A policy alone would be passed by: uvicorn and others take a loop's factory, or its class, from the module. So the
classes are replaced where the modules have them, and the factories and policies find them there. Nothing of this
happens but by `replaced`, which is for a process of one program.
"""

from __future__ import annotations

import asyncio
import asyncio.unix_events
import importlib
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import uvloop

from asyncstack.loop.loops import EventLoop, SelectorEventLoop
from asyncstack.loop.program import LeasedOpening, Program
from asyncstack.loop.recording import socket_class

if TYPE_CHECKING:
    Base = EventLoop
else:
    Base = asyncio.AbstractEventLoop

ELSEWHERE = "another event loop of this program has the stack, or had it and was not closed; use that one"


class ProgramLoop(Base):
    """A mix-in before a loop class: the loop has the program's stack if no other has it. One without refuses what would
    be that stack's, rather than ask the kernel for it."""

    program: ClassVar[Program]

    def __init__(self, *args: Any, **kwds: Any) -> None:
        super().__init__(*args, opening=LeasedOpening(self.program), **kwds)

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **kwds: Any
    ) -> Any:
        """As asyncio's."""
        self._check_mine("create_connection() to", self.program.territory.remote(host), host, port)
        return await super().create_connection(protocol_factory, host, port, **kwds)

    async def create_server(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **kwds: Any
    ) -> Any:
        """As asyncio's."""
        local = self.program.territory.local(host)
        self._check_mine("create_server() at", local if local and any(local) else None, host, port)
        return await super().create_server(protocol_factory, host, port, **kwds)

    async def create_datagram_endpoint(
        self, protocol_factory: Any, local_addr: Any = None, remote_addr: Any = None, **kwds: Any
    ) -> Any:
        """As asyncio's."""
        for what, named in (("to", remote_addr), ("at", local_addr)):
            if isinstance(named, tuple):
                ours = self.program.territory.remote(named[0])
                self._check_mine(f"create_datagram_endpoint() {what}", ours, *named[:2])
        return await super().create_datagram_endpoint(protocol_factory, local_addr, remote_addr, **kwds)

    def _check_mine(self, what: str, ours: bytes | None, host: Any, port: Any) -> None:
        if ours is not None and not self.stacks:
            raise self.program.refuse(what, (host, port), ELSEWHERE)


@contextmanager
def replaced(program: Program) -> Iterator[None]:
    """In this process, loops have the stack of `program`, and sockets know its addresses."""
    # a loop with a clock of its own is none of the program's
    importlib.import_module("asyncstack.testing.clock")
    fields = {"program": program}
    selector = type("SelectorEventLoop", (ProgramLoop, SelectorEventLoop), fields)
    fast = type("Loop", (ProgramLoop, EventLoop), fields)
    made = socket_class(program)
    places: list[tuple[Any, str, Any]] = [
        (asyncio, "SelectorEventLoop", selector),
        (asyncio.unix_events, "SelectorEventLoop", selector),
        (_default_policy(), "_loop_factory", selector),
        (uvloop, "Loop", fast),
        (socket, "socket", made),
    ]
    if hasattr(asyncio, "EventLoop"):  # since Python 3.13
        places.append((asyncio, "EventLoop", selector))
    before = [(where, name, getattr(where, name)) for where, name, _ in places]
    _let_be_sent(made)
    for where, name, value in places:
        setattr(where, name, value)
    try:
        yield
    finally:
        program.end()
        for where, name, value in before:
            setattr(where, name, value)


def _default_policy() -> Any:
    """The class of asyncio's own policy, which has had two names."""
    module: Any = asyncio.unix_events
    return getattr(module, "_UnixDefaultEventLoopPolicy", None) or module._DefaultEventLoopPolicy


def _let_be_sent(made: type[socket.socket]) -> None:
    """Let the kernel's sockets go to child processes as before, if that was arranged for already."""
    reduction: Any = sys.modules.get("multiprocessing.reduction")
    if reduction is not None:
        reduction.register(made, reduction._reduce_socket)
