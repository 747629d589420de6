"""Startup and Drain (draft-ietf-ccwg-bbr 5.3.1, 5.3.2).

Startup ends when the delivery rate grows no more (`full_pipe`), when a round trip of recovery lost more than 2 % in
at least six places, or when two round trips in a row were marked by half (ECN, Linux' numbers). Drain ends when no
more than the bandwidth-delay product is in flight, at the latest after three round trips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp.congestion.bbr import probe_bw
from asyncstack.transport.tcp.congestion.bbr.bounds import too_high
from asyncstack.transport.tcp.congestion.bbr.states import State

if TYPE_CHECKING:
    from asyncstack.transport.tcp.congestion.base import AckSample
    from asyncstack.transport.tcp.congestion.bbr.control import Bbr

LOSS_EVENTS: Final = 6  # StartupFullLossCnt
MARKED_ROUNDS: Final = 2
DRAIN_ROUNDS: Final = 3


def check(bbr: Bbr, sample: AckSample) -> None:
    """Once for each ACK."""
    if bbr.state is State.STARTUP:
        if _too_much(bbr, sample):
            bbr.undo_state = State.STARTUP
            bbr.full.reached = True
            bbr.bounds.inflight_long = max(bbr.bdp(bbr.bw), bbr.bounds.inflight_latest)
        if bbr.full.reached:
            bbr.enter(State.DRAIN)
    if bbr.state is State.DRAIN and (
        sample.pipe <= bbr.inflight(1.0) or bbr.model.rounds > bbr.state_round + DRAIN_ROUNDS
    ):
        probe_bw.start_down(bbr, sample.total_delivered)


def _too_much(bbr: Bbr, sample: AckSample) -> bool:
    bounds = bbr.bounds
    if not bounds.round_start:
        return False
    if bounds.ecn_rounds >= MARKED_ROUNDS:
        return True
    return (
        sample.recovering
        and bounds.loss_events >= LOSS_EVENTS
        and too_high(sample.lost_since, sample.in_flight, bbr.mss)
    )
