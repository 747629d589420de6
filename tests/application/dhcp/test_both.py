"""Our client and our server, over links that lose and repeat what they carry."""

import asyncio

import pytest

from asyncstack.application.dhcp import Dhcp4Client, DhcpServer, Pool
from asyncstack.application.dhcp.states import State
from tests.application.dhcp.offices import POOL

pytestmark = pytest.mark.virtual_time(limit=2_000_000)


def site(net, **parameters):
    server, client = net.host("server", "10.0.0.1/24"), net.host("client")
    net.link(server, client, ethernet=True, addresses=("10.0.0.1/24", ()), **parameters)
    return server, client


async def test_a_lease_and_a_conversation(network):
    server, client = site(network, delay=0.01)
    async with DhcpServer(server, server.interfaces[-1], Pool(**POOL, mtu=1400)) as dhcp:
        leased = Dhcp4Client(client, client.interfaces[-1])
        await leased.start()
        assert client.interfaces[-1].mtu == 1400
        event = await anext(dhcp)
        assert (event.binding.hostname, event.binding.address) == ("client", leased.lease.address)

        async def echo(reader, writer):
            while data := await reader.read(100):
                writer.write(data)
            writer.close()

        await server.start_server(echo, "10.0.0.1", 80)
        reader, writer = await client.open_connection("10.0.0.1", 80)
        for _ in range(5):  # over renewals
            writer.write(b"still there?")
            assert await reader.readexactly(12) == b"still there?"
            await asyncio.sleep(3000)
        writer.close()
        await leased.stop()
        await asyncio.sleep(1)
        assert dhcp.bindings == [] and client.interfaces[-1].mtu == 1500


@pytest.mark.parametrize("loss", [0.1, 0.3, 0.5])
async def test_a_lease_is_kept_over_a_link_that_loses(network, loss):
    """Whatever is lost, the two agree: while the client has an address the server knows of it."""
    server, client = site(network, delay=0.02, jitter=0.05, loss=loss, duplicate=0.05, reorder=0.1)
    pool = Pool(**POOL, lease_time=7200)
    async with DhcpServer(server, server.interfaces[-1], pool) as dhcp:
        leased = Dhcp4Client(client, client.interfaces[-1], timeout=3600)
        await leased.start()
        first = leased.lease.address
        for _ in range(200):
            await asyncio.sleep(700)
            if leased.lease is not None:
                assert [one.address for one in dhcp.bindings] == [leased.lease.address]
        assert leased.state in (State.BOUND, State.RENEWING, State.REBINDING)
        assert leased.lease.address == first
        await leased.stop()


async def test_a_server_that_comes_back_without_its_memory(network):
    """The client finds out at its renewal, and gets the same address again."""
    server, client = site(network)
    interface = server.interfaces[-1]
    leased = Dhcp4Client(client, client.interfaces[-1])
    async with DhcpServer(server, interface, Pool(**POOL)):
        await leased.start()
    first = leased.lease.address
    async with DhcpServer(server, interface, Pool(**POOL), authoritative=True) as dhcp:
        await asyncio.sleep(3700)
        assert (leased.state, leased.lease.address) == (State.BOUND, first)
        assert [one.address for one in dhcp.bindings] == [first]
    await leased.stop()


async def test_who_leaves_makes_room(network):
    server, client = site(network)
    interface, eth = server.interfaces[-1], client.interfaces[-1]
    async with DhcpServer(server, interface, Pool(**POOL | {"last": "10.0.0.100"}), check=0):
        first = Dhcp4Client(client, eth, client_id=b"\0first", release=False)
        await first.start()
        await first.stop()
        second = Dhcp4Client(client, eth, client_id=b"\0second", timeout=60)
        with pytest.raises(TimeoutError):
            await second.start()
        assert server.counters["dhcp.pool_exhausted"] > 2
        await asyncio.sleep(3600)
        assert str(second.lease) == "10.0.0.100/24"
        await second.stop()
