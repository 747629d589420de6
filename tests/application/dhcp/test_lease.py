"""What an ACK gives, and what of it is unusable."""

import asyncio
import math
import random
from socket import inet_aton

import pytest

from asyncstack.application.dhcp.lease import ROUTES, Lease
from asyncstack.wire.dhcp import REPLY, Message, Type
from asyncstack.wire.dhcp_options import build_routes
from tests.application.dhcp.world import LEASE, MAC, OFFERED, client_world, lease, seconds


def read(options=None, address=OFFERED, drop=()):
    given = {code: value for code, value in (LEASE | (options or {})).items() if code not in drop}
    return Lease.of(Message(REPLY, b"xid!", MAC, given, yiaddr=address), 1000.0, random.Random(1))


def times(options):
    made = read(options)
    return made.renew_at - 1000, made.rebind_at - 1000, made.expires - 1000


def test_times():
    assert times({51: seconds(1000), 58: seconds(100), 59: seconds(200)}) == (100, 200, 1000)
    t1, t2, end = times({51: seconds(1000)})
    assert 475 <= t1 <= 500 and (t2, end) == (875, 1000)
    assert times({51: seconds(1000), 59: seconds(1000)})[1] == 875
    assert times({51: seconds(1000), 58: seconds(900)})[0] <= 500
    assert times({51: seconds(0xFFFFFFFF)}) == (math.inf, math.inf, math.inf)
    t1, t2, end = times({51: seconds(1000), 59: seconds(100)})  # T1 by itself would be later
    assert t1 == t2 == 100


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": bytes(4)},
        {"address": inet_aton("255.255.255.255")},
        {"address": inet_aton("224.0.0.1")},
        {"address": inet_aton("127.0.0.1")},
        {"address": inet_aton("240.0.0.1")},
        {"address": inet_aton("10.0.0.255")},
        {"address": inet_aton("10.0.0.0")},
        {"drop": (54,)},
        {"drop": (51,)},
        {"options": {51: bytes(4)}},
        {"options": {51: b"\1"}},
        {"options": {54: bytes(4)}},
    ],
)
def test_what_is_unusable_is_none(wrong):
    assert read(**wrong) is None


@pytest.mark.parametrize(("address", "length"), [("10.0.0.5", 8), ("172.16.0.5", 16), ("192.168.0.5", 24)])
def test_without_a_mask_or_with_a_broken_one_the_class_counts(address, length):
    assert read(address=inet_aton(address), drop=(1,)).parameters.prefix_length == length
    assert read({1: inet_aton("255.0.255.0")}, inet_aton(address)).parameters.prefix_length == length


def test_malformed_options_are_as_not_there():
    parameters = read({3: b"abc", 6: b"abc", 26: b"\0\1", 119: b"\3a", 121: b"\x21"}).parameters
    assert (parameters.routes, parameters.nameservers, parameters.mtu) == ((), (), 0)
    assert parameters.search == ()


def test_no_server_fills_the_routing_table():
    routes = build_routes((inet_aton(f"10.1.{at >> 8}.{at & 255}"), 32, OFFERED) for at in range(1000))
    assert len(read({121: routes}).parameters.routes) == ROUTES


async def installed(options):
    """The routes that a lease brings, to begin with and after a renewal without them."""
    async with client_world() as (client, wire):
        await lease(client, wire, LEASE | {58: seconds(50)} | options)
        table = client.stack.routes
        first = [str(route) for route in table.routes() if route.interface is client.interface]
        wire.answer(await wire.next(Type.REQUEST), Type.ACK, options=LEASE)
        await asyncio.sleep(1)
        second = [str(route) for route in table.routes() if route.interface is client.interface]
        return first, second, client.stack.counters["dhcp.route_refused"]


@pytest.mark.virtual_time
async def test_classless_routes_take_the_place_of_routers():
    routes = bytes.fromhex("10 0a01 0a000007 18 c0a809 00000000")
    first, second, _ = await installed({121: routes})
    assert first == ["10.0.0.0/24 dev eth0", "192.168.9.0/24 dev eth0", "10.1.0.0/16 via 10.0.0.7 dev eth0"]
    assert second == ["10.0.0.0/24 dev eth0", "0.0.0.0/0 via 10.0.0.1 dev eth0"]


@pytest.mark.virtual_time
async def test_a_router_outside_of_a_network_of_one():
    async with client_world() as (client, wire):
        alone = LEASE | {1: b"\xff" * 4, 58: seconds(50)}
        await lease(client, wire, alone)
        table, generation = client.stack.routes, client.stack.routes.generation
        first = [str(route) for route in table.routes() if route.interface is client.interface]
        assert "10.0.0.1/32 dev eth0" in first and "0.0.0.0/0 via 10.0.0.1 dev eth0" in first
        wire.answer(await wire.next(Type.REQUEST), Type.ACK, options=alone)
        await asyncio.sleep(1)
        assert table.generation == generation  # renewed, and nothing touched
        await client.stop()
        assert [route for route in table.routes() if route.interface is client.interface] == []


@pytest.mark.virtual_time
async def test_a_route_by_ourselves_is_refused_and_counted():
    first, _, refused = await installed({3: OFFERED})
    assert (first, refused) == (["10.0.0.0/24 dev eth0"], 1)


@pytest.mark.virtual_time
async def test_an_mtu_is_taken_back_and_another_ones_left_alone():
    async with client_world() as (client, wire):
        interface = client.interface
        mtu = {26: (1400).to_bytes(2, "big")}
        await lease(client, wire, LEASE | {58: seconds(50)} | mtu)
        assert interface.mtu == 1400
        wire.answer(await wire.next(Type.REQUEST), Type.ACK, options=LEASE | {58: seconds(50)})
        await asyncio.sleep(1)
        assert interface.mtu == 1500
        interface.mtu = 1300  # somebody else's
        wire.answer(await wire.next(Type.REQUEST), Type.ACK)
        await asyncio.sleep(1)
        assert interface.mtu == 1300
