"""What a zone's table, a coroutine or a `Record` says, as dnspython's records."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.rrset

from asyncstack.application.dns.records import (
    AAAA,
    CNAME,
    MX,
    NS,
    PTR,
    SOA,
    SRV,
    TXT,
    A,
    Other,
    Record,
    kind_of,
)

IN: Final = dns.rdataclass.IN
LONGEST_TTL: Final = 0x7FFFFFFF  # seconds, RFC 2181 8
LARGEST: Final = 0xFFFF  # bytes of one record's data

Entry = str | Record | Iterable[str | Record]
Rdata = dns.rdata.Rdata


def name_of(text: str) -> dns.name.Name:
    """A name in full, with or without the dot at its end. Raises ValueError."""
    try:
        return dns.name.from_text(text)
    except dns.exception.DNSException as exc:
        raise ValueError(f"{text!r} can be no name in DNS: {exc}") from None


def items(entry: Entry) -> list[str | Record]:
    """The parts of an entry: "10.0.0.1", "MX 10 mail.example.org", a `Record`, or several of these. Raises
    TypeError for what is none."""
    found = (
        [entry] if isinstance(entry, (str, Record)) else list(entry) if isinstance(entry, Iterable) else None
    )
    if found is None or not all(isinstance(item, (str, Record)) for item in found):
        raise TypeError(
            f'{entry!r}: give an address, a type and its data ("MX 10 a.example.org"), or a list of these'
        )
    return found


def parse_item(item: str | Record) -> Rdata:
    """An address, a type and its data as in a zone file with names in full, or a record. Raises ValueError."""
    if isinstance(item, Record):
        return rdata_of(item)
    try:
        kind = "AAAA" if ipaddress.ip_address(item).version == 6 else "A"
        return _from_text(kind, item)
    except ValueError:
        pass
    kind, _, data = item.partition(" ")
    try:
        return _from_text(kind, data)
    except (dns.exception.DNSException, ValueError) as exc:
        raise ValueError(
            f'{item!r}: give an address, or a type and its data, as "MX 10 a.example.org" ({exc})'
        ) from None


def check_sendable(rdata: Rdata, ttl: int) -> None:
    """Raises ValueError for what no message can carry."""
    if not isinstance(ttl, int) or not 0 <= ttl <= LONGEST_TTL:
        raise ValueError(f"ttl={ttl}: 0 to {LONGEST_TTL} seconds (RFC 2181 8)")
    size = len(rdata.to_wire() or b"")
    if size > LARGEST:
        kind = dns.rdatatype.to_text(rdata.rdtype)
        raise ValueError(f"a record {kind} of {size} bytes, more than a message can carry")


def rdata_of(record: Record) -> Rdata:
    """Raises ValueError if `record` holds what can not be on the wire."""
    try:
        if isinstance(record, Other):
            kind = dns.rdatatype.from_text(record.kind)
            return dns.rdata.from_wire(IN, kind, record.data, 0, len(record.data))
        if isinstance(record, TXT):
            return dns.rdtypes.ANY.TXT.TXT(IN, dns.rdatatype.TXT, record.strings)
        return _from_text(kind_of(record), _text_of(record))
    except (dns.exception.DNSException, ValueError) as exc:
        raise ValueError(f"{record!r}: {exc}") from None


def rrsets_of(records: Iterable[Record]) -> list[dns.rrset.RRset]:
    """The records in sets, in their order. Raises ValueError."""
    found: dict[tuple[str, str], dns.rrset.RRset] = {}
    for record in records:
        key = record.name, kind_of(record)
        rdata = rdata_of(record)
        if key not in found:
            found[key] = dns.rrset.from_rdata(name_of(record.name), record.ttl, rdata)
        else:
            found[key].add(rdata, record.ttl)
    return list(found.values())


def _from_text(kind: str, data: str) -> Rdata:
    return dns.rdata.from_text(IN, kind, data, origin=dns.name.root, relativize=False)


def _text_of(record: Record) -> str:
    """The data as in a zone file, names in full."""
    match record:
        case A(address=address) | AAAA(address=address):
            return address
        case CNAME(target=target) | NS(target=target) | PTR(target=target):
            return target
        case MX():
            return f"{record.preference} {record.exchange}"
        case SRV():
            return f"{record.priority} {record.weight} {record.port} {record.target}"
        case SOA():
            times = f"{record.serial} {record.refresh} {record.retry} {record.expire} {record.minimum}"
            return f"{record.mname} {record.rname} {times}"
    raise ValueError(f"no record that can be sent: {record!r}")
