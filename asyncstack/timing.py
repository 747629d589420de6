"""What the shells need of time: which clock to read, a timer that is cheap to move, and one handle for many timers."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections.abc import Callable
from typing import Protocol

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


class Timed(Protocol):
    """What waits in a `TimerQueue`. Both times are clock seconds, `math.inf` at first; `fires_at` is the queue's."""

    deadline: float
    fires_at: float

    def timer_expired(self, now: float) -> None:
        """`deadline` has passed, and is `math.inf` now."""


class TimerQueue:
    """The deadlines of very many, behind one `LoopTimer`.

    As there, who moves its deadline later, or away, assigns a float, and calls `arm` only if it lies before `fires_at`.
    To fire costs an entry in a dict; a handle of the loop for each costs ten times as much, once per request where
    there are so many connections that each is idle between two of its requests.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._loop = loop
        # those that fire at one time, in the order they came; uvloop has no finer times than its tick
        self._slots: dict[float, dict[Timed, None]] = {}
        self._times: list[float] = []  # a heap of the keys, and of some that are gone
        self._ticks = 0.0 if isinstance(loop, asyncio.BaseEventLoop) else 1 / UVLOOP_TICK
        self._timer = LoopTimer(loop, clock, self._expire)

    def arm(self, timed: Timed, deadline: float) -> None:
        """Call `timed.timer_expired` once `deadline`, before its `fires_at`, has passed."""
        if timed.fires_at < math.inf:
            self._take_out(timed)
        timed.deadline = deadline
        at = math.ceil(deadline * self._ticks) / self._ticks if self._ticks else deadline
        timed.fires_at = at
        slot = self._slots.get(at)
        if slot is not None:
            slot[timed] = None
            return
        self._slots[at] = {timed: None}
        if len(self._times) > 2 * len(self._slots) + 64:
            self._times = list(self._slots)
            heapq.heapify(self._times)
        else:
            heapq.heappush(self._times, at)
        self._timer.arm(self._times[0])

    def cancel(self, timed: Timed) -> None:
        """Forget its deadline, and it."""
        timed.deadline = math.inf
        if timed.fires_at < math.inf:
            self._take_out(timed)
            timed.fires_at = math.inf
        if not self._slots:  # not just disarmed: an idle stack has no timer at all
            self._times.clear()
            self._timer.cancel()

    def _take_out(self, timed: Timed) -> None:
        slot = self._slots.get(timed.fires_at)
        if slot is not None:  # else it is firing now
            slot.pop(timed, None)
            if not slot:
                del self._slots[timed.fires_at]

    def _expire(self, now: float) -> None:
        times, due = self._times, []
        while times and times[0] <= now:
            due.append(heapq.heappop(times))
        for at in due:
            for timed in list(self._slots.pop(at, ())):
                if timed.fires_at == at:  # else an earlier one has cancelled it
                    self._fire(timed, now)
        if self._times:
            self._timer.arm(self._times[0])

    def _fire(self, timed: Timed, now: float) -> None:
        timed.fires_at = math.inf
        if timed.deadline > now:
            if timed.deadline < math.inf:
                self.arm(timed, timed.deadline)
            return
        timed.deadline = math.inf
        try:
            timed.timer_expired(now)
        except (SystemExit, KeyboardInterrupt) as exc:
            self._loop.call_soon(interrupt, exc)
        except BaseException as exc:
            # CancelledError too, as the loop has it: the others are due all the same
            self._loop.call_exception_handler({"message": f"the timer of {timed!r}", "exception": exc})


def interrupt(exc: BaseException) -> None:
    """Stop the loop with what a callback of the application raised: for `call_soon`. Raised where it was, it would end
    more than that callback."""
    raise exc
