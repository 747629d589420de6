"""Kernel clients at listeners of every kind: through cookies, on addresses of others, on a port that is shared."""

import asyncio

import pytest

from asyncstack import ANY_PORT, StackConfig, TcpConfig
from tests.interop.applications import Exchange, echo
from tests.interop.kernel import peer, run
from tests.interop.medium import BOTH_FAMILIES, NAMES, OURS, OURS6, PLAIN_TAP, PLAIN_TUN, TAP, TUN, host
from tests.interop.peers import digest

pytestmark = pytest.mark.tun
SIZE = 3_000_000


@pytest.mark.parametrize(("medium", "address", "_"), BOTH_FAMILIES)
async def test_syn_cookies_keep_what_the_kernel_offered(medium, address, _):
    config = StackConfig(tcp=TcpConfig(syn_cookies="always"))
    async with host(medium, config) as here:
        made = []

        def factory():
            made.append(Exchange(SIZE, seed=1))
            return made[-1]

        await here.stack.create_server(factory, address, 7000)
        async with peer("client", host=address, port=7000, size=SIZE, seed=2) as client:
            assert await client.ended() == {"size": SIZE, "digest": digest(SIZE, 1)}
        assert await made[0].result == {"size": SIZE, "digest": digest(SIZE, 2)}
        assert here.stack.counters["tcp.cookies_received"] == 1
        conn = made[0].transport._endpoint.connection
        assert conn.receiver.timestamps and conn.sender.sack_ok and conn.scaling
        assert conn.peer_mss == (1460 if address == OURS else 1440)


async def test_cookies_without_timestamps():
    """What has no place in the cookie is not used, and the kernel goes along."""
    await run("sysctl", "-q", "-w", "net.ipv4.tcp_timestamps=0")
    async with host(TUN, StackConfig(tcp=TcpConfig(syn_cookies="always"))) as here:
        await here.stack.start_server(echo, OURS, 7000)
        async with peer("client", host=OURS, port=7000, size=SIZE, seed=2) as client:
            assert await client.ended() == {"size": SIZE, "digest": digest(SIZE, 2)}
        assert here.stack.counters["tcp.cookies_received"] == 1


@pytest.mark.parametrize(
    ("network", "targets"),
    [
        ("203.0.113.0/24", ("203.0.113.1", "203.0.113.250")),
        ("2001:db8:99::/48", ("2001:db8:99::1", "2001:db8:99:ffff::7")),
    ],
)
@pytest.mark.parametrize("medium", [TUN, TAP, PLAIN_TUN, PLAIN_TAP], ids=NAMES.get)
async def test_a_network_routed_to_us(medium, network, targets):
    """The kernel believes that the whole network is behind us; each connection says whom it was meant for."""
    async with host(medium) as here:
        family = "-6" if ":" in network else "-4"
        await run("ip", family, "route", "add", network, "via", OURS6 if ":" in network else OURS)

        async def mirror(reader, writer):
            name = writer.get_extra_info("sockname")
            names.append(name[:2])
            await echo(reader, writer)

        names = []
        await here.stack.start_server(mirror, network, ANY_PORT)
        for number, target in enumerate(targets):
            async with peer("client", host=target, port=80 + number, size=100_000, seed=3) as client:
                assert await client.ended() == {"size": 100_000, "digest": digest(100_000, 3)}
        assert names == [(target, 80 + number) for number, target in enumerate(targets)]


async def test_a_shared_port():
    async with host(TUN) as here:
        counts = [0, 0]

        def handler(number):
            async def serve(reader, writer):
                counts[number] += 1
                await echo(reader, writer)

            return serve

        for number in range(2):
            await here.stack.start_server(handler(number), OURS, 7000, reuse_port=True)
        async with peer("many_short", host=OURS, port=7000, count=200) as clients:
            await clients.ended()
        await asyncio.sleep(0)
        assert sum(counts) == 200 and min(counts) > 50
