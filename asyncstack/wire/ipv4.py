"""The IPv4 header (RFC 791).

parse(data: memoryview) -> Packet
build(src, dst, protocol, payload_length, *, ttl=64, tos=0, ident=0, dont_fragment=True, more_fragments=False,
      fragment_offset=0, options=b"") -> bytes               the header with its checksum
"""

from __future__ import annotations

import struct
from typing import Final

from asyncstack.errors import WireError
from asyncstack.wire.packet import Packet

HEADER_SIZE: Final = 20
MAX_OPTIONS: Final = 40

DONT_FRAGMENT: Final = 0x4000
MORE_FRAGMENTS: Final = 0x2000

PROTOCOL_IGMP: Final = 2

ALL_HOSTS: Final = b"\xe0\x00\x00\x01"  # 224.0.0.1

_HEADER = struct.Struct("!BBHHHBBH4s4s")
_unpack_from = _HEADER.unpack_from
_pack = _HEADER.pack
_from_bytes = int.from_bytes


def parse(data: memoryview) -> Packet:
    """The packet at the start of `data`; link padding behind its total length is cut off.

    Options are kept undecoded in `options`. Whether a fragment fits its datagram is for the reassembly to
    judge. Raises WireError for a wrong version, length or header checksum.
    """
    size = len(data)
    if size < 20:
        raise WireError(f"IPv4: {size} bytes, a header has 20")
    version_length, tos, total, ident, fragment, ttl, protocol, _, src, dst = _unpack_from(data)
    if version_length == 0x45:
        header = 20
    elif 0x45 < version_length <= 0x4F:
        header = (version_length & 0x0F) << 2
    else:
        raise WireError(f"IPv4: first byte {version_length:#04x}")
    if not header <= total <= size:
        raise WireError(f"IPv4: header {header}, total length {total}, {size} bytes received")
    # not all zero (the version is not), so a remainder of 0 is the sum 0xFFFF
    if _from_bytes(data[:header], "big") % 0xFFFF:
        raise WireError("IPv4: header checksum")
    return Packet(
        src,
        dst,
        protocol,
        data[header:total],
        data if total == size else data[:total],
        ttl,
        tos,
        ident,
        (fragment & 0x1FFF) << 3,
        fragment & 0x2000 != 0,
        fragment & 0x4000 != 0,
        b"" if header == 20 else bytes(data[20:header]),
    )


def build(
    src: bytes,
    dst: bytes,
    protocol: int,
    payload_length: int,
    *,
    ttl: int = 64,
    tos: int = 0,
    ident: int = 0,
    dont_fragment: bool = True,
    more_fragments: bool = False,
    fragment_offset: int = 0,
    options: bytes = b"",
) -> bytes:
    """The header for a payload of `payload_length` bytes.

    `fragment_offset` is in bytes, a multiple of 8. `options` are at most 40 bytes, padded here to a multiple of
    4. A number that does not fit its field raises struct.error, too many options ValueError.
    """
    version_length = 0x45
    total = 20 + payload_length
    if options:
        if len(options) > MAX_OPTIONS:
            raise ValueError(f"IPv4 options have at most 40 bytes, not {len(options)}")
        options += b"\0" * (-len(options) % 4)
        version_length += len(options) >> 2
        total += len(options)
    fragment = fragment_offset >> 3
    if dont_fragment:
        fragment |= DONT_FRAGMENT
    if more_fragments:
        fragment |= MORE_FRAGMENTS
    words = (
        (version_length << 8)
        + tos
        + total
        + ident
        + fragment
        + (ttl << 8)
        + protocol
        + _from_bytes(src, "big")
        + _from_bytes(dst, "big")
    )
    if options:
        words += _from_bytes(options, "big")
    header = _pack(version_length, tos, total, ident, fragment, ttl, protocol, -words % 0xFFFF, src, dst)
    return header + options if options else header
