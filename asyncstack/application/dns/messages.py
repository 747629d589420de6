"""DNS messages to bytes and back (RFC 1035 4, RFC 6891), by dnspython.

Why dnspython and not dpkt, which the project has anyway; both were given 20,000 mutated answers (bytes changed, cut,
put in, pointers anywhere) and what an attacker would send:

- dpkt let 3,480 of them raise UnicodeDecodeError, which it does not declare; dnspython 2.9 raised nothing but its own
  DNSException.
- dpkt refuses a whole message for one record of a type it does not know (HTTPS, NAPTR, TYPE65400), and leaves EDNS,
  with its upper bits of the response code, to its user. dnspython keeps what it does not know.
- In dpkt a label that holds a dot ("a.b", "org") can not be told from two labels: the comparison with the question,
  which keeps forgers out, would be one of other names. dnspython escapes it.
- Both stop at compression loops and pointers forward, keep the case of letters (0x20), and bound names at 255 bytes.

For dpkt speak 15 us for an answer instead of 130, and 20 ms to import (after asyncstack) instead of 30, paid at the
first question. What dnspython needs for a message of 64 KiB full of pointers (280 ms) is too long for an event loop:
`RECORD_LIMIT` makes that 33 ms.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

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
)
from asyncstack.errors import WireError

if TYPE_CHECKING:
    import dns.name
    import dns.rrset

RECORD_LIMIT: Final = 512  # in one message
TTL_LIMIT: Final = 86400  # seconds; nobody is held to a mistake for longer

NOERROR: Final = 0
FORMERR: Final = 1
NXDOMAIN: Final = 3
NOTIMP: Final = 4
BADVERS: Final = 16
RCODES: Final = {2: "SERVFAIL", 5: "REFUSED", 1: "FORMERR", 4: "NOTIMP", 16: "BADVERS"}

_HEADER: Final = struct.Struct("!6H")
_RESPONSE: Final = 0x8000
_OPCODE: Final = 0x7800
_TRUNCATED: Final = 0x0200


@dataclass(frozen=True, slots=True)
class Question:
    """`name` as it is asked, letters in any case, without the dot at the end; `kind` "A", "AAAA" ..."""

    name: str
    kind: str


@dataclass(slots=True)
class Message:
    """What an answer says. `soa`: of the zone, which says for how long absence may be remembered (RFC 2308 5)."""

    ident: int
    response: bool
    truncated: bool
    rcode: int
    question: Question | None
    records: list[Record] = field(default_factory=list)
    soa: SOA | None = None


def normalize(name: str) -> str:
    """`name` in the one form that questions have: ASCII, lower case, no dot at the end. Raises ValueError."""
    import dns.exception
    import dns.name

    try:
        return dns.name.from_text(name).to_text(omit_final_dot=True).lower()
    except dns.exception.DNSException as exc:
        raise ValueError(f"{name!r} can be no name in DNS: {exc}") from None


def mixed_case(name: str, rng: random.Random) -> str:
    """`name` with its letters in random case, which an answer has to repeat: 0x20, a bit per letter to guess."""
    bits = rng.getrandbits(len(name) + 1)
    return "".join(letter.upper() if bits >> i & 1 else letter for i, letter in enumerate(name))


def build_query(question: Question, ident: int, payload: int) -> bytes:
    """A question that asks for recursion; with EDNS0 that offers to receive `payload` bytes, 0: without."""
    import dns.message

    edns = {"use_edns": 0, "payload": payload} if payload else {"use_edns": -1}
    return dns.message.make_query(question.name.rstrip(".") + ".", question.kind, id=ident, **edns).to_wire()  # type: ignore[arg-type]


def parse(data: bytes) -> Message:
    """Read an answer. Raises WireError for what is none, or has more than `RECORD_LIMIT` records."""
    import dns.exception
    import dns.message
    import dns.rdatatype

    if len(data) < _HEADER.size:
        raise WireError(f"a DNS message of {len(data)} bytes")
    ident, flags, *counts = _HEADER.unpack_from(data)
    if flags & _OPCODE:
        raise WireError("a DNS message that is no query's")
    if sum(counts) > RECORD_LIMIT:
        raise WireError(f"a DNS message of {sum(counts)} records")
    truncated = bool(flags & _TRUNCATED)
    try:
        message = dns.message.from_wire(data, question_only=truncated, ignore_trailing=True)
        asked = message.question[0] if message.question else None
        answer = Message(
            ident,
            bool(flags & _RESPONSE),
            truncated,
            flags & 0xF if truncated else int(message.rcode()),
            None if asked is None else Question(_text(asked.name), dns.rdatatype.to_text(asked.rdtype)),
        )
        if not truncated:
            answer.records = [record for rrset in message.answer for record in _records(rrset)]
            answer.soa = _soa(message.authority)
    except (dns.exception.DNSException, ValueError) as exc:
        raise WireError(f"malformed DNS message: {exc}") from None
    return answer


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True)


def _name(name: dns.name.Name) -> str:
    """In lower case: an answer repeats the random case of its question wherever it points back to it."""
    return _text(name).lower()


def _records(rrset: dns.rrset.RRset) -> list[Record]:
    """Those of the class that can be asked for."""
    import dns.rdataclass
    import dns.rdatatype

    if rrset.rdclass != dns.rdataclass.IN:
        return []
    name, kind = _name(rrset.name), dns.rdatatype.to_text(rrset.rdtype)
    ttl = 0 if rrset.ttl >> 31 else min(rrset.ttl, TTL_LIMIT)  # RFC 2181 8
    return [record_of(name, ttl, kind, rdata) for rdata in rrset]


def record_of(name: str, ttl: int, kind: str, rdata: Any) -> Record:
    """What dnspython's `rdata` says of `name`."""
    match kind:
        case "A":
            return A(name, ttl, rdata.address)
        case "AAAA":
            return AAAA(name, ttl, rdata.address)
        case "CNAME":
            return CNAME(name, ttl, _name(rdata.target))
        case "MX":
            return MX(name, ttl, rdata.preference, _name(rdata.exchange))
        case "NS":
            return NS(name, ttl, _name(rdata.target))
        case "PTR":
            return PTR(name, ttl, _name(rdata.target))
        case "SOA":
            times = rdata.refresh, rdata.retry, rdata.expire, rdata.minimum
            return SOA(name, ttl, _name(rdata.mname), _name(rdata.rname), rdata.serial, *times)
        case "SRV":
            return SRV(name, ttl, rdata.priority, rdata.weight, rdata.port, _name(rdata.target))
        case "TXT":
            return TXT(name, ttl, tuple(rdata.strings))
    return Other(name, ttl, kind, rdata.to_wire())


def _soa(authority: list[dns.rrset.RRset]) -> SOA | None:
    for rrset in authority:
        for record in _records(rrset):
            if isinstance(record, SOA):
                return record
    return None
