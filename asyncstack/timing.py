"""The two things the shells need of time: which clock to read, and a timer that is cheap to move."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

Clock = Callable[[], float]

# uvloop rounds a delay to its tick; below half a tick it means "now", and a lazy timer that re-arms for the
# rest would spin until the deadline.
UVLOOP_TICK = 0.001


def clock_of(loop: asyncio.AbstractEventLoop) -> Clock:
    """The clock that `now` comes from: seconds, monotonic.

    A loop in pure Python may run in virtual time, so its own `time` is the truth. uvloop's `time` is rounded
    to milliseconds and can not be overridden: there the system's monotonic clock is read.
    """
    if isinstance(loop, asyncio.BaseEventLoop):
        return loop.time
    return time.monotonic


def wall_clock_of(loop: asyncio.AbstractEventLoop) -> Clock:
    """The time of day: seconds since the epoch. In virtual time it is the loop's, so that a run repeats."""
    return loop.time if hasattr(loop, "call_at_background") else time.time


def _nothing(now: float) -> None:
    pass


class LoopTimer:
    """One `loop.call_later` handle behind a deadline that moves often.

    Moving the deadline later, or away, touches only a float; the handle re-arms itself when it fires early.
    `callback(now)` runs once the deadline has passed. `background` is for housekeeping that repeats for ever: a
    loop in virtual time does not go on for its sake alone.

    `deadline` and `fires_at` are `math.inf` while there is none. Who moves the deadline of very many timers may assign
    it without a call, and has to call `arm` only if it lies before `fires_at`.
    """

    __slots__ = (
        "_background",
        "_callback",
        "_clock",
        "_exact",
        "_handle",
        "_loop",
        "deadline",
        "fires_at",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        callback: Callable[[float], None],
        *,
        background: bool = False,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._callback = callback
        # the loop's own clock: no delay to compute, whose rounding would fire the handle a little early
        self._exact = clock == loop.time
        self._background = background and hasattr(loop, "call_at_background")
        self._handle: asyncio.TimerHandle | None = None
        self.fires_at = math.inf
        self.deadline = math.inf

    def arm(self, deadline: float) -> None:
        """Fire at `deadline` (clock seconds; `math.inf` for never) instead of the last one given."""
        self.deadline = deadline
        if deadline < self.fires_at:
            self._schedule(deadline)

    def cancel(self) -> None:
        """Forget the deadline and free the handle."""
        self.deadline = self.fires_at = math.inf
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def end(self) -> None:
        """Cancel for good, and let go of the callback: whose method it is can be freed without the collector."""
        self.cancel()
        self._callback = _nothing

    def _schedule(self, deadline: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self.fires_at = deadline
        if self._background:
            self._handle = self._loop.call_at_background(deadline, self._fire)  # type: ignore[attr-defined]
            return
        if self._exact:
            self._handle = self._loop.call_at(deadline, self._fire)
            return
        delay = max(deadline - self._clock(), 0.0)
        if 0.0 < delay < UVLOOP_TICK and not isinstance(self._loop, asyncio.BaseEventLoop):
            delay = UVLOOP_TICK
        self._handle = self._loop.call_later(delay, self._fire)

    def _fire(self) -> None:
        self._handle = None
        self.fires_at = math.inf
        now = self._clock()
        if self.deadline > now:
            if self.deadline < math.inf:
                self._schedule(self.deadline)
            return
        self.deadline = math.inf
        self._callback(now)
