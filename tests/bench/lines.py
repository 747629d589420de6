"""The line protocol between the benchmark and its processes: one JSON object per line, a reply to each.

A command is `{"do": name, ...arguments}`; its reply is the result, or `{"error": text}`. End of input ends the
process, so that nothing outlives the benchmark, however that ended.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Result = Mapping[str, Any] | None


def serve_lines(commands: Mapping[str, Callable[..., Result]]) -> None:
    """Answer lines from stdin until it ends. Blocking."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply(commands[request.pop("do")](**request))
        except Exception as exc:
            reply({"error": f"{type(exc).__name__}: {exc}"})


async def serve_lines_async(commands: Mapping[str, Callable[..., Awaitable[Result]]]) -> None:
    """Answer lines from stdin until it ends, on the running loop."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        request = json.loads(line)
        try:
            reply(await commands[request.pop("do")](**request))
        except Exception as exc:
            reply({"error": f"{type(exc).__name__}: {exc}"})


def reply(result: Result) -> None:
    """Write one reply."""
    sys.stdout.write(json.dumps(result or {}) + "\n")
    sys.stdout.flush()


def usage(collect: bool = False) -> dict[str, float]:
    """This process: CPU seconds used so far, and resident bytes (after a collection if `collect`)."""
    if collect:
        gc.collect()
    with open("/proc/self/statm") as statm:
        resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {"cpu": time.process_time(), "resident": resident}


def open_many_files() -> None:
    """Allow this process as many files as it may have: 10,000 connections need 10,000."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
