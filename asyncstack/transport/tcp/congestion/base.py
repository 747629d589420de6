"""The interface of congestion controllers.

A controller owns the congestion window: `cwnd` and `ssthresh` are assigned nowhere else. It hears what happened and
never asks; it knows neither segments nor timers, so it can be driven by hand:

    control = Cubic(); control.start(mss=1448, window=14480)
    control.on_ack(sample, now)                   an ACK delivered something, in any phase; the last call for it
    control.on_congestion_event(flight, now)      loss was found, or an ECN echo came: once per window
    control.on_recovery_exit(flight, now)         everything outstanding at that event has arrived
    control.on_timeout(flight, reduce, now)       the retransmission timer expired
    control.on_undo(now)                          the last reduction was a mistake
    control.on_idle(idle, rto, now)               about to send after a pause
    control.on_lost(size, ...)                    something is given up; only controllers that override it are told

A controller that paces sets `pacing_rate` (bytes per second); 0.0 means that the window alone governs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Final

from asyncstack.transport.tcp.congestion import validation
from asyncstack.transport.tcp.congestion.hystart import HyStart
from asyncstack.transport.tcp.congestion.prr import ProportionalRateReduction

INFINITE: Final = 1 << 62  # ssthresh before the first loss (RFC 5681 3.1: "arbitrarily high")
MINIMUM_SEGMENTS: Final = 2  # RFC 5681 (4): never below 2 SMSS


class AckSample:
    """What one acknowledgement told. Each sender has one and overwrites it; a controller must not keep it."""

    __slots__ = (
        "acked",
        "advanced",
        "app_limited",
        "ce",
        "delivered",
        "delivered_now",
        "fresh",
        "in_flight",
        "interval",
        "latest_rtt",
        "limited",
        "lost",
        "lost_since",
        "pipe",
        "prior_delivered",
        "recovering",
        "rtt",
        "sent",
        "srtt",
        "total_delivered",
    )

    def __init__(self) -> None:
        self.acked = 0  # bytes that a window may grow by: `delivered_now`, or 0 while it must not
        self.delivered_now = 0  # bytes newly known to be with the peer, in order or not
        self.lost = 0  # bytes newly presumed lost; with `delivered_now` 0 it was a timer that found them
        self.ce = 0  # bytes that the ACK says were marked by the path (ECN)
        self.recovering = False  # in fast recovery, or reacting to ECN
        self.advanced = False  # while recovering: SND.UNA moved
        # while recovering: bytes sent in the whole life of the connection, repetitions included
        self.sent = 0
        self.limited = False  # the window, not the application or the peer, set the pace
        self.pipe = 0  # bytes in the network after this ACK
        self.rtt = 0.0  # of this ACK, or the latest one that had a sample; seconds
        self.srtt = 0.0
        # samples of the delivery rate, see `delivery_rate`; the last there was unless `fresh`
        self.fresh = False  # this ACK gave one
        self.delivered = 0  # bytes delivered in `interval` seconds
        self.interval = 0.0
        self.app_limited = False  # it says what the application sent, not what the path carries
        self.total_delivered = 0  # bytes, on the whole connection
        self.prior_delivered = 0  # the same when what was acknowledged now left
        self.in_flight = 0  # bytes in the network then
        self.lost_since = 0  # bytes found lost since then
        # round trip of what was sent last of all this acknowledges; 0.0 if it was sent twice
        self.latest_rtt = 0.0


class CongestionControl:
    """A controller that does nothing with its window; the base of all others. Sizes in bytes.

    A class of one's own overrides what it wants to hear of, and has a `name` (at most 15 characters, for
    TCP_CONGESTION). It is made without arguments. Before `start` are set: `seed`, a number of the connection's own, for
    a controller that needs chance; `slow_start_after_idle`, the setting of that name.
    """

    __slots__ = ("cwnd", "initial", "mss", "pacing_rate", "seed", "slow_start_after_idle", "ssthresh")

    name: ClassVar[str] = "none"

    def __init__(self) -> None:
        self.mss = 536
        self.cwnd = self.initial = 10 * self.mss
        self.ssthresh = INFINITE
        self.pacing_rate = 0.0
        self.seed = 0
        self.slow_start_after_idle = True

    def start(self, mss: int, window: int, srtt: float = 0.0) -> None:
        """The handshake is over: `mss` bytes fit a segment, `window` bytes may be sent at first. `srtt`: the round trip
        in seconds, 0.0 if it is not known yet."""
        self.mss = mss
        self.cwnd = self.initial = max(window, mss)

    def take_over(self, before: CongestionControl, srtt: float, now: float) -> None:
        """Go on in place of `before`, whose connection is at work."""
        self.start(before.mss, before.cwnd, srtt)
        self.initial = before.initial
        self.ssthresh = before.ssthresh

    def on_mss(self, mss: int) -> None:
        """Segments have another size from now on. The window is in bytes and stays, but for the least it may be."""
        self.mss = mss
        self.cwnd = max(self.cwnd, mss)
        self.ssthresh = max(self.ssthresh, MINIMUM_SEGMENTS * mss)

    def on_ack(self, sample: AckSample, now: float) -> None:
        """More data has arrived at the peer."""

    def on_congestion_event(self, flight: int, now: float) -> None:
        """Congestion, with `flight` bytes outstanding."""

    def on_recovery_exit(self, flight: int, now: float) -> None:
        """Recovery is over, with `flight` bytes outstanding."""

    def on_timeout(self, flight: int, reduce: bool, now: float) -> None:
        """The retransmission timer expired; `reduce` is False if this loss was reacted to before."""

    def on_lost(self, size: int, in_flight: int, lost: int, delivered: int, app_limited: bool) -> None:
        """`size` bytes sent together are given up, before the ACK that told (or the timer) is heard of.

        Then `in_flight` bytes were in the network, and since then `lost` bytes have been given up. `delivered`: bytes
        delivered so far, on the whole connection.
        """

    def on_undo(self, now: float) -> None:
        """The last reduction answered no loss: the window and ssthresh are again what they were before."""

    def on_idle(self, idle: float, rto: float, now: float) -> None:
        """Nothing was sent for `idle` seconds, more than `rto`: the window says little about the path by now."""


class LossBased(CongestionControl, ABC):
    """What Reno and its successors share: slow start, and what happens to the window around a loss."""

    __slots__ = (
        "_before",
        "_fraction",
        "_reduction",
        "_start",
        "full_at",
        "judge_at",
        "most_used",
        "unused_since",
    )

    def __init__(self) -> None:
        super().__init__()
        self._fraction = 0.0  # of a byte, of growth so far
        self._reduction: ProportionalRateReduction | None = None  # of the last loss
        self._before = (0, 0)  # window and ssthresh before the last reduction
        self._start: HyStart | None = None  # made when the first slow start finds its window full
        # see `validation`
        self.full_at = 0.0  # when an ACK last found the window in use
        self.most_used = 0  # bytes in flight since then
        self.unused_since = -1.0  # below 0: never
        self.judge_at = 0.0  # no earlier than that is there anything to judge

    def take_over(self, before: CongestionControl, srtt: float, now: float) -> None:
        """Also in the middle of recovery: the reduction goes on from the present window."""
        super().take_over(before, srtt, now)
        self._reduction = ProportionalRateReduction(self.cwnd)

    def on_ack(self, sample: AckSample, now: float) -> None:
        """Slow start below ssthresh (RFC 5681 3.1), else `avoid_congestion`; PRR while the window goes down.

        Bytes are counted, not ACKs (RFC 3465), without its limit per ACK, as in Linux: one ACK may be for a
        super-segment, and one that is lost must not slow down. The window grows for what is acknowledged, so small
        pieces gain nothing.
        """
        if sample.recovering:
            if self._reduction is None:
                self._reduction = ProportionalRateReduction(self.cwnd)
            self.cwnd = self._reduction.window(sample, self.ssthresh, self.mss)
            return
        acked = sample.acked
        if not acked:
            return
        if not sample.limited:
            self.on_unused(sample.pipe + sample.delivered_now, sample.srtt, now)
            return
        self.full_at = now
        self.most_used = 0
        if self.ssthresh == INFINITE:
            self._first_slow_start(sample)
            return
        if self.cwnd < self.ssthresh:
            grown = self.cwnd + acked
            if grown <= self.ssthresh:
                self.cwnd = grown
                return
            acked = grown - self.ssthresh
            self.cwnd = self.ssthresh
        self.avoid_congestion(acked, sample.srtt, now)

    def on_unused(self, used: int, srtt: float, now: float) -> None:
        """What `on_ack` does where the window did not set the pace: `used` bytes were in the network before the ACK."""
        self.on_unused_window(now)
        if used > self.most_used:
            self.most_used = used
        if now >= self.judge_at:
            validation.after_unused(self, srtt, now)

    def _first_slow_start(self, sample: AckSample) -> None:
        """No loss has found ssthresh yet."""
        start = self._start
        if start is None:
            start = self._start = HyStart()
        self.cwnd += start.growth(sample, self.mss)
        if start.over:
            self.ssthresh = self.cwnd

    @abstractmethod
    def avoid_congestion(self, acked: int, srtt: float, now: float) -> None:
        """Grow beyond ssthresh."""

    def on_unused_window(self, now: float) -> None:
        """An ACK came while the application sent less than the window allows: the window must not grow."""

    def on_idle(self, idle: float, rto: float, now: float) -> None:
        """RFC 5681 4.1, RFC 2861: see `validation`."""
        validation.after_idle(self, idle, rto)

    def shrink(self, window: int) -> None:
        """The window was not used: down to `window`; ssthresh remembers three quarters of what it was."""
        self.ssthresh = max(self.ssthresh, self.cwnd * 3 // 4)
        self.cwnd = window

    @abstractmethod
    def reduced(self, flight: int) -> int:
        """The window after congestion, with `flight` bytes outstanding."""

    def grow(self, amount: float) -> None:
        """Add `amount` bytes to the window; fractions add up."""
        amount += self._fraction
        whole = int(amount)
        self._fraction = amount - whole
        self.cwnd += whole

    def on_congestion_event(self, flight: int, now: float) -> None:
        """Multiplicative decrease (RFC 5681 3.2 step 2); the ACKs of the next round trip bring the window there."""
        self._before = (self.cwnd, self.ssthresh)
        self._reduction = ProportionalRateReduction(self.cwnd)
        self.ssthresh = self._decreased(flight)
        self.cwnd = self.ssthresh
        self._fraction = 0.0

    def _decreased(self, flight: int) -> int:
        """ssthresh after a loss."""
        self.cwnd = validation.at_loss(self, flight)
        return max(self.reduced(flight), MINIMUM_SEGMENTS * self.mss)

    def on_recovery_exit(self, flight: int, now: float) -> None:
        """RFC 9937 6.4, RFC 6582 3.2 step 3, second choice."""
        if self.ssthresh < INFINITE:  # else the controller that reduced the window has been replaced since
            self.cwnd = self.ssthresh

    def on_timeout(self, flight: int, reduce: bool, now: float) -> None:
        """RFC 5681 3.1: ssthresh as after any loss, the window back to one segment."""
        if reduce:
            self._before = (self.cwnd, self.ssthresh)
            self.ssthresh = self._decreased(flight)
        self.cwnd = self.mss
        self._fraction = 0.0

    def on_undo(self, now: float) -> None:
        """As Linux does it: at once, and never to less than the window has become since."""
        cwnd, ssthresh = self._before
        self.cwnd = max(self.cwnd, cwnd)
        self.ssthresh = max(self.ssthresh, ssthresh)
