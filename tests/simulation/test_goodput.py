"""How much of a link a transfer uses: on a link whose device cuts no super-segments, and around a single loss."""

import asyncio

import pytest

from asyncstack.testing import Passing, Verdict


async def transfer(network, seconds, **impairments):
    """Send for `seconds` over a link like that. Returns (goodput in bit/s after a warm-up of 2 s, TcpInfo)."""
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
    network.link(a, b, **impairments)
    received = 0

    async def sink(reader, writer):
        nonlocal received
        while data := await reader.read(1 << 18):
            received += len(data)

    await b.start_server(sink, None, 5001)
    _, writer = await a.open_connection("b", 5001)

    async def pump():
        while True:
            writer.write(bytes(1 << 16))
            await writer.drain()

    task = asyncio.create_task(pump())
    await asyncio.sleep(2)
    before = received
    await asyncio.sleep(seconds)
    task.cancel()
    (info,) = a.connections()
    goodput = (received - before) * 8 / seconds
    writer.transport.abort()
    return goodput, info


@pytest.mark.virtual_time
async def test_rare_losses_leave_the_link_busy(network):
    """Waiting for a large super-segment must not leave the path idle between bursts."""
    goodput, _ = await transfer(network, 20, rate=20e6, delay=0.020, loss=0.0002, queue=64 << 10)
    assert goodput > 0.9 * 20e6


class LoseOne:
    """Lets everything pass but the 150th packet that carries data."""

    def __init__(self):
        self.seen = 0

    def __call__(self, packet: Passing):
        if packet.tcp is not None and len(packet.tcp.payload) > 0:
            self.seen += 1
            if self.seen == 150:
                return Verdict.DROP
        return Verdict.PASS


@pytest.mark.virtual_time
async def test_one_loss_costs_one_retransmission(network):
    """RFC 6675's rescue is for when nothing else may leave, not for when the sender merely waits a little."""
    _, info = await transfer(network, 3, rate=50e6, delay=0.020, queue=4 << 20, rule=LoseOne())
    assert info.total_retrans == 1
    assert info.retransmits == 0


@pytest.mark.virtual_time
@pytest.mark.parametrize("upload", [True, False])
@pytest.mark.parametrize("address", ["10.0.0.2", "fd00::2"])
async def test_buffers_grow_to_what_a_long_path_holds(network, address, upload):
    """100 Mbit/s x 200 ms, nothing set: the window and the send buffer find 2.5 MB by themselves."""
    a, b = network.host("a", "10.0.0.1/24", "fd00::1/64"), network.host("b", "10.0.0.2/24", "fd00::2/64")
    network.link(a, b, rate=100e6, delay=0.1, queue=4 << 20)
    received = 0

    async def pump(reader, writer):
        try:
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()
        except OSError:
            pass

    async def sink(reader, writer):
        nonlocal received
        while data := await reader.read(1 << 18):
            received += len(data)

    await b.start_server(sink if upload else pump, None, 5001)
    streams = await a.open_connection(address, 5001)
    task = asyncio.create_task(pump(*streams) if upload else sink(*streams))
    await asyncio.sleep(3)
    before = received
    await asyncio.sleep(5)
    goodput = (received - before) * 8 / 5
    task.cancel()
    streams[1].transport.abort()
    assert goodput > 0.9 * 100e6
