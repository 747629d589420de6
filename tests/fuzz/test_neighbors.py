"""Hostile neighbours on an Ethernet: floods and lies in ARP and neighbour discovery, frames to all for one."""

import asyncio
import random

import pytest

from asyncstack.wire import arp, ethernet, icmp, ndp
from asyncstack.wire.tcp import ACK, SYN, Segment
from tests.fuzz.victims import Honest
from tests.fuzz.world import OURS, PORT, SCRIPTED, SCRIPTED_MAC, THEIRS, World, ip_packet, tcp_packet

pytestmark = pytest.mark.virtual_time

LIAR = b"\x02\xbb\xbb\xbb\xbb\xbb"
ALL_NODES_MAC = b"\x33\x33\0\0\0\1"


def arp_frame(world, operation, mac, sender, target, *, to=None):
    packet = arp.build(arp.Arp(operation, mac, sender, bytes(6), target))
    return ethernet.build(to or world.mac, mac, 0x0806) + packet


def discovery(world, src, dst, record, *, mac=LIAR, hop_limit=255):
    packet = ip_packet(src, dst, 58, ndp.build(record, src, dst), hop_limit=hop_limit)
    return ethernet.build(world.mac if dst[0] != 0xFF else ALL_NODES_MAC, mac, 0x86DD) + packet


async def honest(world, family=0):
    made = Honest(world, "both ways", family, we_connect=False)
    await made.open()
    return made


async def use(world, made, seconds=1.0):
    """Both applications write for a while."""
    rng = random.Random(1)
    for _ in range(int(seconds * 100)):
        made.turn(rng)
        await asyncio.sleep(0.01)
    world.check_bounds()


@pytest.mark.parametrize("to", (ethernet.BROADCAST, b"\x01\x00\x5e\0\0\1"))
async def test_a_frame_to_a_group_with_a_packet_for_one_host(to):
    """RFC 1122 3.3.6: such a packet is dropped; whole networks could be made to answer it."""
    async with World("ethernet", 1) as world:
        echo = ip_packet(SCRIPTED[0], OURS[0], 1, icmp.build_echo(1, 1, b""))
        syn = tcp_packet(SCRIPTED[0], OURS[0], Segment(4000, PORT, 1, 0, SYN, 1000))
        for packet in (echo, syn):
            world.put(ethernet.build(to, SCRIPTED_MAC, 0x0800) + packet)
        syn6 = tcp_packet(SCRIPTED[1], OURS[1], Segment(4000, PORT, 1, 0, SYN, 1000))
        world.put(ethernet.build(ALL_NODES_MAC, SCRIPTED_MAC, 0x86DD) + syn6)
        await world.settle()
        counters = world.stack.counters
        assert not world.stack.tcp.connections and not counters["icmp.echo_replies"]
        assert counters["ethernet.unicast_to_group"] == 3
        world.put(
            ethernet.build(to, SCRIPTED_MAC, 0x0800) + ip_packet(SCRIPTED[0], b"\x0a\0\0\xff", 17, bytes(8))
        )
        await world.settle()
        assert counters["ethernet.unicast_to_group"] == 3
        assert counters["udp.malformed"] == 1


async def test_arp_flood():
    """65,536 hosts that ask for us: the table stays bounded, and those in use stay in it."""
    async with World("ethernet", 1) as world:
        made = await honest(world)
        table = world.interface.link.neighbors4
        for number in range(1 << 16):
            sender = b"\x0a\0" + number.to_bytes(2, "big")
            if sender in (OURS[0], THEIRS[0]):
                continue
            world.put(arp_frame(world, arp.REQUEST, b"\x02\x01" + sender, sender, OURS[0]))
            if not number % 64:
                await asyncio.sleep(0)
            if not number % 4096:
                assert len(table.entries) <= 64
        await world.settle()
        world.check_bounds()
        assert table.entries[THEIRS[0]].mac == world.peer_mac
        await use(world, made)
        await made.finish()


async def test_unasked_arp_replies_make_no_entries():
    async with World("ethernet", 1) as world:
        table = world.interface.link.neighbors4
        before = set(table.entries)
        for number in range(1000):
            sender = b"\x0a\0" + (1000 + number).to_bytes(2, "big")
            world.put(arp_frame(world, arp.REPLY, LIAR, sender, OURS[0]))
            world.put(arp_frame(world, arp.REQUEST, LIAR, sender, sender, to=ethernet.BROADCAST))
        await world.settle()
        await asyncio.sleep(0.1)
        assert set(table.entries) == before


@pytest.mark.parametrize("operation", (arp.REQUEST, arp.REPLY))
async def test_arp_spoofing_of_a_live_peer_is_found_out(operation):
    """One lie diverts packets until the entry is verified; then the peer's own answer counts again."""
    async with World("ethernet", 1) as world:
        made = await honest(world)
        await use(world, made)
        await asyncio.sleep(2)  # past the lock time
        world.put(arp_frame(world, operation, LIAR, THEIRS[0], OURS[0]))
        await world.settle()
        await use(world, made, 0.5)
        for _ in range(120):
            await asyncio.sleep(1)
        assert world.interface.link.neighbors4.entries[THEIRS[0]].mac == world.peer_mac
        await made.finish()


@pytest.mark.parametrize("family", (0, 1))
async def test_claims_to_our_own_address_change_nothing(family):
    async with World("ethernet", 1) as world:
        made = await honest(world, family)
        for _ in range(500):
            if family == 0:
                world.put(arp_frame(world, arp.REPLY, LIAR, OURS[0], OURS[0]))
                world.put(arp_frame(world, arp.REQUEST, LIAR, OURS[0], THEIRS[0], to=ethernet.BROADCAST))
            else:
                claim = ndp.NeighborAdvertisement(OURS[1], LIAR, override=True)
                world.put(discovery(world, OURS[1], ndp.ALL_NODES, claim))
            await asyncio.sleep(0.001)
        await use(world, made)
        counters = world.stack.counters
        if family == 0:
            assert counters["arp.address_conflict"] == 1000
            defended = [raw for raw in world.sent if raw[12:14] == b"\x08\x06" and raw[28:32] == OURS[0]]
            assert len(defended) <= 3  # the announcements: RFC 5227 2.4 (c) allows one defence in ten seconds
        await made.finish()


async def test_solicitation_flood():
    """As the ARP flood, in IPv6."""
    async with World("ethernet", 1) as world:
        made = await honest(world, 1)
        table = world.interface.link.neighbors6
        for number in range(20_000):
            src = OURS[1][:8] + b"\x01" + number.to_bytes(7, "big")
            world.put(discovery(world, src, OURS[1], ndp.NeighborSolicitation(OURS[1], LIAR)))
            if not number % 64:
                await asyncio.sleep(0)
        await world.settle()
        assert len(table.entries) <= 64
        assert table.entries[THEIRS[1]].mac == world.peer_mac
        await use(world, made)
        await made.finish()


async def test_advertisements_that_lie():
    """Without override they change no MAC; with it the new one is not verified, and found out."""
    async with World("ethernet", 1) as world:
        made = await honest(world, 1)
        await use(world, made)
        table = world.interface.link.neighbors6
        lie = ndp.NeighborAdvertisement(THEIRS[1], LIAR)
        world.put(discovery(world, THEIRS[1], OURS[1], lie))
        await world.settle()
        assert table.entries[THEIRS[1]].mac == world.peer_mac
        lie = ndp.NeighborAdvertisement(THEIRS[1], LIAR, solicited=True, override=True)
        world.put(discovery(world, THEIRS[1], OURS[1], lie))
        await world.settle()
        assert table.entries[THEIRS[1]].mac == LIAR  # RFC 4861 believes this; nothing unsecured can not
        await use(world, made, 0.5)
        for _ in range(180):
            await asyncio.sleep(1)
        assert table.entries[THEIRS[1]].mac == world.peer_mac
        await made.finish()


async def test_discovery_from_beyond_a_router_is_ignored():
    """RFC 4861 7.1: a hop limit below 255 was sent from elsewhere."""
    async with World("ethernet", 1) as world:
        before = dict(world.interface.link.neighbors6.entries)
        src = OURS[1][:8] + b"\x01" * 8
        ask = ndp.NeighborSolicitation(OURS[1], LIAR)
        world.put(discovery(world, src, OURS[1], ask, hop_limit=254))
        world.put(
            discovery(world, src, OURS[1], ndp.NeighborAdvertisement(src, LIAR, override=True), hop_limit=64)
        )
        await world.settle()
        assert world.interface.link.neighbors6.entries == before
        assert world.stack.counters["ndp.invalid"] == 2


async def test_a_scan_of_the_subnet_leaves_those_in_use():
    """Somebody has us answer 10,000 addresses that nobody is at."""
    async with World("ethernet", 1) as world:
        made = await honest(world)
        for number in range(10_000):
            src = b"\x0a\0\0" + bytes((3 + number % 250,))
            segment = Segment(1024 + number // 250, 9, 1, 2, ACK, 1000)
            world.put(ethernet.build(world.mac, LIAR, 0x0800) + tcp_packet(src, OURS[0], segment))
            if not number % 64:
                await asyncio.sleep(0.001)
                world.check_bounds()
        table = world.interface.link.neighbors4
        assert table.entries[THEIRS[0]].mac == world.peer_mac
        await use(world, made)
        await made.finish()
        await asyncio.sleep(30)
        assert table.deadline == float("inf")
