"""Hostile neighbour discovery to a host that believes routers: nothing is raised, and tables stay bounded."""

import asyncio
import random

import pytest

from asyncstack import StackConfig
from asyncstack.link.frame import OutgoingFrame
from asyncstack.network.addresses import Origin
from asyncstack.wire import icmpv6, ipv6, ndp
from asyncstack.wire.ethernet import ETHERTYPE_IPV6
from tests.autoconf.site import FAR, OTHER, PREFIX, addresses, configured, packed, prefix_of, routes, site
from tests.fuzz.test_parsers import mutated

pytestmark = pytest.mark.virtual_time(limit=10_000_000)

SEED = 20260123
MUTATIONS = 4000
MAC = b"\2\0\0\0\0\x66"
NET = packed("2001:db8:77::")


def samples(own, router):
    """(source, destination, record) of all kinds, about the addresses in use and about others."""
    told = ndp.RouterAdvertisement(
        1800, 64, True, True, 30000, 1000, MAC, 1400, [prefix_of(PREFIX), prefix_of(OTHER, 50, 40)], 1,
        [ndp.RouteInformation(NET, 48, 0, 60), ndp.RouteInformation(bytes(16), 0, -1, 60)],
        [ndp.Rdnss(60, [NET[:15] + b"\1", NET[:15] + b"\2"])], [ndp.Dnssl(60, ["example.com", "sub.example.org"])],
    )  # fmt: skip
    near = packed("fe80::1")
    return [
        (router, ndp.ALL_NODES, told),
        (near, ndp.ALL_NODES, told),
        (router, own, ndp.Redirect(packed("fe80::9"), packed(FAR), MAC)),
        (router, own, ndp.Redirect(packed(FAR), packed(FAR), MAC)),
        (packed("fe80::9"), own, ndp.NeighborAdvertisement(router, MAC, False, True, True)),
        (own, ndp.ALL_NODES, ndp.NeighborAdvertisement(own, MAC, override=True)),
        (bytes(16), ndp.solicited_node_multicast(own), ndp.NeighborSolicitation(own, b"", b"nonce1")),
        (near, ndp.ALL_ROUTERS, ndp.RouterSolicitation(MAC)),
    ]


def checksummed(src, dst, message):
    """`message` with the checksum that goes with its addresses."""
    body = memoryview(bytes(message))
    if len(body) < 8:
        return bytes(body)
    rest = int.from_bytes(body[4:8], "big")
    return icmpv6.build(src, dst, body[0], body[1], rest, bytes(body[8:]))


@pytest.mark.forges("the router's packets are mutated")
async def test_mutations_change_nothing_that_lasts():
    rng = random.Random(SEED)
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    config = StackConfig(temporary_addresses=True, neighbor_limit=64)
    async with site("r", config=config) as (_, lan, pc, router):
        interface = await configured(lan, pc, router, prefix_of(PREFIX, 30 * 86400, 29 * 86400))
        await asyncio.sleep(2)
        mac, [own] = bytes(interface.device.address), addresses(pc, Origin.SLAAC)
        inputs = samples(packed(own), router.address)
        taken = 0
        for number in range(MUTATIONS):
            src, dst, record = inputs[number % len(inputs)]
            message = mutated(ndp.build(record, src, dst), rng)
            data = checksummed(src, dst, message) if number % 8 else bytes(message)
            header = ipv6.build(src, dst, icmpv6.PROTOCOL, len(data), hop_limit=255)
            router.interface.link.send(OutgoingFrame([header + data]), mac, ETHERTYPE_IPV6)
            if number % 20 == 0:
                await asyncio.sleep(rng.choice((0.01, 1.0, 40.0)))
                assert complaints == [], f"seed {SEED}, mutation {number}"
        taken = pc.counters["ndp.router_advertisements"]
        assert taken > MUTATIONS // 100
        assert pc.counters["ndp.invalid"] > MUTATIONS // 100
        assert pc.counters["interface.receive_error"] == 0
        assert len(pc.addresses.of(interface)) <= 33
        assert len(routes(pc, interface)) <= 400
        assert len(interface.link.neighbors6) <= 64
        assert own in addresses(pc)
        # the true router speaks, and can be reached
        router.say(prefix_of(PREFIX), hop_limit=64, mtu=1500)
        await asyncio.sleep(60)
        assert "::/0 via fe80::1" in routes(pc, interface)
        assert (await pc.ping(f"fe80::1%{interface.index}")).ttl == 64
        await pc.remove_interface(interface)
        assert (addresses(pc), routes(pc, interface)) == ([], set())
        assert pc.addresses.groups.of(interface) == []
    assert complaints == []


def test_the_samples_are_what_they_say():
    own, router = packed("2001:db8:1::5"), packed("fe80::1")
    for src, dst, record in samples(own, router):
        data = ndp.build(record, src, dst)
        assert ndp.parse(icmpv6.parse(memoryview(data), src, dst)) == record
        assert checksummed(src, dst, data) == data
