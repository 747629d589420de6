"""Records as an application sees them (RFC 1035 3.3, RFC 2782, RFC 3596).

Names are text in lower case without the dot at the end; `ttl` is the seconds for which a record may still be used.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
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
class MX(Record):
    """Who takes the mail of a domain, the lowest `preference` first."""

    preference: int
    exchange: str


@dataclass(frozen=True, slots=True)
class NS(Record):
    """A nameserver of the zone that begins at `name`."""

    target: str


@dataclass(frozen=True, slots=True)
class PTR(Record):
    """A pointer to another name: of an address, for a name below in-addr.arpa or ip6.arpa."""

    target: str


@dataclass(frozen=True, slots=True)
class SOA(Record):
    """Where a zone begins. `mname` is its first nameserver, `rname` the mail address of who cares for it, with a dot
    for the @; the rest but `serial` is seconds. `minimum` bounds for how long absence is remembered (RFC 2308 5)."""

    mname: str
    rname: str
    serial: int
    refresh: int
    retry: int
    expire: int
    minimum: int


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


@dataclass(frozen=True, slots=True)
class Other(Record):
    """A record of a type that has no class here: `kind` as in "HTTPS" or "TYPE65400", `data` as on the wire with names
    in full (RFC 3597)."""

    kind: str
    data: bytes


TYPES: Final[tuple[str, ...]] = ("A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT")


def kind_of(record: Record) -> str:
    """The type of `record` as it is asked for."""
    return record.kind if isinstance(record, Other) else type(record).__name__


def in_order(services: Iterable[SRV], rng: random.Random) -> list[SRV]:
    """SRV records in the order in which to try them: by priority, and by chance according to weight among equals
    (RFC 2782, "Usage rules")."""
    found: list[SRV] = []
    left = sorted(services, key=lambda one: (one.priority, one.weight))
    while left:
        equal = [one for one in left if one.priority == left[0].priority]
        mark = rng.randint(0, sum(one.weight for one in equal))
        for one in equal:
            mark -= one.weight
            if mark <= 0:
                break
        found.append(one)
        left.remove(one)
    return found
