"""What a zone says of a name."""

import dns.name
import dns.rcode
import dns.rdatatype
import pytest

from asyncstack.application.dns import MX, TXT, A, Zone
from asyncstack.application.dns.zones import Zones

TABLE = {
    "www.example.test": ["10.0.0.1", "fd00::1"],
    "example.test": ["MX 10 mail.example.test", 'TXT "a b" "c"', "NS ns.example.test"],
    "alias.example.test": "CNAME www.example.test",
    "_sip._udp.example.test": "SRV 1 2 5060 www.example.test",
    "deep.under.nothing.example.test": "10.0.0.9",
    "*.apps.example.test": "10.0.0.2",
    "known.apps.example.test": "TXT x",
    "*.away.example.test": "CNAME www.example.org",
    "sub.example.test": "NS ns.sub.example.test",
    "ns.sub.example.test": "10.0.0.53",
    "a.records.example.test": MX("a.records.example.test", 5, 7, "mail.example.test"),
}


def ask(zone, name, kind="A"):
    """(rcode, answer in text, authority's names and types, authoritative, alias)"""
    found = zone.find(dns.name.from_text(name), dns.rdatatype.from_text(kind))
    answer = [line for rrset in found.answer for line in rrset.to_text().split("\n")]
    authority = [
        (rrset.name.to_text(), dns.rdatatype.to_text(rrset.rdtype), rrset.ttl) for rrset in found.authority
    ]
    return dns.rcode.to_text(found.rcode), answer, authority, found.authoritative, found.alias


@pytest.fixture
def zone():
    return Zone("example.test", TABLE)


SOA = [("example.test.", "SOA", 60)]
NOTHING = ("NOERROR", [], SOA, True, None)
NXDOMAIN = ("NXDOMAIN", [], SOA, True, None)


@pytest.mark.parametrize(
    ("name", "kind", "data"),
    [
        ("www.example.test", "A", "www.example.test. 60 IN A 10.0.0.1"),
        ("WWW.Example.Test", "AAAA", "www.example.test. 60 IN AAAA fd00::1"),
        ("example.test", "MX", "example.test. 60 IN MX 10 mail.example.test."),
        ("example.test", "TXT", 'example.test. 60 IN TXT "a b" "c"'),
        ("example.test", "NS", "example.test. 60 IN NS ns.example.test."),
        ("_sip._udp.example.test", "SRV", "_sip._udp.example.test. 60 IN SRV 1 2 5060 www.example.test."),
        ("alias.example.test", "CNAME", "alias.example.test. 60 IN CNAME www.example.test."),
        ("a.records.example.test", "MX", "a.records.example.test. 5 IN MX 7 mail.example.test."),
        ("x.apps.example.test", "A", "x.apps.example.test. 60 IN A 10.0.0.2"),
        ("x.y.apps.example.test", "A", "x.y.apps.example.test. 60 IN A 10.0.0.2"),
    ],
)
def test_records(zone, name, kind, data):
    rcode, answer, *_ = ask(zone, name, kind)
    assert (rcode, [line.lower() for line in answer]) == ("NOERROR", [data.lower()])


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("no.example.test", "A", NXDOMAIN),
        ("no.www.example.test", "A", NXDOMAIN),
        ("www.example.test", "MX", NOTHING),
        ("nothing.example.test", "A", NOTHING),  # only has names below it: it is there (RFC 8020)
        ("x.nothing.example.test", "A", NXDOMAIN),
        ("apps.example.test", "A", NOTHING),
        ("x.apps.example.test", "MX", NOTHING),
        ("known.apps.example.test", "A", NOTHING),  # no wildcard for what is there (RFC 4592 2.2.1)
        ("x.known.apps.example.test", "A", NXDOMAIN),  # nor below it: its closest encloser has none
    ],
)
def test_absence(zone, name, kind, expected):
    assert ask(zone, name, kind) == expected


def test_aliases(zone):
    _, answer, _, _, alias = ask(zone, "alias.example.test")
    assert (answer, alias) == (
        ["alias.example.test. 60 IN CNAME www.example.test."],
        dns.name.from_text("www.example.test"),
    )
    assert ask(zone, "alias.example.test", "CNAME")[4] is None
    _, answer, _, _, alias = ask(zone, "x.away.example.test", "MX")
    assert answer == ["x.away.example.test. 60 IN CNAME www.example.org."]
    assert alias == dns.name.from_text("www.example.org")


def test_a_delegation(zone):
    for name, kind in (("sub.example.test", "A"), ("x.y.sub.example.test", "MX"), ("sub.example.test", "NS")):
        assert ask(zone, name, kind) == ("NOERROR", [], [("sub.example.test.", "NS", 60)], False, None)
    assert ask(zone, "sub.example.test", "DS") == NOTHING
    assert [one.to_text() for one in zone.addresses(dns.name.from_text("ns.sub.example.test"))] == [
        "ns.sub.example.test. 60 IN A 10.0.0.53"
    ]


def test_any_is_one_set(zone):
    """RFC 8482 4.1."""
    _, answer, *_ = ask(zone, "www.example.test", "ANY")
    assert answer == ["www.example.test. 60 IN A 10.0.0.1"]
    assert ask(zone, "no.example.test", "ANY") == NXDOMAIN


def test_the_serial_grows_with_changes(zone):
    def serial():
        return ask(zone, "example.test", "SOA")[1][0].split()[6]

    assert (serial(), serial()) == ("1", "1")
    zone.add("new.example.test", "10.0.0.7")
    zone.add("new.example.test", "10.0.0.8")
    assert (serial(), serial()) == ("2", "2")
    zone.remove("new.example.test", "10.0.0.7")
    assert serial() == "3"
    zone.remove("new.example.test", "10.0.0.7")
    assert serial() == "3"


def test_what_is_removed_is_gone_with_what_was_above_it(zone):
    before = dict(zone._names), len(zone)
    zone.add("a.b.c.example.test", ["10.0.0.7", "10.0.0.8"])
    zone.remove("a.b.c.example.test", "10.0.0.7")
    assert ask(zone, "a.b.c.example.test")[1] == ["a.b.c.example.test. 60 IN A 10.0.0.8"]
    assert ask(zone, "c.example.test") == NOTHING
    zone.remove("a.b.c.example.test", "10.0.0.8")
    assert ask(zone, "c.example.test") == NXDOMAIN
    zone.remove("www.example.test", "TXT nothing")
    zone.remove("other.example.test", "10.0.0.1")
    assert (dict(zone._names), len(zone)) == before


@pytest.mark.parametrize(
    ("name", "entry", "complaint"),
    [
        ("www.example.org", "10.0.0.1", "not in the zone"),
        ("www.example.test", "CNAME a.example.test", "has a CNAME"),
        ("alias.example.test", "10.0.0.1", "has a CNAME"),
        ("alias.example.test", "CNAME other.example.test", "has a CNAME already"),
        ("www.example.test", "SOA a b 1 2 3 4 5", "only the zone's origin"),
        ("a..example.test", "10.0.0.1", "can be no name"),
        ("a.example.test", "10.0.0.256", "give an address"),
        ("a.example.test", "MX mail.example.test", "give an address, or a type"),
        ("a.example.test", "XX 1", "give an address, or a type"),
        ("a.example.test", "", "give an address, or a type"),
        ("a.example.test", A("a.example.test", -1, "10.0.0.1"), "ttl=-1: 0 to 2147483647 seconds"),
        ("a.example.test", A("a.example.test", 1 << 31, "10.0.0.1"), "ttl=2147483648"),
        ("a.example.test", A("a.example.test", 1.5, "10.0.0.1"), "ttl=1.5"),
        (
            "a.example.test",
            TXT("a.example.test", 60, (b"x" * 255,) * 257),
            "65792 bytes, more than a message",
        ),
    ],
)
def test_what_a_zone_refuses(zone, name, entry, complaint):
    with pytest.raises(ValueError, match=complaint):
        zone.add(name, entry)


FILE = """
$ORIGIN example.test.
$TTL 300
@   IN SOA ns root 2026112301 7200 900 1209600 30
    IN NS ns
ns  IN A 10.0.0.53
www 20 IN A 10.0.0.1
    IN AAAA fd00::1
*.w IN TXT "wild"
"""


def test_a_zone_file(tmp_path):
    path = tmp_path / "zone"
    path.write_text(FILE)
    zone = Zone.from_file(path)
    assert ask(zone, "www.example.test")[1] == ["www.example.test. 20 IN A 10.0.0.1"]
    assert ask(zone, "x.w.example.test", "TXT")[1] == ['x.w.example.test. 300 IN TXT "wild"']
    assert ask(zone, "example.test", "SOA")[1] == [
        "example.test. 300 IN SOA ns.example.test. root.example.test. 2026112301 7200 900 1209600 30"
    ]
    assert ask(zone, "no.example.test")[2] == [("example.test.", "SOA", 30)]  # RFC 2308 3


@pytest.mark.parametrize(
    "bad",
    ["www IN A 10.0.0.300", "www IN FOO 1", "www IN A 10.0.0.1 more", "www IN MX 10", "a..b IN A 10.0.0.1"],
)
@pytest.mark.parametrize("behind", ["", "\n", "\n\n", "\nother IN A 10.0.0.2\n"])
def test_the_line_to_blame_is_said_once(bad, behind):
    with pytest.raises(ValueError, match=r"^office\.zone:10: ") as info:
        Zone.from_text(FILE + bad + behind, "example.test", where="office.zone")
    assert str(info.value).count("office.zone") == 1


def test_what_is_no_zone_file_is_named(tmp_path):
    path = tmp_path / "office.zone"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"office\.zone is no zone file: it is not UTF-8"):
        Zone.from_file(path)
    for text in ("", "$ORIGIN a.test.\n@ 60 NS ns\n", FILE + "ns IN CNAME other\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"^[^:]*office\.zone: "):
            Zone.from_file(path)


@pytest.mark.parametrize("zones", ["office.zone", ["office.zone"], [None]])
def test_what_is_no_zone_is_told_how_to_be_one(zones):
    with pytest.raises(TypeError, match=r"give a table of names, or a list of zones.*Zone\.from_file"):
        Zones(zones, limit=1)


@pytest.mark.parametrize("entry", [None, 5, [None]])
def test_an_entry_that_is_none(entry):
    with pytest.raises(TypeError, match="give an address, a type and its data"):
        Zones({"www.example.test": entry}, limit=1)


@pytest.mark.parametrize("entry", ["10.0.0.300", "MX", None, ["10.0.0.1", "FOO x"], ["10.0.0.1", None]])
def test_the_bad_one_of_many_names_is_said(entry):
    with pytest.raises((ValueError, TypeError), match=r"^bad\.example\.test: "):
        Zones({"good.example.test": "10.0.0.1", "bad.example.test": entry}, limit=1)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("www IN A 10.0.0.1", "<text>"),
        (FILE + "www IN A 10.0.0.300", "<text>:10"),
        (FILE + "$INCLUDE /etc/passwd", ":10"),
    ],
)
def test_a_zone_file_that_can_not_be_read(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        Zone.from_text(text, "example.test")
