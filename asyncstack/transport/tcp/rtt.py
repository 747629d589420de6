"""Round-trip time and the retransmission timeout (RFC 6298).

- first sample R: SRTT = R, RTTVAR = R/2; then RTTVAR = 3/4 RTTVAR + 1/4 |SRTT - R|, SRTT = 7/8 SRTT + 1/8 R (2.2, 2.3)
- RTO = SRTT + max(G, 4 RTTVAR) (2.3). G is the smallest RTO here, as in Linux: an RTO of SRTT + 200 ms outlasts
  the delayed ACK of the peer on any path, where max(200 ms, SRTT + 4 RTTVAR) does not.
- a timeout doubles the RTO, up to the largest (5.5); the next sample ends that (5.7), and so does the ACK of a
  repetition that comes when an answer to it would: not before the least round trip, and within SRTT + 4 RTTVAR. It is
  no sample (Karn), but it shows that the estimate still holds. Without timestamps or SACK, on a path that loses every
  fifth segment, samples are rare, and the RTO would stay at its largest.

Samples of retransmitted data are worth nothing unless timestamps tell which transmission was acknowledged (Karn,
RFC 6298 3; RFC 7323 4): the callers see to it.
"""

from __future__ import annotations

from typing import Final

ALPHA: Final = 1 / 8
BETA: Final = 1 / 4


class RttEstimator:
    """Owned by the sender. All times in seconds; `srtt` is 0.0 before the first sample."""

    __slots__ = (
        "_began",
        "_least_srtt",
        "_least_var",
        "_max_rto",
        "_min_rto",
        "backoff",
        "latest",
        "min_rtt",
        "rto",
        "rttvar",
        "srtt",
    )

    def __init__(self, initial_rto: float, min_rto: float, max_rto: float) -> None:
        self._min_rto = min_rto
        self._max_rto = max_rto
        self._began = False
        self._least_srtt = self._least_var = 0.0  # of the next sample, after a spurious timeout
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
        if self._began:
            error = sample - srtt
            srtt += error * ALPHA
            rttvar = self.rttvar
            rttvar += ((error if error >= 0.0 else -error) - rttvar) * BETA
            if sample < self.min_rtt:
                self.min_rtt = sample
        else:
            # a clock may stand still for a round trip (virtual time); the sample still counts as one
            srtt = sample if sample > 0.0 else 1e-6
            rttvar = max(sample / 2, self._least_var)
            self.min_rtt = min(self.min_rtt, srtt) if self.srtt else srtt
            srtt = max(srtt, self._least_srtt)
            self._began = True
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

    def surprised(self) -> None:
        """The timer expired too early: the next sample counts in full (RFC 4015 3.2, step STO)."""
        if self.srtt:
            self._began = False
            self._least_srtt, self._least_var = self.srtt, self.rttvar
            self.confirmed()

    def expects(self, elapsed: float) -> bool:
        """Whether an answer after `elapsed` seconds is what the estimate foretells. It may come in half of the least
        round trip: on a slow link what is sent again in smaller segments takes less time."""
        return self.min_rtt / 2 <= elapsed <= self.srtt + 4.0 * self.rttvar

    def confirmed(self) -> None:
        """An answer came in the time that the present estimate expects: there is nothing to back off from."""
        self.backoff = 0
        self.rto = min(self.srtt + max(4.0 * self.rttvar, self._min_rto), self._max_rto)

    def restart(self, rto: float) -> None:
        """Start from `rto` because the handshake's timer expired and gave no sample (RFC 6298 5.7)."""
        self.backoff = 0
        self.rto = min(max(rto, self._min_rto), self._max_rto)
