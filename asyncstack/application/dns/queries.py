"""What a server reads and writes (RFC 1035 4, RFC 6891, RFC 9619). Does no I/O."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
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
_OPT: Final = struct.Struct("!B2H2B2H")  # RFC 6891 6.1.2, without options
_ADDITIONAL: Final = 3
_PARTS: Final = 5
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
    `recursion`: we ask others.

    dnspython's own way takes 4 ms for a question of 127 labels, each of which it notes to point back to.
    """
    query, rcode = asked.message, found.rcode
    flags = _RESPONSE | query.flags & dns.flags.RD | rcode & 0xF
    flags |= dns.flags.AA * found.authoritative | dns.flags.RA * recursion
    edns = b""
    if query.edns >= 0:
        edns = _OPT.pack(0, dns.rdatatype.OPT, payload, rcode >> 4, 0, query.ednsflags & dns.flags.DO, 0)
    question = query.question[0]
    out = BytesIO()
    out.write(bytes(_HEADER.size))
    out.write(asked.name.to_wire() or b"")  # into a file it takes its time
    known = _known(asked.name, out.tell())
    out.write(struct.pack("!2H", question.rdtype, question.rdclass))
    counts = [1, 0, 0, 0]
    for index, rrset in _in_order(found, additional):
        before = out.tell()
        count = rrset.to_wire(out, known, want_shuffle=False)
        if out.tell() > asked.room - len(edns):
            out.seek(before)
            out.truncate()
            delegation = not found.authoritative and not found.answer
            if index < _ADDITIONAL or delegation:  # which needs its glue, RFC 9471
                flags |= dns.flags.TC
            break
        counts[index] += count
    out.write(edns)
    counts[_ADDITIONAL] += bool(edns)
    data = out.getbuffer()
    _HEADER.pack_into(data, 0, query.id, flags, *counts)
    return bytes(data)


def _in_order(found: Found, additional: Sequence[RRset]) -> Iterator[tuple[int, RRset]]:
    for index, section in enumerate((found.answer, found.authority, additional), 1):
        for rrset in section:
            yield index, rrset


def _known(name: Name, end: int) -> dict[Name, int]:
    """Where the question's name is, which ends before `end`, and its last parts: those are what comes up again."""
    known = {name: _HEADER.size}
    for start in range(len(name) - 2, max(len(name) - _PARTS, 0), -1):
        part = Name(name.labels[start:])
        known[part] = end - sum(len(label) + 1 for label in part.labels)
    return known
