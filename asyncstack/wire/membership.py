"""What IGMP and MLD say to each other, whichever of the two writes it down (RFC 3376 4, RFC 3810 5).

A query asks which groups are listened to: all (`group` is zeros), one, or one from certain sources. A report holds
records of groups with their sources; before version 3 it names one group, and leaving it has a message of its own.
Versions are those of IGMP; MLDv1 has what IGMPv2 has, MLDv2 what IGMPv3 has.

    parse_sources, parse_records, pack_records     the lists of both protocols; `size` is that of an address
    read_code, write_code                          numbers with an exponent (RFC 3376 4.1.1 and 4.1.7, RFC 3810 5.1.3)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from asyncstack.errors import WireError


class Version(IntEnum):
    """Of IGMP; MLDv1 is SECOND, MLDv2 THIRD."""

    FIRST = 1
    SECOND = 2
    THIRD = 3


class Kind(IntEnum):
    """What a record says (RFC 3376 4.2.12)."""

    IS_INCLUDE = 1
    IS_EXCLUDE = 2
    TO_INCLUDE = 3
    TO_EXCLUDE = 4
    ALLOW = 5
    BLOCK = 6


@dataclass(slots=True)
class Query:
    """Who listens to `group`? To be answered within `max_response` seconds. robustness, interval (seconds): the
    querier's, 0 unsaid."""

    version: Version
    group: bytes
    max_response: float
    sources: tuple[bytes, ...] = ()
    suppress: bool = False
    robustness: int = 0
    interval: int = 0


@dataclass(slots=True)
class Record:
    """What goes for one group."""

    kind: Kind
    group: bytes
    sources: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Report:
    """Of version 3: the records of a host."""

    records: list[Record]


@dataclass(slots=True)
class Membership:
    """Of versions 1 and 2: `group` is listened to, or (`leave`) no more."""

    group: bytes
    leave: bool = False
    version: Version = Version.SECOND


Message = Query | Report | Membership

_RECORD = struct.Struct("!BBH")
_QUERY_END = struct.Struct("!BBH")  # flags, QQIC, number of sources
_SUPPRESS: Final = 8
ROBUSTNESS_MOST: Final = 7


def read_code(code: int, bits: int) -> int:
    """The value of a code whose mantissa has `bits` bits: 4 in 8-bit fields, 12 in one of 16."""
    if code >> (bits + 3) == 0:
        return code
    mantissa = code & ((1 << bits) - 1) | 1 << bits
    return mantissa << ((code >> bits & 7) + 3)


def write_code(value: int, bits: int) -> int:
    """The code for the largest number that can be written and is not above `value`."""
    if value < 1 << (bits + 3):
        return value
    exponent = min(value.bit_length() - bits - 4, 7)
    mantissa = min(value >> (exponent + 3), (2 << bits) - 1)
    return 1 << (bits + 3) | exponent << bits | mantissa & ((1 << bits) - 1)


def parse_sources(query: Query, data: memoryview, size: int) -> None:
    """Read what follows the group in a query of version 3. Raises WireError."""
    if len(data) < _QUERY_END.size:
        raise WireError(f"query: {len(data)} bytes after the group")
    flags, code, number = _QUERY_END.unpack_from(data)
    query.suppress = flags & _SUPPRESS != 0
    query.robustness = flags & 7
    query.interval = read_code(code, 4)
    query.sources = _addresses(data[_QUERY_END.size :], number, size)


def pack_sources(query: Query) -> bytes:
    """What follows the group in a query of version 3."""
    flags = query.suppress * _SUPPRESS | (query.robustness if query.robustness <= ROBUSTNESS_MOST else 0)
    return _QUERY_END.pack(flags, write_code(query.interval, 4), len(query.sources)) + b"".join(query.sources)


def parse_records(data: memoryview, number: int, size: int) -> list[Record]:
    """The `number` records in `data`; those of a kind that is not known are left out (RFC 3376 4.2.12). Raises
    WireError."""
    found = []
    for _ in range(number):
        if len(data) < _RECORD.size + size:
            raise WireError(f"report: {len(data)} bytes, a record has at least {_RECORD.size + size}")
        kind, words, sources = _RECORD.unpack_from(data)
        at = _RECORD.size + size
        group = bytes(data[_RECORD.size : at])
        read = _addresses(data[at:], sources, size)
        at += sources * size + 4 * words
        if at > len(data):
            raise WireError("report: auxiliary data runs past its end")
        if kind in _KINDS:
            found.append(Record(Kind(kind), group, read))
        data = data[at:]
    return found


_KINDS: Final = frozenset(Kind)


def pack_records(records: list[Record]) -> bytes:
    """The records, one behind the other."""
    packed = []
    for record in records:
        packed += [_RECORD.pack(record.kind, 0, len(record.sources)), record.group, *record.sources]
    return b"".join(packed)


def record_size(record: Record) -> int:
    """Bytes that it takes."""
    return _RECORD.size + len(record.group) * (1 + len(record.sources))


def _addresses(data: memoryview, number: int, size: int) -> tuple[bytes, ...]:
    if number * size > len(data):
        raise WireError(f"{number} sources, {len(data)} bytes left")
    return tuple(bytes(data[at : at + size]) for at in range(0, number * size, size))
