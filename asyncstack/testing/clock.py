"""Virtual time: an event loop whose clock jumps to the next timer as soon as nothing is left to do.

An hour of retransmissions takes as long as its computation, and two runs take the same steps in the same order:

- `time()` stands still while callbacks run, and then becomes exactly the deadline of the next timer;
- timers with equal deadlines run in the order in which they were made (asyncio leaves that open);
- what a thread hands over is taken when nothing else is left to do at this instant, one at a time, and the
  default executor has one worker, so that the speed of a thread decides nothing;
- the clock holds while an executor job is out, or while `hold()` says so.

When every task waits, and no timer, job or file descriptor could wake one, the loop raises `DeadlockError`, which names
the tasks, instead of waiting for ever. A limit on virtual time ends what would go on for ever.

File descriptors work, but they live in real time: they are polled before each jump, and waited for only when no
timer is set.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import heapq
import math
import random
import selectors
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context
from typing import Any, Final, TypeVar, TypeVarTuple

from asyncstack.loop.routing import RoutingLoop
from asyncstack.testing.blocked import describe_tasks

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

DAY: Final = 86400.0
_SELF_PIPE: Final = 1  # file descriptors of the loop's own
# files, and signals, which come through the self pipe, are polled this often under load
_POLL_TURNS: Final = 256
_PATIENCE_TURNS: Final = 16384  # turns a thread's result waits for the loop to come to rest
_CLEANUP_SECONDS: Final = 600.0  # of virtual time past the limit, for `finally` blocks
_STALE_TIMERS: Final = 128


class DeadlockError(RuntimeError):
    """Every task waits and nothing is left that could wake one."""


class TimeLimitError(RuntimeError):
    """The next timer lies beyond the limit on virtual time."""


class _Timer(asyncio.TimerHandle):
    """A timer handle that knows whether it keeps the clock running: set, not cancelled, not in the background."""

    __slots__ = ("alive",)
    alive: bool
    _scheduled: bool


class VirtualTimeLoop(RoutingLoop, asyncio.SelectorEventLoop):
    """An asyncio loop in virtual time that routes by address (see `asyncstack.loop`). `start` and `limit` are
    seconds on its own clock."""

    _ready: deque[asyncio.Handle]
    _selector: selectors.BaseSelector
    _stopping: bool
    _default_executor: concurrent.futures.Executor | None

    def __init__(self, *, start: float = 0.0, limit: float = DAY, seed: int | None = None) -> None:
        super().__init__()
        self.limit = limit
        self.seed = seed
        self._files = self._selector.get_map()
        self._now = float(start)
        self._timers: list[tuple[float, int, _Timer]] = []
        self._serial = 0
        self._alive = 0  # timers that keep the clock running
        self._stale = 0  # cancelled timers still in the heap
        self._held = 0
        self._from_threads: deque[asyncio.Handle] = deque()
        self._turns = 0
        self._rested = 0  # turn in which nothing was left to do

    def __repr__(self) -> str:
        return f"<VirtualTimeLoop t={self._now:.6f} timers={len(self._timers) - self._stale}>"

    # time and timers

    def time(self) -> float:
        """Seconds of virtual time."""
        return self._now

    @property
    def timers(self) -> int:
        """Timers that are set and keep the clock going. A test that counts them finds what was left behind."""
        return self._alive

    def call_later(
        self, delay: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As asyncio's, in virtual time."""
        return self._set_timer(self._now + delay, callback, args, context, alive=True)

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As asyncio's, in virtual time; equal times run in the order of the calls."""
        return self._set_timer(when, callback, args, context, alive=True)

    def call_at_background(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As `call_at`, for housekeeping that repeats: it does not keep the clock going, but runs while others do."""
        return self._set_timer(when, callback, args, context, alive=False)

    def _set_timer(
        self, when: float, callback: Callable[..., object], args: Any, context: Context | None, alive: bool
    ) -> asyncio.TimerHandle:
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        timer = _Timer(when, callback, args, self, context)
        timer._scheduled = True
        timer.alive = alive = alive and when < math.inf
        self._alive += alive
        self._serial += 1
        heapq.heappush(self._timers, (when, self._serial, timer))
        return timer

    def _timer_handle_cancelled(self, timer: _Timer) -> None:
        if not timer._scheduled:
            return
        self._alive -= timer.alive
        timer.alive = False
        self._stale += 1
        if self._stale > _STALE_TIMERS and self._stale * 2 > len(self._timers):
            # `timer` is cancelled right after this call.
            self._timers = [
                entry for entry in self._timers if not entry[2]._cancelled and entry[2] is not timer
            ]
            heapq.heapify(self._timers)
            timer._scheduled = False
            self._stale = 0

    # threads

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Let the clock stand while a thread of your own works for the loop and will call `call_soon_threadsafe`."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """As asyncio's; the clock stands until the job is done. The default executor runs one job after the other."""
        if executor is None and self._default_executor is None and not self.is_closed():
            self.set_default_executor(concurrent.futures.ThreadPoolExecutor(1, "virtual-time"))
        future = super().run_in_executor(executor, func, *args)
        self._held += 1
        future.add_done_callback(self._job_done)
        return future

    def _job_done(self, future: asyncio.Future[Any]) -> None:
        self._held -= 1

    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As asyncio's; taken when nothing else is left to do at this instant."""
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        handle = asyncio.Handle(callback, args, self, context)
        self._from_threads.append(handle)
        self._write_to_self()
        return handle

    async def shutdown_default_executor(self, *args: Any) -> None:
        """As asyncio's, which uses a thread for it."""
        with self.hold():
            await super().shutdown_default_executor(*args)

    def close(self) -> None:
        """As asyncio's."""
        super().close()
        self._timers.clear()
        self._from_threads.clear()

    # the loop

    def _run_once(self) -> None:
        self._turns += 1
        if not self._turns % _POLL_TURNS:
            self._look_around()
        ready, timers, now = self._ready, self._timers, self._now
        if not (ready or (timers and timers[0][0] <= now) or self._stopping):
            self._rest()
            timers, now = self._timers, self._now
        while timers and timers[0][0] <= now:
            timer = heapq.heappop(timers)[2]
            timer._scheduled = False
            if timer._cancelled:
                self._stale -= 1
            else:
                self._alive -= timer.alive
                timer.alive = False
                ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _look_around(self) -> None:
        """What a loop that is never at rest must not miss: signals, files, and in the end also threads."""
        self._poll(0.0)
        if self._from_threads and self._turns - self._rested > _PATIENCE_TURNS:
            self._rested = self._turns
            self._ready.append(self._from_threads.popleft())

    def _rest(self) -> None:
        """Nothing is left to do at this instant: take what a thread brought, wait for one, or jump."""
        self._rested = self._turns
        files = len(self._files) > _SELF_PIPE
        if files:
            self._poll(0.0)
        if self._ready:
            return
        if self._from_threads:
            self._ready.append(self._from_threads.popleft())
        elif self._held:
            self._poll(None)
        elif self._alive:
            self._jump()
        elif files:
            self._poll(None)
        else:
            raise DeadlockError(
                f"every task waits and no timer is set at t={self._now:.6f} s: nothing can happen any more"
                + self._housekeeping()
                + describe_tasks(self)
            )

    def _housekeeping(self) -> str:
        """Who waits for the end of a lease has timers to wait for, and wants to know why they do not count."""
        if all(timer._cancelled or when == math.inf for when, _, timer in self._timers):
            return ""
        return ", but for the end of leases and the like: the clock runs for these only while a task sleeps"

    def _jump(self) -> None:
        timers = self._timers
        while timers[0][2]._cancelled:
            heapq.heappop(timers)[2]._scheduled = False
            self._stale -= 1
        when = timers[0][0]
        if when > self.limit:
            limit, self.limit = self.limit, max(self.limit, self._now) + _CLEANUP_SECONDS
            raise TimeLimitError(
                f"virtual time reached its limit of {limit:g} s (the next timer is due at {when:.6f} s)"
                + describe_tasks(self)
            )
        self._now = when

    def _poll(self, timeout: float | None) -> None:
        self._process_events(self._selector.select(timeout))

    def _process_events(self, event_list: list[Any]) -> None:
        super()._process_events(event_list)  # type: ignore[misc]

    def _write_to_self(self) -> None:
        super()._write_to_self()  # type: ignore[misc]


def new_event_loop(
    *, start: float = 0.0, limit: float = DAY, seed: int | None = None
) -> asyncio.AbstractEventLoop:
    """A loop in virtual time: a factory for `asyncio.Runner(loop_factory=...)` and pytest-asyncio."""
    return VirtualTimeLoop(start=start, limit=limit, seed=seed)


def run(
    main: Coroutine[Any, Any, _T],
    *,
    seed: int | None = None,
    limit: float = DAY,
    start: float = 0.0,
    debug: bool | None = None,
) -> _T:
    """`asyncio.run` in virtual time, at most `limit` seconds of it.

    With a `seed`, networks made without one of their own take it, and the `random` module is seeded with it for the
    length of the run. Raises `DeadlockError`, `TimeLimitError`, and whatever `main` raises.
    """
    state = random.getstate()
    if seed is not None:
        random.seed(seed)

    def factory() -> asyncio.AbstractEventLoop:
        return VirtualTimeLoop(start=start, limit=limit, seed=seed)

    try:
        with asyncio.Runner(debug=debug, loop_factory=factory) as runner:
            return runner.run(main)
    finally:
        if seed is not None:
            random.setstate(state)
