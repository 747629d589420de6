"""Bulk data both ways, compared by SHA-256."""

import asyncio

import pytest

from tests.interop.applications import Exchange
from tests.interop.kernel import peer
from tests.interop.medium import BOTH_FAMILIES, TUN, host
from tests.interop.peers import digest

pytestmark = pytest.mark.tun

MB = 1000 * 1000
BOTH = pytest.mark.parametrize(("medium", "ours", "peer_address"), BOTH_FAMILIES)


@BOTH
@pytest.mark.parametrize("way", ["up", "down"])
async def test_kernel_client(medium, ours, peer_address, way):
    size = 100 * MB if medium == TUN else 20 * MB
    up, down = (size, 0) if way == "up" else (0, size)
    loop = asyncio.get_running_loop()
    accepted = loop.create_future()

    def factory():
        protocol = Exchange(down, seed=1)
        accepted.set_result(protocol)
        return protocol

    async with host(medium) as here:
        await here.stack.create_server(factory, ours, 7000)
        async with peer("client", host=ours, port=7000, size=up, seed=2) as program:
            assert await program.ended() == {"size": down, "digest": digest(down, 1)}
            assert await (await accepted).result == {"size": up, "digest": digest(up, 2)}
    assert here.stack.counters["tcp.bad_checksum"] == 0


@BOTH
async def test_stack_client_both_ways_at_once(medium, ours, peer_address):
    size = 50 * MB if medium == TUN else 10 * MB
    async with host(medium) as here, peer("server", host=peer_address, size=size, seed=3) as program:
        port = (await program.said())["port"]
        _, protocol = await here.stack.create_connection(lambda: Exchange(size, seed=4), peer_address, port)
        assert await protocol.result == {"size": size, "digest": digest(size, 3)}
        assert await program.ended() == {"size": size, "digest": digest(size, 4)}
    assert here.stack.counters["tcp.bad_checksum"] == 0


@BOTH
async def test_packets_of_a_transfer(peered, ours, peer_address):
    size = 2 * MB
    async with peer("server", host=peer_address, size=size, seed=5) as program:
        port = (await program.said())["port"]
        _, protocol = await peered.stack.create_connection(lambda: Exchange(size, seed=6), peer_address, port)
        assert await protocol.result == {"size": size, "digest": digest(size, 5)}
        assert await program.ended() == {"size": size, "digest": digest(size, 6)}
