"""Advertisements on a cable in virtual time, and what hosts may ask of the one who sends them."""

import asyncio

import pytest

import asyncstack
from asyncstack.application.radv import RouterAdvertiser
from asyncstack.link.frame import OutgoingFrame
from asyncstack.link.memory import memory_pair
from asyncstack.network.addresses import parse_address
from asyncstack.wire import ethernet, icmpv6, ipv6, ndp
from asyncstack.wire.ndp import Dnssl, Prefix, Rdnss, RouterAdvertisement, RouterSolicitation

pytestmark = pytest.mark.virtual_time(limit=4000)

MAC, PEER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
OURS, PEER, PREFIX = map(parse_address, ("fe80::1", "fe80::2", "fd00:1::"))


class Cable:
    """A stack with OURS, and the bare other end, which keeps the ICMPv6 messages it gets and when."""

    def __init__(self, stack, *addresses):
        self.loop = asyncio.get_running_loop()
        device, self.end = memory_pair(ethernet=True, addresses=(MAC, PEER_MAC))
        device.attach(self.loop)
        self.end.attach(self.loop)
        self.heard = []
        self.end.start(self._read())
        self.interface = stack.attach(device, addresses or ["fe80::1/64", "fd00:1::1/64"], name="eth0")

    async def _read(self):
        while True:
            for frame in await self.end.receive():
                if frame.data[12:14] != b"\x86\xdd":
                    continue
                packet = ipv6.parse(frame.data[14:])
                message = icmpv6.parse(packet.payload, packet.src, packet.dst)
                where = (bytes(frame.data[:6]), packet.src, packet.dst, packet.ttl)
                if message.type in (icmpv6.ROUTER_ADVERTISEMENT, icmpv6.NEIGHBOR_ADVERTISEMENT):
                    self.heard.append((self.loop.time(), where, ndp.parse(message)))

    def advertisements(self, kind=RouterAdvertisement):
        """(time, record) of what was heard since the last call."""
        found = [(when, record) for when, _, record in self.heard if isinstance(record, kind)]
        self.heard.clear()
        return found

    def solicit(self, src=PEER, mac=PEER_MAC, ttl=255):
        message = ndp.build(RouterSolicitation(mac), src, ndp.ALL_ROUTERS)
        self.send(src, ndp.ALL_ROUTERS, message, ttl)

    def ask(self, target):
        group = ndp.solicited_node_multicast(target)
        self.send(PEER, group, ndp.build(ndp.NeighborSolicitation(target, PEER_MAC), PEER, group), 255)

    def send(self, src, dst, message, ttl):
        header = ethernet.build(ndp.multicast_mac(dst), PEER_MAC, ethernet.ETHERTYPE_IPV6)
        packet = ipv6.build(src, dst, icmpv6.PROTOCOL, len(message), hop_limit=ttl) + message
        self.end.send(OutgoingFrame([header + packet]))


async def test_everything_is_said_to_all_nodes_from_the_link_local_address():
    async with asyncstack.Stack(seed=1) as stack:
        cable = Cable(stack)
        async with RouterAdvertiser(
            stack, cable.interface, ["fd00:1::/64", Prefix(PREFIX, 60, True, False, 50, 40)],
            dns=["fd00:1::53"], search=["example.org"], mtu=1400, managed=True, other=True, preference="high",
        ):  # fmt: skip
            await asyncio.sleep(0.001)
        [(_, where, record), *_] = [one for one in cable.heard if isinstance(one[2], RouterAdvertisement)]
        assert where == (ndp.multicast_mac(ndp.ALL_NODES), OURS, ndp.ALL_NODES, 255)
        assert record == RouterAdvertisement(
            1800, 64, True, True, 0, 0, MAC, 1400,
            [Prefix(PREFIX, 64, True, True, 86400, 14400), Prefix(PREFIX, 60, True, False, 50, 40)],
            1, [], [Rdnss(1800, [parse_address("fd00:1::53")])], [Dnssl(1800, ["example.org"])],
        )  # fmt: skip


async def test_solicitations_are_answered_and_the_end_is_told():
    async with asyncstack.Stack(seed=1) as stack:
        cable = Cable(stack)
        async with RouterAdvertiser(stack, cable.interface, ["fd00:1::/64"], dns=["fd00:1::53"]):
            await asyncio.sleep(100)
            assert len(cable.advertisements()) == 3
            for _ in range(50):
                cable.solicit()
            await asyncio.sleep(1)
            [(when, record)] = cable.advertisements()
            assert (100 <= when <= 100.6, record.lifetime) == (True, 1800)
            cable.solicit(bytes(16), b"")  # a host that has no address yet
            await asyncio.sleep(4)
            assert len(cable.advertisements()) == 1
        await asyncio.sleep(0.001)
        [(_, last)] = cable.advertisements()
        assert (last.lifetime, last.prefixes, last.rdnss[0].lifetime) == (0, [], 0)
        cable.solicit()
        await asyncio.sleep(1000)
        assert cable.advertisements() == []


@pytest.mark.parametrize(
    "wrong", [{"ttl": 254}, {"src": bytes(16)}, {"mac": bytes(6)}, {"mac": ndp.multicast_mac(ndp.ALL_NODES)}]
)
async def test_an_invalid_solicitation_is_counted(wrong):
    async with asyncstack.Stack(seed=1) as stack:
        cable = Cable(stack)
        async with RouterAdvertiser(stack, cable.interface):
            await asyncio.sleep(100)
            cable.advertisements()
            cable.solicit(**wrong)
            await asyncio.sleep(1)
            assert (cable.advertisements(), stack.counters["ndp.invalid"]) == ([], 1)


async def test_a_host_does_not_hear_solicitations():
    async with asyncstack.Stack(seed=1) as stack:
        cable = Cable(stack)
        cable.solicit()
        await asyncio.sleep(5)
        assert cable.advertisements() == []


async def test_our_neighbor_advertisements_call_us_a_router_as_long_as_we_are_one():
    async with asyncstack.Stack(seed=1) as stack:
        cable = Cable(stack)
        await asyncio.sleep(1)
        cable.advertisements()
        async with RouterAdvertiser(stack, cable.interface):
            cable.ask(OURS)
            await asyncio.sleep(1)
            [(_, told)] = cable.advertisements(ndp.NeighborAdvertisement)
            assert (told.target, told.router) == (OURS, True)
        await asyncio.sleep(1)
        ended = [told for _, told in cable.advertisements(ndp.NeighborAdvertisement)]
        assert {(told.target, told.router) for told in ended} >= {(OURS, False)}


async def test_it_outlives_its_interface_and_leaves_nothing():
    async with asyncstack.Stack(seed=1) as stack:
        cable = Cable(stack)
        async with RouterAdvertiser(stack, cable.interface):
            await stack.remove_interface(cable.interface)
            await asyncio.sleep(2000)
    assert asyncio.get_running_loop().timers == 0


async def test_a_link_local_address_is_made_where_there_is_none():
    async with asyncstack.Stack(seed=1) as stack:
        cable = Cable(stack, "10.0.0.1/24")
        async with RouterAdvertiser(stack, cable.interface):
            [entry] = stack.addresses.of(cable.interface, 16)
            await asyncio.sleep(0.001)
        sources = {where[1] for _, where, record in cable.heard if isinstance(record, RouterAdvertisement)}
        assert sources == {entry.address}


async def test_a_router_that_loses_its_address_is_silent_until_it_has_another():
    async with asyncstack.Stack(seed=1) as stack:
        cable = Cable(stack)
        async with RouterAdvertiser(stack, cable.interface):
            await asyncio.sleep(100)
            cable.advertisements()
            stack.remove_address(OURS)
            await asyncio.sleep(1000)
            assert cable.advertisements() == []
            stack.add_address(cable.interface, OURS, 64)
            await asyncio.sleep(1000)
            assert len(cable.advertisements()) >= 2


async def test_an_interface_that_is_gone_is_not_advertised_on():
    async with asyncstack.Stack(seed=1) as stack:
        cable = Cable(stack)
        async with RouterAdvertiser(stack, cable.interface, ["fd00:1::/64"]) as router:
            await asyncio.sleep(1)
            cable.advertisements()
            await stack.remove_interface(cable.interface)
            await asyncio.sleep(3000)
            assert cable.advertisements() == []
            assert router._times.advertisements_to_send(stack.clock()) == []  # nor kept for later


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"prefixes": ["fe80::/64"]}, "no IPv6 prefix"),
        ({"prefixes": ["10.0.0.0/24"]}, "no IPv6 prefix"),
        ({"prefixes": ["fd00::1/64"]}, "host bits"),
        ({"prefixes": [Prefix(PREFIX, 64, True, True, 1, 2)]}, "preferred for longer"),
        ({"prefixes": ["fd00:1::/48"]}, r"fd00:1::/48: .* in a /64.*'fd00:1::/64'.*autonomous=False"),
        ({"prefixes": ["fd00:1:2:3:8000::/65"]}, r"'fd00:1:2:3::/64'"),
        ({"prefixes": [Prefix(PREFIX, 56)]}, "in a /64"),
        ({"dns": ["10.0.0.1"]}, "IPv6 addresses only"),
        ({"search": ["a b"]}, "no domain name"),
        ({"prefixes": "fd00:1::/64"}, "prefixes='fd00:1::/64': give a list"),
        ({"lifetime": 9001}, "9000 seconds"),
        ({"lifetime": 599}, "lifetime=599: 0, or the 600 s of the longest interval to 9000"),
        ({"hop_limit": 256}, "hop_limit=256: 0 to 255"),
        ({"mtu": 1279}, "1280 to the 1500"),
        ({"mtu": 1501}, "1280 to the 1500"),
        ({"dns": ["fd00::1"] * 100}, "does not fit the 1500"),
        ({"preference": "some"}, "low, medium, high"),
    ],
)
async def test_what_can_not_be_advertised(arguments, complaint):
    async with asyncstack.Stack(seed=1) as stack:
        cable = Cable(stack)
        with pytest.raises(ValueError, match=complaint):
            RouterAdvertiser(stack, cable.interface, **arguments)


async def test_the_name_of_an_interface_is_none():
    async with asyncstack.Stack(seed=1) as stack:
        with pytest.raises(TypeError, match="'eth0' is no interface: give what `add_interface` returned"):
            RouterAdvertiser(stack, "eth0", ["fd00:1::/64"])


async def test_a_prefix_of_another_length_may_be_called_on_link():
    async with asyncstack.Stack(seed=1) as stack:
        cable = Cable(stack)
        async with RouterAdvertiser(stack, cable.interface, [Prefix(PREFIX, 56, autonomous=False)]):
            await asyncio.sleep(100)
        [(_, record), *_] = cable.advertisements()
        assert [(one.length, one.on_link, one.autonomous) for one in record.prefixes] == [(56, True, False)]
