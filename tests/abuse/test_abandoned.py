"""10,000 connections that the peer opens and abandons without a FIN: all gone when their timers say so."""

import asyncio
import errno

import pytest

from asyncstack import StackConfig, TcpConfig
from asyncstack.wire.tcp import ACK, SYN, Segment
from tests.abuse.field import BATCH, FAMILIES, MASK, VICTIM, Field

pytestmark = pytest.mark.virtual_time(limit=100_000)
COUNT = 5_000  # of each half


class Abandoned(asyncio.Protocol):
    def __init__(self, size, lost):
        self.size, self.lost = size, lost

    def connection_made(self, transport):
        if self.size:
            transport.write(bytes(self.size))

    def connection_lost(self, exc):
        self.lost.append(exc.errno if exc is not None else 0)


async def open_all(field, port, count):
    """`count` handshakes of clients that are never heard of again, of one family and the other in turns."""
    uplink = field.uplink
    for start in range(0, count, BATCH):
        opened = range(start, min(start + BATCH, count))
        client = field.stranger(FAMILIES[start // BATCH % 2])
        for number in opened:
            uplink.vouched(client, Segment(10_000 + number, port, 1, 0, SYN, 65535, mss=1460))
        await asyncio.sleep(0.001)
        while uplink.heard:
            there, said = uplink.heard.popleft()
            if said.flags & SYN:
                answer = Segment(said.dst_port, port, 2, (said.seq + 1) & MASK, ACK, 65535)
                uplink.vouched(there, answer)
        await asyncio.sleep(0.001)


async def test_10_000_connections_abandoned(network):
    config = StackConfig(tcp=TcpConfig(keepalive_idle=600, keepalive_interval=60, keepalive_count=5))
    field = Field(network, config)
    layer = field.victim.tcp
    timers = field.loop.timers
    silent, owing = [], []
    servers = [
        await field.victim.create_server(lambda: Abandoned(0, silent), VICTIM.values(), 80, keep_alive=True),
        await field.victim.create_server(lambda: Abandoned(2000, owing), VICTIM.values(), 81),
    ]
    for port in (80, 81):
        await open_all(field, port, COUNT)
    assert len(layer.connections) == 2 * COUNT
    assert layer.memory.held == 2000 * COUNT
    await asyncio.sleep(600 + 5 * 60 + 120)
    assert silent == [errno.ETIMEDOUT] * COUNT  # RFC 1122 4.2.3.6
    await asyncio.sleep(924)
    assert owing == [errno.ETIMEDOUT] * COUNT  # RFC 1122 4.2.3.5, R2
    field.uplink.heard.clear()
    await field.gone(0.1)
    assert field.loop.timers <= timers + 1
    for server in servers:
        assert not server._transports
        server.close()
