"""UDP over both IP families (RFC 768): finds the endpoint of a datagram, or answers "port unreachable"."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from asyncstack.errors import WireError, os_error
from asyncstack.network.addresses import format_address, is_multicast
from asyncstack.network.errors import IcmpError, Unreachable
from asyncstack.network.routing import Path
from asyncstack.transport.context import TransportContext
from asyncstack.transport.ports import check_port, choose_ephemeral
from asyncstack.wire.checksum import fold, pseudo_header_sum, verify
from asyncstack.wire.packet import Packet
from asyncstack.wire.udp import build, parse

if TYPE_CHECKING:
    from asyncstack.transport.datagram import DatagramTransport

PROTOCOL_UDP: Final = 17
UDP_HEADER: Final = 8
CHECKSUM_OFFSET: Final = 6
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
        self.endpoints: dict[Binding, DatagramTransport] = {}
        self._bound: dict[tuple[int, int], list[bytes]] = {}  # (family by size, port) -> local addresses
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
            endpoint.receive(bytes(datagram.payload), packet.src, datagram.src_port)
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

    def _find(self, local: bytes, port: int, remote: bytes, remote_port: int) -> DatagramTransport | None:
        """The most specific endpoint: connected, bound to the address, bound to any address."""
        endpoints, anywhere = self.endpoints, bytes(len(local))
        return (
            endpoints.get((local, port, remote, remote_port))
            or endpoints.get((local, port, b"", 0))
            or endpoints.get((anywhere, port, b"", 0))
        )

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

    def send(self, path: Path, src_port: int, dst_port: int, data: bytes) -> bool:
        """Send one datagram now. False: the device had no room and it is lost. Raises OSError(EMSGSIZE)."""
        if len(data) > LARGEST_PAYLOAD[len(path.destination)]:
            raise os_error(errno.EMSGSIZE, f"a datagram of {len(data)} bytes")
        length = UDP_HEADER + len(data)
        header = build(src_port, dst_port, len(data), fold(path.address_sum + PROTOCOL_UDP + length))
        send = self.context.ip_of(path).send
        return send(path, PROTOCOL_UDP, (header, data), checksum_offset=CHECKSUM_OFFSET, dont_fragment=False)

    # bind

    def bind(self, local: bytes, port: int, remote: bytes, remote_port: int) -> Binding:
        """A binding nobody has. Port 0 picks a free one. Raises OSError EADDRNOTAVAIL, EADDRINUSE."""
        if any(local) and not self.addresses.is_local(local) and not is_multicast(local):
            raise os_error(
                errno.EADDRNOTAVAIL, f"bind to {format_address(local)}: not an address of this stack"
            )
        check_port(remote_port)
        if not check_port(port):
            port = choose_ephemeral(
                self.context.rng,
                self.config.ephemeral_ports,
                lambda candidate: self._in_use(local, candidate),
            )
        elif self._in_use(local, port):
            raise os_error(errno.EADDRINUSE, f"bind to {format_address(local)} port {port}")
        return (local, port, remote, remote_port)

    def _in_use(self, local: bytes, port: int) -> bool:
        """As on Linux: an address and all of its family exclude one another, connected or not."""
        held = self._bound.get((len(local), port))
        return held is not None and (not any(local) or local in held or bytes(len(local)) in held)

    def add(self, endpoint: DatagramTransport) -> None:
        """Deliver to `endpoint` from now on."""
        local, port, _, _ = endpoint.binding
        self.endpoints[endpoint.binding] = endpoint
        self._bound.setdefault((len(local), port), []).append(local)

    def remove(self, endpoint: DatagramTransport) -> None:
        """The endpoint is closed."""
        if self.endpoints.pop(endpoint.binding, None) is not None:
            local, port, _, _ = endpoint.binding
            held = self._bound[len(local), port]
            held.remove(local)
            if not held:
                del self._bound[len(local), port]

    def interface_down(self, interface: object, error: OSError) -> None:
        """Tell every endpoint."""
        for endpoint in list(self.endpoints.values()):
            endpoint.interface_down(interface, error)

    def close(self) -> None:
        """Close every endpoint at once."""
        for endpoint in list(self.endpoints.values()):
            endpoint.abort()
