"""HyStart++ (RFC 9406), driven by hand."""

import pytest

from asyncstack.transport.tcp.congestion import AckSample, Cubic, Reno
from asyncstack.transport.tcp.congestion.base import INFINITE

MSS = 1000
BASE = 0.1  # seconds

both = pytest.mark.parametrize("kind", [Reno, Cubic], ids=["reno", "cubic"])


class Rounds:
    """A controller in slow start, and round trips in which all of its window is acknowledged."""

    def __init__(self, kind=Cubic, segments=32, piece=MSS):
        self.control = kind()
        self.control.start(MSS, segments * MSS)
        self.piece = piece
        self.delivered = 0
        self.now = 1.0

    def round(self, *trips, acks=None):
        """`trips`: the round-trip times that the ACKs show, the last one for all that follow."""
        began, left = self.delivered, self.control.cwnd
        n = 0
        while left > 0 and (acks is None or n < acks):
            acked = min(self.piece, left)
            left -= acked
            self.delivered += acked
            sample = AckSample()
            sample.acked = sample.delivered_now = acked
            sample.limited = sample.fresh = True
            sample.srtt = BASE
            sample.latest_rtt = trips[min(n, len(trips) - 1)]
            sample.prior_delivered, sample.total_delivered = began, self.delivered
            self.now += BASE / 1000
            self.control.on_ack(sample, self.now)
            n += 1
        self.now += BASE
        return self.control.cwnd

    @property
    def conservative(self):
        return self.control._start is not None and self.control._start.conservative


@both
def test_slow_start_doubles_while_round_trips_stay(kind):
    rounds = Rounds(kind)
    assert [rounds.round(BASE) for _ in range(4)] == [64 * MSS, 128 * MSS, 256 * MSS, 512 * MSS]
    assert not rounds.conservative


@both
def test_longer_round_trips_begin_a_slower_start_that_becomes_the_threshold(kind):
    rounds = Rounds(kind)
    rounds.round(BASE)
    before = rounds.round(BASE)
    after = rounds.round(BASE + 0.013)
    assert rounds.conservative
    eight = 8 * MSS  # until eight samples are there
    assert after == pytest.approx(before + eight + (before - eight) / 4, rel=0.01)
    for _ in range(4):
        before = rounds.control.cwnd
        assert rounds.round(BASE + 0.013) == pytest.approx(before * 1.25, rel=0.01)
        assert rounds.control.ssthresh == INFINITE
    before = rounds.control.cwnd
    rounds.round(BASE + 0.013)
    assert before <= rounds.control.ssthresh <= before + MSS
    assert rounds.control.cwnd < before * 1.05, "congestion avoidance: the fifth round is over"


def test_shorter_round_trips_again_were_a_mistake():
    rounds = Rounds()
    rounds.round(BASE)
    rounds.round(BASE + 0.02)
    assert rounds.conservative
    rounds.round(BASE)
    assert not rounds.conservative
    before = rounds.control.cwnd
    assert rounds.round(BASE) == 2 * before
    assert rounds.control.ssthresh == INFINITE


@pytest.mark.parametrize(
    ("base", "longer", "begins"),
    [
        (0.004, 0.0035, False),  # never for less than 4 ms
        (0.004, 0.0045, True),
        (0.080, 0.0095, False),  # an eighth
        (0.080, 0.0105, True),
        (1.000, 0.015, False),  # 16 ms are enough
        (1.000, 0.017, True),
    ],
)
def test_threshold(base, longer, begins):
    rounds = Rounds()
    rounds.round(base)
    rounds.round(base + longer)
    assert rounds.conservative == begins


def test_one_short_round_trip_in_the_round_says_that_there_is_no_queue():
    rounds = Rounds()
    rounds.round(BASE)
    rounds.round(BASE, BASE + 0.05)
    assert not rounds.conservative


def test_seven_samples_are_not_enough():
    rounds = Rounds()
    rounds.round(BASE)
    rounds.round(BASE + 0.05, acks=7)
    assert not rounds.conservative
    rounds = Rounds()
    rounds.round(BASE)
    rounds.round(BASE + 0.05, acks=8)
    assert rounds.conservative


def test_the_ack_of_a_super_segment_counts_for_the_acks_it_stands_for():
    """Sixteen segments at once: a receiver would have sent eight ACKs."""
    rounds = Rounds(piece=16 * MSS)
    rounds.round(BASE)
    rounds.round(BASE + 0.05, acks=1)
    assert rounds.conservative
    rounds = Rounds(piece=8 * MSS)
    rounds.round(BASE)
    rounds.round(BASE + 0.05, acks=1)
    assert not rounds.conservative


def test_acks_without_a_round_trip_say_nothing():
    rounds = Rounds()
    rounds.round(BASE)
    rounds.round(0.0)
    rounds.round(BASE + 0.05)
    assert not rounds.conservative, "there is no last round to compare with"


def test_a_loss_ends_it_for_good():
    rounds = Rounds()
    rounds.round(BASE)
    rounds.control.on_timeout(32 * MSS, True, rounds.now)
    threshold = rounds.control.ssthresh
    rounds.round(BASE + 0.05)
    rounds.round(BASE + 0.1)
    assert rounds.control.cwnd == 4 * MSS
    assert rounds.control.ssthresh == threshold
    assert not rounds.conservative
