"""100,000 SYNs from everywhere (RFC 4987)."""

import asyncio
import gc
import sys

import pytest

from asyncstack.wire.tcp import RST, SYN, Segment
from tests.abuse.field import BATCH, PORT, VICTIM, Field, Transfer

pytestmark = pytest.mark.virtual_time
MANY = {4: 100_000, 6: 30_000}
OPTIONS = {"mss": 1460, "window_scale": 7, "sack_permitted": True}


async def answer(reader, writer):
    writer.write(b"answer to " + await reader.readexactly(8))
    writer.close()


async def ask(field, version):
    """A legitimate client: how long it took to get in and be answered."""
    start = field.loop.time()
    reader, writer = await field.honest.open_connection(VICTIM[version], PORT)
    writer.write(b"question")
    assert await reader.read() == b"answer to question"
    writer.close()
    return field.loop.time() - start


@pytest.mark.parametrize("answering", [False, True], ids=("silent sources", "sources that reset"))
@pytest.mark.parametrize("version", MANY)
async def test_100_000_syns_in_a_burst(network, version, answering):
    """Within a second of virtual time. What is open goes on, who is honest gets in at once, memory is bounded."""
    syns = MANY[version]
    field = Field(network)
    layer, rng = field.victim.tcp, field.rng
    server = await field.victim.start_server(answer, VICTIM[version], PORT)
    (listener,) = layer.listeners
    backlog = field.victim.config.tcp.syn_backlog
    transfers = [Transfer(field, seed, version) for seed in range(2)]
    for transfer in transfers:
        await transfer.start()
    before = [sum(transfer.bytes) for transfer in transfers]
    asked, blocks = [], []
    for number in range(0, syns, BATCH):
        for _ in range(BATCH):
            port, seq = rng.randrange(1024, 65536), rng.getrandbits(32)
            options = {**OPTIONS, "ts_val": rng.getrandbits(32)} if rng.random() < 0.8 else {}
            field.uplink.vouched(field.stranger(version), Segment(port, PORT, seq, 0, SYN, 65535, **options))
        await asyncio.sleep(1.0 * BATCH / syns)
        assert listener.half_open <= backlog
        assert len(layer.connections) <= backlog + 16
        if answering:
            while field.uplink.heard:
                there, said = field.uplink.heard.popleft()
                field.uplink.vouched(there, Segment(said.dst_port, PORT, said.ack, 0, RST, 0))
        field.uplink.heard.clear()
        if not number % (syns // 10 // BATCH * BATCH):
            asked.append(asyncio.ensure_future(ask(field, version)))
            if number > syns // 5:
                gc.collect()  # what waits to be collected is no growth
                blocks.append(sys.getallocatedblocks())
    took = await asyncio.gather(*asked)
    assert len(took) >= 10 and max(took) < 0.5, took  # three round trips on a link that is full
    assert max(blocks) - min(blocks) < 20_000, blocks
    counters = field.victim.counters
    if not answering:
        assert counters["tcp.cookies_sent"] > syns - 2 * backlog
        assert counters["tcp.cookies_received"] >= 8
    moved = [sum(transfer.bytes) - start for transfer, start in zip(transfers, before, strict=True)]
    assert sum(moved) > 2_000_000, moved
    for transfer in transfers:
        await transfer.finish()
    assert await ask(field, version) < 0.5
    server.close()
    del transfer, transfers, listener
    await field.gone(130)
