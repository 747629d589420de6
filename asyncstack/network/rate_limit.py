"""A token bucket for messages that strangers can make us send."""

from __future__ import annotations

import random


class TokenBucket:
    """At most `burst` messages at once and, on average, `rate` per second.

    A message costs 0, 1 or 2 tokens at random: an exact count of what is left, read off by probing, tells an
    attacker about the traffic of others (CVE-2020-25705).
    """

    __slots__ = ("_burst", "_filled", "_rate", "_rng", "_tokens")

    def __init__(self, rate: float, burst: int, rng: random.Random) -> None:
        self._rate = rate
        self._burst = burst
        self._rng = rng
        self._tokens = float(burst)
        self._filled = 0.0

    def take(self, now: float) -> bool:
        """Whether a message may be sent at `now`, seconds."""
        self._tokens = min(self._burst, self._tokens + max(now - self._filled, 0.0) * self._rate)
        self._filled = now
        if self._tokens < 1.0:
            return False
        self._tokens -= self._rng.randrange(3)
        return True
