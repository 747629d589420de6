"""Pacing: what leaves keeps to a rate, whatever the timers do, and nothing hangs for it."""

import math
import random

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.congestion import CongestionControl
from asyncstack.transport.tcp.timers import NEVER, PACE
from tests.transport.tcp.dialogue import Dialogue
from tests.transport.tcp.pair import Pair

MSS = 1000
RATE = 1_000_000.0


class Steady(CongestionControl):
    """A large window, and a rate."""

    __slots__ = ()

    name = "steady"
    segments = 1000

    def start(self, mss: int, window: int, srtt: float = 0.0) -> None:
        super().start(mss, self.segments * mss, srtt)
        self.pacing_rate = RATE


def paced(config=None, most=0, **options):
    d = Dialogue(
        config or TcpConfig(congestion=Steady),
        mss=MSS,
        most=most,
        peer_mss=MSS,
        timestamps=False,
        window=1 << 22,
        **options,
    )
    d.inject("S", seq=0, ack=None)
    d.expect("SA", seq=0, ack=1)
    d.wait(0.1)
    d.inject("A", seq=1, ack=1)
    return d


def departures(d):
    sent = [(round(time, 6), len(segment.payload)) for time, segment in d.sent if segment.payload]
    d.sent.clear()
    return sent


def test_ten_segments_at_once_then_one_after_the_other():
    d = paced()
    d.write(100 * MSS)
    assert departures(d) == [(0.1, MSS)] * 11, "the credit of ten, and one on credit"
    d.wait(0.0045)
    assert departures(d) == [(0.101, MSS), (0.102, MSS), (0.103, MSS), (0.104, MSS)]


def test_a_super_segment_carries_a_millisecond_of_the_rate_and_at_least_two_segments():
    sizes = {}
    for rate in (1e5, RATE, 8e6, 1e9):
        d = paced(most=16 * MSS)
        d.connection.sender.congestion.pacing_rate = rate
        d.write(200 * MSS)
        d.wait(0.001)
        sizes[rate] = departures(d)[0][1]
    assert sizes == {1e5: 2 * MSS, RATE: 2 * MSS, 8e6: 8 * MSS, 1e9: 16 * MSS}


def test_a_rate_that_changes_holds_for_what_is_not_paid():
    d = paced()
    d.write(100 * MSS)
    departures(d)
    d.connection.sender.congestion.pacing_rate = RATE / 10
    d.wait(0.0005)  # nothing asks yet: the timer stands at 1 ms, and finds a tenth of the segment paid
    d.wait(0.0115)
    assert departures(d) == [(0.11, MSS)]


@pytest.mark.parametrize("tick", [0.001, 0.0017, 0.0025])
def test_late_timers_lose_no_rate(tick):
    """A loop that wakes up only now and then: uvloop rounds to milliseconds, and callbacks take their time."""
    d = paced(most=16 * MSS)
    connection = d.connection
    connection.sender.congestion.pacing_rate = rate = 2e6
    connection.write(bytes(1000 * MSS))
    sent, now = 0, 0.1

    def ask():
        connection.timer_expired(now)
        burst = 0
        while (segment := connection.segment_to_send(now)) is not None:
            burst += len(segment.payload)
        return burst

    while now < 0.35:
        sent += ask()
        now += tick
    assert (sent - 10 * MSS) / 0.25 == pytest.approx(rate, rel=0.03)
    now += 0.5
    assert 0 < ask() <= 0.002 * rate + 2 * 2 * MSS, "a loop that was away for long does not make up for it"


def test_a_pause_earns_no_burst():
    d = paced()
    d.write(10 * MSS)
    d.wait(0.1)
    d.inject(ack=1 + 10 * MSS)
    d.wait(5.0)
    departures(d)
    d.write(50 * MSS)
    assert len(departures(d)) <= 4


def test_no_timer_for_what_does_not_wait():
    d = paced()
    d.write(11 * MSS)
    assert d.connection.timers[PACE] == NEVER, "all has left"
    d.wait(0.01)
    d.write(2 * MSS)
    assert d.connection.timers[PACE] == NEVER
    d.write(20 * MSS)
    assert d.connection.timers[PACE] == pytest.approx(0.111, abs=0.002)


def test_a_full_window_waits_for_acks_not_for_the_timer():
    class Small(Steady):
        name = "small"
        segments = 11

    d = paced(TcpConfig(congestion=Small))
    d.write(50 * MSS)
    assert len(departures(d)) == 11
    assert d.connection.timers[PACE] == NEVER


def test_acks_are_not_paced():
    d = paced()
    d.write(100 * MSS)
    departures(d)
    for _ in range(2):
        d.inject(data=b"x" * MSS)
    for at_once in (1, 2):
        assert d.expect("A", ack=1 + at_once * MSS)


def test_repetitions_are_paced_and_counted():
    d = paced()
    d.write(40 * MSS)
    d.wait(0.012)
    departures(d)
    d.inject(ack=1, sack=((1 + 10 * MSS, 1 + 20 * MSS),))
    d.wait(0.006)
    assert [round((time - d.now) * 1000) for time, _ in d.sent] == list(range(-5, 1))
    assert {segment.seq for _, segment in d.sent} != set()


def test_the_rate_of_the_whole_transfer():
    """No rate of the controller's: the bound of the settings is the rate, and it is kept."""
    config = TcpConfig(congestion="reno", max_pacing_rate=RATE, send_buffer=8 << 20)
    pair = Pair(config_a=config, delay=0.005)
    pair.a.to_send = bytes(2_000_000)
    pair.open()
    start = pair.now
    pair.run_while(lambda: len(pair.b.received) < len(pair.a.to_send))
    assert pair.now - start == pytest.approx(2.0, rel=0.03)


def test_linux_pacing_of_a_window():
    """Twice the window per round trip below half of ssthresh, else 1.2 times."""
    pair = Pair(config_a=TcpConfig(pacing=True), delay=0.05)
    pair.a.to_send = bytes(4_000_000)
    pair.open()
    pair.run_while(lambda: len(pair.b.received) < 100_000)
    snd = pair.a.connection.sender
    info = pair.a.connection.info(pair.now)
    assert info.pacing_rate == pytest.approx(2 * max(snd.congestion.cwnd, snd.pipe) / snd.rtt.srtt)
    snd.congestion.ssthresh = snd.congestion.cwnd
    info = pair.a.connection.info(pair.now)
    assert info.pacing_rate == pytest.approx(1.2 * max(snd.congestion.cwnd, snd.pipe) / snd.rtt.srtt)
    pair.run()
    assert pair.b.received == pair.a.to_send


def test_pacing_begins_and_ends_while_the_connection_lives():
    d = Dialogue.established(TcpConfig(congestion="reno"), mss=MSS, most=16 * MSS, peer_mss=MSS)
    snd = d.connection.sender
    assert snd.pacer is None
    assert d.connection.info(0.0).pacing_rate == 0.0
    snd.set_controller(Steady, d.now)
    assert snd.pacer is not None
    d.write(20 * MSS)
    assert d.connection.timers[PACE] != NEVER
    d.connection.configure(TcpConfig(max_pacing_rate=RATE / 2), d.now)
    assert snd.pacer.rate(snd) == RATE / 2
    d.connection.configure(TcpConfig(), d.now)
    from asyncstack.transport.tcp.congestion import Cubic

    snd.set_controller(Cubic, d.now)
    assert snd.pacer is None
    assert d.connection.timers[PACE] == NEVER
    assert snd.limit == snd.largest


@pytest.mark.parametrize("seed", range(8))
def test_nothing_hangs(seed):
    """Bad links, small buffers, readers that pause: a paced transfer ends as any other."""
    rng = random.Random(seed)
    config = TcpConfig(
        congestion=rng.choice(["reno", "cubic"]),
        pacing=True,
        max_pacing_rate=rng.choice([20_000.0, 300_000.0, math.inf]),
        receive_buffer=rng.choice([4096, 65536]),
        nodelay=rng.random() < 0.5,
    )
    pair = Pair(seed, config, config, delay=0.02, loss=0.05, reorder=0.1, duplicate=0.05)
    pair.a.to_send, pair.b.to_send = rng.randbytes(60_000), rng.randbytes(20_000)
    pair.b.read_every = rng.choice([0.0, 0.3])
    pair.open()
    pair.run()
    assert pair.b.received == pair.a.to_send
    assert pair.a.received == pair.b.to_send


def test_a_path_without_any_delay_is_no_reason_to_count_nanoseconds():
    """A simulated clock that stands still, and a rate beyond all measure."""
    pair = Pair(config_a=TcpConfig(congestion="bbr"), delay=0.0)
    pair.a.to_send = bytes(300_000)
    pair.open()
    for _ in range(3000):
        if not pair.step(pair.now + 600.0):
            break
    assert len(pair.b.received) == len(pair.a.to_send)
