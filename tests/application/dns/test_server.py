"""What a server says of its zones, over UDP."""

import random
import struct
import time

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from asyncstack.application.dns import MX, NS, SOA, SRV, TXT, A, NoData, NxDomain, Zone
from asyncstack.application.dns.errors import ServerFailure
from tests.application.dns.mutations import mutated
from tests.application.dns.serving import Site, sections, summary

pytestmark = pytest.mark.virtual_time

MANY = [f"10.1.0.{i}" for i in range(1, 101)]
TABLE = {
    "www.example.test": ["10.0.0.1", "fd00::1"],
    "example.test": ["MX 10 mail.example.test", "NS ns.example.test"],
    "mail.example.test": "10.0.0.25",
    "ns.example.test": "10.0.0.53",
    "a.example.test": "CNAME b.example.test",
    "b.example.test": "CNAME www.example.test",
    "away.example.test": "CNAME www.example.org",
    "gone.example.test": "CNAME nothing.example.test",
    "over.example.test": "CNAME www.second.test",
    "www.second.test": "10.0.0.2",
    "loop.example.test": "CNAME loop2.example.test",
    "loop2.example.test": "CNAME loop.example.test",
    "many.example.test": MANY,
    "_http._tcp.example.test": ["SRV 20 0 80 www.example.test", "SRV 10 0 8080 www.example.test"],
    "text.example.test": 'TXT "one" "two"',
    "*.apps.example.test": "10.0.0.9",
    "sub.example.test": "NS ns.sub.example.test",
    "ns.sub.example.test": "10.0.0.99",
}


@pytest.fixture
async def site(network):
    return Site(network)


async def test_our_resolver_asks_our_server(site):
    async with site.serve(TABLE):
        query = site.query
        assert await query("www.example.test") == [A("www.example.test", 60, "10.0.0.1")]
        assert await query("a.example.test") == [A("www.example.test", 60, "10.0.0.1")]
        assert await query("over.example.test") == [A("www.second.test", 60, "10.0.0.2")]
        assert await query("example.test", "MX") == [MX("example.test", 60, 10, "mail.example.test")]
        assert await query("example.test", "NS") == [NS("example.test", 60, "ns.example.test")]
        assert await query("text.example.test", "TXT") == [TXT("text.example.test", 60, (b"one", b"two"))]
        assert await query("x.y.apps.example.test") == [A("x.y.apps.example.test", 60, "10.0.0.9")]
        assert [one.port for one in await query("_http._tcp.example.test", "SRV")] == [8080, 80]
        assert isinstance((await query("_http._tcp.example.test", "SRV"))[0], SRV)
        (soa,) = await query("example.test", "SOA")
        assert isinstance(soa, SOA) and (soa.mname, soa.minimum) == ("example.test", 60)
        assert [one.address for one in await query("many.example.test")] == MANY  # as the table has them
        for name, error in (
            ("no.example.test", NxDomain),
            ("gone.example.test", NxDomain),
            ("text.example.test", NoData),
            ("loop.example.test", ServerFailure),
            ("www.example.org", ServerFailure),
        ):
            with pytest.raises(error):
                await query(name)
        counters = site.client.counters
        assert (counters["dns.mismatched"], counters["dns.malformed"], counters["dns.timeouts"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("wWw.example.test", "A", ("NOERROR", "QR AA RD", ["wWw.example.test. 60 IN A 10.0.0.1"])),
        ("no.example.test", "A", ("NXDOMAIN", "QR AA RD", [])),
        ("mail.example.test", "AAAA", ("NOERROR", "QR AA RD", [])),
        ("www.example.org", "A", ("REFUSED", "QR RD", [])),
        (".", "NS", ("REFUSED", "QR RD", [])),
        ("example.test", "AXFR", ("REFUSED", "QR RD", [])),
        ("www.example.test", "ANY", ("NOERROR", "QR AA RD", ["www.example.test. 60 IN A 10.0.0.1"])),
        ("x.sub.example.test", "A", ("NOERROR", "QR RD", [])),
        (
            "away.example.test",
            "A",
            ("NOERROR", "QR AA RD", ["away.example.test. 60 IN CNAME www.example.org."]),
        ),
        (
            "loop.example.test",
            "A",
            (
                "NOERROR",
                "QR AA RD",
                [
                    "loop.example.test. 60 IN CNAME loop2.example.test.",
                    "loop2.example.test. 60 IN CNAME loop.example.test.",
                ],
            ),
        ),
        (
            "gone.example.test",
            "A",
            ("NXDOMAIN", "QR AA RD", ["gone.example.test. 60 IN CNAME nothing.example.test."]),
        ),
    ],
)
async def test_answers(site, name, kind, expected):
    async with site.serve(TABLE):
        assert summary(await site.ask(name, kind)) == expected


async def test_the_other_sections(site):
    async with site.serve(TABLE):
        negative = [["example.test. SOA"], []]
        assert sections(await site.ask("no.example.test")) == negative
        assert sections(await site.ask("mail.example.test", "AAAA")) == negative
        assert sections(await site.ask("www.example.test")) == [[], []]
        assert sections(await site.ask("example.test", "MX")) == [[], ["mail.example.test. A"]]
        found = await site.ask("_http._tcp.example.test", "SRV")
        assert sections(found) == [[], ["www.example.test. A", "www.example.test. AAAA"]]
        found = await site.ask("x.sub.example.test")
        assert sections(found) == [["sub.example.test. NS"], ["ns.sub.example.test. A"]]


async def test_zones_inside_one_another(site):
    zones = [
        Zone("example.test", {"www.example.test": "10.0.0.1"}),
        Zone("in.example.test", {"www.in.example.test": "10.0.0.2"}),
    ]
    async with site.serve(zones):
        assert summary(await site.ask("www.in.example.test"))[2] == ["www.in.example.test. 60 IN A 10.0.0.2"]
        assert sections(await site.ask("no.in.example.test")) == [["in.example.test. SOA"], []]
    with pytest.raises(ValueError, match="twice"):
        site.serve([Zone("example.test"), Zone("Example.test.")])


@pytest.mark.parametrize(("payload", "room"), [(None, 512), (100, 512), (700, 700), (4096, 1232)])
async def test_truncation(site, payload, room):
    options = {"use_edns": -1} if payload is None else {"use_edns": 0, "payload": payload}
    async with site.serve(TABLE):
        wire = dns.message.make_query("many.example.test", "A", **options).to_wire()
        answer, _ = await site.exchange(wire)
        assert len(answer) <= room
        read = dns.message.from_wire(answer)
        assert read.flags & dns.flags.TC
        assert (read.edns, read.payload if read.edns == 0 else None) == (
            (-1, None) if payload is None else (0, 1232)
        )
        fits = await site.ask("www.example.test", **options)
        assert not fits.flags & dns.flags.TC


async def test_additional_records_that_find_no_room_are_left_out(site):
    table = {"example.test": "MX 1 many.example.test", "many.example.test": MANY}
    async with site.serve(table):
        found = await site.ask("example.test", "MX")
        assert (len(found.answer), found.additional, found.flags & dns.flags.TC) == (1, [], 0)


async def test_a_delegation_without_room_for_its_glue_is_truncated(site):
    """RFC 9471."""
    servers = [f"ns{i}.sub.example.test" for i in range(10)]
    table = {"sub.example.test": [f"NS {server}" for server in servers]}
    table |= {server: [f"fd00::{i}" for i in range(1, 6)] for server in servers}
    async with site.serve(table):
        found = await site.ask("x.sub.example.test", use_edns=-1)
        assert (len(found.authority), bool(found.flags & dns.flags.TC)) == (1, True)
        found = await site.ask("x.sub.example.test", payload=1232)
        assert bool(found.flags & dns.flags.TC)


async def test_edns(site):
    async with site.serve(TABLE):
        unknown = dns.edns.GenericOption(65001, b"something")
        found = await site.ask("www.example.test", options=[unknown])
        assert (summary(found)[0], found.edns, found.options) == ("NOERROR", 0, ())
        found = await site.ask("www.example.test", use_edns=1)
        assert (summary(found)[0], found.edns, found.answer) == ("BADVERS", 0, [])
        assert (await site.ask("www.example.test", want_dnssec=True)).rcode() == dns.rcode.NOERROR


HEADER = struct.Struct("!6H")
QUESTION = b"\3www\7example\4test\0\0\1\0\1"
OPT = b"\0\0\x29\4\xd0\0\0\0\0\0\0"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", None),
        (b"\0" * 11, None),
        (HEADER.pack(7, 0x8000, 1, 0, 0, 0) + QUESTION, None),  # an answer
        (HEADER.pack(7, 0, 0, 0, 0, 0), "FORMERR"),
        (HEADER.pack(7, 0, 2, 0, 0, 0) + QUESTION * 2, "FORMERR"),  # RFC 9619
        (HEADER.pack(7, 0, 1, 0, 0, 0) + QUESTION[:-1], "FORMERR"),
        (HEADER.pack(7, 0, 1, 0, 0, 0) + QUESTION + b"x", "FORMERR"),
        (HEADER.pack(7, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", "FORMERR"),
        (HEADER.pack(7, 0, 1, 0, 0, 2) + QUESTION + OPT * 2, "FORMERR"),  # RFC 6891 6.1.1
        (HEADER.pack(7, 0, 1, 0, 0, 17) + QUESTION, "FORMERR"),
        (HEADER.pack(7, 0, 1, 0, 0, 0) + QUESTION[:-4] + b"\0\x29\0\1", "FORMERR"),  # the type OPT
        (HEADER.pack(7, 0, 1, 0, 0, 0) + QUESTION[:-2] + b"\0\3", "REFUSED"),  # the class CH
        (HEADER.pack(7, 0x2000, 1, 0, 0, 0) + QUESTION, "NOTIMP"),  # NOTIFY
        (HEADER.pack(7, 0x2800, 1, 0, 0, 0) + QUESTION, "NOTIMP"),  # UPDATE
        (HEADER.pack(7, 0, 1, 0, 0, 0) + QUESTION, "NOERROR"),
    ],
)
@pytest.mark.forges("queries that are none")
async def test_what_is_no_query_for_us(site, data, expected):
    async with site.serve(TABLE):
        found = await site.exchange(data)
        if expected is None:
            assert found is None
        else:
            ident, flags, *_ = HEADER.unpack_from(found[0])
            assert (ident, flags >> 15, flags & 15) == (7, 1, dns.rcode.from_text(expected))
            assert flags >> 11 & 15 == data[2] >> 3 & 15


async def test_an_answer_comes_from_the_address_that_was_asked(site):
    wire = dns.message.make_query("www.example.test", "A").to_wire()
    async with site.serve(TABLE):
        for address in ("10.0.0.53", "10.0.0.54", "fd00::53"):
            assert (await site.exchange(wire, address))[1] == address
    async with site.serve(TABLE, host="0.0.0.0"):
        for address in ("10.0.0.53", "10.0.0.54"):
            assert (await site.exchange(wire, address))[1] == address
    async with site.serve(TABLE, host="10.0.0.54"):
        assert (await site.exchange(wire, "10.0.0.54"))[1] == "10.0.0.54"
        with pytest.raises(ConnectionRefusedError):
            async with site.client.socket(2, 2) as sock:
                await sock.connect(("10.0.0.53", 53))
                await sock.send(wire)
                await sock.recv(100)


@pytest.mark.parametrize(
    ("upstreams", "complaint"),
    [
        ("10.0.1.53", r"^upstreams='10\.0\.1\.53': give a list$"),
        (["dns.example.org"], r"^upstreams=\['dns\.example\.org'\]: 'dns\.example\.org' is no address"),
    ],
)
async def test_upstreams_that_are_none(site, upstreams, complaint):
    with pytest.raises(ValueError, match=complaint):
        site.serve(upstreams=upstreams)


async def test_nothing_is_left_of_a_server(site):
    async with site.serve(TABLE):
        with pytest.raises(OSError, match="in use"):
            async with site.serve(TABLE):
                pass
        await site.ask("www.example.test")
    assert (site.host.udp.endpoints, site.host.servers, site.host._sockets) == ({}, {}, {})
    async with site.serve(TABLE):
        await site.ask("www.example.test")


async def test_mutated_queries(site, caplog):
    """Nothing raises, and each gets one answer at most."""
    rng = random.Random(3)
    corpus = [
        dns.message.make_query(name, kind, use_edns=0, options=[dns.edns.GenericOption(code, b"12345678")])
        for code, (name, kind) in enumerate((name, kind) for name in TABLE for kind in ("A", "SRV", "ANY"))
    ]
    corpus = [message.to_wire() for message in corpus]
    codes = set()
    async with site.serve(TABLE) as server:
        for _ in range(6000):
            wire = mutated(rng.choice(corpus), rng)
            answers = []
            server._receive(wire, answers.append, stream=rng.random() < 0.5)
            assert len(answers) == 1
            if answers[0]:
                codes.add(answers[0][3] & 15)
        assert (server._tasks, server._streams) == (set(), {})
    assert {0, 1, 3, 4, 5} <= codes
    assert caplog.records == []


@pytest.mark.parametrize("name", [".".join(["a"] * 118) + ".example.test", ".".join(["a"] * 125)])
async def test_no_query_takes_long(site, name):
    """A stranger's name of 127 labels."""
    wire = dns.message.make_query(name, "A").to_wire()
    async with site.serve(TABLE) as server:
        answers = []
        start = time.process_time()
        for _ in range(100):
            server._receive(wire, answers.append, stream=True)
        assert time.process_time() - start < 0.5
    assert len({dns.message.from_wire(answer).rcode() for answer in answers}) == 1
