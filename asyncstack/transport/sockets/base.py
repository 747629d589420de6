"""What every socket of a stack has: calls that wait, `poll`, a descriptor on request, and its options.

A call first tries; what can not be done at once waits until the socket is ready and tries again. Bytes are taken only
in the step in which the call returns, so a cancelled call loses none. `setblocking` and `settimeout` mean what they
mean on `socket.socket`: with a timeout of 0 the awaitable raises BlockingIOError instead of waiting.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any, Final, TypeVar

from asyncstack.errors import os_error
from asyncstack.transport.endpoint_socket import SocketAddress
from asyncstack.transport.options import Options
from asyncstack.transport.sockets.addresses import SocketNames, join, looked_up
from asyncstack.transport.sockets.readiness import ALWAYS, Readiness

T = TypeVar("T")
Ancillary = tuple[int, int, bytes]

MSG_FASTOPEN: Final = 0x20000000
UNSUPPORTED: Final = (("MSG_OOB", socket.MSG_OOB), ("MSG_ERRQUEUE", socket.MSG_ERRQUEUE))


class StackSocket(Options):
    """A socket on a stack. Made by `Stack.socket`; `async with` or `close` ends it, else the end of its stack."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        registry: dict[StackSocket, None],
        names: SocketNames,
        family: int,
        kind: int,
        proto: int,
    ) -> None:
        super().__init__(socket.AddressFamily(family), socket.SocketKind(kind), proto)
        self._loop = loop
        self._registry = registry
        self._names = names
        self._timeout: float | None = None
        self._readiness = Readiness(loop)
        self._closed = False
        registry[self] = None

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self.getsockname()}"
        return f"<{type(self).__name__} {self.family.name} {state}>"

    async def __aenter__(self) -> StackSocket:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    # waiting

    def setblocking(self, flag: bool) -> None:
        """False: the awaitables raise BlockingIOError instead of waiting."""
        self._timeout = None if flag else 0.0

    def settimeout(self, value: float | None) -> None:
        """Seconds that an awaitable waits before it raises TimeoutError; None for ever, 0 not at all."""
        if value is not None and value < 0:
            raise ValueError("Timeout value out of range")
        self._timeout = value

    def gettimeout(self) -> float | None:
        """Seconds; None: for ever."""
        return self._timeout

    def getblocking(self) -> bool:
        """Whether the awaitables wait."""
        return self._timeout != 0.0

    async def _until(self, attempt: Callable[[], T | None], bits: int, flags: int = 0) -> T:
        """What `attempt` returns once it does not return None; it is made again when the socket shows `bits`."""
        self._check_open()
        result = attempt()
        if result is not None:
            return result
        if self._timeout == 0.0 or flags & socket.MSG_DONTWAIT:
            raise os_error(errno.EAGAIN)
        try:
            async with asyncio.timeout(self._timeout):
                while result is None:
                    await self._readiness.wait(bits)
                    self._check_open()
                    result = attempt()
        except TimeoutError as exc:
            if exc.errno is None:
                raise TimeoutError("timed out") from None
            raise
        return result

    def _check_open(self) -> None:
        if self._closed:
            raise os_error(errno.EBADF)

    def _changed(self) -> None:
        """Something happened: tell who waits. Nothing is computed if nobody does."""
        if self._readiness.watched:
            self._readiness.show(self._mask())

    def _mask(self) -> int:
        """The socket's state in bits of poll(2)."""
        raise NotImplementedError

    async def poll(self, mask: int, timeout: float | None = None) -> int:
        """The bits of `mask` (POLLIN, POLLOUT, POLLPRI, POLLRDHUP), POLLERR and POLLHUP that the socket shows, as soon
        as it shows one; 0 after `timeout` seconds."""
        self._check_open()
        wanted = mask | ALWAYS
        try:
            async with asyncio.timeout(timeout):
                while not (shown := self._mask() & wanted):
                    await self._readiness.wait(wanted)
                    self._check_open()
        except TimeoutError:
            return 0
        return shown

    def fileno(self) -> int:
        """A descriptor that select, poll, epoll and `loop.add_reader` find readable and writable when this socket is.
        Made on first use; for nothing but polling. -1 once closed."""
        return -1 if self._closed else self._readiness.fileno(self._mask())

    # names

    async def _named(self, call: Callable[[Any], T], address: Any) -> T:
        """What `call(address)` returns; if that does not know the name, `call` of the address that lookup finds."""
        try:
            return call(address)
        except socket.gaierror:
            address = await looked_up(address, self.family, self._names)
        self._check_open()
        return call(address)

    def _name(self, address: bytes, port: int, scope: int = 0) -> SocketAddress:
        return join(address, port, self.family, scope)

    def getsockname(self) -> SocketAddress:
        """(host, port), or (host, port, flowinfo, scope_id) for IPv6; zeros before it is bound."""
        raise NotImplementedError

    # what both kinds send and receive in the same way

    async def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """At most `bufsize` bytes."""
        data, _ = await self.recvfrom(bufsize, flags)
        return data

    async def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Any]:
        """`recv`, and where the bytes came from."""
        data, _, _, address = await self.recvmsg(bufsize, 0, flags)
        return data, address

    async def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0
    ) -> tuple[bytes, list[Ancillary], int, Any]:
        """(data, ancillary data, flags, address) as `socket.socket.recvmsg`."""
        raise NotImplementedError

    async def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Fill `buffer` with what `recv` would return; the number of bytes."""
        count, _ = await self.recvfrom_into(buffer, nbytes, flags)
        return count

    async def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """`recv_into`, and where the bytes came from."""
        view = memoryview(buffer).cast("B")
        if not 0 <= nbytes <= len(view):
            raise ValueError(f"nbytes is {nbytes}, the buffer has {len(view)} bytes")
        data, address = await self.recvfrom(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data), address

    def _check_flags(self, flags: int) -> None:
        for name, bit in UNSUPPORTED:
            if flags & bit:
                raise os_error(errno.EOPNOTSUPP, f"{name} on an asyncstack socket")

    # the end

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be done with it any more."""
        return self._closed

    def close(self) -> None:
        """End it. Whoever waits in a call on it gets OSError(EBADF)."""
        if not self._closed:
            self._closed = True
            self._registry.pop(self, None)
            self._end()
            self._readiness.close(os_error(errno.EBADF, "the socket was closed"))

    def _end(self) -> None:
        """Give back what the socket holds."""
        raise NotImplementedError
