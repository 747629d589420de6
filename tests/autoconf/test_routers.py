"""Several routers on a simulated LAN: which one is used, and what else they say, in virtual time."""

import asyncio
from dataclasses import replace

import pytest

from asyncstack.application.radv import RouterAdvertiser
from asyncstack.link.reachability import State
from asyncstack.wire.ndp import NeighborAdvertisement, Prefix, Redirect, RouteInformation
from tests.autoconf.site import (
    FAR,
    PREFIX,
    addresses,
    configured,
    ip_and_length,
    packed,
    routes,
    site,
)

pytestmark = pytest.mark.virtual_time(limit=1_000_000)


async def far_host(net, lan, *routers):
    """A host behind all routers, which reaches `pc` directly."""
    far = net.host("far", f"{FAR}/128")
    interface = far.attach(lan.port("far"), [f"{FAR}/128"])
    far.routes.add(*ip_and_length(PREFIX), interface)
    for router in routers:
        router.neighbors[packed(FAR)] = bytes(interface.device.address)
    return far


async def test_a_connection_moves_on_when_its_router_dies():
    async with site("r1", "r2") as (net, lan, pc, first, second):
        interface = await configured(lan, pc, first)
        second.say()
        far = await far_host(net, lan, first, second)
        server = await far.start_server(lambda reader, writer: echo(reader, writer), FAR, 7)
        reader, writer = await pc.open_connection(FAR, 7)
        writer.write(b"before")
        assert await reader.read(10) == b"before"
        lan.cables["r1"].down()
        died = pc.clock()
        await asyncio.sleep(60)
        writer.write(b"after")
        assert await reader.read(10) == b"after"
        assert pc.clock() - died < 60 + 20
        assert interface.link.neighbors6.entries[first.address].state is State.FAILED
        assert "::/0 via fe80::2" in routes(pc, interface)
        # the first is probed for, and used again once it is there, as nobody preferred the second
        lan.cables["r1"].up()
        await asyncio.sleep(130)
        assert "::/0 via fe80::1" in routes(pc, interface)
        writer.close()
        server.close()


async def echo(reader, writer):
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


async def test_the_preferred_router_is_used_and_the_routes_that_it_knows():
    async with site("r1", "r2") as (_, lan, pc, first, second):
        interface = await configured(lan, pc, first)
        second.say(preference=1)
        await asyncio.sleep(0.1)
        assert "::/0 via fe80::2" in routes(pc, interface)
        first.say(routes=[RouteInformation(packed("2001:db8:99::"), 48, 0, 600)])
        await asyncio.sleep(0.1)
        assert pc.routes.lookup(packed(FAR)).next_hop == first.address
        assert pc.routes.lookup(packed("2001:db8:5::1")).next_hop == second.address
        await asyncio.sleep(601)
        assert pc.routes.lookup(packed(FAR)).next_hop == second.address


async def test_a_router_ends_by_its_lifetime_by_its_word_and_by_its_flag():
    async with site("r1", "r2", "r3") as (_, lan, pc, *routers):
        interface = await configured(lan, pc, routers[0], lifetime=100)
        for router in routers[1:]:
            router.say()
        await asyncio.sleep(1)
        assert "::/0 via fe80::1" in routes(pc, interface)
        await asyncio.sleep(100)
        assert "::/0 via fe80::2" in routes(pc, interface)
        routers[1].say(lifetime=0)
        await asyncio.sleep(1)
        assert "::/0 via fe80::3" in routes(pc, interface)
        # an advertisement without the router flag: it is a host now (RFC 4861 7.2.5)
        link = routers[2].interface.link
        news = NeighborAdvertisement(routers[2].address, link.mac, override=True)
        pc_own = next(entry.address for entry in pc.addresses.of(interface, 16))
        routers[2].stack.ndp._send(link, news, routers[2].address, pc_own, bytes(interface.device.address))
        await asyncio.sleep(1)
        assert not any(route.startswith("::/0") for route in routes(pc, interface))


async def test_a_redirect_of_the_router_in_use():
    async with site("r1", "r2") as (_, lan, pc, first, second):
        interface = await configured(lan, pc, first)
        mac = bytes(interface.device.address)
        link_local = pc.addresses.of(interface, 16)[0].address

        def redirect(router):
            told = Redirect(second.address, packed(FAR), bytes(second.interface.device.address))
            router.stack.ndp._send(router.interface.link, told, router.address, link_local, mac)

        redirect(second)
        await asyncio.sleep(0.1)
        assert pc.routes.lookup(packed(FAR)).next_hop == first.address
        redirect(first)
        await asyncio.sleep(0.1)
        assert pc.routes.lookup(packed(FAR)).next_hop == second.address
        assert interface.link.neighbors6.entries[second.address].state is State.STALE
        lan.cables["r2"].down()
        with pytest.raises(TimeoutError):
            await pc.ping(FAR)
        await asyncio.sleep(20)
        assert pc.routes.lookup(packed(FAR)).next_hop == first.address


async def test_what_is_said_about_the_link():
    async with site("r") as (_, lan, pc, router):
        interface = await configured(
            lan, pc, router, mtu=1400, reachable_time=5000, retrans_timer=200, hop_limit=33
        )
        neighbors = interface.link.neighbors6
        assert (neighbors.reachable_time, neighbors.retrans) == (5.0, 0.2)
        path = pc.routes.lookup(packed(FAR))
        assert (path.mtu, path.hop_limit) == (1400, 33)
        assert pc.routes.lookup(packed("::1")).hop_limit == 64
        router.say(mtu=1279, reachable_time=3_600_001, retrans_timer=5)
        router.say(mtu=1501, retrans_timer=10_001, hop_limit=31)
        await asyncio.sleep(0.1)
        assert (neighbors.reachable_time, neighbors.retrans) == (5.0, 0.2)
        path = pc.routes.lookup(packed(FAR))
        assert (path.mtu, path.hop_limit) == (1400, 33)


async def test_dns_servers_come_and_go():
    async with site("r") as (_, lan, pc, router):
        dns = RouterAdvertiser(router.stack, router.interface, dns=["fe80::53", "2001:db8::53"])._record
        interface = await configured(lan, pc, router, rdnss=[replace(dns.rdnss[0], lifetime=1800)])
        assert pc.resolver.config.nameservers == [f"fe80::53%{interface.index}", "2001:db8::53"]
        router.say(rdnss=[replace(dns.rdnss[0], lifetime=0)])
        await asyncio.sleep(0.1)
        assert pc.resolver.config.nameservers == []


async def test_a_flood_of_false_routers_finds_no_room_and_costs_the_true_one_nothing():
    """What thc-ipv6's flood_router26 does: routers, prefixes, routes and nameservers without end."""
    async with site("r", "evil") as (_, lan, pc, router, evil):
        interface = await configured(lan, pc, router)
        [own] = addresses(pc)
        for number in range(2000):
            evil.address = b"\xfe\x80" + bytes(6) + number.to_bytes(8, "big")
            net = b"\x20\x01\x0e\xee" + number.to_bytes(4, "big")
            fields = {"lifetime": 65535, "preference": 1, "mtu": 1280 + number % 200}
            evil.say(
                *(Prefix(net[:-1] + bytes((one,)) + bytes(8), 64) for one in range(17)),
                routes=[RouteInformation(net + bytes(8), 64 - bits, 1, 9999) for bits in range(17)],
                **fields,
            )
            if number % 16 == 0:
                await asyncio.sleep(0.01)
        await asyncio.sleep(20)
        assert len(pc.addresses.of(interface)) <= 1 + 32
        assert len(routes(pc, interface)) <= 400
        assert len(interface.link.neighbors6.entries) <= pc.config.neighbor_limit
        assert own in addresses(pc)
        assert pc.counters["ndp.routes_refused"] > 1000


async def test_a_route_that_somebody_has_typed_stays():
    async with site("r") as (_, lan, pc, router):
        interface = await configured(lan, pc, router)
        [ours] = [route for route in pc.routes.routes() if str(route).startswith("::/0")]
        pc.routes.remove(ours)
        typed = pc.routes.add(bytes(16), 0, interface, packed("fe80::9"), 1024)
        router.say(lifetime=0)
        await asyncio.sleep(0.1)
        router.say()
        await asyncio.sleep(0.1)
        assert [route for route in pc.routes.routes() if str(route).startswith("::/0")] == [typed]
        pc.routes.remove(typed)
        router.say()
        await asyncio.sleep(0.1)
        assert "::/0 via fe80::1" in routes(pc, interface)
