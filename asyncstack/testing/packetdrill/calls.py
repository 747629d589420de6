"""System calls of scripts over `stack.socket`: sockets, their names, options and ends.

`SystemCalls.call` runs one and gives what it returned; a failed one raises its OSError. What a call writes to memory of
its caller (an option, an event) is held against the script on the spot, which raises Mismatch. What goes out and
comes in is in transfers.py, what waits for several descriptors in polling.py.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from asyncstack.errors import os_error
from asyncstack.stack import Stack
from asyncstack.testing.packetdrill.constants import constant, number
from asyncstack.testing.packetdrill.polling import Epoll, poll_sockets
from asyncstack.testing.packetdrill.report import Mismatch
from asyncstack.testing.packetdrill.script import (
    DOTS,
    Applied,
    CallLine,
    ScriptError,
    Struct,
    UnsupportedError,
    Word,
)
from asyncstack.testing.packetdrill.settings import Settings
from asyncstack.testing.packetdrill.transfers import Transfers

_UNSUPPORTED: Final = {
    "splice": "splice",
    "sendfile": "sendfile",
    "vmsplice": "splice",
    "pipe": "pipes",
    "dup": "dup",
    "open": "files",
    "cap_set": "capabilities",
}


@dataclass(slots=True)
class World:
    """Where a script's `...` lead: the addresses of both ends, and the ports it binds and connects to."""

    local: str
    remote: str
    family: int  # of socket(...)
    local_port: int = 8080
    remote_port: int = 8080
    mapped: bool = False  # IPv4 through IPv6 sockets


class SystemCalls:
    """The descriptors of one script. `last` is the one named last."""

    def __init__(
        self, stack: Stack, settings: Settings, world: World, named: Callable[[str, Any, CallLine], None]
    ) -> None:
        self.stack = stack
        self._settings = settings
        self.world = world
        self.files: dict[int, Any] = {}
        self.last = -1
        self._named = named  # told of calls that begin a flow, before they run
        self._transfers = Transfers(self)

    def call(self, line: CallLine) -> Awaitable[int]:
        """Start a call. Raises UnsupportedError, ScriptError."""
        method = getattr(self, f"_{line.name}", None) or getattr(self._transfers, line.name, None)
        if line.name in _UNSUPPORTED or method is None:
            raise UnsupportedError(_UNSUPPORTED.get(line.name, f"the system call {line.name}"))
        self._check_count(line)
        self._named(line.name, self._first_file(line), line)
        result: Awaitable[int] = method(line)
        return result

    def _check_count(self, line: CallLine) -> None:
        least = 1 if line.name in ("close", "epoll_create", "epoll_create1") else 2
        if len(line.arguments) < least:
            raise ScriptError(f"{line.name}() with {len(line.arguments)} arguments")

    def _first_file(self, line: CallLine) -> Any:
        first = line.arguments[0] if line.arguments else None
        if isinstance(first, int) and first in self.files:
            self.last = first
            return self.files[first]
        return None

    def file(self, line: CallLine, at: int = 0) -> Any:
        """The socket that an argument names. Raises OSError EBADF."""
        found = self.files.get(number(line.arguments[at]))
        if found is None:
            raise os_error(errno.EBADF)
        return found

    # making and ending

    async def _socket(self, line: CallLine) -> int:
        family, kind, protocol = line.arguments
        made = self.stack.socket(
            self.world.family if family is DOTS else number(family), number(kind), number(protocol)
        )
        return self._adopt(made, line.result)

    def _adopt(self, made: Any, wanted: Any) -> int:
        """Give a new file the descriptor that the script expects, else the lowest that is free."""
        fd = wanted if isinstance(wanted, int) and wanted >= 0 and wanted not in self.files else 3
        while fd in self.files:
            fd += 1
        self.files[fd] = made
        self.last = fd
        return fd

    async def _close(self, line: CallLine) -> int:
        closed = self.file(line)
        del self.files[number(line.arguments[0])]
        closed.close()
        return 0

    async def _shutdown(self, line: CallLine) -> int:
        self.file(line).shutdown(number(line.arguments[1]))
        return 0

    # names

    def address(self, value: Any, host: str, port: int) -> Any:
        """A sockaddr argument as a tuple; `...` is (host, port)."""
        if value is DOTS:
            return host, port
        if not isinstance(value, Struct):
            raise ScriptError(f"{value!r} is no address")
        family = value.get("sa_family")
        if isinstance(family, Word) and family.name == "AF_UNSPEC":
            raise UnsupportedError("connect() with AF_UNSPEC")
        given = value.get("sin_addr", value.get("sin6_addr"))
        name = value.get("sin_port", value.get("sin6_port"))
        return _applied(given, host).decode(), int(_applied(name, port))

    async def _bind(self, line: CallLine) -> int:
        world = self.world
        self.file(line).bind(self.address(line.arguments[1], world.local, world.local_port))
        return 0

    async def _listen(self, line: CallLine) -> int:
        file, backlog = self.file(line), number(line.arguments[1])
        if self._settings.fast_open_listeners and not file.config.fast_open:
            file.configure(replace(file.config, fast_open=max(backlog, 1)))
        file.listen(backlog)
        return 0

    async def _accept(self, line: CallLine) -> int:
        made, _ = await self.file(line).accept()
        return self._adopt(made, line.result)

    async def _accept4(self, line: CallLine) -> int:
        made, _ = await self.file(line).accept()
        made.setblocking(not number(line.arguments[3]) & socket.SOCK_NONBLOCK)
        return self._adopt(made, line.result)

    async def _connect(self, line: CallLine) -> int:
        world = self.world
        await self.file(line).connect(self.address(line.arguments[1], world.remote, world.remote_port))
        return 0

    # options

    async def _fcntl(self, line: CallLine) -> int:
        file, command = self.file(line), number(line.arguments[1])
        if command == constant("F_GETFL"):
            return os.O_RDWR | (0 if file.getblocking() else os.O_NONBLOCK)
        if command == constant("F_SETFL"):
            file.setblocking(not number(line.arguments[2]) & os.O_NONBLOCK)
            return 0
        raise UnsupportedError(f"fcntl command {line.arguments[1]}")

    async def _ioctl(self, line: CallLine) -> int:
        file, request = self.file(line), number(line.arguments[1])
        if request == constant("SIOCINQ"):
            found = file.unread
        elif request == constant("SIOCOUTQ"):
            found = file.unsent
        else:
            raise UnsupportedError(f"ioctl {line.arguments[1]}")
        _check("the ioctl", line.arguments[2], found)
        return 0

    async def _setsockopt(self, line: CallLine) -> int:
        level, option, value = number(line.arguments[1]), number(line.arguments[2]), line.arguments[3]
        with_name = line.arguments[2].name if isinstance(line.arguments[2], Word) else option
        file = self.file(line)
        try:
            file.setsockopt(level, option, _option_value(value))
        except OSError as exc:
            if exc.errno == errno.ENOPROTOOPT and line.errno != "ENOPROTOOPT":
                raise UnsupportedError(f"setsockopt {with_name}") from exc
            raise
        return 0

    async def _getsockopt(self, line: CallLine) -> int:
        level, option, wanted = number(line.arguments[1]), number(line.arguments[2]), line.arguments[3]
        name = line.arguments[2].name if isinstance(line.arguments[2], Word) else str(option)
        file = self.file(line)
        size = 8 if isinstance(wanted, Struct) else 256 if isinstance(wanted, bytes) or wanted is DOTS else 0
        try:
            found = file.getsockopt(level, option, size) if size else file.getsockopt(level, option)
        except OSError as exc:
            if exc.errno == errno.ENOPROTOOPT and line.errno != "ENOPROTOOPT":
                raise UnsupportedError(f"getsockopt {name}") from exc
            raise
        if isinstance(wanted, bytes):
            found = found.split(b"\0")[0]
        elif isinstance(wanted, Struct):
            found = list(struct.unpack("ii", found))
            wanted = [number(wanted.get("onoff", 0)), number(wanted.get("linger", 0))]
        _check(name, wanted, found)
        return 0

    # many at once

    async def _poll(self, line: CallLine) -> int:
        entries, timeout = line.arguments[0], number(line.arguments[2])
        wanted = [(number(e.get("fd")), number(e.get("events")), e.get("revents", 0)) for e in entries]
        files = [(self.files.get(fd), mask) for fd, mask, _ in wanted]
        shown = await poll_sockets(files, None if timeout < 0 else timeout / 1000)
        for (fd, _, revents), seen in zip(wanted, shown, strict=True):
            if number(revents) & 0xFFFF != seen:
                raise Mismatch(f"poll: fd {fd} shows revents {seen:#x}, the script says {number(revents):#x}")
        return sum(1 for seen in shown if seen)

    async def _epoll_create(self, line: CallLine) -> int:
        return self._adopt(Epoll(), line.result)

    _epoll_create1 = _epoll_create

    async def _epoll_ctl(self, line: CallLine) -> int:
        fd = number(line.arguments[2])
        event = line.arguments[3] if len(line.arguments) > 3 else DOTS
        mask = number(event.get("events")) if isinstance(event, Struct) else 0
        self.file(line).control(number(line.arguments[1]), fd, self.files.get(fd), mask)
        return 0

    async def _epoll_wait(self, line: CallLine) -> int:
        timeout = number(line.arguments[3])
        most = number(line.arguments[2])
        found = await self.file(line).wait(most, None if timeout < 0 else timeout / 1000)
        wanted = line.arguments[1]
        for event, (fd, mask) in zip(wanted if isinstance(wanted, list) else [wanted], found, strict=False):
            if not isinstance(event, Struct):
                continue
            if number(event.get("events")) & ~(1 << 31) != mask or number(event.get("fd", fd)) != fd:
                raise Mismatch(f"epoll_wait: fd {fd} shows {mask:#x}, the script says {event.items}")
        return len(found)

    def observe(self) -> None:
        """Let edge-triggered epolls see what was between two events of the script."""
        for file in self.files.values():
            if isinstance(file, Epoll):
                file.observe()


def _applied(value: Any, default: Any) -> Any:
    return value.arguments[0] if isinstance(value, Applied) else default


def _option_value(value: Any) -> Any:
    if isinstance(value, Struct):
        return struct.pack("ii", number(value.get("onoff", 0)), number(value.get("linger", 0)))
    if isinstance(value, bytes):
        return value
    given = number(value)
    return given - (1 << 32) if given > 0x7FFFFFFF else given


def _check(name: str, wanted: Any, found: Any) -> None:
    """Hold a value that a call gave back against the script's."""
    if wanted is DOTS or (isinstance(wanted, list) and wanted and wanted[0] is DOTS):
        return
    if isinstance(wanted, list) and isinstance(found, int):
        wanted, found = number(wanted) & 0xFFFFFFFF, found & 0xFFFFFFFF
    if wanted != found:
        raise Mismatch(f"{name} is {found!r}, the script says {wanted!r}")
