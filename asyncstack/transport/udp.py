"""UDP over both IP families (RFC 768): finds the endpoint of a datagram, or answers "port unreachable"."""

from __future__ import annotations

import errno
from typing import Final, Protocol

from asyncstack.errors import WireError, os_error
from asyncstack.network.addresses import format_address, is_multicast
from asyncstack.network.errors import IcmpError, Unreachable
from asyncstack.network.routing import Path
from asyncstack.transport.claims import Claim, Claims
from asyncstack.transport.context import TransportContext
from asyncstack.transport.ports import check_port, choose_ephemeral
from asyncstack.wire.checksum import fold, pseudo_header_sum, verify
from asyncstack.wire.packet import Packet
from asyncstack.wire.udp import build, parse

PROTOCOL_UDP: Final = 17
UDP_HEADER: Final = 8
CHECKSUM_OFFSET: Final = 6
LARGEST_PAYLOAD: Final = {4: 65507, 16: 65527}

Binding = tuple[
    bytes, int, bytes, int
]  # local address, local port, remote address, remote port; b"" and 0: any


class DatagramEndpoint(Protocol):
    """Who has a binding."""

    def receive(self, data: bytes, packet: Packet, port: int) -> None:
        """A datagram, which `packet` brought from `port` of its source."""

    def receive_error(self, error: OSError) -> None:
        """An ICMP error about a datagram of ours."""

    def interface_down(self, interface: object, error: OSError) -> None:
        """`interface` is gone."""

    def abort(self) -> None:
        """The stack ends."""


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
        self.endpoints: dict[Binding, tuple[DatagramEndpoint, ...]] = {}
        self.claims = Claims()
        context.ipv4.register(PROTOCOL_UDP, self)
        context.ipv6.register(PROTOCOL_UDP, self)

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
        endpoint = self._find(packet.dst, datagram.dst_port, packet.src, datagram.src_port)
        if endpoint is not None:
            endpoint.receive(bytes(datagram.payload), packet, datagram.src_port)
            return
        self.counters["udp.no_endpoint"] += 1
        if self.addresses.is_local(packet.dst):
            self.context.ip_for(packet.dst).send_error(packet, Unreachable.PORT)

    @staticmethod
    def _verify(packet: Packet, checksum: int, length: int) -> bool:
        if checksum == 0:
            return len(packet.src) == 4  # RFC 8200 8.1: IPv6 has no datagrams without a checksum
        header_sum = pseudo_header_sum(packet.src, packet.dst, PROTOCOL_UDP, length)
        return verify(packet.payload[:length], header_sum)

    def _find(self, local: bytes, port: int, remote: bytes, remote_port: int) -> DatagramEndpoint | None:
        """The most specific endpoint: connected, bound to the address, bound to any address. Of several that share a
        binding the last one, as on Linux."""
        endpoints, anywhere = self.endpoints, bytes(len(local))
        sharing = (
            endpoints.get((local, port, remote, remote_port))
            or endpoints.get((local, port, b"", 0))
            or endpoints.get((anywhere, port, b"", 0))
        )
        return sharing[-1] if sharing else None

    def receive_error(self, error: IcmpError) -> bool:
        """An ICMP error about a datagram of ours. False: no endpoint can have sent it."""
        quoted = error.quoted
        local_port = int.from_bytes(quoted.payload[:2], "big")
        remote_port = int.from_bytes(quoted.payload[2:4], "big")
        endpoint = self._find(quoted.src, local_port, quoted.dst, remote_port)
        if endpoint is None:
            return False
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

    # bind

    def bind(self, local: bytes, port: int, remote: bytes, remote_port: int) -> Binding:
        """A binding nobody has. Port 0 picks a free one. Raises OSError EADDRNOTAVAIL, EADDRINUSE."""
        check_port(remote_port)
        return (local, self.claim([local], port).port, remote, remote_port)

    def claim(
        self, hosts: list[bytes], port: int, *, reuse_address: bool = False, reuse_port: bool = False
    ) -> Claim:
        """A claim that nobody excludes, to be held in `claims` by the caller. As on Linux an address and all of its
        family exclude one another, connected or not. Raises OSError EADDRNOTAVAIL, EADDRINUSE."""
        for host in hosts:
            if any(host) and not self.addresses.is_local(host) and not is_multicast(host):
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

    def add(self, binding: Binding, endpoint: DatagramEndpoint) -> None:
        """Deliver to `endpoint` from now on what comes for `binding`."""
        self.endpoints[binding] = (*self.endpoints.get(binding, ()), endpoint)

    def remove(self, binding: Binding, endpoint: DatagramEndpoint) -> None:
        """Deliver no more."""
        left = tuple(one for one in self.endpoints.pop(binding, ()) if one is not endpoint)
        if left:
            self.endpoints[binding] = left

    def _all(self) -> list[DatagramEndpoint]:
        """Every endpoint once, in order."""
        return list(dict.fromkeys(one for sharing in self.endpoints.values() for one in sharing))

    def interface_down(self, interface: object, error: OSError) -> None:
        """Tell every endpoint."""
        for endpoint in self._all():
            endpoint.interface_down(interface, error)

    def close(self) -> None:
        """Close every endpoint at once."""
        for endpoint in self._all():
            endpoint.abort()
