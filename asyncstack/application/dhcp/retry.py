"""When a client asks again (RFC 2131 4.1, 4.4.5)."""

from __future__ import annotations

import math
import random
from typing import Final

FIRST_RETRY: Final = 4.0  # seconds
LAST_RETRY: Final = 64.0
LEAST_RENEWAL_RETRY: Final = 60.0


class Backoff:
    """Waits that double, each a little different, so that many clients do not ask in step. `tries`: how often it has
    asked."""

    def __init__(self, rng: random.Random, first: float = FIRST_RETRY) -> None:
        self.tries = 0
        self._rng = rng
        self._first = first

    def restart(self) -> None:
        """Something else is asked for now."""
        self.tries = 0

    def next(self) -> float:
        """Seconds to wait for an answer to what is asked now."""
        wait = min(self._first * math.ldexp(1, min(self.tries, 16)), max(LAST_RETRY, self._first))
        self.tries += 1
        return wait + self._rng.uniform(-1.0, 1.0) * min(wait / 4, 1.0)


def renewal_retry(now: float, until: float) -> float:
    """When to ask again for a renewal, if what comes next begins at `until`: after half of the time left."""
    return now + max((until - now) / 2, LEAST_RENEWAL_RETRY)
