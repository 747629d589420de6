"""A peer that completes the handshake and then lies: about what it has, what it takes, what time it is."""

import asyncio
import gc
import random
from dataclasses import replace

import pytest

from asyncstack.wire.tcp import ACK, FIN, RST, SYN
from tests.fuzz.dissect import dissect
from tests.fuzz.victims import Script
from tests.fuzz.world import OURS, SCRIPTED, Sink, World, tcp_packet
from tests.traced import traced

pytestmark = pytest.mark.virtual_time

MASK = 0xFFFFFFFF


class Liar(Script):
    """A scripted peer with known options."""

    def __init__(self, world, *, timestamps=True, sack=True, scale=7, mss=1460):
        super().__init__(world, random.Random(5), 0)
        self.timestamps, self.sack, self.scale, self.mss = timestamps, sack, scale, mss

    def segment(self, flags, payload=b"", **changes):
        made = super().segment(flags, payload, **changes)
        return replace(made, mss=self.mss) if flags & SYN and "mss" not in changes else made

    @property
    def snd(self):
        return self.connection.sender

    @property
    def rcv(self):
        return self.connection.receiver

    def sent(self):
        """The segments that the stack has sent us."""
        found = [dissect(raw, trusted=True).tcp for raw in self.world.sent]
        return [
            one for one in found if one is not None and one.key == (self.theirs, self.port, *self.key[:2])
        ]


async def meet(world, **options):
    liar = Liar(world, **options)
    sink = await liar.establish()
    assert sink is not None
    return liar, sink


# out of order


@pytest.mark.parametrize("sack", (True, False))
async def test_single_bytes_out_of_order_are_bounded(sack):
    """Every second byte of the window: the ranges are limited, and so is what one costs."""
    async with World("memory", 1) as world:
        liar, sink = await meet(world, sack=sack)
        liar.rcv.edge = liar.rcv.nxt + 100_000
        world.sent.clear()
        with traced() as allocated:
            for at in range(1, 60_000, 2):
                world.say(
                    tcp_packet(SCRIPTED[0], OURS[0], liar.segment(ACK, b"x", seq=(liar.rcv.nxt + at) & MASK))
                )
                if not at % 64:
                    await world.settle()
            await asyncio.sleep(0.1)  # until no ACK of ours is on its way
            world.sent.clear()
            world.watch.forget_all()
            gc.collect()
            held = allocated()
        assert len(liar.rcv.held) <= liar.connection.config.max_out_of_order_ranges
        assert held < 400_000
        world.watch._candidates.clear()
        world.check_bounds()
        assert sink.received == 0


async def test_single_bytes_backwards_cost_no_more_than_their_size():
    """The window filled from its far end, byte by byte: all in one range, joined now and then."""
    async with World("memory", 1) as world:
        liar, sink = await meet(world)
        first = liar.rcv.nxt
        with traced() as allocated:
            for at in range(8_000, 0, -1):
                world.say(tcp_packet(SCRIPTED[0], OURS[0], liar.segment(ACK, b"x", seq=(first + at) & MASK)))
                if not at % 64:
                    await world.settle()
            await asyncio.sleep(0.1)
            world.sent.clear()
            world.watch.forget_all()
            gc.collect()
            held = allocated()
        assert len(liar.rcv.held) == 1
        assert held < 300_000
        world.watch._candidates[liar.connection] = [(first, b"x" * 8_001)]
        await liar.say(ACK, b"x")
        assert sink.received == 8_001


# SACK


BLOCKS = {
    "beyond SND.NXT": lambda una, nxt: ((nxt, nxt + 10_000),),
    "reaching beyond": lambda una, nxt: ((una + 1448, nxt + 1),),
    "reversed": lambda una, nxt: ((una + 5000, una + 1448),),
    "empty": lambda una, nxt: ((una + 1448, una + 1448),),
    "below SND.UNA": lambda una, nxt: ((una - 20_000, una - 10_000),),
    "everything but the first byte": lambda una, nxt: ((una + 1, nxt),),
    "everything": lambda una, nxt: ((una, nxt),),
    "overlapping": lambda una, nxt: ((una + 1448, una + 5000), (una + 3000, una + 8000), (una + 1448, nxt)),
    "all alike": lambda una, nxt: ((una + 1448, una + 2896),) * 3,
    "half around": lambda una, nxt: ((una + (1 << 31), una + (1 << 31) + 1448),),
    "single bytes": lambda una, nxt: tuple((una + at, una + at + 1) for at in (1, 3, 5)),
    "sliding": lambda una, nxt: tuple((una + at, una + at + 1448) for at in (7, 1501, 3001)),
}


@pytest.mark.parametrize("name", BLOCKS)
async def test_sack_blocks_that_lie(name):
    """The board stays sound, the peer that then tells the truth gets every byte (RFC 2018 8: SACKs are advice)."""
    async with World("memory", 1) as world:
        liar, sink = await meet(world)
        sink.write(100_000)
        await world.settle()
        for turn in range(50):
            una, nxt = liar.snd.una, liar.snd.nxt
            blocks = tuple((left & MASK, right & MASK) for left, right in BLOCKS[name](una + turn % 3, nxt))
            await liar.say(ACK, ack=una & MASK, sack=blocks)
            world.check_bounds()
            board = liar.snd.board
            assert 0 <= board.sacked <= nxt - una and board.sacked + board.lost == board.absent
            assert len(board.records) < 200
        await truthful(world, liar, 100_000)


async def truthful(world, liar, size):
    """From here on the peer acknowledges what it has in order, and the stack has to send all of it."""
    have = liar.connection.sender.queue_start
    goal = have + size
    have = liar.snd.una
    for _ in range(4000):
        for raw in list(world.sent):
            found = dissect(raw, trusted=True).tcp
            if found is None or found.key != (liar.theirs, liar.port, *liar.key[:2]):
                continue
            start = have + ((found.seq - have + (1 << 31)) & MASK) - (1 << 31)
            if start <= have < start + len(found.payload):
                have = start + len(found.payload)
        world.sent.clear()
        if have >= goal:
            return
        await liar.say(ACK, ack=have & MASK)
        await asyncio.sleep(0.05)
    raise AssertionError(f"{goal - have} bytes of {size} never came; {liar.connection.state}")


async def test_a_peer_that_reneges_still_gets_everything():
    """RFC 2018 8: what was SACKed may be dropped again; the timeout sends it anew."""
    async with World("memory", 1) as world:
        liar, sink = await meet(world)
        sink.write(50_000)
        await world.settle()
        una, nxt = liar.snd.una, liar.snd.nxt
        await liar.say(ACK, ack=una & MASK, sack=(((una + 1448) & MASK, nxt & MASK),))
        world.sent.clear()
        await truthful(world, liar, 50_000)


# acknowledgements


async def test_optimistic_acks():
    """What was never received is acknowledged: no faster than it is sent, and nothing that was not sent."""
    async with World("memory", 1) as world:
        liar, sink = await meet(world)
        sink.write(200_000)
        await world.settle()
        await liar.say(ACK, ack=(liar.snd.nxt + 1) & MASK)
        una = liar.snd.una
        assert una < liar.snd.nxt
        for _ in range(200):
            cwnd, una = liar.snd.congestion.cwnd, liar.snd.una
            await liar.say(ACK, ack=liar.snd.nxt & MASK)
            assert liar.snd.congestion.cwnd - cwnd <= liar.snd.una - una
            world.check_bounds()
        assert liar.snd.una == liar.snd.nxt and sink.connection.queued == 0


@pytest.mark.parametrize("pieces", (1, 10, 100, 1448))
@pytest.mark.parametrize("congestion", ("cubic", "reno"))
async def test_ack_division_does_not_inflate_the_window(pieces, congestion):
    """RFC 3465: the window grows by bytes acknowledged, not by ACKs; a peer gains nothing by many small ones."""
    async with World("memory", 1) as world:
        world.stack.config.tcp.congestion = congestion
        liar, sink = await meet(world)
        sink.write(300_000)
        await world.settle()
        start, una = liar.snd.congestion.cwnd, liar.snd.una
        target = liar.snd.nxt
        while liar.snd.una < target:
            step = max((target - una) // (10 * pieces), 1)
            await liar.say(ACK, ack=min(liar.snd.una + step, target) & MASK)
        assert liar.snd.congestion.cwnd <= start + (target - una)


async def test_acks_of_one_byte_are_no_way_around_congestion_avoidance():
    """Beyond ssthresh a whole window acknowledged brings about one segment, however it is cut up."""
    async with World("memory", 1) as world:
        world.stack.config.tcp.congestion = "reno"
        liar, sink = await meet(world)
        sink.write(200_000)
        await world.settle()
        liar.snd.congestion.ssthresh = cwnd = liar.snd.congestion.cwnd
        target = liar.snd.nxt
        while liar.snd.una < target:
            await liar.say(ACK, ack=min(liar.snd.una + 100, target) & MASK)
        assert liar.snd.congestion.cwnd <= cwnd + 2 * liar.snd.mss


@pytest.mark.parametrize("sack", (True, False))
async def test_duplicate_acks_do_not_inflate_the_window_without_end(sack):
    """With SACK they count for nothing; without it each releases a segment (RFC 5681 3.2), not more, and never beyond
    the peer's window."""
    async with World("memory", 1) as world:
        liar, sink = await meet(world, sack=sack)
        sink.write(200_000)
        await world.settle()
        una, before = liar.snd.una, liar.snd.congestion.cwnd
        window = liar.snd.edge - liar.snd.una
        world.sent.clear()
        number = 100
        for _ in range(number):
            await liar.say(ACK, ack=una & MASK, window=window >> liar.snd.scale)
        again = sum(len(one.payload) for one in liar.sent())
        assert again <= (liar.snd.mss if sack else number * liar.snd.mss)
        assert liar.snd.congestion.cwnd <= before
        assert liar.snd.nxt <= liar.snd.edge
        world.check_bounds()


# windows


async def test_a_window_that_shrinks():
    """RFC 9293 3.8.6: do not shrink, but be robust against it: nothing beyond the edge, and all of it in the end."""
    async with World("memory", 1) as world:
        liar, sink = await meet(world, scale=0)
        sink.write(40_000)
        await world.settle()
        una = liar.snd.una
        for window in (10_000, 5_000, 1_448, 100, 1, 0):
            await liar.say(ACK, ack=una & MASK, window=window)
            world.sent.clear()
            await asyncio.sleep(0.001)
            beyond = [
                one for one in liar.sent() if ((one.seq + len(one.payload) - una) & MASK) > max(window, 0)
            ]
            assert not [one for one in beyond if one.payload]
        await asyncio.sleep(5)
        await truthful(world, liar, 40_000)


@pytest.mark.parametrize("orphan", (False, True))
async def test_a_window_closed_for_ever(orphan):
    """RFC 9293 3.8.6.1: probed ever less often while the peer answers; not for an orphan."""
    async with World("memory", 1) as world:
        liar, sink = await meet(world)
        await liar.say(ACK, window=0)
        sink.write(5_000)
        if orphan:
            sink.transport.close()
        await world.settle()
        world.sent.clear()
        conn = liar.connection
        for _ in range(20_000):
            await asyncio.sleep(1)
            if liar.connection is None:
                break
            if world.sent:
                world.sent.clear()
                await liar.say(ACK, window=0)
        if orphan:
            assert liar.connection is None and conn.state.name == "CLOSED"
            world.watch.violations.clear()
        else:
            assert liar.connection is conn and conn.state.name == "ESTABLISHED"
            assert sink.connection.queued == 5_000


async def test_a_window_of_one_byte():
    """A silly window is used seldom (RFC 9293 3.8.6.2.1), not byte by byte as fast as it goes."""
    async with World("memory", 1) as world:
        liar, sink = await meet(world, scale=0)
        await liar.say(ACK, window=20_000)
        sink.write(10_000)
        await world.settle()
        while liar.snd.una < liar.snd.nxt:
            await liar.say(ACK, window=1)
        sink.write(10_000)
        world.sent.clear()
        began = world.loop.time()
        for _ in range(300):
            await liar.say(ACK, ack=liar.snd.nxt & MASK, window=1)
            await asyncio.sleep(0.01)
        seconds = world.loop.time() - began
        assert sum(1 for one in liar.sent() if one.payload) <= seconds / 0.2 + 2


# timestamps


async def test_timestamps_of_the_future_poison_only_who_can_be_the_peer():
    """RFC 7323 5: TS.Recent follows acceptable segments alone; others can not make the peer look old."""
    async with World("memory", 1) as world:
        liar, sink = await meet(world)
        recent = liar.rcv.ts_recent
        for changes in (
            {"seq": (liar.rcv.nxt - 5000) & MASK},
            {"seq": (liar.rcv.edge + 1) & MASK},
            {"ack": (liar.snd.nxt + 1) & MASK},
            {"seq": (liar.rcv.nxt + 100) & MASK},  # in the window, but behind a hole
        ):
            await liar.say(ACK, b"poison", ts_val=(recent + 0x7FFF0000) & MASK, **changes)
            assert liar.rcv.ts_recent == recent
        await liar.say(RST, seq=(liar.rcv.nxt + 1) & MASK, ts_val=(recent + 0x7FFF0000) & MASK)
        await liar.say(SYN, ts_val=(recent + 0x7FFF0000) & MASK)
        assert liar.rcv.ts_recent == recent
        await liar.say(ACK, b"honest")
        assert sink.received == 6


async def test_an_exact_reset_needs_no_fresh_timestamp():
    """RFC 7323 5.2: PAWS does not apply to resets."""
    async with World("memory", 1) as world:
        liar, _ = await meet(world)
        conn = liar.connection
        await liar.say(RST, ts_val=(liar.rcv.ts_recent - 1_000_000) & MASK)
        assert conn.state.name == "CLOSED"


@pytest.mark.parametrize("echo", (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF))
async def test_echoes_that_lie_about_the_round_trip(echo):
    """The RTO stays between its limits, whatever the echo says."""
    async with World("memory", 1) as world:
        liar, sink = await meet(world)
        for _ in range(50):
            sink.write(1000)
            await asyncio.sleep(0.01)
            await liar.say(ACK, ts_ecr=echo)
            config = liar.connection.config
            assert config.min_rto <= liar.snd.rtt.rto <= config.max_rto
            assert 0 < liar.snd.rtt.srtt < 30 * 86400


# options of the handshake


@pytest.mark.parametrize("timestamps", (True, False))
@pytest.mark.parametrize("sack", (True, False))
@pytest.mark.parametrize("mss", (0, 1, 2, 40, 87, 88, 65535))
async def test_tiny_and_huge_mss(mss, sack, timestamps):
    """Data goes out in segments of a sensible size, also with SACK blocks to tell at the same time."""
    async with World("memory", 1) as world:
        liar, sink = await meet(world, mss=mss, sack=sack, timestamps=timestamps)
        for gap in (100, 300, 500, 700):
            await liar.say(ACK, b"o" * 50, seq=(liar.rcv.nxt + gap) & MASK)
        world.sent.clear()
        sink.write(3000)
        await world.settle()
        sizes = [len(one.payload) for one in liar.sent() if one.payload]
        assert sizes and max(sizes) <= 14_480 and sizes[0] >= 24
        assert 24 <= liar.snd.mss <= 1460
        await truthful(world, liar, 3000)


@pytest.mark.parametrize("scale", (14, 15, 100, 255))
async def test_window_scale_beyond_its_limit(scale):
    """RFC 7323 2.3: more than 14 counts as 14."""
    async with World("memory", 1) as world:
        liar = Liar(world)
        await liar.say(SYN, window_scale=scale)
        await liar.say(ACK)
        assert liar.snd.scale == 14
        sink = world.accepted[liar.key]
        sink.write(100_000)
        await world.settle()
        assert liar.snd.edge - liar.snd.una == 65535 << 14
        await truthful(world, liar, 100_000)


# TIME-WAIT


async def in_time_wait(world, *, ours_is_listening):
    """A connection that we ended first; `ours_is_listening`: our port has a listener."""
    liar = Liar(world)
    if ours_is_listening:
        sink = await liar.establish()
    else:
        liar.connect()
        await world.settle()
        liar.find()
        waiting = liar.task
        await liar.say(SYN | ACK)
        await waiting
        sink = liar.connection and world.stack.tcp.connections[liar.key].owner._protocol
    assert isinstance(sink, Sink)
    sink.end()
    await world.settle()
    await liar.say(ACK)
    await liar.say(FIN | ACK)
    assert liar.key in world.stack.tcp._time_wait
    return liar, world.stack.tcp._time_wait._entries[liar.key][1]


@pytest.mark.parametrize("ours_is_listening", (True, False))
async def test_a_reset_does_not_end_time_wait(ours_is_listening):
    """RFC 1337: assassination."""
    async with World("memory", 1) as world:
        liar, entry = await in_time_wait(world, ours_is_listening=ours_is_listening)
        for flags in (RST, RST | ACK):
            for near in (-1, 0, 1, 1000):
                await liar.say(
                    flags, seq=(entry.rcv_nxt + near) & MASK, ack=entry.snd_nxt, ts_val=liar.stamp()
                )
        assert liar.key in world.stack.tcp._time_wait


async def test_a_syn_does_not_end_time_wait_where_nobody_listens():
    """RFC 6191 lets a SYN take the place of the old connection; without a listener there is nothing to take it."""
    async with World("memory", 1) as world:
        liar, entry = await in_time_wait(world, ours_is_listening=False)
        world.sent.clear()
        await liar.say(SYN, seq=(entry.rcv_nxt + 100_000) & MASK, ts_val=(liar.stamp() + 10_000) & MASK)
        assert liar.key in world.stack.tcp._time_wait
        (answer,) = liar.sent()
        assert answer.flags == ACK and answer.seq == entry.snd_nxt and answer.ack == entry.rcv_nxt


async def test_an_old_syn_does_not_end_time_wait():
    async with World("memory", 1) as world:
        liar, entry = await in_time_wait(world, ours_is_listening=True)
        await liar.say(SYN, seq=(entry.rcv_nxt - 100_000) & MASK, ts_val=(entry.ts_recent - 5) & MASK)
        assert liar.key in world.stack.tcp._time_wait
        await liar.say(SYN, seq=(entry.rcv_nxt + 100_000) & MASK, ts_val=(entry.ts_recent + 5000) & MASK)
        assert liar.key not in world.stack.tcp._time_wait
        assert liar.connection.state.name == "SYN_RECEIVED"
