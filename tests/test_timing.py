"""A lazy timer: exact, cheap to move, and harmless when it fires early."""

import asyncio
import math
import time

import pytest
import uvloop

from asyncstack.testing import DeadlockError, run
from asyncstack.timing import LoopTimer, clock_of


def test_fires_at_its_exact_deadline():
    async def main():
        loop, fired = asyncio.get_running_loop(), []
        timer = LoopTimer(loop, loop.time, fired.append)
        for deadline in (0.1, 0.1 + 1 / 3, 1e3 / 7):
            timer.arm(deadline)
            await asyncio.sleep(1000)
            timer.arm(loop.time() + 0.7)
            await asyncio.sleep(1)
        return fired

    fired = run(main())
    assert fired[0] == 0.1
    assert fired[1::2] == [1000 + 0.7, 2001 + 0.7, 3002 + 0.7]


def test_moving_the_deadline_later_makes_no_handle():
    async def main():
        loop, fired, handles = asyncio.get_running_loop(), [], []
        timer = LoopTimer(loop, loop.time, fired.append)
        call_at = loop.call_at
        loop.call_at = lambda *args: handles.append(args) or call_at(*args)
        for i in range(1000):
            timer.arm(10 + i * 0.001)
        await asyncio.sleep(20)
        return fired, len(handles)

    assert run(main()) == ([10.999], 2)


def test_moving_it_earlier_and_away():
    async def main():
        loop, fired = asyncio.get_running_loop(), []
        timer = LoopTimer(loop, loop.time, fired.append)
        timer.arm(10)
        timer.arm(5)
        await asyncio.sleep(7)
        assert fired == [5]
        timer.arm(20)
        timer.arm(math.inf)
        await asyncio.sleep(20)
        timer.arm(50)
        timer.cancel()
        assert loop.timers == 0
        await asyncio.sleep(50)
        return fired

    assert run(main()) == [5]


def test_background_timer_does_not_keep_virtual_time_going():
    async def main():
        loop, fired = asyncio.get_running_loop(), []

        def again(now):
            fired.append(now)
            timer.arm(now + 10)

        timer = LoopTimer(loop, loop.time, again, background=True)
        timer.arm(10)
        await asyncio.sleep(25)
        assert fired == [10, 20]
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError):
        run(main())


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_never_early_on_real_loops(factory):
    async def main():
        loop = asyncio.get_running_loop()
        clock, fired = clock_of(loop), asyncio.Event()
        times = []

        def fire(now):
            times.append(now)
            fired.set()

        timer = LoopTimer(loop, clock, fire, background=True)
        for delay in (0.0, 0.0004, 0.0031):
            deadline = clock() + delay
            fired.clear()
            timer.arm(deadline)
            await fired.wait()
            assert times[-1] >= deadline

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def test_clock_of_each_loop():
    async def main():
        return clock_of(asyncio.get_running_loop())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) is time.monotonic
    assert run(main()).__self__.__class__.__name__ == "VirtualTimeLoop"
