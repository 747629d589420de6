"""BBR version 3 (draft-ietf-ccwg-bbr-06): a model of the path says how fast to send and how much to have in flight.

Reno and CUBIC fill the path until it loses; BBR measures what it delivers (`model`) and paces by that. It tests now
and then whether more goes through (`startup`, `probe_bw`) and whether the delay is smaller than believed
(`probe_rtt`). Loss below 2 % of what is in flight is taken for an accident, above for the limit of the path
(`bounds`).

    pacing_rate = pacing gain x bw                   bw = the smaller of max_bw and the short-term bound
    cwnd        = cwnd gain x bw x min_rtt + extra_acked, within the bounds on what may be in flight

Names are the draft's with these changes: inflight_longterm and _shortterm are `bounds.inflight_long` and `_short`,
bw_shortterm is `bounds.bw_short`, is_bw_probe_sample is `probing_heard`.
"""

from __future__ import annotations

import random
from typing import ClassVar, Final

from asyncstack.transport.tcp.congestion.base import INFINITE, AckSample, CongestionControl
from asyncstack.transport.tcp.congestion.bbr import probe_bw, probe_rtt, startup
from asyncstack.transport.tcp.congestion.bbr.bounds import Bounds, inflight_at_loss, too_high
from asyncstack.transport.tcp.congestion.bbr.full_pipe import FullPipe
from asyncstack.transport.tcp.congestion.bbr.model import AGGREGATION_ROUNDS, Model
from asyncstack.transport.tcp.congestion.bbr.states import ACCELERATING, GAINS, PROBE_BW, State

# PacingMarginPercent: a little below the bandwidth, so that a queue shrinks. The draft takes it of the short-term bound
# as well; but that is what the last rate delivered, and with a loss in each round trip the margins multiply.
MARGIN: Final = 0.99
MIN_PIPE: Final = 4  # segments, MinPipeCwnd
UNKNOWN_RTT: Final = 0.001  # seconds, for the first pacing rate
QUANTUM: Final = 0.001  # seconds of the rate
LARGEST_QUANTUM: Final = 64 << 10
# quanta: one each in the sender's queue, in segmentation, and with a receiver that joins segments
BUDGET: Final = 3


class Bbr(CongestionControl):
    """Give it a `seed`: flows that share a path must not probe in step."""

    __slots__ = (
        "_loss_heard",
        "_marked",
        "_prior_cwnd",
        "_recovering_until",
        "_rng",
        "_rtt_known",
        "bounds",
        "bw",
        "full",
        "idle_restart",
        "least",
        "model",
        "probe",
        "probe_rtt_done_at",
        "probe_rtt_round_done",
        "probing_heard",
        "quantum",
        "recovering",
        "state",
        "state_round",
        "undo_state",
    )

    name: ClassVar[str] = "bbr"

    def __init__(self) -> None:
        super().__init__()
        self.start(self.mss, self.cwnd)

    def start(self, mss: int, window: int, srtt: float = 0.0) -> None:
        """STARTUP, at a rate that sends the window in a third of a round trip."""
        super().start(mss, window, srtt)
        self._rng = random.Random(self.seed)
        self.model = Model(srtt)
        self.bounds = Bounds()
        self.full = FullPipe()
        self.probe = probe_bw.Probe()
        self.bw = 0.0
        self.least = MIN_PIPE * mss
        self.quantum = 2 * mss
        self._rtt_known = srtt > 0.0
        self._prior_cwnd = 0
        self.recovering = False
        self._recovering_until = INFINITE  # bytes delivered, after a timeout
        self._loss_heard = False  # `on_lost` was called since the last ACK
        self._marked = False  # the path asked for less (ECN) since the last ACK
        self.probing_heard = False  # what is delivered now left while probing
        self.idle_restart = False
        self.undo_state: State | None = None
        self.probe_rtt_done_at = 0.0
        self.probe_rtt_round_done = False
        self.state_round = 0
        self.state = State.STARTUP
        self.pacing_rate = GAINS[State.STARTUP][0] * window / (srtt or UNKNOWN_RTT)

    def take_over(self, before: CongestionControl, srtt: float, now: float) -> None:
        """STARTUP from the window that there is."""
        super().take_over(before, srtt, now)
        self.ssthresh = INFINITE

    def on_mss(self, mss: int) -> None:
        super().on_mss(mss)
        self.least = MIN_PIPE * mss

    # what happens

    def on_ack(self, sample: AckSample, now: float) -> None:
        """UpdateOnACK: the model, the state, then rate and window."""
        if not sample.delivered_now:
            return  # a timer found a loss, of which `on_lost` has told
        self._first_round_trip(sample)
        self._update_model(sample, now)
        startup.check(self, sample)
        probe_bw.update(self, sample, now)
        self.model.update_min_rtt(sample.latest_rtt, now)
        probe_rtt.check(self, sample, now)
        self.bounds.end_ack(sample, self.model.rate)
        self.bw = min(self.model.max_bw, self.bounds.bw_short)
        self._set_pacing_rate(GAINS[self.state][0], sample.srtt)
        self._set_cwnd(sample)
        self._loss_heard = self._marked = False

    def _first_round_trip(self, sample: AckSample) -> None:
        if not self._rtt_known and sample.srtt > 0.0:
            self._rtt_known = True
            self.pacing_rate = GAINS[State.STARTUP][0] * self.initial / sample.srtt

    def _update_model(self, sample: AckSample, now: float) -> None:
        model, bounds = self.model, self.bounds
        model.update(sample)
        bounds.begin_ack(sample, model.rate)
        if bounds.round_start:
            if self.state not in ACCELERATING:
                bounds.adapt_short(model.max_bw, self.cwnd, self.mss)
            bounds.loss_in_round = False
        rounds = AGGREGATION_ROUNDS if self.full.reached else 1
        model.update_aggregation(sample.delivered_now, self.bw, self.cwnd, rounds, now)
        if model.round_start and sample.fresh and model.reliable:
            self.full.update(model.rate)

    def on_lost(self, size: int, in_flight: int, lost: int, delivered: int, app_limited: bool) -> None:
        """HandleLostPacket: a probe that costs too much is over."""
        self._loss_heard = True
        if self.bounds.note_loss(size, delivered):
            self._save()
        if self.probing_heard and too_high(lost, in_flight, self.mss):
            probe_bw.inflight_too_high(self, inflight_at_loss(size, in_flight, lost), app_limited, delivered)

    def on_congestion_event(self, flight: int, now: float) -> None:
        """Loss, of which `on_lost` has told; or the path marked packets (ECN), which counts as loss does."""
        self._save()
        self.recovering = True
        if not self._loss_heard:
            self._marked = self.bounds.echo = True

    def on_recovery_exit(self, flight: int, now: float) -> None:
        """The window is as it was before, as far as the model still agrees with the next ACK."""
        self.recovering = False
        self.cwnd = max(self.cwnd, self._prior_cwnd)

    def on_timeout(self, flight: int, reduce: bool, now: float) -> None:
        """5.6.4.4: one segment, then as much more as is delivered; the rate stays."""
        self._save()
        self.recovering = True
        self._recovering_until = self.bounds.delivered + flight
        self.cwnd = self.mss

    def on_undo(self, now: float) -> None:
        """HandleSpuriousLossDetection: nothing was lost."""
        self.on_recovery_exit(0, now)
        self.bounds.restore()
        self.full.reset(0.0)
        undo, self.undo_state = self.undo_state, None
        if undo is State.STARTUP and self.state is not State.STARTUP:
            self.full.reached = False
            if self.state is not State.PROBE_RTT:
                self.enter(State.STARTUP)
        elif undo is State.UP and self.state not in (State.UP, State.PROBE_RTT):
            probe_bw.start_refill(self, self.bounds.delivered)

    def on_idle(self, idle: float, rto: float, now: float) -> None:
        """5.4: the window stays, the first data leaves at `bw`. A pause was a chance to see the delay, too."""
        self.idle_restart = True
        self.model.restart_aggregation(now)
        if self.state in PROBE_BW:
            self._set_pacing_rate(1.0, 0.0)
        elif self.state is State.PROBE_RTT:
            probe_rtt.check_done(self, now)

    # for the modules that move from state to state

    @property
    def rng(self) -> random.Random:
        """Chance, repeatable by the seed."""
        return self._rng

    @property
    def marked(self) -> bool:
        """Whether ECN asked for less since the last ACK."""
        return self._marked

    def enter(self, state: State) -> None:
        """The only place that assigns `state`."""
        self.state = state
        self.state_round = self.model.rounds
        if self.full.reached:
            self.ssthresh = min(self.ssthresh, self.inflight(1.0))

    def bdp(self, bw: float, gain: float = 1.0) -> int:
        """Bytes in flight that `bw` needs, times `gain`; the initial window while no round trip is known."""
        if self.model.min_rtt == float("inf"):
            return self.initial
        return int(gain * bw * self.model.min_rtt)

    def inflight(self, gain: float) -> int:
        """The same for the full bandwidth, with what offloading needs."""
        return self._with_budget(self.bdp(self.model.max_bw, gain))

    def target(self) -> int:
        """Bytes wanted in flight, unless congestion has cut the window (TargetInflight)."""
        return min(self.bdp(self.bw), self.cwnd)

    def _with_budget(self, size: int) -> int:
        size = max(size, BUDGET * self.quantum, self.least)
        return size + 2 * self.mss if self.state is State.UP else size

    def _save(self) -> None:
        """SaveStateUponLoss, SaveCwnd."""
        self.save_cwnd()
        self.undo_state = None
        self.bounds.save()

    def save_cwnd(self) -> None:
        """Remember the window before something other than the model makes it small."""
        if self.recovering or self.state is State.PROBE_RTT:
            self._prior_cwnd = max(self._prior_cwnd, self.cwnd)
        else:
            self._prior_cwnd = self.cwnd

    def restore_cwnd(self) -> None:
        """That is over."""
        self.cwnd = max(self.cwnd, self._prior_cwnd)

    # what the sender goes by

    def _set_pacing_rate(self, gain: float, srtt: float) -> None:
        rate = gain * min(self.model.max_bw * MARGIN, self.bounds.bw_short)
        if self.full.reached or rate > self.pacing_rate:
            # never below what the smallest window sends anyway: a path that has hardly carried anything for a while
            # must not take minutes to show that it does again
            self.pacing_rate = max(rate, self.least / srtt) if srtt > 0.0 else max(rate, float(self.least))
        self.quantum = max(min(int(self.pacing_rate * QUANTUM), LARGEST_QUANTUM), 2 * self.mss)

    def _set_cwnd(self, sample: AckSample) -> None:
        """5.6.4.6: up with what is delivered, down at once."""
        if sample.total_delivered >= self._recovering_until:
            self._recovering_until = INFINITE
            self.on_recovery_exit(0, 0.0)
        most = self._with_budget(self.bdp(self.bw, GAINS[self.state][1]) + self.model.extra_acked)
        cwnd = self.cwnd
        if self.full.reached:
            cwnd = min(cwnd + sample.delivered_now, most)
        elif cwnd < most or sample.total_delivered < self.initial:
            cwnd += sample.delivered_now
        cwnd = max(cwnd, self.least)
        if self.state is State.PROBE_RTT:
            cwnd = min(cwnd, probe_rtt.window(self))
        self.cwnd = min(cwnd, self._bound())
        if self.full.reached:
            self.ssthresh = min(self.inflight(1.0), self.cwnd)

    def _bound(self) -> int:
        """BoundCwndForModel."""
        bounds = self.bounds
        cap = INFINITE
        if self.state is State.PROBE_RTT or self.state is State.CRUISE:
            cap = bounds.with_headroom(self.mss, self.least)
        elif self.state in PROBE_BW:
            cap = bounds.inflight_long
        return max(min(cap, bounds.inflight_short), self.least)
