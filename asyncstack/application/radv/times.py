"""When a router advertises itself (RFC 4861 6.2.4 to 6.2.6). Does no I/O and reads no clock.

    start(now), stop(now), receive_solicitation(now), timer_expired(now)
    advertisements_to_send(now)     one word for each that is due: ADVERTISE, or CEASE for the last
    deadline

All go to all nodes: hosts that come at the same time share an answer, and nobody can make us send more often than
every `min_delay` seconds.
"""

from __future__ import annotations

import math
import random
from enum import Enum
from typing import Final

MAX_INITIAL_ADVERTISEMENTS: Final = 3
MAX_INITIAL_INTERVAL: Final = 16.0
MAX_DELAY: Final = 0.5  # before an answer to a solicitation
MIN_DELAY_BETWEEN: Final = 3.0


class State(Enum):
    """What the router is doing."""

    SILENT = "silent"  # not begun, or ended
    INITIAL = "initial"  # the first few, in short order
    STEADY = "steady"


class Input(Enum):
    """What moves it from state to state."""

    START = "start"
    SAID_OFTEN = "said often"  # the initial ones are out
    STOP = "stop"


TRANSITIONS: Final = {
    (State.SILENT, Input.START): State.INITIAL,
    (State.INITIAL, Input.SAID_OFTEN): State.STEADY,
    (State.INITIAL, Input.STOP): State.SILENT,
    (State.STEADY, Input.STOP): State.SILENT,
}


class Due(Enum):
    """What to send."""

    ADVERTISE = "advertise"
    CEASE = "cease"  # that we are a router no longer


class AdvertisementTimes:
    """`interval`: (least, most) seconds between two that nobody asked for. `rng` spreads them."""

    def __init__(self, interval: tuple[float, float], rng: random.Random) -> None:
        least, most = interval
        if not (MIN_DELAY_BETWEEN <= least <= most <= 1800 and most >= 4):
            raise ValueError(
                f"interval={interval}: (least, most) seconds, from {MIN_DELAY_BETWEEN} and 4 to 1800 (RFC 4861 6.2.1)"
            )
        self.state = State.SILENT
        self.deadline = math.inf
        self._least, self._most = least, most
        self._rng = rng
        self._sent = 0
        self._last = -math.inf  # when the one before left
        self._due: list[Due] = []

    # inputs

    def start(self, now: float) -> None:
        """Begin, with an advertisement at once."""
        self._apply(Input.START)
        self._sent = 0
        self._advertise(now)

    def stop(self, now: float) -> None:
        """End, with a last advertisement that says so (RFC 4861 6.2.5)."""
        if self.state is not State.SILENT:
            self._apply(Input.STOP)
            self.deadline = math.inf
            self._due = [Due.CEASE]

    def receive_solicitation(self, now: float) -> None:
        """A host asks. It is answered soon, unless one is due even sooner (RFC 4861 6.2.6)."""
        if self.state is not State.SILENT:
            answer = max(now, self._last + MIN_DELAY_BETWEEN) + self._rng.uniform(0.0, MAX_DELAY)
            self.deadline = min(self.deadline, answer)

    def timer_expired(self, now: float) -> None:
        """Advertise, if it is time."""
        if now >= self.deadline:
            self._advertise(now)

    # outputs

    def advertisements_to_send(self, now: float) -> list[Due]:
        """What is due since the last call."""
        due, self._due = self._due, []
        return due

    # the machine

    def _advertise(self, now: float) -> None:
        self._due.append(Due.ADVERTISE)
        self._last = now
        self._sent += 1
        wait = self._rng.uniform(self._least, self._most)
        if self._sent >= MAX_INITIAL_ADVERTISEMENTS:
            self._apply(Input.SAID_OFTEN)
        if self.state is State.INITIAL:
            wait = min(wait, MAX_INITIAL_INTERVAL)
        self.deadline = now + wait

    def _apply(self, event: Input) -> None:
        """The one place that assigns `state`."""
        self.state = TRANSITIONS.get((self.state, event), self.state)
