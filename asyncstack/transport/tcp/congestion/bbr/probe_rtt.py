"""ProbeRTT (draft-ietf-ccwg-bbr 5.3.4): half the bandwidth-delay product in flight, for 200 ms and a round trip.

All flows that share a queue see its delay as their own. Where none has seen a smaller one for 5 s each lets go of its
part, so that the queue runs empty and the delay of the path itself shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp.congestion.bbr import probe_bw
from asyncstack.transport.tcp.congestion.bbr.states import GAINS, State

if TYPE_CHECKING:
    from asyncstack.transport.tcp.congestion.base import AckSample
    from asyncstack.transport.tcp.congestion.bbr.control import Bbr

DURATION: Final = 0.2  # seconds


def window(bbr: Bbr) -> int:
    """Bytes in flight, at most."""
    return max(bbr.bdp(bbr.bw, GAINS[State.PROBE_RTT][1]), bbr.least)


def check(bbr: Bbr, sample: AckSample, now: float) -> None:
    """Once for each ACK (CheckProbeRTT)."""
    model, delivered = bbr.model, sample.total_delivered
    if bbr.state is not State.PROBE_RTT and model.probe_rtt_due and not bbr.idle_restart:
        bbr.save_cwnd()
        bbr.probe_rtt_done_at = 0.0
        bbr.probe.ack_phase = probe_bw.AckPhase.STOPPING
        model.start_round(delivered)
        bbr.enter(State.PROBE_RTT)
    if bbr.state is State.PROBE_RTT:
        _handle(bbr, sample, now)
    bbr.idle_restart = False


def _handle(bbr: Bbr, sample: AckSample, now: float) -> None:
    bbr.model.ignore_rates(sample)
    if not bbr.probe_rtt_done_at:
        if sample.pipe <= window(bbr):
            bbr.probe_rtt_done_at = now + DURATION
            bbr.probe_rtt_round_done = False
            bbr.model.start_round(sample.total_delivered)
        return
    if bbr.model.round_start:
        bbr.probe_rtt_round_done = True
    if bbr.probe_rtt_round_done:
        check_done(bbr, now)


def check_done(bbr: Bbr, now: float) -> None:
    """Go on where ProbeRTT came in between, carefully: the next probe for bandwidth has to wait."""
    if not bbr.probe_rtt_done_at or now <= bbr.probe_rtt_done_at:
        return
    bbr.model.probe_rtt_at = now
    bbr.restore_cwnd()
    bbr.bounds.forget_short()
    if bbr.full.reached:
        probe_bw.start_down(bbr, bbr.bounds.delivered)
        bbr.enter(State.CRUISE)
    else:
        bbr.enter(State.STARTUP)
