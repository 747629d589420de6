"""When a host asks for routers: until one has offered itself, ever more rarely (RFC 4861 6.3.7, RFC 7559).

start(now), receive_router(), timer_expired(now)
solicitations_to_send(now)      how many are due, 0 or 1
deadline
"""

from __future__ import annotations

import math
import random
from typing import Final

INITIAL_INTERVAL: Final = 4.0  # seconds
MAX_INTERVAL: Final = 3600.0
_RANDOM: Final = 0.1  # of the interval, more or less: RFC 8415 15


class RouterSolicitor:
    """Of one interface. `asked` counts the solicitations since `start`."""

    def __init__(self, rng: random.Random) -> None:
        self.asked = 0
        self.deadline = math.inf
        self._rng = rng
        self._interval = 0.0
        self._due = 0

    def start(self, now: float) -> None:
        """Ask now, and again."""
        self.asked = self._due = 0
        self._interval = 0.0
        self.deadline = now
        self.timer_expired(now)

    def receive_router(self) -> None:
        """A router has offered itself: stop to ask."""
        self._due = 0
        self.deadline = math.inf

    def timer_expired(self, now: float) -> None:
        """Ask again. Early calls do nothing."""
        if now < self.deadline:
            return
        self._due = 1
        self.asked += 1
        base = min(2 * self._interval, MAX_INTERVAL) or INITIAL_INTERVAL
        self._interval = base + self._rng.uniform(-_RANDOM, _RANDOM) * (self._interval or INITIAL_INTERVAL)
        if base == MAX_INTERVAL:
            self._interval = MAX_INTERVAL * (1 + self._rng.uniform(-_RANDOM, _RANDOM))
        self.deadline = now + self._interval

    def solicitations_to_send(self, now: float) -> int:
        """How many to send since the last call."""
        due, self._due = self._due, 0
        return due
