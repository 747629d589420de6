"""The UDP header (RFC 768): 8 bytes.

parse(data: memoryview) -> Datagram(src_port, dst_port, length, checksum, payload)
build(src_port, dst_port, payload_length, checksum=0) -> bytes     the 8-byte header

The checksum needs the pseudo-header: `checksum.verify(data[:length], pseudo_header_sum(src, dst, 17, length))`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from asyncstack.errors import WireError

PROTOCOL: Final = 17
HEADER_SIZE: Final = 8
CHECKSUM_OFFSET: Final = 6

_HEADER = struct.Struct("!HHHH")
_unpack_from = _HEADER.unpack_from
_pack = _HEADER.pack


@dataclass(slots=True)
class Datagram:
    """A datagram. `length` counts the header; `checksum` 0 means that the sender made none (IPv4 only)."""

    src_port: int
    dst_port: int
    length: int
    checksum: int
    payload: memoryview


def parse(data: memoryview) -> Datagram:
    """The datagram at the start of `data`; bytes behind its length are cut off.

    Raises WireError when the length is below 8 (jumbograms included) or runs past `data`.
    """
    if len(data) < HEADER_SIZE:
        raise WireError(f"UDP: {len(data)} bytes, a header has 8")
    src_port, dst_port, length, checksum = _unpack_from(data)
    if not HEADER_SIZE <= length <= len(data):
        raise WireError(f"UDP: length {length}, {len(data)} bytes received")
    return Datagram(src_port, dst_port, length, checksum, data[HEADER_SIZE:length])


def build(src_port: int, dst_port: int, payload_length: int, checksum: int = 0) -> bytes:
    """The header; `checksum` goes into its field as it is (partial, complete, or 0 for none)."""
    return _pack(src_port, dst_port, HEADER_SIZE + payload_length, checksum)
