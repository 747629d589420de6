"""A link that is back, as the same network's or as another one's: what routers gave is kept, or set aside."""

import asyncio
import errno
from contextlib import asynccontextmanager

import pytest

from asyncstack import AddressRemoved, StackConfig
from asyncstack.network.addresses import Origin
from asyncstack.wire.ndp import Dnssl, Rdnss
from tests.autoconf.site import OTHER, PREFIX, addresses, packed, prefix_of, routes, site
from tests.transport.asyncio_contract.recorders import Recorder

pytestmark = pytest.mark.virtual_time

NAMESERVER, ELSEWHERE = "2001:db8:1::53", "2001:db8:2::53"


@asynccontextmanager
async def moving(config=None):
    """A host, and a function that pulls its cable, and puts it into the network of those routers that are given."""
    async with site("home", "away", config=config) as (net, lan, pc, home, away):
        routers = {"home": home, "away": away}
        home.says = [prefix_of(PREFIX)], {"rdnss": [Rdnss(600, [packed(NAMESERVER)])]}
        away.says = (
            [prefix_of(OTHER)],
            {"rdnss": [Rdnss(600, [packed(ELSEWHERE)])], "dnssl": [Dnssl(600, ["away.example"])]},
        )

        async def move(*names):
            port = lan.cables["pc"].ends[0]
            port.set_link(False)
            await asyncio.sleep(2)
            for name in routers:
                lan.cables[name].ends[0].set_link(name in names)
            port.set_link(True)
            for name in names:
                await asyncio.sleep(1)
                prefixes, fields = routers[name].says
                routers[name].say(*prefixes, **fields)
            await asyncio.sleep(3)

        lan.cables["away"].ends[0].set_link(False)
        task = asyncio.ensure_future(pc.add_interface(lan.port("pc"), ["slaac"]))
        await asyncio.sleep(5)
        home.say(*home.says[0], **home.says[1])
        yield net, lan, pc, await task, routers, move


def preferred(pc):
    return [
        str(entry)[:11]
        for entry in pc.addresses.local.values()
        if entry.address[0] == 0x20 and entry.preferred_until > pc.clock()
    ]


async def test_the_same_network_changes_nothing():
    async with moving() as (_, _, pc, interface, _, move):
        before, ways = list(pc.addresses.local), routes(pc, interface)
        await move("home")
        assert (list(pc.addresses.local), routes(pc, interface)) == (before, ways)
        assert preferred(pc) == ["2001:db8:1:"]
        assert pc.counters["ndp.other_network"] == 0


async def test_in_another_network_the_new_addresses_and_routers_are_used():
    async with moving() as (_, _, pc, interface, routers, move):
        assert routes(pc, interface) >= {"::/0 via fe80::1", "2001:db8:1::/64"}
        server = routers["home"].stack
        server.add_address(routers["home"].interface, packed("2001:db8:1::1"), 64)
        client = Recorder()
        await server.create_server(Recorder, None, 80)
        await pc.create_connection(lambda: client, "2001:db8:1::1", 80)
        await move("away")
        assert len(addresses(pc)) == 2  # the old one stays for its connections
        assert preferred(pc) == ["2001:db8:2:"]
        assert routes(pc, interface) == {"::/0 via fe80::2", "2001:db8:2::/64", "fe80::/64"}
        assert list(pc.resolver.config.nameservers) == [ELSEWHERE]
        assert list(pc.resolver.config.search) == ["away.example"]
        assert pc.connections()[0].state.value == "ESTABLISHED"
        pc.tcp.close()


async def test_the_way_home():
    async with moving() as (_, _, pc, interface, _, move):
        before = addresses(pc)
        await move("away")
        await move("home")
        assert preferred(pc) == ["2001:db8:1:"]
        assert "::/0 via fe80::1" in routes(pc, interface)
        assert "::/0 via fe80::2" not in routes(pc, interface)
        assert list(pc.resolver.config.nameservers) == [NAMESERVER]
        assert before[0] in addresses(pc)


async def test_a_new_router_that_answers_first_is_put_right_by_the_old_one():
    async with moving() as (_, _, pc, interface, _, move):
        await move("away", "home")
        assert sorted(preferred(pc)) == ["2001:db8:1:", "2001:db8:2:"]
        assert routes(pc, interface) >= {"::/0 via fe80::2", "2001:db8:1::/64", "2001:db8:2::/64"}
        assert list(pc.resolver.config.nameservers) == [ELSEWHERE, NAMESERVER]


async def test_an_advertisement_without_a_prefix_does_not_tell():
    async with moving() as (_, _, pc, interface, routers, move):
        routers["away"].says = [], {}
        await move("away")
        assert preferred(pc) == ["2001:db8:1:"]
        assert "::/0 via fe80::1" in routes(pc, interface)
        routers["away"].say(prefix_of(OTHER))
        await asyncio.sleep(3)
        assert preferred(pc) == ["2001:db8:2:"]
        assert "::/0 via fe80::2" in routes(pc, interface)


async def test_without_a_cut_another_router_is_just_one_more():
    async with moving() as (_, lan, pc, _, routers, _):
        lan.cables["away"].ends[0].set_link(True)
        routers["away"].say(prefix_of(OTHER))
        await asyncio.sleep(3)
        assert sorted(preferred(pc)) == ["2001:db8:1:", "2001:db8:2:"]


async def test_temporary_addresses_are_set_aside_too_and_there_are_new_ones():
    async with moving(StackConfig(temporary_addresses=True)) as (_, _, pc, _, _, move):
        await move("away")
        await asyncio.sleep(5)
        assert preferred(pc) == ["2001:db8:2:"] * 2
        await move("home")
        assert set(preferred(pc)) == {"2001:db8:1:"}
        fresh = [entry for entry in pc.addresses.local.values() if entry.origin is Origin.TEMPORARY]
        assert {entry.preferred_until > pc.clock() for entry in fresh} == {True, False}


async def test_one_that_somebody_has_taken_meanwhile_is_made_anew():
    async with moving() as (net, lan, pc, _, _, move):
        (before,) = addresses(pc)
        seen = []
        pc.subscribe(seen.append)
        lan.cables["pc"].ends[0].set_link(False)
        thief = net.host("thief").attach(lan.port("thief"), [f"{before}/64"])
        await asyncio.sleep(1)
        await move("home")
        (gone,) = [event for event in seen if isinstance(event, AddressRemoved)]
        assert gone.error.errno == errno.EADDRINUSE
        assert thief.link.mac.hex(":") in str(gone.error)
        (after,) = addresses(pc)
        assert (after[:11], pc.counters["ndp.duplicate_address"]) == (before[:11], 1)
        assert after != before


async def test_what_was_said_about_the_link_is_forgotten_with_the_network():
    async with moving() as (_, _, _, interface, routers, move):
        routers["home"].say(prefix_of(PREFIX), mtu=1400, hop_limit=99, reachable_time=9000)
        await asyncio.sleep(1)
        assert (interface.advertised_mtu, interface.link.neighbors6.reachable_time) == (1400, 9.0)
        await move("away")
        assert interface.advertised_mtu > 1400
        assert (interface.advertised_hop_limit, interface.link.neighbors6.reachable_time) == (0, 30.0)
