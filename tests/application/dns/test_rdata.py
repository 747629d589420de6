"""Records to dnspython's and back."""

import random

import dns.message
import dns.rrset
import pytest

from asyncstack.application.dns import TXT, A
from asyncstack.application.dns.messages import parse
from asyncstack.application.dns.rdata import rrsets_of
from asyncstack.application.dns.records import Other
from asyncstack.errors import WireError
from tests.application.dns.mutations import mutated

RRSETS = [
    ("web.example.org.", 60, "IN", "A", "10.0.0.1", "10.0.0.2"),
    ("web.example.org.", 60, "IN", "AAAA", "fd00::1"),
    ("www.example.org.", 60, "IN", "CNAME", "web.example.org."),
    ("example.org.", 60, "IN", "MX", "10 web.example.org."),
    ("example.org.", 60, "IN", "NS", "web.example.org."),
    ("_http._tcp.example.org.", 60, "IN", "SRV", "1 2 80 web.example.org."),
    ("text.example.org.", 60, "IN", "TXT", '"a" "b"', '"c"'),
    ("1.0.0.10.in-addr.arpa.", 60, "IN", "PTR", "web.example.org."),
    ("example.org.", 60, "IN", "HTTPS", '1 . alpn="h2,h3" ipv4hint=10.0.0.1'),
    ("example.org.", 60, "IN", "TYPE65400", "\\# 4 01020304"),
    ("example.org.", 300, "IN", "SOA", "ns.example.org. root.example.org. 1 2 3 4 30"),
    ("example.org.", 60, "IN", "PTR", 'a\\.b\\032c\\;\\"\\(.\\000\\255.'),
    ("root.example.org.", 60, "IN", "NS", "."),
]


def message(rrsets):
    made = dns.message.make_response(dns.message.make_query("web.example.org", "A"))
    made.answer = rrsets
    return made.to_wire(want_shuffle=False)


def test_records_there_and_back():
    rrsets = [dns.rrset.from_text(*rrset) for rrset in RRSETS]
    records = parse(message(rrsets)).records
    assert sorted(map(str, rrsets_of(records))) == sorted(map(str, rrsets))
    assert parse(message(rrsets_of(records))).records == records


def test_mutated_records_can_be_said_again_as_they_are():
    rng = random.Random(21)
    wire = message([dns.rrset.from_text(*rrset) for rrset in RRSETS])
    same = 0
    for _ in range(2000):
        try:
            records = parse(mutated(wire, rng, start=12)).records
        except WireError:
            continue
        again = parse(message(rrsets_of(records))).records
        assert sorted(map(str, again)) == sorted(map(str, records))
        same += 1
    assert same > 100


@pytest.mark.parametrize(
    "record",
    [A("a", 1, "x"), A("a" * 64, 1, "10.0.0.1"), TXT("a", 1, (b"x" * 256,)), Other("a", 1, "A", b"abc")],
)
def test_what_can_not_be_on_the_wire(record):
    with pytest.raises(ValueError, match=r".+"):
        rrsets_of([record])
