"""The controllers, driven by hand (RFC 5681, 6582, 9438), and the RTO (RFC 6298)."""

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.congestion import AckSample, Cubic, Reno
from asyncstack.transport.tcp.congestion.base import INFINITE
from asyncstack.transport.tcp.connection import Connection
from asyncstack.transport.tcp.rtt import RttEstimator

MSS = 1000
RTT = 0.1


def started(kind, segments=10):
    control = kind()
    control.start(MSS, segments * MSS)
    return control


def ack(control, now, acked=MSS, limited=True):
    sample = AckSample()
    sample.acked, sample.limited, sample.srtt = acked, limited, RTT
    control.on_ack(sample, now)


def round_trip(control, now):
    """Everything in the window is acknowledged, a segment at a time."""
    count = control.cwnd // MSS
    for n in range(count):
        ack(control, now + RTT * n / count)


both = pytest.mark.parametrize("kind", [Reno, Cubic], ids=["reno", "cubic"])


@both
def test_slow_start_doubles_per_round_trip(kind):
    control = started(kind)
    for n in range(4):
        assert control.cwnd == 10 * MSS * 2**n
        round_trip(control, n * RTT)


@both
def test_slow_start_ends_at_ssthresh(kind):
    control = started(kind, 20)
    control.on_timeout(20 * MSS, True, 0.0)
    threshold = control.ssthresh
    assert control.cwnd == MSS
    ack(control, 0.0, acked=threshold - MSS)
    assert control.cwnd == threshold
    ack(control, 0.0, acked=MSS)
    assert threshold <= control.cwnd < threshold + MSS // 2


@both
def test_unused_window_does_not_grow(kind):
    control = started(kind)
    ack(control, 0.0, limited=False)
    control.on_congestion_event(10 * MSS, 0.0)
    before = control.cwnd
    for n in range(1000):
        ack(control, n * 0.1, limited=False)
    assert control.cwnd == before


@both
def test_never_below_two_segments_after_loss(kind):
    control = started(kind, 2)
    for _ in range(5):
        control.on_congestion_event(control.cwnd, 0.0)
        assert control.cwnd == control.ssthresh == 2 * MSS


@both
def test_second_timeout_for_the_same_data_leaves_ssthresh(kind):
    control = started(kind, 20)
    control.on_timeout(20 * MSS, True, 0.0)
    threshold = control.ssthresh
    control.on_timeout(20 * MSS, False, 1.0)
    assert (control.cwnd, control.ssthresh) == (MSS, threshold)


@both
def test_recovery_ends_at_ssthresh_rfc9937(kind):
    control = started(kind, 20)
    control.on_congestion_event(20 * MSS, 0.0)
    after = control.ssthresh
    control.on_recovery_exit(after, 0.0)
    assert control.cwnd == after


# a window that is not used (RFC 2861, RFC 7661)


def unused(control, used, start, seconds):
    """ACKs every 10 ms that find `used` bytes in flight at most."""
    now = start
    while now < start + seconds:
        sample = AckSample()
        sample.acked = sample.delivered_now = MSS
        sample.pipe, sample.srtt = used - MSS, RTT
        control.on_ack(sample, now)
        now += 0.01
    return now


@both
def test_idle_halves_per_rto_down_to_the_initial_window(kind):
    control = started(kind)
    ack(control, 0.0, acked=90 * MSS)
    control.on_idle(0.5, 0.2, 1.0)
    assert control.cwnd == 25 * MSS
    control.on_idle(1e9, 0.2, 1e9)
    assert control.cwnd == 10 * MSS


@both
def test_ssthresh_remembers_the_window_of_before_the_pause(kind):
    control = started(kind, 20)
    control.on_congestion_event(40 * MSS, 0.0)
    window = control.cwnd = control.ssthresh = 80 * MSS
    control.on_idle(0.5, 0.2, 1.0)
    assert (control.cwnd, control.ssthresh) == (window // 4, window)
    control.ssthresh, control.cwnd = 20 * MSS, window
    control.on_idle(0.5, 0.2, 1.0)
    assert control.ssthresh == window * 3 // 4


@both
def test_an_unused_window_comes_halfway_down_once_per_rto(kind):
    control = started(kind)
    ack(control, 1.0, acked=90 * MSS)
    now = unused(control, 20 * MSS, 1.0, 0.29)
    assert control.cwnd == 100 * MSS, "not before an RTO has passed: 300 ms"
    now = unused(control, 20 * MSS, now, 0.05)
    assert control.cwnd == 60 * MSS
    now = unused(control, 20 * MSS, now, 0.30)
    assert control.cwnd == 40 * MSS
    unused(control, 20 * MSS, now, 10.0)
    assert 20 * MSS <= control.cwnd <= 21 * MSS


@both
def test_an_unused_window_does_not_fall_below_the_initial_one(kind):
    control = started(kind)
    ack(control, 1.0, acked=90 * MSS)
    unused(control, 2 * MSS, 1.0, 20.0)
    assert 10 * MSS <= control.cwnd <= 11 * MSS


@both
def test_a_window_that_is_full_now_and_then_stays(kind):
    control = started(kind)
    now = 1.0
    ack(control, now, acked=90 * MSS)
    for _ in range(20):
        window = control.cwnd
        now = unused(control, 20 * MSS, now, 0.2)
        assert control.cwnd == window
        ack(control, now)


@both
def test_rfc_7661_keeps_the_window_for_five_minutes(kind):
    control = started(kind)
    control.slow_start_after_idle = False
    ack(control, 1.0, acked=90 * MSS)
    control.on_idle(10.0, 0.3, 11.0)
    now = unused(control, 20 * MSS, 11.0, 20.0)
    assert control.cwnd == 100 * MSS
    control.on_idle(280.0, 0.3, 301.5)
    now = unused(control, 20 * MSS, 301.5, 0.1)
    assert control.cwnd == 50 * MSS
    control.on_idle(400.0, 0.3, 800.0)
    assert control.cwnd == 25 * MSS
    assert now < 800.0


def test_rfc_7661_reduces_from_what_was_in_use():
    """4.4.1: nobody knows whether the path would have carried the rest."""
    kept, decayed = started(Cubic), started(Cubic)
    kept.slow_start_after_idle = False
    for control in (kept, decayed):
        ack(control, 1.0, acked=90 * MSS)
        unused(control, 20 * MSS, 1.0, 0.1)
        control.on_congestion_event(15 * MSS, 2.0)
    assert kept.ssthresh == 14 * MSS
    assert decayed.ssthresh == 70 * MSS, "Linux"


def test_taking_over_in_recovery_needs_no_history():
    """The controller before had reduced the window in its own way, or had no threshold at all."""
    for ssthresh in (INFINITE, 5 * MSS):
        before = started(Reno, 20)
        before.ssthresh = ssthresh
        control = Cubic()
        control.take_over(before, RTT, 1.0)
        sample = AckSample()
        sample.recovering, sample.delivered_now, sample.pipe, sample.sent = True, MSS, 15 * MSS, 10
        control.on_ack(sample, 1.0)
        control.on_recovery_exit(5 * MSS, 1.0)
        assert MSS <= control.cwnd <= 20 * MSS


def test_reno_halves_what_is_in_flight_and_adds_a_segment_per_round_trip():
    control = started(Reno, 20)
    control.on_congestion_event(18 * MSS, 0.0)
    assert control.cwnd == 9 * MSS
    for n in range(1, 11):
        round_trip(control, n * RTT)
        assert 0.85 * n <= control.cwnd / MSS - 9 <= n


def test_reno_growth_does_not_depend_on_how_acks_are_bundled():
    single, bundled = started(Reno, 40), started(Reno, 40)
    for control in (single, bundled):
        control.on_congestion_event(80 * MSS, 0.0)
    for _ in range(400):
        ack(single, 1.0)
    for _ in range(10):
        ack(bundled, 1.0, acked=40 * MSS)
    assert bundled.cwnd == pytest.approx(single.cwnd, rel=0.02)


def test_cubic_follows_its_curve():
    """W(t) = C (t - K)^3 + W_max, one round trip ahead; here far above where Reno would be."""
    control = started(Cubic, 1000)
    control.on_congestion_event(1000 * MSS, 0.0)
    assert control.cwnd == 700 * MSS
    k = (300 / 0.4) ** (1 / 3)
    now = 0.0
    while now < 15.0:
        round_trip(control, now)
        now += RTT
        if now > 1.0:
            expected = 0.4 * (now - k) ** 3 + 1000
            assert control.cwnd / MSS == pytest.approx(expected, rel=0.02)
    assert control.cwnd > 1000 * MSS


def test_cubic_is_no_slower_than_reno_on_short_paths():
    """RFC 9438 4.3: with a small window and a short round trip W_est rules."""
    control = started(Cubic, 20)
    control.on_congestion_event(20 * MSS, 0.0)
    start = control.cwnd
    now = 0.0
    for _ in range(10):
        for _ in range(control.cwnd // MSS):
            sample = AckSample()
            sample.acked, sample.limited, sample.srtt = MSS, True, 0.001
            control.on_ack(sample, now)
        now += 0.001
    assert control.cwnd >= start + 10 * 0.5 * MSS


def test_cubic_after_a_timeout_begins_anew():
    """RFC 9438 4.8: K = 0 and W_max is the window that slow start ends with, whatever it was before."""
    control = started(Cubic, 1000)
    control.on_timeout(1000 * MSS, True, 0.0)
    assert (control.cwnd, control.ssthresh) == (MSS, 700 * MSS)
    ack(control, 0.0, acked=699 * MSS)
    now = 0.0
    while now < 5.0:
        round_trip(control, now)
        now += RTT
    assert control.cwnd / MSS == pytest.approx(0.4 * 5.0**3 + 700, rel=0.02)


def test_cubic_is_never_below_reno():
    """RFC 9438 4.3, also where the curve of a round trip ahead is above both."""
    control = started(Cubic, 12)
    control.on_congestion_event(12 * MSS, 0.0)
    now = 0.0
    for _ in range(40):
        round_trip(control, now)
        now += RTT
        assert control.cwnd >= control._w_est - 1


def test_cubic_converges_fast():
    """RFC 9438 4.7: a flow that lost below its last maximum gives more up."""
    control = started(Cubic, 100)
    control.on_congestion_event(100 * MSS, 0.0)
    control.on_congestion_event(70 * MSS, 1.0)
    assert control._w_max == pytest.approx(70 * MSS * 0.85)
    control = started(Cubic, 100)
    control.on_congestion_event(100 * MSS, 0.0)
    assert control._w_max == 100 * MSS


def test_cubic_does_not_count_the_time_of_an_unused_window():
    """RFC 9438 5.8: after a pause of the application the window does not jump."""
    control = started(Cubic, 100)
    control.on_congestion_event(100 * MSS, 0.0)
    for n in range(10):
        round_trip(control, n * RTT)
    before = control.cwnd
    for n in range(10, 1000):
        ack(control, n * RTT, limited=False)
    round_trip(control, 1000 * RTT)
    assert control.cwnd - before < 10 * MSS


def test_cubic_grows_by_at_most_half_per_round_trip():
    control = started(Cubic, 10)
    control.on_congestion_event(10 * MSS, 0.0)
    ack(control, 0.0)
    before = control.cwnd
    round_trip(control, 1000.0)
    assert control.cwnd <= before * 1.55


@both
def test_smaller_segments_leave_the_window(kind):
    control = started(kind)
    control.on_mss(500)
    assert (control.cwnd, control.mss) == (10 * MSS, 500)


def test_initial_window_rfc6928():
    """Ten segments, at most 14,600 bytes of them where they are large."""
    for mss, window in ((1448, 14_480), (536, 5360), (8948, 17_896)):
        connection = Connection(TcpConfig(), local_port=1, remote_port=2, mss=mss, max_payload=mss, iss=0)
        connection.sender.start(mss, mss, 10)
        assert connection.sender.congestion.cwnd == window


# round-trip time


def test_rto_rfc6298():
    rtt = RttEstimator(1.0, 0.2, 120.0)
    assert rtt.rto == 1.0
    rtt.update(0.4)
    assert (rtt.srtt, rtt.rttvar, rtt.rto) == pytest.approx((0.4, 0.2, 1.2))
    rtt.update(0.8)
    assert rtt.rttvar == pytest.approx(0.75 * 0.2 + 0.25 * 0.4)
    assert rtt.srtt == pytest.approx(0.45)
    assert rtt.rto == pytest.approx(0.45 + 4 * 0.25)
    assert rtt.min_rtt == 0.4


def test_rto_keeps_its_distance_and_its_bounds():
    rtt = RttEstimator(1.0, 0.2, 10.0)
    for _ in range(200):
        rtt.update(0.05)
    assert rtt.rto == pytest.approx(0.25), "200 ms beyond the round trip, as in Linux"
    for _ in range(20):
        rtt.back_off()
    assert (rtt.rto, rtt.backoff) == (10.0, 20)
    rtt.update(0.05)
    assert (rtt.rto, rtt.backoff) == (pytest.approx(0.25), 0)
    rtt.update(1e6)
    assert rtt.rto == 10.0


def test_clock_that_stands_still_still_gives_a_sample():
    rtt = RttEstimator(1.0, 0.2, 120.0)
    rtt.update(0.0)
    assert rtt.rto == pytest.approx(0.2, abs=1e-3)


@both
def test_a_window_of_small_segments_still_holds_a_large_one_when_the_path_widens(kind):
    """Found by tests/simulation/chaos: after the recovery the window had less than one segment, and nothing left."""
    control = started(kind, 2)
    control.on_mss(MSS // 10)
    for _ in range(20):
        control.on_congestion_event(MSS // 5, 0.0)
    control.on_mss(MSS)
    control.on_recovery_exit(0, 0.0)
    assert control.cwnd >= 2 * MSS
