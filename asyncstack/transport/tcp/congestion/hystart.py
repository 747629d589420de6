"""HyStart++ (RFC 9406): the first slow start ends before it overflows the queue, by the round trips growing longer.

- a round trip ends when something is acknowledged that left after the last one had ended
- slow start: if the shortest round trip of this round is longer than that of the last by an eighth (4 to 16 ms),
  conservative slow start (CSS) begins: a quarter of the growth
- CSS: if the round trips become shorter than they were when it began that was a mistake, and slow start goes on;
  after five rounds the window is taken for the threshold

Only the first slow start needs it: every later one ends at the ssthresh that was found (4.3). No limit L on the growth
per ACK: one ACK here often is for a whole super-segment, which is no burst of the peer's making. For the same reason
an ACK counts for as many samples as there would be ACKs for every other segment.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncstack.transport.tcp.congestion.base import AckSample

SAMPLES: Final = 8  # N_RTT_SAMPLE
DIVISOR: Final = 8  # MIN_RTT_DIVISOR
SHORTEST: Final = 0.004  # seconds, MIN_RTT_THRESH
LONGEST: Final = 0.016  # MAX_RTT_THRESH
CSS_DIVISOR: Final = 4  # CSS_GROWTH_DIVISOR
CSS_ROUNDS: Final = 5


class HyStart:
    """The state of the first slow start of a connection. Times in seconds."""

    __slots__ = ("_baseline", "_current", "_last", "_round_ends", "_rounds_left", "_samples", "over")

    def __init__(self) -> None:
        self.over = False  # the window has become the threshold
        self._round_ends = 0  # bytes that had been delivered when it began
        self._last = math.inf  # shortest round trip of the last round
        self._current = math.inf
        self._samples = 0
        self._baseline = 0.0  # shortest round trip when CSS began; 0.0: slow start
        self._rounds_left = 0

    @property
    def conservative(self) -> bool:
        """Whether this is CSS."""
        return self._baseline > 0.0

    def growth(self, sample: AckSample, mss: int) -> int:
        """How many bytes the window grows by for the ACK; sets `over` when that was the last time."""
        if sample.prior_delivered >= self._round_ends:
            self._next_round(sample.total_delivered)
        if sample.latest_rtt > 0.0:
            self._current = min(self._current, sample.latest_rtt)
            self._samples += max(sample.acked // (2 * mss), 1)
            if self._samples >= SAMPLES:
                self._judge()
        return sample.acked // CSS_DIVISOR if self._baseline else sample.acked

    def _next_round(self, delivered: int) -> None:
        self._round_ends = delivered
        self._last, self._current = self._current, math.inf
        self._samples = 0
        if self._baseline:
            self._rounds_left -= 1
            self.over = self._rounds_left <= 0

    def _judge(self) -> None:
        if self._baseline:
            if self._current < self._baseline:
                self._baseline = 0.0
        elif self._last < math.inf:
            threshold = min(max(self._last / DIVISOR, SHORTEST), LONGEST)
            if self._current >= self._last + threshold:
                self._baseline = self._current
                self._rounds_left = CSS_ROUNDS
