"""How often a client speaks, and repeats itself (RFC 8415 7.6, 14.1 and 15). Does no I/O and reads no clock."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from asyncstack.wire import dhcp6

JITTER: Final = 0.1
ELAPSED_LIMIT: Final = 0xFFFF  # hundredths of a second
BURST: Final = 20  # messages
PERIOD: Final = 20.0  # seconds for as many


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, 0: without limit. delay: at most before the first; irt, mrt: the first wait and the longest; mrc: how
    often it is sent; mrd: how long is tried."""

    irt: float
    mrt: float = 0.0
    mrc: int = 0
    mrd: float = 0.0
    delay: float = 0.0


# RFC 8415 7.6
TIMINGS: Final = {
    dhcp6.SOLICIT: Timing(irt=1.0, mrt=3600.0, delay=1.0),
    dhcp6.REQUEST: Timing(irt=1.0, mrt=30.0, mrc=10),
    dhcp6.CONFIRM: Timing(irt=1.0, mrt=4.0, mrd=10.0, delay=1.0),
    dhcp6.RENEW: Timing(irt=10.0, mrt=600.0),  # until T2
    dhcp6.REBIND: Timing(irt=10.0, mrt=600.0),  # until no address is valid
    dhcp6.RELEASE: Timing(irt=1.0, mrc=4),
    dhcp6.DECLINE: Timing(irt=1.0, mrc=4),
    dhcp6.INFORMATION_REQUEST: Timing(irt=1.0, mrt=3600.0, delay=1.0),
}


class Pace:
    """Bounds what a loop makes us say, as with a server that offers what it then refuses (RFC 8415 14.1)."""

    def __init__(self) -> None:
        self._sent: deque[float] = deque(maxlen=BURST)

    def transmitted(self, now: float) -> None:
        """A message leaves now."""
        self._sent.append(now)

    @property
    def free_at(self) -> float:
        """From when on another one may leave."""
        return self._sent[0] + PERIOD if len(self._sent) == BURST else -math.inf


class Exchange:
    """One message, until it is answered: when to send it again, and when to give up. `due`: clock seconds.

    longest: in place of the mrt of the table, as a server may say (RFC 8415 21.24, 21.25).
    """

    def __init__(self, kind: int, rng: random.Random, now: float, longest: float = 0.0) -> None:
        timing = TIMINGS[kind]
        self.kind = kind
        self.transaction = rng.getrandbits(24)
        self.sent = 0
        self.due = now + rng.uniform(0.0, timing.delay)
        self._timing = replace(timing, mrt=longest) if longest else timing
        self._rng = rng
        self._began = math.nan
        self._wait = 0.0

    def is_over(self, now: float) -> bool:
        """Whether it was sent often enough, or for long enough, when `due` has come."""
        timing = self._timing
        if not self.sent:
            return False
        return bool(
            (timing.mrc and self.sent >= timing.mrc) or (timing.mrd and now >= self._began + timing.mrd)
        )

    def transmitted(self, now: float) -> None:
        """It leaves now."""
        timing = self._timing
        if not self.sent:
            self._began = now
        rand = self._rng.uniform(-JITTER, JITTER)
        if self._wait:
            self._wait = (2 + rand) * self._wait
        elif self.kind == dhcp6.SOLICIT:
            self._wait = timing.irt * (1 + abs(rand))  # RFC 8415 18.2.1: longer than irt
        else:
            self._wait = timing.irt * (1 + rand)
        if timing.mrt and self._wait > timing.mrt:
            self._wait = timing.mrt * (1 + rand)
        self.sent += 1
        self.due = now + self._wait
        if timing.mrd:
            self.due = min(self.due, self._began + timing.mrd)

    def elapsed(self, now: float) -> int:
        """Hundredths of a second since it was sent first (RFC 8415 21.9)."""
        return min(round((now - self._began) * 100), ELAPSED_LIMIT) if self.sent else 0
