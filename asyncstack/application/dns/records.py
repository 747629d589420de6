"""The records that can be asked for, as an application sees them (RFC 1035 3.3, RFC 2782, RFC 3596).

Names are text in lower case without the dot at the end; `ttl` is the seconds for which a record may still be used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Record:
    """What all have: whose it is, and for how long."""

    name: str
    ttl: int


@dataclass(frozen=True, slots=True)
class A(Record):
    """An IPv4 address."""

    address: str


@dataclass(frozen=True, slots=True)
class AAAA(Record):
    """An IPv6 address."""

    address: str


@dataclass(frozen=True, slots=True)
class CNAME(Record):
    """`name` is an alias, `target` the name it stands for."""

    target: str


@dataclass(frozen=True, slots=True)
class PTR(Record):
    """A pointer to another name: of an address, for a name below in-addr.arpa or ip6.arpa."""

    target: str


@dataclass(frozen=True, slots=True)
class SRV(Record):
    """Where a service is. The lowest `priority` comes first; among equals by chance, by `weight`."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class TXT(Record):
    """Strings of at most 255 bytes each."""

    strings: tuple[bytes, ...]


TYPES: Final[tuple[str, ...]] = ("A", "AAAA", "CNAME", "PTR", "SRV", "TXT")
