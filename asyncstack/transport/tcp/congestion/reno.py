"""NewReno's window (RFC 5681, RFC 6582).

- slow start: a byte for each byte acknowledged (in `LossBased`)
- congestion avoidance: one segment per round trip, counted in bytes (RFC 5681 (3), RFC 3465)
- loss: half of what is outstanding, at least two segments (RFC 5681 (4))
"""

from __future__ import annotations

from typing import ClassVar

from asyncstack.transport.tcp.congestion.base import LossBased


class Reno(LossBased):
    """RFC 5681."""

    __slots__ = ()

    name: ClassVar[str] = "reno"

    def avoid_congestion(self, acked: int, srtt: float, now: float) -> None:
        """RFC 5681 3.1 equation 3, for any number of bytes acknowledged at once."""
        self.grow(self.mss * acked / self.cwnd)

    def reduced(self, flight: int) -> int:
        """RFC 5681 equation 4."""
        return flight // 2
