"""The codec: what is read of answers, and that nothing else than WireError comes of bytes that are none."""

import random
import struct
import time

import dns.message
import dns.rcode
import dns.rrset
import pytest

from asyncstack.application.dns.messages import (
    BADVERS,
    RECORD_LIMIT,
    TTL_LIMIT,
    Question,
    build_query,
    mixed_case,
    normalize,
    parse,
)
from asyncstack.application.dns.records import SRV, TXT, A, Other, kind_of
from asyncstack.errors import WireError
from tests.application.dns.mutations import mutated

RRSETS = [
    ("web.example.org.", 60, "IN", "A", "10.0.0.1", "10.0.0.2"),
    ("web.example.org.", 60, "IN", "AAAA", "fd00::1"),
    ("www.example.org.", 60, "IN", "CNAME", "web.example.org."),
    ("_http._tcp.example.org.", 60, "IN", "SRV", "1 2 80 web.example.org."),
    ("text.example.org.", 60, "IN", "TXT", '"a" "b"', '"c"'),
    ("1.0.0.10.in-addr.arpa.", 60, "IN", "PTR", "web.example.org."),
    ("example.org.", 60, "IN", "HTTPS", '1 . alpn="h2,h3" ipv4hint=10.0.0.1'),
    ("example.org.", 60, "IN", "NAPTR", '1 2 "u" "E2U" "!^.*$!sip:x@y!" .'),
    ("example.org.", 60, "IN", "TYPE65400", "\\# 4 01020304"),
    ("example.org.", 60, "CH", "TXT", '"version"'),
]
SOA = ("example.org.", 300, "IN", "SOA", "ns.example.org. root.example.org. 1 2 3 4 30")


def answer(*rrsets, name="www.example.org", kind="A", edns=True, authority=()):
    query = dns.message.make_query(name, kind, use_edns=0 if edns else -1)
    made = dns.message.make_response(query)
    made.answer += [dns.rrset.from_text(*rrset) for rrset in rrsets]
    made.authority += [dns.rrset.from_text(*rrset) for rrset in authority]
    return made


def test_a_query():
    query = dns.message.from_wire(build_query(Question("wWw.eXample.org", "AAAA"), 0x1234, 1232))
    assert (query.id, query.question[0].to_text()) == (0x1234, "wWw.eXample.org. IN AAAA")
    assert (query.edns, query.payload, query.flags) == (0, 1232, 0x0100)
    assert dns.message.from_wire(build_query(Question("a", "TXT"), 1, 0)).edns == -1
    assert dns.message.from_wire(build_query(Question(normalize("."), "A"), 1, 0)).question[
        0
    ].name.labels == (b"",)


def test_an_answer():
    read = parse(answer(*RRSETS, authority=[SOA]).to_wire())
    assert (read.response, read.truncated, read.rcode, read.soa.minimum) == (True, False, 0, 30)
    assert read.question == Question("www.example.org", "A")
    kinds = [kind_of(record) for record in read.records]  # without what is of another class
    assert kinds == ["A", "A", "AAAA", "CNAME", "SRV", "TXT", "TXT", "PTR", "HTTPS", "NAPTR", "TYPE65400"]
    assert read.records[-1] == Other("example.org", 60, "TYPE65400", b"\1\2\3\4")
    assert {A("web.example.org", 60, f"10.0.0.{i}") for i in (1, 2)} <= set(
        read.records
    )  # their order is by chance
    assert SRV("_http._tcp.example.org", 60, 1, 2, 80, "web.example.org") in read.records
    assert TXT("text.example.org", 60, (b"a", b"b")) in read.records


def test_times_to_live_are_bounded():
    """RFC 2181 8: the topmost bit means 0."""
    for ttl, expected in ((60, 60), (1 << 31, 0), (0xFFFFFFFF, 0), (0x7FFFFFFF, TTL_LIMIT)):
        wire = bytearray(answer(("x.org.", 0x01020304, "IN", "A", "10.0.0.1")).to_wire())
        at = wire.index(b"\1\2\3\4")
        wire[at : at + 4] = ttl.to_bytes(4, "big")
        assert parse(bytes(wire)).records[0].ttl == expected


def test_a_soa_s_minimum_is_bounded_by_its_own_time_to_live():
    assert parse(answer(authority=[("example.org.", 7, *SOA[2:])]).to_wire()).soa.ttl == 7
    assert parse(answer().to_wire()).soa is None


def test_a_truncated_answer_is_read_no_further_than_its_question():
    made = answer(*RRSETS)
    made.flags |= 0x0200
    read = parse(made.to_wire()[:50])
    assert (read.truncated, read.question, read.records) == (True, Question("www.example.org", "A"), [])


def test_an_extended_response_code():
    made = answer()
    made.set_rcode(dns.rcode.BADVERS)
    assert parse(made.to_wire()).rcode == BADVERS


def test_a_dot_in_a_label_is_no_end_of_it():
    """a\\.b.org is not the name a.b.org."""
    wire = struct.pack("!6H", 1, 0x8180, 1, 0, 0, 0) + b"\3a.b\3org\0" + struct.pack("!2H", 1, 1)
    assert parse(wire).question.name == "a\\.b.org"


@pytest.mark.parametrize("text", ["a..b", ".a", "x" * 64, ".".join(["x" * 60] * 5), "a\\"])
def test_what_can_be_no_name(text):
    with pytest.raises(ValueError, match="no name in DNS"):
        normalize(text)


def test_the_form_of_names():
    assert [normalize(text) for text in ("A.b.", "a.B", "bücher.DE")] == ["a.b", "a.b", "xn--bcher-kva.de"]


def test_letters_in_random_case():
    rng = random.Random(1)
    cases = {mixed_case("www.example-1.org", rng) for _ in range(200)}
    assert len(cases) == 200
    assert {case.lower() for case in cases} == {"www.example-1.org"}


HEADER = struct.Struct("!6H")
LOOPS = {
    "a pointer to itself": b"\xc0\x0c",
    "two pointers": b"\xc0\x0e\xc0\x0c",
    "a pointer forward": b"\xc0\x14",
    "a pointer out of it": b"\xff\xff",
    "a label of a kind that is not used": b"\x40a",
    "a label beyond the end": b"\x3fa",
    "more than 255 bytes": b"\x3f" + b"a" * 63 + (b"\x3f" + b"a" * 63) * 3 + b"\0",
}


@pytest.mark.parametrize("name", LOOPS.values(), ids=LOOPS)
def test_names_without_an_end(name):
    with pytest.raises(WireError):
        parse(HEADER.pack(1, 0x8180, 1, 0, 0, 0) + name + struct.pack("!2H", 1, 1))


@pytest.mark.parametrize("data", [b"", b"\0" * 11, HEADER.pack(1, 0x8180, 9, 0, 0, 0)])
def test_what_is_too_short(data):
    with pytest.raises(WireError):
        parse(data)


def test_no_message_takes_long():
    """The worst that 512 records can be: pointers to names of 255 bytes. 4,500 would take a quarter of a second."""
    name = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"b" * 61 + b"\0"

    def wire(count):
        record = b"\xc0\x0c\0\5\0\1\0\0\0\1\0\2\xc0\x0c"
        return HEADER.pack(1, 0x8180, 1, count, 0, 0) + name + b"\0\1\0\1" + record * count

    with pytest.raises(WireError, match="a DNS message of 4501 records"):
        parse(wire(4500))
    parse(wire(10))
    start = time.process_time()
    assert len(parse(wire(RECORD_LIMIT - 1)).records) == 1  # they are equal
    assert time.process_time() - start < 0.5


def test_mutated_messages_raise_nothing_but_wire_errors():
    rng = random.Random(11)
    corpus = [answer(rrset, kind=rrset[3], authority=[SOA]).to_wire() for rrset in RRSETS]
    corpus += [answer(*RRSETS, edns=False).to_wire()]
    read = refused = 0
    for _ in range(6000):
        try:
            parse(mutated(rng.choice(corpus), rng))
            read += 1
        except WireError:
            refused += 1
    assert min(read, refused) > 1000
