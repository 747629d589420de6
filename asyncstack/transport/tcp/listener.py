"""A listening address and port: takes SYNs, holds what is half open, hands over what is open.

What becomes of an open connection is its acceptor's business: a server makes a protocol and a transport, a socket
puts it into a queue. Both queues are bounded, as on Linux: while the acceptor has no room, SYNs are dropped and an
ACK that would complete a handshake is too, so that connection stays SYN-RECEIVED and its SYN-ACK is repeated.
When the table of half-open connections is full the oldest gives way: under a SYN flood an honest client, which
answers within a round trip, still gets in.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Protocol

from asyncstack.config import TcpConfig
from asyncstack.transport.endpoint_socket import EndpointSocket, socket_address
from asyncstack.transport.tcp.endpoint import TcpEndpoint
from asyncstack.wire.packet import Packet
from asyncstack.wire.tcp import Segment

if TYPE_CHECKING:
    from asyncstack.transport.tcp.layer import TcpLayer


class Acceptor(Protocol):
    """Where a listener hands its connections over."""

    @property
    def has_room(self) -> bool:
        """Whether one more connection would be taken now."""

    def take(self, endpoint: TcpEndpoint) -> None:
        """A connection whose handshake is complete. It must get an owner before this returns."""


class Listener:
    """Owns the half-open connections of one address and port. `address` all zeros stands for any of its family.

    `config` goes for the connections it accepts; None: the stack's.
    """

    def __init__(
        self,
        layer: TcpLayer,
        address: bytes,
        port: int,
        acceptor: Acceptor,
        config: TcpConfig | None = None,
        reuse_port: bool = False,
    ) -> None:
        self.layer = layer
        self.address = address
        self.port = port
        self.acceptor = acceptor
        self.reuse_port = reuse_port
        self.config = layer.config.tcp if config is None else config
        self._half_open: dict[TcpEndpoint, None] = {}  # oldest first
        self._listening = False

    @property
    def sockname(self) -> tuple[object, ...]:
        """(host, port), as `getsockname()` gives it."""
        return socket_address(self.address, self.port)

    def socket(self) -> EndpointSocket:
        """The socket-like object for `Server.sockets`."""
        return EndpointSocket(socket.SOCK_STREAM, socket.IPPROTO_TCP, self.sockname, None, {})

    @property
    def has_room(self) -> bool:
        """Whether a SYN would be answered now."""
        return self._listening and self.acceptor.has_room

    def start(self) -> None:
        """Answer SYNs from now on."""
        self._listening = True

    def close(self) -> None:
        """Answer no more; what is half open is reset."""
        self._listening = False
        self.layer.listeners.remove(self)
        for endpoint in list(self._half_open):
            endpoint.abort()
        self._half_open.clear()

    def receive_syn(self, packet: Packet, segment: Segment, iss: int | None) -> bool:
        """A SYN for us; `iss` is given where it follows a connection in TIME-WAIT.

        False: nobody listens yet, so the caller answers as for a closed port.
        """
        if not self._listening:
            return False
        counters = self.layer.counters
        if not self.acceptor.has_room:
            counters["tcp.accept_queue_full"] += 1
            return True
        if len(self._half_open) >= self.config.syn_backlog:
            oldest = next(iter(self._half_open))
            del self._half_open[oldest]
            oldest.discard()
            counters["tcp.syn_backlog_full"] += 1
        endpoint = self.layer.accept(packet, segment, self, iss)
        if endpoint is not None:
            self._half_open[endpoint] = None
            endpoint.connection.admits = self._admits
            endpoint.settle()
        return True

    def _admits(self, segment: Segment) -> bool:
        """Whether the ACK in `segment`, which would complete a handshake, may do so."""
        if self.acceptor.has_room:
            return True
        self.layer.counters["tcp.accept_queue_full"] += 1
        return False

    # what the half-open endpoints tell (`Owner`)

    def opened(self, endpoint: TcpEndpoint) -> None:
        """The handshake is complete: hand the connection over."""
        self._half_open.pop(endpoint, None)
        endpoint.connection.admits = None
        self.acceptor.take(endpoint)

    def readable(self) -> None:
        pass

    def ended(self) -> None:
        pass

    def writable(self) -> None:
        pass

    def closed(self, endpoint: TcpEndpoint, error: OSError | None) -> None:
        """The handshake failed; nobody has heard of this connection yet."""
        self._half_open.pop(endpoint, None)
        self.layer.counters["tcp.handshake_failed"] += 1

    def finish(self, endpoint: TcpEndpoint) -> None:
        """A half-open connection does not outlive its stack."""
        endpoint.abort()
