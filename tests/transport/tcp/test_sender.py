"""What may leave: Nagle (RFC 896), silly windows (RFC 9293 3.8.6.2.1), super-segments, application limits."""

import random

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.send_queue import SendQueue
from asyncstack.wire.tcp import PSH
from tests.transport.tcp.dialogue import Dialogue

MSS = 1000
NAGLE = TcpConfig(nodelay=False)


def open_dialogue(config=None, **options):
    return Dialogue.established(config, mss=MSS, peer_mss=MSS, timestamps=False, window=1 << 20, **options)


def test_nagle_holds_the_part_behind_full_segments():
    d = open_dialogue(NAGLE)
    d.write(100)
    d.expect_data((1, 101))  # nothing is outstanding
    d.write(100)
    d.write(100)
    d.expect_data()
    d.write(900)
    d.expect_data((101, 1101))
    d.inject(ack=101)
    d.expect_data()
    d.inject(ack=1101)
    d.expect_data((1101, 1201))


def test_nagle_lets_a_fin_go():
    d = open_dialogue(NAGLE)
    d.write(100)
    d.write(100)
    d.sent.clear()
    d.connection.shutdown(0.0)
    d.expect("FA", seq=101, length=100)


def test_nodelay_sends_at_once():
    d = open_dialogue()
    d.write(100)
    d.write(100)
    d.expect_data((1, 101), (101, 201))


def test_nagle_can_be_turned_off_on_the_way():
    d = open_dialogue(NAGLE)
    d.write(100)
    d.write(100)
    d.expect_data((1, 101))
    d.connection.configure(TcpConfig(nodelay=True), 0.0)
    d.expect_data((101, 201))


def test_push_marks_the_end_of_what_was_written():
    d = open_dialogue()
    d.write(2500)
    assert [bool(s.flags & PSH) for _, s in d.sent] == [False, False, True]


def test_sender_waits_for_a_window_worth_sending_into():
    """Not for every few bytes that a slow reader frees (SWS); half of the largest window is worth it."""
    d = open_dialogue()
    d.inject(window=8192)
    d.write(20_000)
    d.expect_data(*((1 + n * MSS, 1 + (n + 1) * MSS) for n in range(8)))
    d.inject(ack=8001, window=0)
    for window in (128, 384, 512):
        d.inject(ack=8001, window=window)
    d.expect_data()
    d.inject(ack=8001, window=1024)
    d.expect_data((8001, 9001))


def test_half_the_largest_window_is_used_where_no_segment_fits_it():
    d = Dialogue.established(mss=MSS, peer_mss=MSS, timestamps=False, scale=-1, window=600)
    d.write(5000)
    d.expect_data((1, 601))
    d.inject(ack=601, window=200)
    d.expect_data()
    d.inject(ack=601, window=300)
    d.expect_data((601, 901))


def test_small_window_is_used_when_the_persist_timer_says_so():
    d = open_dialogue()
    d.inject(window=8192)
    d.write(20_000)
    d.sent.clear()
    d.inject(ack=8001, window=512)
    d.expect_data()
    d.wait(0.3)
    d.expect_data((8001, 8513))


def test_super_segments_are_whole_multiples_of_the_mss():
    d = open_dialogue(TcpConfig(initial_window=40), most=10_700)
    d.write(25_300)
    sizes = [(len(s.payload), s.gso_size) for _, s in d.sent]
    assert sizes == [(10_000, MSS), (10_000, MSS), (5300, MSS)]


def test_one_segment_is_no_super_segment():
    d = open_dialogue(most=10_000)
    d.write(1000)
    assert d.expect("A", length=1000).gso_size == 0


def test_super_segment_waits_for_acks_that_are_on_their_way():
    """With much in flight a window that opened a little is left until it has opened more."""
    config = TcpConfig(congestion="reno", initial_window=30)
    d = open_dialogue(config, most=10_000)
    d.write(200_000)
    assert [len(s.payload) for _, s in d.sent] == [10_000, 10_000, 10_000]
    d.sent.clear()
    d.inject(ack=1 + 2 * MSS)
    d.expect_data()  # slow start has freed 4 segments
    d.inject(ack=1 + 4 * MSS)
    d.expect_data()
    d.inject(ack=1 + 6 * MSS)
    assert [len(s.payload) for _, s in d.sent] == [10_000]


def test_without_super_segments_nothing_waits():
    config = TcpConfig(congestion="reno", initial_window=30)
    d = open_dialogue(config)
    d.write(200_000)
    d.sent.clear()
    d.inject(ack=1 + 2 * MSS)
    assert len(d.sent) == 4


def test_payload_in_one_chunk_is_a_slice_of_it():
    d = open_dialogue()
    data = bytes(2500)
    d.write(data)
    for _, segment in d.sent:
        assert memoryview(segment.payload).obj is data


def test_window_does_not_grow_while_the_application_sends_less():
    d = open_dialogue()
    for _ in range(100):
        d.write(1000)
        d.inject(ack=1 + d.connection.sender.nxt - d.connection.sender.queue_start)
    assert d.connection.info(d.now).snd_cwnd == 10


def test_window_does_not_grow_while_the_peers_window_is_the_limit():
    d = open_dialogue()
    d.inject(window=4096)
    for _ in range(50):
        d.write(4000)
        d.inject(ack=1 + d.connection.sender.nxt - d.connection.sender.queue_start)
    assert d.connection.info(d.now).snd_cwnd == 10


def test_window_grows_in_slow_start_while_it_is_used():
    d = open_dialogue()
    d.write(1_000_000)
    acked = 1
    for n in range(1, 5):
        out = len(d.sent)
        assert out == 10 * 2 ** (n - 1)
        d.sent.clear()
        for _ in range(out):
            acked += MSS
            d.inject(ack=acked)
    assert d.connection.info(d.now).snd_cwnd == 160


def test_window_restarts_after_idle_rfc5681_4_1():
    d = open_dialogue()
    d.write(1_000_000)
    acked = 1
    for _ in range(150):
        acked += MSS
        d.inject(ack=acked)
    big = d.connection.info(d.now).snd_cwnd
    assert big == 160
    while d.connection.queued:
        d.inject(ack=1 + d.connection.sender.nxt - d.connection.sender.queue_start)
    d.sent.clear()
    d.wait(0.1)
    d.write(1000)
    assert d.connection.info(d.now).snd_cwnd >= big, "a short pause changes nothing"
    d.inject(ack=1_001_001)
    d.sent.clear()
    d.wait(30.0)
    d.write(100_000)
    assert len(d.sent) == 10


def test_queue_frees_what_is_acknowledged():
    d = open_dialogue()
    d.write(3000)
    assert d.connection.queued == 3000
    d.inject(ack=1501)
    assert d.connection.queued == 1500
    assert "writable" in d.events
    d.inject(ack=3001)
    assert d.connection.queued == 0


def test_send_buffer_limit_follows_the_window():
    d = open_dialogue(TcpConfig(send_buffer=200_000))
    assert d.connection.send_buffer_limit == 128 << 10
    d.write(1_000_000)
    for n in range(1, 100):
        d.inject(ack=1 + n * MSS)
    assert d.connection.send_buffer_limit == 200_000


def test_memoryviews_of_any_shape_are_taken_as_bytes():
    d = open_dialogue()
    d.connection.write(memoryview(b"abcdefgh").cast("I"))
    assert d.connection.queued == 8
    d.expect("A", data=b"abcdefgh")


# the queue


def test_queue_against_a_model():
    rng = random.Random(9)
    for _ in range(100):
        queue = SendQueue(500)
        text = b""
        una = nxt = 500
        for _ in range(200):
            choice = rng.random()
            if choice < 0.5:
                piece = rng.randbytes(rng.choice([0, 1, 3, 10, 100]))
                queue.append(piece)
                text += piece
            elif choice < 0.8 and nxt < queue.end:
                stop = min(queue.end, nxt + rng.randrange(1, 60))
                assert bytes(queue.slice(nxt, stop)) == text[nxt - 500 : stop - 500]
                nxt = stop
            elif choice < 0.9 and una < nxt:
                start = rng.randrange(una, nxt)
                stop = rng.randrange(start + 1, nxt + 1)
                assert bytes(queue.slice(start, stop)) == text[start - 500 : stop - 500]
            elif una < nxt:
                una = rng.randrange(una, nxt) + 1
                queue.release(una)
            assert queue.end - queue.una == len(text) - (una - 500)


def test_hundred_thousand_tiny_writes_take_linear_time():
    """Counted in steps, not seconds: every chunk is looked at a bounded number of times."""
    queue = SendQueue(0)
    count = 100_000
    for _ in range(count):
        queue.append(b"0123456789")
    looked = 0
    real = queue._find

    def find(start):
        nonlocal looked
        looked += 1
        return real(start)

    position = 0
    while position < queue.end:
        stop = min(position + 1460, queue.end)
        piece = queue.slice(position, stop)
        assert len(piece) == stop - position
        position = stop
        queue.release(position - 700 if position < queue.end else position)
        assert len(queue._chunks) - queue._head <= count
    assert queue._chunks == [] and queue._starts == []
    assert find(0) == -1 or looked == 1


@pytest.mark.parametrize("size", [1, 999, 1000, 1001])
def test_chunks_that_straddle_segments_are_joined(size):
    d = open_dialogue(TcpConfig(initial_window=30))
    rng = random.Random(size)
    data = rng.randbytes(20_000)
    for at in range(0, len(data), size):
        d.connection.write(data[at : at + size])
    d.flush()
    assert b"".join(bytes(s.payload) for _, s in d.sent) == data
    assert all(len(s.payload) == MSS for _, s in d.sent)
