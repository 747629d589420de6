"""An interface that configures itself by all there is, and is given up, removed or cut at any moment of that."""

import asyncio

import pytest

from asyncstack import AddressAdded, AddressRemoved, InterfaceDown, InterfaceUp, StackConfig
from asyncstack.application.dhcp import DhcpServer, Pool
from asyncstack.application.radv import RouterAdvertiser
from asyncstack.network.addresses import Origin

pytestmark = pytest.mark.virtual_time(limit=10_000)
WORDS = ["dhcp4", "slaac", "dhcp6", "link-local"]


async def cancelled(host, adding):
    adding.cancel()


async def removed(host, adding):
    for interface in host.interfaces[1:]:
        await host.remove_interface(interface)


async def cut(host, adding):
    """And joined again, which begins some things anew, in the middle of which it is given up."""
    for interface in host.interfaces[1:]:
        interface.device.on_link(False)
        await asyncio.sleep(0.3)
        interface.device.on_link(True)
        await asyncio.sleep(2.0)
    adding.cancel()


def left(host):
    addresses = {str(entry) for entry in host.addresses.local.values()}
    udp, tables = host.udp, (host._configurations, host._rechecks)
    return (
        addresses,
        host.interfaces[1:],
        host.routes.routes()[2:],
        udp.endpoints,
        udp.interface_ports,
        tables,
    )


def check_order(events):
    """Up, addresses that come before they go, down."""
    assert isinstance(events[0], InterfaceUp) and isinstance(events[-1], InterfaceDown)
    held = []
    for event in events:
        if isinstance(event, AddressAdded):
            held.append(event.address)
        elif isinstance(event, AddressRemoved):
            held.remove(event.address)
    return [event.address for event in events if isinstance(event, AddressAdded)]


@pytest.mark.parametrize("end", [cancelled, removed, cut])
async def test_nothing_is_left(network, end):
    said, borrowed = [], 0
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    server = network.host("server", "10.0.0.1/24", "fe80::9/64", "fd00::1/64")
    lan, eth = network.lan("office", server, delay=0.01), server.interfaces[1]
    pool = Pool(network="10.0.0.0/24", routers=["10.0.0.1"], nameservers=["10.0.0.1"])
    prefixes = {"prefixes": ["fd00::/64"], "dns": ["fd00::1"], "managed": True}
    async with DhcpServer(server, eth, pool, check=0.1) as dhcp, RouterAdvertiser(server, eth, **prefixes):
        tasks = asyncio.all_tasks()
        for number in range(30):
            config = StackConfig(ipv4_conflict_probes=number % 2)
            host, events = network.host(f"pc{number}", config=config), []
            host.subscribe(events.append)
            before = left(host)
            adding = asyncio.create_task(host.add_interface(lan.port(), WORDS[: 2 + number % 3], timeout=20))
            await asyncio.sleep(0.25 * number)
            await end(host, adding)
            await asyncio.gather(adding, return_exceptions=True)
            await removed(host, adding)
            await asyncio.sleep(0.05)
            assert (left(host), host.names.dns, said) == (before, None, []), number
            assert asyncio.all_tasks() == tasks, number
            for entry in check_order(events) if events else ():
                if entry.origin is Origin.DHCP4:
                    borrowed += 1
                    assert entry.address not in {one.address for one in dhcp.bindings}, number
    assert borrowed > 5
