"""Addresses on a simulated LAN get old, in virtual time."""

import asyncio
import errno
from ipaddress import ip_address, ip_network

import pytest

from asyncstack import AddressRemoved, StackConfig
from asyncstack.network.addresses import Origin
from tests.autoconf.site import (
    FAR,
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


async def test_an_address_is_deprecated_and_then_goes():
    async with site("r") as (_, lan, pc, router):
        await configured(lan, pc, router, prefix_of(PREFIX, 9000, 8000), prefix_of(OTHER))
        await asyncio.sleep(2)
        events = []
        pc.subscribe(events.append)
        old, new = sorted(addresses(pc))
        assert pc.routes.lookup(packed("2001:db8:1::77")).source == packed(old)
        await asyncio.sleep(8100)
        assert pc.routes.lookup(packed("2001:db8:1::77")).source == packed(new)
        await asyncio.sleep(900)
        [event] = events
        assert isinstance(event, AddressRemoved)
        assert str(ip_address(event.address.address)) == old
        assert event.error.errno == errno.EADDRNOTAVAIL
        assert "valid lifetime" in str(event.error)
        assert addresses(pc) == [new]


async def test_a_forged_lifetime_takes_no_address_away_at_once():
    """RFC 4862 5.5.3 (e): two hours are left."""
    async with site("r") as (_, lan, pc, router):
        interface = await configured(lan, pc, router)
        router.say(prefix_of(PREFIX, 0, 0))
        await asyncio.sleep(7190)
        assert len(addresses(pc)) == 1
        assert PREFIX not in routes(pc, interface)  # but the prefix is off the link
        await asyncio.sleep(20)
        assert addresses(pc) == []


async def test_a_network_is_renumbered():
    async with site("r") as (_, lan, pc, router):
        await configured(lan, pc, router)
        router.say(prefix_of(PREFIX, 7200, 0), prefix_of(OTHER))
        await asyncio.sleep(3)
        assert len(addresses(pc)) == 2
        assert ip_address(pc.routes.lookup(packed(FAR)).source) in ip_network(OTHER)
        await asyncio.sleep(7200)
        assert [ip_address(text) in ip_network(OTHER) for text in addresses(pc)] == [True]


async def test_temporary_addresses_follow_each_other():
    async with site("r", config=StackConfig(temporary_addresses=True)) as (_, lan, pc, router):
        async with router.advertiser(prefix_of(PREFIX, 7 * 86400, 7 * 86400)):
            await pc.add_interface(lan.port("pc"), ["slaac"])
            await asyncio.sleep(3)
            seen = set()
            for _ in range(24 * 7):
                now = addresses(pc, Origin.TEMPORARY)
                assert 1 <= len(now) <= 4
                seen.update(now)
                assert str(ip_address(pc.routes.lookup(packed(FAR)).source)) in now
                await asyncio.sleep(3600)
        assert 7 <= len(seen) <= 13  # one lasts 14.4 to 24 hours
        assert len(addresses(pc, Origin.SLAAC)) == 1
