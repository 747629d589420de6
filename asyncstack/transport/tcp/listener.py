"""A listening address and port: takes SYNs, holds what is half open, hands over what is open.

What becomes of an open connection is its acceptor's business: a server makes a protocol and a transport, a socket
puts it into a queue. Both queues are bounded, as on Linux: while the acceptor has no room, SYNs are dropped and an
ACK that would complete a handshake is too, so that connection stays SYN-RECEIVED and its SYN-ACK is repeated.
While the table of half-open connections is full, SYNs are answered by cookies and nothing is kept: under a SYN flood
an honest client still gets in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from asyncstack.config import TcpConfig
from asyncstack.transport.endpoint_socket import EndpointSocket, socket_address
from asyncstack.transport.reach import Reach
from asyncstack.transport.tcp.endpoint import Owner, TcpEndpoint
from asyncstack.transport.tcp.fast_open import serve
from asyncstack.transport.tcp.fast_open_cookies import FastOpenQueue
from asyncstack.transport.tcp.options import ListenerSocket
from asyncstack.transport.tcp.syn_cookies import LIFETIME, holdable, options_in_timestamp, syn_of
from asyncstack.wire.packet import Packet
from asyncstack.wire.tcp import ACK, FIN, SYN, Segment

if TYPE_CHECKING:
    from asyncstack.transport.tcp.layer import TcpLayer

COOKIE_TIME: Final = 60.0 * LIFETIME  # seconds after the last cookie in which an ACK may bring one back


class Acceptor(Protocol):
    """Where a listener hands its connections over."""

    @property
    def has_room(self) -> bool:
        """Whether one more connection would be taken now."""

    def take(self, endpoint: TcpEndpoint) -> None:
        """A connection whose handshake is complete. It must get an owner before this returns."""


class Listener(Owner):
    """Owns the half-open connections of one address and port. `address` all zeros stands for any of its family; with
    a `reach` it is more of them, and `port` is 0 if it is more than one.

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
        reach: Reach | None = None,
    ) -> None:
        self.layer = layer
        self.address = address
        self.port = port
        self.acceptor = acceptor
        self.reuse_port = reuse_port
        self.reach = reach
        self.config = layer.config.tcp if config is None else config
        self._half_open: dict[TcpEndpoint, None] = {}  # oldest first
        self._listening = False
        self._cookies_until = 0.0
        self._socket: ListenerSocket | None = None
        self._fast_open = FastOpenQueue(layer.fast_open_keys)

    @property
    def sockname(self) -> tuple[object, ...]:
        """(host, port), as `getsockname()` gives it; the host of a reach may be a network."""
        name = socket_address(self.address, self.port)
        return name if self.reach is None else (str(self.reach), *name[1:])

    def socket(self) -> EndpointSocket:
        """The socket-like object for `Server.sockets`."""
        if self._socket is None:
            self._socket = ListenerSocket(self)
        return self._socket

    @property
    def half_open(self) -> int:
        """How many handshakes are not complete."""
        return len(self._half_open)

    @property
    def has_room(self) -> bool:
        """Whether a SYN would make a half-open connection now."""
        return self._listening and self.acceptor.has_room and self.half_open < self.config.syn_backlog

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
        if self._socket is not None:
            self._socket.end()
            self._socket = None

    def receive_segment(self, packet: Packet, segment: Segment, iss: int | None) -> bool:
        """A segment of no connection, without RST (RFC 9293 3.10.7.2); `iss` is given for a SYN that follows a
        connection in TIME-WAIT. False: it is to be answered as for a closed port, as everything is while nobody
        listens yet.
        """
        flags = segment.flags
        if not self._listening:
            return False
        if flags & ACK:
            return not flags & SYN and self._receive_ack(packet, segment)
        if flags & (SYN | FIN) == SYN:
            self._receive_syn(packet, segment, iss)
        else:  # with neither ACK nor RST nor SYN, or with SYN and FIN, as Linux has it: a scan
            self.layer.counters["tcp.odd_flags"] += 1
        return True

    def _receive_syn(self, packet: Packet, segment: Segment, iss: int | None) -> None:
        counters = self.layer.counters
        if not self.acceptor.has_room:
            counters["tcp.accept_queue_full"] += 1
            return
        if self.layer.memory.held >= self.layer.memory.no_newcomers:
            counters["tcp.memory_limit"] += 1
            return
        full = self.half_open >= self.config.syn_backlog
        if full:
            counters["tcp.syn_backlog_full"] += 1
        cookies = self.config.syn_cookies
        if (full and cookies != "off") or (cookies == "always" and iss is None):
            self._answer_by_cookie(packet, segment)
        elif not full:
            endpoint = self.layer.accept(packet, segment, self, iss)
            if endpoint is not None:
                self._half_open[endpoint] = None
                endpoint.connection.admits = self._admits
                if self.config.fast_open:
                    self._open_fast(packet, segment, endpoint)
                endpoint.settle()

    def _open_fast(self, packet: Packet, syn: Segment, endpoint: TcpEndpoint) -> None:
        layer, now = self.layer, self.layer.clock()
        fast = self._fast_open.receive_syn(packet.src, packet.dst, syn, self.config, now)
        if fast is not None:
            layer.counters["tcp.fast_open" if fast.valid else "tcp.fast_open_refused"] += 1
            serve(endpoint.connection, syn, fast, now)

    def _answer_by_cookie(self, packet: Packet, segment: Segment) -> None:
        """A SYN-ACK of a connection that nobody keeps."""
        layer, now = self.layer, self.layer.clock()
        syn = holdable(segment, self.config)
        key = (packet.dst, segment.dst_port, packet.src, segment.src_port)
        made = layer.passive(packet, segment, self.config, layer.cookies.make(key, syn, now))
        if made is None:
            return
        _, path, connection = made
        connection.accept(syn, now)
        answer = connection.segment_to_send(now)
        if answer is not None:
            if answer.ts_val >= 0:
                answer.ts_val = options_in_timestamp(answer.ts_val, syn)
            layer.strays.reply(path, answer)
            self._cookies_until = now + COOKIE_TIME
            layer.counters["tcp.cookies_sent"] += 1

    def _receive_ack(self, packet: Packet, segment: Segment) -> bool:
        """An ACK of no connection. False: it brings no cookie back."""
        layer, now = self.layer, self.layer.clock()
        if now >= self._cookies_until:
            return False
        key = (packet.dst, segment.dst_port, packet.src, segment.src_port)
        mss = layer.cookies.mss(key, segment, now)
        if not mss:
            layer.counters["tcp.cookies_failed"] += 1
            return False
        if not self.acceptor.has_room:
            layer.counters["tcp.accept_queue_full"] += 1
            return True
        endpoint = layer.accept_cookie(packet, segment, syn_of(segment, mss), self)
        if endpoint is not None:
            layer.counters["tcp.cookies_received"] += 1
            endpoint.receive_segment(segment, now)
        return True

    def _admits(self) -> bool:
        """Whether an ACK that would complete a handshake may do so."""
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

    def closed(self, endpoint: TcpEndpoint, error: OSError | None) -> None:
        """The handshake failed; nobody has heard of this connection yet."""
        self._half_open.pop(endpoint, None)
        self.layer.counters["tcp.handshake_failed"] += 1

    def finish(self, endpoint: TcpEndpoint) -> None:
        """A half-open connection does not outlive its stack."""
        endpoint.abort()
