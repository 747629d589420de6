"""The server process of the subjects `kernel` and `asyncstack`: applications.py on one or the other.

`python -m tests.bench.server kernel|asyncstack [OPTIONS AS JSON]`; then commands by line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import uvloop

from . import asgi
from .applications import PROTOCOLS, STREAMS, Totals
from .lines import open_many_files, serve_lines_async, usage

BACKLOG = 8192


class KernelNetwork:
    """asyncio's own servers, on the kernel's sockets."""

    async def create_server(self, factory: Any, host: str, port: int) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.create_server(factory, host, port, backlog=BACKLOG)

    async def start_server(self, handler: Any, host: str, port: int) -> Any:
        return await asyncio.start_server(handler, host, port, backlog=BACKLOG)


class StackNetwork:
    """The same calls on a stack."""

    def __init__(self, stack: Any) -> None:
        self.stack = stack

    async def create_server(self, factory: Any, host: str, port: int) -> Any:
        return await self.stack.create_server(factory, host, port, backlog=BACKLOG)

    async def start_server(self, handler: Any, host: str, port: int) -> Any:
        return await self.stack.start_server(handler, host, port, backlog=BACKLOG)


@contextlib.asynccontextmanager
async def open_network(subject: str, interfaces: int = 1, offload: bool = True) -> AsyncIterator[Any]:
    """Interface N has 10.9.N.2, the client 10.9.N.1, or fd09:N::2 and ::1; for the kernel all is there already."""
    if subject == "kernel":
        yield KernelNetwork()
        return
    import asyncstack

    async with asyncstack.Stack() as stack:
        for index in range(interfaces):
            peer, own = (
                (f"fd09:{index}::1/64", f"fd09:{index}::2/64")
                if subject == "asyncstack-ipv6"
                else (f"10.9.{index}.1/24", f"10.9.{index}.2/24")
            )
            device = asyncstack.TunDevice(f"as{index}", peer=peer, offload=offload)
            gateway = peer.partition("/")[0] if index == 0 else None
            await stack.add_interface(device, addresses=[own], gateway=gateway)
        yield StackNetwork(stack)


class Commands:
    """What the benchmark may ask of the server."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.totals = Totals()
        self.servers: list[Any] = []
        self.lag: asyncio.Task[float] | None = None

    async def serve(self, app: str, host: str, port: int) -> None:
        """Start an application."""
        if app.startswith("asgi"):
            server = await asgi.start(host, port, tls=app == "asgi-tls")
        elif app in STREAMS:
            server = await self.network.start_server(STREAMS[app], host, port)
        else:
            factory = PROTOCOLS[app]
            server = await self.network.create_server(lambda: factory(self.totals), host, port)
        self.servers.append(server)

    async def stats(self, collect: bool = False) -> dict[str, float]:
        """CPU seconds, resident bytes, connections open, requests answered."""
        return {**usage(collect), "open": self.totals.open, "requests": self.totals.requests}

    async def watch(self, seconds: float) -> None:
        """Begin to watch a loop of `asyncio.sleep(0.01)`."""
        self.lag = asyncio.create_task(worst_lag(seconds))

    async def watched(self) -> dict[str, float]:
        """The end of that: seconds by which the worst turn was late."""
        assert self.lag is not None
        return {"lag": await self.lag}


async def worst_lag(seconds: float) -> float:
    """How much longer than 10 ms the longest of many `asyncio.sleep(0.01)` took, seconds."""
    worst = 0.0
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        await asyncio.sleep(0.01)
        worst = max(worst, time.perf_counter() - start - 0.01)
    return worst


async def main() -> None:
    subject, options = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    open_many_files()
    async with open_network(subject, **options) as network:
        commands = Commands(network)
        await serve_lines_async(
            {name: getattr(commands, name) for name in ("serve", "stats", "watch", "watched")}
        )
        os._exit(0)  # no orderly end of 10,000 connections; the kernel takes back device and sockets


def loop_of(subject: str) -> asyncio.AbstractEventLoop:
    """uvloop; for the stack the one that routes to it."""
    if subject == "kernel":
        return uvloop.new_event_loop()
    import asyncstack

    return asyncstack.EventLoop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=partial(loop_of, sys.argv[1])) as runner:
        runner.run(main())
