"""Buffers that tune themselves (Linux: tcp_rcv_space_adjust, tcp_sndbuf_expand): as dialogues, and over a long path."""

from dataclasses import replace

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.buffers import ReceiveTuning, initial_receive_buffer, send_buffer_limit
from tests.transport.tcp.dialogue import Dialogue

MSS = 1448
RTT = 0.1


def round_trips(d, count, segments, *, read=True):
    """`count` times: `segments` full segments that the last ACK let go arrive a round trip later."""
    for _ in range(count):
        d.wait(RTT + 0.002)
        for _ in range(segments):
            if d.connection.receiver.edge - d.connection.receiver.nxt >= MSS:
                d.inject(data=bytes(MSS))
        if read:
            d.read()


def established(config=None, **options):
    """The handshake took a round trip."""
    d = Dialogue(config, **options)
    d.inject("S", seq=0, ack=None)
    d.expect("SA")
    d.wait(RTT)
    d.inject("A", seq=1, ack=1)
    return d


def test_first_window_is_64_kib_and_the_shift_fits_the_limit():
    d = Dialogue()
    d.inject("S", seq=0, ack=None)
    answer = d.expect("SA")
    assert (answer.window, answer.window_scale) == (65535, 7)
    d.inject("A", seq=1, ack=1)
    d.inject(data=b"x")
    d.expect("A", window=64 << 10)


@pytest.mark.parametrize("timestamps", [True, False])
def test_window_grows_with_what_is_read_in_a_round_trip(timestamps):
    d = established(timestamps=timestamps)
    for segments in (10, 20, 40, 80, 160, 320, 640):
        before = d.connection.receiver.nxt
        round_trips(d, 1, segments)
        if segments < 640:
            assert d.connection.receiver.nxt - before == segments * MSS, (
                "the window held no flight of slow start back"
            )
    assert 1_000_000 < d.connection.receiver.buffer < 6_000_000


def test_window_stops_at_the_limit():
    d = established(TcpConfig(receive_buffer=300_000))
    round_trips(d, 20, 1000)
    assert d.connection.receiver.buffer == 300_000
    assert d.connection.info(d.now).rcv_space == 300_000


def test_steady_stream_keeps_its_window():
    """Twice what arrives in a round trip is enough: no growth without need."""
    d = established()
    round_trips(d, 100, 20)
    assert d.connection.receiver.buffer < 1_000_000  # two round trips may count as one


def test_reader_who_does_not_read_keeps_a_small_window():
    d = established()
    round_trips(d, 20, 100, read=False)
    assert d.connection.receiver.buffer == 64 << 10
    assert d.connection.unread <= 64 << 10
    assert d.connection.receiver.edge - d.connection.receiver.nxt < MSS


def test_slow_reader_keeps_a_small_window():
    """Ten segments a round trip are read, whatever the peer would send."""
    d = established()
    receiver = d.connection.receiver
    for _ in range(50):
        d.wait(RTT + 0.002)
        while receiver.edge - receiver.nxt >= MSS:
            d.inject(data=bytes(MSS))
        receiver.take(10 * MSS)
        d.flush()
    assert receiver.buffer < 300_000


def test_pause_of_the_sender_is_no_long_round_trip():
    """After a minute of silence the window still grows within a few round trips."""
    d = established()
    round_trips(d, 1, 10)
    d.wait(60.0)
    for segments in (10, 20, 40, 80, 160):
        round_trips(d, 1, segments)
    assert d.connection.receiver.buffer > 300_000


def test_without_any_round_trip_time_a_full_window_measures_one():
    tuning = ReceiveTuning(0, 64 << 10, MSS, 0.0, 0.0)
    assert tuning.look(30_000, 0, MSS, -1.0, 0.05) == 0
    assert (tuning.rtt, tuning.due(0.05)) == (0.0, 0.05)
    assert tuning.look(64 << 10, 0, MSS, -1.0, 0.2) > 128 << 10
    assert (tuning.rtt, tuning.due(0.2)) == (0.2, 0.4)


def test_so_rcvbuf_switches_the_tuning_off():
    d = established(TcpConfig(receive_buffer=50_000, tune_receive_buffer=False))
    round_trips(d, 20, 100)
    assert d.connection.receiver.buffer == 50_000
    tuned = established()
    fixed = replace(tuned.connection.config, receive_buffer=100_000, tune_receive_buffer=False)
    tuned.connection.configure(fixed, tuned.now)
    round_trips(tuned, 20, 100)
    assert tuned.connection.receiver.buffer == 100_000


def test_tuning_switched_on_again_goes_on_from_there():
    d = established(TcpConfig(receive_buffer=50_000, tune_receive_buffer=False))
    d.connection.configure(TcpConfig(), d.now)
    assert d.connection.receiver.buffer == 50_000
    for segments in (30, 60, 120):
        round_trips(d, 1, segments)
    assert d.connection.receiver.buffer > 200_000


def test_smaller_limit_takes_back_nothing_that_was_promised():
    d = established()
    for segments in (10, 20, 40, 80, 160):
        round_trips(d, 1, segments)
    edge = d.connection.receiver.edge
    d.connection.configure(TcpConfig(receive_buffer=20_000), d.now)
    d.inject(data=b"x")
    d.wait(0.1)
    assert d.connection.receiver.buffer == 20_000
    assert d.connection.receiver.edge == edge


def test_no_window_update_after_the_fin():
    """The peer needs no window any more, and may have forgotten us: it would answer RST."""
    d = established(TcpConfig(receive_buffer=10 * MSS))
    for _ in range(10):
        d.inject(data=bytes(MSS))
    d.inject("FA")
    d.wait(0.1)
    d.sent.clear()
    d.wait(70.0)
    assert len(d.read()) == 10 * MSS
    d.quiet()


def test_initial_buffers():
    assert initial_receive_buffer(TcpConfig()) == 64 << 10
    assert initial_receive_buffer(TcpConfig(receive_buffer=5000)) == 5000
    assert initial_receive_buffer(TcpConfig(receive_buffer=1 << 20, tune_receive_buffer=False)) == 1 << 20


@pytest.mark.parametrize(
    ("config", "cwnd", "limit"),
    [
        (TcpConfig(), 14_480, 128 << 10),
        (TcpConfig(), 1_000_000, 2_000_000),
        (TcpConfig(), 3_000_000, 4 << 20),
        (TcpConfig(send_buffer=5000), 14_480, 5000),
        (TcpConfig(send_buffer=50_000), 14_480, 50_000),
        (TcpConfig(send_buffer=1 << 20, tune_send_buffer=False), 14_480, 1 << 20),
    ],
)
def test_send_buffer_follows_the_congestion_window(config, cwnd, limit):
    assert send_buffer_limit(config, cwnd) == limit
