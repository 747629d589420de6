"""What `create_server` returns: the listening addresses and the connections they accepted."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from socket import SO_KEEPALIVE, SOL_SOCKET
from typing import TYPE_CHECKING, Any, Protocol

from asyncstack.transport.endpoint_socket import EndpointSocket
from asyncstack.transport.tcp.endpoint import TcpEndpoint
from asyncstack.transport.tcp.transport import ProtocolFactory, TcpTransport

if TYPE_CHECKING:
    from asyncstack.transport.sockets.base import StackSocket


class Listening(Protocol):
    """What a server owns for each of its addresses: a `Listener`, or a socket that was given to it."""

    @property
    def sockname(self) -> tuple[Any, ...]:
        """Where it listens."""

    def socket(self) -> EndpointSocket | StackSocket:
        """What `Server.sockets` shows."""

    def start(self) -> None:
        """Answer from now on."""

    def close(self) -> None:
        """Answer no more."""


class Server(asyncio.AbstractServer):
    """Listens on one port of one or several addresses, with the methods of `asyncio.Server`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_close: Callable[[Server], None],
        *,
        keep_alive: bool | None = None,
    ) -> None:
        self._loop = loop
        self._on_close = on_close
        self._keep_alive = keep_alive
        self._listeners: list[Listening] = []
        self._transports: dict[TcpTransport, None] = {}  # a set in order of acceptance
        self._waiters: list[asyncio.Future[None]] | None = []  # None: nobody has to wait any more
        self._serving_forever: asyncio.Future[None] | None = None
        self._serving = self._closed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {[listener.sockname for listener in self._listeners]}>"

    def add(self, listener: Listening) -> None:
        """Own `listener`. It answers from `start_serving` on."""
        self._listeners.append(listener)

    @property
    def sockets(self) -> tuple[EndpointSocket | StackSocket, ...]:
        """One socket-like object for each address; empty once closed."""
        return () if self._closed else tuple(listener.socket() for listener in self._listeners)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop this server runs on."""
        return self._loop

    def is_serving(self) -> bool:
        """Whether new connections are accepted."""
        return self._serving

    async def start_serving(self) -> None:
        """Accept connections from now on."""
        self._start()
        await asyncio.sleep(0)

    def _start(self) -> None:
        if self._closed:
            raise RuntimeError(f"server {self!r} is closed")
        if not self._serving:
            for listener in self._listeners:
                listener.start()
            self._serving = True

    async def serve_forever(self) -> None:
        """Accept connections until this task is cancelled; then close, the clients too, and wait for their end.

        Python 3.12 does not close the clients, and waits for one that is silent for ever (CPython gh-123720).
        """
        if self._serving_forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        self._start()
        self._serving_forever = self._loop.create_future()
        try:
            await self._serving_forever
        except asyncio.CancelledError:
            self.close()
            self.close_clients()
            await self.wait_closed()
            raise
        finally:
            self._serving_forever = None

    def close(self) -> None:
        """Stop listening. Connections that are open stay open."""
        if self._closed:
            return
        self._closed, self._serving = True, False
        for listener in self._listeners:
            listener.close()
        if self._serving_forever is not None and not self._serving_forever.done():
            self._serving_forever.cancel()
        self._on_close(self)
        self._wake_if_done()

    def close_clients(self) -> None:
        """Close every open connection."""
        for transport in list(self._transports):
            transport.close()

    def abort_clients(self) -> None:
        """Abort every open connection."""
        for transport in list(self._transports):
            transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the server is closed and its last connection is too (as Python 3.12 and later do)."""
        if self._waiters is None:
            return
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def attach(self, transport: TcpTransport) -> None:
        """A connection was accepted."""
        self._transports[transport] = None
        if self._keep_alive is not None:
            transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_KEEPALIVE, self._keep_alive)

    def detach(self, transport: TcpTransport) -> None:
        """One of its connections is over."""
        self._transports.pop(transport, None)
        self._wake_if_done()

    def _wake_if_done(self) -> None:
        if self._closed and not self._transports:
            waiters, self._waiters = self._waiters, None
            for waiter in waiters or ():
                if not waiter.done():
                    waiter.set_result(None)


class ServerAcceptor:
    """Makes the protocol and the transport of each connection that a server's listener hands over.

    asyncio's servers accept at most `backlog` connections in a turn of the loop; what is more waits for the next.
    """

    def __init__(self, server: Server, protocol_factory: ProtocolFactory, backlog: int) -> None:
        self._server = server
        self._factory = protocol_factory
        self._backlog = max(backlog, 1)
        self._context = contextvars.copy_context()
        self._taken_in_turn = 0

    @property
    def has_room(self) -> bool:
        """Whether one more connection would be taken in this turn of the loop."""
        return self._taken_in_turn < self._backlog

    def take(self, endpoint: TcpEndpoint) -> None:
        """Make the protocol and its transport. What the factory raises costs this connection alone."""
        loop = endpoint.layer.loop
        context = self._context.copy()
        if self._taken_in_turn == 0:
            loop.call_soon(self._turn_over)
        self._taken_in_turn += 1
        try:
            protocol = context.run(self._factory)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            message = f"the protocol factory of {self._server!r} raised"
            loop.call_exception_handler({"message": message, "exception": exc})
            endpoint.abort()
            return
        TcpTransport(endpoint, protocol, context, server=self._server)

    def _turn_over(self) -> None:
        self._taken_in_turn = 0
