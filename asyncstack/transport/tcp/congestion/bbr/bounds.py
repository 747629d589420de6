"""What loss and ECN marks teach BBR about how much the path holds (draft-ietf-ccwg-bbr 5.5.10, 5.5.11).

- short term: while the flow does not probe, each round trip that lost too much brings `bw_short` and `inflight_short`
  to what was delivered in it, by at most 0.7; each REFILL forgets them
- long term: `inflight_long` is what was in flight when a probe lost too much, at least 0.7 of what was wanted

Too much is more than 2 %, by at least the standard deviation of that count, and in both places; in that it differs
from the draft. 2 % of a flight are a few segments, and a path that loses one in a hundred loses two of 86 in every
fifth flight: with the bare 2 % most probes fail by chance, and if any loss bounds the short term (the draft's rule)
a flow gives away a share with each accident, half of its rate in the 62 round trips between two probes. Congestion
is not overlooked: a queue that overflows loses what is too much of what comes, which is many segments in a row.

The draft leaves ECN open (3.7: marks must be taken for congestion). Here, with the numbers of Linux' BBR v3: `alpha`
is the share of marked bytes, smoothed by round trips (as DCTCP, RFC 8257); a round with marks takes alpha / 3 of
`inflight_short`, and a probe is over when half of what a round delivers is marked.
"""

from __future__ import annotations

import math
from typing import Final

from asyncstack.transport.tcp.congestion.base import INFINITE, AckSample

BETA: Final = 0.7
LOSS_THRESHOLD: Final = 0.02
HEADROOM: Final = 0.15
ECN_GAIN: Final = 1 / 16
ECN_FACTOR: Final = 1 / 3
ECN_THRESHOLD: Final = 0.5
NO_BANDWIDTH: Final = float("inf")  # no bound


class Bounds:
    """Owned by a `Bbr`. Bytes, and bytes per second; `INFINITE` and `NO_BANDWIDTH` mean no bound."""

    __slots__ = (
        "_bw_latest",
        "_ce",
        "_delivered_at_round",
        "_lost",
        "_round_ends",
        "_saved",
        "alpha",
        "bw_short",
        "delivered",
        "echo",
        "ecn_in_round",
        "ecn_rounds",
        "inflight_latest",
        "inflight_long",
        "inflight_short",
        "loss_events",
        "loss_in_round",
        "round_start",
    )

    def __init__(self) -> None:
        self.bw_short = NO_BANDWIDTH
        self.inflight_short = INFINITE
        self.inflight_long = INFINITE
        self._bw_latest = 0.0  # largest of this round trip
        self.inflight_latest = 0
        self._round_ends = 0
        self.round_start = False
        self.loss_in_round = False
        self.loss_events = 0  # in this round trip
        self._lost = 0  # bytes
        self.echo = False  # the path has asked for less in it (ECN)
        self.delivered = 0  # bytes, on the whole connection, as far as heard
        self.alpha = 0.0
        self.ecn_in_round = False  # marks came in the last round trip
        self.ecn_rounds = 0  # in a row that were marked too much
        self._ce = 0  # bytes marked in this round trip
        self._delivered_at_round = 0
        self._saved = (NO_BANDWIDTH, INFINITE, INFINITE)

    # the latest round trip

    def begin_ack(self, sample: AckSample, rate: float) -> None:
        """What the present round trip has delivered so far."""
        self._bw_latest = max(self._bw_latest, rate)
        if sample.fresh:
            self.inflight_latest = max(self.inflight_latest, sample.delivered)
        self._ce += sample.ce
        self.delivered = sample.total_delivered
        self.round_start = sample.prior_delivered >= self._round_ends
        if self.round_start:
            self._round_ends = sample.total_delivered
            self._end_ecn_round(sample.total_delivered)

    def end_ack(self, sample: AckSample, rate: float) -> None:
        """A new round trip begins with this ACK, if one does."""
        if self.round_start:
            self._bw_latest = rate
            self.inflight_latest = sample.delivered if sample.fresh else 0
            self.loss_events = self._lost = 0
            self.echo = False

    def forget_latest(self) -> None:
        """What is measured from now on counts (ResetCongestionSignals)."""
        self.loss_in_round = False
        self._bw_latest = 0.0
        self.inflight_latest = 0

    def _end_ecn_round(self, delivered: int) -> None:
        share = self._ce / max(delivered - self._delivered_at_round, 1)
        self._delivered_at_round = delivered
        self._ce = 0
        self.alpha += ECN_GAIN * (min(share, 1.0) - self.alpha)
        self.ecn_in_round = share > 0.0
        self.ecn_rounds = self.ecn_rounds + 1 if share >= ECN_THRESHOLD else 0

    # congestion

    def note_loss(self, size: int, delivered: int) -> bool:
        """`size` bytes were lost when `delivered` had been delivered. Returns whether they are the first of a round."""
        self.loss_events += 1
        self._lost += size
        if self.loss_in_round:
            return False
        self.loss_in_round = True
        self._round_ends = delivered
        return True

    def adapt_short(self, max_bw: float, cwnd: int, mss: int) -> None:
        """A round trip has ended in which the flow did not probe (AdaptLowerBoundsFromCongestion)."""
        loss = self.echo or (
            self.loss_in_round and too_high(self._lost, self.inflight_latest + self._lost, mss)
        )
        if not loss and not self.ecn_in_round:
            return
        if self.inflight_short == INFINITE:
            self.inflight_short = cwnd
        inflight = self.inflight_short
        if loss:
            before = max_bw if self.bw_short == NO_BANDWIDTH else self.bw_short
            self.bw_short = max(self._bw_latest, BETA * before)
            inflight = max(self.inflight_latest, int(BETA * inflight))
        if self.ecn_in_round:
            inflight = min(inflight, int(self.inflight_short * (1.0 - self.alpha * ECN_FACTOR)))
        self.inflight_short = inflight

    def forget_short(self) -> None:
        """The flow is about to probe: what it learnt of congestion since the last time may be over."""
        self.bw_short = NO_BANDWIDTH
        self.inflight_short = INFINITE

    def with_headroom(self, mss: int, least: int) -> int:
        """`inflight_long` less some room for others."""
        if self.inflight_long == INFINITE:
            return INFINITE
        return max(self.inflight_long - max(mss, int(HEADROOM * self.inflight_long)), least)

    # undo

    def save(self) -> None:
        """Remember the bounds in case the loss that begins now turns out to be none."""
        self._saved = (self.bw_short, self.inflight_short, self.inflight_long)

    def restore(self) -> None:
        """It was none."""
        bw, short, long = self._saved
        self.bw_short = max(self.bw_short, bw)
        self.inflight_short = max(self.inflight_short, short)
        self.inflight_long = max(self.inflight_long, long)
        self.loss_in_round = False


def too_high(lost: int, in_flight: int, mss: int) -> bool:
    """Whether `lost` of `in_flight` bytes is clearly more than 2 % (IsInflightTooHigh)."""
    allowed = in_flight * LOSS_THRESHOLD
    return lost > allowed + math.sqrt(allowed * mss)


def inflight_at_loss(size: int, in_flight: int, lost: int) -> int:
    """How much was in flight when the loss rate became too high, somewhere inside the `size` bytes given up last
    (InflightAtLoss)."""
    before = in_flight - size
    lost_before = lost - size
    prefix = (LOSS_THRESHOLD * before - lost_before) / (1.0 - LOSS_THRESHOLD)
    return before + int(min(max(prefix, 0.0), float(size)))
