"""Round-trip time and the retransmission timeout (RFC 6298).

- first sample R: SRTT = R, RTTVAR = R/2; then RTTVAR = 3/4 RTTVAR + 1/4 |SRTT - R|, SRTT = 7/8 SRTT + 1/8 R (2.2, 2.3)
- RTO = SRTT + max(G, 4 RTTVAR) (2.3). G is the smallest RTO here, as in Linux: an RTO of SRTT + 200 ms outlasts
  the delayed ACK of the peer on any path, where max(200 ms, SRTT + 4 RTTVAR) does not.
- a timeout doubles the RTO, up to the largest (5.5); the next sample ends that (5.7)

Samples of retransmitted data are worth nothing unless timestamps tell which transmission was acknowledged (Karn,
RFC 6298 3; RFC 7323 4): the callers see to it.
"""

from __future__ import annotations

from typing import Final

ALPHA: Final = 1 / 8
BETA: Final = 1 / 4


class RttEstimator:
    """Owned by the sender. All times in seconds; `srtt` is 0.0 before the first sample."""

    __slots__ = ("_max_rto", "_min_rto", "backoff", "latest", "min_rtt", "rto", "rttvar", "srtt")

    def __init__(self, initial_rto: float, min_rto: float, max_rto: float) -> None:
        self._min_rto = min_rto
        self._max_rto = max_rto
        self.srtt = 0.0
        self.rttvar = 0.0
        self.rto = min(initial_rto, max_rto)
        self.backoff = 0
        self.latest = 0.0
        self.min_rtt = 0.0

    def update(self, sample: float) -> None:
        """A round trip took `sample` seconds."""
        self.latest = sample
        srtt = self.srtt
        if srtt:
            error = sample - srtt
            srtt += error * ALPHA
            rttvar = self.rttvar
            rttvar += ((error if error >= 0.0 else -error) - rttvar) * BETA
            if sample < self.min_rtt:
                self.min_rtt = sample
        else:
            # a clock may stand still for a round trip (virtual time); the sample still counts as one
            srtt = self.min_rtt = sample if sample > 0.0 else 1e-6
            rttvar = sample / 2
        self.srtt = srtt
        self.rttvar = rttvar
        variation = 4.0 * rttvar
        rto = srtt + (variation if variation > self._min_rto else self._min_rto)
        self.rto = rto if rto < self._max_rto else self._max_rto
        self.backoff = 0

    def back_off(self) -> None:
        """The timer expired."""
        self.backoff += 1
        self.rto = min(self.rto * 2.0, self._max_rto)

    def restart(self, rto: float) -> None:
        """Start from `rto` because the handshake's timer expired and gave no sample (RFC 6298 5.7)."""
        self.backoff = 0
        self.rto = min(max(rto, self._min_rto), self._max_rto)
