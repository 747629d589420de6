"""Neighbour discovery for IPv6 (RFC 4861 section 4): solicitations, advertisements and redirects.

parse(message: icmpv6.Message) -> NdpMessage       one of the five records, by the message's type
build(record: NdpMessage, src: bytes, dst: bytes) -> bytes         a whole ICMPv6 message with its checksum
solicited_node_multicast(address: bytes) -> bytes  ff02::1:ffXX:XXXX, 16 bytes
multicast_mac(address: bytes) -> bytes             the Ethernet address of an IPv6 or IPv4 group, 6 bytes

A receiver also has to check that the hop limit is 255 (nobody off the link sent it): that is not in the message.
MACs are 6 bytes, b"" where the option is absent.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from asyncstack.errors import WireError
from asyncstack.wire import domains, icmpv6

HOP_LIMIT: Final = 255
ALL_NODES: Final = bytes.fromhex("ff020000000000000000000000000001")
ALL_ROUTERS: Final = bytes.fromhex("ff020000000000000000000000000002")
UNSPECIFIED: Final = bytes(16)

# options
_SOURCE_MAC: Final = 1
_TARGET_MAC: Final = 2
_PREFIX: Final = 3
_MTU: Final = 5
_NONCE: Final = 14
_ROUTE: Final = 24
_RDNSS: Final = 25
_DNSSL: Final = 31

# flags in the first word of an advertisement
_ROUTER: Final = 0x80000000
_SOLICITED: Final = 0x40000000
_OVERRIDE: Final = 0x20000000

# two bits for it: RFC 4191 2.1; the third value is reserved, and medium if it comes from a router
_PREFERENCES: Final = (0, 1, 0, -1)
_RESERVED: Final = 2

_ROUTER_TIMES = struct.Struct("!II")
_PREFIX_OPTION = struct.Struct("!BBBBIII16s")


@dataclass(slots=True)
class NeighborSolicitation:
    """Who has `target`? `source_mac` is absent while the sender has no address (RFC 4862); then `nonce`, 6 bytes or
    more, lets it know its own question when that comes back (RFC 7527)."""

    target: bytes
    source_mac: bytes = b""
    nonce: bytes = b""


@dataclass(slots=True)
class NeighborAdvertisement:
    """`target` is at `target_mac`. The flags are R, S and O of RFC 4861 4.4."""

    target: bytes
    target_mac: bytes = b""
    router: bool = False
    solicited: bool = False
    override: bool = False


@dataclass(slots=True)
class RouterSolicitation:
    """Any routers here?"""

    source_mac: bytes = b""


@dataclass(slots=True)
class Prefix:
    """A prefix information option (RFC 4861 4.6.2). Lifetimes in seconds, 0xFFFFFFFF without end."""

    prefix: bytes
    length: int
    on_link: bool = True
    autonomous: bool = True
    valid_lifetime: int = 0xFFFFFFFF
    preferred_lifetime: int = 0xFFFFFFFF


@dataclass(slots=True)
class RouteInformation:
    """A route information option (RFC 4191 2.3). `preference` as of the router; `lifetime` in seconds."""

    prefix: bytes
    length: int
    preference: int = 0
    lifetime: int = 0xFFFFFFFF


@dataclass(slots=True)
class Rdnss:
    """Recursive DNS servers, 16 bytes each (RFC 8106 5.1). `lifetime` in seconds, 0: use them no longer."""

    lifetime: int
    servers: list[bytes]


@dataclass(slots=True)
class Dnssl:
    """A DNS search list (RFC 8106 5.2). `lifetime` as of `Rdnss`."""

    lifetime: int
    domains: list[str]


@dataclass(slots=True)
class RouterAdvertisement:
    """A router's offer. `lifetime` in seconds (0: no default router), the two timers in milliseconds, 0 = unsaid.

    `preference` among default routers (RFC 4191): 1 high, 0 medium, -1 low.
    """

    lifetime: int
    hop_limit: int = 0
    managed: bool = False
    other: bool = False
    reachable_time: int = 0
    retrans_timer: int = 0
    source_mac: bytes = b""
    mtu: int = 0
    prefixes: list[Prefix] = field(default_factory=list)
    preference: int = 0
    routes: list[RouteInformation] = field(default_factory=list)
    rdnss: list[Rdnss] = field(default_factory=list)
    dnssl: list[Dnssl] = field(default_factory=list)


@dataclass(slots=True)
class Redirect:
    """Send what is for `destination` to `target`, at `target_mac`: another router, or `destination` itself, which is on
    the link then. The packet that it quotes is not kept."""

    target: bytes
    destination: bytes
    target_mac: bytes = b""


NdpMessage = (
    NeighborSolicitation | NeighborAdvertisement | RouterSolicitation | RouterAdvertisement | Redirect
)


def parse(message: icmpv6.Message) -> NdpMessage:
    """The record in `message`. Raises WireError for another type and for what RFC 4861 6.1, 7.1 reject."""
    parser = _PARSERS.get(message.type)
    if parser is None or message.code:
        raise WireError(f"NDP: ICMPv6 type {message.type} code {message.code}")
    return parser(message.rest, memoryview(message.body))


def _options(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The options in `data` as (type, value); a length of 0 makes the whole message invalid."""
    while data:
        if len(data) < 8 or not 0 < data[1] << 3 <= len(data):
            raise WireError("NDP: option length")
        size = data[1] << 3
        yield data[0], data[2:size]
        data = data[size:]


def _mac(options: memoryview, wanted: int) -> bytes:
    """The link-layer address in the first option of type `wanted`, b"" without one. Walks all options."""
    macs = [bytes(value) for kind, value in _options(options) if kind == wanted and len(value) == 6]
    return macs[0] if macs else b""


def _first(options: memoryview, wanted: int) -> bytes:
    """What is in the first option of type `wanted`, b"" without one."""
    return next((bytes(value) for kind, value in _options(options) if kind == wanted), b"")


def _target(body: memoryview) -> bytes:
    if len(body) < 16:
        raise WireError(f"NDP: {len(body)} bytes, a target has 16")
    if body[0] == 0xFF:
        raise WireError("NDP: the target is a multicast address")
    return bytes(body[:16])


def _parse_neighbor_solicitation(rest: int, body: memoryview) -> NdpMessage:
    options = body[16:]
    return NeighborSolicitation(_target(body), _mac(options, _SOURCE_MAC), _first(options, _NONCE))


def _parse_neighbor_advertisement(rest: int, body: memoryview) -> NdpMessage:
    return NeighborAdvertisement(
        _target(body),
        _mac(body[16:], _TARGET_MAC),
        rest & _ROUTER != 0,
        rest & _SOLICITED != 0,
        rest & _OVERRIDE != 0,
    )


def _parse_redirect(rest: int, body: memoryview) -> NdpMessage:
    if len(body) < 32:
        raise WireError(f"NDP: {len(body)} bytes, a redirect has 32 before its options")
    if body[16] == 0xFF:
        raise WireError("NDP: a redirect of a multicast address")
    return Redirect(_target(body), bytes(body[16:32]), _mac(body[32:], _TARGET_MAC))


def _parse_router_solicitation(rest: int, body: memoryview) -> NdpMessage:
    return RouterSolicitation(_mac(body, _SOURCE_MAC))


def _parse_router_advertisement(rest: int, body: memoryview) -> NdpMessage:
    if len(body) < 8:
        raise WireError(f"NDP: {len(body)} bytes, a router advertisement has 8 before its options")
    reachable_time, retrans_timer = _ROUTER_TIMES.unpack_from(body)
    record = RouterAdvertisement(
        lifetime=rest & 0xFFFF,
        hop_limit=rest >> 24,
        managed=rest & 0x800000 != 0,
        other=rest & 0x400000 != 0,
        reachable_time=reachable_time,
        retrans_timer=retrans_timer,
        preference=_PREFERENCES[rest >> 19 & 3],
    )
    for kind, value in _options(body[8:]):
        if kind == _SOURCE_MAC and len(value) == 6:
            record.source_mac = bytes(value)
        elif kind == _MTU and len(value) == 6:
            record.mtu = int.from_bytes(value[2:], "big")
        elif kind == _PREFIX and len(value) == 30 and value[0] <= 128:
            record.prefixes.append(_parse_prefix(value))
        elif kind == _ROUTE:
            _parse_route(value, record)
        elif kind in (_RDNSS, _DNSSL) and len(value) >= 14:
            _parse_dns(kind, value, record)
    return record


def _parse_route(value: memoryview, record: RouterAdvertisement) -> None:
    """RFC 4191 2.3: a reserved preference, or a prefix longer than what is there, has the option ignored."""
    length, preference, room = value[0], value[1] >> 3 & 3, len(value) - 6
    if length <= 8 * room and room in (0, 8, 16) and preference != _RESERVED:
        prefix = bytes(value[6:]) + bytes(16 - room)
        lifetime = int.from_bytes(value[2:6], "big")
        record.routes.append(RouteInformation(prefix, length, _PREFERENCES[preference], lifetime))


def _parse_dns(kind: int, value: memoryview, record: RouterAdvertisement) -> None:
    lifetime, rest = int.from_bytes(value[2:6], "big"), value[6:]
    if kind == _RDNSS:
        if len(rest) % 16 == 0:
            servers = [bytes(rest[at : at + 16]) for at in range(0, len(rest), 16)]
            record.rdnss.append(Rdnss(lifetime, servers))
        return
    try:
        names = domains.parse(rest)
    except WireError:
        return  # a bad option does not spoil the others
    record.dnssl.append(Dnssl(lifetime, names))


def _parse_prefix(value: memoryview) -> Prefix:
    flags = value[1]
    return Prefix(
        prefix=bytes(value[14:30]),
        length=value[0],
        on_link=flags & 0x80 != 0,
        autonomous=flags & 0x40 != 0,
        valid_lifetime=int.from_bytes(value[2:6], "big"),
        preferred_lifetime=int.from_bytes(value[6:10], "big"),
    )


_PARSERS: Final = {
    icmpv6.ROUTER_SOLICITATION: _parse_router_solicitation,
    icmpv6.ROUTER_ADVERTISEMENT: _parse_router_advertisement,
    icmpv6.NEIGHBOR_SOLICITATION: _parse_neighbor_solicitation,
    icmpv6.NEIGHBOR_ADVERTISEMENT: _parse_neighbor_advertisement,
    icmpv6.REDIRECT: _parse_redirect,
}


def build(record: NdpMessage, src: bytes, dst: bytes) -> bytes:
    """The ICMPv6 message for `record` in a packet from `src` to `dst`, to be sent with hop limit 255."""
    rest = 0
    if isinstance(record, NeighborSolicitation):
        kind = icmpv6.NEIGHBOR_SOLICITATION
        body = record.target + _mac_option(_SOURCE_MAC, record.source_mac)
        body += _nonce_option(record.nonce) if record.nonce else b""
    elif isinstance(record, NeighborAdvertisement):
        kind = icmpv6.NEIGHBOR_ADVERTISEMENT
        rest = record.router * _ROUTER | record.solicited * _SOLICITED | record.override * _OVERRIDE
        body = record.target + _mac_option(_TARGET_MAC, record.target_mac)
    elif isinstance(record, RouterSolicitation):
        kind = icmpv6.ROUTER_SOLICITATION
        body = _mac_option(_SOURCE_MAC, record.source_mac)
    elif isinstance(record, Redirect):
        kind = icmpv6.REDIRECT
        body = record.target + record.destination + _mac_option(_TARGET_MAC, record.target_mac)
    else:
        kind = icmpv6.ROUTER_ADVERTISEMENT
        preference = (record.preference & 3) << 19
        rest = (
            record.hop_limit << 24 | record.managed << 23 | record.other << 22 | preference | record.lifetime
        )
        body = _router_body(record)
    return icmpv6.build(src, dst, kind, 0, rest, body)


def _mac_option(kind: int, mac: bytes) -> bytes:
    return bytes((kind, 1)) + mac if mac else b""


def _nonce_option(nonce: bytes) -> bytes:
    """RFC 3971 5.3.2: a nonce is as long as fills the option."""
    return bytes((_NONCE, (len(nonce) + 2) >> 3)) + nonce


def _router_body(record: RouterAdvertisement) -> bytes:
    body = _ROUTER_TIMES.pack(record.reachable_time, record.retrans_timer)
    body += _mac_option(_SOURCE_MAC, record.source_mac)
    if record.mtu:
        body += bytes((_MTU, 1, 0, 0)) + record.mtu.to_bytes(4, "big")
    for prefix in record.prefixes:
        flags = prefix.on_link << 7 | prefix.autonomous << 6
        body += _PREFIX_OPTION.pack(
            _PREFIX,
            4,
            prefix.length,
            flags,
            prefix.valid_lifetime,
            prefix.preferred_lifetime,
            0,
            prefix.prefix,
        )
    for route in record.routes:
        size = (route.length + 63) // 64 * 8
        head = (_ROUTE, 1 + size // 8, route.length, (route.preference & 3) << 3)
        body += bytes(head) + route.lifetime.to_bytes(4, "big") + route.prefix[:size]
    for servers in record.rdnss:
        body += _dns_option(_RDNSS, servers.lifetime, b"".join(servers.servers))
    for search in record.dnssl:
        body += _dns_option(_DNSSL, search.lifetime, domains.build(search.domains))
    return body


def _dns_option(kind: int, lifetime: int, value: bytes) -> bytes:
    value += bytes(-len(value) % 8)
    return bytes((kind, 1 + len(value) // 8, 0, 0)) + lifetime.to_bytes(4, "big") + value


def solicited_node_multicast(address: bytes) -> bytes:
    """The group that every owner of `address` (16 bytes) listens to (RFC 4291 2.7.1)."""
    return _SOLICITED_NODE + address[13:]


def multicast_mac(address: bytes) -> bytes:
    """The Ethernet group address for an IP group: RFC 2464 7 for 16 bytes, RFC 1112 6.4 for 4."""
    if len(address) == 16:
        return b"\x33\x33" + address[12:]
    return bytes((0x01, 0x00, 0x5E, address[1] & 0x7F, address[2], address[3]))


_SOLICITED_NODE: Final = bytes.fromhex("ff0200000000000000000001ff")
