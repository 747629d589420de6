"""MLD, the IGMP of IPv6 (RFC 2710, RFC 3810): messages of ICMPv6, behind a hop-by-hop header with a router alert.

parse(message: icmpv6.Message) -> Query | Report | Membership
build(message, src, dst) -> bytes                                  the ICMPv6 message with its checksum
has_router_alert(packet: bytes-like) -> bool                       whether an IPv6 packet asks routers to look at it
"""

from __future__ import annotations

from typing import Final

from asyncstack.errors import WireError
from asyncstack.wire import icmpv6
from asyncstack.wire.checksum import Buffer
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

ALL_V2_ROUTERS: Final = bytes.fromhex("ff020000000000000000000000000016")
# a hop-by-hop header: router alert 0 for MLD (RFC 2711), PadN, then ICMPv6
HOP_BY_HOP: Final = bytes((icmpv6.PROTOCOL, 0, 5, 2, 0, 0, 1, 0))

_ROUTER_ALERT: Final = 5
_V1_BODY: Final = 16


def parse(message: icmpv6.Message) -> Message:
    """The message in `message`. Raises WireError."""
    body = memoryview(message.body)
    if message.type == icmpv6.LISTENER_REPORT_2:
        return Report(parse_records(body, message.rest & 0xFFFF, 16))
    if not icmpv6.LISTENER_QUERY <= message.type <= icmpv6.LISTENER_DONE:
        raise WireError(f"MLD: ICMPv6 type {message.type}")
    if len(body) < _V1_BODY:
        raise WireError(f"MLD: {len(body)} bytes, a group has 16")
    group, code = bytes(body[:_V1_BODY]), message.rest >> 16
    if message.type != icmpv6.LISTENER_QUERY:
        return Membership(group, leave=message.type == icmpv6.LISTENER_DONE)
    if len(body) == _V1_BODY:  # RFC 3810 8.1
        return Query(Version.SECOND, group, code / 1000)
    query = Query(Version.THIRD, group, read_code(code, 12) / 1000)
    parse_sources(query, body[_V1_BODY:], 16)
    return query


def build(message: Message, src: bytes, dst: bytes) -> bytes:
    """`message` in a packet from `src` to `dst`."""
    if isinstance(message, Report):
        records = pack_records(message.records)
        return icmpv6.build(src, dst, icmpv6.LISTENER_REPORT_2, 0, len(message.records), records)
    if isinstance(message, Membership):
        return icmpv6.build(
            src, dst, icmpv6.LISTENER_DONE if message.leave else icmpv6.LISTENER_REPORT, 0, 0, message.group
        )
    milliseconds = round(message.max_response * 1000)
    if message.version is Version.THIRD:
        body = message.group + pack_sources(message)
        return icmpv6.build(src, dst, icmpv6.LISTENER_QUERY, 0, write_code(milliseconds, 12) << 16, body)
    return icmpv6.build(src, dst, icmpv6.LISTENER_QUERY, 0, min(milliseconds, 0xFFFF) << 16, message.group)


def has_router_alert(packet: Buffer) -> bool:
    """Whether the IPv6 packet, whose headers have been walked before, has a hop-by-hop router alert for MLD."""
    if packet[6]:
        return False
    at, end = 42, 40 + (packet[41] + 1 << 3)
    while at < end - 1:
        if packet[at] == _ROUTER_ALERT:
            return bytes(packet[at + 2 : at + 4]) == b"\0\0"
        at += 1 if packet[at] == 0 else 2 + packet[at + 1]
    return False
