"""A lazy timer: exact, cheap to move, and harmless when it fires early."""

import asyncio
import math
import time

import pytest
import uvloop

from asyncstack.testing import DeadlockError, run
from asyncstack.timing import LoopTimer, TimerQueue, clock_of


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


# many behind one handle


class Timed:
    """Notes when it fires, and does what a test wants of it then."""

    def __init__(self, queue, then=lambda now: None):
        self.queue, self.then = queue, then
        self.deadline = self.fires_at = math.inf
        self.fired = []

    def timer_expired(self, now):
        self.fired.append(now)
        self.then(now)

    def move(self, deadline):
        self.deadline = deadline
        if deadline < self.fires_at:
            self.queue.arm(self, deadline)


def queue():
    loop = asyncio.get_running_loop()
    return TimerQueue(loop, clock_of(loop))


def test_each_of_a_queue_fires_at_its_own_deadline():
    async def main():
        timers = queue()
        many = [Timed(timers) for _ in range(100)]
        for i, timed in enumerate(many):
            timed.move(1 + (i * 37 % 100) / 7)
        assert asyncio.get_running_loop().timers == 1
        await asyncio.sleep(20)
        assert asyncio.get_running_loop().timers == 0
        return [timed.fired for timed in many]

    assert run(main()) == [[1 + (i * 37 % 100) / 7] for i in range(100)]


def test_in_a_queue_later_and_away_are_a_float():
    async def main():
        timers = queue()
        later, away, gone, stays = (Timed(timers) for _ in range(4))
        for timed in (later, away, gone, stays):
            timed.move(1.0)
        later.deadline, away.deadline = 3.0, math.inf
        timers.cancel(gone)
        await asyncio.sleep(2)
        later.move(2.5)
        await asyncio.sleep(2)
        assert away.fires_at == gone.fires_at == later.deadline == math.inf
        return later.fired, away.fired, gone.fired, stays.fired

    assert run(main()) == ([2.5], [], [], [1.0])


def test_one_that_fires_may_cancel_and_arm_the_others():
    async def main():
        timers = queue()
        second, third = Timed(timers), Timed(timers)

        def meddle(now):
            timers.cancel(second)
            third.move(now + 1)
            first.move(now + 2)

        first = Timed(timers, meddle)
        for timed in (first, second, third):
            timed.move(1.0)
        await asyncio.sleep(2.5)
        first.then = lambda now: None
        await asyncio.sleep(10)
        return first.fired, second.fired, third.fired

    assert run(main()) == ([1.0, 3.0], [], [2.0])


@pytest.mark.parametrize("kind", [ZeroDivisionError, asyncio.CancelledError])
def test_one_that_raises_is_reported_and_the_others_fire(kind):
    def fail(now):
        raise kind

    async def main():
        loop, said = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _, context: said.append(type(context["exception"])))
        timers = queue()
        bad, good = Timed(timers, fail), Timed(timers)
        for timed in (bad, good):
            timed.move(1.0)
        await asyncio.sleep(2)
        return said, good.fired

    assert run(main()) == ([kind], [1.0])


def test_a_queue_remembers_nothing_of_what_was_cancelled():
    async def main():
        timers = queue()
        stays = Timed(timers)
        stays.move(10_000.0)
        for i in range(5000):
            timed = Timed(timers)
            timed.move(7200.0 + i)
            timers.cancel(timed)
        assert len(timers._slots) == 1
        assert len(timers._times) < 100
        timers.cancel(stays)
        return asyncio.get_running_loop().timers

    assert run(main()) == 0


@pytest.mark.parametrize("factory", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_a_queue_in_real_time_is_never_early(factory):
    async def main():
        timers, clock = queue(), clock_of(asyncio.get_running_loop())
        begin = clock()
        many = [Timed(timers) for _ in range(50)]
        for i, timed in enumerate(many):
            timed.move(begin + i * 0.0007)
        while not all(timed.fired for timed in many):
            await asyncio.sleep(0.005)
        assert [len(timed.fired) for timed in many] == [1] * 50
        return [timed.fired[0] - begin - i * 0.0007 for i, timed in enumerate(many)]

    with asyncio.Runner(loop_factory=factory) as runner:
        assert min(runner.run(main())) >= 0
