"""The one record for a received IP packet, of either family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

LARGEST_PACKET: Final = 65535  # bytes: as much as a length field says


@dataclass(slots=True)
class Packet:
    """An IP packet as the transports see it.

    `wire.ipv4.parse` and `wire.ipv6.parse` fill it; the network layer adds where it came from. `src` and
    `dst` are 4 or 16 bytes, `payload` starts at the transport header, `raw` is the whole packet (an ICMP
    error quotes it).
    """

    src: bytes
    dst: bytes
    protocol: int
    payload: memoryview
    raw: memoryview
    ttl: int = 64
    tos: int = 0
    ident: int = 0
    fragment_offset: int = 0  # bytes
    more_fragments: bool = False
    dont_fragment: bool = False
    options: bytes = b""
    flow_label: int = 0
    # set by the network layer
    interface: Any = None  # the Interface it arrived on
    checksum_valid: bool = False  # the device vouches for the transport checksum
    gso_size: int = 0  # payload bytes per wire segment if this is a super-segment, else 0
