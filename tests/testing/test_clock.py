"""Virtual time: it jumps, it is exact, its order is fixed, and it ends with words instead of hanging."""

import asyncio
import math
import random
import signal
import socket
import threading
import time

import aiofiles
import pytest

from asyncstack.testing.clock import DeadlockError, TimeLimitError, VirtualTimeLoop, new_event_loop, run


def now() -> float:
    return asyncio.get_running_loop().time()


def test_sleep_jumps_and_is_exact():
    async def main():
        times = [now()]
        for delay in (3600.0, 0.1, 1e-9, 0.25):
            await asyncio.sleep(delay)
            times.append(now())
        return times

    started = time.perf_counter()
    assert run(main()) == [0.0, 3600.0, 3600.1, 3600.1 + 1e-9, 3600.1 + 1e-9 + 0.25]
    assert time.perf_counter() - started < 10


def test_clock_starts_where_told():
    async def main():
        await asyncio.sleep(1.5)
        return now()

    assert run(main(), start=1000.0) == 1001.5


def test_clock_stands_while_callbacks_run():
    async def main():
        before = now()
        for _ in range(1000):
            await asyncio.sleep(0)
        return now() - before

    assert run(main()) == 0.0


def test_equal_deadlines_run_in_order_of_creation():
    async def main():
        loop, order = asyncio.get_running_loop(), []
        for i in range(100):
            loop.call_at(5.0, order.append, i)
        await asyncio.sleep(6)
        return order

    assert run(main()) == list(range(100))


def test_past_and_negative_delays_run_now():
    async def main():
        loop, order = asyncio.get_running_loop(), []
        await asyncio.sleep(10)
        loop.call_at(3.0, order.append, "past")
        loop.call_later(-1, order.append, "negative")
        await asyncio.sleep(0.001)
        return order, now()

    assert run(main()) == (["past", "negative"], 10.001)


def test_cancelled_timers_do_not_hold_time_and_do_not_pile_up():
    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(10_000):
            loop.call_later(1000, print).cancel()
        assert len(loop._timers) < 300
        keep = [loop.call_later(1, lambda: None) for _ in range(10)]
        for timer in keep:
            timer.cancel()
            timer.cancel()
        await asyncio.sleep(2)
        return now(), loop.timers

    assert run(main()) == (2.0, 0)


def test_deadlock_names_tasks_and_where_they_wait():
    async def inner(event):
        await event.wait()

    async def main():
        waiter = asyncio.create_task(inner(asyncio.Event()), name="the waiter")
        await asyncio.sleep(2.5)
        await waiter

    with pytest.raises(DeadlockError) as caught:
        run(main())
    first, *rest = str(caught.value).splitlines()
    assert first == "every task waits and no timer is set at t=2.500000 s: nothing can happen any more"
    assert len(rest) == 2
    assert "the waiter: inner (testing/test_clock.py:" in str(caught.value)
    assert "> wait (asyncio/locks.py:" in str(caught.value)
    assert "waits for the waiter" in str(caught.value)


def test_deadlock_message_is_bounded():
    async def main():
        await asyncio.gather(*(asyncio.Event().wait() for _ in range(500)))

    with pytest.raises(DeadlockError) as caught:
        run(main())
    assert len(str(caught.value).splitlines()) == 22
    assert str(caught.value).endswith("and 481 more")


def test_after_a_deadlock_the_tasks_can_clean_up():
    ended = []

    async def main():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            ended.append(now())

    with pytest.raises(DeadlockError):
        run(main())
    assert ended == [1.0]


def test_endless_timer_is_no_life():
    async def main():
        await asyncio.wait([asyncio.create_task(asyncio.sleep(math.inf))], timeout=None)

    with pytest.raises(DeadlockError):
        run(main())


def test_background_timers_run_but_keep_nothing_alive():
    async def main():
        loop, ticks = asyncio.get_running_loop(), []

        def tick():
            ticks.append(now())
            loop.call_at_background(now() + 10, tick)

        tick()
        await asyncio.sleep(25)
        assert ticks == [0.0, 10.0, 20.0]
        await asyncio.Event().wait()

    with pytest.raises(
        DeadlockError, match=r"t=25\.000000 s: .*, but for the end of leases.*while a task sleeps\n"
    ):
        run(main())


def test_limit_on_virtual_time():
    async def main():
        try:
            while True:
                await asyncio.sleep(10)
        finally:
            await asyncio.sleep(5)
            ended.append(now())

    ended = []
    with pytest.raises(TimeLimitError, match=r"limit of 95 s.*due at 100\.0") as caught:
        run(main(), limit=95)
    assert "main (testing/test_clock.py:" in str(caught.value)
    assert ended == [95.0]


def test_executor_job_holds_the_clock():
    def job():
        time.sleep(0.05)
        return threading.current_thread() is not threading.main_thread()

    async def main():
        loop = asyncio.get_running_loop()
        ticks = []
        loop.call_later(1, ticks.append, 1)
        in_thread = await loop.run_in_executor(None, job)
        assert (ticks, now()) == ([], 0.0)
        assert await asyncio.wait_for(asyncio.to_thread(job), timeout=0.001)
        return in_thread, now()

    assert run(main()) == (True, 0.0)


def test_failed_and_cancelled_jobs_release_the_clock():
    async def main():
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        job = asyncio.ensure_future(asyncio.to_thread(time.sleep, 0.02))
        await asyncio.sleep(0)
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        await asyncio.sleep(1)
        return now()

    assert run(main()) == 1.0


def test_jobs_are_taken_in_order_at_rest():
    async def main():
        order = []

        async def job(name, seconds):
            await asyncio.to_thread(time.sleep, seconds)
            order.append(name)
            await asyncio.sleep(0)
            order.append(f"{name} again")

        await asyncio.gather(job("slow", 0.03), job("fast", 0.0))
        return order

    assert run(main()) == ["slow", "slow again", "fast", "fast again"]


def test_result_of_a_job_reaches_a_loop_that_never_rests():
    async def main():
        job = asyncio.ensure_future(asyncio.to_thread(time.sleep, 0.01))
        while not job.done():
            await asyncio.sleep(0)
        return now()

    assert run(main()) == 0.0


def test_aiofiles_and_getaddrinfo(tmp_path):
    async def main():
        async with aiofiles.open(tmp_path / "file", "w") as file:
            await file.write("hello")
        await asyncio.sleep(1)
        async with aiofiles.open(tmp_path / "file") as file:
            text = await file.read()
        infos = await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        return text, infos[0][4], now()

    assert run(main()) == ("hello", ("127.0.0.1", 80), 1.0)


def test_hold_waits_for_a_thread_of_ones_own():
    async def main():
        loop = asyncio.get_running_loop()
        event = asyncio.Event()

        def work():
            time.sleep(0.02)
            loop.call_soon_threadsafe(event.set)

        thread = threading.Thread(target=work)
        thread.start()
        with loop.hold():
            await event.wait()
        thread.join()
        return now()

    assert run(main()) == 0.0


def test_file_descriptors_are_waited_for_in_real_time():
    async def main():
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            timer = threading.Timer(0.02, theirs.send, [b"real"])
            timer.start()
            return await loop.sock_recv(ours, 10), now()

    assert run(main()) == (b"real", 0.0)


def test_file_descriptors_are_polled_before_a_jump():
    async def main():
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.send(b"there")
            return await asyncio.wait_for(loop.sock_recv(ours, 10), 1.0), now()

    assert run(main()) == (b"there", 0.0)


def test_signal_handlers_run_while_time_jumps():
    async def main():
        loop = asyncio.get_running_loop()
        caught = []
        loop.add_signal_handler(signal.SIGUSR1, caught.append, 1)
        signal.raise_signal(signal.SIGUSR1)
        while not caught:
            await asyncio.sleep(1)
        loop.remove_signal_handler(signal.SIGUSR1)
        return now()

    assert run(main()) < 1000


def test_seed_makes_random_repeat_and_leaves_it_as_it_was():
    async def main():
        return random.random(), asyncio.get_running_loop().seed

    random.seed(99)
    expected = random.random()
    random.seed(99)
    assert run(main(), seed=7) == run(main(), seed=7)
    assert random.random() == expected
    assert run(main(), seed=7)[1] == 7


def test_closed_loop_refuses():
    loop = new_event_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.close()
    for call in (
        lambda: loop.call_later(1, print),
        lambda: loop.call_at(1, print),
        lambda: loop.call_soon_threadsafe(print),
        lambda: loop.call_soon(print),
    ):
        with pytest.raises(RuntimeError, match="closed"):
            call()


def test_exceptions_of_main_come_through():
    async def main():
        await asyncio.sleep(1)
        raise KeyError("x")

    with pytest.raises(KeyError):
        run(main())


def test_debug_mode_works():
    async def main():
        asyncio.get_running_loop().call_later(1, lambda: None).cancel()
        await asyncio.to_thread(int)
        await asyncio.sleep(2)
        return now()

    assert run(main(), debug=True) == 2.0
