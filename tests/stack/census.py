"""What a process and its event loop hold: to be equal before and after a stack."""

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass


@dataclass
class Census:
    tasks: int
    fds: Counter
    timers: int  # of the selector loop; uvloop does not tell
    polled: int  # fds that the selector loop watches


def census() -> Census:
    """Count now. What only waits for its turn on the loop (call_soon) counts for nothing."""
    loop = asyncio.get_running_loop()
    timers = [handle for handle in getattr(loop, "_scheduled", ()) if not handle.cancelled()]
    selector = getattr(loop, "_selector", None)
    return Census(
        tasks=len(asyncio.all_tasks()),
        fds=_open_files(),
        timers=len(timers),
        polled=0 if selector is None else len(selector.get_map()),
    )


def _open_files() -> Counter:
    """What the open fds refer to, without those of the counting itself."""
    found: Counter = Counter()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
        found[target.split(":")[0]] += 1
    return found


async def back_to(before: Census) -> None:
    """Let the loop run until everything is as it was; waits without a timer of its own."""
    until = time.monotonic() + 5
    while (now := census()) != before:
        assert time.monotonic() < until, f"{now}\nis not\n{before}"
        await asyncio.sleep(0)
