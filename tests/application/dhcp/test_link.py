"""A client whose link goes and comes, to the same network or to another (RFC 2131 3.7), in virtual time."""

import asyncio
from socket import inet_aton

import pytest

from asyncstack.application.dhcp.states import State
from asyncstack.wire.dhcp import Type
from tests.application.dhcp.world import (
    EVERYBODY,
    LEASE,
    NOBODY,
    OFFERED,
    SERVER,
    addresses,
    client_world,
    lease,
    seconds,
)

pytestmark = pytest.mark.virtual_time(limit=200_000)


async def test_after_the_link_was_cut_the_lease_is_asked_about_and_kept():
    async with client_world() as (client, wire):
        await lease(client, wire)
        entry = client.stack.addresses.local[OFFERED]
        client.link_down()
        await asyncio.sleep(30)
        client.link_up()
        reboot = await wire.next(Type.REQUEST)
        assert (client.state, reboot[50]) == (State.REBOOTING, OFFERED)
        wire.answer(reboot, Type.ACK)
        await asyncio.sleep(1)
        assert client.state is State.BOUND
        assert client.stack.addresses.local[OFFERED] is entry


async def test_a_link_to_another_network_takes_the_address_away():
    async with client_world() as (client, wire):
        await lease(client, wire)
        client.link_up()
        wire.answer(await wire.next(Type.REQUEST), Type.NAK, to=EVERYBODY, options={54: SERVER})
        await wire.next(Type.DISCOVER)
        assert addresses(client) == []


async def test_a_lease_that_was_asked_about_in_vain_counts_from_when_it_is_renewed():
    """Not from when the link came back: it would end, or be passed over, hours too early."""
    async with client_world() as (client, wire):
        await lease(client, wire)
        client.link_up()
        began = asyncio.get_running_loop().time()
        while (seen := await wire.next(Type.REQUEST, within=100)).source == NOBODY:
            pass
        assert (
            client.state is State.REBINDING and seen.time - began > 45
        )  # four times in vain, as RFC 2131 3.1
        wire.answer(seen, Type.ACK, options=LEASE | {51: seconds(20)})
        await asyncio.sleep(1)
        assert client.state is State.BOUND and client.lease.expires == pytest.approx(seen.time + 20)


async def test_a_link_that_comes_while_an_address_is_asked_for_begins_anew():
    """The server that offered it may be on another one."""
    async with client_world() as (client, wire):
        starting = asyncio.create_task(client.start())
        wire.answer(await wire.next(Type.DISCOVER), Type.OFFER)
        await wire.next(Type.REQUEST)
        client.link_up()
        wire.answer(await wire.next(Type.DISCOVER), Type.OFFER)
        wire.answer(await wire.next(Type.REQUEST), Type.ACK)
        await starting


async def test_a_link_that_comes_while_an_address_is_looked_for_ends_that():
    async with client_world(timeout=200) as (client, wire):
        client.stack.config.ipv4_conflict_probes = 3
        starting = asyncio.create_task(client.start())
        wire.answer(await wire.next(Type.DISCOVER), Type.OFFER)
        wire.answer(await wire.next(Type.REQUEST), Type.ACK)
        await asyncio.sleep(1)
        assert client.state is State.CHECKING
        client.link_up()
        reboot = await wire.next(Type.REQUEST)
        assert (reboot[50], reboot[54]) == (OFFERED, None)
        await asyncio.sleep(3.5)
        assert addresses(client) == [] and not starting.done()
        wire.answer(reboot, Type.NAK, to=EVERYBODY, options={54: SERVER})
        other = inet_aton("10.0.0.101")
        while (seen := await wire.next()).kind is not Type.DISCOVER:
            pass
        wire.answer(seen, Type.OFFER, other)
        wire.answer(await wire.next(Type.REQUEST), Type.ACK, other)
        await starting
        assert addresses(client) == ["10.0.0.101/24"]
