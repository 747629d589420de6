"""Port scans of every kind: what is open shows, as it must, and nothing is left."""

import asyncio
import sys

import pytest

from asyncstack.wire.tcp import ACK, FIN, PSH, RST, SYN, URG, Segment
from tests.abuse.field import BATCH, FAMILIES, VICTIM, Field

pytestmark = pytest.mark.virtual_time
SCANS = {"SYN": SYN, "FIN": FIN, "NULL": 0, "XMAS": FIN | PSH | URG, "ACK": ACK, "Maimon": FIN | ACK}
OPEN = (22, 80, 443, 3306, 8080)
PORTS = 10_000


@pytest.mark.parametrize("kind", SCANS)
@pytest.mark.parametrize("polite", [True, False], ids=("resets", "says no more"))
@pytest.mark.parametrize("version", FAMILIES)
async def test_scan(network, version, kind, polite):
    field = Field(network)
    layer, uplink = field.victim.tcp, field.uplink
    servers = [
        await field.victim.start_server(lambda reader, writer: None, VICTIM[version], port) for port in OPEN
    ]
    scanner = field.stranger(version)
    before = len(field.victim.counters), sys.getallocatedblocks(), field.loop.timers
    found, closed = set(), set()
    for start in range(1, PORTS + 1, BATCH):
        for port in range(start, start + BATCH):
            uplink.vouched(
                scanner, Segment(50_000, port, 7, 99 if SCANS[kind] & ACK else 0, SCANS[kind], 1024)
            )
        await asyncio.sleep(0.2)  # below the limit on resets
        while uplink.heard:
            there, said = uplink.heard.popleft()
            assert there == scanner
            if said.flags & SYN:
                found.add(said.src_port)
                if polite:
                    uplink.vouched(scanner, Segment(50_000, said.src_port, 8, 0, RST, 0))
            else:
                assert said.flags & RST
                closed.add(said.src_port)
    everything = set(range(1, start + BATCH))
    if kind == "SYN":
        assert (found, closed) == (set(OPEN), everything - set(OPEN))
    else:
        assert not found
        assert closed == (everything if SCANS[kind] & ACK else everything - set(OPEN))
    if polite or kind != "SYN":
        assert not layer.connections
    del found, closed, everything
    await field.gone(100)
    uplink.heard.clear()
    assert sys.getallocatedblocks() - before[1] < 5_000
    assert len(field.victim.counters) - before[0] < 10
    assert field.loop.timers <= before[2] + 1  # the path MTU's
    for server in servers:
        server.close()


@pytest.mark.parametrize("version", FAMILIES)
async def test_a_scan_as_fast_as_it_gets_is_answered_at_a_limited_rate(network, version):
    field = Field(network)
    for number in range(20_000):
        field.uplink.vouched(field.stranger(version), Segment(50_000, 1 + number, 7, 0, SYN, 1024))
        if not number % BATCH:
            await asyncio.sleep(0.0001)
    await asyncio.sleep(0.1)
    assert 900 < field.uplink.count < 1_500  # a second's worth at once
    assert field.victim.counters["tcp.reset_rate_limited"] > 18_000
