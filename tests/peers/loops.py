"""Event loops for the tests of the peers: asyncstack's, each with a stack that shares 127.0.0.1 with the kernel."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, ClassVar

import uvloop

import asyncstack.calls
import asyncstack.stack
from asyncstack import EventLoop, SelectorEventLoop, Stack, StackConfig
from asyncstack.transport.tcp.server import Server
from tests.peers.shared import STACK_PORTS, SharedLoopback, Switch, share_loopback

CONFIG = StackConfig(ephemeral_ports=STACK_PORTS, close_timeout=0.2, memory=4 << 30)


class WithStack(asyncio.AbstractEventLoop):
    """Opens a stack as the loop is made, closes it with the loop."""

    switch: ClassVar[Switch]
    newest: ClassVar[WithStack | None] = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._stack: Stack | None = None
        self.thread = threading.current_thread()
        WithStack.newest = self
        if asyncio._get_running_loop() is None:
            self.run_until_complete(self._open())

    async def _open(self) -> None:
        self._stack = stack = Stack(CONFIG)
        self.stacks.loopback = stack
        device = stack.interfaces[0].device
        assert isinstance(device, SharedLoopback)
        device.share(stack, self.switch)

    def close(self) -> None:
        stack, self._stack = self._stack, None
        if stack is not None and not self.is_closed() and not self.is_running():
            self.run_until_complete(stack.close())
        super().close()


class PeerServer(Server):
    """Has the name of `asyncio.Server`'s own that a test looks at."""

    @property
    def _sockets(self) -> object:
        return self.sockets or None


class PeerSelectorEventLoop(WithStack, SelectorEventLoop):
    """In the place of asyncio.SelectorEventLoop, which some tests tell by its module."""

    __module__ = asyncio.SelectorEventLoop.__module__


class PeerEventLoop(WithStack, EventLoop):
    """In the place of uvloop.Loop, and of asyncio's loops: those are told of a selector."""

    def __init__(self, selector: object = None) -> None:
        super().__init__()


KINDS: dict[str, type[WithStack]] = {"selector": PeerSelectorEventLoop, "uvloop": PeerEventLoop}


def replace_factories(kind: str) -> None:
    """Have every way to make a loop make one of ours, in this process, which is to be in a namespace of its own."""
    made = KINDS[kind]
    WithStack.switch = share_loopback()
    asyncstack.stack.LoopbackDevice = SharedLoopback
    asyncstack.calls.Server = PeerServer
    asyncio.SelectorEventLoop = asyncio.unix_events.SelectorEventLoop = made
    asyncio.DefaultEventLoopPolicy._loop_factory = made
    uvloop.new_event_loop = made
