"""The IPv6 header and its extension headers (RFC 8200).

parse(data: memoryview) -> Packet
build(src, dst, next_header, payload_length, *, hop_limit=64, traffic_class=0, flow_label=0) -> bytes  40 bytes
build_fragment(next_header, offset, more_fragments, ident) -> bytes                   the 8-byte fragment header
skip_extensions(packet: Packet) -> None            go on with the headers of a packet that was reassembled
next_header_field(headers, size) -> int            where the field is that names what follows `size` bytes of headers
has_fragment_header(packet: Packet) -> bool        whether there is one in front of its payload
transport_of(packet) -> (protocol, payload)        behind extension headers that `parse` could not make sense of

`parse` walks the extension headers, so that `protocol` and `payload` are those of the transport. It stops at
the fragment header of a real fragment: `payload` is then the fragment's piece and `protocol` the next header
of that piece, which may be one more extension header; `skip_extensions` takes it from there once the pieces
are joined. An atomic fragment (RFC 6946) is no fragment.

What RFC 8200 has its sender told raises `HeaderError`, which says by which Parameter Problem. An option of which we are
to tell only who has sent it to us alone is not told of to a group. Jumbograms (RFC 2675) are no more to us than an
option that we do not know, which is how a host refuses them.

The walk is bounded as RFC 8504 5.3 allows, with Linux's numbers: at most 8 headers, 8 options in each, 7 bytes
of padding in a row. What exceeds them is dropped, so that a packet of padding can not keep a processor busy.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from asyncstack.errors import WireError
from asyncstack.wire.checksum import Buffer
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

# codes of a Parameter Problem (RFC 4443 3.4)
ERRONEOUS_FIELD: Final = 0
UNKNOWN_NEXT_HEADER: Final = 1
UNKNOWN_OPTION: Final = 2

PAYLOAD_LENGTH_FIELD: Final = 4
NEXT_HEADER_FIELD: Final = 6

_PAD1: Final = 0
_PADN: Final = 1
# highest bits of an option that we do not know; 00: skip it, 10: discard the packet and tell whoever sent it
_DISCARD: Final = 0x40
_DISCARD_TELL_ONE: Final = 0xC0

_HEADER = struct.Struct("!IHBB16s16s")
_FRAGMENT = struct.Struct("!BBHI")
_unpack_from = _HEADER.unpack_from
_pack = _HEADER.pack


class HeaderError(WireError):
    """An extension header that the receiver of a packet tells its sender of (RFC 8200 4).

    packet: as far as it was read. code, pointer: of the Parameter Problem; the byte of the packet that is at fault.
    """

    def __init__(self, text: str, packet: Packet, code: int, pointer: int) -> None:
        super().__init__(f"IPv6: {text}")
        self.packet = packet
        self.code = code
        self.pointer = pointer


def parse(data: memoryview) -> Packet:
    """The packet at the start of `data`; link padding behind its payload is cut off.

    Raises WireError for a wrong version or length, a broken extension header, one that RFC 8200 has the
    receiver discard for (routing segments left, unknown options that say so), or too many of them; HeaderError for
    what its sender is to be told of.
    """
    if len(data) < HEADER_SIZE:
        raise WireError(f"IPv6: {len(data)} bytes, a header has 40")
    first, length, next_header, hop_limit, src, dst = _unpack_from(data)
    if first >> 28 != 6:
        raise WireError(f"IPv6: version {first >> 28}")
    # without a length it is a jumbogram, or a packet that ends here
    end = HEADER_SIZE + length if length or next_header != HOP_BY_HOP else len(data)
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
            _skip_options(packet)
            if not length:
                raise HeaderError("no payload length", packet, ERRONEOUS_FIELD, PAYLOAD_LENGTH_FIELD)
        skip_extensions(packet)
    return packet


def skip_extensions(packet: Packet) -> None:
    """Move `protocol` and `payload` of `packet` behind its extension headers, up to a real fragment's.

    For a reassembled packet, set its `fragment_offset` and `more_fragments` back first; where one of them is set
    again afterwards there was a fragment in the fragments, to be dropped. Hop-by-hop options come only first in
    a packet, so they are an error here (RFC 8200 4.1). Raises WireError, or HeaderError.
    """
    for _ in range(MAX_EXTENSIONS):
        protocol = packet.protocol
        if protocol == DESTINATION_OPTIONS:
            _skip_options(packet)
        elif protocol == ROUTING:
            _skip_routing(packet)
        elif protocol == FRAGMENT:
            _skip_fragment(packet)
            if packet.more_fragments or packet.fragment_offset:
                return
        elif protocol == HOP_BY_HOP:
            pointer = next_header_field(packet.raw, _offset(packet))
            text = "hop-by-hop options are not the first header"
            raise HeaderError(text, packet, UNKNOWN_NEXT_HEADER, pointer)
        else:
            return
    if packet.protocol in EXTENSIONS:
        raise WireError(f"IPv6: more than {MAX_EXTENSIONS} extension headers")


def next_header_field(headers: Buffer, size: int) -> int:
    """Where in the `size` bytes of headers the field is that names what follows them."""
    *_, last = _next_header_fields(headers, size)
    return last


def has_fragment_header(packet: Packet) -> bool:
    """Whether `packet` came with a fragment header, be it an atomic fragment's, in front of its payload."""
    fields = _next_header_fields(packet.raw, _offset(packet))
    return any(packet.raw[field] == FRAGMENT for field in fields)


def _next_header_fields(headers: Buffer, size: int) -> Iterator[int]:
    """Where the fields are that name what follows, of each of the headers that are the first `size` bytes.

    They have been walked before, so their lengths are sound; a fragment header's reserved byte counts as a length of
    0, which happens to be its size.
    """
    field, at = NEXT_HEADER_FIELD, HEADER_SIZE
    yield field
    while at < size:
        length = 0 if headers[field] == FRAGMENT else headers[at + 1]
        field = at
        at += (length + 1) << 3
        yield field


def transport_of(packet: Packet) -> tuple[int, memoryview]:
    """The protocol behind what extension headers `packet` still has, whatever they hold, and its payload.

    If they are broken, or there are too many, the number of one of them.
    """
    protocol, rest = packet.protocol, packet.payload
    for _ in range(MAX_EXTENSIONS):
        if protocol not in EXTENSIONS or len(rest) < 8:
            break
        size = 8 if protocol == FRAGMENT else (rest[1] + 1) << 3
        protocol, rest = rest[0], rest[size:]
    return protocol, rest


def _offset(packet: Packet) -> int:
    """Where in the packet its payload begins, as far as it has been walked."""
    return len(packet.raw) - len(packet.payload)


def _split(data: memoryview) -> tuple[int, int]:
    """The next header and the size in bytes of the extension header at the start of `data`."""
    if len(data) < 8:
        raise WireError(f"IPv6: {len(data)} bytes, an extension header has at least 8")
    size = (data[1] + 1) << 3
    if size > len(data):
        raise WireError(f"IPv6: extension header of {size} bytes, {len(data)} left")
    return data[0], size


def _skip_options(packet: Packet) -> None:
    """Check the options of a hop-by-hop or destination options header (RFC 8200 4.2) and go behind it."""
    data = packet.payload
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
        if at + length > size:
            raise WireError("IPv6: an option runs past its header")
        if kind in (_PAD1, _PADN):
            padding += length
        else:
            padding = 0
            options += 1
            if kind & 0xC0:
                _refuse_option(packet, kind, at)
        if padding > MAX_PADDING or options > MAX_OPTIONS:
            raise WireError("IPv6: too many options or too much padding")
        at += length
    packet.protocol, packet.payload = next_header, data[size:]


def _refuse_option(packet: Packet, kind: int, at: int) -> None:
    """Raise for an option that we do not know and may not skip: its two highest bits say how (RFC 8200 4.2)."""
    action, to_group = kind & 0xC0, packet.dst[0] == 0xFF
    text = f"unknown option {kind:#04x} demands to discard the packet"
    if action == _DISCARD or (action == _DISCARD_TELL_ONE and to_group):
        raise WireError(f"IPv6: {text}")
    raise HeaderError(text, packet, UNKNOWN_OPTION, _offset(packet) + at)


def _skip_routing(packet: Packet) -> None:
    """Go behind a routing header that has been used up (RFC 8200 4.4); we route for nobody by any of its types, nor by
    type 0 (RFC 5095)."""
    data = packet.payload
    next_header, size = _split(data)
    if data[3]:
        text = f"routing header type {data[2]} with {data[3]} segments left"
        raise HeaderError(text, packet, ERRONEOUS_FIELD, _offset(packet) + 2)
    packet.protocol, packet.payload = next_header, data[size:]


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
