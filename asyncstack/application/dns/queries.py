"""What a server reads and writes (RFC 1035 4, RFC 6891, RFC 9619). Does no I/O."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
from dns.name import Name
from dns.rdatatype import RdataType
from dns.rrset import RRset

from asyncstack.application.dns.messages import BADVERS, FORMERR, NOTIMP, Question
from asyncstack.application.dns.zone import Found

RECORDS_READ: Final = 16  # in a query, beside its question
LARGEST: Final = 65535  # bytes of a message over TCP
SMALLEST: Final = 512  # bytes that everybody takes over UDP
SERVFAIL: Final = dns.rcode.SERVFAIL
REFUSED: Final = dns.rcode.REFUSED

_HEADER: Final = struct.Struct("!6H")
_RESPONSE: Final = 0x8000
_OPCODE: Final = 0x7800
_KEPT: Final = 0x7900  # of a query's flags, in the answer to what can not be read: the opcode and RD
_TRANSFERS: Final = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)


@dataclass(slots=True)
class Asked:
    """A query that can be answered. `room`: bytes that the answer may have. `foreign`: it is for another class, or a
    whole zone, and refused."""

    message: dns.message.Message
    name: Name
    kind: RdataType
    room: int
    foreign: bool

    @property
    def question(self) -> Question:
        """For who does not know dnspython."""
        text = self.name.to_text(omit_final_dot=True).lower()
        return Question(text, dns.rdatatype.to_text(self.kind))

    @property
    def recursion_desired(self) -> bool:
        """RD: who asks wants us to ask others."""
        return bool(self.message.flags & dns.flags.RD)


def parse_query(data: bytes, *, stream: bool, payload: int) -> Asked | bytes | None:
    """Read a query that came over TCP if `stream`, else over UDP, where we send at most `payload` bytes. Bytes: the
    answer to one that can not be read; None: there is nothing to be said."""
    if len(data) < _HEADER.size:
        return None
    ident, flags, *counts = _HEADER.unpack_from(data)
    if flags & _RESPONSE:
        return None
    if flags & _OPCODE:
        return _failure(ident, flags, NOTIMP)
    if counts[0] != 1 or sum(counts[1:]) > RECORDS_READ:
        return _failure(ident, flags, FORMERR)
    try:
        message = dns.message.from_wire(data)
    except (dns.exception.DNSException, ValueError):
        return _failure(ident, flags, FORMERR)
    question = message.question[0]
    if dns.rdatatype.is_metatype(question.rdtype) and question.rdtype not in (dns.rdatatype.ANY, *_TRANSFERS):
        return _failure(ident, flags, FORMERR)
    foreign = question.rdclass != dns.rdataclass.IN or question.rdtype in _TRANSFERS
    room = LARGEST if stream else _room(message, payload)
    asked = Asked(message, question.name, question.rdtype, room, foreign)
    if message.edns > 0:
        return build_answer(asked, Found(dns.rcode.Rcode(BADVERS), authoritative=False), (), payload=payload)
    return asked


def _room(message: dns.message.Message, payload: int) -> int:
    return SMALLEST if message.edns < 0 else max(SMALLEST, min(message.payload, payload))


def _failure(ident: int, flags: int, rcode: int) -> bytes:
    """A header alone."""
    return _HEADER.pack(ident, _RESPONSE | flags & _KEPT | rcode, 0, 0, 0, 0)


def build_answer(
    asked: Asked,
    found: Found,
    additional: Sequence[RRset],
    *,
    payload: int,
    recursion: bool = False,
) -> bytes:
    """The answer to `asked`; with TC if it has no room for all. `payload`: bytes of a query that we take over UDP.
    `recursion`: we ask others."""
    answer = dns.message.make_response(asked.message, recursion_available=recursion, our_payload=payload)
    if found.authoritative:
        answer.flags |= dns.flags.AA
    answer.set_rcode(found.rcode)
    answer.answer, answer.authority, answer.additional = found.answer, found.authority, list(additional)
    data = answer.to_wire(max_size=asked.room, prefer_truncation=True, want_shuffle=False)
    if additional and not found.authoritative and _count(data) < sum(map(len, additional)):
        data = (
            data[:2] + bytes([data[2] | 0x02]) + data[3:]
        )  # a delegation is not whole without its glue, RFC 9471
    return data


def _count(data: bytes) -> int:
    """The additional records, EDNS among them."""
    return int.from_bytes(data[10:12], "big")
