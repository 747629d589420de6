"""The loop's calls on sockets (`sock_connect`, `sock_recv` ...): to a stack's socket, or one that stands in for the
kernel's, or to the kernel. Like asyncio's they wait, whatever the timeout of the socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from asyncstack.loop.adoption import Adoptions, Ours
from asyncstack.loop.choosing import Stacks
from asyncstack.loop.files import positioned
from asyncstack.network.addresses import format_address, scope_of
from asyncstack.transport.sockets.base import StackSocket
from asyncstack.transport.sockets.readiness import IN, OUT
from asyncstack.transport.sockets.stream import StreamSocket

T = TypeVar("T")


class SocketCalls(asyncio.AbstractEventLoop):
    """A mix-in before a loop class."""

    stacks: Stacks
    adoptions: Adoptions

    async def _addresses(self, host: Any, family: int, type: int) -> list[bytes]:
        raise NotImplementedError

    def _check(self, sock: Any) -> None:
        """As asyncio does in debug mode."""
        if self.get_debug() and not isinstance(sock, StackSocket) and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")

    # to an address

    async def _towards(self, sock: Any, address: Any) -> tuple[Ours | None, Any]:
        """The stack's socket for `sock` to reach `address`, and that with a literal host."""
        ours = self.adoptions.find(sock)
        shaped = isinstance(address, tuple) and len(address) >= 2
        if not shaped or (ours is None and (not self.stacks or not isinstance(sock, socket.socket))):
            return ours, address
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return None, address
        if not address[0]:
            return ours, address
        remotes = await self._addresses(address[0], sock.family, sock.type)
        scope = scope_of(address[0]) if isinstance(address[0], str) else ""
        ours = self.adoptions.towards(sock, remotes, scope)
        return ours, (
            f"{format_address(remotes[0])}%{scope}" if scope else format_address(remotes[0]),
            *address[1:],
        )

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """As asyncio's."""
        ours, where = await self._towards(sock, address)
        if ours is None:
            await super().sock_connect(sock, address)
            return
        self._check(sock)
        await _patiently(ours, lambda: ours.connect(where), OUT)

    async def sock_sendto(self, sock: Any, data: Any, address: Any) -> int:
        """As asyncio's."""
        ours, where = await self._towards(sock, address)
        if ours is None:
            return await super().sock_sendto(sock, data, address)
        self._check(sock)
        return await _patiently(ours, lambda: ours.sendto(data, where), OUT)

    # at an address

    async def sock_accept(self, sock: Any) -> tuple[Any, Any]:
        """As asyncio's. A socket of a stack gives one of a stack; one of the kernel gives a `socket.socket`."""
        ours = None if self.adoptions.comes_late(sock) else self.adoptions.at(sock)
        if not isinstance(ours, StreamSocket):
            return await super().sock_accept(sock)
        self._check(sock)
        made, address = await _patiently(ours, ours.accept, IN)
        made.setblocking(False)
        return (made if sock is ours else self.adoptions.stand_in(made)), address

    async def sock_recvfrom(self, sock: Any, bufsize: int) -> tuple[bytes, Any]:
        """As asyncio's."""
        ours = self.adoptions.at(sock)
        if ours is None:
            return await super().sock_recvfrom(sock, bufsize)
        self._check(sock)
        return await _patiently(ours, lambda: ours.recvfrom(bufsize), IN)

    async def sock_recvfrom_into(self, sock: Any, buf: Any, nbytes: int = 0) -> tuple[int, Any]:
        """As asyncio's."""
        ours = self.adoptions.at(sock)
        if ours is None:
            return await super().sock_recvfrom_into(sock, buf, nbytes)
        self._check(sock)
        return await _patiently(ours, lambda: ours.recvfrom_into(buf, nbytes), IN)

    # connected

    async def sock_recv(self, sock: Any, nbytes: int) -> bytes:
        """As asyncio's."""
        ours = self.adoptions.find(sock)
        if ours is None:
            return await super().sock_recv(sock, nbytes)
        self._check(sock)
        return await _patiently(ours, lambda: ours.recv(nbytes), IN)

    async def sock_recv_into(self, sock: Any, buf: Any) -> int:
        """As asyncio's."""
        ours = self.adoptions.find(sock)
        if ours is None:
            return await super().sock_recv_into(sock, buf)
        self._check(sock)
        return await _patiently(ours, lambda: ours.recv_into(buf), IN)

    async def sock_sendall(self, sock: Any, data: Any) -> None:
        """As asyncio's."""
        ours = self.adoptions.find(sock)
        if ours is None:
            await super().sock_sendall(sock, data)
            return
        self._check(sock)
        view = memoryview(data).cast("B")
        while view:
            view = view[await _patiently(ours, lambda left=view: ours.send(left), OUT) :]  # type: ignore[misc]

    async def sock_sendfile(
        self, sock: Any, file: Any, offset: int = 0, count: int | None = None, *, fallback: bool | None = True
    ) -> int:
        """As asyncio's. A stack has no descriptor to hand to the kernel: the file is read and sent."""
        if self.adoptions.find(sock) is None:
            return await super().sock_sendfile(sock, file, offset, count, fallback=fallback)
        self._check(sock)
        base: Any = asyncio.BaseEventLoop
        base._check_sendfile_params(self, sock, file, offset, count)
        if not fallback:
            raise asyncio.SendfileNotAvailableError(f"the kernel can not send {file!r} on {sock!r}")
        sent: int = await base._sock_sendfile_fallback(self, sock, positioned(file), offset, count)
        return sent


async def _patiently(ours: StackSocket, call: Callable[[], Awaitable[T]], bits: int) -> T:
    """What `call` returns, also on a socket that does not block."""
    while True:
        try:
            return await call()
        except BlockingIOError:
            await ours.poll(bits)
