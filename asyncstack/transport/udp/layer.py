"""UDP over both IP families (RFC 768): finds the endpoint of a datagram, or answers "port unreachable"."""

from __future__ import annotations

import errno
from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING, Final

from asyncstack.errors import WireError, os_error
from asyncstack.network.addresses import format_address, is_multicast
from asyncstack.network.errors import IcmpError, Unreachable
from asyncstack.network.routing import Path
from asyncstack.transport.claims import Claim, Claims
from asyncstack.transport.context import TransportContext
from asyncstack.transport.ports import check_port, choose_ephemeral, spread
from asyncstack.transport.reach import Reaches
from asyncstack.transport.udp.queue import HEARD_HERE, STAYS_HERE, Way
from asyncstack.wire.checksum import fold, pseudo_header_sum, verify
from asyncstack.wire.packet import Packet
from asyncstack.wire.udp import Datagram, build, parse

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface
    from asyncstack.transport.udp.binding import BoundEndpoint
    from asyncstack.transport.udp.interface_port import InterfacePort

PROTOCOL_UDP: Final = 17
UDP_HEADER: Final = 8
CHECKSUM_OFFSET: Final = 6
COPIES_KEPT: Final = 256  # datagrams to many that wait for the next turn of the loop to be heard here
LARGEST_PAYLOAD: Final = {4: 65507, 16: 65527}

Binding = tuple[
    bytes, int, bytes, int
]  # local address, local port, remote address, remote port; b"" and 0: any


class UdpLayer:
    """The UDP of one stack. Registered with both IP layers."""

    def __init__(self, context: TransportContext) -> None:
        self.context = context
        self.loop = context.loop
        self.clock = context.clock
        self.config = context.config
        self.addresses = context.addresses
        self.routes = context.routes
        self.counters = context.counters
        self.endpoints: dict[Binding, tuple[BoundEndpoint, ...]] = {}
        self.claims = Claims()
        self._local = context.addresses.local
        self._copies: deque[Packet] = deque()
        self.reaches: Reaches[BoundEndpoint] = Reaches()
        self.interface_ports: dict[int, dict[Interface, InterfacePort]] = {}
        context.ipv4.register(PROTOCOL_UDP, self, self.wants)
        context.ipv6.register(PROTOCOL_UDP, self, self.wants)

    # receive

    async def receive(self, packet: Packet) -> None:
        """A UDP packet for one of our addresses, a broadcast, or a group we listen to."""
        try:
            datagram = parse(packet.payload)
        except WireError:
            self.counters["udp.malformed"] += 1
            return
        if not packet.checksum_valid and not self._verify(packet, datagram.checksum, datagram.length):
            self.counters["udp.bad_checksum"] += 1
            return
        dst = packet.dst
        ours = dst in self._local
        if not ours:
            if self._is_for_many(dst):
                self._deliver_to_all(packet, datagram)
                return
            ours = self.addresses.is_local(dst)
        endpoint = self._find(dst, datagram.dst_port, packet.src, datagram.src_port, ours)
        if endpoint is not None:
            endpoint.deliver(bytes(datagram.payload), packet, datagram.src_port)
            return
        if self._deliver_to_interface_port(packet, datagram):
            return
        head, probes = packet.payload, self.context.probes
        if probes and probes.answered(PROTOCOL_UDP, packet, bytes(head[2:4]) + bytes(head[:2])):
            return
        self.counters["udp.no_endpoint"] += 1
        if ours:
            self.context.ip_for(packet.dst).send_error(packet, Unreachable.PORT)

    def _is_for_many(self, destination: bytes) -> bool:
        return is_multicast(destination) or self.addresses.is_broadcast(destination)

    def _deliver_to_all(self, packet: Packet, datagram: Datagram) -> None:
        """A broadcast, or a datagram to a group: for every endpoint that hears it, as on Linux."""
        dst, port, endpoints = packet.dst, datagram.dst_port, self.endpoints
        hearing = [
            endpoint
            for binding in (
                (dst, port, packet.src, datagram.src_port),
                (dst, port, b"", 0),
                (bytes(len(dst)), port, b"", 0),
            )
            for endpoint in endpoints.get(binding, ())
            if endpoint.hears(dst, packet.interface, packet.src)
        ]
        if not self._deliver_to_interface_port(packet, datagram) and not hearing:
            self.counters["udp.no_endpoint"] += 1
        data = bytes(datagram.payload)
        for endpoint in hearing:
            endpoint.deliver(data, packet, datagram.src_port)

    def _deliver_to_interface_port(self, packet: Packet, datagram: Datagram) -> bool:
        """Whether one takes it."""
        port = self.interface_ports.get(datagram.dst_port, {}).get(packet.interface)
        if port is None or len(packet.dst) == 16:
            return False
        port.receive(bytes(datagram.payload), packet)
        return True

    @staticmethod
    def _verify(packet: Packet, checksum: int, length: int) -> bool:
        if checksum == 0:
            return len(packet.src) == 4  # RFC 8200 8.1: IPv6 has no datagrams without a checksum
        header_sum = pseudo_header_sum(packet.src, packet.dst, PROTOCOL_UDP, length)
        return verify(packet.payload[:length], header_sum)

    def wants(self, packet: Packet) -> bool:
        """Whether a packet to another host is for an endpoint on its network, or perhaps for an interface's port."""
        if packet.more_fragments or packet.fragment_offset:
            return self.reaches.covers(packet.dst)
        port = int.from_bytes(packet.payload[2:4], "big")
        return port in self.interface_ports or bool(self.reaches.find(packet.dst, port, False))

    def _find(
        self, local: bytes, port: int, remote: bytes, remote_port: int, ours: bool
    ) -> BoundEndpoint | None:
        """The most specific endpoint: connected, bound to the address, bound to any address, or to a network that it is
        in. ours: `local` is an address of this stack."""
        endpoints, anywhere = self.endpoints, bytes(len(local))
        sharing: tuple[BoundEndpoint, ...] | None = None
        if ours:
            sharing = (
                endpoints.get((local, port, remote, remote_port))
                or endpoints.get((local, port, b"", 0))
                or endpoints.get((anywhere, port, b"", 0))
            )
        sharing = sharing or self.reaches.find(local, port, ours)
        if len(sharing) == 1:
            return sharing[0]
        return self._choose(sharing, local, port, remote, remote_port) if sharing else None

    def _choose(
        self, sharing: tuple[BoundEndpoint, ...], local: bytes, port: int, remote: bytes, remote_port: int
    ) -> BoundEndpoint:
        """Of those that share a binding by SO_REUSEADDR the last one; by SO_REUSEPORT each has its part of the peers,
        as on Linux."""
        claim = sharing[-1].claim
        if claim is not None and not claim.reuse_port:
            return sharing[-1]
        return sharing[spread(self._secret, local, port, remote, remote_port) % len(sharing)]

    @cached_property
    def _secret(self) -> bytes:
        return self.context.rng.randbytes(32)

    def receive_error(self, error: IcmpError) -> bool:
        """An ICMP error about a datagram of ours. False: no endpoint can have sent it."""
        quoted = error.quoted
        local_port = int.from_bytes(quoted.payload[:2], "big")
        remote_port = int.from_bytes(quoted.payload[2:4], "big")
        ours = self.addresses.is_local(quoted.src)
        endpoint = self._find(quoted.src, local_port, quoted.dst, remote_port, ours)
        if endpoint is None:
            return self.context.probes.failed(error, bytes(quoted.payload[:4]))
        where = f"{format_address(quoted.dst)} port {remote_port}"
        endpoint.receive_error(os_error(error.errno, f"{error.kind.value}: datagram to {where}"))
        return True

    # send

    def send(self, path: Path, src_port: int, dst_port: int, data: bytes, ttl: int = 0, tos: int = 0) -> bool:
        """Send one datagram now; ttl 0: the stack's. False: no room, and it is lost. Raises OSError(EMSGSIZE)."""
        if len(data) > LARGEST_PAYLOAD[len(path.destination)]:
            raise os_error(errno.EMSGSIZE, f"a datagram of {len(data)} bytes")
        length = UDP_HEADER + len(data)
        header = build(src_port, dst_port, len(data), fold(path.address_sum + PROTOCOL_UDP + length))
        send = self.context.ip_of(path).send
        return send(
            path,
            PROTOCOL_UDP,
            (header, data),
            checksum_offset=CHECKSUM_OFFSET,
            ttl=ttl,
            tos=tos,
            dont_fragment=False,
        )

    def send_to_many(self, way: Way, src_port: int, dst_port: int, data: bytes) -> None:
        """`send`, and have those here that it is for hear it too, as if it had come by the interface it leaves by."""
        path, ttl, tos, many, _ = way
        if not many & STAYS_HERE:
            self.send(path, src_port, dst_port, data, ttl, tos)
        elif len(data) > LARGEST_PAYLOAD[len(path.destination)]:
            raise os_error(errno.EMSGSIZE, f"a datagram of {len(data)} bytes")
        if not many & HEARD_HERE:
            return
        dst, interface = path.destination, path.interface
        if is_multicast(dst) and not self.addresses.groups.accepts(dst, interface, path.source):
            return
        if len(self._copies) >= COPIES_KEPT:
            self.counters["udp.copies_full"] += 1
            return
        whole = memoryview(build(src_port, dst_port, len(data)) + data)
        ttl = ttl or self.config.ttl
        copy = Packet(
            path.source, dst, PROTOCOL_UDP, whole, whole, ttl=ttl, tos=tos & 0xFF, interface=interface
        )
        copy.flow_label = tos >> 8
        if not self._copies:
            self.loop.call_soon(self._receive_copies)
        self._copies.append(copy)

    def _receive_copies(self) -> None:
        """In a turn of its own, as what comes from others does; what is sent meanwhile waits for the next."""
        copies, self._copies = self._copies, deque()
        for packet in copies:
            self._deliver_to_all(packet, parse(packet.payload))

    def interface_of(self, address: bytes) -> Interface | None:
        """The interface that has this address of ours."""
        entry = self._local.get(address)
        return None if entry is None else entry.interface

    def own_address(self, destination: bytes, source: bytes, index: int) -> bytes:
        """The address of ours that a datagram from `source` to `destination` was for: of many, that of the interface
        with this index."""
        interface = self.context.interface_at(index)
        if interface is None or not self._is_for_many(destination):
            return destination
        chosen = self.addresses.select_source(source, source, interface)
        return b"" if chosen is None else chosen.address

    # bind

    def claim(
        self, hosts: list[bytes], port: int, *, reuse_address: bool = False, reuse_port: bool = False
    ) -> Claim:
        """A claim that nobody excludes, to be held in `claims` by the caller. As on Linux an address and all of its
        family exclude one another, connected or not. Raises OSError EADDRNOTAVAIL, EADDRINUSE."""
        for host in hosts:
            if any(host) and not self._may_bind(host):
                detail = f"bind to {format_address(host)}: not an address of this stack"
                raise os_error(errno.EADDRNOTAVAIL, detail)
        if not check_port(port):
            port = choose_ephemeral(
                self.context.rng,
                self.config.ephemeral_ports,
                lambda candidate: not self.claims.admits(Claim(hosts, candidate)),
            )
        claim = Claim(hosts, port, reuse_address=reuse_address, reuse_port=reuse_port)
        if not self.claims.admits(claim):
            raise os_error(errno.EADDRINUSE, f"bind to {format_address(hosts[0])} port {port}")
        return claim

    def _may_bind(self, host: bytes) -> bool:
        addresses = self.addresses
        return addresses.is_local(host) or is_multicast(host) or addresses.is_broadcast(host)

    def add(self, binding: Binding, endpoint: BoundEndpoint) -> None:
        """Deliver to `endpoint` from now on what comes for `binding`."""
        self.endpoints[binding] = (*self.endpoints.get(binding, ()), endpoint)

    def remove(self, binding: Binding, endpoint: BoundEndpoint) -> None:
        """Deliver no more."""
        left = tuple(one for one in self.endpoints.pop(binding, ()) if one is not endpoint)
        if left:
            self.endpoints[binding] = left

    def _all(self) -> list[BoundEndpoint]:
        """Every endpoint once, in order."""
        bound = (one for sharing in self.endpoints.values() for one in sharing)
        return list(dict.fromkeys((*bound, *self.reaches.all())))

    def interface_down(self, interface: object, error: OSError) -> None:
        """Tell every endpoint."""
        for endpoint in self._all():
            endpoint.interface_down(interface, error)
        for port in [one for place in self.interface_ports.values() for one in place.values()]:
            if port.interface is interface:
                port.close()
                port.down(error)

    def address_removed(self, address: bytes, error: OSError) -> None:
        """Tell every endpoint that is bound to `address`, or connected from it, that it is gone."""
        for endpoint in self._all():
            endpoint.address_removed(address, error)

    def close(self) -> None:
        """Close every endpoint at once."""
        for endpoint in self._all():
            endpoint.owner.end()
