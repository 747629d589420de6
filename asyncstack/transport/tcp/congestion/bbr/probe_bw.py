"""ProbeBW (draft-ietf-ccwg-bbr 5.3.3): DOWN, CRUISE, REFILL, UP, and again.

- DOWN, until the queue is gone and there is room for others; CRUISE, until it is time to probe: after 2 to 3 seconds,
  or after as many round trips as Reno would need to grow by what is in flight (at most 63)
- REFILL, for one round trip, forgets the short-term bounds; UP, until the rate grows no more or the probe loses too
  much. There `inflight_long`, where it stands in the way, is raised: by one segment in the first round trip, then
  by 2, 4, 8 ...
- after a probe that lost too much the next is a careful one (5.3.3.6): it stops as soon as that level is reached.
  If that does no harm a real one follows at once.

What a probe did is heard a round trip later: `ack_phase` tells to which part of it the ACKs belong.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp.congestion.base import INFINITE
from asyncstack.transport.tcp.congestion.bbr.bounds import BETA, too_high
from asyncstack.transport.tcp.congestion.bbr.states import PROBE_BW, State

if TYPE_CHECKING:
    from asyncstack.transport.tcp.congestion.base import AckSample
    from asyncstack.transport.tcp.congestion.bbr.control import Bbr

SHORTEST_WAIT: Final = 2.0  # seconds
RENO_ROUNDS: Final = 63
MOST_DOUBLINGS: Final = 30


class AckPhase(Enum):
    """What the ACKs are about that come now."""

    NONE = "none"
    REFILLING = "refilling"
    STARTING = "starting"  # UP has begun, its ACKs are not here yet
    FEEDBACK = "feedback"
    STOPPING = "stopping"  # UP is over, its last ACKs come


class Probe:
    """What ProbeBW remembers."""

    __slots__ = (
        "ack_phase",
        "careful",
        "cycle_at",
        "raised_for",
        "raising",
        "step",
        "too_high",
        "up_rounds",
        "wait",
    )

    def __init__(self) -> None:
        self.ack_phase = AckPhase.NONE
        self.cycle_at = -1.0  # when this cycle began; below 0: with the next ACK
        self.wait = 0.0  # seconds from then to the next probe
        self.too_high = False  # the last probe lost too much (prev_probe_too_high)
        self.careful = False  # the last probe stopped early (prev_probe_precautionary)
        self.raising = False  # `inflight_long` may grow
        self.up_rounds = 0
        self.step = 0  # bytes to be delivered for each segment that `inflight_long` grows
        self.raised_for = 0  # bytes delivered since it grew


def start_down(bbr: Bbr, delivered: int) -> None:
    """A new cycle."""
    probe = bbr.probe
    bbr.bounds.forget_latest()
    probe.raising = False
    bbr.model.rounds_since_probe = bbr.rng.randrange(2)
    probe.wait = SHORTEST_WAIT + bbr.rng.random()
    probe.cycle_at = -1.0
    probe.ack_phase = AckPhase.STOPPING
    bbr.model.start_round(delivered)
    bbr.enter(State.DOWN)


def start_refill(bbr: Bbr, delivered: int) -> None:
    """Fill the pipe, as far as the long-term bound lets it."""
    probe = bbr.probe
    bbr.bounds.forget_short()
    probe.up_rounds = probe.raised_for = 0
    probe.careful = False
    probe.ack_phase = AckPhase.REFILLING
    bbr.model.start_round(delivered)
    bbr.enter(State.REFILL)


def _start_up(bbr: Bbr, delivered: int) -> None:
    bbr.probing_heard = True
    bbr.probe.ack_phase = AckPhase.STARTING
    bbr.model.start_round(delivered)
    bbr.full.reset(bbr.model.rate)
    bbr.enter(State.UP)
    _steeper(bbr)


def update(bbr: Bbr, sample: AckSample, now: float) -> None:
    """Once for each ACK (UpdateProbeBWCyclePhase)."""
    if not bbr.full.reached:
        return
    probe, delivered = bbr.probe, sample.total_delivered
    if probe.cycle_at < 0.0:
        probe.cycle_at = now
    if _adapt_long(bbr, sample):
        return
    state = bbr.state
    if state is State.DOWN or state is State.CRUISE:
        if _time_to_probe(bbr, now):
            start_refill(bbr, delivered)
        elif state is State.DOWN and _time_to_cruise(bbr, sample.pipe):
            bbr.enter(State.CRUISE)
    elif state is State.REFILL:
        if bbr.model.round_start:
            _start_up(bbr, delivered)
    elif state is State.UP and _time_to_go_down(bbr, sample):
        probe.too_high = False
        start_down(bbr, delivered)


def _adapt_long(bbr: Bbr, sample: AckSample) -> bool:
    """Move with the feedback of a probe (AdaptLongTermModel). Returns whether that decided on a new state."""
    probe, bounds, delivered = bbr.probe, bbr.bounds, sample.total_delivered
    cycling = bbr.state in PROBE_BW
    if bbr.model.round_start and probe.ack_phase is AckPhase.STARTING:
        probe.ack_phase = AckPhase.FEEDBACK
    elif bbr.model.round_start and probe.ack_phase is AckPhase.STOPPING:
        bbr.probing_heard = False
        probe.ack_phase = AckPhase.NONE
        if cycling and bbr.model.reliable:
            bbr.model.next_cycle()
        if cycling and probe.careful and not probe.too_high:
            start_refill(bbr, delivered)
            return True
    if too_high(sample.lost_since, sample.in_flight, bbr.mss):
        return False
    if bbr.probing_heard and (bbr.marked or bounds.ecn_rounds):
        inflight_too_high(bbr, sample.in_flight, sample.app_limited, delivered)
        return True
    if bounds.inflight_long != INFINITE:
        bounds.inflight_long = max(bounds.inflight_long, sample.in_flight)
        if bbr.state is State.UP:
            _raise(bbr, sample)
    return False


def inflight_too_high(bbr: Bbr, in_flight: int, app_limited: bool, delivered: int) -> None:
    """What was in flight with a probe was too much (HandleInflightTooHigh): once for each probe."""
    bbr.probe.too_high = True
    bbr.probing_heard = False
    if not app_limited:
        bbr.bounds.inflight_long = max(in_flight, int(bbr.target() * BETA))
    if bbr.state is State.UP:
        bbr.undo_state = State.UP
        start_down(bbr, delivered)


def _time_to_probe(bbr: Bbr, now: float) -> bool:
    if now > bbr.probe.cycle_at + bbr.probe.wait:
        return True
    return bbr.model.rounds_since_probe >= min(bbr.target() // bbr.mss, RENO_ROUNDS)


def _time_to_cruise(bbr: Bbr, pipe: int) -> bool:
    return pipe <= min(bbr.bounds.with_headroom(bbr.mss, bbr.least), bbr.inflight(1.0))


def _time_to_go_down(bbr: Bbr, sample: AckSample) -> bool:
    probe, bounds = bbr.probe, bbr.bounds
    if probe.too_high and sample.pipe + sample.delivered_now >= bounds.inflight_long:
        probe.careful = True
        return True
    if sample.limited and bbr.cwnd >= bounds.inflight_long:
        bbr.full.reset(bbr.model.rate)  # it is the bound that limits the rate, not the path
        return False
    return bbr.full.now


def _steeper(bbr: Bbr) -> None:
    """Raise `inflight_long` twice as fast as in the last round trip (RaiseInflightLongtermSlope)."""
    probe = bbr.probe
    probe.step = max(bbr.cwnd >> probe.up_rounds, bbr.mss)
    probe.up_rounds = min(probe.up_rounds + 1, MOST_DOUBLINGS)
    probe.raising = True


def _raise(bbr: Bbr, sample: AckSample) -> None:
    """ProbeInflightLongtermUpward."""
    probe, bounds = bbr.probe, bbr.bounds
    if not probe.raising or not sample.limited or bbr.cwnd < bounds.inflight_long:
        return
    probe.raised_for += sample.delivered_now
    segments, probe.raised_for = divmod(probe.raised_for, probe.step)
    bounds.inflight_long += segments * bbr.mss
    if bbr.model.round_start:
        _steeper(bbr)
