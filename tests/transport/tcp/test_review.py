"""Cases that a reviewer of the TCP machine did not trust: each was a defect, or is the guard against one."""

import math
from dataclasses import replace

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.reassembly import Reassembly
from asyncstack.transport.tcp.state import State
from asyncstack.transport.tcp.timers import PERSIST
from asyncstack.wire.tcp import ACK, Segment, build
from tests.transport.tcp.dialogue import MASK, OUR_ISS, PEER_ISS, Dialogue
from tests.transport.tcp.pair import Pair

KEEPALIVE = TcpConfig(keepalive=True, keepalive_idle=10.0, keepalive_interval=1.0, keepalive_count=3)


def test_keepalive_over_a_link_that_takes_no_time():
    """The answer is heard at the very instant of the probe."""
    pair = Pair(config_a=KEEPALIVE, delay=0.0)
    pair.a.close_after = pair.b.close_after = False
    pair.open()
    pair.run(200.0)
    assert pair.a.connection.state is State.ESTABLISHED


def test_persist_timer_that_is_no_longer_needed():
    """A small window armed the timer, then all was sent; a window that closes later is no reason to probe."""
    d = Dialogue.established(TcpConfig(user_timeout=5.0), window=128)
    d.connection.sender.max_window = 10_000
    d.write(1000)
    d.quiet()
    assert d.connection.timers[PERSIST] != math.inf
    d.inject("A", window=20_000)
    d.expect("A", seq=1, length=1000)
    d.inject("A", ack=1001, window=0)
    d.wait(100.0)
    d.quiet()
    assert d.state is State.ESTABLISHED
    assert d.connection.deadline == math.inf


def test_duplicate_acks_that_are_owed_end_with_the_hole():
    """Without SACK: what fills the hole comes in the same batch as what was ahead of it."""
    d = Dialogue.established(sack=False)
    ack = (OUR_ISS + 1) & MASK
    for seq in (101, 201, 301, 401, 501, 1):
        segment = Segment(4000, 80, (PEER_ISS + seq) & MASK, ack, ACK, 500, bytes(100), 6000, 0)
        d.connection.receive_segment(segment, d.now)
    d.expect("A", ack=601)
    d.quiet()


@pytest.mark.parametrize("size", [100, 1000, 1459])
def test_receive_buffer_made_smaller_than_a_segment_does_not_shut_the_window(size):
    d = Dialogue.established(TcpConfig(receive_buffer=20_000), scale=0)
    d.connection.configure(replace(d.connection.config, receive_buffer=size), d.now)
    sent = 0
    for _ in range(200):
        window = d.connection.receiver.edge - d.connection.receiver.nxt
        piece = min(window, 1000)
        if piece:
            d.inject("A", data=bytes(piece))
            sent += piece
        d.read()
        d.wait(0.1)
    assert sent > 20_000


@pytest.mark.parametrize("mss", [28, 40, 60, 88])
@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_path_of_the_smallest_mtu(mss, loss):
    pair = Pair(3, mss=mss, most=mss * 4, delay=0.01, loss=loss, reorder=0.1)
    pair.a.to_send, pair.b.to_send = bytes(3000), bytes(5000)
    pair.open()
    pair.run(5000.0)
    assert len(pair.b.received) == 3000
    assert len(pair.a.received) == 5000
    for end in (pair.a, pair.b):
        largest = max(len(build(s, 0)) + len(s.payload) for _, s in end.link.carried)
        assert largest <= mss + 20


@pytest.mark.parametrize("sack", [True, False])
def test_small_writes_are_sent_again_in_full_segments(sack):
    """A hundred segments of a byte that were lost would need a hundred that arrive; one is enough."""
    d = Dialogue.established(TcpConfig(tail_loss_probe=False), sack=sack, timestamps=False)
    for _ in range(100):
        d.write(1)
    d.expect_data(*((n, n + 1) for n in range(1, 101)))
    d.wait(0.3)
    d.expect_data((1, 101))
    d.inject("A", ack=51)
    d.inject("A", ack=101)
    d.quiet()
    assert d.connection.deadline == math.inf


def test_small_segments_are_joined_up_to_what_is_known_to_have_arrived():
    d = Dialogue.established(TcpConfig(tail_loss_probe=False))
    for _ in range(20):
        d.write(1)
    d.connection.shutdown(d.now)
    d.expect_data(*((n, n + 1) for n in range(1, 21)), (21, 21))
    d.inject("A", ack=3, sack=((11, 12),))
    d.wait(0.3)
    d.expect("A", seq=3, length=8)  # overtaken by 11: lost, says RACK
    d.expect("A", seq=3, length=8)  # the timer
    d.expect("FA", seq=12, length=9)
    d.inject("A", ack=12)
    d.quiet()
    d.inject("A", ack=22)
    d.quiet()
    assert d.state is State.FIN_WAIT_2


def test_pieces_of_large_frames_do_not_hold_the_frames():
    """Each segment overlaps what is held but for its last byte; that byte must not keep 64 KiB."""
    held = Reassembly(8)
    for n in range(60):
        frame = bytes(65_000)
        held.insert(1000 + n, memoryview(frame)[1000:41_000])
    _, pieces, _ = held.take(1000)
    frames = {id(p.obj): len(p.obj) for p in pieces if type(p) is memoryview}
    assert sum(map(len, pieces)) == 40_059
    assert sum(frames.values()) < 4 * 40_059
