"""Window, delayed ACKs, SACK blocks, reassembly (RFC 9293 3.8.6, 5681 4.2, 2018, 2883)."""

import random

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.reassembly import Reassembly
from asyncstack.transport.tcp.receiver import Receiver
from asyncstack.transport.tcp.timers import DELAYED_ACK, no_timers
from asyncstack.wire.tcp import ACK, Segment
from tests.transport.tcp.dialogue import Dialogue

MSS = 1448


def calm(config=None, **options):
    """Established, the quick ACKs of the start used up."""
    d = Dialogue.established(config, **options)
    d.connection.receiver.quick = 0
    d.connection.receiver.mss = MSS
    return d


def test_every_second_segment_is_acknowledged_at_once():
    d = calm()
    for n in range(6):
        d.inject(data=bytes(MSS))
        if n % 2:
            d.expect("A", ack=1 + (n + 1) * MSS)
        d.quiet()


def test_one_segment_waits_forty_milliseconds():
    d = calm()
    d.inject(data=bytes(MSS))
    d.quiet()
    assert d.wait_for_segment() == pytest.approx(0.04)
    d.expect("A", ack=1 + MSS)


def test_first_segments_are_acknowledged_each():
    d = Dialogue.established()
    for n in range(16):
        d.inject(data=bytes(100))
        d.expect("A", ack=1 + (n + 1) * 100)
    d.inject(data=bytes(100))
    d.quiet()


def test_answer_carries_the_ack_and_ends_the_quick_ones():
    d = Dialogue.established()
    d.inject(data=b"ping")
    d.sent.clear()
    d.write(b"pong")
    d.expect("A", ack=5, data=b"pong")
    d.inject(data=b"ping", ack=5)
    d.quiet()
    d.write(b"pong")
    d.expect("A", ack=9, data=b"pong")
    d.wait(0.1)
    d.quiet()


def test_super_segment_is_acknowledged_at_once():
    d = calm()
    d.inject(data=bytes(2 * MSS))
    d.expect("A", ack=1 + 2 * MSS)


def test_super_segment_of_a_peer_with_a_small_mss():
    d = calm()
    d.connection.receiver.mss = 536
    segment = Segment(4000, 80, 0xFFFFFF01, 0xFFFFF001, ACK, 500, bytes(2000), 6000, gso_size=1000)
    d.connection.receive_segment(segment, 0.0)
    d.expect("A", ack=2001)
    assert d.connection.info(0.0).rcv_mss == 1000


def test_small_segments_of_a_peer_with_a_small_mss():
    """Full-sized is what the peer sends, not what we could take: two of them are acknowledged at once."""
    d = Dialogue.established()
    d.connection.receiver.quick = 0
    d.inject(data=bytes(536))
    d.inject(data=bytes(536))
    d.expect("A", ack=1073)


def test_out_of_order_is_acknowledged_at_once_with_sack():
    d = calm()
    d.inject(seq=1 + MSS, data=bytes(MSS))
    d.expect("A", ack=1, sack=((1 + MSS, 1 + 2 * MSS),))
    d.inject(seq=1 + 2 * MSS, data=bytes(MSS))
    d.expect("A", ack=1, sack=((1 + MSS, 1 + 3 * MSS),))
    d.inject(seq=1, data=bytes(MSS))
    d.expect("A", ack=1 + 3 * MSS, sack=())


def test_first_block_is_the_latest_rfc2018_4():
    d = calm()
    for n in (1, 3, 5, 7):
        d.inject(seq=1 + n * 100, data=bytes(100))
    block = [(1 + n * 100, 101 + n * 100) for n in range(10)]
    assert len(d.sent) == 4
    del d.sent[:3]
    d.expect("A", ack=1, sack=(block[7], block[5], block[3]))
    d.inject(seq=101, data=bytes(100))
    # the repeated range comes first (RFC 2883), then the one that holds it
    d.expect("A", ack=1, sack=(block[1], block[1], block[7]))


def test_burst_before_anything_was_sent_is_told_completely():
    """Seven new ranges between two flushes need three ACKs of three blocks."""
    d = calm()
    connection, flush = d.connection, d.flush
    d.flush = lambda: None
    for n in range(1, 15, 2):
        d.inject(seq=1 + n * 100, data=bytes(100))
    d.flush = flush
    told = set()
    while (segment := connection.segment_to_send(0.0)) is not None:
        told |= set(segment.sack)
    assert len(told) == 7


def test_without_sack_every_segment_out_of_order_gets_its_duplicate_ack():
    d = Dialogue.established(sack=False)
    connection, flush = d.connection, d.flush
    d.flush = lambda: None
    for n in range(1, 6):
        d.inject(seq=1 + n * 100, data=bytes(100))
    d.flush = flush
    acks = []
    while (segment := connection.segment_to_send(0.0)) is not None:
        acks.append(segment.ack)
    assert len(acks) == 5


def test_duplicate_segment_is_told_by_dsack_rfc2883():
    d = calm()
    d.inject(data=bytes(MSS))
    d.wait(0.05)
    d.sent.clear()
    d.inject(seq=1, data=bytes(MSS))
    d.expect("A", ack=1 + MSS, sack=((1, 1 + MSS),))
    d.inject(seq=1 + MSS - 100, data=bytes(200))
    d.expect("A", ack=1 + MSS + 100, sack=((1 + MSS - 100, 1 + MSS),))


def test_sack_in_data_segments_takes_its_room_from_the_payload():
    d = calm()
    d.inject(seq=5000, data=bytes(100))
    d.sent.clear()
    d.write(4000)
    segment = d.expect("A", ack=1, length=1448 - 12, sack=((5000, 5100),))
    assert segment.gso_size == 0


def test_hole_filled_by_overlapping_segments_of_any_shape():
    rng = random.Random(7)
    text = rng.randbytes(3000)
    for _ in range(200):
        d = calm()
        got = b""
        for _ in range(100):
            left = rng.randrange(3000)
            right = min(3000, left + rng.randrange(1, 400))
            d.inject(seq=1 + left, data=text[left:right])
            if rng.random() < 0.3:
                got += d.read()
        for left in range(0, 3000, 500):
            d.inject(seq=1 + left, data=text[left : left + 500])
        assert got + d.read() == text
        assert d.connection.receiver.held is None


def test_bytes_once_received_are_never_replaced():
    d = calm()
    d.inject(seq=11, data=b"original")
    d.inject(seq=6, data=b"XXXXXXXXXXXXXXXXXXXX")
    d.inject(seq=1, data=b"12345")
    assert d.read() == b"12345XXXXXoriginalXXXXXXX"


def test_ranges_out_of_order_are_bounded():
    d = calm(TcpConfig(max_out_of_order_ranges=4))
    for n in range(1, 20, 2):
        d.inject(seq=1 + n * 10, data=bytes(10))
    assert len(d.connection.receiver.held) == 4
    d.inject(seq=21, data=bytes(10))  # joins two of them
    assert len(d.connection.receiver.held) == 3
    d.inject(seq=1, data=bytes(10))
    assert d.connection.unread == 40


def test_reassembly_against_a_model():
    rng = random.Random(3)
    for _ in range(300):
        reassembly = Reassembly(1000)
        model = {}
        base = 10
        for _ in range(40):
            start = rng.randrange(base + 1, 200)
            payload = bytes([rng.randrange(256)]) * rng.randrange(1, 30)
            reassembly.insert(start, payload)
            for at in range(start, start + len(payload)):
                model.setdefault(at, payload[0])
            blocks = sorted(reassembly.blocks(1000))
            edges = [at for at in sorted(model) if at - 1 not in model]
            assert [left for left, _ in blocks] == edges
            assert sum(right - left for left, right in blocks) == len(model)
        first = min(model)
        end, pieces, _ = reassembly.take(first)
        data = b"".join(pieces)
        assert end == first + len(data)
        assert list(data) == [model[at] for at in range(first, end)]
        assert end not in model


def test_take_of_bytes_that_also_came_in_order():
    reassembly = Reassembly(10)
    reassembly.insert(10, b"abc")
    reassembly.insert(13, b"def")
    reassembly.insert(30, b"far")
    assert reassembly.take(14) == (16, [b"ef"], (10, 14))
    assert len(reassembly) == 1


def test_dsack_of_what_comes_again_in_order_rfc2883_4_1():
    """One segment fills the holes around what was held: the first part held has come twice."""
    d = Dialogue.established()
    d.inject(seq=1001, data=bytes(1000))
    d.expect("A", ack=1, sack=((1001, 2001),))
    d.inject(seq=4001, data=bytes(1000))
    d.expect("A", ack=1, sack=((4001, 5001), (1001, 2001)))
    d.inject(seq=1, data=bytes(3000))
    d.expect("A", ack=3001, sack=((1001, 2001), (4001, 5001)))


@pytest.mark.parametrize("descending", [False, True])
def test_single_bytes_out_of_order_do_not_cost_an_object_each(descending):
    reassembly = Reassembly(10)
    order = range(5000, 10, -1) if descending else range(11, 5001)
    for at in order:
        reassembly.insert(at, b"x")
    (held,) = reassembly._ranges
    assert len(held.pieces) <= 65
    assert reassembly.take(11)[0] == 5001


def test_small_unread_pieces_are_joined_and_do_not_hold_their_frames():
    receiver = Receiver(TcpConfig(), no_timers(), 1460)
    receiver.open(0, 65535)
    for _ in range(5000):
        receiver.deliver(memoryview(bytearray(65536))[20:30], 10, 10, 0.0)
    assert len(receiver._chunks) <= 64 + 50_000 // 256
    assert all(type(chunk) is bytes for chunk in receiver._chunks)
    assert len(b"".join(receiver.read())) == 50_000


def test_payload_that_fills_its_frame_is_not_copied():
    receiver = Receiver(TcpConfig(), no_timers(), 1460)
    receiver.open(0, 65535)
    frame = memoryview(bytes(1500))
    receiver.deliver(frame[52:], 1448, 1448, 0.0)
    (chunk,) = receiver.read()
    assert chunk.obj is frame.obj


def test_window_closes_as_the_buffer_fills_and_opens_by_worthwhile_steps():
    d = calm(TcpConfig(receive_buffer=10 * MSS), timestamps=True, scale=-1)
    for n in range(10):
        d.inject(data=bytes(MSS))
        if n % 2:
            d.expect("A", window=(9 - n) * MSS)
    assert d.connection.unread == 10 * MSS
    d.inject(data=b"too much")
    d.expect("A", ack=1 + 10 * MSS, window=0)
    assert len(d.read()) == 10 * MSS
    d.expect("A", ack=1 + 10 * MSS, window=10 * MSS)
    d.quiet()


def test_reader_in_time_causes_no_window_updates():
    d = calm()
    for n in range(40):
        d.inject(data=bytes(MSS))
        d.read()
        assert len(d.sent) == (n + 1) // 2
    receiver = d.connection.receiver
    assert d.sent[-1][1].window << receiver.scale > receiver.buffer - 3 * MSS


def test_right_edge_of_the_window_never_moves_left():
    """Beyond what the scale rounds (RFC 7323 2.4); and every byte within an edge once promised is taken."""
    for buffer in (3000, 70_000, 100_000, 1 << 20):
        rng = random.Random(buffer)
        d = calm(TcpConfig(receive_buffer=buffer))
        promised = 0
        for _ in range(400):
            receiver = d.connection.receiver
            room = receiver.edge - receiver.nxt
            if room:
                d.inject(data=bytes(min(room, rng.randrange(1, 5000))))
            if rng.random() < 0.3:
                d.read()
            d.wait(rng.choice([0.0, 0.1]))
            for _, segment in d.sent:
                edge = ((segment.ack - 0xFFFFFF01) & 0xFFFFFFFF) + (segment.window << receiver.scale)
                assert edge >= promised - (1 << receiver.scale) + 1
                promised = max(promised, edge)
                assert receiver.edge - receiver.start + 1 >= promised
            d.sent.clear()
            assert receiver.unread <= buffer + (1 << receiver.scale)


def test_one_byte_at_a_time_does_not_creep_beyond_the_buffer():
    d = calm(TcpConfig(receive_buffer=100_000, tune_receive_buffer=False))
    receiver = d.connection.receiver
    d.inject(data=bytes(65_535))
    d.inject(data=bytes(receiver.edge - receiver.nxt - 50))
    for _ in range(500):
        if receiver.edge > receiver.nxt:
            d.inject(data=b"x")
            d.wait(0.05)
    assert receiver.unread <= 100_000 + (1 << receiver.scale)


def test_segment_that_overlaps_the_window_on_both_sides_is_cut():
    d = calm(TcpConfig(receive_buffer=1000, window_scaling=False))
    d.inject(data=b"a" * 500)
    d.inject(seq=1, data=b"a" * 500 + b"b" * 2000)
    d.wait(0.1)
    assert d.read() == b"a" * 500 + b"b" * 500


def test_closed_window_still_takes_the_ack_of_a_segment():
    d = calm(TcpConfig(receive_buffer=1000, window_scaling=False))
    d.write(b"data")
    d.inject(data=bytes(1000), ack=1)
    d.sent.clear()
    d.inject(data=b"beyond", ack=5)
    assert d.connection.queued == 0
    d.expect("A", ack=1001, window=0)


def test_delayed_ack_setting():
    d = calm(TcpConfig(delayed_ack=0.2))
    d.inject(data=b"x")
    assert d.connection.timers[DELAYED_ACK] == pytest.approx(0.2)


def test_silence_begins_anew_with_quick_acks_rfc9293_3_8_6_3():
    """The peer's window has fallen back, and slow start waits for each ACK; unless we are in a conversation."""
    d = Dialogue.established()
    for _ in range(17):
        d.inject(data=bytes(MSS))
        d.read()
    d.wait(1.0)
    d.sent.clear()
    assert d.connection.receiver.quick == 0
    d.inject(data=bytes(MSS))
    d.expect("A")
    assert d.connection.receiver.quick == 15
    d.write(b"answer")
    d.sent.clear()
    d.wait(5.0)
    d.sent.clear()
    d.inject(data=b"question", ack=7)
    d.quiet()
    assert d.wait_for_segment() == pytest.approx(d.now)
    d.expect("A")


def test_quickack_ends_the_delay_at_once_and_for_a_while():
    d = calm()
    d.inject(data=b"x")
    d.quiet()
    d.connection.receiver.quickack(True)
    d.expect("A", ack=2)
    for n in range(16):
        d.inject(data=b"x")
        d.expect("A", ack=3 + n)
    d.inject(data=b"x")
    d.quiet()
    d.connection.receiver.quickack(False)
    d.wait(2.0)
    d.sent.clear()
    d.inject(data=b"x")
    d.quiet()


def test_estimate_of_the_peers_segments_shrinks_after_a_loss():
    """Every second full segment is acknowledged at once, also when path MTU discovery has made them smaller."""
    d = calm()
    receiver = d.connection.receiver
    d.inject(data=bytes(MSS))
    d.inject(data=bytes(MSS))
    assert receiver.mss == MSS
    d.inject(seq=d.peer_nxt + 800, data=bytes(800))
    assert receiver.mss == 800
    d.inject(seq=1 + 2 * MSS, data=bytes(800))
    d.sent.clear()
    receiver.quick = 0
    d.inject(data=bytes(800))
    d.quiet()
    d.inject(data=bytes(800))
    d.expect("A")


def test_a_thousand_holes_are_remembered():
    d = calm(TcpConfig(receive_buffer=4 << 20, tune_receive_buffer=False))
    d.inject(data=b"x")
    d.wait(0.1)
    for n in range(1, 1001):
        d.inject(seq=2 + 20 * n, data=bytes(10))
    assert len(d.connection.receiver.held) == 1000
    d.sent.clear()
    d.inject(seq=2 + 20 * 500 + 10, data=bytes(10))
    assert d.sent[0][1].sack[0][1] - d.sent[0][1].sack[0][0] & 0xFFFFFFFF == 30
