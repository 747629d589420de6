"""Ethernet II framing: 14 bytes, no preamble, no frame check sequence.

parse(frame: memoryview) -> Ethernet(dst, src, ethertype, payload)
build(dst: bytes, src: bytes, ethertype: int) -> bytes     the 14-byte header
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from asyncstack.errors import WireError

ETHERTYPE_IPV4: Final = 0x0800
ETHERTYPE_ARP: Final = 0x0806
ETHERTYPE_VLAN: Final = 0x8100
ETHERTYPE_IPV6: Final = 0x86DD
BROADCAST: Final = b"\xff" * 6
HEADER_SIZE: Final = 14

_HEADER = struct.Struct("!6s6sH")
_unpack_from = _HEADER.unpack_from
_pack = _HEADER.pack


@dataclass(slots=True)
class Ethernet:
    """A frame: `payload` follows the header and may end in padding (frames have at least 60 bytes)."""

    dst: bytes
    src: bytes
    ethertype: int
    payload: memoryview


def parse(frame: memoryview) -> Ethernet:
    """The header of `frame`. Values below 0x0600 in `ethertype` are an IEEE 802.3 length. Raises WireError."""
    if len(frame) < HEADER_SIZE:
        raise WireError(f"Ethernet: {len(frame)} bytes, a header has 14")
    dst, src, ethertype = _unpack_from(frame)
    return Ethernet(dst, src, ethertype, frame[HEADER_SIZE:])


def build(dst: bytes, src: bytes, ethertype: int) -> bytes:
    """The header; the addresses are 6 bytes each."""
    return _pack(dst, src, ethertype)
