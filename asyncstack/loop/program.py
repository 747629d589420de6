"""A program that runs unchanged: what of the world is the stack's, and which of its loops has the stack.

A program has one stack, and one event loop at a time can have it: the first that runs, until it is closed. Other loops
are plain ones meanwhile. Its sockets may be made and bound before any loop runs, so what is the stack's is known from
the settings alone.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from asyncstack.loop.choosing import plain
from asyncstack.loop.opening import Opening
from asyncstack.network.addresses import format_address, is_loopback, parse_address, parse_interface

if TYPE_CHECKING:
    from asyncstack.loop.settings import Settings
    from asyncstack.stack import Stack


class Territory:
    """What belongs to the stack that `settings` describe: names, addresses of its own, and where it has a route."""

    def __init__(self, settings: Settings) -> None:
        self._loopback = settings.loopback
        self._names = {name.lower(): found for name, found in settings.hosts.items()}
        own = list(settings.addresses)
        links = [] if settings.network is None else settings.network.links
        self._interfaces = range(2, 2 + len(settings.interface) + len(links))  # the first is `lo`
        self._networks = [ipaddress.ip_network((address, length), strict=False) for address, length in own]
        gateways = [parse_address(one) for interface in settings.interface for one in interface.gateway]
        self._default = {len(gateway) for gateway in gateways}
        self._hosts: list[bytes] = []  # of a simulated network
        if settings.network is not None:
            for name, addresses in settings.network.hosts.items():
                self._names[name.lower()] = [address.partition("/")[0] for address in addresses]
                self._hosts += [parse_interface(address)[0] for address in addresses]
        self._own = [*(address for address, _ in own), *self._hosts]  # the program's first

    def follow(self, stack: Stack) -> None:
        """Have it be what `stack` has, now and later: some of its addresses were not known before."""
        self._learn(stack)
        stack.subscribe(lambda event: self._learn(stack))

    def _learn(self, stack: Stack) -> None:
        own = [one for one in stack.addresses.local.values() if not is_loopback(one.address)]
        self._networks = [ipaddress.ip_network((one.address, one.prefix_length), strict=False) for one in own]
        self._default = {
            len(route.prefix) for route in stack.routes.routes() if route.gateway and not route.prefix_length
        }
        self._own = [*(one.address for one in own), *self._hosts]

    def local(self, host: object) -> bytes | None:
        """The address of the stack that binding to `host` means; any address is the stack's."""
        address = self._parse(host)
        if address is None or not any(address):
            return address
        return address if (self._loopback if is_loopback(address) else address in self._own) else None

    def remote(self, host: object) -> bytes | None:
        """The address that `host` is, if it is reached by the stack."""
        address = self._parse(host)
        if address is None or not any(address):
            return None
        if is_loopback(address):
            return address if self._loopback else None
        if address in self._own or len(address) in self._default:
            return address
        given = ipaddress.ip_address(address)
        return address if any(given in network for network in self._networks) else None

    def has_interface(self, which: bytes | int) -> bool:
        """Whether the stack has the interface with this address, or this index; 0: some."""
        if isinstance(which, bytes):
            return which in self._own
        return not which or which in self._interfaces

    def source(self, remote: bytes) -> bytes:
        """An address of the program's own to reach `remote` from."""
        given = ipaddress.ip_address(remote)
        near = [one for one, network in zip(self._own, self._networks, strict=False) if given in network]
        return next((one for one in [*near, *self._own] if len(one) == len(remote)), remote)

    def _parse(self, host: object) -> bytes | None:
        if not isinstance(host, str):
            return None
        try:
            return plain(parse_address(self._names.get(host.lower(), [host])[0] or "0.0.0.0"))
        except ValueError:
            return None


@dataclass(slots=True)
class Record:
    """What a socket was told: (host, port) of either end, and the backlog if it is to listen."""

    local: tuple[Any, ...]
    remote: tuple[Any, ...] | None = None
    backlog: int | None = None


Wish = tuple[Any, ...]  # the arguments of `setsockopt`
MOST_WISHES: Final = 1000  # of one socket


class Program:
    """The process that `asyncstack run` is. `loop` has the stack just now; `records` is what sockets were told; `tell`
    is told of what takes long."""

    def __init__(self, settings: Settings, tell: Callable[[str], object] | None = None) -> None:
        self.settings = settings
        self.tell = tell
        self.territory = Territory(settings)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.records: weakref.WeakKeyDictionary[socket.socket, Record] = weakref.WeakKeyDictionary()
        # what was set about groups on interfaces of the stack
        self.wishes: weakref.WeakKeyDictionary[socket.socket, list[Wish]] = weakref.WeakKeyDictionary()
        self._thread = 0
        self.failure: BaseException | None = None  # why the stack could not be opened
        self._process = os.getpid()
        self._lock = threading.Lock()

    def take(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether `loop` has the stack from now on. Raises RuntimeError in a child process."""
        if os.getpid() != self._process:
            raise RuntimeError(
                f"the stack lives in process {self._process}, and this is its child: run the program in one process "
                "(uvicorn without --workers and --reload, hypercorn with --workers 0, gunicorn not at all); "
                "`asyncstack serve --workers` shares a TUN between processes"
            )
        with self._lock:
            if self.loop is not None:
                return False
            self.loop, self._thread = loop, threading.get_ident()
            return True

    def end(self) -> None:
        """The program is over: a loop that it has not closed is, and with it the stack, its captures and devices."""
        loop = self.loop
        if loop is not None and not loop.is_running() and not loop.is_closed():
            loop.close()

    def is_loops_thread(self) -> bool:
        """Whether it is the calling one where the stack is served."""
        return self._thread == threading.get_ident()

    def release(self, loop: asyncio.AbstractEventLoop) -> None:
        """`loop` is closed."""
        with self._lock:
            if self.loop is loop:
                self.loop = None

    def refuse(self, what: str, where: tuple[Any, ...], advice: str) -> RuntimeError:
        """The error for a call that only a socket of the kernel can do. No OSError: of those, programs try again."""
        host, port = where[:2]
        host = f"[{host}]" if ":" in host else host
        return RuntimeError(f"{what} {host}:{port}, an address of the stack: {advice}")


class LeasedOpening(Opening):
    """Opens the program's stack on a loop if no other one has it."""

    def __init__(self, program: Program) -> None:
        super().__init__(program.settings, program.tell)
        self._program = program
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """As `Opening.open`, or nothing."""
        try:
            if self._program.take(loop):
                self._loop = loop
                super().open(loop)
        except BaseException as exc:
            self._program.failure = exc
            raise

    async def configure(self) -> None:
        """As `Opening.configure`."""
        try:
            await super().configure()
        except BaseException as exc:
            self._program.failure = exc
            raise
        if self.stack is not None:
            self._program.territory.follow(self.stack)

    async def close(self) -> None:
        """As `Opening.close`."""
        try:
            await super().close()
        finally:
            if self._loop is not None:
                self._program.release(self._loop)


def name_of(address: bytes, port: int, family: int) -> tuple[Any, ...]:
    """What `getsockname` gives for it on a socket of `family`."""
    host = format_address(address)
    if family == socket.AF_INET6:
        host = "::" if not any(address) else f"::ffff:{host}" if len(address) == 4 else host
        return host, port, 0, 0
    return host, port
