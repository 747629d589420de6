"""One TCP connection on the loop: feeds the sans-I/O machine and carries what it says to IP and to its owner.

The endpoint knows nothing of asyncio's transports. Its owner (a `TcpTransport`, a listener while the handshake
lasts) is told what happened; the layer keeps the endpoint until the machine has ended, also after the owner
has gone, as the kernel keeps an orphan.
"""

from __future__ import annotations

import math
from errno import ECONNABORTED, ENOBUFS
from typing import TYPE_CHECKING, Final

from asyncstack.config import TcpConfig
from asyncstack.errors import os_error
from asyncstack.network.routing import Path
from asyncstack.transport.endpoint_socket import SocketAddress, socket_address
from asyncstack.transport.tcp.connection import Connection
from asyncstack.transport.tcp.output import silent
from asyncstack.transport.tcp.state import (
    CLOSED,
    CLOSED_BIT,
    EOF_BIT,
    OPENED_BIT,
    READABLE_BIT,
    TIME_WAIT,
    WRITABLE_BIT,
)
from asyncstack.wire.tcp import Segment, build_partial

if TYPE_CHECKING:
    from asyncstack.transport.tcp.info import TcpInfo
    from asyncstack.transport.tcp.layer import TcpLayer

PROTOCOL_TCP: Final = 6
CHECKSUM_OFFSET: Final = 16
ENDED: Final = (CLOSED, TIME_WAIT)  # of TIME-WAIT the layer keeps a few numbers
ROUTE_INTERVAL: Final = 3.0  # seconds between two looks for a route
HEADER_ESTIMATE: Final = 60  # charged to the sender's quantum for each segment beside its payload

Key = tuple[bytes, int, bytes, int]  # local address, local port, remote address, remote port


class Owner:
    """Told what became of a connection. Called with the machine consistent; may call back into the endpoint.

    The base is an owner that does nothing about it: that of a connection whose application has gone.
    """

    __slots__ = ()

    def opened(self, endpoint: TcpEndpoint) -> None:
        """The handshake is complete."""

    def readable(self) -> None:
        """In-order data is there to be read."""

    def ended(self) -> None:
        """The peer has sent its FIN, after all the data."""

    def writable(self) -> None:
        """The peer acknowledged data: the send queue is shorter."""

    def closed(self, endpoint: TcpEndpoint, error: OSError | None) -> None:
        """The connection is over; `error` says why if it did not end in order."""

    def finish(self, endpoint: TcpEndpoint) -> None:
        """The stack is about to end: close in order what is open."""


ORPHAN: Final = Owner()


class TcpEndpoint:
    """A connection in the layer's table. It is also what queues for a turn on the interface (`Sender`).

    `path` is that of all connections between two hosts; what is this one's alone is `mark`, its flow label as IP's
    `send` takes it.
    """

    __slots__ = (
        "_released",
        "_send",
        "_tos",
        "_ttl",
        "connection",
        "deadline",
        "fires_at",
        "held",
        "key",
        "layer",
        "owner",
        "path",
        "queued",
    )

    def __init__(
        self, layer: TcpLayer, connection: Connection, key: Key, path: Path, owner: Owner, mark: int = 0
    ) -> None:
        self.layer = layer
        self.connection = connection
        self.key = key
        self.path = path
        self.owner = owner
        self.queued = False
        self._send = layer.send_ipv4 if len(key[0]) == 4 else layer.send_ipv6
        self._tos = mark
        self._mark_packets(connection.config)
        self._released = False
        self.held = 0  # bytes of ours in the memory budget: written and not acknowledged
        self.deadline = self.fires_at = math.inf  # of its timer, see `TimerQueue`

    # inputs

    def receive_segment(self, segment: Segment, now: float) -> None:
        """A segment for this connection, its checksum verified."""
        self.connection.receive_segment(segment, now)
        self.settle()

    def open(self) -> None:
        """Start an active open."""
        self.connection.open(self.layer.clock())
        self.settle()

    def write(self, data: bytes) -> None:
        """Append to the send queue. Raises OSError(ENOBUFS) when half of the stack's memory is used up, if this
        connection has its share of what waits; when all of it is, whoever it is."""
        layer = self.layer
        memory = layer.memory
        if memory.held > memory.no_growth and (
            self.held > self.connection.send_buffer_limit or memory.held > memory.limit
        ):
            detail = f"connections hold {memory.held} bytes; await drain(), or obey pause_writing()"
            raise os_error(ENOBUFS, detail)
        self.connection.write(data)
        self.held += len(data)
        memory.held += len(data)
        interface = self.path.interface
        if not self.queued:
            interface.mark_ready(self)
        if not interface.device.writable:
            self.blocked(layer.clock())

    def shutdown(self) -> None:
        """Half-close: FIN after the data."""
        self.connection.shutdown(self.layer.clock())
        self.settle()

    def close(self) -> None:
        """The application has gone; the machine finishes alone."""
        self.connection.close(self.layer.clock())
        self.settle()

    def abort(self) -> None:
        """RST, and the end."""
        self.connection.abort(self.layer.clock())
        self.settle()

    def discard(self) -> None:
        """End without a word to the peer."""
        self.fail(ECONNABORTED)

    def configure(self, config: TcpConfig) -> None:
        """Go by other settings: what they let go may leave, what they time is timed, whom they name takes over the
        congestion window. Raises TypeError or ValueError for a controller that is none."""
        connection, now = self.connection, self.layer.clock()
        if config.congestion != connection.config.congestion:
            connection.sender.set_controller(self.layer.controllers.find(config.congestion), now)
        connection.configure(config, now)
        self._mark_packets(config)
        self.settle()

    def _mark_packets(self, config: TcpConfig) -> None:
        label = self._tos & ~0xFF
        if len(self.key[0]) == 4:
            self._tos, self._ttl = label | config.tos, config.ttl
        else:
            self._tos, self._ttl = label | config.traffic_class, config.hops

    def path_mtu_changed(self) -> None:
        """A router could not pass a segment of ours on: make them fit (RFC 1191, RFC 8201)."""
        if not self._released and self._reroute():
            self.settle()

    def receive_error(self, errno: int, hard: bool, seq: int) -> None:
        """An ICMP error about a segment of ours that began at `seq` (raw, 32 bits)."""
        self.connection.receive_error(errno, hard, seq, self.layer.clock())
        self.settle()

    def fail(self, errno: int) -> None:
        """End with `errno`: no segment can be sent any more, not even the last one of a connection that has ended."""
        self.connection.fail(errno)
        self.settle()
        self.release()

    def timer_expired(self, now: float) -> None:
        """The earliest of the connection's timers is due."""
        self.connection.timer_expired(now)
        self.settle()

    def unreachable(self, error: OSError) -> None:
        """The next hop does not answer: fatal while connecting, a hint afterwards (RFC 1122 4.2.3.9).

        What waits is tried again when the retransmission timer expires, and the neighbour is asked anew then.
        """
        self.connection.receive_unreachable(error.errno or 0, self.layer.clock())
        if self.connection.state in ENDED:
            self.settle()

    def blocked(self, now: float) -> None:
        """The device has no room for us: time passes all the same."""
        self.connection.held_up(now)
        self._arm()

    def info(self) -> TcpInfo:
        """The connection's numbers, and its addresses."""
        info = self.connection.info(self.layer.clock())
        info.local, info.remote = self.sockname, self.peername
        info.pmtu = self.path.mtu
        return info

    @property
    def sockname(self) -> SocketAddress:
        """(host, port), or (host, port, flowinfo, scope_id) for IPv6."""
        return socket_address(*self.key[:2], self.path.interface.index)

    @property
    def peername(self) -> SocketAddress:
        """The same of the other end."""
        return socket_address(*self.key[2:], self.path.interface.index)

    # outputs

    def settle(self) -> None:
        """Carry out what the machine says after any input or command: events, timer, a turn to send."""
        connection = self.connection
        happened = connection.happened  # `connection.events()` as bits, in its order
        if happened:
            connection.happened = 0
            if happened & OPENED_BIT:
                if self.layer.observer is not None:
                    self.layer.observer.established(self)
                self.owner.opened(self)
            if happened & READABLE_BIT:
                self.owner.readable()
            if happened & EOF_BIT:
                self.owner.ended()
            if happened & WRITABLE_BIT:
                path, queue = self.path, connection.sender.queue
                held = queue.end - queue.una  # `connection.queued`, a call less
                if held < 0:  # the ACK of a FIN lies beyond
                    held = 0
                self.layer.memory.held += held - self.held
                self.held = held
                if not path.interface.point_to_point:
                    path.interface.link.confirm(path.next_hop, connection.heard_at)  # RFC 4861 7.3.1
                self.owner.writable()
            if happened & CLOSED_BIT:
                self._end()
        if self.layer.observer is not None:
            self.layer.observer.settled(self)
        if self._released:
            return
        interface = self.path.interface
        if not interface.device.writable:
            self.blocked(self.layer.clock())
        # else the turn to send sets the timer: the deadline may have moved by then
        if not self.queued:
            if silent(connection):
                self._arm()
            else:
                interface.mark_ready(self)

    def _arm(self) -> None:
        self.deadline = deadline = min(self.connection.timers)  # `connection.deadline`, a call less
        if deadline < self.fires_at:
            self.layer.timers.arm(self, deadline)

    def _end(self) -> None:
        self.layer.memory.held -= self.held
        self.held = 0
        owner, self.owner = self.owner, ORPHAN
        errno = self.connection.error
        if self.layer.observer is not None:
            self.layer.observer.settled(self)
            self.layer.observer.closed(self)
        owner.closed(self, os_error(errno) if errno else None)
        if self.connection.state is CLOSED and self.connection.reply is None:
            self.release()  # nothing is left to say; what still comes is of no connection

    def release(self) -> None:
        """Leave the layer's table. The machine has ended and its last segment is sent, or will never be."""
        if not self._released:
            self._released = True
            self.layer.timers.cancel(self)
            self.path.interface.forget(self)
            self.path.interface.link.unpark(self)
            self.layer.remove(self)

    def transmit(self, now: float, quantum: int) -> bool:
        """Build and send what may leave now (`Sender`)."""
        path = self.path
        if path.generation != self.layer.routes.generation:
            interface = path.interface
            if not self._reroute():
                return self._wait_for_route(now)
            path = self.path
            if path.interface is not interface:
                path.interface.mark_ready(self)
                return False
        interface = path.interface
        if not interface.point_to_point and interface.link.resolve(path.next_hop, now) is None:
            interface.link.park(path.next_hop, self)
            self.connection.held_up(now)
            return self._sent_all()
        connection, device, send, tos, ttl = (
            self.connection,
            interface.device,
            self._send,
            self._tos,
            self._ttl,
        )
        while quantum > 0 and device.writable:
            segment = connection.segment_to_send(now)
            if segment is None:
                break
            payload = segment.payload
            quantum -= len(payload) + HEADER_ESTIMATE
            header = build_partial(segment, path.address_sum + PROTOCOL_TCP)
            parts = (header, payload) if payload else (header,)
            # by position: a call with names costs twice as much
            send(path, PROTOCOL_TCP, parts, CHECKSUM_OFFSET, segment.gso_size, tos | segment.ecn, ttl)
            if connection.drained:
                break
        else:
            self._arm()
            return True
        return self._sent_all()

    def _sent_all(self) -> bool:
        if self.connection.state in ENDED:
            self.release()
            return False
        # `_arm`, a call less
        self.deadline = deadline = min(self.connection.timers)
        if deadline < self.fires_at:
            self.layer.timers.arm(self, deadline)
        return False

    def _reroute(self) -> bool:
        """Routes have changed: find the way anew. It may be by another interface, or take smaller packets."""
        try:
            path = self.layer.path_like(self.path)
        except OSError:
            self.layer.counters["tcp.no_route"] += 1
            return False
        before, self.path = self.path.interface, path
        if path.interface is not before:
            before.forget(self)
            before.link.unpark(self)
        mss = self.layer.sizes(path)[0]
        if mss != self.connection.path_mss:  # a router told another connection, or the way is a different one
            self.connection.set_path_mss(mss, self.layer.clock())
        return True

    def _wait_for_route(self, now: float) -> bool:
        """Nobody tells when there is a route again: look now and then."""
        if self.connection.state in ENDED:
            self.release()
        else:
            self.connection.held_up(now)
            self._arm()
            if self.connection.owing:
                self.deadline = min(self.deadline, now + ROUTE_INTERVAL)
                if self.deadline < self.fires_at:
                    self.layer.timers.arm(self, self.deadline)
        return False
