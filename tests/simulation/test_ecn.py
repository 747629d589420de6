"""Two stacks and a router that marks instead of dropping (RFC 3168, RFC 9768)."""

import asyncio

import pytest

from asyncstack import StackConfig, TcpConfig
from asyncstack.testing import Passing, Verdict

pytestmark = pytest.mark.virtual_time

RATE = 10e6
SECONDS = 3.0


def config(ecn: str, **settings) -> StackConfig:
    return StackConfig(tcp=TcpConfig(ecn=ecn, **settings))


async def transfer(
    network, client, server, addresses=("10.0.0.1/24", "10.0.0.2/24"), seconds=SECONDS, **impairments
):
    """Send for some seconds. Returns (link, the client's connection, the server's, bytes received)."""
    a = network.host("a", addresses[0], config=client)
    b = network.host("b", addresses[1], config=server)
    impairments = {"delay": 0.01, "rate": RATE, "mark": 20_000} | impairments
    link = network.link(a, b, **impairments)
    received = 0

    async def sink(reader, writer):
        nonlocal received
        while data := await reader.read(1 << 18):
            received += len(data)
        writer.close()

    await b.start_server(sink, None, 5001)
    _, writer = await a.open_connection("b", 5001)
    (sending,), (receiving,) = ([e.connection for e in h.tcp.connections.values()] for h in (a, b))
    until = a.tcp.clock() + seconds
    while a.tcp.clock() < until:
        writer.write(bytes(1 << 16))
        await writer.drain()
    writer.close()
    await writer.wait_closed()
    return link, sending, receiving, received


@pytest.mark.parametrize("mode", ["on", "accecn"])
@pytest.mark.parametrize(
    "addresses", [("10.0.0.1/24", "10.0.0.2/24"), ("fd00::1/64", "fd00::2/64")], ids=["ipv4", "ipv6"]
)
async def test_marks_keep_the_queue_short_and_nothing_is_lost(network, mode, addresses):
    link, sending, receiving, received = await transfer(network, config(mode), config(mode), addresses)
    assert link.forward.stats.marked > 20
    assert link.forward.stats.overflowed == 0
    assert sending.sender.segments_sent_again == 0
    assert received * 8 > 0.9 * RATE * SECONDS
    assert receiving.ecn.received_ce > 0


async def test_without_ecn_nothing_is_marked(network):
    link, sending, _, _ = await transfer(network, config("off"), config("on"))
    assert link.forward.stats.marked == 0
    assert sending.ecn is None


async def test_accecn_tells_of_every_mark(network):
    link, sending, receiving, _ = await transfer(network, config("accecn"), config("accecn"))
    assert receiving.ecn.received_ce == link.forward.stats.marked
    assert 0 <= receiving.ecn.received_ce - sending.ecn.delivered_ce <= 3  # on the last packets
    assert sending.ecn.delivered_bytes[3] <= receiving.ecn.received_bytes[3]


@pytest.mark.parametrize(
    ("client", "server", "agreed"),
    [
        ("off", "accecn", None),
        ("passive", "accecn", None),
        ("on", "passive", False),
        ("on", "accecn", False),
        ("accecn", "passive", False),
        ("accecn", "on", False),
        ("accecn", "off", None),
        ("accecn", "accecn", True),
    ],
)
async def test_what_two_ends_agree_on(network, client, server, agreed):
    _, sending, receiving, _ = await transfer(network, config(client), config(server), seconds=0.1)
    for end in (sending, receiving):
        assert (None if end.ecn is None else end.ecn.accurate) is agreed


async def test_rfc9768_3_2_2_5_2_marks_are_counted_though_acks_are_lost(network):
    def thin(passing: Passing) -> Verdict:
        """Three of four pure ACKs are lost on the way back."""
        segment = passing.tcp
        bare = segment is not None and not segment.payload and segment.flags & 0x17 == 0x10
        return Verdict.DROP if bare and passing.number % 4 else Verdict.PASS

    a = network.host("a", "10.0.0.1/24", config=config("accecn"))
    b = network.host("b", "10.0.0.2/24", config=config("accecn"))
    link = network.link(a, b, delay=0.01, rate=RATE, mark=5_000)

    async def sink(reader, writer):
        while await reader.read(1 << 18):
            pass
        writer.close()

    await b.start_server(sink, None, 5001)
    _, writer = await a.open_connection("b", 5001)
    link.backward.set(rule=thin)
    (sending,), (receiving,) = ([e.connection for e in h.tcp.connections.values()] for h in (a, b))
    for _ in range(100):
        writer.write(bytes(50_000))
        await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert receiving.ecn.received_ce > 20
    assert sending.ecn.delivered_ce == pytest.approx(receiving.ecn.received_ce, abs=8)


async def test_a_path_that_drops_syns_with_ecn_flags(network):
    """RFC 3168 6.1.1.1: the second SYN goes without."""

    def hostile(passing: Passing) -> Verdict:
        segment = passing.tcp
        asks = segment is not None and segment.flags & 0x12 == 0x02 and segment.flags & 0x1C0
        return Verdict.DROP if asks else Verdict.PASS

    for number, (mode, waited) in enumerate((("on", 1.0), ("accecn", 3.0))):
        a = network.host(f"a{number}", f"10.{number}.0.1/24", config=config(mode))
        b = network.host(f"b{number}", f"10.{number}.0.2/24")
        network.link(a, b, delay=0.01, rule=hostile)
        await b.start_server(lambda reader, writer: writer.close(), None, 5001)
        started = a.tcp.clock()
        reader, writer = await a.open_connection(f"b{number}", 5001)
        assert a.tcp.clock() - started == pytest.approx(waited, abs=0.1)
        assert next(iter(a.tcp.connections.values())).connection.ecn is None
        assert await reader.read() == b""
        writer.close()


async def test_a_path_that_clears_codepoints_does_not_stop_a_transfer(network):
    a = network.host("a", "10.0.0.1/24", config=config("accecn"))
    b = network.host("b", "10.0.0.2/24", config=config("accecn"))
    link = network.link(a, b, delay=0.01, rate=RATE)
    direction, enter = link.forward, link.forward._enter

    def bleach(data: bytes, start: int, offset: int) -> None:
        packet = bytearray(data)
        if packet[1] & 3:
            packet[10:12] = ((int.from_bytes(packet[10:12], "big") + packet[1]) % 0xFFFF).to_bytes(2, "big")
            packet[1] = 0
        enter(bytes(packet), start, offset)

    direction._enter = bleach

    async def echo(reader, writer):
        writer.write(await reader.read())
        writer.close()

    await b.start_server(echo, None, 5001)
    reader, writer = await a.open_connection("b", 5001)
    writer.write(bytes(100_000))
    writer.write_eof()
    async with asyncio.timeout(10):
        assert len(await reader.read()) == 100_000
    writer.close()
