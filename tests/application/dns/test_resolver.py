"""The resolver of a stack and nameservers on a simulated network."""

import asyncio
import ipaddress
import itertools
import random
import socket

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest

from asyncstack.application.dns import (
    AAAA,
    CNAME,
    MX,
    NS,
    PTR,
    SRV,
    TXT,
    A,
    NoAnswer,
    NoData,
    NxDomain,
    ServerFailure,
)
from tests.application.dns.nameserver import SILENCE, refusing, silent

pytestmark = pytest.mark.virtual_time

WEB = "www.example.org. 60 IN A 10.0.0.80"
RECORDS = [
    WEB,
    "www.example.org. 60 IN AAAA fd00::80",
    "alias.example.org. 300 IN CNAME Other.example.org.",
    "other.example.org. 50 IN CNAME www.example.org.",
    "_http._tcp.example.org. 60 IN SRV 10 5 8080 www.example.org.",
    "_http._tcp.example.org. 60 IN SRV 20 0 80 www.example.org.",
    'text.example.org. 60 IN TXT "two" "strings"',
    "80.0.0.10.in-addr.arpa. 60 IN PTR www.example.org.",
    "four.example.org. 60 IN A 10.0.0.4",
    "example.org. 60 IN MX 10 Mail.example.org.",
    "example.org. 60 IN NS ns.example.org.",
]


async def test_every_type(world):
    await world.start(*RECORDS)
    assert await world.query("www.example.org") == [A("www.example.org", 60, "10.0.0.80")]
    assert await world.query("www.example.org.", "AAAA") == [AAAA("www.example.org", 60, "fd00::80")]
    assert await world.query("FOUR.Example.ORG") == [A("four.example.org", 60, "10.0.0.4")]
    assert await world.query("alias.example.org", "CNAME") == [
        CNAME("alias.example.org", 300, "other.example.org")
    ]
    assert await world.query("_http._tcp.example.org", "SRV") == [
        SRV("_http._tcp.example.org", 60, 10, 5, 8080, "www.example.org"),
        SRV("_http._tcp.example.org", 60, 20, 0, 80, "www.example.org"),
    ]
    assert await world.query("text.example.org", "TXT") == [TXT("text.example.org", 60, (b"two", b"strings"))]
    assert await world.query("80.0.0.10.in-addr.arpa", "PTR") == [
        PTR("80.0.0.10.in-addr.arpa", 60, "www.example.org")
    ]
    assert await world.query("example.org", "MX") == [MX("example.org", 60, 10, "mail.example.org")]
    assert await world.query("example.org", "NS") == [NS("example.org", 60, "ns.example.org")]
    for name, kind in (("www.example.org", "ANY"), ("a..b", "A"), ("x" * 64 + ".org", "A")):
        with pytest.raises(ValueError, match="name" if kind == "A" else "ANY"):
            await world.query(name, kind)
    assert world.second.asked == []


async def test_a_query_offers_edns_and_asks_for_recursion(world):
    await world.start(*RECORDS)
    await world.query("www.example.org")
    query = world.server.queries[0]
    assert (query.edns, query.payload, bool(query.flags & dns.flags.RD)) == (0, 1232, True)


async def test_a_chain_of_aliases(world):
    await world.start(*RECORDS)
    assert await world.query("alias.example.org") == [A("www.example.org", 60, "10.0.0.80")]
    # remembered as long as the shortest link of the chain
    await asyncio.sleep(49)
    await world.query("alias.example.org")
    assert world.server.asked == [("alias.example.org", "A", "udp")]
    await asyncio.sleep(2)
    await world.query("alias.example.org")
    assert len(world.server.asked) == 2


async def test_a_chain_that_the_server_does_not_follow(world):
    """It is followed by asking again; a loop ends."""
    await world.start(*RECORDS)

    def one_link(query, way):
        answer = dns.message.make_response(query)
        name = query.question[0].name.to_text().lower()
        links = {"a.example.org.": "b.example.org.", "loop.example.org.": "loop2.example.org."}
        links |= {"b.example.org.": "www.example.org.", "loop2.example.org.": "loop.example.org."}
        if name not in links:
            return None
        answer.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", links[name]))
        return answer

    world.server.rules.append(one_link)
    assert await world.query("a.example.org") == [A("www.example.org", 60, "10.0.0.80")]
    assert [name for name, *_ in world.server.asked] == ["a.example.org", "b.example.org", "www.example.org"]
    world.server.asked.clear()
    with pytest.raises(ServerFailure, match="chain of more than 16 aliases") as caught:
        await world.query("loop.example.org")
    assert caught.value.errno == socket.EAI_AGAIN
    assert len(world.server.asked) == 17


async def test_what_does_not_exist_is_remembered_as_long_as_the_zone_says(world):
    """RFC 2308: the SOA's minimum, here 30 s."""
    await world.start(*RECORDS)
    for _ in range(2):
        with pytest.raises(NxDomain, match=r"no\.example\.org does not exist") as caught:
            await world.query("no.example.org")
        assert caught.value.errno == socket.EAI_NONAME
        with pytest.raises(NoData) as caught:
            await world.query("four.example.org", "AAAA")
        assert caught.value.errno == socket.EAI_NODATA
    assert len(world.server.asked) == 2
    await asyncio.sleep(31)
    with pytest.raises(NxDomain):
        await world.query("no.example.org")
    assert len(world.server.asked) == 3


async def test_absence_without_an_soa_is_not_remembered(world):
    await world.start(*RECORDS)
    world.server.rules.append(refusing(dns.rcode.NXDOMAIN))
    for _ in range(2):
        with pytest.raises(NxDomain):
            await world.query("no.example.org")
    assert len(world.server.asked) == 2


async def test_records_are_remembered_for_their_time_to_live(world):
    await world.start(*RECORDS, "brief.example.org. 0 IN A 10.0.0.9")
    await world.query("www.example.org")
    await asyncio.sleep(59.5)
    assert (await world.query("www.example.org"))[0].ttl == 0
    assert len(world.server.asked) == 1
    await asyncio.sleep(1)
    world.server.zone["www.example.org.", "A"] = dns.rrset.from_text(*WEB.replace("80", "81").split(None, 4))
    assert await world.query("www.example.org") == [A("www.example.org", 60, "10.0.0.81")]
    for _ in range(2):  # 0: for this once
        await world.query("brief.example.org")
    assert len(world.server.asked) == 4


async def test_the_time_to_live_of_what_is_remembered_runs_down(world):
    await world.start(*RECORDS)
    await world.query("www.example.org")
    await asyncio.sleep(20)
    assert (await world.query("www.example.org"))[0].ttl == 40


@pytest.mark.slow
async def test_ten_thousand_names_do_not_grow_the_cache_beyond_its_bound(world):
    await world.start(cache_limit=500, delay=0.0001)

    def everything(query, way):
        answer = dns.message.make_response(query)
        answer.answer.append(dns.rrset.from_text(query.question[0].name, 3600, "IN", "A", "10.0.0.9"))
        return answer

    world.server.rules.append(everything)
    cache = world.client.resolver.cache
    for start in range(0, 10_000, 1000):
        await asyncio.gather(*(world.query(f"n{i}.example.org") for i in range(start, start + 1000)))
        assert len(cache) <= 500
    assert (len(cache), len(world.server.asked)) == (500, 10_000)
    await world.query("n9999.example.org")
    assert len(world.server.asked) == 10_000  # the last ones are there
    await world.query("n0.example.org")
    assert len(world.server.asked) == 10_001


async def test_truncation_leads_to_tcp(world):
    await world.start(*RECORDS)
    for i in range(200):
        world.server.add(f"many.example.org. 60 IN A 10.1.0.{i}")
    records = await world.query("many.example.org")
    assert len(records) == 200
    assert [way for *_, way in world.server.asked] == ["udp", "tcp"]
    # TCP that nobody answers: the next server
    world.client.resolver.cache.clear()
    world.server.rules.append(lambda query, way: SILENCE if way == "tcp" else None)
    world.second.limit = 65000
    for i in range(200):
        world.second.add(f"many.example.org. 60 IN A 10.1.0.{i}")
    assert len(await world.query("many.example.org")) == 200
    assert world.second.asked == [("many.example.org", "A", "udp")]


async def test_nameservers_are_asked_in_order_each_for_its_time(world):
    await world.start(*RECORDS, timeout=3.0)
    loop = asyncio.get_running_loop()
    world.server.rules.append(silent)
    start = loop.time()
    await world.query("www.example.org")
    assert loop.time() - start == pytest.approx(3.02, abs=0.01)
    assert (len(world.server.asked), len(world.second.asked)) == (1, 1)
    world.second.rules.append(silent)
    start = loop.time()
    with pytest.raises(NoAnswer, match=r"no answer from 10\.0\.0\.53") as caught:
        await world.query("four.example.org")
    assert caught.value.errno == socket.EAI_AGAIN
    assert loop.time() - start == pytest.approx(12.0, abs=0.01)  # 2 servers, 2 attempts
    assert (len(world.server.asked), len(world.second.asked)) == (3, 3)
    assert world.counters["dns.timeouts"] == 5


@pytest.mark.parametrize("code", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_a_server_that_fails_is_left_at_once(world, code):
    await world.start(*RECORDS)
    world.server.rules.append(refusing(code))
    loop = asyncio.get_running_loop()
    start = loop.time()
    await world.query("www.example.org")
    assert loop.time() - start < 0.1
    world.second.rules.append(refusing(code))
    with pytest.raises(ServerFailure, match=dns.rcode.to_text(code)):
        await world.query("four.example.org")


async def test_a_host_without_a_nameserver_is_left_at_once(world):
    """Port unreachable, and for an address that no route leads to the network."""
    await world.start(*RECORDS, servers=["10.0.0.1", "192.0.2.53", "10.0.1.53"])
    loop = asyncio.get_running_loop()
    start = loop.time()
    await world.query("www.example.org")
    assert loop.time() - start < 0.1


async def test_a_nameserver_by_ipv6(world):
    await world.start(*RECORDS, servers=["fd00::53"])
    assert await world.query("www.example.org") == [A("www.example.org", 60, "10.0.0.80")]


@pytest.mark.parametrize("code", [dns.rcode.FORMERR, dns.rcode.NOTIMP])
async def test_a_server_that_knows_no_edns(world, code):
    await world.start(*RECORDS)

    def old(query, way):
        if query.edns < 0:
            return None
        return query.id.to_bytes(2, "big") + bytes([0x81, 0x80 | code]) + bytes(8)  # no question either

    world.server.rules.append(old)
    await world.query("www.example.org")
    assert [query.edns for query in world.server.queries] == [0, -1]
    assert world.second.asked == []


async def test_equal_questions_are_asked_once(world):
    await world.start(*RECORDS)
    answers = await asyncio.gather(*(world.query("www.example.org") for _ in range(50)))
    assert all(answer == answers[0] for answer in answers)
    assert len(world.server.asked) == 1
    failures = await asyncio.gather(
        *(world.query("no.example.org") for _ in range(50)), return_exceptions=True
    )
    assert {type(failure) for failure in failures} == {NxDomain}
    assert len({id(failure) for failure in failures}) == 50  # each has a traceback of its own
    assert len(world.server.asked) == 2


async def test_a_cancelled_question(world):
    """Who else waits for the answer gets it; if nobody does, nothing is left."""
    await world.start(*RECORDS)
    first, second = (asyncio.create_task(world.query("www.example.org")) for _ in range(2))
    await asyncio.sleep(0.005)
    first.cancel()
    assert await second == [A("www.example.org", 60, "10.0.0.80")]
    assert first.cancelled()
    assert len(world.server.asked) == 1
    third = asyncio.create_task(world.query("four.example.org"))
    await asyncio.sleep(0.005)
    assert world.client._sockets != {}
    third.cancel()
    await asyncio.wait([third])
    await asyncio.sleep(0)
    assert (world.client._sockets, len(asyncio.all_tasks())) == ({}, 1)
    # and it can be asked anew at once
    assert await world.query("four.example.org") == [A("four.example.org", 60, "10.0.0.4")]


async def test_the_end_of_the_stack_ends_its_questions(world):
    await world.start(*RECORDS)
    world.server.rules.append(silent)
    asking = asyncio.create_task(world.query("www.example.org"))
    await asyncio.sleep(1)
    await world.client.close()
    with pytest.raises(OSError, match="the stack was closed"):
        await asking
    with pytest.raises(OSError, match="the stack is closed"):
        await world.query("www.example.org")


async def test_so_many_questions_at_a_time(world):
    await world.start(query_limit=3)
    world.server.rules.append(refusing(dns.rcode.NXDOMAIN))
    most = 0

    async def watch():
        nonlocal most
        while True:
            most = max(most, len(world.client._sockets))
            await asyncio.sleep(0.001)

    watching = asyncio.create_task(watch())
    asking = (world.query(f"n{i}.example.org") for i in range(20))
    assert {type(one) for one in await asyncio.gather(*asking, return_exceptions=True)} == {NxDomain}
    watching.cancel()
    assert most == 3


async def test_a_lossy_link(world):
    await world.start(*RECORDS, timeout=1.0, attempts=10)
    world.link.set(loss=0.4, duplicate=0.2, reorder=0.3)
    world.link2.set(loss=0.4, corrupt=0.2)
    for i in range(100):
        world.server.add(f"n{i}.example.org. 60 IN A 10.1.0.{i}")
        world.second.add(f"n{i}.example.org. 60 IN A 10.1.0.{i}")
    answers = await asyncio.gather(*(world.query(f"n{i}.example.org") for i in range(100)))
    assert [answer[0].address for answer in answers] == [f"10.1.0.{i}" for i in range(100)]
    assert world.counters["dns.timeouts"] > 20


def forged(query, **changes):
    """An answer that leads to 6.6.6.6."""
    answer = dns.message.make_response(query)
    answer.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "6.6.6.6"))
    wire = bytearray(answer.to_wire())
    wire[0:2] = changes.get("ident", query.id).to_bytes(2, "big")
    return bytes(wire)


@pytest.mark.forges("the server's answers are forged")
async def test_forged_answers_are_ignored(world):
    """Wrong ID, another question, the wrong case, not a response, another sender: the right answer still counts."""
    await world.start(*RECORDS)
    host, server = world.server.stack, world.server

    def flood(query, way):
        if way == "tcp":
            return
        (local, port, _, _) = next(iter(world.client.udp.endpoints))
        path = host.routes.lookup(local)
        other = dns.message.make_query("evil.example.org", "A", id=query.id)
        other_type = dns.message.make_query(query.question[0].name, "AAAA", id=query.id)
        for data in (
            forged(query, ident=query.id ^ 1),
            forged(other),
            forged(other_type),
            query.to_wire(),
            forged(query)[:20],
            b"",
            b"\xff" * 100,
        ):
            host.udp.send(path, 53, port, data)
        host.udp.send(path, 54, port, forged(query))  # another port
        host.udp.send(host.routes.lookup(local, socket.inet_aton("10.0.0.54")), 53, port, forged(query))
        return

    host.add_address(host.interfaces[-1], socket.inet_aton("10.0.0.54"), 32)
    server.rules.append(flood)
    assert await world.query("www.example.org") == [A("www.example.org", 60, "10.0.0.80")]
    assert (world.counters["dns.mismatched"], world.counters["dns.malformed"]) == (4, 3)
    assert world.counters["udp.no_endpoint"] == 2
    assert [way for *_, way in server.asked] == ["udp"]


async def test_many_forged_answers_lead_to_tcp(world):
    await world.start(*RECORDS)

    def guess(query, way):
        if way == "tcp":
            return None
        host = world.server.stack
        (local, port, _, _) = next(iter(world.client.udp.endpoints))
        for ident in range(40):
            host.udp.send(
                host.routes.lookup(local), 53, port, forged(query, ident=(query.id + 1 + ident) % 65536)
            )
        return SILENCE

    world.server.rules.append(guess)
    assert await world.query("www.example.org") == [A("www.example.org", 60, "10.0.0.80")]
    assert [way for *_, way in world.server.asked] == ["udp", "tcp"]


async def test_a_server_that_does_not_keep_the_case_is_asked_over_tcp(world):
    await world.start(*RECORDS)

    def lower(query, way):
        query.question[0].name = dns.name.from_text(query.question[0].name.to_text().lower())
        return

    world.server.rules.append(lower)
    assert await world.query("www.example.org") == [A("www.example.org", 60, "10.0.0.80")]
    assert [way for *_, way in world.server.asked] == ["udp", "tcp"]


async def test_what_a_forger_would_have_to_guess(world):
    """Of every query: the source port, the ID, and the case of letters."""
    await world.start(*RECORDS)
    ports = []

    def note(query, way):
        ports.append(next(iter(world.client.udp.endpoints))[1])
        return refusing(dns.rcode.NXDOMAIN)(query, way)

    world.server.rules.append(note)
    for _ in range(100):
        with pytest.raises(NxDomain):
            await world.query("a-rather-long-name.example.org")
    idents = [query.id for query in world.server.queries]
    cases = {query.question[0].name.to_text() for query in world.server.queries}
    assert min(len(set(ports)), len(set(idents)), len(cases)) >= 98
    steps = {b - a for a, b in itertools.pairwise(ports)}
    assert len(steps) > 90  # not one after the other
    assert max(idents) > 0xE000 and min(idents) < 0x2000


@pytest.mark.forges("the server's answers are mutated")
async def test_mutated_answers_never_do_harm(world):
    """Whatever comes from the server's own address, a question ends with records or an error of ours."""
    await world.start(*RECORDS, timeout=0.5)
    rng = random.Random(5)

    def mutate(query, way):
        wire = bytearray(world.server.look_up(query).to_wire())
        for _ in range(rng.randrange(3)):
            at = rng.randrange(2, len(wire))
            wire[at] = rng.choice((rng.randrange(256), 0xC0, 0xFF))
        return bytes(wire[: rng.choice((len(wire), rng.randrange(12, len(wire) + 1)))])

    world.server.rules.append(mutate)
    world.second.rules.append(mutate)
    ends = set()
    for _ in range(400):
        world.client.resolver.cache.clear()
        try:
            ends.add(type((await world.query("alias.example.org"))[0]))
        except (NxDomain, NoData, NoAnswer, ServerFailure) as exc:
            ends.add(type(exc))
    assert {A, NoAnswer} <= ends


async def test_the_name_of_an_address(world):
    await world.start(*RECORDS)
    address = ipaddress.ip_address("10.0.0.80").packed
    assert await world.client.resolver.name_of(address) == "www.example.org"


async def test_no_task_timer_endpoint_or_connection_is_left(world):
    await world.start(*RECORDS, timeout=1.0)
    for i in range(200):
        world.server.add(f"many.example.org. 60 IN A 10.1.0.{i}")
    loop = asyncio.get_running_loop()
    await asyncio.sleep(300)
    before = len(asyncio.all_tasks()), loop.timers
    await world.query("many.example.org")  # over TCP
    await world.client.getaddrinfo("www.example.org", 80)
    for server in (world.server, world.second):
        server.rules.append(silent)
    with pytest.raises(NoAnswer):
        await world.query("four.example.org")
    asking = [asyncio.create_task(world.client.getaddrinfo(f"n{i}.example.org", 80)) for i in range(10)]
    await asyncio.sleep(0.5)
    for task in asking:
        task.cancel()
    await asyncio.wait(asking)
    del asking, task
    await asyncio.sleep(300)  # TIME-WAIT
    assert (len(asyncio.all_tasks()), loop.timers) == before
    assert (world.client.udp.endpoints, world.client.udp.claims._by_port) == ({}, {})
    assert (world.client.tcp.connections, world.client._sockets) == ({}, {})
