"""What routers, true or false, say about the size of packets (RFC 1191, RFC 8201, RFC 5927 7)."""

import asyncio
import struct

import pytest

from asyncstack.wire import icmp, icmpv6, udp
from tests.fuzz.world import OURS, SCRIPTED, THEIRS, Sink, World, ip_packet

pytestmark = pytest.mark.virtual_time


async def open_to_peer(world, family):
    host = ("10.0.0.2", "fd00::2")[family]
    waiting = world.loop.create_future()

    def accept():
        sink = Sink(None)
        waiting.set_result(sink)
        return sink

    server = await world.peer.create_server(accept, host, 0)
    port = server.sockets[0].getsockname()[1]
    _, ours = await world.stack.create_connection(lambda: Sink(None), host, port)
    theirs = await waiting
    await asyncio.sleep(0.01)
    server.close()
    return ours, theirs


def too_big(family, quoted, mtu):
    if family == 0:
        return ip_packet(SCRIPTED[0], OURS[0], 1, icmp.build(3, 4, mtu, quoted))
    return ip_packet(SCRIPTED[1], OURS[1], 58, icmpv6.build(SCRIPTED[1], OURS[1], 2, 0, mtu, quoted))


def quote_segment(conn, key, near=0, size=1400):
    head = struct.pack("!HHII", key[1], key[3], (conn.sender.una + near) & 0xFFFFFFFF, 0)
    return ip_packet(key[0], key[2], 6, head + bytes(size))[:576]


@pytest.mark.parametrize("family", (0, 1))
@pytest.mark.parametrize("kind", ("memory", "ethernet"))
async def test_a_smaller_path_mtu_reaches_every_connection_to_that_host(kind, family):
    """One connection hears of it, the others find out when they send next: none may send too large a packet."""
    async with World(kind, 1) as world:
        world.link.set(rate=10e6)
        first, first_peer = await open_to_peer(world, family)
        second, second_peer = await open_to_peer(world, family)
        for sink in (first, second):
            sink.write(100_000)
        await asyncio.sleep(0.007)
        conn = first.connection
        assert conn.sender.nxt > conn.sender.una
        world.say(too_big(family, quote_segment(conn, first.key), 1300))
        await asyncio.sleep(5)
        world.check_bounds()
        assert world.stack.routes.pmtu.get(THEIRS[family]) == 1300
        for sink, peer_sink in ((first, first_peer), (second, second_peer)):
            assert sink.connection.path_mss == 1300 - (40, 60)[family]
            assert peer_sink.received == 100_000 and not peer_sink.corrupt


async def test_a_lie_about_a_datagram_does_not_break_connections():
    """A bound UDP port is enough for a forged report to be believed; TCP has to live with it."""
    async with World("memory", 1) as world:
        sink, peer_sink = await open_to_peer(world, 0)
        sink.write(20_000)
        await asyncio.sleep(0.002)
        quoted = ip_packet(OURS[0], THEIRS[0], 17, udp.build(7, 99, 1400) + bytes(1400))[:200]
        world.say(too_big(0, quoted, 576))
        await asyncio.sleep(0.001)
        sink.write(20_000)
        await asyncio.sleep(5)
        world.check_bounds()
        assert peer_sink.received == 40_000


@pytest.mark.parametrize("mtu", (0, 1, 67, 68, 296, 551, 552, 1499, 1500, 65535))
async def test_path_mtu_below_the_minimum(mtu):
    """RFC 1191 3: never below 68, and like Linux not below 552; nor above what was sent."""
    async with World("memory", 1) as world:
        sink, peer_sink = await open_to_peer(world, 0)
        sink.write(100_000)
        await asyncio.sleep(0.002)
        world.say(too_big(0, quote_segment(sink.connection, sink.key), mtu))
        await asyncio.sleep(3)
        believed = world.stack.routes.pmtu.get(THEIRS[0])
        expected = {0: 1006, 68: 552, 296: 552, 551: 552, 552: 552}
        assert believed == expected.get(mtu, 0)
        assert peer_sink.received == 100_000


@pytest.mark.parametrize("mtu", (0, 68, 1279, 1280, 1460, 1 << 31))
async def test_path_mtu_below_the_minimum_of_ipv6(mtu):
    """RFC 8201 4: nothing below 1,280."""
    async with World("memory", 1) as world:
        sink, peer_sink = await open_to_peer(world, 1)
        sink.write(100_000)
        await asyncio.sleep(0.002)
        world.say(too_big(1, quote_segment(sink.connection, sink.key), mtu))
        await asyncio.sleep(3)
        assert world.stack.routes.pmtu.get(THEIRS[1]) == (1280 if mtu == 1280 else 0)
        assert peer_sink.received == 100_000


@pytest.mark.parametrize("near", (-1, 1 << 20, 1 << 31))
async def test_a_report_about_a_segment_that_is_not_in_flight(near):
    """RFC 5927 4.1: who does not see the connection can not guess what is in flight."""
    async with World("memory", 1) as world:
        sink, _ = await open_to_peer(world, 0)
        sink.write(20_000)
        await asyncio.sleep(0.002)
        assert sink.connection.sender.nxt > sink.connection.sender.una
        world.say(too_big(0, quote_segment(sink.connection, sink.key, near), 600))
        await asyncio.sleep(1)
        assert len(world.stack.routes.pmtu) == 0


async def test_reports_do_not_fill_the_table_without_bound():
    """Every destination that a bound UDP port may have sent to could be lied about."""
    async with World("memory", 1) as world:
        for number in range(3000):
            dst = b"\x0a\0" + number.to_bytes(2, "big")
            quoted = ip_packet(OURS[0], dst, 17, udp.build(7, 99, 1400) + bytes(100))
            quoted = quoted[:2] + (1428).to_bytes(2, "big") + quoted[4:]
            world.say(too_big(0, quoted, 600))
            if not number % 60:
                await world.settle()
        await world.settle()
        assert len(world.stack.routes.pmtu) == 1024
        sink, peer_sink = await open_to_peer(world, 0)
        sink.write(50_000)
        await asyncio.sleep(3)
        assert peer_sink.received == 50_000
        world.check_bounds()
