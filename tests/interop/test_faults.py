"""Transfers with the kernel over a link that loses, repeats and reorders packets."""

import asyncio

import pytest

from tests.interop.applications import Exchange
from tests.interop.faulty import FaultyTap, FaultyTun
from tests.interop.kernel import peer
from tests.interop.loops import on_uvloop
from tests.interop.medium import OURS, OURS6, PEER, PEER6, Medium, host
from tests.interop.peers import digest

pytestmark = pytest.mark.tun

MB = 1000 * 1000
# over a TUN with offload a single loss takes up to 64 KiB with it
LINKS = {
    "plain_tun": (Medium(FaultyTun, offload=False), 0.02, PEER),
    "plain_tap": (Medium(FaultyTap, offload=False), 0.02, PEER6),
    "tun": (Medium(FaultyTun), 0.05, PEER),
}


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("way", ["up", "down"])
async def test_transfer_with_losses(link, way):
    medium, loss, peer_address = LINKS[link]
    size = MB if medium.offload else 3 * MB
    up, down = (size, 0) if way == "up" else (0, size)
    async with (
        host(medium, loss=loss, seed=6) as here,
        peer("server", host=peer_address, size=down, seed=1) as program,
    ):
        port = (await program.said())["port"]
        _, protocol = await here.stack.create_connection(lambda: Exchange(up, seed=2), peer_address, port)
        async with asyncio.timeout(40):
            assert await protocol.result == {"size": down, "digest": digest(down, 1)}
        assert await program.ended() == {"size": up, "digest": digest(up, 2)}
        device = here.interface.device
        carrier = device.outward if way == "up" else device.inward
        assert min(carrier.lost, carrier.repeated) > 0
        assert carrier.reordered > 0 or medium.offload


@on_uvloop
async def test_many_small_connections_at_four_percent_loss():
    """Handshakes, FINs and single segments get through too."""
    async with host(Medium(FaultyTun, offload=False), loss=0.04) as here:

        async def serve(reader, writer):
            writer.write((await reader.read())[::-1])
            writer.close()

        await here.stack.start_server(serve, [OURS, OURS6], 7000)
        async with peer("many_short", host=OURS, port=7000, count=40) as program:
            assert await program.ended() == {"done": 40}
