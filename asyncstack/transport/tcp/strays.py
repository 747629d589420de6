"""Segments that belong to no connection: TIME-WAIT's, a listener's, or answered by a reset (RFC 9293 3.10.7.1).

A packet to an address that is not ours comes here only if `wants` said so; what answers it leaves from that address.
Resets are limited per second: strangers can make us send them to whom they like.
"""

from __future__ import annotations

from asyncstack.network.addresses import is_link_local
from asyncstack.network.rate_limit import TokenBucket
from asyncstack.network.routing import Path
from asyncstack.transport.context import TransportContext
from asyncstack.transport.tcp.endpoint import CHECKSUM_OFFSET, PROTOCOL_TCP, Key, TcpEndpoint
from asyncstack.transport.tcp.listeners import Listeners
from asyncstack.transport.tcp.reset import reset_for
from asyncstack.transport.tcp.time_wait import TimeWaitTable
from asyncstack.wire.packet import Packet
from asyncstack.wire.tcp import FIN, RST, Segment, build_partial


class Strays:
    """Looks into the tables of its layer, which it does not own."""

    __slots__ = ("_challenges", "_connections", "_context", "_listeners", "_resets", "_time_wait")

    def __init__(
        self,
        context: TransportContext,
        connections: dict[Key, TcpEndpoint],
        listeners: Listeners,
        time_wait: TimeWaitTable,
        challenges: TokenBucket,
    ) -> None:
        self._context = context
        self._connections = connections
        self._listeners = listeners
        self._time_wait = time_wait
        self._challenges = challenges
        rate = context.config.resets_per_second
        self._resets = TokenBucket(rate, int(rate) + 1, context.rng)

    def wants(self, packet: Packet) -> bool:
        """Whether a packet to an address that is not ours is a connection's, or for a listener on its network."""
        if packet.more_fragments or packet.fragment_offset:
            return self._listeners.reaches.covers(packet.dst)
        head = packet.payload
        remote_port, local_port = int.from_bytes(head[:2], "big"), int.from_bytes(head[2:4], "big")
        key = (packet.dst, local_port, packet.src, remote_port)
        return (
            key in self._connections
            or key in self._time_wait
            or self._listeners.find(*key, local=False) is not None
        )

    def receive(self, packet: Packet, segment: Segment) -> None:
        """A segment of no connection: TIME-WAIT, a SYN for a listener, or RST (RFC 9293 3.10.7.1)."""
        key = (packet.dst, segment.dst_port, packet.src, segment.src_port)
        local = self._context.addresses.is_local(packet.dst)
        if not segment.src_port or not (local or self.wants(packet)):
            self._context.counters["tcp.not_unicast"] += 1
            return
        now = self._context.clock()
        listener = None if segment.flags & RST else self._listeners.find(*key, local=local)
        iss: int | None = None
        if key in self._time_wait:
            if listener is not None and listener.has_room:  # else TIME-WAIT would end for nothing
                iss = self._time_wait.take_syn(key, segment)
            if iss is None:
                answer = self._time_wait.receive_segment(key, segment, now)
                if answer is not None and (segment.flags & FIN or self._challenges.take(now)):
                    self._answer(packet, answer)
                return
        if listener is not None and listener.receive_segment(packet, segment, iss):
            return
        probes = self._context.probes
        if probes:  # the answer of one is reset as any other: nothing is open here
            ports = packet.payload
            probes.answered(PROTOCOL_TCP, packet, bytes(ports[2:4]) + bytes(ports[:2]))
        reset = reset_for(segment)
        if reset is None:
            return
        if self._resets.take(now):
            self._context.counters["tcp.reset_sent"] += 1
            self._answer(packet, reset)
        else:
            self._context.counters["tcp.reset_rate_limited"] += 1

    def _answer(self, packet: Packet, segment: Segment) -> None:
        """Answer `packet` with a segment that belongs to no connection."""
        path = self.path_back(packet)
        if path is not None:
            self.reply(path, segment)

    def path_back(self, packet: Packet) -> Path | None:
        """The path to the sender of `packet`, from where it was sent to; None if there is none."""
        try:
            interface = packet.interface if is_link_local(packet.src) else None
            return self._context.routes.lookup(packet.src, packet.dst, interface, foreign=True)
        except OSError:
            self._context.counters["tcp.no_route"] += 1
            return None

    def reply(self, path: Path, segment: Segment, ttl: int = 0) -> None:
        """Send one segment that belongs to no connection; ttl 0: the stack's."""
        labels = self._context.ipv6.flow_labels
        tos = labels.mark(path, PROTOCOL_TCP, segment.src_port, segment.dst_port)
        header = build_partial(segment, path.address_sum + PROTOCOL_TCP)
        self._context.ip_of(path).send(
            path, PROTOCOL_TCP, (header,), checksum_offset=CHECKSUM_OFFSET, tos=tos, ttl=ttl
        )
