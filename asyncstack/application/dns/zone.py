"""One zone: what it has for a name (RFC 1034 4.3.2), with wildcards (RFC 4592) and delegations."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import dns.exception
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataset
import dns.rdatatype
import dns.rrset
import dns.zone
from dns.name import Name
from dns.rdatatype import RdataType
from dns.rrset import RRset

from asyncstack.application.dns.rdata import IN, Entry, Rdata, check_sendable, items, name_of, parse_item

TTL: Final = 60  # seconds, of what is in a table
SOA_TIMES: Final = "3600 600 86400 60"  # refresh, retry, expire, and for how long absence is remembered

A, AAAA, CNAME, NS, SOA = (dns.rdatatype.from_text(text) for text in ("A", "AAAA", "CNAME", "NS", "SOA"))
ANY, DS = dns.rdatatype.ANY, dns.rdatatype.DS


@dataclass(slots=True)
class Found:
    """What is to be said of a name. `alias`: of another name, which is to be looked for next.

    authoritative: it is ours to say; not so for a delegation, whose servers are in `authority`.
    """

    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    answer: list[RRset] = field(default_factory=list)
    authority: list[RRset] = field(default_factory=list)
    authoritative: bool = True
    alias: Name | None = None


def cut_to(name: Name, labels: int) -> Name:
    """`name`, without what it has in front of its last `labels`. Each step from label to label takes microseconds, and
    a stranger's name may have 127."""
    return name if len(name) <= labels else Name(name.labels[-labels:])


def _hostmaster(origin: Name) -> Name:
    """Who cares for a zone that does not say it, RFC 2142 7; a name that is long has no room for it."""
    try:
        return Name((b"hostmaster", *origin.labels))
    except dns.name.NameTooLong:
        return origin


def _explain(error: Exception, where: str, text: str, origin: str | None) -> str:
    """What is wrong, once with the file and, if one is to blame, the line. dnspython says the line that it has come to,
    which is the next one where it had read the end of the bad one before it looked at what is in it."""
    said = str(error) or ("nothing is in it" if isinstance(error, AssertionError) else type(error).__name__)
    if not said.startswith(f"{where}:"):
        return f"{where}: {said}"
    number, _, what = said.removeprefix(f"{where}:").partition(":")
    line = int(number)
    if line > 1 and _is_bad(text, origin, line - 1):
        line -= 1
    return f"{where}:{line}:{what}"


def _is_bad(text: str, origin: str | None, line: int) -> bool:
    """Whether what there is up to the end of `line`, without the line break, is refused, too."""
    before = "\n".join(text.splitlines()[:line])
    try:
        dns.zone.from_text(before, origin, relativize=False, check_origin=False)
    except dns.exception.SyntaxError as exc:
        return "unbalanced parentheses" not in str(exc)  # as those of a record that is not over
    except (dns.exception.DNSException, ValueError):
        pass
    return False


class Zone:
    """The names at and below `origin`. `table`: names in full, "*.example.org" is a wildcard; to each what it has: an
    address, a type with its data as in a zone file ("MX 10 mail.example.org", names in full), a `Record`, or a list of
    these. `ttl`: seconds, for what does not say its own. Without an SOA it makes one.

    Raises ValueError for what is no name, no record, not in the zone, beside a CNAME, or more than a message carries.
    """

    def __init__(self, origin: str, table: Mapping[str, Entry] | None = None, *, ttl: int = TTL) -> None:
        self.origin = name_of(origin)
        self._ttl = ttl
        self._nodes: dict[Name, dict[RdataType, RRset]] = {}
        self._names: Counter[Name] = Counter({self.origin: 1})  # also those that only have names below them
        self._depth = len(self.origin)  # labels of the longest name
        self._serial = 1
        self._changed = False
        for name, entry in (table or {}).items():
            self.add(name, entry)
        self._changed = False

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], origin: str | None = None) -> Zone:
        """The zone of a master file (RFC 1035 5), without $INCLUDE; `origin`, if the file has no $ORIGIN.

        It needs an SOA and an NS record at its origin, unlike a table. Raises OSError; ValueError with the file, and
        the line if it is one, for what can not be read.
        """
        try:
            text = Path(path).read_text("utf-8")
        except UnicodeDecodeError as exc:
            raise ValueError(f"{path} is no zone file: it is not UTF-8 ({exc})") from None
        return cls.from_text(text, origin, where=str(path))

    @classmethod
    def from_text(cls, text: str, origin: str | None = None, *, where: str = "<text>") -> Zone:
        """`from_file` for what has been read already."""
        try:
            read = dns.zone.from_text(text, origin, relativize=False, filename=where)
            if read.origin is None:
                raise ValueError("no $ORIGIN, and no origin given")
            zone = cls(read.origin.to_text())
            for name, ttl, rdata in read.iterate_rdatas():
                zone._add(name, ttl, rdata)
        except (dns.exception.DNSException, ValueError, AssertionError) as exc:
            raise ValueError(_explain(exc, where, text, origin)) from None
        zone._changed = False
        return zone

    def __repr__(self) -> str:
        return f"<Zone {self.origin} {len(self._nodes)} names>"

    # what is in it

    def add(self, name: str, entry: Entry, *, ttl: int | None = None) -> None:
        """Let `name` have what `entry` says, too. Raises ValueError."""
        owner = name_of(name)
        try:
            parsed = [(item, parse_item(item)) for item in items(entry)]
        except (ValueError, TypeError) as exc:  # which of many names it is
            raise type(exc)(f"{name}: {exc}") from None
        for item, rdata in parsed:
            default = self._ttl if ttl is None else ttl
            self._add(owner, default if isinstance(item, str) else item.ttl, rdata)

    def _add(self, name: Name, ttl: int, rdata: Rdata) -> None:
        check_sendable(rdata, ttl)
        if not name.is_subdomain(self.origin):
            raise ValueError(f"{name} is not in the zone {self.origin}")
        node = self._nodes.get(name, {})
        if node and (CNAME in node) != (rdata.rdtype == CNAME):
            raise ValueError(f"{name} has a CNAME, and so nothing else (RFC 1034 3.6.2)")
        if rdata.rdtype == CNAME and node and rdata not in node[CNAME]:
            raise ValueError(f"{name} has a CNAME already: {node[CNAME][0].to_text()}")
        if rdata.rdtype == SOA and name != self.origin:
            raise ValueError(f"{name} has an SOA: only the zone's origin, {self.origin}, has one")
        if name not in self._nodes:
            self._nodes[name] = node
            self._names.update(self._lineage(name))
            self._depth = max(self._depth, len(name))
        if rdata.rdtype in node:
            node[rdata.rdtype].add(rdata, ttl)
        else:
            node[rdata.rdtype] = dns.rrset.from_rdata(name, ttl, rdata)
        self._changed = True

    def remove(self, name: str, item: str) -> None:
        """Take one item from `name`, if it is there."""
        owner, rdata = name_of(name), parse_item(item)
        node = self._nodes.get(owner, {})
        rrset = node.get(rdata.rdtype)
        if rrset is None or rdata not in rrset:
            return
        rrset.discard(rdata)  # type: ignore[no-untyped-call]
        if not rrset:
            del node[rdata.rdtype]
        if not node:
            del self._nodes[owner]
            self._names.subtract(self._lineage(owner))
            for one in self._lineage(owner):
                if not self._names[one]:
                    del self._names[one]
        self._changed = True

    def all_of(self, name: Name) -> list[Rdata]:
        """The records of `name` itself."""
        return [rdata for rrset in self._nodes.get(name, {}).values() for rdata in rrset]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing but the SOA."""
        return all(name == self.origin and list(node) == [SOA] for name, node in self._nodes.items())

    def __len__(self) -> int:
        return len(self._nodes)

    def _lineage(self, name: Name) -> Iterator[Name]:
        """`name` and what is above it, up to the origin's first child."""
        while name != self.origin:
            yield name
            name = name.parent()

    # what it says

    @property
    def soa(self) -> RRset:
        """The SOA, with a serial that grows with the zone's changes."""
        known = self._nodes.get(self.origin, {}).get(SOA)
        if known is None:
            mname, rname = self.origin, _hostmaster(self.origin)
            known = dns.rrset.from_text(
                self.origin, self._ttl, IN, SOA, f"{mname} {rname} {self._serial} {SOA_TIMES}"
            )
            self._nodes.setdefault(self.origin, {})[SOA] = known
        elif self._changed:
            old = known[0]
            known.clear()  # type: ignore[no-untyped-call]
            known.add(old.replace(serial=(old.serial + 1) & 0xFFFFFFFF))
        self._changed = False
        return known

    def find(self, name: Name, kind: RdataType) -> Found:
        """What to say to who asks for the records of type `kind` of `name`, which is in the zone."""
        cut = self._cut(name, kind)
        if cut is not None:
            return Found(authority=[cut], authoritative=False)
        node = self._nodes.get(name)
        if name == self.origin and kind in (SOA, ANY):
            return Found(answer=[self.soa])
        if name not in self._names:
            encloser = cut_to(name, self._depth)
            while encloser not in self._names:
                encloser = encloser.parent()
            node = self._nodes.get(Name((b"*", *encloser.labels)))
            if node is None:
                return Found(dns.rcode.NXDOMAIN, authority=[self._negative()])
        return self._of(node or {}, name, kind)

    def _of(self, node: dict[RdataType, RRset], name: Name, kind: RdataType) -> Found:
        rrset = next(iter(node.values()), None) if kind == ANY else node.get(kind)  # RFC 8482 4.1
        if rrset is None and CNAME in node:
            rrset = node[CNAME]
        if rrset is None:
            return Found(authority=[self._negative()])
        if rrset.name != name:  # a wildcard's
            rrset = dns.rrset.from_rdata_list(name, rrset.ttl, list(rrset))
        alias = rrset[0].target if rrset.rdtype == CNAME and kind not in (CNAME, ANY) else None
        return Found(answer=[rrset], alias=alias)

    def _cut(self, name: Name, kind: RdataType) -> RRset | None:
        """The NS records of the delegation that `name` is at or below. A DS is the upper zone's (RFC 4035 3.1.4.1)."""
        cut = None
        for one in self._lineage(cut_to(name, self._depth)):
            node = self._nodes.get(one, {})
            if NS in node and not (kind == DS and one == name):
                cut = node[NS]
        return cut

    def _negative(self) -> RRset:
        """The SOA with the time for which absence may be remembered (RFC 2308 3)."""
        soa = self.soa
        return dns.rrset.from_rdata(soa.name, min(soa.ttl, soa[0].minimum), soa[0])

    def addresses(self, name: Name) -> list[RRset]:
        """The A and AAAA records of `name` itself, also the glue below a delegation."""
        node = self._nodes.get(name, {})
        return [node[kind] for kind in (A, AAAA) if kind in node]
