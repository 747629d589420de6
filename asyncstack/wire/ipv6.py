"""The IPv6 header and its extension headers (RFC 8200).

parse(data: memoryview) -> Packet
build(src, dst, next_header, payload_length, *, hop_limit=64, traffic_class=0, flow_label=0) -> bytes  40 bytes
build_fragment(next_header, offset, more_fragments, ident) -> bytes                   the 8-byte fragment header
skip_extensions(packet: Packet) -> None            go on with the headers of a packet that was reassembled

`parse` walks the extension headers, so that `protocol` and `payload` are those of the transport. It stops at
the fragment header of a real fragment: `payload` is then the fragment's piece and `protocol` the next header
of that piece, which may be one more extension header; `skip_extensions` takes it from there once the pieces
are joined. An atomic fragment (RFC 6946) is no fragment.

The walk is bounded as RFC 8504 5.3 allows, with Linux's numbers: at most 8 headers, 8 options in each, 7 bytes
of padding in a row. What exceeds them is dropped, so that a packet of padding can not keep a processor busy.
"""

from __future__ import annotations

import struct
from typing import Final

from asyncstack.errors import WireError
from asyncstack.wire.packet import Packet

HEADER_SIZE: Final = 40
FRAGMENT_HEADER_SIZE: Final = 8

HOP_BY_HOP: Final = 0
ROUTING: Final = 43
FRAGMENT: Final = 44
NO_NEXT_HEADER: Final = 59
DESTINATION_OPTIONS: Final = 60
EXTENSIONS: Final = frozenset({HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS})

MAX_EXTENSIONS: Final = 8
MAX_OPTIONS: Final = 8
MAX_PADDING: Final = 7

_PAD1: Final = 0
_PADN: Final = 1

_HEADER = struct.Struct("!IHBB16s16s")
_FRAGMENT = struct.Struct("!BBHI")
_unpack_from = _HEADER.unpack_from
_pack = _HEADER.pack


def parse(data: memoryview) -> Packet:
    """The packet at the start of `data`; link padding behind its payload is cut off.

    Raises WireError for a wrong version or length, a broken extension header, one that RFC 8200 has the
    receiver discard for (routing segments left, unknown options that say so), or too many of them.
    """
    if len(data) < HEADER_SIZE:
        raise WireError(f"IPv6: {len(data)} bytes, a header has 40")
    first, length, next_header, hop_limit, src, dst = _unpack_from(data)
    if first >> 28 != 6:
        raise WireError(f"IPv6: version {first >> 28}")
    end = HEADER_SIZE + length
    if end > len(data):
        raise WireError(f"IPv6: payload length {length}, {len(data)} bytes received")
    packet = Packet(
        src,
        dst,
        next_header,
        data[HEADER_SIZE:end],
        data if end == len(data) else data[:end],
        hop_limit,
        first >> 20 & 0xFF,
    )
    packet.flow_label = first & 0xFFFFF
    if next_header in EXTENSIONS:
        if next_header == HOP_BY_HOP:
            packet.protocol, packet.payload = _skip_options(packet.payload)
        skip_extensions(packet)
    return packet


def skip_extensions(packet: Packet) -> None:
    """Move `protocol` and `payload` of `packet` behind its extension headers, up to a real fragment's.

    For a reassembled packet, set its `fragment_offset` and `more_fragments` back first; where one of them is set
    again afterwards there was a fragment in the fragments, to be dropped. Hop-by-hop options come only first in
    a packet, so they are an error here (RFC 8200 4.1). Raises WireError.
    """
    for _ in range(MAX_EXTENSIONS):
        protocol = packet.protocol
        if protocol == DESTINATION_OPTIONS:
            packet.protocol, packet.payload = _skip_options(packet.payload)
        elif protocol == ROUTING:
            packet.protocol, packet.payload = _skip_routing(packet.payload)
        elif protocol == FRAGMENT:
            _skip_fragment(packet)
            if packet.more_fragments or packet.fragment_offset:
                return
        elif protocol == HOP_BY_HOP:
            raise WireError("IPv6: hop-by-hop options are not the first header")
        else:
            return
    if packet.protocol in EXTENSIONS:
        raise WireError(f"IPv6: more than {MAX_EXTENSIONS} extension headers")


def _split(data: memoryview) -> tuple[int, int]:
    """The next header and the size in bytes of the extension header at the start of `data`."""
    if len(data) < 8:
        raise WireError(f"IPv6: {len(data)} bytes, an extension header has at least 8")
    size = (data[1] + 1) << 3
    if size > len(data):
        raise WireError(f"IPv6: extension header of {size} bytes, {len(data)} left")
    return data[0], size


def _skip_options(data: memoryview) -> tuple[int, memoryview]:
    """Check the options of a hop-by-hop or destination options header (RFC 8200 4.2); what follows it."""
    next_header, size = _split(data)
    at, options, padding = 2, 0, 0
    while at < size:
        kind = data[at]
        if kind == _PAD1:
            length = 1
        elif at + 1 < size:
            length = 2 + data[at + 1]
        else:
            raise WireError("IPv6: an option without its length")
        at += length
        if at > size:
            raise WireError("IPv6: an option runs past its header")
        if kind in (_PAD1, _PADN):
            padding += length
        else:
            padding = 0
            options += 1
            if kind & 0xC0:  # RFC 8200 4.2: only 00 says to skip what is not known
                raise WireError(f"IPv6: unknown option {kind:#04x} demands to discard the packet")
        if padding > MAX_PADDING or options > MAX_OPTIONS:
            raise WireError("IPv6: too many options or too much padding")
    return next_header, data[size:]


def _skip_routing(data: memoryview) -> tuple[int, memoryview]:
    """What follows a routing header that has been used up (RFC 8200 4.4; type 0 by RFC 5095 likewise)."""
    next_header, size = _split(data)
    if data[3]:
        raise WireError(f"IPv6: routing header type {data[2]} with {data[3]} segments left")
    return next_header, data[size:]


def _skip_fragment(packet: Packet) -> None:
    if packet.more_fragments or packet.fragment_offset:
        raise WireError("IPv6: a second fragment header")
    data = packet.payload
    if len(data) < FRAGMENT_HEADER_SIZE:
        raise WireError(f"IPv6: {len(data)} bytes, a fragment header has 8")
    packet.protocol, _, offset, packet.ident = _FRAGMENT.unpack_from(data)
    packet.fragment_offset = offset & 0xFFF8
    packet.more_fragments = offset & 1 != 0
    packet.payload = data[FRAGMENT_HEADER_SIZE:]


def build(
    src: bytes,
    dst: bytes,
    next_header: int,
    payload_length: int,
    *,
    hop_limit: int = 64,
    traffic_class: int = 0,
    flow_label: int = 0,
) -> bytes:
    """The header for `payload_length` bytes, extension headers included.

    A number that does not fit its field raises struct.error; `flow_label` has 20 bits.
    """
    first = 0x60000000 | traffic_class << 20 | flow_label
    return _pack(first, payload_length, next_header, hop_limit, src, dst)


def build_fragment(next_header: int, offset: int, more_fragments: bool, ident: int) -> bytes:
    """A fragment header (RFC 8200 4.5): `offset` in bytes, a multiple of 8; `ident` has 32 bits."""
    return _FRAGMENT.pack(next_header, 0, offset | more_fragments, ident)
