"""Attackers who are not on the path: they send answers in the nameserver's name and have to guess what they must repeat
(RFC 5452)."""

import asyncio
import random
import socket

import dns.message
import dns.name
import dns.rrset
import pytest

from asyncstack.application.dns import A, DnsServer
from asyncstack.application.dns.messages import mixed_case
from tests.application.dns.nameserver import SILENCE, Nameserver
from tests.application.dns.serving import Site, summary

pytestmark = pytest.mark.virtual_time

NAME = "www.bank.example.org"
RIGHT = A(NAME, 60, "10.0.0.80")
ANSWERS = 10_000
SERVER = socket.inet_aton("10.0.0.53")


class Attacker:
    """A host that writes any source into its packets. What it sends leads to 6.6.6.6."""

    def __init__(self, network, client):
        self.host = network.host("attacker")
        network.link(client, self.host, delay=0.0001, addresses=("10.6.0.1/24", "10.6.0.2/24"))
        here, there = socket.inet_aton("10.0.0.1"), socket.inet_aton("10.6.0.1")
        self.host.routes.add(here, 32, self.host.interfaces[-1], there)
        self.path = self.host.routes.lookup(here, SERVER, foreign=True)
        self.rng = random.Random(6)
        self.sent = 0

    def send(self, ident, port, *, name=NAME, kind="A", source_port=53, wire=None):
        if wire is None:
            query = dns.message.make_query(name, kind, id=ident)
            answer = dns.message.make_response(query)
            answer.answer.append(dns.rrset.from_text(query.question[0].name, 86400, "IN", "A", "6.6.6.6"))
            wire = answer.to_wire()
        self.sent += self.host.udp.send(self.path, source_port, port, wire)


@pytest.fixture
async def field(network):
    """`client` asks an honest server, slowly; `out()` is the query that is out: (ident, source port, name as sent)."""
    site = Site(network)
    client = site.client
    site.nameserver = await Nameserver(site.host, f"{NAME}. 60 IN A 10.0.0.80").start()
    site.attacker = Attacker(network, client)
    network.links[0].set(delay=0.5)
    build = []
    original = client.resolver._by_datagram

    async def watched(query, lookup):
        build.append(dns.message.from_wire(query.data))
        await original(query, lookup)

    client.resolver._by_datagram = watched

    def out():
        port = next(iter(client.udp.endpoints))[1]
        return build[-1].id, port, build[-1].question[0].name.to_text(omit_final_dot=True)

    site.out = out
    yield site
    assert len(client.resolver._flights) == 0
    assert (await client.resolver.query(NAME))[0].address == "10.0.0.80"  # what is remembered is right too


async def begin(field):
    asking = asyncio.create_task(field.query(NAME))
    await asyncio.sleep(0.1)
    return asking


async def spread(field, asking, attack):
    """Run `attack(i)` 10,000 times while the query is out; the client's tables do not grow."""
    for i in range(ANSWERS):
        attack(i)
        if i % 100 == 99:
            await asyncio.sleep(0.001)
            assert len(field.client._sockets) <= 1
    assert await asking == [RIGHT]
    counters = field.client.counters
    heard = counters["dns.mismatched"] + counters["dns.malformed"] + counters["udp.no_endpoint"]
    assert (field.attacker.sent, heard > 0.98 * ANSWERS) == (ANSWERS, True)


async def test_guessing_port_and_identifier(field):
    asking, attacker = await begin(field), field.attacker
    rng = attacker.rng
    await spread(field, asking, lambda i: attacker.send(rng.getrandbits(16), rng.randrange(32768, 61000)))


async def test_the_port_is_known_but_not_the_identifier(field):
    """So many wrong ones and the question goes where nobody can guess: over TCP."""
    asking, attacker = await begin(field), field.attacker
    ident, port, name = field.out()
    await spread(field, asking, lambda i: attacker.send((ident + 1 + i) % 65536, port, name=name))
    assert [way for *_, way in field.nameserver.asked] == ["udp", "tcp"]
    assert field.client.counters["dns.mismatched"] == 16


async def test_the_identifier_is_known_but_not_the_port(field):
    asking, attacker = await begin(field), field.attacker
    ident, port, name = field.out()
    ports = [one for one in range(port - 5001, port + 5001) if one != port and 0 < one < 65536][:ANSWERS]
    ports += [attacker.rng.randrange(1024, 2048) for _ in range(ANSWERS - len(ports))]
    await spread(field, asking, lambda i: attacker.send(ident, ports[i], name=name))
    assert [way for *_, way in field.nameserver.asked] == ["udp"]


async def test_all_is_known_but_the_case_of_the_letters(field):
    """At the first of them the question goes over TCP: a server may be like that, and an attacker gains nothing."""
    asking, attacker = await begin(field), field.attacker
    ident, port, name = field.out()

    def attack(i):
        guess = mixed_case(NAME, attacker.rng)
        attacker.send(ident, port, name=guess if guess != name else name.swapcase())

    await spread(field, asking, attack)
    assert [way for *_, way in field.nameserver.asked] == ["udp", "tcp"]


async def test_all_is_known_but_the_answer_is_for_another_question(field):
    asking, attacker = await begin(field), field.attacker
    ident, port, name = field.out()
    others = [("evil.example.org", "A"), (name, "AAAA"), (name, "ANY"), (name + ".x", "A"), (name[1:], "A")]

    def attack(i):
        other, kind = others[i % len(others)]
        attacker.send(ident, port, name=other, kind=kind)

    await spread(field, asking, attack)


async def test_all_is_known_but_the_sender_is_another_port(field):
    asking, attacker = await begin(field), field.attacker
    ident, port, name = field.out()
    await spread(
        field,
        asking,
        lambda i: attacker.send(ident, port, name=name, source_port=54 + attacker.rng.randrange(60000)),
    )
    assert [way for *_, way in field.nameserver.asked] == ["udp"]


@pytest.mark.forges("the attacker sends noise")
async def test_noise(field):
    asking, attacker = await begin(field), field.attacker
    ident, port, _ = field.out()
    rng = attacker.rng
    await spread(
        field,
        asking,
        lambda i: attacker.send(
            ident, port, wire=ident.to_bytes(2, "big") + rng.randbytes(rng.randrange(80))
        ),
    )


async def test_asking_for_one_name_a_thousand_times_opens_one_window(field):
    """No birthday attack: equal questions share one query."""
    asking = [asyncio.create_task(field.query(NAME)) for _ in range(1000)]
    await asyncio.sleep(0.1)
    assert len(field.client.udp.endpoints) == 1
    assert {tuple(one) for one in await asyncio.gather(*asking)} == {(RIGHT,)}
    assert len(field.nameserver.asked) == 1


async def test_a_window_that_opens_again_and_again(network):
    """Kaminsky's: names that do not exist, one after the other through a forwarder, and a guess for each."""
    site = Site(network)
    up = await Nameserver(site.upstream, f"{NAME}. 60 IN A 10.0.0.80").start()
    rng = random.Random(9)

    def forge(query, way):
        """Whoever is asked knows the name, and sends 10 guesses in the upstream's name before it answers."""
        name = query.question[0].name.to_text().lower()
        if not name.startswith("n"):
            return None
        port = next(port for _, port, *_ in site.host.udp.endpoints if port != 53)
        for _ in range(10):
            fake = dns.message.make_response(query)
            fake.id = rng.getrandbits(16)
            fake.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", NAME + "."))
            fake.answer.append(dns.rrset.from_text(NAME + ".", 86400, "IN", "A", "6.6.6.6"))
            fake.additional.append(dns.rrset.from_text(NAME + ".", 86400, "IN", "A", "6.6.6.6"))
            site.upstream.udp.send(
                site.upstream.routes.lookup(socket.inet_aton("10.0.1.1")), 53, port, fake.to_wire()
            )
        return None if rng.random() < 0.9 else SILENCE

    up.rules.append(forge)
    async with DnsServer(site.host, upstreams=["10.0.1.53"]) as server:
        server._resolver.config.timeout = 0.5
        for i in range(300):
            await site.exchange(dns.message.make_query(f"n{i}.bank.example.org", "A").to_wire(), timeout=0.2)
            assert len(server._resolver.cache) <= server._resolver.config.cache_limit
        await asyncio.sleep(5)
        assert summary(await site.ask(NAME))[2] == [f"{NAME}. 60 IN A 10.0.0.80"]
        assert server._tasks == set()
    assert site.host.counters["dns.mismatched"] > 2700
