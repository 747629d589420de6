"""A listening address and port: takes SYNs, holds what is half open, hands over what is open.

Both queues are bounded. A half-open connection makes no protocol and no transport. When the table of half-open
connections is full the oldest gives way: under a SYN flood an honest client, which answers within a round trip,
still gets in.
"""

from __future__ import annotations

import contextvars
import socket
from typing import TYPE_CHECKING, Final

from asyncstack.transport.endpoint_socket import EndpointSocket, socket_address
from asyncstack.transport.tcp.endpoint import TcpEndpoint
from asyncstack.transport.tcp.transport import ProtocolFactory, TcpTransport
from asyncstack.wire.packet import Packet
from asyncstack.wire.tcp import Segment

if TYPE_CHECKING:
    from asyncstack.transport.tcp.layer import TcpLayer
    from asyncstack.transport.tcp.server import Server

SYN_BACKLOG: Final = 1024  # half-open connections; Linux: tcp_max_syn_backlog


class Listener:
    """Owns the half-open connections of one address and port. `address` b"" or all zeros stands for any."""

    def __init__(
        self,
        layer: TcpLayer,
        address: bytes,
        port: int,
        protocol_factory: ProtocolFactory,
        server: Server,
        backlog: int,
    ) -> None:
        self.layer = layer
        self.address = address
        self.port = port
        self.backlog = max(backlog, 1)
        self._factory = protocol_factory
        self._server = server
        self._context = contextvars.copy_context()
        self._half_open: dict[TcpEndpoint, None] = {}  # oldest first
        self._listening = False
        self._accepted_in_turn = 0

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
        return self._listening and self._accepted_in_turn < self.backlog

    def start(self) -> None:
        """Answer SYNs from now on."""
        self._listening = True

    def close(self) -> None:
        """Answer no more; what is half open is reset."""
        self._listening = False
        self.layer.forget_listener(self)
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
        if self._accepted_in_turn >= self.backlog:
            counters["tcp.accept_queue_full"] += 1
            return True
        if len(self._half_open) >= SYN_BACKLOG:
            oldest = next(iter(self._half_open))
            del self._half_open[oldest]
            oldest.discard()
            counters["tcp.syn_backlog_full"] += 1
        endpoint = self.layer.accept(packet, segment, self, iss)
        if endpoint is not None:
            self._half_open[endpoint] = None
            endpoint.settle()
        return True

    # what the half-open endpoints tell (`Owner`)

    def opened(self, endpoint: TcpEndpoint) -> None:
        """The handshake is complete: make the protocol and its transport."""
        self._half_open.pop(endpoint, None)
        context = self._context.copy()
        if self._accepted_in_turn == 0:
            self.layer.loop.call_soon(self._turn_over)
        self._accepted_in_turn += 1
        try:
            protocol = context.run(self._factory)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            message = f"the protocol factory of the server on {self.sockname} raised"
            self.layer.loop.call_exception_handler({"message": message, "exception": exc})
            endpoint.abort()
            return
        TcpTransport(endpoint, protocol, context, server=self._server)

    def _turn_over(self) -> None:
        self._accepted_in_turn = 0

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
