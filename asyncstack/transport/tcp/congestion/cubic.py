"""CUBIC's window (RFC 9438).

- W_cubic(t) = C (t - K)^3 + W_max, K = cbrt((W_max - cwnd_epoch) / C): concave up to the window of the last loss,
  convex beyond (4.2). The window goes for W_cubic(t + RTT), by at most half of itself per round trip (4.4, 4.5).
- W_est is what Reno would have with the same decrease; where it is larger it is the window (4.3)
- loss: 0.7 of the window; a flow that lost below its last W_max leaves room to others (fast convergence, 4.7)
- a timeout starts a new epoch (4.8); time in which the application did not fill the window does not count (5.8)

The window is in bytes, the formulas in segments. Where RFC 9438 4.6 reduces what is in flight this reduces the
window: it does not grow unless it is full, so the two differ only by what the application left out.
"""

from __future__ import annotations

from typing import ClassVar, Final

from asyncstack.transport.tcp.congestion.base import LossBased

C: Final = 0.4  # segments per second cubed
BETA: Final = 0.7
ALPHA: Final = 3.0 * (1.0 - BETA) / (1.0 + BETA)  # Reno's growth with this decrease, segments per round trip


class Cubic(LossBased):
    """RFC 9438. `_epoch` below 0 means that congestion avoidance has not begun since the last loss."""

    __slots__ = ("_curve", "_epoch", "_k", "_last", "_prior", "_w_est", "_w_max")

    name: ClassVar[str] = "cubic"

    def __init__(self) -> None:
        super().__init__()
        self._epoch = -1.0  # when this period of congestion avoidance began
        self._last = 0.0  # when the last ACK came
        self._k = 0.0  # seconds from then to W_max
        self._w_max = 0.0  # bytes, as all the others
        self._w_est = 0.0
        self._prior = 0.0  # the window before the last decrease
        self._curve = (-1.0, 0.0, 0.0, 0.0, 0.0)  # all of these before it

    def avoid_congestion(self, acked: int, srtt: float, now: float) -> None:
        """RFC 9438 4.2 to 4.5."""
        cwnd = self.cwnd
        if self._epoch < 0.0:
            self._begin(now)
        self._last = now
        elapsed = now - self._epoch + srtt - self._k
        target = self._w_max + C * elapsed * elapsed * elapsed * self.mss
        self._w_est += (ALPHA if self._w_est < self._prior else 1.0) * self.mss * acked / cwnd
        if target > 1.5 * cwnd:
            target = 1.5 * cwnd
        growth = (target - cwnd) * acked / cwnd
        if self._w_est - cwnd > growth:
            growth = self._w_est - cwnd
        if growth > 0.0:
            # `grow`, spelled out: this runs for every ACK
            growth += self._fraction
            whole = int(growth)
            self._fraction = growth - whole
            self.cwnd = cwnd + whole

    def _begin(self, now: float) -> None:
        cwnd = float(self.cwnd)
        self._epoch = now
        if self._w_max <= cwnd:
            self._w_max = cwnd
            self._k = 0.0
        else:
            self._k = ((self._w_max - cwnd) / (C * self.mss)) ** (1 / 3)
        self._w_est = cwnd

    def on_unused_window(self, now: float) -> None:
        """Time does not pass for the curve while the window is not used (5.8)."""
        if self._epoch >= 0.0:
            self._epoch += now - self._last
            self._last = now

    def reduced(self, flight: int) -> int:
        """RFC 9438 4.6 and 4.7; also ends the epoch."""
        cwnd = float(self.cwnd)
        self._curve = (self._epoch, self._k, self._w_max, self._w_est, self._prior)
        self._epoch = -1.0
        self._prior = cwnd
        self._w_max = cwnd * (1.0 + BETA) / 2.0 if cwnd < self._w_max else cwnd
        return int(cwnd * BETA)

    def on_timeout(self, flight: int, reduce: bool, now: float) -> None:
        """RFC 9438 4.8: the next curve begins where slow start will end, K = 0."""
        super().on_timeout(flight, reduce, now)
        self._epoch = -1.0
        self._w_max = 0.0

    def on_idle(self, idle: float, rto: float, now: float) -> None:
        """The pause does not count as time on the curve."""
        super().on_idle(idle, rto, now)
        self.on_unused_window(now)

    def on_undo(self, now: float) -> None:
        """The curve goes on as if nothing had been (RFC 9438 4.9)."""
        super().on_undo(now)
        self._epoch, self._k, self._w_max, self._w_est, self._prior = self._curve
