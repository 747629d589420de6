"""The link process: `python -m tests.bench.loss.link OPTIONS-AS-JSON`. Ends with its stdin; then prints what it saw.

Two fds that carry a packet per call, and between them two of the project's `Direction`s. Neither uvloop (its timers
tick in milliseconds) nor asyncio's own turn (too dear for every packet) drives them, but a loop of `select`, whose
time-out is in microseconds.
"""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import json
import os
import random
import select
import sys
import time
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final

from asyncstack.link.frame import Frame, OutgoingFrame
from asyncstack.testing.direction import Direction

BATCH: Final = 32  # packets from one side before the other has its turn
PACKET: Final = 2048
PR_SET_TIMERSLACK: Final = 29
LATE: Final = 0.001  # seconds


class SelectLoop(asyncio.SelectorEventLoop):
    """What a `Direction` needs of a loop: exact timers. An asyncio loop by kinship only, so that its clock counts."""

    def __init__(self) -> None:
        super().__init__()
        self.due: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._serial = 0

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As asyncio's."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._serial += 1
        heapq.heappush(self.due, (when, self._serial, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def run_due(self) -> float | None:
        """Run the timers that are due. Returns seconds to the next, None without one."""
        due = self.due
        while due:
            left = due[0][0] - time.monotonic()
            if left > 0.0:
                return left
            heapq.heappop(due)[2]._run() if not due[0][2].cancelled() else heapq.heappop(due)
        return None


class Side:
    """An fd: what it gives goes into `out`, `deliver` puts what comes the other way."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.no_room = 0
        self.out: Direction
        os.set_blocking(fd, False)

    def pump(self) -> bool:
        """Take a batch of packets. False: the fd is at its end."""
        send, fd = self.out.send, self.fd
        for _ in range(BATCH):
            try:
                data = os.read(fd, PACKET)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            send(OutgoingFrame((data,)))
        return True

    def deliver(self, batch: list[Frame]) -> None:
        """Write what has arrived."""
        fd = self.fd
        for frame in batch:
            try:
                os.write(fd, frame.data)
            except OSError:
                self.no_room += 1


def make_sides(options: dict[str, Any], loop: SelectLoop) -> list[Side]:
    """Both sides and the directions between them, with the impairments that `options` asks for."""
    sides = [Side(fd) for fd in options["fds"]]
    for number, (side, other) in enumerate(zip(sides, sides[::-1], strict=True)):
        rng = random.Random(f"{options['seed']}/{number}")
        side.out = Direction(loop, rng, mtu=1500, ethernet=False, deliver=other.deliver)
    sides[0].out.reverse, sides[1].out.reverse = sides[1].out, sides[0].out
    for side in sides:
        side.out.set(**{name: options[name] for name in ("delay", "loss", "rate", "queue")})
    return sides


def main() -> None:
    options = json.loads(sys.argv[1])
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0)  # nanoseconds, instead of 50,000
    loop = SelectLoop()
    sides = make_sides(options, loop)
    by_fd = {side.fd: side for side in sides}
    control = sys.stdin.fileno()
    watched = [control, *by_fd]
    late = turns = 0
    start, cpu = time.monotonic(), time.process_time()
    print("ready", flush=True)
    while control in watched:
        timeout = loop.run_due()
        before = time.monotonic()
        ready = select.select(watched, [], [], timeout)[0]
        turns += 1
        late += timeout is not None and time.monotonic() - before > timeout + LATE
        for fd in ready:
            if fd == control or not by_fd[fd].pump():
                watched.remove(fd)
    seconds = time.monotonic() - start
    directions = [
        {name: getattr(side.out.stats, name) for name in ("sent", "delivered", "lost", "overflowed")}
        for side in sides
    ]
    told = {
        "cpu": (time.process_time() - cpu) / seconds,
        "late": late / max(turns, 1),
        "no_room": [side.no_room for side in sides],
        "directions": directions,
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
