"""Old and new attacks by mass or by a single odd packet: the stack stays up, bounded, and true to its connections."""

import asyncio
import random

import pytest

from asyncstack.wire import icmp, icmpv6, ipv6, udp
from asyncstack.wire.tcp import ACK, FIN, PSH, RST, SYN, URG, Segment
from tests.fuzz.dissect import dissect
from tests.fuzz.victims import Honest, Script
from tests.fuzz.world import OURS, PORT, SCRIPTED, World, ip_packet, tcp_packet, with_checksum
from tests.transport.asyncio_contract.recorders import reset

pytestmark = pytest.mark.virtual_time

MASK = 0xFFFFFFFF
ALL_NODES = bytes.fromhex("ff02" + "00" * 13 + "01")
FAMILIES = pytest.mark.parametrize("family", (0, 1))


async def honest(world, family=0, role="both ways"):
    made = Honest(world, role, family, we_connect=False)
    await made.open()
    return made


async def use(world, *all_made, seconds=1.0):
    rng = random.Random(1)
    for _ in range(int(seconds * 100)):
        for made in all_made:
            made.turn(rng)
        await asyncio.sleep(0.01)
    world.check_bounds()


def answers(world, key):
    """The segments that the stack has sent on a connection, the newest last."""
    found = [dissect(raw, trusted=True).tcp for raw in world.sent]
    return [one for one in found if one is not None and one.key == (key[2], key[3], key[0], key[1])]


def piece(family, at, data, more, ident, protocol=None):
    src, dst = SCRIPTED[family], OURS[family]
    if family == 0:
        fields = {"ident": ident, "dont_fragment": False, "more_fragments": more, "fragment_offset": at}
        return ip_packet(src, dst, protocol or 1, data, **fields)
    return ip_packet(src, dst, 44, ipv6.build_fragment(protocol or 58, at, more, ident) + data)


# fragments


@FAMILIES
async def test_ping_of_death(family):
    """Fragments whose end lies beyond 65,535 bytes."""
    async with World("memory", 1) as world:
        for at in range(0, 65528, 1480):
            world.say(piece(family, at, bytes(1480 if at + 1480 <= 65528 else 65528 - at), True, 9))
        world.say(piece(family, 65528, bytes(1480), False, 9))
        world.say(piece(family, 65528, bytes(7), False, 9))  # 65,535 bytes and the header: one too many
        await world.settle()
        counters = world.stack.counters
        name = ("ipv4", "ipv6")[family]
        assert counters[f"{name}.fragment_oversized"] >= 1
        assert not counters["icmp.echo_replies"] and not counters["icmpv6.echo_replies"]
        assert world.stack.counters["interface.receive_error"] == 0
        await asyncio.sleep(61)
        assert not len(world.stack.ipv4.reassembly) and not len(world.stack.ipv6.reassembly)


@FAMILIES
async def test_the_largest_ping_is_answered(family):
    """The bound is no smaller than it has to be."""
    async with World("memory", 1) as world:
        size = (65535 - 20 - 8, 65535 - 8)[family]
        data = icmp.build_echo(1, 1, bytes(size))
        if family:
            data = icmpv6.build_echo(SCRIPTED[1], OURS[1], 1, 1, bytes(size))
        for at in range(0, len(data), 1440):
            world.say(piece(family, at, data[at : at + 1440], at + 1440 < len(data), 5))
        await world.settle()
        assert world.stack.counters[("icmp.echo_replies", "icmpv6.echo_replies")[family]] == 1


@FAMILIES
@pytest.mark.parametrize("overlap", (8, 16, 24))
async def test_overlapping_fragments(family, overlap):
    """Teardrop, and every other overlap: the datagram is dropped whole (RFC 5722), also what still comes of it."""
    async with World("memory", 1) as world:
        src, dst = SCRIPTED[family], OURS[family]
        data = with_checksum(src, dst, 17, udp.build(5353, 7, 88) + bytes(range(88)), 6)
        world.say(piece(family, 0, data[:48], True, 3, 17))
        world.say(piece(family, 48 - overlap, bytes(overlap) + data[48:72], True, 3, 17))
        world.say(piece(family, 48, data[48:], False, 3, 17))
        await world.settle()
        name = ("ipv4", "ipv6")[family]
        assert world.stack.counters[f"{name}.fragment_overlap"] == 1
        assert world.stack.counters[f"{name}.fragment_refused"] == 1
        assert not world.stack.counters[f"{name}.reassembled"]


@FAMILIES
async def test_fragment_flood(family):
    """First fragments without end: bounded in number and bytes, and an honest datagram still gets through."""
    async with World("memory", 1) as world:
        made = await honest(world, family)
        ip = (world.stack.ipv4, world.stack.ipv6)[family]
        for ident in range(20_000):
            world.say(piece(family, 0, bytes(1400), True, ident & 0xFFFF))
            if not ident % 64:
                await asyncio.sleep(0)
                assert len(ip.reassembly) <= 32 and ip.reassembly.bytes <= 128 << 10
        src, dst = SCRIPTED[family], OURS[family]
        data = with_checksum(src, dst, 17, udp.build(5353, 7, 88) + bytes(88), 6)
        world.watch.datagrams.append(((dst, 7, src, 5353), data[8:]))
        world.say(piece(family, 0, data[:48], True, 7, 17))
        world.say(piece(family, 48, data[48:], False, 7, 17))
        await use(world, made)
        assert world.stack.counters[("ipv4.reassembled", "ipv6.reassembled")[family]] == 1
        await made.finish()


# single packets


@FAMILIES
@pytest.mark.parametrize("source", ("ours", "loopback"))
async def test_land(family, source):
    """A SYN that comes from ourselves."""
    async with World("memory", 1) as world:
        src = OURS[family] if source == "ours" else (b"\x7f\0\0\1", bytes(15) + b"\1")[family]
        for port in (PORT, 9, 4000):
            world.say(tcp_packet(src, OURS[family], Segment(port, PORT, 1, 0, SYN, 1000)))
            world.say(tcp_packet(src, OURS[family], Segment(port, port, 1, 0, SYN, 1000)))
        await world.settle()
        await asyncio.sleep(5)
        assert not world.stack.tcp.connections
        assert world.stack.counters[("ipv4.martian", "ipv6.martian")[family]] == 6
        assert not answers(world, (OURS[family], PORT, src, PORT))


@pytest.mark.parametrize("flags", range(256))
async def test_every_set_of_flags(flags):
    """Christmas trees, null scans and all others, at a listener, a closed port and a live connection."""
    async with World("memory", flags) as world:
        script = Script(world, random.Random(1), 0)
        await script.establish()
        conn = script.connection
        for port in (PORT, 9):
            world.say(tcp_packet(SCRIPTED[0], OURS[0], Segment(999, port, 5, 6, flags, 1000, b"x")))
        await world.settle()
        made = (SCRIPTED[0], 999)
        live = [key for key in world.stack.tcp.connections if key[2:] == made]
        assert bool(live) == (flags & (SYN | ACK | RST | FIN) == SYN)
        said = [one for one in answers(world, (OURS[0], PORT, SCRIPTED[0], 999)) if not one.flags & SYN]
        assert [one.flags for one in said] == ([RST] if flags & (ACK | RST) == ACK else [])
        to_closed = answers(world, (OURS[0], 9, SCRIPTED[0], 999))
        assert len(to_closed) == (0 if flags & RST else 1)
        assert all(s.flags & RST for s in to_closed)
        await script.say(
            flags, seq=(conn.receiver.nxt + 70_000) & MASK
        )  # beyond the window: nothing may happen
        assert conn.state.name == "ESTABLISHED"
        await script.say(flags)
        dead = flags & RST
        assert (conn.state.name == "CLOSED") == bool(dead)
        if not dead and flags & (SYN | ACK | FIN) == ACK | FIN:
            assert conn.state.name == "CLOSE_WAIT"
        world.check_bounds()


async def test_segments_to_groups_and_from_nowhere():
    """RFC 9293 3.9.2.3: TCP is between two hosts; no answer, no connection."""
    async with World("memory", 1) as world:
        for src, dst in (
            (SCRIPTED[0], b"\x0a\0\0\xff"), (SCRIPTED[0], b"\xff" * 4), (SCRIPTED[0], b"\xe0\0\0\1"),
            (b"\x0a\0\0\xff", OURS[0]), (b"\xff" * 4, OURS[0]), (b"\xe0\0\0\1", OURS[0]), (bytes(4), OURS[0]),
            (SCRIPTED[1], ALL_NODES), (ALL_NODES, OURS[1]), (bytes(16), OURS[1]),
        ):  # fmt: skip
            for flags in (SYN, ACK, RST, FIN | PSH | URG):
                world.say(tcp_packet(src, dst, Segment(999, PORT, 5, 6, flags, 1000)))
        world.say(tcp_packet(SCRIPTED[0], OURS[0], Segment(0, PORT, 5, 6, SYN, 1000)))
        await world.settle()
        await asyncio.sleep(1)
        assert not world.stack.tcp.connections
        assert not world.sent or all(dissect(raw, trusted=True).tcp is None for raw in world.sent)


# floods of segments


@FAMILIES
async def test_syn_flood(family):
    """20,000 SYNs from everywhere: bounded, and an honest client still gets in, at once and later."""
    async with World("memory", 1) as world:
        made = await honest(world, family)
        for number in range(20_000):
            src = SCRIPTED[family][:-1] + bytes((3 + number % 250,))
            world.say(
                tcp_packet(src, OURS[family], Segment(1024 + number % 5000, PORT, number, 0, SYN, 1000))
            )
            if not number % 64:
                await asyncio.sleep(0.0005)
            if not number % 5000:
                world.check_bounds()
        (listener,) = [one for one in world.stack.tcp.listeners if len(one.address) == len(OURS[family])]
        assert len(listener._half_open) == 1024
        another = await honest(world, family)
        await use(world, made, another)
        await made.finish()
        await another.finish()
        await asyncio.sleep(120)
        assert not world.stack.tcp.connections and not listener._half_open
        world.check_bounds()


@FAMILIES
async def test_flood_of_resets_beside_the_window_and_inside_it(family):
    """RFC 5961 3: no reset but the exact one; challenges are few."""
    async with World("memory", 1) as world:
        made = await honest(world, family)
        await use(world, made, seconds=0.1)
        conn = made.stack_side.connection
        await asyncio.sleep(1)
        before = len(answers(world, made.key))
        key, nxt = made.key, conn.receiver.nxt
        for number in range(20_000):
            seq = (nxt + 1 + number * 214_748) & MASK
            if seq == nxt & MASK:
                continue
            world.put(tcp_packet(key[2], key[0], Segment(key[3], key[1], seq, 0, RST, 0)))
            if not number % 64:
                await asyncio.sleep(0.001)
        await world.settle()
        challenges = len(answers(world, key)) - before
        assert challenges <= 3  # in 0.3 seconds
        assert conn.state.name == "ESTABLISHED"
        await use(world, made)
        await made.finish()


@pytest.mark.parametrize("flags", (SYN, SYN | ACK, ACK, FIN, 0), ids=("SYN", "SYN-ACK", "ACK", "FIN", "none"))
async def test_flood_at_a_live_connection(flags):
    """Whatever is not acceptable is answered seldom (RFC 5961 7) and changes nothing."""
    async with World("memory", 1) as world:
        made = await honest(world)
        await use(world, made, seconds=0.1)
        await asyncio.sleep(1)
        conn, key = made.stack_side.connection, made.key
        before = len(answers(world, key))
        rng = random.Random(1)
        for number in range(20_000):
            # in the window with an ACK of what was never sent, or outside of it
            seq = conn.receiver.nxt + (rng.randrange(60_000) if number & 1 else 1 << 30)
            ack = conn.sender.nxt + rng.randrange(1, 1 << 30)
            world.put(tcp_packet(key[2], key[0], Segment(key[3], key[1], seq & MASK, ack & MASK, flags, 100)))
            if not number % 64:
                await asyncio.sleep(0.001)
        await world.settle()
        said = len(answers(world, key)) - before
        if flags & FIN:  # it occupies sequence space: no loop of ACKs can come of it
            assert said <= 20_000
        else:
            assert said <= 3
        await use(world, made)
        await made.finish()


async def test_no_war_of_acks():
    """Two ends that disagree about everything: an ACK for an ACK for an ACK has to stop."""
    async with World("memory", 1) as world:
        made = await honest(world)
        await asyncio.sleep(1)
        made.stack_side.connection.sender.una += 5000  # as if an attacker had injected data on both sides
        made.stack_side.connection.sender.nxt += 5000
        made.stack_side.connection.receiver.nxt += 70_000
        made.stack_side.connection.receiver.edge += 70_000
        before = len(world.sent)
        made.peer_side.write(10)
        made.stack_side.transport._endpoint.settle()
        await asyncio.sleep(60)
        assert len(world.sent) - before < 200
        world.watch.violations.clear()


async def test_udp_flood_to_closed_ports_is_answered_seldom():
    async with World("memory", 1) as world:
        made = await honest(world)
        for number in range(5_000):
            data = with_checksum(SCRIPTED[0], OURS[0], 17, udp.build(5353, 10_000 + number, 8) + bytes(8), 6)
            world.say(ip_packet(SCRIPTED[0], OURS[0], 17, data))
            if not number % 64:
                await asyncio.sleep(0.0001)
        counters = world.stack.counters
        assert counters["icmp.errors_sent"] < 200
        assert counters["icmp.error_rate_limited"] > 4_700
        await use(world, made)
        await made.finish()


async def test_connections_that_never_say_anything():
    """A client that opens and stays silent costs what a connection costs; nothing else grows."""
    async with World("memory", 1) as world:
        for number in range(500):
            world.say(tcp_packet(SCRIPTED[0], OURS[0], Segment(2000 + number, PORT, 0, 0, SYN, 1000)))
            await world.settle()
            key = (OURS[0], PORT, SCRIPTED[0], 2000 + number)
            conn = world.stack.tcp.connections[key].connection
            world.say(
                tcp_packet(
                    SCRIPTED[0], OURS[0], Segment(2000 + number, PORT, 1, conn.sender.nxt & MASK, ACK, 1000)
                )
            )
        await world.settle()
        assert len(world.accepted) == 500
        await asyncio.sleep(3600)
        assert len(world.stack.tcp.connections) == 500  # no keepalive unless asked for
        assert world.loop.timers == 0 or world.loop.timers < 5
        for sink in list(world.accepted.values()):
            reset(sink.transport)
        await world.settle()
        assert not world.stack.tcp.connections
