"""Whole transfers over bad links: all bytes arrive, both ends end, in bounded time. Property tests by seed."""

import random
from dataclasses import replace

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.state import State
from tests.transport.tcp.pair import Pair

ENDED = (State.CLOSED, State.TIME_WAIT)


def check_complete(pair):
    a, b = pair.a, pair.b
    assert bytes(b.received) == a.to_send
    assert bytes(a.received) == b.to_send
    for end in (a, b):
        assert end.connection.state in ENDED
        assert end.connection.error == 0
        assert end.connection.queued == 0
        assert end.connection.deadline == float("inf")
        assert end.events.count("opened") == end.events.count("eof") == end.events.count("closed") == 1
        assert end.events[0] == "opened"


def random_config(rng):
    return TcpConfig(
        congestion=rng.choice(["cubic", "reno", "bbr"]),
        receive_buffer=rng.choice([3000, 20_000, 100_000, 1 << 20]),
        timestamps=rng.random() < 0.7,
        sack=rng.random() < 0.7,
        window_scaling=rng.random() < 0.8,
        nodelay=rng.random() < 0.5,
        max_out_of_order_ranges=rng.choice([1, 3, 128]),
    )


def random_pair(seed):
    rng = random.Random(seed)
    mss = rng.choice([100, 536, 1460, 9000])
    pair = Pair(
        seed,
        random_config(rng),
        random_config(rng),
        mss=mss,
        most=rng.choice([mss, 4 * mss, 60_000 if mss < 60_000 else mss]),
        delay=rng.choice([0.0, 0.001, 0.03, 0.2]),
        jitter=rng.choice([0.0, 0.0, 0.01]),
        loss=rng.choice([0.0, 0.01, 0.05, 0.2]),
        duplicate=rng.choice([0.0, 0.1]),
        reorder=rng.choice([0.0, 0.02, 0.2]),
        rate=rng.choice([float("inf"), 1e6]),
        cutting=rng.random() < 0.8,
    )
    for end in (pair.a, pair.b):
        end.to_send = rng.randbytes(rng.choice([0, 1, 1000, 30_000, 150_000]))
        end.chunk = rng.choice([1, 7, 1000, 100_000]) if len(end.to_send) < 40_000 else 50_000
        end.read_every = rng.choice([0.0, 0.0, 0.05])
    return pair


@pytest.mark.parametrize("block", range(10))
def test_all_bytes_arrive_whatever_the_link_does(block):
    for seed in range(block * 30, block * 30 + 30):
        pair = random_pair(seed)
        pair.open()
        start = pair.now
        pair.run(20_000.0)
        try:
            check_complete(pair)
            assert pair.now - start < 5000.0
        except AssertionError:
            print(f"seed {seed}: {pair.a.connection.info(pair.now)}\n{pair.b.connection.info(pair.now)}")
            raise


def test_same_seed_same_run():
    def run():
        pair = random_pair(77)
        pair.open()
        pair.run()
        sent = pair.a.link.carried + pair.b.link.carried
        return [(t, repr(replace(s, payload=bytes(s.payload)))) for t, s in sent]

    assert run() == run()


def transfer(size, **link):
    pair = Pair(**link)
    pair.a.to_send = random.Random(5).randbytes(size)
    pair.open()
    start = pair.now
    pair.run()
    check_complete(pair)
    return size / (pair.now - start), pair


@pytest.mark.parametrize("congestion", ["cubic", "reno", "bbr"])
def test_goodput_without_loss_fills_the_window(congestion):
    config = TcpConfig(congestion=congestion)
    rate, pair = transfer(5_000_000, config_a=config, config_b=config, delay=0.01)
    assert rate > 0.35 * (1 << 20) / 0.02, "slow start included"
    assert pair.a.connection.info(pair.now).total_retrans == 0


@pytest.mark.parametrize("congestion", ["cubic", "reno", "bbr"])
def test_goodput_at_one_percent_loss(congestion):
    """The square-root law: MSS/RTT * 1.22/sqrt(p) is 883 kB/s here; a stack that waits for timers gets a tenth."""
    config = TcpConfig(congestion=congestion)
    rates = [
        transfer(1_500_000, seed=seed, config_a=config, config_b=config, delay=0.01, loss=0.01)[0]
        for seed in range(3)
    ]
    assert sorted(rates)[1] > 500_000


def test_bottleneck_is_filled():
    """2 MB/s, 40 ms: the window finds the rate, overshoots once, and keeps it."""
    rate, _ = transfer(8_000_000, delay=0.02, rate=2e6)
    assert rate > 0.9 * 2e6 * 1448 / 1500


def test_small_writes_leave_in_full_segments():
    pair = Pair(delay=0.001)
    pair.a.to_send = bytes(100_000)
    pair.a.chunk = 10
    pair.open()
    pair.run()
    check_complete(pair)
    data = [len(s.payload) for _, s in pair.a.link.carried if s.payload]
    assert len(data) <= 100_000 // 1448 + 5


def test_slow_reader_gets_everything_and_holds_little():
    config = TcpConfig(receive_buffer=50_000)
    pair = Pair(config_b=config, delay=0.005)
    pair.a.to_send = random.Random(1).randbytes(1_000_000)
    pair.b.read_every = 0.1
    most = 0
    pair.open()
    while pair.step():
        most = max(most, pair.b.connection.unread)
    check_complete(pair)
    assert 40_000 < most <= 50_000


def test_reader_that_never_reads_holds_one_window_and_the_sender_lives_on():
    config = TcpConfig(receive_buffer=50_000)
    pair = Pair(config_b=config, delay=0.005)
    pair.a.to_send = bytes(300_000)
    pair.b.read_at = float("inf")
    pair.b.close_after = False
    pair.open()
    pair.run(5000.0)
    assert pair.b.connection.unread <= 50_000
    assert pair.a.connection.state in (State.ESTABLISHED, State.FIN_WAIT_1)
    probes = [t for t, s in pair.a.link.carried if not s.payload]
    assert len(probes) < 70, "ever less often"
    pair.b.read_at = 0.0
    pair.b.close_after = True
    pair.run(1000.0)
    check_complete(pair)


@pytest.mark.parametrize("who", ["a", "b"])
def test_abort_in_the_middle_ends_both(who):
    pair = Pair(delay=0.01)
    pair.a.to_send = pair.b.to_send = bytes(2_000_000)
    pair.open()
    pair.run(0.05)
    aborting, other = (pair.a, pair.b) if who == "a" else (pair.b, pair.a)
    aborting.connection.abort(pair.now)
    pair.run(10.0)
    assert aborting.connection.state is other.connection.state is State.CLOSED
    assert aborting.connection.error == 0
    assert other.connection.error == 104
    assert pair.now < 100.5


def test_simultaneous_close():
    pair = Pair(delay=0.01)
    pair.a.close_after = pair.b.close_after = False
    pair.open()
    pair.run(1.0)
    pair.a.connection.shutdown(pair.now)
    pair.b.connection.shutdown(pair.now)
    pair.run(10.0)
    assert pair.a.connection.state is pair.b.connection.state is State.TIME_WAIT


def test_peer_that_vanishes():
    """No answer at all any more: the sender gives up at its user timeout, the idle one by keepalive."""
    keen = TcpConfig(
        keepalive=True, keepalive_idle=10.0, keepalive_interval=1.0, keepalive_count=3, user_timeout=30.0
    )
    pair = Pair(config_a=keen, config_b=keen, delay=0.01)
    pair.a.to_send = bytes(100_000)
    pair.a.close_after = pair.b.close_after = False
    pair.open()
    pair.run(0.035)
    pair.a.link.loss = pair.b.link.loss = 1.0
    pair.run(1000.0)
    assert pair.a.connection.state is pair.b.connection.state is State.CLOSED
    assert pair.a.connection.error == pair.b.connection.error == 110
    assert pair.now < 150.0
