"""The process of the cases that need no client: `python -m tests.bench.alone SUBJECT`, commands by line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from typing import Any

import uvloop

from .applications import BufferedSource, Echo, Totals
from .lines import serve_lines, usage

PORT = 80
LINK = {"delay": 0.010, "loss": 0.01, "rate": 100e6}  # the impaired link of the row `simulated`
STACKS = 200  # idle ones
SITE = 200  # hosts


@contextlib.asynccontextmanager
async def two_ends(subject: str) -> AsyncIterator[tuple[Any, Any, str]]:
    """Who has `create_server`, who has `create_connection`, and the address between them."""
    if subject == "kernel":
        loop = asyncio.get_running_loop()
        yield loop, loop, "127.0.0.1"
        return
    import asyncstack

    async with asyncstack.Stack(name="a") as a, asyncstack.Stack(name="b") as b:
        addresses = addresses_of(subject)
        for stack, device, address in zip((a, b), asyncstack.memory_pair(), addresses, strict=True):
            stack.attach(device, [address])
        yield a, b, addresses[0].partition("/")[0]


def addresses_of(subject: str) -> tuple[str, str]:
    """Of two stacks, with prefix lengths."""
    return ("fd00::1/64", "fd00::2/64") if subject.endswith("ipv6") else ("10.0.0.1/24", "10.0.0.2/24")


class Receiver(asyncio.BufferedProtocol):
    """Counts what comes, into one buffer."""

    def __init__(self) -> None:
        self.received = 0
        self.buffer = memoryview(bytearray(256 << 10))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += nbytes


class Pinger(asyncio.Protocol):
    """Sends 64 bytes, and again as often as they come back."""

    def __init__(self) -> None:
        self.received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.transport.write(bytes(64))

    def data_received(self, data: bytes) -> None:
        self.received += 1
        self.transport.write(data)


async def rate(subject: str, server: type, client: type, seconds: float) -> float:
    """What the client counts per second, after a tenth of that time to warm up."""
    async with two_ends(subject) as (a, b, address):
        await a.create_server(lambda: server(Totals()), address, PORT)
        transport, protocol = await b.create_connection(client, address, PORT)
        await asyncio.sleep(seconds / 10)
        start, received = time.perf_counter(), protocol.received
        await asyncio.sleep(seconds)
        result = (protocol.received - received) / (time.perf_counter() - start)
        transport.abort()
        return float(result)


async def idle_stacks(seconds: float) -> dict[str, float]:
    """Seconds and resident bytes of one more idle stack."""
    import asyncstack

    async with contextlib.AsyncExitStack() as stacks:
        for _ in range(10):
            await stacks.enter_async_context(asyncstack.Stack())
        before = usage(collect=True)["resident"]
        times = []
        for _ in range(STACKS):
            start = time.perf_counter()
            await stacks.enter_async_context(asyncstack.Stack())
            times.append(time.perf_counter() - start)
        resident = usage(collect=True)["resident"] - before
    return {"idle-stack-time": statistics.median(times), "idle-stack-memory": resident / STACKS}


async def simulate(subject: str, seconds: float) -> dict[str, float]:
    """Packets sent and received, both ways, per second of real time: one bulk transfer in virtual time."""
    import asyncstack

    async with asyncstack.Network(seed=1) as net:
        ours, theirs = addresses_of(subject)
        a, b, host = net.host("a", ours), net.host("b", theirs), ours.partition("/")[0]
        link = net.link(a, b, **LINK)
        await a.create_server(lambda: BufferedSource(Totals()), host, PORT)
        transport, _ = await b.create_connection(Receiver, host, PORT)
        await asyncio.sleep(1.0)
        start, before = time.perf_counter(), delivered(link)
        while (taken := time.perf_counter() - start) < seconds:
            await asyncio.sleep(0.1)
        packets = delivered(link) - before
        transport.abort()
    return {"simulated": packets / taken}


def delivered(link: Any) -> int:
    """Packets that have crossed the link."""
    return int(link.forward.stats.delivered + link.backward.stats.delivered)


def one_process_bulk(seconds: float) -> dict[str, float]:
    return {"one-process-bulk": uvloop.run(rate(sys.argv[1], BufferedSource, Receiver, seconds))}


def one_process_latency(seconds: float) -> dict[str, float]:
    return {"one-process-latency": uvloop.run(rate(sys.argv[1], Echo, Pinger, seconds))}


def import_time(seconds: float) -> dict[str, float]:
    """Seconds that `import asyncstack` and its Stack take in an interpreter that has asyncio already, with the bytecode
    that pip makes when it installs."""
    code = (
        "import asyncio, time; start = time.perf_counter(); import asyncstack; asyncstack.Stack;"
        "print(time.perf_counter() - start)"
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": folder}
        command = [sys.executable, "-c", code]
        times = [float(subprocess.check_output(command, env=environment, timeout=20)) for _ in range(8)]
    return {"import": statistics.median(times[1:])}


def idle_stack(seconds: float) -> dict[str, float]:
    return uvloop.run(idle_stacks(seconds))


async def site_of_many() -> dict[str, float]:
    """Seconds of real time, and resident bytes, of a site of `SITE` hosts that configure themselves, and then ask two
    others each over HTTP, by name."""
    from tests.office import exchange, office, switch_on

    async with office(2) as small:  # for what is imported when it is first needed
        await switch_on(small)
        await exchange(small, rounds=1)
    before = usage(collect=True)["resident"]
    start = time.perf_counter()
    async with office(SITE) as site:
        await switch_on(site)
        configured = time.perf_counter() - start
        if len(await exchange(site, rounds=2)) != 2 * SITE:
            raise RuntimeError("not all hosts were answered")
        seconds = time.perf_counter() - start
        resident = usage(collect=True)["resident"] - before
    return {"site-configured": configured, "site-time": seconds, "site-memory": resident / SITE}


def site(seconds: float) -> dict[str, float]:
    from asyncstack.testing.clock import run

    return run(site_of_many(), seed=1)


def simulated(seconds: float) -> dict[str, float]:
    from asyncstack.testing.clock import run

    return run(simulate(sys.argv[1], seconds), seed=1)


if __name__ == "__main__":
    serve_lines(
        {
            "one_process_bulk": one_process_bulk,
            "one_process_latency": one_process_latency,
            "import": import_time,
            "idle_stack": idle_stack,
            "simulated": simulated,
            "site": site,
        }
    )
