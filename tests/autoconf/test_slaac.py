"""Hosts on a simulated LAN that are configured by its routers, in virtual time."""

import asyncio
from ipaddress import ip_address, ip_network

import pytest

from asyncstack import AddressAdded, AddressConflict, StackConfig
from asyncstack.autoconf.slaac import Slaac
from asyncstack.network.addresses import Origin
from asyncstack.network.slaac import State
from asyncstack.wire.ndp import ALL_NODES, NeighborAdvertisement, Prefix, multicast_mac
from tests.autoconf.site import (
    OTHER,
    PREFIX,
    addresses,
    configured,
    packed,
    prefix_of,
    routes,
    site,
)

pytestmark = pytest.mark.virtual_time(limit=1_000_000)


async def test_a_host_gets_an_address_a_route_and_nameservers():
    async with site("r") as (_, lan, pc, router):
        events = []
        pc.subscribe(events.append)
        async with router.advertiser(PREFIX, dns=["2001:db8:1::53"], search=["example.com"]):
            interface = await pc.add_interface(lan.port("pc"), ["slaac"])
        assert pc.clock() < 5
        [own] = addresses(pc)
        assert ip_address(own) in ip_network(PREFIX)
        assert routes(pc, interface) >= {PREFIX, "::/0 via fe80::1", "fe80::/64"}
        assert [entry.origin for entry in pc.addresses.of(interface)] == [Origin.LINK_LOCAL, Origin.SLAAC]
        assert [type(event) for event in events[-2:]] == [AddressAdded] * 2
        assert list(pc.resolver.config.nameservers) == ["2001:db8:1::53"]
        assert list(pc.resolver.config.search) == ["example.com"]
        assert (await pc.ping("fe80::1%" + str(interface.index))).source.startswith("fe80::1")


async def test_the_same_host_has_the_same_address_again_and_another_one_elsewhere():
    config = StackConfig(stable_secret=b"secret")
    found = []
    for prefix in (PREFIX, PREFIX, OTHER):
        async with site("r", config=config) as (_, lan, pc, router), router.advertiser(prefix):
            await pc.add_interface(lan.port("pc"), ["slaac"])
            found += addresses(pc)
    first, second, elsewhere = (packed(text)[8:] for text in found)
    assert first == second != elsewhere


async def test_without_a_router_it_is_told_what_was_missing():
    async with site() as (_, lan, pc):
        with pytest.raises(
            TimeoutError, match="no router advertisement, after 4 solicitations on lan within 30 s"
        ):
            await pc.add_interface(lan.port("pc"), ["slaac"])
        assert len(pc.interfaces) == 1  # lo


async def test_without_a_prefix_too():
    async with site("r") as (_, lan, pc, router), router.advertiser(managed=True):
        with pytest.raises(TimeoutError, match=r"no prefix to make .*, which tells hosts to use DHCPv6"):
            await pc.add_interface(lan.port("pc"), ["slaac"])


async def test_an_address_that_somebody_has_is_made_anew():
    async with site("r") as (_, lan, pc, router):
        port = lan.port("pc")

        class Named:
            device = port

        taken = pc.own_address(Named, packed("2001:db8:1::"))
        router.stack.add_address(router.interface, taken, 64)
        async with router.advertiser(PREFIX):
            interface = await pc.add_interface(port, ["slaac"])
        assert [packed(text) for text in addresses(pc)] == [pc.own_address(interface, taken, 1)]
        assert pc.counters["ndp.duplicate_address"] == 1


async def test_another_host_with_our_address_is_an_event():
    async with site("r") as (_, lan, pc, router):
        await configured(lan, pc, router)
        events = []
        pc.subscribe(events.append)
        [own] = addresses(pc)
        router.stack.add_address(router.interface, packed(own), 64)  # it announces it
        await asyncio.sleep(0.1)
        [event] = events
        assert isinstance(event, AddressConflict)
        assert (event.address, event.lost) == (packed(own), False)
        assert event.mac == bytes(router.interface.device.address)
        assert addresses(pc) == [own]


async def test_a_flood_of_claims_is_told_of_once_in_ten_seconds():
    """As for IPv4, where RFC 5227 2.4 has it so: whoever floods the link must not flood the application too."""
    async with site("r") as (_, lan, pc, router):
        interface = await configured(lan, pc, router)
        events = []
        pc.subscribe(events.append)
        [own] = addresses(pc)
        claim = NeighborAdvertisement(packed(own), b"\2\0\0\0\0\x66", override=True)
        for _ in range(100):
            router.stack.ndp._send(
                router.interface.link, claim, router.address, ALL_NODES, multicast_mac(ALL_NODES)
            )
            await asyncio.sleep(0.01)
        assert len(events) == 1
        assert pc.counters["ndp.address_conflict"] == 100
        await asyncio.sleep(10)
        router.stack.ndp._send(
            router.interface.link, claim, router.address, ALL_NODES, multicast_mac(ALL_NODES)
        )
        await asyncio.sleep(0.1)
        assert [event.interface for event in events] == [interface, interface]


async def test_an_address_that_was_made_twice_is_given_up_at_the_end():
    """Its first life was over before its check was."""
    async with site("r", config=StackConfig(dad_transmits=3)) as (_, lan, pc, router):
        task = asyncio.ensure_future(pc.add_interface(lan.port("pc"), ["slaac"]))
        await asyncio.sleep(5)
        [source] = [
            one for one in pc._configurations[pc.interfaces[1]]._sources.values() if isinstance(one, Slaac)
        ]
        router.say(prefix_of(PREFIX, 1, 1))
        await asyncio.sleep(1.5)
        assert (len(list(source._addresses)), len(source._checks)) == (0, 1)
        router.say(prefix_of(PREFIX))
        await asyncio.sleep(0.1)
        assert [one.state for one in source._addresses] == [State.TENTATIVE]
        await source.stop()
        await asyncio.sleep(5)
        assert addresses(pc) == []
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_stop_while_the_link_local_address_is_checked():
    async with site("r") as (_, lan, pc, router):
        interface = pc.attach(lan.port("pc"))
        source = Slaac(pc, interface)
        task = asyncio.ensure_future(source.start())
        await asyncio.sleep(0.5)
        task.cancel()
        await source.stop()
        await asyncio.sleep(5)
        router.say(prefix_of(PREFIX))
        await asyncio.sleep(5)
        assert (addresses(pc), routes(pc, interface), pc.addresses.of(interface)) == ([], set(), [])


async def test_a_prefix_that_is_longer_than_an_address_is_nothing():
    async with site("r") as (_, lan, pc, router):
        await configured(lan, pc, router)
        before = addresses(pc)
        for length in (129, 255):
            router.say(Prefix(packed("2001:db8:5::"), length))
            await asyncio.sleep(3)
        assert pc.counters["interface.receive_error"] == 0
        assert addresses(pc) == before


async def test_the_end_of_an_interface_leaves_nothing():
    async with site("r") as (_, lan, pc, router):
        interface = await configured(lan, pc, router, mtu=1400)
        await pc.remove_interface(interface)
        assert addresses(pc) == []
        assert routes(pc, interface) == set()
        assert pc.resolver.config.nameservers == ()
        router.say(prefix_of(OTHER))
        await asyncio.sleep(10)
        assert addresses(pc) == []


async def test_a_link_that_comes_back_has_the_routers_asked():
    async with site("r") as (_, lan, pc, router):
        interface = await configured(lan, pc, router)
        before = len(router.asked)
        port = lan.cables["pc"].ends[0]
        port.set_link(False)
        await asyncio.sleep(5)
        router.say(prefix_of(OTHER))
        await asyncio.sleep(5)
        assert len(addresses(pc)) == 1
        port.set_link(True)
        await asyncio.sleep(1)
        assert len(router.asked) == before + 1
        router.say(prefix_of(OTHER))
        await asyncio.sleep(3)
        assert len(addresses(pc)) == 2
        assert len(pc.addresses.of(interface)) == 3


async def test_without_checks_it_is_a_matter_of_one_advertisement():
    config = StackConfig(dad_transmits=0)
    async with site("r", config=config) as (_, lan, pc, router), router.advertiser(PREFIX):
        await asyncio.sleep(20)
        before = pc.clock()
        await pc.add_interface(lan.port("pc"), ["slaac", "fd00::5/64"])
        assert pc.clock() - before <= 0.5  # RFC 4861 6.2.6: a router waits so long before it answers
        assert len(addresses(pc)) == 1


@pytest.mark.parametrize("timeout", [5, 0.5])
async def test_a_host_that_waits_for_nothing_is_configured_all_the_same(timeout):
    """Also if the time is up before its link-local address has been checked."""
    async with site("r") as (_, lan, pc, router):
        await pc.add_interface(lan.port("pc"), ["slaac"], wait=False, timeout=timeout)
        await asyncio.sleep(100)
        router.say(prefix_of(PREFIX))
        await asyncio.sleep(3)
        assert len(addresses(pc)) == 1
