"""A time limit on what a task awaits, cheap enough to set for every request."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType

from asyncstack.timing import LoopTimer, clock_of


class Deadline:
    """`with deadline.within(seconds): await ...` raises TimeoutError when the time is over.

    `asyncio.timeout` makes and cancels a handle each time; this moves one lazy timer, which stays armed between
    uses and is freed by `cancel`. One use at a time.
    """

    __slots__ = ("_cancelling", "_expired", "_loop", "_task", "_timer", "clock")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.clock = clock_of(loop)
        self._loop = loop
        # made with the first use; it refers back here, so `cancel` drops it
        self._timer: LoopTimer | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._expired = False

    def within(self, seconds: float) -> Deadline:
        """Limits the block that follows to `seconds` from now."""
        timer = self._timer
        if timer is None:
            timer = self._timer = LoopTimer(self._loop, self.clock, self._expire)
        timer.arm(self.clock() + seconds)
        return self

    def cancel(self) -> None:
        """Free the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._expired = False

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._timer is not None:
            self._timer.deadline = math.inf
        if self._expired:
            assert task is not None
            if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from exc

    def _expire(self, now: float) -> None:
        if self._task is not None:
            self._expired = True
            self._task.cancel()
