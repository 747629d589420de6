"""What BBR measures of the path (draft-ietf-ccwg-bbr 5.5): round trips, bandwidth, propagation delay, aggregation.

- a round trip has passed when something is delivered that left after the last one had ended (5.5.1)
- `max_bw`: the largest delivery rate of this probing cycle and the last (5.5.2 to 5.5.6)
- `min_rtt`: the smallest round trip of 10 s; one that is no news for 5 s asks for ProbeRTT (5.3.4.3, 5.5.7)
- `extra_acked`: how much more than `bw` promises has been acknowledged at once, lately: what holds ACKs back on
  their way, or joins segments, must not stop the sender (5.5.9)

Bytes and seconds. Nothing here decides anything.
"""

from __future__ import annotations

import math
from typing import Final

from asyncstack.transport.tcp.congestion.base import AckSample

MIN_RTT_WINDOW: Final = 10.0  # MinRTTFilterLen
PROBE_RTT_INTERVAL: Final = 5.0
AGGREGATION_ROUNDS: Final = 10  # ExtraAckedFilterLen


class Model:
    """Owned by a `Bbr`, updated once for each ACK that delivers something."""

    __slots__ = (
        "_bw_before",
        "_bw_now",
        "_delivered_extra",
        "_extra",
        "_extra_since",
        "_min_rtt_at",
        "_round_ends",
        "_unreliable_until",
        "extra_acked",
        "latest_rtt",
        "max_bw",
        "min_rtt",
        "probe_rtt_at",
        "probe_rtt_due",
        "rate",
        "reliable",
        "round_start",
        "rounds",
        "rounds_since_probe",
    )

    def __init__(self, srtt: float) -> None:
        self.rounds = 0
        self.rounds_since_probe = 0
        self.round_start = False
        self._round_ends = 0  # with what leaves after so much was delivered
        self.rate = 0.0  # of the present ACK; 0.0: it gave none
        self.reliable = False  # and it is the path's, not the application's or ProbeRTT's
        self._unreliable_until = -1
        self.max_bw = self._bw_now = self._bw_before = 0.0
        self.min_rtt = srtt or math.inf
        self._min_rtt_at = -math.inf
        self.latest_rtt = math.inf  # the smallest since `probe_rtt_at`
        self.probe_rtt_at = -math.inf
        self.probe_rtt_due = False
        self.extra_acked = 0
        self._extra: list[tuple[int, int]] = []  # (round, largest in it), newest last
        self._extra_since = -math.inf
        self._delivered_extra = 0

    # rounds

    def start_round(self, delivered: int) -> None:
        """A round trip begins now, whatever became of the last."""
        self._round_ends = delivered

    def ignore_rates(self, sample: AckSample) -> None:
        """What is in flight, and what leaves with it, is sent slower than the path carries on purpose."""
        self._unreliable_until = sample.total_delivered + sample.pipe

    def update(self, sample: AckSample) -> None:
        """Round trips and bandwidth."""
        self.round_start = sample.prior_delivered >= self._round_ends
        if self.round_start:
            self._round_ends = sample.total_delivered
            self.rounds += 1
            self.rounds_since_probe += 1
        self.rate = sample.delivered / sample.interval if sample.fresh else 0.0
        self.reliable = not sample.app_limited and sample.prior_delivered > self._unreliable_until
        if self.rate > self._bw_now and (self.reliable or self.rate >= self.max_bw):
            self._bw_now = self.rate
            self.max_bw = max(self._bw_now, self._bw_before)

    def next_cycle(self) -> None:
        """A probing cycle is over: what was measured before the last one is forgotten (AdvanceMaxBwFilter)."""
        if self._bw_now:
            self._bw_before, self._bw_now = self._bw_now, 0.0
            self.max_bw = self._bw_before

    # delay

    def update_min_rtt(self, rtt: float, now: float) -> None:
        """`rtt`: of what was sent last of all that the ACK delivers; 0.0: it gives none."""
        self.probe_rtt_due = now > self.probe_rtt_at + PROBE_RTT_INTERVAL and self.probe_rtt_at > -math.inf
        if rtt > 0.0 and (rtt < self.latest_rtt or self.probe_rtt_due or self.probe_rtt_at == -math.inf):
            self.latest_rtt, self.probe_rtt_at = rtt, now
        if self.latest_rtt == math.inf:
            return
        if self.latest_rtt < self.min_rtt or now > self._min_rtt_at + MIN_RTT_WINDOW:
            self.min_rtt, self._min_rtt_at = self.latest_rtt, self.probe_rtt_at

    # aggregation

    def restart_aggregation(self, now: float) -> None:
        """After a pause the time that ACKs took says nothing."""
        self._extra_since = now
        self._delivered_extra = 0

    def update_aggregation(self, newly: int, bw: float, most: int, rounds: int, now: float) -> None:
        """`newly` bytes were delivered where `bw` is expected; the largest excess of `rounds` round trips counts, up to
        `most`."""
        expected = bw * (now - self._extra_since) if self._extra_since > -math.inf else math.inf
        if self._delivered_extra <= expected:
            self._delivered_extra = 0
            self._extra_since = now
            expected = 0.0
        self._delivered_extra += newly
        extra = min(int(self._delivered_extra - expected), most)
        table = self._extra
        while table and (table[-1][1] <= extra or table[-1][0] == self.rounds):
            extra = max(extra, table.pop()[1])
        table.append((self.rounds, extra))
        while table[0][0] <= self.rounds - rounds:
            del table[0]
        self.extra_acked = table[0][1]
