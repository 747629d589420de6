"""IPv4: receives packets that are for us, sends ours (RFC 791, RFC 1122 section 3).

`receive` and `send` are the hot path of every transport. The rare cases (other destinations, odd sources,
fragments) leave it early, into methods of their own.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

from asyncstack.errors import WireError
from asyncstack.link.frame import Buffer, Frame, OutgoingFrame
from asyncstack.network.addresses import ANY_IPV4, LIMITED_BROADCAST, is_multicast
from asyncstack.network.errors import Unreachable
from asyncstack.network.fragments import IPV4_TIMEOUT, LARGEST_DATAGRAM
from asyncstack.network.idents import Idents
from asyncstack.network.layer import NetworkLayer
from asyncstack.network.routing import Path
from asyncstack.timing import Clock, wall_clock_of
from asyncstack.wire import ipv4, ipv4_options
from asyncstack.wire.checksum import checksum
from asyncstack.wire.ethernet import ETHERTYPE_IPV4
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface
    from asyncstack.wire.ipv4_options import Options

_TCP: Final = 6
_parse = ipv4.parse

# As in wire.ipv4, with both addresses as one field: a Path has them joined, and their sum.
_HEADER = struct.Struct("!BBHHHBBH8s")
_pack = _HEADER.pack

# First bytes of addresses that need a closer look: this network, loopback, groups, reserved.
_SUSPECT: Final = bytes(first in (0, 127) or first >= 224 for first in range(256))


class Ipv4(NetworkLayer):
    """The IPv4 of one stack. `receive` is the interfaces' handler for ETHERTYPE_IPV4."""

    name = "ipv4"
    ethertype = ETHERTYPE_IPV4
    fragment_timeout = IPV4_TIMEOUT

    @cached_property
    def _idents(self) -> Idents:
        return Idents(self.rng)

    # receive

    async def receive(self, data: memoryview, frame: Frame, interface: Interface) -> None:
        """Process one packet to the end. Raises nothing whatever `data` holds; never suspends."""
        try:
            packet: Packet | None = _parse(data)
        except WireError:
            self.counters["ipv4.malformed"] += 1
            return
        assert packet is not None
        src, dst = packet.src, packet.dst
        if dst not in self._local or src in self._no_source or _SUSPECT[src[0]] or _SUSPECT[dst[0]]:
            refusal = self._refusal(packet, interface)
            if refusal:
                self.counters[refusal] += 1
                return
        packet.interface = interface
        if packet.options and not self._receive_options(packet):
            return
        if packet.more_fragments or packet.fragment_offset:
            packet = self._reassemble(packet, interface)
            if packet is None:
                return
        else:
            packet.checksum_valid = frame.checksum_valid
            packet.gso_size = frame.gso_size
        handler = self.handlers.get(packet.protocol)
        if handler is None:
            self.counters["ipv4.unknown_protocol"] += 1
            self.send_error(packet, Unreachable.PROTOCOL)
            return
        await handler.receive(packet)

    def parse(self, data: memoryview) -> Packet:
        """The packet in `data`. Raises WireError."""
        return _parse(data)

    def _refusal(self, packet: Packet, interface: Interface) -> str:
        """The counter for why `packet` is not for us, "" if it is."""
        src, dst = packet.src, packet.dst
        if interface is self.routes.loopback:
            accepted = self.addresses.is_local(dst) or self.addresses.groups.accepts(dst, interface, src)
            return "" if accepted else "ipv4.not_ours"
        if src[0] == 127 or dst[0] == 127:
            return "ipv4.martian"
        link_wide = is_multicast(dst) or dst == LIMITED_BROADCAST
        if src == ANY_IPV4:
            if not link_wide:  # a host without an address may only ask around
                return "ipv4.martian"
        elif src in self._no_source or _SUSPECT[src[0]]:
            return "ipv4.martian"  # with dst == src: the LAND attack
        if dst in self._local:
            return ""
        if self._wanted(packet):
            return ""
        if packet.protocol == _TCP:
            return "ipv4.not_ours"  # RFC 9293 3.9.2: connections are between two hosts
        if self.addresses.is_broadcast(dst, interface) or self.addresses.groups.accepts(
            dst, interface, src, packet.protocol == ipv4.PROTOCOL_IGMP
        ):
            return ""
        return "ipv4.not_ours"

    def _receive_options(self, packet: Packet) -> bool:
        """Do what the options say, and leave what came of it in `packet.options`. False: the packet is dropped."""
        try:
            options = ipv4_options.parse(packet.options)
            if options.record_route >= 0 or options.timestamp >= 0:
                self.stamp(options, self._answering(packet), arriving=True)
                packet.options = bytes(options.data)
        except ipv4_options.BadOption as exc:
            self.counters["ipv4.bad_option"] += 1
            self.send_error(packet, Unreachable.PARAMETER, pointer=exc.pointer)
            return False
        if options.source_route >= 0:  # RFC 7126 4.3: by default nobody should
            self.counters["ipv4.source_routed"] += 1
            if options.asks_to_be_passed_on:
                self.send_error(packet, Unreachable.SOURCE_ROUTE)
            return False
        return True

    def stamp(self, options: Options, address: bytes, *, arriving: bool = False) -> None:
        """Enter `address`, one of ours, and the time of day, where the options ask for it."""
        milliseconds = self.milliseconds()
        options.stamp(address, milliseconds, self.addresses.is_local, arriving=arriving)

    def milliseconds(self) -> int:
        """Since midnight UT, as timestamps have it (RFC 791 3.1)."""
        return int(self._wall_clock() * 1000) % 86_400_000

    @cached_property
    def _wall_clock(self) -> Clock:
        return wall_clock_of(self.loop)

    def _answering(self, packet: Packet) -> bytes:
        """The address of ours that an answer to `packet` would come from."""
        if self.addresses.is_local(packet.dst):
            return packet.dst
        try:
            return self.routes.lookup(packet.src).source
        except OSError:
            return ANY_IPV4

    def _rebuild(self, first: Packet, payload: bytes) -> Packet:
        header = bytearray(first.raw[: len(first.raw) - len(first.payload)])
        total = len(header) + len(payload)
        if total > LARGEST_DATAGRAM:
            raise WireError(f"IPv4: {total} bytes after reassembly")
        header[1] = first.tos
        header[2:4] = total.to_bytes(2, "big")
        header[6:8] = header[10:12] = b"\0\0"
        header[20:] = first.options
        header[10:12] = checksum(header).to_bytes(2, "big")
        return _parse(memoryview(bytes(header) + payload))

    # send

    def send(
        self,
        path: Path,
        protocol: int,
        parts: Sequence[Buffer],
        checksum_offset: int = -1,
        gso_size: int = 0,
        tos: int = 0,
        ttl: int = 0,
        dont_fragment: bool = True,
    ) -> bool:
        """Send a packet along `path`; `parts[0]` begins with the transport header.

        checksum_offset: where in that header the folded pseudo-header sum is; the device or the link completes
        it. -1: the checksum is complete. gso_size: payload bytes per wire segment of a super-segment. ttl 0: the
        stack's. A packet larger than the path takes is cut into fragments if `dont_fragment` is False. The
        buffers must not change until the packet is gone.

        Returns False if there was no room and the packet is lost. Raises OSError EMSGSIZE.
        """
        length = 20
        for part in parts:
            length += len(part)
        if length > path.mtu and not gso_size:
            if dont_fragment:
                raise self.too_big(path, length)
            payload = self.joined(path, parts, checksum_offset)
            return self._send_fragments(path, protocol, payload, ttl, tos)
        ident, fragment = 0, 0x4000  # RFC 6864 4.1: the ident of what is never cut has no meaning
        if path.fragile or not dont_fragment:
            ident, fragment = self._idents.next(path), 0
        ttl = ttl or self.ttl
        words = path.address_sum + 0x4500 + tos + length + ident + fragment + (ttl << 8) + protocol
        header = _pack(0x45, tos, length, ident, fragment, ttl, protocol, -words % 0xFFFF, path.addresses)
        if checksum_offset < 0:
            frame = OutgoingFrame([header, *parts])
        else:
            frame = OutgoingFrame([header, *parts], 20, checksum_offset, gso_size)
        interface = path.interface  # `transmit`, a call less
        return interface.transmit(frame) if interface.point_to_point else self.transmit(path, frame)

    def send_with_options(
        self,
        path: Path,
        protocol: int,
        message: Buffer,
        options: bytes,
        *,
        tos: int = 0,
        ttl: int = 0,
        dont_fragment: bool = False,
    ) -> bool:
        """As `send`, with at most 40 bytes of header options (`wire.ipv4_options.ROUTER_ALERT`), for a `message` whose
        checksum is complete. Raises OSError EMSGSIZE, ValueError."""
        length = 20 + (len(options) + 3 & ~3) + len(message)
        if length > path.mtu:
            if dont_fragment:
                raise self.too_big(path, length)
            return self._send_fragments(path, protocol, memoryview(message), ttl, tos, options)
        dont_fragment = dont_fragment and not path.fragile
        header = ipv4.build(
            path.source,
            path.destination,
            protocol,
            len(message),
            ttl=ttl or self.ttl,
            tos=tos,
            ident=0 if dont_fragment else self._idents.next(path),
            dont_fragment=dont_fragment,
            options=options,
        )
        return self.transmit(path, OutgoingFrame([header, message]))

    def _send_fragments(
        self,
        path: Path,
        protocol: int,
        payload: memoryview,
        ttl: int,
        tos: int,
        options: bytes = b"",
    ) -> bool:
        room = 20 + (len(options) + 3 & ~3)
        if room + len(payload) > LARGEST_DATAGRAM:
            raise self.too_big(path, room + len(payload))
        ident = self._idents.next(path)
        offset, size, sent = 0, len(payload), True
        while offset < size:
            piece = payload[offset : offset + (path.mtu - room & ~7)]
            header = ipv4.build(
                path.source,
                path.destination,
                protocol,
                len(piece),
                ttl=ttl or self.ttl,
                tos=tos,
                ident=ident,
                dont_fragment=False,
                more_fragments=offset + len(piece) < size,
                fragment_offset=offset,
                options=options,
            )
            sent = self.transmit(path, OutgoingFrame([header, piece])) and sent
            offset += len(piece)
            if options:
                options = ipv4_options.copied(options)
                room = 20 + (len(options) + 3 & ~3)
        self.counters["ipv4.fragmented"] += 1
        return sent
