"""Dialogues with a scripted server, in virtual time."""

import asyncio
import errno
from itertools import pairwise
from socket import inet_aton

import pytest

from asyncstack.application.dhcp.states import State
from asyncstack.network.addresses import Origin
from asyncstack.wire import arp
from asyncstack.wire.dhcp import Type
from tests.application.dhcp.world import (
    BROADCAST,
    EVERYBODY,
    LEASE,
    MAC,
    NOBODY,
    OFFERED,
    OTHER_MAC,
    SERVER,
    addresses,
    client_world,
    lease,
    seconds,
)

pytestmark = pytest.mark.virtual_time(limit=200_000)


def routes(client):
    return [str(route) for route in client.stack.routes.routes() if route.interface is client.interface]


async def test_four_messages_and_what_they_bring():
    async with client_world() as (client, wire):
        starting = asyncio.create_task(client.start())
        discover = await wire.next(Type.DISCOVER)
        assert (discover.source, discover.destination, discover.mac) == (NOBODY, EVERYBODY, BROADCAST)
        assert not discover.message.broadcast
        assert discover[61] == b"\xff" + MAC[-4:] + b"\0\3\0\1" + MAC
        assert (discover[12], discover[57]) == (b"host", (1500).to_bytes(2, "big"))
        assert discover[55][:3] == bytes([1, 121, 3])
        wire.answer(discover, Type.OFFER)
        request = await wire.next(Type.REQUEST)
        assert (request.message.xid, request[50], request[54]) == (discover.message.xid, OFFERED, SERVER)
        assert (request.source, request.destination) == (NOBODY, EVERYBODY)
        wire.answer(request, Type.ACK)
        await starting
        assert client.state is State.BOUND
        assert addresses(client) == ["10.0.0.100/24"]
        assert client.stack.addresses.local[OFFERED].origin is Origin.DHCP4
        assert routes(client) == ["10.0.0.0/24 dev eth0", "0.0.0.0/0 via 10.0.0.1 dev eth0"]
        assert [str(one) for one in client.stack.resolver.config.nameservers] == ["10.0.0.53"]
    assert client.state is State.STOPPED


@pytest.mark.parametrize("to", [EVERYBODY, OFFERED])
async def test_answers_are_heard_by_broadcast_and_to_the_address_not_yet_ours(to):
    async with client_world() as (client, wire):
        starting = asyncio.create_task(client.start())
        wire.answer(await wire.next(Type.DISCOVER), Type.OFFER, to=to)
        wire.answer(await wire.next(Type.REQUEST), Type.ACK, to=to)
        await starting
        assert addresses(client) == ["10.0.0.100/24"]


async def test_questions_are_repeated_ever_less_often():
    async with client_world(timeout=10_000) as (client, wire):
        starting = asyncio.create_task(client.start())
        times = [(await wire.next(Type.DISCOVER)).time for _ in range(8)]
        waits = [later - earlier for earlier, later in pairwise(times)]
        for wait, expected in zip(waits, [4, 8, 16, 32, 64, 64, 64], strict=True):
            assert abs(wait - expected) <= 1 and wait != expected
        starting.cancel()


async def test_without_a_server_start_says_so_and_goes_on_trying():
    async with client_world(timeout=10) as (client, wire):
        with pytest.raises(TimeoutError, match=r"eth0 within 10 s: no server answered \(asked 2 times\)"):
            await client.start()
        wire.seen.clear()
        wire.answer(await wire.next(Type.DISCOVER), Type.OFFER)
        wire.answer(await wire.next(Type.REQUEST), Type.ACK)
        await asyncio.sleep(10)
        assert addresses(client) == ["10.0.0.100/24"]


async def test_an_offer_that_leads_nowhere_is_given_up():
    async with client_world(timeout=1000) as (client, wire):
        starting = asyncio.create_task(client.start())
        wire.answer(await wire.next(Type.DISCOVER), Type.OFFER)
        for _ in range(4):
            await wire.next(Type.REQUEST)
        wire.answer(await wire.next(Type.DISCOVER), Type.OFFER)
        wire.answer(await wire.next(Type.REQUEST), Type.ACK)
        await starting


async def test_renewal_at_t1_disturbs_nobody():
    async with client_world() as (client, wire):
        await lease(client, wire, LEASE | {58: seconds(100), 59: seconds(200)})
        began = asyncio.get_running_loop().time()
        entry = client.stack.addresses.local[OFFERED]
        generation = client.stack.routes.generation
        renewal = await wire.next(Type.REQUEST)
        assert renewal.time - began == pytest.approx(100, abs=10)  # it counts from the REQUEST
        assert (renewal.source, renewal.destination, renewal.message.ciaddr) == (OFFERED, SERVER, OFFERED)
        assert (renewal[50], renewal[54], client.state) == (None, None, State.RENEWING)
        wire.answer(renewal, Type.ACK)
        await asyncio.sleep(1)
        assert client.state is State.BOUND
        assert client.stack.addresses.local[OFFERED] is entry
        assert client.stack.routes.generation == generation
        assert client.lease.expires == pytest.approx(renewal.time + 3600)
        assert 1700 < (await wire.next(Type.REQUEST, within=2000)).time - renewal.time <= 1800


async def test_from_t2_on_any_server_is_asked():
    async with client_world() as (client, wire):
        await lease(client, wire, LEASE | {51: seconds(1000)})
        began = asyncio.get_running_loop().time()
        while (seen := await wire.next(Type.REQUEST, within=600)).destination == SERVER:
            pass
        assert seen.time - began == pytest.approx(875, abs=10)
        assert (seen.destination, seen.source, seen.message.ciaddr) == (EVERYBODY, OFFERED, OFFERED)
        assert client.state is State.REBINDING
        wire.answer(seen, Type.ACK, options=LEASE | {54: inet_aton("10.0.0.2")})
        await asyncio.sleep(1)
        assert client.state is State.BOUND and client.lease.server == inet_aton("10.0.0.2")


async def test_a_lease_that_runs_out_ends_its_connections_and_another_is_asked_for():
    async with client_world() as (client, wire):
        await lease(client, wire, LEASE | {51: seconds(1000)})
        began = asyncio.get_running_loop().time()
        stack = client.stack
        endpoint = stack.socket(type=2)
        endpoint.bind(("10.0.0.100", 5000))
        while (seen := await wire.next(within=900)).kind is Type.REQUEST:
            pass
        assert seen.time - began == pytest.approx(1000, abs=10)
        assert seen.kind is Type.DISCOVER and client.lease is None
        assert (addresses(client), routes(client)) == ([], [])
        with pytest.raises(OSError) as raised:
            await endpoint.recvfrom(1)
        assert raised.value.errno == errno.EADDRNOTAVAIL
        wire.answer(seen, Type.OFFER)
        wire.answer(await wire.next(Type.REQUEST), Type.ACK)
        await asyncio.sleep(10)
        assert addresses(client) == ["10.0.0.100/24"]


@pytest.mark.parametrize("stage", ["requesting", "renewing"])
async def test_a_nak_begins_anew(stage):
    async with client_world() as (client, wire):
        starting = asyncio.create_task(client.start())
        wire.answer(await wire.next(Type.DISCOVER), Type.OFFER)
        if stage == "renewing":
            wire.answer(await wire.next(Type.REQUEST), Type.ACK)
            await starting
        refused = await wire.next(Type.REQUEST, within=2000)
        wire.answer(refused, Type.NAK, to=EVERYBODY, options={54: SERVER})
        discover = await wire.next(Type.DISCOVER, within=1)
        assert addresses(client) == []
        wire.answer(discover, Type.OFFER)
        wire.answer(await wire.next(Type.REQUEST), Type.ACK)
        await starting
        await asyncio.sleep(10)
        assert addresses(client) == ["10.0.0.100/24"]


async def test_a_server_that_always_refuses_is_not_asked_in_a_storm():
    async with client_world(timeout=100) as (client, wire):
        starting = asyncio.create_task(client.start())
        times = []
        for _ in range(4):
            discover = await wire.next(Type.DISCOVER)
            times.append(discover.time)
            wire.answer(discover, Type.OFFER)
            wire.answer(await wire.next(Type.REQUEST), Type.NAK, to=EVERYBODY, options={54: SERVER})
        assert times[1] - times[0] < 1 and times[2] - times[1] == times[3] - times[2] == 10
        starting.cancel()


async def test_a_nak_of_another_server_counts_for_nothing_while_one_is_asked():
    async with client_world() as (client, wire):
        starting = asyncio.create_task(client.start())
        wire.answer(await wire.next(Type.DISCOVER), Type.OFFER)
        request = await wire.next(Type.REQUEST)
        wire.answer(request, Type.NAK, to=EVERYBODY, options={54: inet_aton("10.0.0.9")})
        wire.answer(request, Type.ACK)
        await starting


async def test_an_address_that_another_host_uses_is_declined():
    async with client_world(timeout=60) as (client, wire):

        async def check(interface, address):
            if address == OFFERED:
                raise OSError(errno.EADDRINUSE, f"at {OTHER_MAC.hex()}")

        client.stack.check_address = check
        starting = asyncio.create_task(client.start())
        wire.answer(await wire.next(Type.DISCOVER), Type.OFFER)
        wire.answer(await wire.next(Type.REQUEST), Type.ACK)
        decline = await wire.next(Type.DECLINE)
        assert (decline.source, decline.destination) == (NOBODY, EVERYBODY)
        assert (decline[50], decline[54]) == (OFFERED, SERVER)
        other = inet_aton("10.0.0.101")
        discover = await wire.next(Type.DISCOVER)
        assert discover.time - decline.time == 10
        wire.answer(discover, Type.OFFER, other)
        wire.answer(await wire.next(Type.REQUEST), Type.ACK, other)
        await starting
        assert addresses(client) == ["10.0.0.101/24"]


async def test_an_address_that_is_lost_to_another_host_is_declined():
    async with client_world() as (client, wire):
        await lease(client, wire)
        for _ in range(2):  # RFC 5227 2.4: the second claim within ten seconds wins
            claim = arp.Arp(arp.REPLY, OTHER_MAC, OFFERED, MAC, OFFERED)
            wire.send_frame(BROADCAST, 0x0806, arp.build(claim), OTHER_MAC)
            await asyncio.sleep(1)
        decline = await wire.next(Type.DECLINE)
        assert (decline[50], decline[54], decline.source) == (OFFERED, SERVER, NOBODY)
        assert (addresses(client), client.lease) == ([], None)
        assert (await wire.next(Type.DISCOVER)).time - decline.time == 10


async def test_an_address_that_somebody_removes_is_given_back():
    async with client_world() as (client, wire):
        await lease(client, wire)
        client.stack.remove_address(OFFERED)
        await asyncio.sleep(100)
        assert (client.state, client.lease, routes(client)) == (State.STOPPED, None, [])
        assert wire.seen == []  # there is nowhere to say so from
        starting = asyncio.create_task(client.start())
        wire.answer(await wire.next(Type.REQUEST), Type.ACK)
        await starting


@pytest.mark.parametrize("probes", [0, 1])
async def test_the_stack_looks_for_conflicts_if_it_is_told_to(probes):
    async with client_world(timeout=60) as (client, wire):
        client.stack.config.ipv4_conflict_probes = probes
        wire.owners[OFFERED] = OTHER_MAC
        starting = asyncio.create_task(client.start())
        wire.answer(await wire.next(Type.DISCOVER), Type.OFFER)
        wire.answer(await wire.next(Type.REQUEST), Type.ACK)
        if probes:
            await wire.next(Type.DECLINE)
            starting.cancel()
        else:
            await starting


async def test_the_error_of_start_names_who_has_the_address():
    async with client_world(timeout=5) as (client, wire):

        async def check(interface, address):
            raise OSError(errno.EADDRINUSE, "it is at 02:00:00:00:00:03")

        client.stack.check_address = check
        starting = asyncio.create_task(client.start())
        wire.answer(await wire.next(Type.DISCOVER), Type.OFFER)
        wire.answer(await wire.next(Type.REQUEST), Type.ACK)
        with pytest.raises(TimeoutError, match=r"10\.0\.0\.100 was offered: .*02:00:00:00:00:03"):
            await starting


async def test_release_goes_to_the_server_before_the_address_goes():
    async with client_world() as (client, wire):
        await lease(client, wire)
        await client.stop()
        release = await wire.next(Type.RELEASE)
        assert (release.source, release.destination, release.message.ciaddr) == (OFFERED, SERVER, OFFERED)
        assert release[54] == SERVER and release[55] is None
        assert (addresses(client), routes(client)) == ([], [])
        assert "resolver" not in vars(client.stack) and client.stack.names.dns is None
        await client.stop()
        assert not wire.seen


async def test_what_was_held_is_asked_for_again_after_a_restart():
    async with client_world(release=False) as (client, wire):
        await lease(client, wire)
        await client.stop()
        assert not wire.seen
        starting = asyncio.create_task(client.start())
        reboot = await wire.next(Type.REQUEST)
        assert (reboot[50], reboot[54], reboot.message.ciaddr) == (OFFERED, None, NOBODY)
        wire.answer(reboot, Type.ACK)
        await starting


async def test_an_address_from_before_that_nobody_knows_becomes_a_wish():
    async with client_world(request="10.0.0.77") as (client, wire):
        starting = asyncio.create_task(client.start())
        for _ in range(2):
            assert (await wire.next(Type.REQUEST))[50] == inet_aton("10.0.0.77")
        discover = await wire.next(Type.DISCOVER)
        assert discover[50] == inet_aton("10.0.0.77")
        wire.answer(discover, Type.OFFER)
        wire.answer(await wire.next(Type.REQUEST), Type.ACK)
        await starting


async def test_inform_brings_parameters_for_an_address_of_ones_own():
    async with client_world() as (client, wire):
        client.stack.add_address(client.interface, inet_aton("10.0.0.7"), 24)
        asking = asyncio.create_task(client.inform())
        inform = await wire.next(Type.INFORM)
        assert (inform.source, inform.message.ciaddr, inform[50]) == (
            inet_aton("10.0.0.7"),
            inet_aton("10.0.0.7"),
            None,
        )
        answer = {54: SERVER, 6: inet_aton("10.0.0.53"), 42: inet_aton("10.0.0.123")}
        wire.answer(inform, Type.ACK, NOBODY, to=inet_aton("10.0.0.7"), options=answer)
        parameters = await asking
        assert parameters.options[42] == inet_aton("10.0.0.123")
        assert client.stack.names.dns is not None and addresses(client) == ["10.0.0.7/24"]


async def test_the_interface_goes_while_an_address_is_waited_for():
    async with client_world() as (client, wire):
        starting = asyncio.create_task(client.start())
        await wire.next(Type.DISCOVER)
        await client.stack.remove_interface(client.interface)
        with pytest.raises(OSError) as raised:
            await starting
        assert raised.value.errno == errno.ENETDOWN


async def test_a_stack_that_ends_leaves_no_timer():
    loop = asyncio.get_running_loop()
    async with client_world() as (client, wire):
        await lease(client, wire)
        await client.stack.close()
        await asyncio.sleep(0)
        assert client.state is State.STOPPED
    assert not [timer for timer in loop._timers if not timer[2]._cancelled]


async def test_two_clients_on_one_interface_are_one_too_many():
    async with client_world() as (client, wire):
        await lease(client, wire)
        second = type(client)(client.stack, client.interface)
        with pytest.raises(OSError) as raised:
            await second.start()
        assert raised.value.errno == errno.EADDRINUSE


async def test_a_stop_that_is_cancelled_has_stopped_all_the_same():
    async with client_world() as (client, wire):
        await lease(client, wire)
        wire.owners.clear()  # the server is gone, and looking for it takes a second
        client.interface.link.neighbors4.clear()
        stopping = asyncio.create_task(client.stop())
        await asyncio.sleep(0.1)
        assert not stopping.done()
        stopping.cancel()
        await asyncio.wait([stopping])
        assert (client.state, addresses(client)) == (State.STOPPED, [])
        assert not client.stack.udp.interface_ports


async def test_parameters_can_be_asked_for_again_after_nobody_answered():
    async with client_world(timeout=10) as (client, wire):
        client.stack.add_address(client.interface, inet_aton("10.0.0.7"), 24)
        with pytest.raises(TimeoutError, match=r"no parameters .* no server answered \(asked 2 times\)"):
            await client.inform()
        assert client.state is State.STOPPED
        wire.seen.clear()
        asking = asyncio.create_task(client.inform())
        answer = {54: SERVER, 6: inet_aton("10.0.0.53")}
        wire.answer(await wire.next(Type.INFORM), Type.ACK, NOBODY, to=inet_aton("10.0.0.7"), options=answer)
        assert (await asking).nameservers == (inet_aton("10.0.0.53"),)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"request": "fd00::1"}, "no IPv4 address"),
        ({"first_retry": 0}, "seconds"),
        ({"client_id": b"x"}, "2 to"),
    ],
)
async def test_what_can_not_be_asked_for_is_said(wrong, said):
    with pytest.raises(ValueError, match=said):
        async with client_world(**wrong):
            pass


async def test_on_an_interface_that_is_gone_nobody_is_asked():
    async with client_world() as (client, _wire):
        await client.stack.remove_interface(client.interface)
        with pytest.raises(OSError, match="eth0") as raised:
            await client.start()
        assert raised.value.errno == errno.ENETDOWN
        assert not client.stack.udp.interface_ports and client.state is State.STOPPED
