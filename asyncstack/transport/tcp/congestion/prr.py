"""Proportional rate reduction: how a window goes down to ssthresh within one round trip (RFC 9937, before 6937).

- above ssthresh: for every `prior` bytes that arrive, `ssthresh` bytes leave, so that the reduction is spread over the
  round trip and the ACK clock never stops
- at or below it: as many leave as arrive (conservation, CRB), and one segment more for each ACK that moves SND.UNA and
  shows no new loss (slow start, SSRB), until ssthresh is reached
- one segment may always leave at the beginning: the fast retransmission

The prior window is the congestion window, and parts of a segment are rounded up to one, as in Linux. What has been
sent since the beginning is the difference of `AckSample.sent`, so nobody has to report transmissions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncstack.transport.tcp.congestion.base import AckSample


class ProportionalRateReduction:
    """One reduction, of a window that was `prior` bytes until now."""

    __slots__ = ("_delivered", "_prior", "_sent_before")

    def __init__(self, prior: int) -> None:
        self._prior = max(prior, 1)
        self._delivered = 0
        self._sent_before = -1

    def window(self, sample: AckSample, ssthresh: int, mss: int) -> int:
        """The congestion window after this ACK."""
        if self._sent_before < 0:
            self._sent_before = sample.sent
        out = sample.sent - self._sent_before
        self._delivered += sample.delivered_now
        short = ssthresh - sample.pipe
        if short < 0:
            segments = -(-self._delivered * ssthresh // (self._prior * mss))
            allowed = segments * mss - out
        else:
            allowed = max(self._delivered - out, sample.delivered_now)
            if sample.advanced and not sample.lost:
                allowed += mss
            allowed = min(allowed, short)
        return max(sample.pipe + max(allowed, 0 if out else mss), mss)
