"""All that a server has itself: its zones, a table of hosts, and names that come and go. Does no I/O."""

from __future__ import annotations

import errno
import ipaddress
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

import dns.exception
import dns.name
import dns.rdatatype
import dns.reversename
from dns.name import Name
from dns.rdatatype import RdataType
from dns.rrset import RRset

from asyncstack.application.dns.rdata import Entry, Rdata, name_of
from asyncstack.application.dns.zone import AAAA, NS, SOA, A, Found, Zone, cut_to
from asyncstack.errors import os_error
from asyncstack.names import Hosts, ReverseNames, parse_literal
from asyncstack.network.addresses import format_address

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

ZONES_MADE: Final = 256  # with names that were registered, before empty ones go
CHAIN_LIMIT: Final = 16  # aliases behind one another
TARGETS: Final = 16  # names whose addresses are added to an answer
HOST_LABEL: Final = re.compile(rb"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?")
# labels of an address's name below its zone, which is of a /24 or a /64
REVERSE: Final = {name_of("in-addr.arpa"): 1, name_of("ip6.arpa"): 16}
MX, SRV = dns.rdatatype.MX, dns.rdatatype.SRV


class Zones:
    """Zones by their origin. `hosts` is looked into at every question, and may change. At most `limit` names come by
    `register`."""

    def __init__(
        self, zones: Mapping[str, Entry] | Iterable[Zone] = (), hosts: Hosts | None = None, *, limit: int
    ) -> None:
        self._zones: dict[Name, Zone] = {}
        self._depth = 1  # labels of the longest origin
        self._hosts: Hosts = {} if hosts is None else hosts
        self._reverse = ReverseNames(self._hosts)
        self._limit = limit
        self._registered: set[tuple[Name, str]] = set()
        self._made: set[Name] = set()  # origins of zones that came with a registered name
        self._made_limit = ZONES_MADE
        if isinstance(zones, Mapping):
            for name, entry in zones.items():
                self._place(name_of(name)).add(name, entry)
        else:
            given = [] if isinstance(zones, (str, Zone)) else list(zones)
            if isinstance(zones, (str, Zone)) or not all(isinstance(zone, Zone) for zone in given):
                raise TypeError(
                    f"zones={zones!r}: give a table of names, or a list of zones, such as "
                    "[Zone.from_file('office.zone')]"
                )
            for zone in given:
                if zone.origin in self._zones:
                    raise ValueError(f"the zone {zone.origin} is there twice")
                self._insert(zone)

    def zone_of(self, name: Name) -> Zone | None:
        """The zone that `name` is in; the smallest, if it is in several."""
        zones = self._zones
        name = cut_to(name, self._depth)
        while name not in zones:
            if name == dns.name.root:
                return None
            name = name.parent()
        return zones[name]

    def _place(self, name: Name) -> Zone:
        """The zone for a name of a table: the one it is in, or a new one."""
        zone = self.zone_of(name)
        if zone is None:
            zone = Zone(_origin(name).to_text())
            self._insert(zone)
        return zone

    def _insert(self, zone: Zone) -> None:
        self._zones[zone.origin] = zone
        self._depth = max(self._depth, len(zone.origin))

    # names that come and go

    def register(self, name: str, address: str, ttl: int) -> None:
        """Let `name` have `address`, and the reverse. Raises ValueError for what is no host's name (RFC 952; `name` may
        come from a stranger) or no address; OSError EEXIST if the zone has records of `name` of its own, ENOSPC with
        too many names."""
        owner, number = name_of(name), ipaddress.ip_address(address)
        if not all(HOST_LABEL.fullmatch(label) for label in owner.labels[:-1]) or owner == dns.name.root:
            raise ValueError(f"{name!r} is no name of a host: letters, digits and hyphens, with dots between")
        key = owner, str(number)
        if key in self._registered:
            return
        zone = self.zone_of(owner)
        if zone is not None and not self._is_registered(owner, zone):
            raise os_error(errno.EEXIST, f"{name} has records in {zone!r}")
        if len(self._registered) >= self._limit:
            raise os_error(errno.ENOSPC, f"{name}: {self._limit} names are registered")
        for one, item in _reverse_and_forward(owner, number):
            made = self.zone_of(one) is None
            zone = self._place(one)
            zone.add(one.to_text(), item, ttl=ttl)
            if made:
                self._note(zone)
        self._registered.add(key)

    def _is_registered(self, owner: Name, zone: Zone) -> bool:
        """Whether all that `owner` has was registered, but for an SOA, which zones make when they need one."""
        return all(
            (owner, _address(rdata)) in self._registered
            for rdata in zone.all_of(owner)
            if rdata.rdtype != SOA
        )

    def unregister(self, name: str, address: str) -> None:
        """Undo `register`; nothing happens if it was not done."""
        owner, number = name_of(name), ipaddress.ip_address(address)
        key = owner, str(number)
        if key not in self._registered:
            return
        self._registered.discard(key)
        for one, item in _reverse_and_forward(owner, number):
            self._place(one).remove(one.to_text(), item)

    def _note(self, zone: Zone) -> None:
        """A zone came with a name. It stays when the name goes, to say that it is gone, until there are many such."""
        self._made.add(zone.origin)
        if len(self._made) > self._made_limit:
            for origin in [one for one in self._made if self._zones[one].is_empty]:
                self._made.discard(origin)
                del self._zones[origin]
            self._made_limit = ZONES_MADE + 2 * len(self._made)

    # answers

    def find(self, name: Name, kind: RdataType) -> Found | None:
        """What there is for `name`, aliases followed as far as they stay here: `alias` is set if one leads elsewhere.
        None: it is in no zone."""
        whole = self._look(name, kind)
        if whole is None:
            return None
        seen = {name}
        while whole.alias is not None:
            if whole.alias in seen or len(seen) > CHAIN_LIMIT:
                whole.alias = None  # they lead round: said as far as they go
                break
            seen.add(whole.alias)
            found = self._look(whole.alias, kind)
            if found is None:
                break
            whole.answer += found.answer
            whole.authority = found.authority
            whole.rcode, whole.alias = found.rcode, found.alias
        return whole

    def _look(self, name: Name, kind: RdataType) -> Found | None:
        found = self._among_hosts(name, kind)
        if found is None:
            zone = self.zone_of(name)
            found = None if zone is None else zone.find(name, kind)
        return found

    def _among_hosts(self, name: Name, kind: RdataType) -> Found | None:
        """As from a zone of that name alone."""
        if not self._hosts:
            return None
        key = name.to_text(omit_final_dot=True).lower()
        if key in self._hosts:
            return Zone(key, {key: [format_address(one) for one in _addresses(self._hosts[key])]}).find(
                name, kind
            )
        if not key.endswith((".in-addr.arpa", ".ip6.arpa")):
            return None
        try:
            number = ipaddress.ip_address(dns.reversename.to_address(name) or "")
        except (dns.exception.DNSException, ValueError):
            return None
        host = self._reverse.name_of(number.packed)
        with suppress(ValueError):  # a name that DNS can not say
            return None if host is None else Zone(key, {key: f"PTR {host}"}).find(name, kind)
        return None

    def additional(self, found: Found) -> list[RRset]:
        """The addresses of the servers that an answer names (RFC 1034 4.3.2 step 6), glue among them."""
        targets: dict[Name, None] = {}
        for rrset in [*found.answer, *found.authority]:
            for rdata in rrset:
                target = _target(rdata)
                if target is not None and len(targets) < TARGETS:
                    targets[target] = None
        known: list[RRset] = []
        for target in targets:
            zone = self.zone_of(target)
            if zone is not None:
                known += zone.addresses(target)
        present = {(rrset.name, rrset.rdtype) for rrset in found.answer}
        return [rrset for rrset in known if (rrset.name, rrset.rdtype) not in present]


def _reverse_and_forward(owner: Name, number: Address) -> list[tuple[Name, str]]:
    """The two records of a registered name; first the one that a zone may refuse to have beside a CNAME (RFC 2317)."""
    return [(name_of(number.reverse_pointer), f"PTR {owner.to_text()}"), (owner, str(number))]


def _origin(name: Name) -> Name:
    """Where a zone for `name` begins: at its last two labels; for the name of an address, at its network."""
    for top, below in REVERSE.items():
        if name.is_subdomain(top) and len(name) > len(top) + below:
            return Name(name.labels[below:])
    return Name(name.labels[-3:])


def _addresses(entry: list[str] | str) -> list[bytes]:
    return [one for one in map(parse_literal, [entry] if isinstance(entry, str) else entry) if one]


def _target(rdata: Rdata) -> Name | None:
    """The host that a record leads to."""
    if rdata.rdtype == MX:
        return rdata.exchange  # type: ignore[attr-defined,no-any-return]
    return rdata.target if rdata.rdtype in (NS, SRV) else None  # type: ignore[attr-defined]


def _address(rdata: Rdata) -> str:
    """Of an A or AAAA record; "" of another."""
    return str(ipaddress.ip_address(rdata.address)) if rdata.rdtype in (A, AAAA) else ""  # type: ignore[attr-defined]
