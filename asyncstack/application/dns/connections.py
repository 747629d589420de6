"""The TCP connections of a resolver. One that is done with its query is kept for a while, for the next one to the same
server (RFC 7766 6.2.1)."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

from asyncstack.application.dns.lookup import Lookup, Query
from asyncstack.errors import os_error
from asyncstack.timing import Clock, LoopTimer

PORT: Final = 53
KEPT_FOR: Final = 5.0  # seconds; servers wait for about 10, RFC 7766 6.2.3
KEPT: Final = 8  # connections, each to another server

MakeSocket = Callable[[int, int], Any]


class Connections:
    """At most `KEPT` idle connections, by server."""

    def __init__(self, make_socket: MakeSocket, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._make_socket = make_socket
        self._clock = clock
        self._idle: dict[str, tuple[float, Any]] = {}  # until when, and the socket; the oldest first
        self._timer = LoopTimer(loop, clock, self._expire, background=True)

    def __len__(self) -> int:
        return len(self._idle)

    async def exchange(self, query: Query, lookup: Lookup) -> None:
        """Send `query` and hand what comes to `lookup` until it is content. Raises OSError."""
        _, kept = self._idle.pop(query.server, (0.0, None))
        if kept is not None:
            try:
                await self._talk(kept, query, lookup)
            except OSError:
                if not lookup.waiting:
                    raise
                # the server has closed it meanwhile
            else:
                return
        made = self._make_socket(family_of(query.server), socket.SOCK_STREAM)
        try:
            await made.connect((query.server, PORT))
        except BaseException:
            made.close()
            raise
        await self._talk(made, query, lookup)

    async def _talk(self, sock: Any, query: Query, lookup: Lookup) -> None:
        """Each message with its length in front."""
        try:
            await sock.sendall(len(query.data).to_bytes(2, "big") + query.data)
            while lookup.waiting:
                size = int.from_bytes(await _exactly(sock.recv, 2), "big")
                lookup.receive_message(await _exactly(sock.recv, size), self._clock())
        except BaseException:
            sock.close()
            raise
        self._keep(query.server, sock)

    def _keep(self, server: str, sock: Any) -> None:
        _, other = self._idle.pop(server, (0.0, None))
        if other is not None:
            other.close()
        elif len(self._idle) >= KEPT:
            self._drop(next(iter(self._idle)))
        self._idle[server] = self._clock() + KEPT_FOR, sock
        self._timer.arm(next(iter(self._idle.values()))[0])

    def _expire(self, now: float) -> None:
        for server, (until, _) in list(self._idle.items()):
            if until > now:
                self._timer.arm(until)
                return
            self._drop(server)

    def _drop(self, server: str) -> None:
        self._idle.pop(server)[1].close()

    def close(self) -> None:
        """Close those that are kept."""
        self._timer.cancel()
        for server in list(self._idle):
            self._drop(server)


def family_of(server: str) -> int:
    """The family of a literal address."""
    return socket.AF_INET6 if ":" in server else socket.AF_INET


async def _exactly(recv: Callable[[int], Awaitable[bytes]], size: int) -> bytes:
    """`size` bytes of a stream. Raises OSError(ECONNRESET) if it ends before."""
    data = b""
    while len(data) < size:
        piece = await recv(size - len(data))
        if not piece:
            raise os_error(errno.ECONNRESET, "the nameserver closed the connection")
        data += piece
    return data
