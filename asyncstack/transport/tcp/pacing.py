"""Pacing: data leaves at a rate instead of as fast as the window opens.

The rate is the controller's own (`CongestionControl.pacing_rate`: BBR). A controller that has none is paced only where
`TcpConfig.pacing` asks for it, as Linux does with its fq queue: at twice the window per round trip while the window
may double, at 1.2 times the window later, so that the window stays what governs. `TcpConfig.max_pacing_rate`
(SO_MAX_PACING_RATE) bounds either, and paces by itself where it is set.

Credit in bytes grows with the rate, and whatever leaves is taken from it. While it is below zero nothing leaves: the
timer PACE stands where it will be zero again. So

- a super-segment may leave as soon as the one before it is paid for; it carries what the rate gives in a
  millisecond, at least two segments (Linux: tcp_tso_autosize)
- a timer that fires late, as uvloop's do by up to a millisecond, loses nothing: the credit has grown meanwhile, up to
  `LATENESS` of the rate, and more leaves at once
- what comes after a pause does not leave as one burst
- a rate that changes holds for what is not paid yet

The first ten segments of a connection are not paced (Linux: TCP_INIT_CWND).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp.phase import OPEN
from asyncstack.transport.tcp.timers import NEVER, PACE

if TYPE_CHECKING:
    from asyncstack.transport.tcp.sender import Sender

QUANTUM: Final = 0.001  # seconds of the rate in a super-segment
LATENESS: Final = 0.002  # seconds: how late a timer may be without loss of rate
# seconds: waiting for less is not worth a timer, whose clock may not even tell it from now
RESOLUTION: Final = 1e-6
SMALLEST_QUANTUM: Final = 2  # segments
UNPACED: Final = 10  # segments
# seconds; a round trip of few of these has larger super-segments (tcp_tso_rtt_log)
SHORT_TRIP: Final = 0.0005
SLOW_START_GAIN: Final = 2.0  # Linux: tcp_pacing_ss_ratio
GAIN: Final = 1.2  # Linux: tcp_pacing_ca_ratio
SLOWEST: Final = 1.0  # bytes per second


def wanted(snd: Sender) -> bool:
    """Whether the connection has to be paced at all."""
    config = snd.config
    return snd.congestion.pacing_rate > 0.0 or config.pacing or config.max_pacing_rate < math.inf


class Pacer:
    """Says when a sender may send. Owned by a sender that is paced; others have none."""

    __slots__ = ("_asked_at", "_credit", "_position")

    def __init__(self, snd: Sender, now: float) -> None:
        self._credit = float(UNPACED * snd.mss)
        self._asked_at = now
        self._position = snd.nxt + snd.bytes_sent_again

    @staticmethod
    def rate(snd: Sender) -> float:
        """Bytes per second, above 0; infinite before the first round trip is known."""
        control = snd.congestion
        rate = control.pacing_rate
        if rate <= 0.0:
            srtt = snd.rtt.srtt
            if srtt <= 0.0:
                rate = math.inf
            else:
                gain = SLOW_START_GAIN if 2 * control.cwnd < control.ssthresh else GAIN
                rate = gain * max(control.cwnd, snd.pipe) / srtt
        return max(min(rate, snd.config.max_pacing_rate), SLOWEST)

    def holds(self, snd: Sender, now: float) -> bool:
        """Whether nothing may leave now; then the timer is set. What has left since the last call is accounted for,
        so this has to be asked before anything leaves."""
        rate = self.rate(snd)
        position = snd.nxt + snd.bytes_sent_again
        # what left did so when this was last asked; before that the credit had grown up to then
        credit = self._credit - (position - self._position)
        self._position = position
        if rate == math.inf:
            self._credit, self._asked_at = max(credit, 0.0), now
            snd.timers[PACE] = NEVER
            return False
        quantum = self._set_quantum(snd, rate)
        earned = rate * (now - self._asked_at)
        self._asked_at = now
        most = max(LATENESS * rate, float(quantum))
        if credit < most:
            credit = min(credit + earned, most)
        self._credit = credit
        if credit > -1.0 - RESOLUTION * rate or not self._something_waits(snd):
            snd.timers[PACE] = NEVER
            return False
        if snd.pipe >= snd.congestion.cwnd and not snd.board.lost:
            snd.timers[PACE] = NEVER  # an ACK comes first
        else:
            snd.timers[PACE] = now - credit / rate
        return True

    @staticmethod
    def _something_waits(snd: Sender) -> bool:
        return snd.board.lost > 0 or snd.waiting or snd.phase is not OPEN

    @staticmethod
    def _set_quantum(snd: Sender, rate: float) -> int:
        """How much a super-segment may carry."""
        size = min(rate * QUANTUM, float(snd.largest))
        trips = int(snd.rtt.min_rtt / SHORT_TRIP)
        if trips < 16:
            size += snd.largest >> trips
        mss = snd.mss
        limit = max(int(size) // mss, SMALLEST_QUANTUM) * mss
        snd.limit = limit = min(limit, snd.largest)
        return limit
