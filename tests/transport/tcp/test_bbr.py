"""BBR by hand: a path that is only numbers (draft-ietf-ccwg-bbr, its appendix A among others)."""

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.congestion import AckSample, Bbr, Cubic
from asyncstack.transport.tcp.congestion.base import INFINITE
from asyncstack.transport.tcp.congestion.bbr.bounds import NO_BANDWIDTH, inflight_at_loss
from asyncstack.transport.tcp.congestion.bbr.model import Model
from asyncstack.transport.tcp.congestion.bbr.states import State
from tests.transport.tcp.pair import Pair

MSS = 1000
RTT = 0.1
BW = 1_000_000.0
BDP = int(BW * RTT)


class Path:
    """Feeds a controller one ACK per tenth of a round trip. `pipe`, `bw`, `rtt` are what the next ACKs say."""

    def __init__(self, seed=1, window=10 * MSS):
        self.control = Bbr()
        self.control.seed = seed
        self.control.start(MSS, window, RTT)
        self.now = 10.0
        self.delivered = 0
        self.history = [0] * 10  # what had been delivered when what is acknowledged now left
        self.bw, self.rtt, self.pipe = BW, RTT, BDP
        self.ce = 0.0  # share of marked bytes
        self.limited = self.app_limited = self.recovering = False

    def ack(self, lost=0, in_flight=None):
        newly = int(self.bw * self.rtt / 10)
        self.now += self.rtt / 10
        self.delivered += newly
        sample = AckSample()
        sample.acked = sample.delivered_now = newly
        sample.fresh = True
        sample.total_delivered = self.delivered
        sample.prior_delivered = self.history.pop(0)
        self.history.append(self.delivered)
        sample.delivered, sample.interval = int(self.bw * self.rtt), self.rtt
        sample.latest_rtt = sample.srtt = sample.rtt = self.rtt
        drained = self.control.state is State.PROBE_RTT
        sample.pipe = min(self.pipe, self.control.cwnd) if drained else self.pipe
        sample.in_flight = self.pipe if in_flight is None else in_flight
        sample.lost = sample.lost_since = lost
        sample.ce = int(newly * self.ce)
        sample.limited, sample.app_limited, sample.recovering = (
            self.limited,
            self.app_limited,
            self.recovering,
        )
        self.control.on_ack(sample, self.now)

    def lose(self, size=MSS, in_flight=BDP, lost=MSS):
        self.control.on_lost(size, in_flight, lost, self.delivered, self.app_limited)

    def rounds(self, count=1):
        for _ in range(round(10 * count)):
            self.ack()

    def until(self, state, limit=400):
        for _ in range(10 * limit):
            if self.control.state is state:
                return self
            self.ack()
        raise AssertionError(f"no {state} in {limit} round trips, still {self.control.state}")

    def cruising(self):
        return self.until(State.CRUISE)

    def probing(self):
        return self.cruising().until(State.UP)


def startup(rates):
    path = Path()
    for rate in rates:
        path.bw = rate
        path.rounds()
    return path


# startup and drain


def test_first_rate_sends_the_window_in_a_third_of_a_round_trip():
    control = Bbr()
    control.start(MSS, 10 * MSS, 0.05)
    assert control.pacing_rate == pytest.approx(2.77 * 10 * MSS / 0.05)
    assert control.state is State.STARTUP


def test_a_round_trip_unknown_at_first_is_a_millisecond_until_the_first_ack():
    path = Path()
    path.control.start(MSS, 10 * MSS)
    assert path.control.pacing_rate == pytest.approx(2.77 * 10 * MSS / 0.001)
    path.bw = 1000.0
    path.ack()
    assert path.control.pacing_rate == pytest.approx(2.77 * 10 * MSS / RTT)


def test_startup_ends_after_three_round_trips_without_growth():
    """A.1: less than a quarter more is no growth."""
    path = startup([BW / 8, BW / 4, BW / 2, BW])
    path.pipe = 3 * BDP
    assert path.control.state is State.STARTUP
    path.bw = BW * 1.2
    path.rounds(2)
    assert path.control.state is State.STARTUP
    path.rounds(2)
    assert path.control.state is State.DRAIN
    assert path.control.full.reached
    assert path.control.model.max_bw == pytest.approx(BW * 1.2)
    assert path.control.pacing_rate == pytest.approx(0.5 * 0.99 * BW * 1.2)


def test_growth_keeps_startup_going_and_rate_and_window_with_it():
    path = startup([1e4 * 1.3**n for n in range(12)])
    assert path.control.state is State.STARTUP
    top = 1e4 * 1.3**11
    assert path.control.pacing_rate == pytest.approx(2.77 * 0.99 * top, rel=1e-3)
    assert path.control.cwnd >= 2 * top * RTT


def test_a_limited_application_does_not_end_startup_nor_lower_its_rate():
    path = startup([BW / 4, BW / 2])
    before = path.control.pacing_rate
    path.app_limited = True
    path.bw = BW / 10
    path.rounds(20)
    assert path.control.state is State.STARTUP
    assert path.control.pacing_rate == before
    path.bw = BW
    path.ack()
    assert path.control.model.max_bw == pytest.approx(BW), "a larger rate counts whoever limited it"


@pytest.mark.parametrize(
    ("events", "lost", "recovering", "ends"),
    [(6, 4, True, True), (5, 4, True, False), (6, 1, True, False), (6, 4, False, False)],
)
def test_startup_ends_by_loss(events, lost, recovering, ends):
    """A.2: more than 2 % in six places of a round trip of recovery, also where the application is the limit."""
    path = startup([BW / 4, BW / 2, BW])
    path.app_limited, path.recovering = True, recovering
    path.pipe = BDP
    for _ in range(events):
        path.lose()
    for _ in range(10):
        path.ack(lost=lost * MSS)
    assert (path.control.state is not State.STARTUP) == ends
    if ends:
        assert path.control.bounds.inflight_long == pytest.approx(BDP, rel=0.05)


def test_drain_ends_when_the_queue_is_gone_or_after_three_round_trips():
    """A.3"""
    path = startup([BW] * 3)
    path.pipe = 2 * BDP
    path.until(State.DRAIN)
    path.rounds(2)
    assert path.control.state is State.DRAIN
    path.rounds(2.2)
    assert path.control.state is State.DOWN
    path = startup([BW] * 3)
    path.pipe = 2 * BDP
    path.until(State.DRAIN)
    path.pipe = BDP
    path.ack()
    assert path.control.state is not State.DRAIN


# the cycle


def test_gains_of_the_cycle():
    path = Path().cruising()
    assert path.control.pacing_rate == pytest.approx(0.99 * BW)
    assert path.control.cwnd == pytest.approx(2 * BDP, rel=0.1)
    path.until(State.REFILL)
    began = path.now
    path.until(State.UP)
    assert path.now - began == pytest.approx(RTT, rel=0.2), "one round trip"
    assert path.control.pacing_rate == pytest.approx(1.25 * 0.99 * BW)
    path.rounds(2)
    assert path.control.state is State.UP
    path.pipe = int(1.25 * BDP)
    path.rounds(2)
    assert path.control.state is State.DOWN, "no more is delivered: three round trips show it"
    assert path.control.pacing_rate == pytest.approx(0.9 * 0.99 * BW)
    path.pipe = BDP
    path.ack()
    assert path.control.state is State.CRUISE


def test_up_lasts_while_it_delivers_more():
    path = Path().probing()
    for _ in range(6):
        path.bw *= 1.3
        path.rounds()
        assert path.control.state is State.UP
    assert path.control.model.max_bw == pytest.approx(BW * 1.3**6, rel=1e-3)


def test_probes_come_by_the_clock_or_as_reno_would_and_by_chance():
    """5.3.3.8: 2 to 3 s; or as many round trips as segments are in flight, at most 63."""
    waits = set()
    for seed in range(6):
        path = Path(seed).cruising()
        began = path.now
        path.until(State.REFILL)
        waits.add(round(path.now - began, 2))
        assert 1.8 <= path.now - began <= 3.1
    assert len(waits) >= 4
    path = Path()
    path.bw, path.pipe = BW / 10, BDP // 10  # ten segments in flight
    path.cruising()
    began = path.now
    path.until(State.REFILL)
    assert path.now - began == pytest.approx(10 * RTT, abs=2.5 * RTT)


def test_the_bandwidth_of_two_cycles_ago_is_forgotten():
    path = Path().probing()
    path.bw = BW / 2
    path.until(State.DOWN).until(State.UP)
    assert path.control.model.max_bw == pytest.approx(BW), "this cycle and the last"
    path.until(State.DOWN).until(State.UP).until(State.DOWN)
    path.rounds(2)
    assert path.control.model.max_bw == pytest.approx(BW / 2)


# loss and ECN


def test_loss_while_cruising_brings_down_to_what_is_delivered():
    path = Path().cruising()
    path.rounds()
    path.bw = 0.9 * BW
    path.rounds()
    path.lose(size=5 * MSS)
    path.rounds(1.2)
    bounds = path.control.bounds
    assert bounds.bw_short == pytest.approx(0.9 * BW)
    assert bounds.inflight_short == pytest.approx(max(0.9 * BDP, 0.7 * 2 * BDP), rel=0.1)
    assert path.control.pacing_rate == pytest.approx(0.9 * BW)
    path.bw = 0.1 * BW
    path.rounds()
    path.lose(size=5 * MSS)
    path.rounds(1.2)
    assert bounds.bw_short == pytest.approx(0.7 * 0.9 * BW), "by at most 0.7 in a round trip"
    path.bw = BW
    path.until(State.REFILL)
    assert (bounds.bw_short, bounds.inflight_short) == (NO_BANDWIDTH, INFINITE)


@pytest.mark.parametrize(("lost", "congestion"), [(1, False), (3, False), (4, True), (20, True)])
def test_more_than_two_percent_beyond_chance_is_congestion(lost, congestion):
    """Of a hundred segments: two are allowed, and the standard deviation of two is 1.4."""
    path = Path().cruising()
    path.rounds()
    for _ in range(lost):
        path.lose()
    path.bw = 0.9 * BW
    path.rounds(2)
    assert (path.control.bounds.bw_short < NO_BANDWIDTH) == congestion
    path = Path().probing()
    path.lose(in_flight=100 * MSS, lost=lost * MSS)
    assert (path.control.state is State.DOWN) == congestion


def test_many_losses_in_a_round_trip_count_once():
    one, many = Path().cruising(), Path().cruising()
    for path, count in ((one, 5), (many, 20)):
        path.bw = 0.5 * BW
        path.rounds()
        for _ in range(count):
            path.lose()
        path.rounds(1.2)
    assert one.control.bounds.bw_short == many.control.bounds.bw_short == pytest.approx(0.7 * BW)


def test_a_probe_that_loses_little_goes_on():
    path = Path().probing()
    path.lose(in_flight=BDP, lost=int(0.02 * BDP))
    assert path.control.state is State.UP
    assert path.control.bounds.inflight_long == INFINITE


def test_a_probe_that_loses_too_much_ends_and_is_remembered():
    path = Path().probing()
    path.pipe = 2 * BDP
    path.lose(size=MSS, in_flight=150 * MSS, lost=6 * MSS)
    assert path.control.state is State.DOWN
    safe = inflight_at_loss(MSS, 150 * MSS, 6 * MSS)
    assert 149 * MSS <= safe <= 150 * MSS
    assert path.control.bounds.inflight_long == safe
    path.lose(size=MSS, in_flight=120 * MSS, lost=40 * MSS)
    assert path.control.bounds.inflight_long == safe, "once for each probe"
    path.pipe = int(0.8 * BDP)
    path.ack()
    path.ack()
    assert path.control.state is State.CRUISE
    assert path.control.cwnd <= 0.85 * safe, "room for others"


def test_the_bound_is_at_least_what_cubic_would_keep():
    path = Path().probing()
    path.lose(size=MSS, in_flight=20 * MSS, lost=6 * MSS)
    assert path.control.bounds.inflight_long == pytest.approx(0.7 * BDP, rel=0.01)


def too_much(path, in_flight=150 * MSS):
    path.lose(size=MSS, in_flight=in_flight, lost=6 * MSS)
    assert path.control.state is State.DOWN
    path.pipe = BDP
    return path


def test_after_that_comes_a_careful_probe_and_if_it_does_no_harm_a_real_one():
    """5.3.3.6"""
    path = too_much(Path().probing()).until(State.UP)
    path.pipe = 140 * MSS
    path.ack()
    assert path.control.state is State.DOWN, "the level that did harm is reached"
    path.pipe = BDP
    path.rounds(1.2)
    assert path.control.state is State.REFILL, "no harm: at once again"
    path.until(State.UP)
    path.pipe = 140 * MSS
    path.rounds(2)
    assert path.control.state is State.UP


def test_a_bound_in_the_way_is_raised_ever_faster():
    path = too_much(Path().probing(), in_flight=90 * MSS).until(State.UP)
    path.control.probe.too_high = False
    path.limited = True
    path.pipe = 80 * MSS
    raised = []
    for _ in range(5):
        before = path.control.bounds.inflight_long
        path.rounds()
        raised.append((path.control.bounds.inflight_long - before) // MSS)
    assert path.control.state is State.UP, "it is the bound that limits the rate"
    assert raised[0] <= 2
    assert raised[4] >= 8
    assert raised == sorted(raised)


def test_marks_count_as_congestion():
    """Each round trip takes alpha / 3 of what may be in flight; half of all marked ends Startup and a probe."""
    path = Path().cruising()
    path.ce = 0.2
    path.rounds(40)
    bounds = path.control.bounds
    assert bounds.alpha == pytest.approx(0.2, abs=0.03)
    before = bounds.inflight_short
    path.rounds()
    assert bounds.inflight_short == pytest.approx(before * (1 - 0.2 / 3), rel=0.03)
    path = Path().probing()
    path.ce = 0.6
    path.rounds(2.2)
    assert path.control.state is not State.UP
    assert path.control.bounds.inflight_long < INFINITE
    path = Path()
    path.ce = 0.6
    path.bw = BW / 10
    for _ in range(4):
        path.bw *= 1.5
        path.rounds()
    assert path.control.state is not State.STARTUP


def test_an_ecn_echo_is_a_loss_of_its_round_trip():
    path = Path().cruising()
    path.bw = 0.5 * BW
    path.rounds()
    path.control.on_congestion_event(BDP, path.now)
    path.rounds(1.2)
    assert path.control.bounds.bw_short == pytest.approx(0.7 * BW)


# ProbeRTT and min_rtt


def test_probe_rtt_when_no_smaller_round_trip_was_seen_for_five_seconds():
    path = Path().cruising()
    path.rtt = 1.5 * RTT
    path.until(State.PROBE_RTT, 100)
    began, control = path.now, path.control
    assert began - 10.0 == pytest.approx(5.0, abs=0.5)
    path.pipe = BDP
    path.ack()
    assert control.cwnd == pytest.approx(BDP / 2, rel=0.05)
    assert control.pacing_rate == pytest.approx(0.99 * BW)
    path.pipe, path.rtt, path.bw = BDP // 2, RTT, BW / 2
    path.until(State.CRUISE, 20)
    assert path.now - began >= 0.2
    assert path.now - began <= 0.2 + 4 * RTT
    assert control.model.max_bw == pytest.approx(BW), "what was sent slowly on purpose says nothing"
    assert control.bounds.bw_short == NO_BANDWIDTH
    assert control.cwnd > 1.5 * BDP
    path.bw, path.pipe = BW, BDP
    began = path.now
    path.until(State.PROBE_RTT, 100)
    assert path.now - began == pytest.approx(5.0, abs=0.3)


def test_min_rtt_rises_after_ten_seconds_only():
    model = Model(0.0)
    model.update_min_rtt(0.1, 0.0)
    for n in range(1, 99):
        model.update_min_rtt(0.2, n / 10)
        assert model.min_rtt == 0.1
    model.update_min_rtt(0.2, 10.1)
    assert model.min_rtt == 0.2
    model.update_min_rtt(0.0, 10.2)
    assert model.min_rtt == 0.2, "no sample"


def test_a_pause_is_as_good_as_probe_rtt():
    path = Path().cruising()
    path.now += 30.0
    path.control.on_idle(30.0, 0.3, path.now)
    assert path.control.pacing_rate == pytest.approx(0.99 * BW)
    window = path.control.cwnd
    path.ack()
    assert path.control.state is not State.PROBE_RTT
    assert path.control.cwnd == pytest.approx(window, rel=0.1), "and the window is kept"


# recovery


def test_timeout_starts_from_one_segment_and_keeps_the_rate():
    path = Path().cruising()
    window, rate = path.control.cwnd, path.control.pacing_rate
    path.control.on_timeout(BDP, True, path.now)
    assert path.control.cwnd == MSS
    path.ack()
    assert path.control.cwnd == MSS + int(BW * RTT / 10)
    path.rounds(1.1)
    assert path.control.cwnd == pytest.approx(window, rel=0.1), "all of it has arrived"
    assert path.control.pacing_rate == pytest.approx(rate)


def test_recovery_that_was_a_mistake_is_undone():
    path = Path().cruising()
    path.bw = 0.5 * BW
    path.rounds()
    path.lose(size=5 * MSS)
    path.rounds(1.2)
    assert path.control.bounds.bw_short < BW
    path.control.on_undo(path.now)
    assert path.control.bounds.bw_short == NO_BANDWIDTH
    path = too_much(Path().probing())
    path.control.on_undo(path.now)
    assert path.control.state is State.REFILL
    assert path.control.bounds.inflight_long == INFINITE
    path = startup([BW / 4, BW / 2, BW])
    path.recovering = True
    for _ in range(6):
        path.lose()
    for _ in range(10):
        path.ack(lost=5 * MSS)
    assert path.control.state is not State.STARTUP
    path.control.on_undo(path.now)
    assert path.control.state is State.STARTUP
    assert not path.control.full.reached


# window


def test_acks_that_come_in_heaps_get_a_larger_window():
    """5.5.9: once per round trip a heap of all that was delivered."""
    model = Model(RTT)
    model.update_aggregation(0, BW, 1 << 30, 10, 1.0)
    for n in range(1, 6):
        model.rounds = n
        model.update_aggregation(BDP, BW, 1 << 30, 10, 1.0 + n * RTT)
    assert BDP // 2 <= model.extra_acked <= BDP
    for n in range(6, 17):
        model.rounds = n
        model.update_aggregation(BDP // 100, BW, 1 << 30, 10, 1.0 + n * RTT)
    assert model.extra_acked <= BDP // 100, "of the last ten round trips"


def test_never_below_four_segments_nor_slower_than_they_are():
    path = Path()
    path.bw, path.pipe = 2000.0, MSS
    path.rounds(60)
    assert path.control.cwnd >= 4 * MSS
    assert path.control.pacing_rate >= 4 * MSS / RTT


def test_swapped_at_work():
    pair = Pair(config_a=TcpConfig(congestion="cubic"), delay=0.01, rate=2e6)
    pair.a.to_send = bytes(3_000_000)
    pair.open()
    snd = pair.a.connection.sender
    for kind, share in ((Bbr, 3), (Cubic, 1.5)):
        pair.run_while(lambda share=share: len(pair.b.received) < len(pair.a.to_send) / share / 2)
        window = snd.congestion.cwnd
        snd.set_controller(kind, pair.now)
        assert snd.congestion.cwnd == window
        assert (snd.pacer is None) == (kind is Cubic)
        assert (snd.board.on_lost is None) == (kind is Cubic)
    start, before = pair.now, len(pair.b.received)
    pair.run()
    assert pair.b.received == pair.a.to_send
    assert before < len(pair.a.to_send)
    assert start < pair.now
