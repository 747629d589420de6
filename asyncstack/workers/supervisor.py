"""Keeps a number of processes running: starts them, replaces those that die, ends all."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

DEATHS: Final = 5  # so many in a row, each within LIVED seconds of its start, are replaced; one more ends all
LIVED: Final = 10.0
FIRST_DELAY: Final = 0.1  # seconds before the first replacement in a row, then twice as many each time
STOP_SECONDS: Final = 10.0  # until who does not end at SIGTERM is killed


class WorkersFailed(Exception):
    """There is no point in going on. `status`: what to exit with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class Start:
    """How to start a process: its command and the descriptors it inherits."""

    command: Sequence[str]
    fds: Sequence[int]


class Supervisor:
    """Runs `count` processes. `start(index, control)` says how to start one; that writes a byte to descriptor `control`
    once it does its work, and should end when nobody is at the other end. `say` is given what the user should know.
    """

    def __init__(self, count: int, start: Callable[[int, int], Start], say: Callable[[str], None]) -> None:
        self._count = count
        self._start = start
        self._say = say
        self._ready: set[int] = set()  # those that did their work once

    async def run(self, ready: Callable[[], None]) -> None:
        """Keep them running until cancelled, `ready()` is called when all do their work for the first time. At the end
        none is left: SIGTERM, and after STOP_SECONDS, or when cancelled again, SIGKILL.

        Raises WorkersFailed if one can not start, or new ones keep dying.
        """
        tasks = [asyncio.create_task(self._keep(index, ready)) for index in range(self._count)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            try:
                await asyncio.wait(tasks)
            except asyncio.CancelledError:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                raise

    async def _keep(self, index: int, ready: Callable[[], None]) -> None:
        """One place: its process, the next one, and so on."""
        loop = asyncio.get_running_loop()
        deaths = 0
        while True:
            began = loop.time()
            pid, status = await self._run_one(index, ready)
            name, end = f"worker {index + 1} (process {pid})", _describe(status)
            if index not in self._ready:
                raise WorkersFailed(f"{name} {end} before it was ready", status if status > 0 else 1)
            deaths = deaths + 1 if loop.time() - began < LIVED else 1
            if deaths > DEATHS:
                raise WorkersFailed(
                    f"{name} {end}; {deaths} in a row lived less than {LIVED:.0f} seconds: giving up", 1
                )
            delay = FIRST_DELAY * 2.0 ** (deaths - 1)
            self._say(f"{name} {end}; a new one takes its place in {delay:.1f} seconds")
            await asyncio.sleep(delay)

    async def _run_one(self, index: int, ready: Callable[[], None]) -> tuple[int, int]:
        """A process from its start to its end. Returns (pid, exit status)."""
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            with theirs:
                start = self._start(index, theirs.fileno())
                # In a session of its own: Ctrl-C of a terminal reaches this process alone, which passes it on once.
                process = await asyncio.create_subprocess_exec(
                    *start.command,
                    pass_fds=start.fds,
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                )
            try:
                if await asyncio.get_running_loop().sock_recv(ours, 1):
                    self._is_ready(index, process.pid, ready)
                return process.pid, await process.wait()
            finally:
                await _end(process)

    def _is_ready(self, index: int, pid: int, ready: Callable[[], None]) -> None:
        self._say(f"worker {index + 1} is ready (process {pid})")
        if index not in self._ready:
            self._ready.add(index)
            if len(self._ready) == self._count:
                ready()


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and if that does not end it in time, or this is cancelled, SIGKILL."""
    if process.returncode is not None:
        return
    try:
        process.terminate()
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _describe(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
