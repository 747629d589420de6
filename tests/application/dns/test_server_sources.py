"""Where a server's answers come from beside its zones: hosts, registered names, a coroutine, upstreams."""

import asyncio
import errno
import random

import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest

from asyncstack.application.dns import (
    AAAA,
    CNAME,
    TXT,
    A,
    DnsServer,
    NoAnswer,
    NoData,
    NxDomain,
    ServerLimits,
)
from tests.application.dns.mutations import mutated
from tests.application.dns.nameserver import Nameserver, refusing, silent
from tests.application.dns.serving import Site, sections, summary

pytestmark = pytest.mark.virtual_time


@pytest.fixture
async def site(network):
    return Site(network)


# hosts


async def test_the_hosts_of_a_network(site):
    """What is added to the table later counts, and addresses have names."""
    async with site.serve(hosts=site.host.names.table):
        assert summary(await site.ask("CLIENT")) == ("NOERROR", "QR AA RD", ["CLIENT. 60 IN A 10.0.0.1"])
        assert summary(await site.ask("client", "AAAA"))[2] == ["client. 60 IN AAAA fd00::1"]
        assert summary(await site.ask("upstream", "AAAA")) == ("NOERROR", "QR AA RD", [])
        assert sections(await site.ask("upstream", "AAAA")) == [["upstream. SOA"], []]
        assert (await site.ask("later")).rcode() == dns.rcode.REFUSED
        site.network.host("later", "10.7.0.1/24")
        assert summary(await site.ask("later"))[2] == ["later. 60 IN A 10.7.0.1"]
        site.client.names.table = {}  # so that it has to ask
        assert await site.client.getnameinfo(("10.7.0.1", 80)) == ("later", "http")
        assert await site.client.getnameinfo(("fd00::53", 80)) == ("host", "http")
        for name in ("99.0.0.10.in-addr.arpa", "x.in-addr.arpa", "0.0.10.in-addr.arpa", "1.ip6.arpa"):
            assert (await site.ask(name, "PTR")).rcode() == dns.rcode.REFUSED


async def test_a_host_whose_name_leaves_no_room_for_who_cares_for_it(site):
    """The zone that it is by itself needs such a name in its SOA."""
    name = ".".join(["x" * 61] * 4)
    async with site.serve(hosts={name: "10.7.0.1"}):
        assert summary(await site.ask(name))[2] == [f"{name}. 60 IN A 10.7.0.1"]
        assert sections(await site.ask(name, "AAAA")) == [[f"{name}. SOA"], []]


async def test_hosts_whose_names_dns_can_not_say(site):
    hosts = {"a..b": "10.7.0.1", "my host": "10.7.0.1", "x" * 64: "10.7.0.1", "right": "10.7.0.2"}
    async with site.serve(hosts=hosts):
        assert (await site.ask("1.0.7.10.in-addr.arpa", "PTR")).rcode() == dns.rcode.REFUSED
        assert summary(await site.ask("2.0.7.10.in-addr.arpa", "PTR"))[2] == [
            "2.0.7.10.in-addr.arpa. 60 IN PTR right."
        ]


# names that come and go


async def test_a_zone_is_registered_after_it_has_said_what_is_not_there(site):
    """For that it needs an SOA, which is in nobody's way."""
    async with site.serve() as server:
        server.register("a.site.test", "10.5.0.1")
        assert (await site.ask("none.site.test")).rcode() == dns.rcode.NXDOMAIN
        server.register("site.test", "10.5.0.2")
        assert summary(await site.ask("site.test"))[2] == ["site.test. 60 IN A 10.5.0.2"]


async def test_registered_names(site):
    async with site.serve({"www.site.test": "10.0.0.80"}) as server:
        server.register("h1.site.test", "10.5.0.1")
        server.register("h1.site.test", "fd05::1", ttl=5)
        server.register("h1.site.test", "10.5.0.1")  # as before
        server.register("h2.site.test", "10.5.0.2")
        server.register("elsewhere", "10.5.0.3")
        assert await site.query("h1.site.test") == [A("h1.site.test", 60, "10.5.0.1")]
        assert await site.query("h1.site.test", "AAAA") == [AAAA("h1.site.test", 5, "fd05::1")]
        assert await site.query("elsewhere") == [A("elsewhere", 60, "10.5.0.3")]
        for address in ("10.5.0.1", "fd05::1"):
            assert (await site.client.getnameinfo((address, 80)))[0] == "h1.site.test"
        site.client.resolver.cache.clear()
        server.unregister("h1.site.test", "10.5.0.1")
        server.unregister("h1.site.test", "10.5.0.1")
        with pytest.raises(NoData):
            await site.query("h1.site.test")
        with pytest.raises(NxDomain):
            await site.query("1.0.5.10.in-addr.arpa", "PTR")
        server.unregister("h1.site.test", "fd05::1")
        site.client.resolver.cache.clear()
        with pytest.raises(NxDomain):
            await site.query("h1.site.test")
        assert await site.query("h2.site.test")
        server.unregister("h2.site.test", "10.5.0.2")
        server.unregister("elsewhere", "10.5.0.3")
        assert server.zones._registered == set()


async def test_zones_that_came_with_names_do_not_grow_in_number(site):
    async with site.serve(limits=ServerLimits(names=100)) as server:
        zones = server.zones._zones
        for i in range(2000):
            address = f"10.{i // 256}.{i % 256}.1"
            server.register(f"host.d{i}.test", address)
            assert len(zones) <= 1000
            if i % 50:
                server.unregister(f"host.d{i}.test", address)
        assert len(server.zones._registered) == 40
        assert summary(await site.ask("host.d50.test"))[2] == ["host.d50.test. 60 IN A 10.0.50.1"]
        assert (await site.ask("host.d1999.test")).rcode() == dns.rcode.NXDOMAIN


async def test_the_zones_of_a_table(site):
    """Of the last two labels; of addresses, the /24 and the /64."""
    table = {
        "a.b.example.test": "10.0.0.1",
        "single": "10.0.0.2",
        "9.8.7.10.in-addr.arpa": "PTR a.b.example.test",
        f"{'1.' * 32}ip6.arpa": "PTR single",
    }
    async with site.serve(table):
        for name, zone in (
            ("no.example.test", "example.test."),
            ("no.single", "single."),
            ("1.8.7.10.in-addr.arpa", "8.7.10.in-addr.arpa."),
            (f"2.{'1.' * 31}ip6.arpa", f"{'1.' * 16}ip6.arpa."),
        ):
            found = await site.ask(name, "PTR")
            assert (summary(found)[0], sections(found)[0]) == ("NXDOMAIN", [f"{zone} SOA"])
        for name in ("other.test", "1.9.7.10.in-addr.arpa", f"{'2.' * 32}ip6.arpa", "in-addr.arpa"):
            assert (await site.ask(name)).rcode() == dns.rcode.REFUSED


async def test_a_registered_name_takes_nobody_else_s_place(site):
    limits = ServerLimits(names=2)
    async with site.serve({"www.site.test": "10.0.0.80"}, limits=limits) as server:
        with pytest.raises(FileExistsError, match=r"www\.site\.test has records"):
            server.register("www.site.test", "10.5.0.1")
        server.register("a.site.test", "10.5.0.1")
        server.register("b.site.test", "10.5.0.1")
        with pytest.raises(OSError, match="2 names are registered") as caught:
            server.register("c.site.test", "10.5.0.1")
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(ValueError, match="can be no name"):
            server.register("a..b", "10.5.0.1")
        with pytest.raises(ValueError, match=r"10\.5\.0"):
            server.register("d.site.test", "10.5.0")
        for name in ("*.site.test", ".", "a b.site.test", "-.site.test", "a\\.b.site.test"):
            with pytest.raises(ValueError, match="no name of a host"):
                server.register(name, "10.5.0.1")
        server.unregister("www.site.test", "10.0.0.80")  # was not registered
        server.unregister("a.site.test", "10.5.0.1")
        server.zones._place(dns.name.from_text("9.6.5.10.in-addr.arpa")).add(
            "9.6.5.10.in-addr.arpa", "CNAME 9.net.test"
        )
        with pytest.raises(ValueError, match="has a CNAME"):
            server.register("a.site.test", "10.5.6.9")
        with pytest.raises(NxDomain):
            await site.query("a.site.test")
        assert await site.query("www.site.test")


# a coroutine


async def test_a_coroutine_answers(site):
    asked = []

    async def answer(question):
        asked.append((question.name, question.kind))
        match question.name:
            case "none.test":
                return None
            case "gone.test":
                raise NxDomain
            case "empty.test":
                return []
            case "nodata.test":
                raise NoData
            case "failure.test":
                raise NoAnswer
            case "alias.test":
                return "CNAME www.zone.test"
            case "both.test":
                return [CNAME("both.test", 9, "c.both.test"), A("c.both.test", 8, "10.0.0.8")]
            case "poison.test":
                return [A("bank.test", 8, "6.6.6.6"), A("poison.test", 8, "10.0.0.9")]
            case _:
                await asyncio.sleep(1)
                return ["10.0.0.7", "fd00::7", "MX 10 mail.test"]

    async with site.serve({"www.zone.test": "10.0.0.80"}, answer=answer):
        assert summary(await site.ask("x.test")) == ("NOERROR", "QR AA RD", ["x.test. 60 IN A 10.0.0.7"])
        assert summary(await site.ask("x.test", "MX"))[2] == ["x.test. 60 IN MX 10 mail.test."]
        assert asked == [("x.test", "A"), ("x.test", "MX")]
        assert summary(await site.ask("none.test")) == ("REFUSED", "QR RD", [])
        assert summary(await site.ask("gone.test")) == ("NXDOMAIN", "QR AA RD", [])
        assert summary(await site.ask("empty.test")) == ("NOERROR", "QR AA RD", [])
        assert summary(await site.ask("nodata.test")) == ("NOERROR", "QR AA RD", [])
        assert summary(await site.ask("failure.test")) == ("SERVFAIL", "QR RD", [])
        assert summary(await site.ask("alias.test"))[2] == [
            "alias.test. 60 IN CNAME www.zone.test.",
            "www.zone.test. 60 IN A 10.0.0.80",
        ]
        assert summary(await site.ask("both.test"))[2] == [
            "both.test. 9 IN CNAME c.both.test.",
            "c.both.test. 8 IN A 10.0.0.8",
        ]
        assert summary(await site.ask("poison.test"))[2] == ["poison.test. 8 IN A 10.0.0.9"]
        assert summary(await site.ask("www.zone.test"))[2] == ["www.zone.test. 60 IN A 10.0.0.80"]


async def test_a_coroutine_that_fails(site):
    said = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))

    async def answer(question):
        match question.name:
            case "raises":
                raise RuntimeError("a mistake")
            case "nonsense":
                return "no record"
            case "chain":
                return "CNAME chain"
            case "forever":
                return A("forever", 1 << 32, "10.0.0.1")
            case "novel":
                return TXT("novel", 60, (b"x" * 255,) * 257)
            case _:
                await asyncio.sleep(1000)
                return None

    loop = asyncio.get_running_loop()
    async with site.serve(answer=answer):
        for name in ("raises", "nonsense", "forever", "novel", "slow"):
            start = loop.time()
            assert summary(await site.ask(name)) == ("SERVFAIL", "QR RD", [])
        assert loop.time() - start == pytest.approx(10.002)
        assert summary(await site.ask("chain"))[2] == ["chain. 60 IN CNAME chain."]
    assert [type(context["exception"]) for context in said] == [
        RuntimeError,
        *[ValueError] * 3,
        TimeoutError,
    ]


async def test_so_many_queries_wait_and_no_more(site):
    async def answer(question):
        await asyncio.sleep(5)
        return "10.0.0.1"

    async with site.serve(answer=answer, limits=ServerLimits(waiting=10)) as server:
        asking = [asyncio.create_task(site.ask(f"n{i}.test")) for i in range(30)]
        await asyncio.sleep(1)
        assert len(server._tasks) == 10
        codes = [(await one).rcode() for one in asking]
        assert codes == [dns.rcode.NOERROR] * 10 + [dns.rcode.SERVFAIL] * 20
        asking = asyncio.create_task(site.ask("last.test"))
        await asyncio.sleep(1)
    await asyncio.sleep(0)
    assert server._tasks == set()
    asking.cancel()


# upstreams

RECORDS = [
    "www.example.org. 100 IN A 10.0.0.80",
    "alias.example.org. 300 IN CNAME www.example.org.",
    "strange.example.org. 60 IN TYPE65400 \\# 4 01020304",
    "example.org. 60 IN HTTPS 1 . alpn=h2",
]
TABLE = {"www.zone.test": "10.0.0.1", "away.zone.test": "CNAME alias.example.org"}


@pytest.fixture
async def forwarding(site):
    site.up = await Nameserver(site.upstream, *RECORDS).start()
    for i in range(200):
        site.up.add(f"many.example.org. 60 IN A 10.1.0.{i}")
    async with site.serve(TABLE, upstreams=["10.0.1.53"]) as server:
        site.server = server
        yield site


async def test_forwarding(forwarding):
    ask = forwarding.ask
    assert summary(await ask("wWw.example.org")) == (
        "NOERROR",
        "QR RD RA",
        ["wWw.example.org. 100 IN A 10.0.0.80"],
    )
    assert summary(await ask("www.zone.test")) == (
        "NOERROR",
        "QR AA RD RA",
        ["www.zone.test. 60 IN A 10.0.0.1"],
    )
    chain = ["alias.example.org. 300 IN CNAME www.example.org.", "www.example.org. 100 IN A 10.0.0.80"]
    assert summary(await ask("alias.example.org"))[2] == chain
    aged = [line.replace("300", "299").replace("100", "99") for line in chain]
    assert summary(await ask("away.zone.test")) == (
        "NOERROR",
        "QR AA RD RA",
        ["away.zone.test. 60 IN CNAME alias.example.org.", *aged],
    )
    assert summary(await ask("strange.example.org", "TYPE65400"))[2] == [
        "strange.example.org. 60 IN TYPE65400 \\# 4 01020304"
    ]
    assert summary(await ask("example.org", "HTTPS"))[2] == ['example.org. 60 IN HTTPS 1 . alpn="h2"']
    found = await ask("www.example.org", "ANY")
    assert summary(found)[2] == ['www.example.org. 60 IN HINFO "RFC8482" ""']
    assert {way for *_, way in forwarding.up.asked} == {"udp"}
    assert len(await forwarding.query("many.example.org")) == 200  # TCP on both ways
    assert forwarding.up.asked[-1] == ("many.example.org", "A", "tcp")


async def test_answers_of_upstreams_are_remembered(forwarding):
    for _ in range(3):
        await forwarding.ask("www.example.org")
        await asyncio.sleep(20)
    assert len(forwarding.up.asked) == 1
    assert summary(await forwarding.ask("www.example.org"))[2] == ["www.example.org. 39 IN A 10.0.0.80"]
    await asyncio.sleep(40)
    await forwarding.ask("www.example.org")
    assert len(forwarding.up.asked) == 2


async def test_absence_is_remembered_with_its_soa(forwarding):
    """RFC 2308: whoever asks us can remember it too."""
    for name, kind, code in (("no.example.org", "A", "NXDOMAIN"), ("www.example.org", "MX", "NOERROR")):
        for _ in range(2):
            found = await forwarding.ask(name, kind)
            assert (summary(found)[0], sections(found)) == (code, [["example.org. SOA"], []])
            await asyncio.sleep(5)
    assert len(forwarding.up.asked) == 2
    assert found.authority[0].ttl == 24  # of 30, RFC 2308 6


async def test_equal_questions_of_many_clients_are_asked_once(forwarding):
    found = await asyncio.gather(*(forwarding.ask("www.example.org") for _ in range(50)))
    assert {summary(one)[0] for one in found} == {"NOERROR"}
    assert len(forwarding.up.asked) == 1


async def test_failures_of_upstreams_are_remembered(forwarding):
    """RFC 9520."""
    forwarding.up.rules.append(refusing(dns.rcode.SERVFAIL))
    for _ in range(10):
        assert summary(await forwarding.ask("www.example.org")) == ("SERVFAIL", "QR RD RA", [])
    assert len(forwarding.up.asked) == 2
    forwarding.up.rules[:] = [silent]
    found = await forwarding.exchange(dns.message.make_query("x.example.org", "A").to_wire())
    assert dns.message.from_wire(found[0]).rcode() == dns.rcode.SERVFAIL


async def test_who_does_not_want_recursion_gets_none(forwarding):
    assert summary(await forwarding.ask("www.example.org", flags=0)) == ("REFUSED", "QR RA", [])
    assert summary(await forwarding.ask("away.zone.test", flags=0))[2] == [
        "away.zone.test. 60 IN CNAME alias.example.org."
    ]
    assert forwarding.up.asked == []


async def test_a_loop_of_forwarders_ends(site):
    """Two that ask each other: the questions run out of time or place, not the program."""
    async with (
        site.serve(upstreams=["10.0.1.53"], limits=ServerLimits(waiting=8)) as one,
        DnsServer(site.upstream, upstreams=["10.0.1.1"], limits=ServerLimits(waiting=8)) as other,
    ):
        with pytest.raises(NoAnswer):
            await site.query("www.example.org")
        assert len(one._tasks) <= 8 and len(other._tasks) <= 8


async def test_an_upstream_s_records_that_were_not_asked_for(forwarding):
    def poison(query, way):
        answer = dns.message.make_response(query)
        name = query.question[0].name
        answer.answer.append(dns.rrset.from_text("bank.example.org.", 60, "IN", "A", "6.6.6.6"))
        answer.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "10.0.0.9"))
        answer.additional.append(dns.rrset.from_text("bank.example.org.", 60, "IN", "A", "6.6.6.6"))
        answer.authority.append(dns.rrset.from_text("example.org.", 60, "IN", "NS", "evil.test."))
        return answer if name.to_text().lower() == "x.example.org." else None

    forwarding.up.rules.append(poison)
    found = await forwarding.ask("x.example.org")
    assert (summary(found)[2], sections(found)) == (["x.example.org. 60 IN A 10.0.0.9"], [[], []])
    assert (await forwarding.ask("bank.example.org")).rcode() == dns.rcode.NXDOMAIN


@pytest.mark.forges("the upstream's answers are mutated")
async def test_mutated_answers_of_an_upstream(forwarding, caplog):
    """Whoever asks us gets records or an error, and nothing is left."""
    rng = random.Random(12)

    def mutate(query, way):
        return mutated(forwarding.up.look_up(query).to_wire(), rng, start=2)

    forwarding.up.rules.append(mutate)
    server = forwarding.server
    server._resolver.config.timeout = 0.2
    codes = set()
    names = ["alias.example.org", "www.example.org", "no.example.org", "strange.example.org"]
    for _ in range(400):
        server._resolver.cache.clear()
        answer = await forwarding.ask(rng.choice(names), rng.choice(["A", "TYPE65400", "SOA"]))
        codes.add(answer.rcode())
    assert {dns.rcode.NOERROR, dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL} == codes
    assert (server._tasks, caplog.records) == (set(), [])
