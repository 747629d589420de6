"""IGMP (RFC 1112, RFC 2236, RFC 3376). The header checksum covers the message alone.

parse(data: memoryview) -> Query | Report | Membership
build(message) -> bytes                                            with its checksum
"""

from __future__ import annotations

import struct
from typing import Final

from asyncstack.errors import WireError
from asyncstack.wire.checksum import checksum, verify
from asyncstack.wire.membership import (
    Membership,
    Message,
    Query,
    Report,
    Version,
    pack_records,
    pack_sources,
    parse_records,
    parse_sources,
    read_code,
    write_code,
)

ALL_ROUTERS: Final = b"\xe0\x00\x00\x02"  # 224.0.0.2
ALL_V3_ROUTERS: Final = b"\xe0\x00\x00\x16"  # 224.0.0.22
ROUTER_ALERT: Final = b"\x94\x04\x00\x00"  # RFC 2113

QUERY: Final = 0x11
V1_REPORT: Final = 0x12
V2_REPORT: Final = 0x16
LEAVE: Final = 0x17
V3_REPORT: Final = 0x22

_HEADER = struct.Struct("!BBH4s")
_V1_RESPONSE: Final = 10.0  # RFC 3376 4.1.1: version 1 does not say, seconds


def parse(data: memoryview) -> Message:
    """The message that fills `data`. Raises WireError, also for types that are no host's business."""
    if len(data) < _HEADER.size:
        raise WireError(f"IGMP: {len(data)} bytes, a header has 8")
    if not verify(data):
        raise WireError("IGMP: checksum")
    kind, code, _, group = _HEADER.unpack_from(data)
    if kind == QUERY:
        return _parse_query(code, group, data)
    if kind == V3_REPORT:
        return Report(parse_records(data[_HEADER.size :], int.from_bytes(group[2:], "big"), 4))
    if kind in (V2_REPORT, LEAVE):
        return Membership(group, leave=kind == LEAVE)
    if kind == V1_REPORT:
        return Membership(group, version=Version.FIRST)
    raise WireError(f"IGMP: type {kind:#04x}")


def _parse_query(code: int, group: bytes, data: memoryview) -> Query:
    """RFC 3376 7.1: the version is told by length and code."""
    if len(data) == _HEADER.size:
        if code:
            return Query(Version.SECOND, group, code / 10)
        return Query(Version.FIRST, group, _V1_RESPONSE)
    query = Query(Version.THIRD, group, read_code(code, 4) / 10)
    parse_sources(query, data[_HEADER.size :], 4)
    return query


def build(message: Message) -> bytes:
    """The bytes of `message`."""
    if isinstance(message, Report):
        count = len(message.records).to_bytes(4, "big")
        return _finish(V3_REPORT, 0, count, pack_records(message.records))
    if isinstance(message, Membership):
        kind = V1_REPORT if message.version is Version.FIRST else LEAVE if message.leave else V2_REPORT
        return _finish(kind, 0, message.group)
    if message.version is Version.THIRD:
        code = write_code(round(message.max_response * 10), 4)
        return _finish(QUERY, code, message.group, pack_sources(message))
    code = min(round(message.max_response * 10), 255) if message.version is Version.SECOND else 0
    return _finish(QUERY, code, message.group)


def _finish(kind: int, code: int, word: bytes, rest: bytes = b"") -> bytes:
    value = checksum(_HEADER.pack(kind, code, 0, word), rest)
    return _HEADER.pack(kind, code, value, word) + rest
