"""The supervisor, with processes that do nothing but live and die."""

import asyncio
import os
import re
import signal
import sys

import pytest

from asyncstack.workers.supervisor import DEATHS, Start, Supervisor, WorkersFailed

READY = "import os, sys, time; os.write(int(sys.argv[1]), b'!'); "
FOREVER = READY + "time.sleep(100)"
AT_ONCE = READY + "sys.exit(7)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + FOREVER
NEVER_READY = "import sys, time; time.sleep(0.5); sys.exit(3)"


class Watched:
    """A supervisor of `count` processes that run `code`, the second one `late` if given, and what it says."""

    def __init__(self, code: str, count: int = 2, late: str = "") -> None:
        self.codes = [code, late or code, code]
        self.said: list[str] = []
        self.pids: dict[int, list[int]] = {}
        self.changed = asyncio.Event()
        self.ready = 0
        self.supervisor = Supervisor(count, self.start, self.say)

    def start(self, index: int, control: int) -> Start:
        return Start([sys.executable, "-S", "-c", self.codes[index], str(control)], [control])

    def say(self, message: str) -> None:
        self.said.append(message)
        if found := re.fullmatch(r"worker (\d+) is ready \(process (\d+)\)", message):
            self.pids.setdefault(int(found[1]), []).append(int(found[2]))
        self.changed.set()

    def count_ready(self) -> None:
        self.ready += 1
        self.changed.set()

    async def until(self, condition) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def run(self) -> "asyncio.Task[None]":
        return asyncio.create_task(self.supervisor.run(self.count_ready))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(8):
            await task


async def test_who_dies_is_replaced_and_the_end_leaves_nobody():
    watched = Watched(FOREVER, count=3)
    task = watched.run()
    await watched.until(lambda: watched.ready)
    victim = watched.pids[2][0]
    others = [watched.pids[number][0] for number in (1, 3)]
    os.kill(victim, signal.SIGKILL)
    await watched.until(lambda: len(watched.pids[2]) == 2)
    assert f"worker 2 (process {victim}) was killed by SIGKILL; a new one" in watched.said[-2]
    assert all(map(is_alive, others))
    assert watched.ready == 1
    await cancelled(task)
    assert not any(map(is_alive, [*others, watched.pids[2][1]]))


async def test_those_that_keep_dying():
    watched = Watched(AT_ONCE, count=1)
    with pytest.raises(WorkersFailed, match=f"ended with status 7; {DEATHS + 1} in a row") as raised:
        await watched.run()
    assert raised.value.status == 1
    assert len(watched.pids[1]) == DEATHS + 1
    delays = [float(found[1]) for said in watched.said if (found := re.search(r"in (\S+) seconds", said))]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6]


async def test_one_that_does_not_start_ends_the_others():
    watched = Watched(FOREVER, late=NEVER_READY)
    with pytest.raises(WorkersFailed, match=r"worker 2 .* ended with status 3 before it was ready") as raised:
        await watched.run()
    assert raised.value.status == 3
    assert not watched.ready
    assert not is_alive(watched.pids[1][0])


async def test_who_is_deaf_is_killed_when_asked_twice():
    watched = Watched(DEAF)
    task = watched.run()
    await watched.until(lambda: watched.ready)
    task.cancel()
    await asyncio.sleep(0.3)
    assert not task.done()
    assert all(is_alive(pids[0]) for pids in watched.pids.values())
    await cancelled(task)
    assert not any(is_alive(pids[0]) for pids in watched.pids.values())
