"""Echoes of every awkward size, 0 to 65,507 bytes, both ways and in both families: in fragments and reassembled."""

import pytest

from tests.interop.kernel import peer
from tests.interop.medium import OURS, OURS6, PEER, PEER6, TAP, host

pytestmark = pytest.mark.tun

LARGEST = 65507
POWERS = [
    near for exponent in range(17) for near in ((1 << exponent) - 1, 1 << exponent, (1 << exponent) + 1)
]
SIZES = sorted({size for size in (*POWERS, *range(0, LARGEST, 1021), LARGEST) if size <= LARGEST})
FAMILIES = pytest.mark.parametrize(
    ("ours", "peer_address"), [(OURS, PEER), (OURS6, PEER6)], ids=["IPv4", "IPv6"]
)


@FAMILIES
async def test_the_kernel_pings_us(ours, peer_address):
    async with host(TAP) as made, peer("pinger", file="pings.py", host=ours, sizes=SIZES) as program:
        assert await program.ended() == {"sent": len(SIZES), "wrong": {}}
        assert not any(len(layer.reassembly) for layer in (made.stack.ipv4, made.stack.ipv6))


@FAMILIES
async def test_we_ping_the_kernel(ours, peer_address):
    async with host(TAP) as made:
        for size in SIZES:
            assert (await made.stack.ping(peer_address, size=size, timeout=5)).size == size
