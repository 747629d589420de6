"""A loop that has its stack from the first turn on to its end, as its settings say.

Whoever makes a loop (`asyncio.Runner`, uvicorn) has the program's first task made before anything runs, so a stack that
was opened by a task would come too late. It is opened before the loop turns at all: what has to be waited for, the
kernel's side of a TUN or TAP, is waited for by a thread. It is closed when nothing of the program is left to run: with
the default executor, whose threads write captures, else with the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from asyncio import SelectorEventLoop  # the standard library's own, whatever stands in its place later
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any, cast

from asyncstack.application.forwarder import Forwarder
from asyncstack.errors import os_error
from asyncstack.events import Event, InterfaceUp
from asyncstack.link.capture import Capture
from asyncstack.link.device import Device
from asyncstack.link.tap import TapDevice
from asyncstack.link.tun import TunDevice
from asyncstack.loop.settings import host_port
from asyncstack.loop.waiting import interrupting, telling
from asyncstack.stack import Stack
from asyncstack.testing.network import Network

if TYPE_CHECKING:
    from asyncstack.loop.settings import InterfaceSettings, NetworkSettings, PublishSettings, Settings


class Opening:
    """What settings open, once. `stack` is the program's own. `tell` is told of what takes long."""

    def __init__(self, settings: Settings, tell: Callable[[str], object] | None = None) -> None:
        self.settings = settings
        self._tell = tell
        self.stack: Stack | None = None
        self._network: Network | None = None
        self._devices: list[Device] = []  # open and not yet a stack's
        self._captures: list[Capture] = []
        self._listening: list[tuple[PublishSettings, socket.socket]] = []
        self._published = AsyncExitStack()
        self._starting: asyncio.Task[None] | None = None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Open all of it; the loop does not run yet. What was opened before an error is given back by `close`.

        Raises OSError, ValueError: see `Stack.add_interface`, `Network.link`.
        """
        settings, network = self.settings, self.settings.network
        if settings.interface:
            self._devices = [_device(one) for one in settings.interface if not one.words]
            _in_thread(self._open_devices, loop)
        with _running(loop):
            if network is None:
                self.stack = Stack(settings.stack)
            else:
                self.stack = self._make_network(network)
            names = cast("dict[str, list[str]]", self.stack.names.table)
            names.update({name.lower(): addresses for name, addresses in settings.hosts.items()})
            for one in settings.interface:
                if one.words:
                    continue
                interface = self.stack.attach(self._devices[0], one.addresses, one.gateway)
                del self._devices[0]
                if one.capture is not None:
                    self._capture(one.capture).attach(interface)
            stacks = getattr(loop, "stacks", None)
            if settings.loopback and stacks is not None:
                stacks.loopback = True
        if network is not None:
            for publish in network.publish:
                self._listening.append((publish, _listen(*host_port(publish.at))))
        self._starting = loop.create_task(self._start())

    @property
    def waits(self) -> bool:
        """Whether there are addresses to wait for, by `configure`."""
        return any(one.words for one in self.settings.interface)

    async def configure(self) -> None:
        """Add the interfaces whose addresses others give; the loop runs, and of the program nothing does yet.

        Raises as `Stack.add_interface`.
        """
        stack = self.stack
        if stack is None:
            return
        for one in self.settings.interface:
            if one.words:
                ends = _captured(stack, self._capture(one.capture)) if one.capture is not None else None
                with telling(one.words, one.tap or "", self._tell):
                    await stack.add_interface(_device(one), one.addresses, one.gateway)
                if ends is not None:
                    ends()

    async def _open_devices(self, loop: asyncio.AbstractEventLoop) -> None:
        for device in self._devices:
            await device.open(loop)

    def _make_network(self, settings: NetworkSettings) -> Stack:
        """The hosts and links; the program's host is the first stack of the loop, hence its current one."""
        self._network = network = Network(settings.seed, config=self.settings.stack)
        order = sorted(settings.hosts, key=lambda name: name != settings.program)
        hosts = {name: network.host(name, *settings.hosts[name]) for name in order}
        for link in settings.links:
            a, b = link.between
            network.link(hosts[a], hosts[b], mtu=link.mtu, ethernet=link.ethernet, **link.impairments())
        if settings.capture is not None:
            self._captures.append(network.capture(_writable(settings.capture)))
        return hosts[settings.program]

    def _capture(self, path: str) -> Capture:
        capture = Capture(_writable(path))
        self._captures.append(capture)
        return capture

    async def _start(self) -> None:
        """What needs the loop to run, and keeps nobody waiting: what comes meanwhile is kept."""
        for capture in self._captures:
            await capture.start()
        while self._listening:
            publish, sock = self._listening.pop()
            forwarder = Forwarder(self._via(publish), *host_port(publish.to), sock=sock)
            await self._published.enter_async_context(forwarder)

    def _via(self, publish: PublishSettings) -> Stack:
        """The host that connects in the place of the kernel's clients."""
        assert self._network is not None
        hosts = self._network.hosts
        if publish.via is not None:
            return hosts[publish.via]
        target = hosts[next(iter(hosts))].names.resolve(host_port(publish.to)[0])[0]
        others = [host for host in hosts.values() if not host.addresses.is_local(target)]
        return next((host for host in others if host.routes.reaches(target)), next(iter(hosts.values())))

    async def close(self) -> None:
        """Give everything back; connections end in order within `StackConfig.close_timeout` seconds."""
        async with AsyncExitStack() as closing:
            for device in self._devices:
                closing.push_async_callback(device.close)
            for capture in self._captures:
                closing.push_async_callback(capture.close)
            for end in (self._network or self.stack, self.stack):
                if end is not None:
                    closing.push_async_callback(end.close)
            closing.push_async_callback(self._published.aclose)
            closing.push_async_callback(self._end_start)

    async def _end_start(self) -> None:
        try:
            if self._starting is not None:
                await asyncio.wait([self._starting])
        finally:
            for _, sock in self._listening:  # of a start that failed
                sock.close()


class OpeningLoop(asyncio.AbstractEventLoop):
    """A mix-in before a loop class: `opening` is opened before the loop's first turn, and closed at its end."""

    def __init__(self, *args: Any, opening: Opening | None = None, **kwds: Any) -> None:
        super().__init__(*args, **kwds)
        self._opening = opening
        self._opened: Opening | None = None
        self._held: list[asyncio.Handle] = []
        if opening is not None and opening.waits:
            self.call_soon = self._hold  # type: ignore[method-assign,assignment]

    def run_forever(self) -> None:
        """As asyncio's. The first time, `opening` is opened before anything else, which may raise its errors."""
        if self._opening is not None and asyncio._get_running_loop() is None:  # else this one will not run
            self._opened, self._opening = self._opening, None
            if self._opened.waits:
                self._open_and_wait(self._opened)
            else:
                self._opened.open(self)
        super().run_forever()

    def _open_and_wait(self, opened: Opening) -> None:
        """The loop turns already while addresses are waited for; the program's first steps are held back until then."""
        del self.call_soon
        try:
            opened.open(self)
            waiting = self.create_task(opened.configure())
            with interrupting(waiting):
                self.run_until_complete(waiting)
        finally:
            for handle in self._held:
                self.call_soon(_run_held, handle)
            self._held.clear()

    def _hold(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._held.append(handle)
        return handle

    async def shutdown_default_executor(self, *args: Any, **kwds: Any) -> None:
        """As asyncio's; the loop's own stack is closed before."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()
        await super().shutdown_default_executor(*args, **kwds)

    def close(self) -> None:
        """As asyncio's. Connections of the loop's own stack end in order before, which takes a moment."""
        opened = None if self.is_running() else self._opened
        try:
            if opened is not None:
                self._opened = None
                self.run_until_complete(opened.close())
        finally:
            super().close()


def _run_held(handle: asyncio.Handle) -> None:
    if not handle.cancelled():
        handle._run()


@contextmanager
def _running(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """`loop` is the running one for those who ask, as a stack does."""
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(before)


def _in_thread(work: Any, *args: Any) -> None:
    """Run the coroutine function `work` to its end, in a thread: this one's loop is not to turn."""

    def run() -> None:
        with asyncio.Runner(loop_factory=SelectorEventLoop) as runner:
            runner.run(work(*args))

    with ThreadPoolExecutor(1, "asyncstack-opening") as pool:
        pool.submit(run).result()


def _captured(stack: Stack, capture: Capture) -> Callable[[], None]:
    """Capture what the next interface sends and receives from its first packet on. Returns what ends the waiting."""

    def told(event: Event) -> None:
        if isinstance(event, InterfaceUp):
            capture.attach(event.interface)

    return stack.subscribe(told)


def _device(settings: InterfaceSettings) -> Device:
    peer, mtu, offload = settings.peer or None, settings.mtu, settings.offload
    if settings.tap is None:
        return TunDevice(settings.tun or "", peer=peer, mtu=mtu, offload=offload)
    return TapDevice(settings.tap, peer=peer, mtu=mtu, offload=offload, address=settings.mac)


def _listen(host: str, port: int) -> socket.socket:
    """A kernel socket that listens, so that a port that is taken is known at once."""
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return socket.create_server(infos[0][4][:2], family=infos[0][0], backlog=100)
    except OSError as exc:
        reason = exc.strerror if isinstance(exc, socket.gaierror) else os_error(exc.errno or 0).strerror
        raise OSError(exc.errno, f"{reason}: publish on {host} port {port}") from None


def _writable(path: str) -> str:
    """`path`, which can be written to. Raises OSError now, rather than when nobody looks any more."""
    with open(path, "wb"):
        return path
