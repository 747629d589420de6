"""Segments that nobody should send, into connections that are at work: nothing raises, nothing grows, and what no RFC
lets in changes nothing."""

import random
from dataclasses import replace

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.state import State
from asyncstack.transport.tcp.timers import RETRANSMIT
from asyncstack.wire.tcp import RST, SYN, Segment
from tests.transport.tcp.pair import Pair

MASK = 0xFFFFFFFF


def any_number(rng, near):
    """A 32-bit number: near, far, at the borders, anywhere."""
    return (
        rng.choice(
            [
                near,
                near + rng.randrange(-3, 4),
                near + rng.randrange(-100_000, 100_000),
                near + 0x7FFFFFFF,
                near + 0x80000000,
                rng.getrandbits(32),
                0,
                MASK,
            ]
        )
        & MASK
    )


def mutated(rng, segment):
    changes = {}
    for name in rng.sample(
        ["seq", "ack", "flags", "window", "payload", "ts_val", "ts_ecr", "sack", "mss"], rng.randrange(1, 5)
    ):
        if name in ("seq", "ack", "ts_val", "ts_ecr"):
            changes[name] = any_number(rng, getattr(segment, name))
        elif name == "flags":
            changes[name] = rng.getrandbits(8)
        elif name == "window":
            changes[name] = rng.choice([0, 1, 65535, rng.getrandbits(16)])
        elif name == "payload":
            changes[name] = rng.randbytes(rng.choice([0, 1, 10, 1448, 9000, 65000]))
        elif name == "mss":
            changes[name] = rng.choice([0, 1, 65535])
        else:
            base = segment.ack
            count = rng.randrange(0, 5)
            changes[name] = tuple((any_number(rng, base), any_number(rng, base + 3000)) for _ in range(count))
    if rng.random() < 0.1:
        changes["ts_val"] = -1
    if rng.random() < 0.1:
        changes["gso_size"] = rng.choice([1, 500, 1448, 65535])
    return replace(segment, **changes)


def check_bounds(end):
    connection = end.connection
    rcv, snd = connection.receiver, connection.sender
    room = connection.config.receive_buffer + (1 << rcv.scale)
    assert 0 <= rcv.unread <= room
    assert rcv.held is None or len(rcv.held) <= connection.config.max_out_of_order_ranges
    assert snd.una <= snd.nxt <= max(snd.queue.end, snd.queue_start) + 1
    board = snd.board
    assert board.sacked == sum(r.end - r.start for r in board.records if r.state == 2)
    assert board.lost == sum(r.end - r.start for r in board.records if r.state == 1)
    assert board.absent == board.sacked + board.lost + snd.presumed
    assert 0 <= snd.pipe <= snd.nxt - snd.una
    position = snd.una
    for record in board.records:
        assert record.start == position < record.end
        position = record.end
    assert not board.records or position == snd.nxt
    assert snd.congestion.cwnd >= snd.congestion.mss
    if connection.synchronized and snd.una < snd.nxt:
        assert connection.timers[RETRANSMIT] < float("inf")
    assert connection.queued >= 0


@pytest.mark.parametrize("seed", range(40))
def test_mutated_segments_never_raise_and_nothing_grows(seed):
    rng = random.Random(seed)
    config = TcpConfig(
        receive_buffer=rng.choice([5000, 100_000]),
        sack=rng.random() < 0.7,
        timestamps=rng.random() < 0.7,
        congestion=rng.choice(["cubic", "reno", "bbr"]),
        pacing=rng.random() < 0.3,
        user_timeout=60.0,
        max_out_of_order_ranges=8,
    )
    pair = Pair(seed, config, config, delay=0.005, loss=0.02, most=rng.choice([1460, 14_600]))
    pair.check_offer = lambda end, segment: None  # a mutated SYN may have changed what the window means
    pair.a.to_send, pair.b.to_send = rng.randbytes(200_000), rng.randbytes(50_000)
    pair.open()
    for _ in range(1500):
        if not pair.step(pair.now + 100.0):
            break
        for end, other in ((pair.a, pair.b), (pair.b, pair.a)):
            if other.link.carried and rng.random() < 0.5:
                segment = mutated(rng, rng.choice(other.link.carried[-20:])[1])
                if rng.random() < 0.9:
                    segment.flags &= ~RST  # or it would be over soon
                end.connection.receive_segment(segment, pair.now)
                end.turn(pair.now)
            check_bounds(end)
    pair.a.finished = pair.b.finished = True
    pair.a.connection.close(pair.now)
    pair.b.connection.close(pair.now)
    pair.run(2000.0)
    for end in (pair.a, pair.b):
        assert end.connection.state in (State.CLOSED, State.TIME_WAIT), "every connection ends"
        assert end.connection.deadline == float("inf")


@pytest.mark.parametrize("seed", range(20))
def test_what_misses_the_window_or_is_older_changes_nothing(seed):
    """Off-path tries: sequence numbers outside the window, or timestamps from the past, or ACKs of nothing sent."""
    rng = random.Random(seed)
    pair = Pair(seed, delay=0.005, loss=0.02)
    pair.a.to_send, pair.b.to_send = rng.randbytes(150_000), rng.randbytes(150_000)
    pair.open()
    while pair.step():
        for end in (pair.a, pair.b):
            rcv, snd = end.connection.receiver, end.connection.sender
            if end.connection.state is not State.ESTABLISHED:
                continue
            stray = Segment(
                end.connection.remote_port,
                end.connection.local_port,
                rcv.nxt & MASK,
                snd.una & MASK,
                rng.getrandbits(8) & ~RST & ~SYN,
                rng.getrandbits(16),
                rng.randbytes(rng.randrange(3000)),
                rcv.ts_recent,
                0,
            )
            kind = rng.randrange(4)
            if kind == 0:
                stray.seq = (rcv.edge + rng.randrange(1, 1 << 30)) & MASK
                stray.flags = rng.getrandbits(8)
            elif kind == 1:
                stray.seq = (rcv.nxt - 70_000 - rng.randrange(1 << 30)) & MASK
                stray.flags = rng.getrandbits(8)
            elif kind == 2:
                stray.ts_val = (rcv.ts_recent - rng.randrange(1, 1 << 30)) & MASK
            else:
                stray.ack = (snd.nxt + rng.randrange(1, 1 << 30)) & MASK
            end.connection.receive_segment(stray, pair.now)
            if rng.random() < 0.2:  # in the window, but not exact: a challenge is all it gets
                seq = rcv.nxt + rng.randrange(1, max(rcv.edge - rcv.nxt, 2))
                attack = replace(stray, seq=seq & MASK, flags=rng.choice([RST, SYN]), ts_val=rcv.ts_recent)
                end.connection.receive_segment(attack, pair.now)
    assert bytes(pair.a.received) == pair.b.to_send
    assert bytes(pair.b.received) == pair.a.to_send
    assert pair.a.connection.error == pair.b.connection.error == 0


def test_acks_of_every_kind_do_not_move_the_window_beyond_what_was_acknowledged():
    """Optimistic, divided and repeated ACKs (RFC 3465 2.2): the window grows by bytes that were really sent."""
    rng = random.Random(4)
    pair = Pair(4, delay=0.0)
    pair.a.to_send = bytes(1_000_000)
    pair.open()
    pair.run_while(lambda: pair.a.connection.state is not State.ESTABLISHED)
    snd = pair.a.connection.sender
    rcv = pair.a.connection.receiver
    pair.flush()
    before = snd.congestion.cwnd
    una = snd.una
    while snd.una < snd.nxt:
        ack = min(snd.una + rng.randrange(1, 200), snd.nxt)
        segment = Segment(2, 1, rcv.nxt & MASK, ack & MASK, 16, 65535, b"", rcv.ts_recent, 0)
        pair.a.connection.receive_segment(segment, pair.now)
    assert snd.congestion.cwnd <= before + (snd.una - una)
