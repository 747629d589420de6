"""What an application of a stack calls with a name, answered by DNS."""

import asyncio
import socket

import dns.rcode
import pytest

from asyncstack.application.dns import NoAnswer, NoData, NxDomain, ServerFailure
from asyncstack.transport.tcp.state import State
from tests.application.dns.nameserver import refusing, silent
from tests.transport.asyncio_contract.recorders import Datagrams, Recorder

pytestmark = pytest.mark.virtual_time

V4, V6, STREAM, DGRAM = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM
RECORDS = [
    "www.example.org. 60 IN A 10.0.0.53",
    "www.example.org. 60 IN AAAA fd00::53",
    "alias.example.org. 60 IN CNAME www.example.org.",
    "four.example.org. 60 IN A 10.0.0.4",
    "a.b.example.org. 60 IN A 10.0.0.5",
    "a.b. 60 IN A 10.0.0.6",
    "far.example.org. 60 IN AAAA 2001:db8::1",
    "far.example.org. 60 IN A 10.0.0.7",
    "me.example.org. 60 IN A 10.0.0.1",
    "53.0.0.10.in-addr.arpa. 60 IN PTR www.example.org.",
]


def addresses(results):
    return [sockaddr[0] for *_, sockaddr in results]


async def test_getaddrinfo(world):
    await world.start(*RECORDS)
    getaddrinfo = world.client.getaddrinfo
    found = await getaddrinfo("Alias.example.org", "http", flags=socket.AI_CANONNAME)
    assert found == [
        (V6, STREAM, 6, "www.example.org", ("fd00::53", 80, 0, 0)),
        (V4, STREAM, 6, "", ("10.0.0.53", 80)),
    ]
    assert sorted(world.server.asked) == [("alias.example.org", kind, "udp") for kind in ("A", "AAAA")]
    world.server.asked.clear()
    assert addresses(await getaddrinfo("four.example.org", 80, family=V4, type=DGRAM)) == ["10.0.0.4"]
    assert [kind for _, kind, _ in world.server.asked] == ["A"]  # nothing else is asked than is wanted
    # no route leads to 2001:db8::1
    assert addresses(await getaddrinfo("far.example.org", 80, type=STREAM)) == ["10.0.0.7", "2001:db8::1"]
    mapped = {"family": V6, "type": STREAM, "flags": socket.AI_V4MAPPED}
    assert addresses(await getaddrinfo("four.example.org", 80, **mapped)) == ["::ffff:10.0.0.4"]
    assert addresses(await getaddrinfo(b"www.example.org", 80, **mapped)) == ["fd00::53"]


@pytest.mark.parametrize(
    ("name", "family", "rule", "error", "code"),
    [
        ("no.example.org", 0, None, NxDomain, socket.EAI_NONAME),
        ("four.example.org", V6, None, NoData, socket.EAI_NODATA),
        ("53.0.0.10.in-addr.arpa", 0, None, NoData, socket.EAI_NODATA),
        ("www.example.org", 0, refusing(dns.rcode.SERVFAIL), ServerFailure, socket.EAI_AGAIN),
        ("www.example.org", 0, silent, NoAnswer, socket.EAI_AGAIN),
    ],
)
async def test_errors_are_gaierrors(world, name, family, rule, error, code):
    await world.start(*RECORDS)
    for server in (world.server, world.second):
        server.rules += [rule] if rule else []
    for call in (
        world.client.getaddrinfo(name, 80, family=family),
        world.client.names.lookup(name, family),
        world.client.create_connection(Recorder, name, 80, family=family),
        world.client.create_server(Recorder, name, 80, family=family),
        world.client.create_datagram_endpoint(Datagrams, remote_addr=(name, 80), family=family),
    ):
        with pytest.raises(socket.gaierror) as caught:
            await call
        assert (type(caught.value), caught.value.errno) == (error, code)


async def test_one_family_that_is_not_answered_does_not_keep_the_other_away(world):
    await world.start(*RECORDS, timeout=1.0)

    def no_aaaa(query, way):
        return silent(query, way) if query.question[0].rdtype == 28 else None

    world.server.rules.append(no_aaaa)
    world.second.rules.append(no_aaaa)
    assert addresses(await world.client.getaddrinfo("www.example.org", 80, type=STREAM)) == ["10.0.0.53"]


async def test_the_table_and_literals_come_first(world):
    await world.start(*RECORDS)
    assert addresses(await world.client.getaddrinfo("ns2", 80, type=STREAM)) == ["10.0.1.53"]
    assert addresses(await world.client.getaddrinfo("localhost", 80, family=V4, type=STREAM)) == ["127.0.0.1"]
    assert addresses(await world.client.getaddrinfo("10.9.9.9", 80, type=STREAM)) == ["10.9.9.9"]
    with pytest.raises(socket.gaierror):
        await world.client.getaddrinfo("www.example.org", 80, flags=socket.AI_NUMERICHOST)
    for port, arguments in (("no-such-service", {}), (80, {"type": 99}), (80, {"family": 99})):
        with pytest.raises(socket.gaierror):  # found out before a server is asked
            await world.client.getaddrinfo("www.example.org", port, **arguments)
    assert world.server.asked == []


@pytest.mark.parametrize(
    ("name", "ndots", "asked", "found"),
    [
        ("www", 1, ["www.sub.example.org", "www.example.org"], "10.0.0.53"),
        ("www.", 1, ["www"], None),
        ("a.b", 1, ["a.b"], "10.0.0.6"),
        ("a.b", 2, ["a.b.sub.example.org", "a.b.example.org"], "10.0.0.5"),
        ("a.b.", 2, ["a.b"], "10.0.0.6"),
        ("no", 1, ["no.sub.example.org", "no.example.org", "no"], None),
        ("no.no", 1, ["no.no", "no.no.sub.example.org", "no.no.example.org"], None),
        ("four", 1, ["four.sub.example.org", "four.example.org"], "10.0.0.4"),
    ],
)
async def test_names_are_searched_for(world, name, ndots, asked, found):
    await world.start(*RECORDS, search=["sub.example.org", "example.org."], ndots=ndots)
    if found:
        assert addresses(await world.client.getaddrinfo(name, 80, family=V4, type=STREAM)) == [found]
    else:
        with pytest.raises(NxDomain):
            await world.client.getaddrinfo(name, 80, family=V4)
    assert [one for one, *_ in world.server.asked] == asked


async def test_a_name_that_is_too_long_with_a_domain_behind_it(world):
    await world.start(*RECORDS, search=["example.org"])
    with pytest.raises(NxDomain):
        await world.client.getaddrinfo(".".join(["x" * 60] * 4), 80)
    assert {len(name) for name, *_ in world.server.asked} == {243}


async def test_getnameinfo(world):
    await world.start(*RECORDS, search=["example.org"])
    getnameinfo = world.client.getnameinfo
    assert await getnameinfo(("10.0.0.53", 80)) == ("ns1", "http")  # the table comes first
    world.client.names.table = {}
    assert await getnameinfo(("10.0.0.53", 80)) == ("www.example.org", "http")
    assert await getnameinfo(("10.0.0.53", 80), socket.NI_NOFQDN) == ("www", "http")
    world.server.asked.clear()
    assert await getnameinfo(("10.0.0.53", 80), socket.NI_NUMERICHOST) == ("10.0.0.53", "http")
    assert world.server.asked == []
    assert await getnameinfo(("fd00::99", 80, 0, 0)) == ("fd00::99", "http")
    with pytest.raises(socket.gaierror) as caught:
        await getnameinfo(("10.0.0.99", 80), socket.NI_NAMEREQD)
    assert caught.value.errno == socket.EAI_NONAME
    for server in (world.server, world.second):
        server.rules.append(silent)
    with pytest.raises(NoAnswer):
        await getnameinfo(("10.0.0.98", 80))


async def test_every_call_takes_a_name(world):
    """A connection, a server, datagrams, sockets, ping."""
    await world.start(*RECORDS)
    client, host = world.client, world.server.stack
    await host.create_server(Recorder, None, 80)
    transport, _ = await client.create_connection(Recorder, "www.example.org", "http")
    assert transport.get_extra_info("peername")[:2] == ("fd00::53", 80)
    transport.abort()
    server = await client.create_server(Recorder, "me.example.org", 8080)
    assert server.sockets[0].getsockname() == ("10.0.0.1", 8080)
    server.close()
    transport, _ = await client.create_datagram_endpoint(
        Datagrams, local_addr=("me.example.org", 9), remote_addr=("www.example.org", 7)
    )
    assert transport.get_extra_info("sockname") == ("10.0.0.1", 9)
    assert transport.get_extra_info("peername") == ("10.0.0.53", 7)
    transport.abort()
    world.client.resolver.cache.clear()
    async with client.socket(V6, STREAM) as stream, client.socket(V4, DGRAM) as datagrams:
        await stream.connect(("www.example.org", 80))
        assert stream.getpeername()[0] == "fd00::53"
        client.resolver.cache.clear()
        await datagrams.sendto(b"one", ("www.example.org", 7))
        client.resolver.cache.clear()
        await datagrams.connect(("www.example.org", 7))
        assert datagrams.getpeername() == ("10.0.0.53", 7)
        with pytest.raises(NxDomain):
            await client.socket().connect(("no.example.org", 80))
        with pytest.raises(socket.gaierror, match="not in the stack's hosts table"):
            client.socket().bind(("me.example.org", 80))  # bind can not wait
    assert (await client.ping("www.example.org")).source == "fd00::53"
    for sock in list(client._sockets):
        sock.close()


async def test_a_socket_that_ends_while_its_name_is_asked_for(world):
    await world.start(*RECORDS)
    sock = world.client.socket()
    connecting = asyncio.create_task(sock.connect(("www.example.org", 80)))
    await asyncio.sleep(0.005)
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        await connecting
    async with world.client.socket() as sock:
        first, second = (asyncio.create_task(sock.connect(("four.example.org", port))) for port in (1, 2))
        await asyncio.sleep(0.1)
        with pytest.raises(OSError, match="Operation already in progress"):
            await second
        first.cancel()


async def test_a_stack_that_ends_while_a_name_is_asked_for(world):
    await world.start(*RECORDS)
    calls = [
        world.client.create_connection(Recorder, "www.example.org", 80),
        world.client.create_server(Recorder, "me.example.org", 80),
        world.client.create_datagram_endpoint(Datagrams, remote_addr=("www.example.org", 80)),
        world.client.ping("www.example.org"),
    ]
    tasks = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(0.005)
    await world.client.close()
    for task in tasks:
        with pytest.raises(OSError, match="the stack was closed"):
            await task


async def test_happy_eyeballs_with_both_families_from_dns(world):
    """The AAAA leads into a black hole, the A answers: 250 ms later the connection is there (RFC 8305 5)."""
    await world.start("both.example.org. 60 IN AAAA fd00::dead", "both.example.org. 60 IN A 10.0.0.53")
    await world.server.stack.create_server(Recorder, None, 80)
    loop = asyncio.get_running_loop()
    start = loop.time()
    transport, _ = await world.client.create_connection(
        Recorder, "both.example.org", 80, happy_eyeballs_delay=0.25
    )
    assert transport.get_extra_info("peername") == ("10.0.0.53", 80)
    # a round trip for the names, the delay, a round trip for the handshake
    assert loop.time() - start == pytest.approx(0.02 + 0.25 + 0.02, abs=0.005)
    assert [one.state for one in world.client.connections()] == [State.ESTABLISHED]
    transport.abort()


async def test_happy_eyeballs_when_ipv6_answers(world):
    await world.start(*RECORDS)
    await world.server.stack.create_server(Recorder, None, 80)
    transport, _ = await world.client.create_connection(
        Recorder, "www.example.org", 80, happy_eyeballs_delay=0.25
    )
    assert transport.get_extra_info("peername")[0] == "fd00::53"
    transport.abort()


async def test_a_stack_without_nameservers_asks_nobody(network):
    stack = network.host("alone", "10.0.0.1/24")
    with pytest.raises(socket.gaierror, match="it has no nameservers") as caught:
        await stack.getaddrinfo("www.example.org", 80)
    assert caught.value.errno == socket.EAI_NONAME
    with pytest.raises(NoAnswer, match="there is no nameserver"):
        await stack.resolver.query("www.example.org")


async def test_the_loop_asks_the_current_stack(world):
    await world.start(*RECORDS)
    loop = asyncio.get_running_loop()
    with world.client.current():
        found = await loop.getaddrinfo("www.example.org", 80, type=STREAM)
        await world.server.stack.create_server(Recorder, None, 80)
        transport, _ = await loop.create_connection(Recorder, "alias.example.org", 80)
        assert await loop.getnameinfo(("10.0.0.53", 80)) == ("ns1", "http")
        assert await loop.getnameinfo(("fd00::99", 80, 0, 0)) == ("fd00::99", "http")
    asked = [kind for _, kind, _ in world.server.asked]
    assert (await loop.getnameinfo(("127.0.0.1", 80)))[1] == "http"  # the system's
    for sockaddr in (("10.0.0.53",), "x", ()):
        with pytest.raises(TypeError):
            await loop.getnameinfo(sockaddr)
    assert [kind for _, kind, _ in world.server.asked] == asked
    assert addresses(found) == ["fd00::53", "10.0.0.53"]
    assert transport.get_extra_info("peername")[:2] == ("fd00::53", 80)
    transport.abort()
