"""NTP packets, as a client needs them (RFC 5905 7.3; SNTP is its section 14, RFC 4330 before).

parse(data: Buffer) -> Packet     raises WireError
build(packet: Packet) -> bytes
from_unix(seconds: float) -> int, to_unix(timestamp: int, near: float) -> float

A timestamp is 64 bits, 2^-32 s each, of the seconds since 1900; it begins again every 136 years, in 2036 next.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from asyncstack.errors import WireError

PORT: Final = 123
VERSION: Final = 4
SIZE: Final = 48

# modes
CLIENT: Final = 3
SERVER: Final = 4

UNSYNCHRONIZED: Final = 3  # of `leap`
MOST_STRATUM: Final = 15

_1900_TO_1970: Final = 2208988800
_ERA: Final = 1 << 32

_PACKET = struct.Struct("!BBbbiI4sQQQQ")


@dataclass(slots=True)
class Packet:
    """A packet. `leap`: 0, 1 (the day ends with a second more), 2 (one less), 3 (not synchronized). `poll` and
    `precision` are powers of two, of seconds; `root_delay` and `root_dispersion` seconds; the four timestamps as above.
    """

    mode: int
    leap: int = 0
    version: int = VERSION
    stratum: int = 0
    poll: int = 0
    precision: int = 0
    root_delay: float = 0.0
    root_dispersion: float = 0.0
    reference_id: bytes = bytes(4)
    reference: int = 0
    origin: int = 0
    received: int = 0
    transmitted: int = 0


def parse(data: bytes | memoryview) -> Packet:
    """The packet at the begin of `data`; extensions and what authenticates it are passed over."""
    if len(data) < SIZE:
        raise WireError(f"NTP: {len(data)} bytes, a packet has {SIZE}")
    first, stratum, poll, precision, delay, dispersion, ident, *times = _PACKET.unpack_from(data)
    version = first >> 3 & 7
    if not 1 <= version <= VERSION:
        raise WireError(f"NTP: version {version}")
    return Packet(
        first & 7,
        first >> 6,
        version,
        stratum,
        poll,
        precision,
        delay / 65536,
        dispersion / 65536,
        ident,
        *times,
    )


def build(packet: Packet) -> bytes:
    """The bytes of `packet`."""
    return _PACKET.pack(
        packet.leap << 6 | packet.version << 3 | packet.mode,
        packet.stratum,
        packet.poll,
        packet.precision,
        round(packet.root_delay * 65536),
        round(packet.root_dispersion * 65536),
        packet.reference_id,
        packet.reference,
        packet.origin,
        packet.received,
        packet.transmitted,
    )


def from_unix(seconds: float) -> int:
    """The timestamp of `seconds` since 1970."""
    whole = int(seconds // 1)
    return ((whole + _1900_TO_1970) % _ERA) << 32 | int((seconds - whole) * _ERA)


def to_unix(timestamp: int, near: float) -> float:
    """Seconds since 1970; of all times with that timestamp the one closest to `near` (RFC 5905 6: the era)."""
    seconds = timestamp / _ERA - _1900_TO_1970
    return seconds + _ERA * round((near - seconds) / _ERA)
