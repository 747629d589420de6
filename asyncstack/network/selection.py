"""Which of our addresses speaks, and which of a host's addresses is tried first (RFC 6724). No state.

Scopes and the policy table are of RFC 6724 3 and 2.1; an IPv4 address is looked up there as ::ffff:a.b.c.d.

The table has a line more for each site of which we have a unique-local address, as RFC 6724 10.6 has it: such addresses
are what hosts of a site best use among themselves, while the global table puts them behind IPv4.

The rules that do not apply: 4, mobile IPv6, which we do not speak, and for destinations 7, tunnels, of which we know
none. Rule 5.5 takes an address on the network of the next hop, or of the prefix that this router has advertised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface
    from asyncstack.network.addresses import InterfaceAddress

LINK_LOCAL: Final = 0x2
SITE_LOCAL: Final = 0x5
GLOBAL: Final = 0xE

_LOOPBACK: Final = bytes(15) + b"\x01"
_MAPPED: Final = bytes(10) + b"\xff\xff"


class Policy(NamedTuple):
    """A line of the policy table: the higher the precedence, the sooner a destination is tried; a source is best used
    for destinations with its label."""

    prefix: bytes
    precedence: int
    label: int


# (RFC 6724 2.1), longest prefix first; the prefixes are of whole bytes but for the last's seven bits
_POLICIES: Final = (
    Policy(_LOOPBACK, 50, 0),
    Policy(_MAPPED, 35, 4),
    Policy(bytes(12), 1, 3),  # ::/96, IPv4-compatible
    Policy(bytes.fromhex("20010000"), 5, 5),  # Teredo
    Policy(bytes.fromhex("2002"), 30, 2),  # 6to4
    Policy(bytes.fromhex("3ffe"), 1, 12),  # 6bone
)
_SITE_LOCAL_POLICY: Final = Policy(bytes.fromhex("fec0"), 1, 11)
_UNIQUE_LOCAL_POLICY: Final = Policy(bytes.fromhex("fc00"), 3, 13)
_EVERYTHING_ELSE: Final = Policy(b"", 40, 1)
_SITE: Final = 6  # bytes of the prefix of a site with unique-local addresses (RFC 4193 3.1)
_OWN_SITE_PRECEDENCE: Final = 45


def policy(address: bytes) -> Policy:
    """The line for `address`, 4 or 16 bytes."""
    if len(address) == 4:
        address = _MAPPED + address
    for line in _POLICIES:
        if address.startswith(line.prefix):
            return line
    if address[0] == 0xFE and address[1] & 0xC0 == 0xC0:
        return _SITE_LOCAL_POLICY
    return _UNIQUE_LOCAL_POLICY if address[0] & 0xFE == 0xFC else _EVERYTHING_ELSE


def _is_own_site(address: bytes, ours: bytes) -> bool:
    """Whether `address` and one of ours are unique-local ones of one site."""
    return len(address) == 16 and address[0] & 0xFE == 0xFC and address[:_SITE] == ours[:_SITE]


def _affinity(address: bytes, ours: bytes) -> int:
    """How well labels match: 2 within a site, 1 by the table, 0 not at all."""
    return 2 if _is_own_site(address, ours) else int(policy(address).label == policy(ours).label)


def scope(address: bytes) -> int:
    """How far `address` means something, as the scopes of multicast addresses are numbered (RFC 4291 2.7)."""
    if len(address) == 4:
        return LINK_LOCAL if address[0] == 127 or address[:2] == b"\xa9\xfe" else GLOBAL
    if address[0] == 0xFF:
        return address[1] & 0x0F
    if address[0] == 0xFE and address[1] & 0x80:
        return SITE_LOCAL if address[1] & 0x40 else LINK_LOCAL
    return LINK_LOCAL if address == _LOOPBACK else GLOBAL


def select_source(
    entries: Iterable[InterfaceAddress],
    destination: bytes,
    next_hop: bytes,
    interface: Interface,
    now: float,
) -> InterfaceAddress | None:
    """The best source for packets that leave `interface` towards `next_hop` (RFC 6724 5); None if there is none.

    Of addresses that all rules have as equals it is the first of `entries`. Addresses of other interfaces are looked at
    if `interface` has none of the destination's scope, and the destination is on no link in particular.
    """
    candidates = [entry for entry in entries if len(entry.address) == len(destination)]
    own = [entry for entry in candidates if entry.interface is interface]
    wanted = scope(destination)
    tied = len(destination) == 16 and (wanted <= LINK_LOCAL or destination[0] == 0xFF)
    if tied or any(scope(entry.address) >= wanted for entry in own):
        candidates = own
    else:  # ::1 and 127.0.0.1 mean nothing out there
        candidates = own + [
            entry
            for entry in candidates
            if entry.interface is not interface and not _is_loopback(entry.address)
        ]

    def merit(entry: InterfaceAddress) -> tuple[bool, int, bool, bool, bool, int, bool, int]:
        address = entry.address
        own_scope = scope(address)
        return (
            address == destination,  # rule 1
            -own_scope if own_scope >= wanted else own_scope - 0x100,  # 2
            entry.preferred_until > now,  # 3
            entry.interface is interface,  # 5
            entry.covers(next_hop) or entry.router == next_hop,  # 5.5
            _affinity(destination, address),  # 6
            not entry.is_public,  # 7
            entry.shared_bits(destination) if len(address) == 16 else 0,  # 8
        )

    return max(candidates, key=merit, default=None)


def sort_destinations(
    destinations: Iterable[bytes], source_of: Callable[[bytes], InterfaceAddress | None], now: float
) -> list[bytes]:
    """`destinations` with the one to try first in front (RFC 6724 6); those that all rules have as equals as they were.

    `source_of(destination)`: the address of ours that would speak to it, None if nothing leads there.
    """

    def demerit(destination: bytes) -> tuple[bool, bool, bool, bool, int, int, int]:
        entry = source_of(destination)
        if entry is None:
            return True, False, False, False, 0, 0, 0  # rule 1
        affinity, reach = _affinity(destination, entry.address), scope(destination)
        precedence = _OWN_SITE_PRECEDENCE if affinity > 1 else policy(destination).precedence
        return (
            False,
            scope(entry.address) != reach,  # 2
            entry.preferred_until <= now,  # 3
            not affinity,  # 5
            -precedence,  # 6
            reach,  # 8
            -_nearness(entry, destination),  # 9, and what is equal until here is of one family
        )

    return sorted(destinations, key=demerit)


def _nearness(entry: InterfaceAddress, destination: bytes) -> int:
    """For IPv4 bits in common say nothing beyond our own network: servers of one name would lose their turns. glibc
    has it like this too."""
    return int(entry.covers(destination)) if len(destination) == 4 else entry.shared_bits(destination)


def _is_loopback(address: bytes) -> bool:
    return address == _LOOPBACK or (len(address) == 4 and address[0] == 127)
