"""A TCP socket's way to a connection: bind, listen and accept, connect (RFC 9293 3.9.1, connect(2), listen(2)).

`_stage` is what connect(2) goes by: UNCONNECTED, CONNECTING until a call to `connect` has told how it ended, CONNECTED.
`_shut` says which halves are over, for whatever reason, and `_error` is the errno that the next call, or SO_ERROR,
tells once. Errors and their order are Linux's.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

from asyncstack.config import TcpConfig
from asyncstack.errors import os_error
from asyncstack.network.addresses import is_of_a_link
from asyncstack.transport.claims import Claim
from asyncstack.transport.endpoint_socket import SocketAddress
from asyncstack.transport.sockets.addresses import SocketNames, destination, flow_label, hosts_of, split
from asyncstack.transport.sockets.base import StackSocket
from asyncstack.transport.sockets.listening import AcceptQueue
from asyncstack.transport.sockets.readiness import IN, OUT
from asyncstack.transport.tcp.binding import bind
from asyncstack.transport.tcp.congestion import Controllers
from asyncstack.transport.tcp.connecting import Target
from asyncstack.transport.tcp.endpoint import ENDED, ORPHAN, Owner, TcpEndpoint
from asyncstack.transport.tcp.listener import Acceptor, Listener
from asyncstack.transport.tcp.options import TCP_OPTIONS
from asyncstack.transport.tcp.state import SYN_RECEIVED, SYN_SENT

if TYPE_CHECKING:
    from asyncstack.transport.tcp.layer import TcpLayer

UNCONNECTED, CONNECTING, CONNECTED = range(3)
OPENING: Final = (SYN_SENT, SYN_RECEIVED)


class OpeningSocket(StackSocket, Owner):
    """What of a TCP socket has to do with getting connected."""

    table = TCP_OPTIONS

    def __init__(
        self,
        layer: TcpLayer,
        registry: dict[StackSocket, None],
        names: SocketNames,
        family: int,
        config: TcpConfig,
    ) -> None:
        super().__init__(layer.loop, registry, names, family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._layer = layer
        self._config = config
        self._claim: Claim | None = None
        self._listeners: list[Listener] = []
        self._queue: AcceptQueue[Any] | None = None
        self._endpoint: TcpEndpoint | None = None
        self._stage = UNCONNECTED
        self._shut = 0
        self._deaf = False  # shutdown(SHUT_RD) was called
        self._error = 0

    def _child(self, endpoint: TcpEndpoint) -> Self:
        """The socket of a connection that this one accepts, with its options."""
        made = type(self)(self._layer, self._registry, self._names, self.family, self._config)
        made.settings = replace(self.settings)
        made._endpoint, made._stage = endpoint, CONNECTED
        endpoint.owner = made
        return made

    # facts

    @property
    def config(self) -> TcpConfig:
        """The settings of the connection, or of the one to be made."""
        return self._config if self._endpoint is None else self._endpoint.connection.config

    @property
    def endpoint(self) -> TcpEndpoint | None:
        """The connection, also one that has ended."""
        return self._endpoint

    @property
    def controllers(self) -> Controllers:
        """The congestion controllers of the stack."""
        return self._layer.controllers

    @property
    def listening(self) -> bool:  # type: ignore[override]
        """Whether `accept` is possible."""
        return self._queue is not None

    def configure(self, config: TcpConfig) -> None:
        """Go by other settings, from now on; of a listening socket: the connections accepted from now on."""
        self._config = config
        if self._endpoint is not None:
            self._endpoint.configure(config)
        for listener in self._listeners:
            listener.config = config

    def path_mtu(self) -> int | None:
        """Bytes of the largest packet to the peer, None without one."""
        return None if self._live is None else self._live.path.mtu

    @property
    def layer(self) -> TcpLayer:
        """The TCP it is a socket of."""
        return self._layer

    @property
    def shut(self) -> int:
        """Which halves are over."""
        return self._shut

    def take_error(self) -> int:
        """The errno that nobody has been told, once."""
        error, self._error = self._error, 0
        return error

    @property
    def _live(self) -> TcpEndpoint | None:
        """The connection, if it has begun and not ended."""
        endpoint = self._endpoint
        return None if endpoint is None or endpoint.connection.state in ENDED else endpoint

    @staticmethod
    def _is_opening(endpoint: TcpEndpoint) -> bool:
        """Whether nothing can be sent or received yet. With Fast Open that is possible before the handshake is over."""
        connection = endpoint.connection
        if connection.state not in OPENING:
            return False
        fast_open = connection.fast_open
        return fast_open is None or not (fast_open.told or fast_open.served)

    def getsockname(self) -> SocketAddress:
        """(host, port), or (host, port, flowinfo, scope_id) for IPv6; zeros before it is bound."""
        if self._endpoint is not None:
            return self._name(*self._endpoint.key[:2], self._endpoint.path.interface.index)
        if self._claim is not None:
            return self._name(self._claim.hosts[0], self._claim.port)
        return self._name(bytes(4 if self.family == socket.AF_INET else 16), 0)

    def getpeername(self) -> SocketAddress:
        """The other end. Raises OSError(ENOTCONN) before it is connected and after the end."""
        live = self._live
        if live is None or live.connection.state is SYN_SENT:
            raise os_error(errno.ENOTCONN)
        return self._name(*live.key[2:], live.path.interface.index)

    # bind and listen

    def bind(self, address: Any) -> None:
        """Take a local (host, port); port 0 is any free one. Raises OSError EADDRINUSE, EADDRNOTAVAIL, EINVAL."""
        self._check_open()
        if self._claim is not None or self._endpoint is not None:
            raise os_error(errno.EINVAL, "the socket is bound")
        host, port = split(address, self.family, self._names)
        self._layer.context.scope(*address[::3])
        self._bind(host, port)

    def _bind(self, host: bytes, port: int) -> None:
        settings = self.settings
        hosts = hosts_of(host, self.family, settings.v6_only)
        self._claim = bind(
            self._layer,
            hosts,
            port,
            reuse_address=settings.reuse_address,
            reuse_port=settings.reuse_port,
        )

    def listen(self, backlog: int = 128) -> None:
        """Take connections: at most `backlog` + 1 wait to be accepted. Raises OSError EADDRINUSE, EINVAL."""
        self._check_open()
        if self._stage != UNCONNECTED:
            raise os_error(errno.EINVAL, "listen() on a connected socket")
        if self._queue is None:
            if self._claim is None:
                self._bind(bytes(4 if self.family == socket.AF_INET else 16), 0)
            self._start_listening()
        assert self._queue is not None
        self._queue.limit(backlog)

    def _start_listening(self) -> None:
        claim = self._claim
        assert claim is not None
        if not self._layer.claims.listen(claim):
            raise os_error(errno.EADDRINUSE, "another socket listens there")
        queue: AcceptQueue[Any] = AcceptQueue(0, self._child, self._changed)
        self._listeners = self._layer.listen(
            list(claim.hosts),
            claim.port,
            queue,
            config=self._config,
            reuse_port=self.settings.reuse_port,
            claim=claim,
        )
        self._queue = queue
        for listener in self._listeners:
            listener.start()

    def hand_over(self, acceptor: Acceptor) -> list[Self]:
        """Have `acceptor` take the connections from now on, instead of `accept`; those that wait for it."""
        queue, waiting = self._queue, []
        while queue is not None and (made := queue.pop()) is not None:
            waiting.append(made)
        for listener in self._listeners:
            listener.acceptor = acceptor
        return waiting

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []
        if self._queue is not None:
            self._queue.close()
            self._queue = None
        if self._claim is not None:
            self._claim.listening = False

    async def accept(self) -> tuple[Self, SocketAddress]:
        """The next connection, and the address of its peer. Raises OSError EINVAL if the socket does not listen."""
        made = await self._until(self._accept, IN)
        endpoint = made._endpoint
        assert endpoint is not None
        return made, made._name(*endpoint.key[2:], endpoint.path.interface.index)

    def _accept(self) -> Self | None:
        if self._queue is None:
            raise os_error(errno.EINVAL, "accept() on a socket that does not listen")
        return self._queue.pop()

    # connect

    async def connect(self, address: Any) -> None:
        """Connect to (host, port). A socket that does not block raises BlockingIOError(EINPROGRESS): it is writable
        once connected, and SO_ERROR says whether it is.

        Raises OSError EISCONN, EALREADY, ECONNREFUSED, ETIMEDOUT, ENETUNREACH, EADDRNOTAVAIL.
        """
        self._check_open()
        if self._stage == CONNECTED or self._queue is not None:
            raise os_error(errno.EISCONN)
        waiting = errno.EALREADY
        if self._stage == UNCONNECTED:
            await self._named(self._open, address)
            waiting = errno.EINPROGRESS
        if self._timeout == 0.0 and self._connected() is None:
            raise os_error(waiting)
        await self._until(self._connected, OUT)

    def _open(self, address: Any, data_follows: bool = False) -> None:
        family = self.family
        if self._stage != UNCONNECTED or self._queue is not None:
            raise os_error(errno.EALREADY, "while its name was looked up")
        remote, port = split(address, family, self._names)
        remote = destination(remote, family, self.settings.v6_only)
        local, local_port = b"", 0
        if self._claim is not None:
            local_port = self._claim.port
            local = next((host for host in self._claim.hosts if len(host) == len(remote)), b"")
            if not local:
                raise os_error(errno.ENETUNREACH, "bound to an address of the other family")
        try:
            scope = self._layer.context.scope(*address[::3]) if is_of_a_link(remote) else None
            label = flow_label(address)
            target = Target(remote, port, local if any(local) else b"", local_port, scope, label)
            self._endpoint = self._layer.open(self, target, self._config, data_follows)
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:  # bind(2) was content with this port
                raise os_error(errno.EADDRNOTAVAIL, "there is such a connection") from None
            raise
        self._stage = CONNECTING

    def _connected(self) -> bool | None:
        """How the open ended; None: it has not."""
        live = self._live
        if live is not None:
            if self._is_opening(live):
                return None
            self._stage = CONNECTED
            return True
        self._disconnect()
        raise os_error(self.take_error() or errno.ECONNABORTED)

    def _disconnect(self) -> None:
        """Be as before connect(); what was bound stays."""
        endpoint, self._endpoint = self._endpoint, None
        self._stage, self._shut, self._deaf = UNCONNECTED, 0, False
        if endpoint is not None:
            self._config = endpoint.connection.config
            endpoint.owner = ORPHAN
            endpoint.abort()

    def detach(self) -> TcpEndpoint:
        """Give the connection to the caller, who is its owner from now on, and be closed. Raises OSError ENOTCONN."""
        self._check_open()
        endpoint = self._endpoint
        if endpoint is None or self._is_opening(endpoint):
            raise os_error(errno.ENOTCONN)
        endpoint.owner, self._endpoint = ORPHAN, None
        self.close()
        return endpoint

    def abort(self) -> None:
        """Close at once with RST; what was written and not received is lost."""
        if self._live is not None:
            self._endpoint, endpoint = None, self._live
            endpoint.owner = ORPHAN
            endpoint.abort()
        self.close()
