"""IPv6: receives packets that are for us, sends ours (RFC 8200). The twin of `network.ipv4`."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from asyncstack.errors import WireError
from asyncstack.link.frame import Buffer, Frame, OutgoingFrame
from asyncstack.network.addresses import ANY_IPV6, is_link_local, is_of_host
from asyncstack.network.errors import Unreachable
from asyncstack.network.flow_labels import FlowLabels
from asyncstack.network.fragments import IPV6_TIMEOUT, LARGEST_DATAGRAM
from asyncstack.network.layer import NetworkLayer
from asyncstack.network.routing import Path
from asyncstack.wire import icmpv6, ipv6
from asyncstack.wire.ethernet import ETHERTYPE_IPV6
from asyncstack.wire.ndp import HOP_LIMIT
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface

_TCP: Final = 6
_parse = ipv6.parse

_VERSION: Final = 6 << 28  # in the first word of a header

# As in wire.ipv6, with both addresses as one field: a Path has them joined.
_HEADER = struct.Struct("!IHBB32s")
_pack = _HEADER.pack

# First bytes of addresses that need a closer look: ::, ::1 and IPv4-mapped ones, groups; link-local ones mean something
# on their own link alone.
_SUSPECT_SOURCE: Final = bytes(first in (0, 0xFF) for first in range(256))
_SUSPECT_DESTINATION: Final = bytes(first in (0, 0xFE) for first in range(256))
_MAPPED: Final = bytes(10) + b"\xff\xff"

_PROBLEMS: Final = {
    ipv6.ERRONEOUS_FIELD: Unreachable.PARAMETER,
    ipv6.UNKNOWN_NEXT_HEADER: Unreachable.PROTOCOL,
    ipv6.UNKNOWN_OPTION: Unreachable.OPTION,
}


class Ipv6(NetworkLayer):
    """The IPv6 of one stack. `receive` is the interfaces' handler for ETHERTYPE_IPV6."""

    name = "ipv6"
    ethertype = ETHERTYPE_IPV6
    fragment_timeout = IPV6_TIMEOUT

    @cached_property
    def flow_labels(self) -> FlowLabels:
        """The labels of its flows."""
        return FlowLabels(self.rng)

    # receive

    async def receive(self, data: memoryview, frame: Frame, interface: Interface) -> None:
        """Process one packet to the end. Raises nothing whatever `data` holds; never suspends."""
        try:
            packet: Packet | None = _parse(data)
        except WireError as exc:
            self.counters["ipv6.malformed"] += 1
            if isinstance(exc, ipv6.HeaderError):
                self._report_header(exc, interface)
            return
        assert packet is not None
        src, dst = packet.src, packet.dst
        if (
            dst not in self._local
            or src in self._no_source
            or _SUSPECT_SOURCE[src[0]]
            or _SUSPECT_DESTINATION[dst[0]]
        ):
            refusal = self._refusal(packet, interface)
            if refusal:
                self.counters[refusal] += 1
                return
        packet.interface = interface
        if packet.more_fragments or packet.fragment_offset:
            packet = self._reassemble(packet, interface)
            if packet is None:
                return
        else:
            packet.checksum_valid = frame.checksum_valid
            packet.gso_size = frame.gso_size
        handler = self.handlers.get(packet.protocol)
        if handler is None:
            self._refuse_protocol(packet)
        elif packet.protocol == _TCP and dst[0] == 0xFF:
            self.counters["ipv6.not_ours"] += 1  # RFC 9293 3.9.2: connections are between two hosts
        else:
            await handler.receive(packet)

    def parse(self, data: memoryview) -> Packet:
        """The packet in `data`. Raises WireError."""
        return _parse(data)

    def _refusal(self, packet: Packet, interface: Interface) -> str:
        """The counter for why `packet` is not for us, "" if it is."""
        src, dst = packet.src, packet.dst
        loopback = self.routes.loopback
        if interface is loopback:
            accepted = dst in self._local or self.addresses.groups.accepts(dst, interface, src)
            return "" if accepted else "ipv6.not_ours"
        if src == ANY_IPV6:
            # a host without an address may only ask whether one is free (RFC 4862 5.4)
            if packet.protocol != icmpv6.PROTOCOL:
                return "ipv6.martian"
        elif src[0] == 0xFF or (src in self._no_source and not _is_claim(packet)):
            return "ipv6.martian"
        elif src.startswith(_MAPPED):
            return "ipv6.martian"  # who reads it in a dual-stack socket takes it for an IPv4 host, 127.0.0.1 perhaps
        owner = self._local.get(dst)
        if owner is not None:
            if owner.interface is loopback:
                return "ipv6.martian"
            elsewhere = is_link_local(dst) and owner.interface is not interface  # RFC 4007 9
            return "ipv6.not_ours" if elsewhere else ""
        if is_of_host(dst):
            return "ipv6.martian"
        may_query = packet.protocol == icmpv6.PROTOCOL
        if dst[0] == 0xFF and self.addresses.groups.accepts(dst, interface, src, may_query):
            return ""
        return "" if self._wanted(packet) else "ipv6.not_ours"

    def _report_header(self, error: ipv6.HeaderError, interface: Interface) -> None:
        """Tell the sender of a packet for us which of its headers is why nobody gets it."""
        packet = error.packet
        packet.interface = interface
        if not self._refusal(packet, interface):
            self.send_error(packet, _PROBLEMS[error.code], pointer=error.pointer)

    def _refuse_protocol(self, packet: Packet) -> None:
        self.counters["ipv6.unknown_protocol"] += 1
        if packet.protocol != ipv6.NO_NEXT_HEADER:  # RFC 8200 4.7: nothing follows, so nothing is missing
            field = ipv6.next_header_field(packet.raw, len(packet.raw) - len(packet.payload))
            self.send_error(packet, Unreachable.PROTOCOL, pointer=field)

    def _reassemble(self, packet: Packet, interface: Interface) -> Packet | None:
        if packet.more_fragments and len(packet.payload) & 7:  # RFC 8200 4.5
            self.send_error(packet, Unreachable.PARAMETER, pointer=ipv6.PAYLOAD_LENGTH_FIELD)
        if packet.fragment_offset + len(packet.payload) > LARGEST_DATAGRAM:
            field = len(packet.raw) - len(packet.payload) - ipv6.FRAGMENT_HEADER_SIZE + 2
            self.send_error(packet, Unreachable.PARAMETER, pointer=field)
        if not packet.fragment_offset and not _has_whole_chain(packet):
            self.counters["ipv6.fragment_tiny"] += 1
            self.send_error(packet, Unreachable.HEADERS)
            return None
        whole = super()._reassemble(packet, interface)
        if whole is None:
            return None
        if whole.more_fragments or whole.fragment_offset:
            self.counters["ipv6.fragment_nested"] += 1
            return None
        if whole.protocol == icmpv6.PROTOCOL and whole.payload and whole.payload[0] in icmpv6.DISCOVERY:
            self.counters["ipv6.fragmented_discovery"] += 1  # RFC 6980: it would slip past a switch's guard
            return None
        return whole

    def _rebuild(self, first: Packet, payload: bytes) -> Packet:
        header = bytearray(first.raw[: len(first.raw) - len(first.payload) - ipv6.FRAGMENT_HEADER_SIZE])
        length = len(header) - ipv6.HEADER_SIZE + len(payload)
        if length > LARGEST_DATAGRAM:
            raise WireError(f"IPv6: payload of {length} bytes after reassembly")
        if first.protocol == ipv6.HOP_BY_HOP:  # without the fragment header they would look legal
            self.send_error(first, _PROBLEMS[ipv6.UNKNOWN_NEXT_HEADER], pointer=len(header))
            raise WireError("IPv6: hop-by-hop options behind a fragment header")
        header[ipv6.next_header_field(header, len(header))] = first.protocol
        header[0] = 0x60 | first.tos >> 4
        header[1] = (first.tos & 0x0F) << 4 | header[1] & 0x0F
        header[ipv6.PAYLOAD_LENGTH_FIELD : ipv6.PAYLOAD_LENGTH_FIELD + 2] = length.to_bytes(2, "big")
        try:
            return _parse(memoryview(bytes(header) + payload))
        except ipv6.HeaderError as exc:
            self._report_header(exc, first.interface)
            raise

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
        """Send a packet along `path`. As `Ipv4.send`: `ttl` is the hop limit, `tos` the traffic class, with the flow
        label above its 8 bits (see `FlowLabels.mark`).

        A packet larger than the path takes is cut into fragments if `dont_fragment` is False.

        Returns False if there was no room and the packet is lost. Raises OSError EMSGSIZE.
        """
        length = 0
        for part in parts:
            length += len(part)
        if length + 40 > path.mtu and not gso_size:
            return self._send_fragments(
                path, protocol, parts, length, checksum_offset, ttl, tos, dont_fragment
            )
        word = _VERSION | (tos & 0xFF) << 20 | tos >> 8
        header = _pack(word, length, protocol, ttl or path.hop_limit, path.addresses)
        if checksum_offset < 0:
            frame = OutgoingFrame([header, *parts])
        else:
            frame = OutgoingFrame([header, *parts], 40, checksum_offset, gso_size)
        interface = path.interface  # `transmit`, a call less
        return interface.transmit(frame) if interface.point_to_point else self.transmit(path, frame)

    def _send_fragments(
        self,
        path: Path,
        protocol: int,
        parts: Sequence[Buffer],
        length: int,
        checksum_offset: int,
        ttl: int,
        tos: int,
        dont_fragment: bool,
    ) -> bool:
        if dont_fragment or length > LARGEST_DATAGRAM:
            raise self.too_big(path, length + ipv6.HEADER_SIZE)
        payload = self.joined(path, parts, checksum_offset)
        ident = self.rng.getrandbits(32)  # RFC 7739: not to be guessed
        step = (path.mtu - ipv6.HEADER_SIZE - ipv6.FRAGMENT_HEADER_SIZE) & ~7
        sent = True
        for offset in range(0, length, step):
            piece = payload[offset : offset + step]
            more = offset + step < length
            header = ipv6.build(
                path.source,
                path.destination,
                ipv6.FRAGMENT,
                ipv6.FRAGMENT_HEADER_SIZE + len(piece),
                hop_limit=ttl or path.hop_limit,
                traffic_class=tos & 0xFF,
                flow_label=tos >> 8,
            ) + ipv6.build_fragment(protocol, offset, more, ident)
            sent = self.transmit(path, OutgoingFrame([header, piece])) and sent
        self.counters["ipv6.fragmented"] += 1
        return sent


def _is_claim(packet: Packet) -> bool:
    """Whether somebody on the link speaks of an address as its own: of ours, that is a conflict."""
    return (
        packet.protocol == icmpv6.PROTOCOL
        and packet.ttl == HOP_LIMIT
        and len(packet.payload) > 0
        and packet.payload[0] in (icmpv6.NEIGHBOR_SOLICITATION, icmpv6.NEIGHBOR_ADVERTISEMENT)
    )


def _has_whole_chain(first: Packet) -> bool:
    """Whether a first fragment holds every header up to the transport's (RFC 7112)."""
    if first.protocol not in ipv6.EXTENSIONS:
        return True  # the reassembly looks at the transport header
    probe = replace(first, fragment_offset=0, more_fragments=False)
    try:
        ipv6.skip_extensions(probe)
    except ipv6.HeaderError:
        return True  # the reassembly finds that too
    except WireError:
        return False
    return len(probe.payload) >= 8 or probe.protocol == ipv6.NO_NEXT_HEADER
