"""Whether sending faster still delivers faster (draft-ietf-ccwg-bbr 5.3.1.2).

Three round trips in a row whose delivery rate is less than a quarter above the last base, and that the application
did not limit: the pipe is full. Startup and each ProbeBW_UP end by it.
"""

from __future__ import annotations

from typing import Final

GROWTH: Final = 1.25
ROUNDS: Final = 3


class FullPipe:
    """`reached`: ever; `now`: since the last `reset`."""

    __slots__ = ("_base", "_count", "now", "reached")

    def __init__(self) -> None:
        self.reached = False
        self.reset(0.0)

    def reset(self, base: float) -> None:
        """Look anew, for more than `base` bytes per second."""
        self._base = base
        self._count = 0
        self.now = False

    def update(self, rate: float) -> None:
        """A round trip ended with a delivery rate of `rate`, which is the path's."""
        if self.now:
            return
        if rate >= self._base * GROWTH:
            self.reset(rate)
            return
        self._count += 1
        if self._count >= ROUNDS:
            self.now = self.reached = True
