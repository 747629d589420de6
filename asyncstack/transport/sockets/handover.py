"""A socket of a stack given to asyncio (`sock=`): a transport takes its connection over, a server its port.

Nothing is lost: what was received and not read, an end of the stream, an error that nobody was told, connections that
wait to be accepted. Afterwards a socket that was connected is closed, as after `socket.socket.detach`; one that listens
is the server's, and ends with it.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import replace
from socket import IPPROTO_TCP, SOCK_STREAM, TCP_NODELAY
from typing import TYPE_CHECKING, Any, TypeVar, cast

from asyncstack.errors import os_error
from asyncstack.transport.sockets.stream import RECEIVE, SEND, StreamSocket
from asyncstack.transport.tcp.listener import Acceptor
from asyncstack.transport.tcp.transport import TcpTransport
from asyncstack.transport.tls import Tls, handshake

if TYPE_CHECKING:
    from asyncstack.transport.tcp.layer import TcpLayer

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)


def check_stream(sock: Any, layer: TcpLayer) -> StreamSocket:
    """`sock` if it is a socket of `layer`. Raises ValueError as asyncio does for one of another type, and for one of
    another stack; TypeError for what no stack can use."""
    if getattr(sock, "type", None) != SOCK_STREAM:
        raise ValueError(f"A Stream Socket was expected, got {sock!r}")
    if not isinstance(sock, StreamSocket):
        raise TypeError(f"sock of a stack is made by Stack.socket(), {sock!r} is not")
    if sock.layer is not layer:
        raise ValueError(f"{sock!r} is of another stack")
    return sock


async def transport_over(
    sock: StreamSocket, protocol_factory: Callable[[], ProtocolT], tls: Tls | None
) -> tuple[asyncio.Transport, ProtocolT]:
    """(transport, protocol) for the connection of `sock`. Raises OSError ENOTCONN, EBADF; ssl.SSLError."""
    endpoint, catch_up = _detached(sock)
    loop = endpoint.layer.loop
    made: asyncio.Future[TcpTransport] = loop.create_future()
    secured: asyncio.Future[None] | None = None if tls is None else loop.create_future()
    try:
        protocol = protocol_factory()
        outer = protocol if tls is None else tls.protocol(loop, protocol, secured)
    except BaseException:
        endpoint.abort()
        raise
    transport = TcpTransport(endpoint, outer, contextvars.copy_context(), waiter=made)
    catch_up(transport)
    try:
        await made
        if secured is not None:
            return await handshake(transport, secured), protocol
    except BaseException:
        transport.abort()
        raise
    finally:
        secured = None  # it holds its exception, whose traceback holds this frame
    return cast(asyncio.Transport, transport), protocol


def _detached(sock: StreamSocket) -> tuple[Any, Callable[[TcpTransport], None]]:
    """The connection of `sock`, which is closed now, and what tells a transport over it what has happened before."""
    settings, shut, error = sock.settings, sock.shut, 0
    endpoint = sock.detach()
    error = sock.take_error()
    endpoint.configure(replace(endpoint.connection.config, nodelay=True))  # as asyncio and uvloop do

    def catch_up(transport: TcpTransport) -> None:
        transport.get_extra_info("socket").settings = settings
        transport.catch_up(
            bool(shut & RECEIVE) and not error, bool(shut & SEND), os_error(error) if error else None
        )

    return endpoint, catch_up


class Served:
    """A socket in the place of a server's listener."""

    def __init__(self, sock: StreamSocket, acceptor: Acceptor, backlog: int) -> None:
        self._sock = sock
        self._acceptor = acceptor
        self._backlog = backlog

    @property
    def sockname(self) -> tuple[Any, ...]:
        """Where it listens."""
        return self._sock.getsockname()

    def socket(self) -> StreamSocket:
        """What `Server.sockets` shows."""
        return self._sock

    def start(self) -> None:
        """Serve from now on, those first who wait to be accepted."""
        self._sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # which its connections inherit
        self._sock.listen(self._backlog)
        for waiting in self._sock.hand_over(self._acceptor):
            endpoint, catch_up = _detached(waiting)
            self._acceptor.take(endpoint)
            if isinstance(endpoint.owner, TcpTransport):  # else the protocol factory raised
                catch_up(endpoint.owner)

    def close(self) -> None:
        """Listen no more."""
        self._sock.close()
