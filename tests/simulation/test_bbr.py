"""BBR over the simulated link: it fills a path that loses at random, shares one, and keeps queues short."""

import asyncio
import random

import pytest

from asyncstack import Network, StackConfig, TcpConfig
from asyncstack.testing import run
from asyncstack.transport.tcp.congestion import Bbr, Cubic
from tests.simulation.goodput import PORT, Cell, Sink, Source, goodput
from tests.simulation.test_fairness import jain


def test_one_in_a_hundred_lost_leaves_the_link_full():
    """CUBIC comes to a tenth of it there."""
    mbit = goodput(Cell("bbr", 0.01, 0.020, 1))
    assert mbit > 80.0
    assert mbit > 5 * goodput(Cell("cubic", 0.01, 0.020, 1))


async def queueing(name):
    """(goodput in Mbit/s, smoothed round trip in seconds) over 20 Mbit/s, 20 ms and a queue of a second."""
    async with Network(1, config=StackConfig(tcp=TcpConfig(congestion=name, receive_buffer=8 << 20))) as net:
        a, b = net.host("a", "10.0.0.1/24"), net.host("b", "10.0.0.2/24")
        net.link(a, b, delay=0.010, rate=20e6, queue=int(20e6 / 8))
        opened = asyncio.get_running_loop().create_future()
        await b.create_server(lambda: Sink(opened), "b", PORT)
        transport, _ = await a.create_connection(Source, "b", PORT)
        sink = await opened
        await asyncio.sleep(2.0)
        before = sink.received
        await asyncio.sleep(4.0)
        mbit = (sink.received - before) * 8 / 4e6
        (info,) = a.connections()
        transport.abort()
    return mbit, info.rtt


def test_a_deep_queue_stays_empty():
    """CUBIC fills it: the delay of everybody else."""
    mbit, trip = run(queueing("bbr"), seed=1)
    assert mbit > 17.5
    assert trip < 0.030
    _, trip = run(queueing("cubic"), seed=1)
    assert trip > 0.1


async def share(count):
    async with Network(1, config=StackConfig(tcp=TcpConfig(congestion="bbr"))) as net:
        a, b = net.host("a", "10.0.0.1/24"), net.host("b", "10.0.0.2/24")
        net.link(a, b, delay=0.010, rate=10e6, queue=64 << 10)
        sinks = []
        for _ in range(count):
            opened = asyncio.get_running_loop().create_future()
            server = await b.create_server(lambda opened=opened: Sink(opened), "b", PORT + len(sinks))
            await a.create_connection(Source, "b", PORT + len(sinks))
            sinks.append(await opened)
            server.close()
            await asyncio.sleep(0.2)
        await asyncio.sleep(6.0)
        before = [sink.received for sink in sinks]
        await asyncio.sleep(12.0)
        return [sink.received - was for sink, was in zip(sinks, before, strict=True)]


@pytest.mark.parametrize("count", [2, 4])
def test_flows_share(count):
    shares = run(share(count), seed=1)
    assert jain(shares) >= 0.9, shares
    assert sum(shares) > 0.85 * 10e6 / 8 * 12


def test_the_seed_is_the_connections():
    """Repeatable, and not the same for two connections: they would probe in step."""
    first, second = Bbr(), Bbr()
    first.seed, second.seed = 1, 2
    first.start(1000, 10000)
    second.start(1000, 10000)
    assert first.rng.random() == random.Random(1).random() != second.rng.random()


@pytest.mark.virtual_time
async def test_bbr_to_cubic_and_back_on_a_living_connection(network):
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
    network.link(a, b, delay=0.010, rate=20e6, loss=0.01)
    opened = asyncio.get_running_loop().create_future()
    server = await b.create_server(lambda: Sink(opened), "b", PORT)
    transport, _ = await a.create_connection(Source, "b", PORT)
    sink = await opened
    (endpoint,) = a.tcp.connections.values()
    rates = {}
    for kind in (Cubic, Bbr, Cubic, Bbr):
        endpoint.connection.sender.set_controller(kind, a.clock())
        before = sink.received
        await asyncio.sleep(3.0)
        rates.setdefault(kind.name, []).append((sink.received - before) * 8 / 3e6)
    assert min(rates["bbr"]) > 12.0
    assert min(rates["bbr"]) > max(rates["cubic"][1:])
    transport.abort()
    server.close()
