"""Flows of the same congestion control share a link fairly: Jain's index of their goodputs is at least 0.9."""

import asyncio
import itertools

import pytest

from asyncstack import Network, StackConfig, TcpConfig
from asyncstack.testing import run
from tests.bulk import Sink, Source
from tests.simulation.goodput import PORT, controllers

RATE = 20e6  # bit/s
TRIP = 0.020  # seconds
QUEUE = 64 << 10  # bytes: a little more than the bandwidth-delay product
APART = 0.2  # seconds between the starts of two flows
SECONDS = 60.0  # a third of them to warm up


def jain(shares):
    """1.0 for equal shares, 1/n if one has everything (RFC 5166 2.3.1)."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))


async def share(name, flows, seed, seconds, version):
    """Bit/s of each flow, in the last two thirds of that time."""
    loop = asyncio.get_running_loop()
    async with Network(seed, config=StackConfig(tcp=TcpConfig(congestion=name))) as net:
        prefix = "10.0.0.{}/24" if version == 4 else "fd00::{}/64"
        a, b = net.host("a", prefix.format(1)), net.host("b", prefix.format(2))
        net.link(a, b, delay=TRIP / 2, rate=RATE, queue=QUEUE)
        opened = [loop.create_future() for _ in range(flows)]
        waiting = iter(opened)
        await b.create_server(lambda: Sink(next(waiting)), "b", PORT)
        transports = []
        for _ in range(flows):
            transports.append((await a.create_connection(Source, "b", PORT))[0])
            await asyncio.sleep(APART)
        sinks = await asyncio.gather(*opened)
        await asyncio.sleep(seconds / 3)
        before = [sink.received for sink in sinks]
        await asyncio.sleep(seconds * 2 / 3)
        shares = [(sink.received - was) * 12 / seconds for sink, was in zip(sinks, before, strict=True)]
        for transport in transports:
            transport.abort()
    return shares


def check(name, flows, seed, seconds=SECONDS, version=4):
    shares = run(share(name, flows, seed, seconds, version), seed=seed)
    told = f"{name}, {flows} flows, seed {seed}: {[round(share / 1e6, 2) for share in shares]} Mbit/s"
    assert jain(shares) >= 0.9, f"{told}: {jain(shares):.3f}"
    assert sum(shares) > 0.8 * RATE, told


def test_jains_index():
    assert jain([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert jain([5.0, 0.0]) == pytest.approx(0.5)


@pytest.mark.parametrize("name, version", list(zip(controllers(), itertools.cycle((6, 4)), strict=False)))
def test_two_flows_share_a_link(name, version):
    check(name, 2, 1, SECONDS / 2, version)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("flows", [2, 4, 8])
@pytest.mark.parametrize("name", controllers())
def test_flows_share_a_link(name, flows, seed):
    check(name, flows, seed, version=6 if seed == 2 else 4)
