"""Hostile DHCP messages to a client and a server: nothing raises, tables stay bounded, and who is honest is served."""

import asyncio
import contextlib
import random

import pytest

from asyncstack.application.dhcp.states import State
from asyncstack.wire import dhcp, ipv4, udp
from asyncstack.wire.dhcp import Message, Type
from tests.application.dhcp.offices import US, mac, office
from tests.application.dhcp.world import (
    BROADCAST,
    EVERYBODY,
    LEASE,
    MAC,
    NOBODY,
    OFFERED,
    SERVER,
    client_world,
    seconds,
)
from tests.fuzz.test_parsers import mutated

pytestmark = pytest.mark.virtual_time(limit=100_000_000)

ROUNDS = 6_000
SEEDS = pytest.mark.parametrize("seed", (1, 2))
ODD = [
    b"",
    b"\0",
    b"\xff" * 4,
    b"\0\0\0\1",
    b"\0" * 4,
    SERVER,
    b"\x7f\0\0\1",
    b"\xe0\0\0\1",
    bytes(range(200)),
]
CODES = [1, 3, 6, 12, 15, 26, 50, 51, 52, 53, 54, 55, 57, 58, 59, 61, 82, 118, 119, 121]


def complaints_of(loop):
    complaints = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    return complaints


def odd_message(rng, base):
    """`base` with options and fields that are wrong but well formed."""
    options = dict(base.options)
    for _ in range(rng.randrange(1, 4)):
        code = rng.choice([code for code in CODES if code != 52])
        if rng.random() < 0.25:
            options.pop(code, None)
        else:
            options[code] = rng.choice([*ODD, rng.randbytes(rng.randrange(40))])
    for name in ("ciaddr", "yiaddr", "giaddr"):
        if rng.random() < 0.2:
            setattr(base, name, rng.choice([one for one in ODD if len(one) == 4]))
    base.options = options
    return base


def datagram(rng, message):
    """Its bytes, half of the time with some changed."""
    data = dhcp.build(message, 1500)
    return bytes(mutated(data, rng)) if rng.random() < 0.5 else data


def send(wire, data, source, destination, to, ports):
    packet = ipv4.build(source, destination, 17, 8 + len(data)) + udp.build(*ports, len(data)) + data
    wire.send_frame(to, 0x0800, packet)


@SEEDS
async def test_client(seed):
    rng, complaints = random.Random(seed), complaints_of(asyncio.get_running_loop())
    states = set()
    async with client_world(timeout=1e9) as (client, wire):
        starting = asyncio.create_task(client.start())
        for _ in range(ROUNDS):
            if not wire.seen:
                await asyncio.sleep(rng.choice((0.001, 1.0, 50.0, 2000.0)))
            asked = wire.seen.pop(0) if wire.seen else None
            xid = asked.message.xid if asked and rng.random() < 0.9 else rng.randbytes(4)
            kind = rng.choice((Type.OFFER, Type.ACK, Type.ACK, Type.NAK))
            if asked and rng.random() < 0.7:
                kind = Type.OFFER if asked.kind is Type.DISCOVER else kind
            options = {53: bytes([kind])} | LEASE | {51: seconds(rng.choice((1, 10, 3600)))}
            message = Message(dhcp.REPLY, xid, MAC, options, yiaddr=OFFERED)
            if rng.random() < 0.6:
                message = odd_message(rng, message)
            send(wire, datagram(rng, message), SERVER, EVERYBODY, BROADCAST, (67, 68))
            await asyncio.sleep(0)
            states.add(client.state)
            del wire.seen[:-1], wire.frames[:]
            assert len(client.stack.addresses.of(client.interface, 4)) <= 1
            assert len(client.stack.routes.routes()) < 100
        assert {State.SELECTING, State.REQUESTING, State.BOUND} <= states
        # an honest server gives it an address in the end
        await client.stop()
        with contextlib.suppress(OSError):
            await starting
        await asyncio.sleep(100)
        wire.seen.clear()
        starting = asyncio.create_task(client.start())
        wire.answer(await wire.next(Type.DISCOVER), Type.OFFER)
        wire.answer(await wire.next(Type.REQUEST), Type.ACK)
        await starting
        assert [str(one) for one in client.stack.addresses.of(client.interface, 4)] == ["10.0.0.100/24"]
    assert complaints == []


@pytest.mark.forges("the client's messages are mutated")
@SEEDS
async def test_server(seed):
    rng, complaints = random.Random(seed), complaints_of(asyncio.get_running_loop())
    kinds = set()
    async with office(check=0.01) as wire:
        server = wire.server
        for _ in range(ROUNDS):
            options = {61: b"\1" + mac(1), 50: b"\x0a\0\0" + bytes([rng.randrange(90, 160)])}
            if rng.random() < 0.4:
                options[54] = US
            message = wire.message(rng.choice(tuple(Type)), mac(rng.randrange(80)), options)
            if rng.random() < 0.7:
                options.pop(61)
            if rng.random() < 0.6:
                message = odd_message(rng, message)
            if rng.random() < 0.3:
                message.ciaddr = b"\x0a\0\0" + bytes([rng.randrange(90, 160)])
            send(wire, datagram(rng, message), NOBODY, EVERYBODY, BROADCAST, (68, 67))
            await asyncio.sleep(rng.choice((0, 0, 0.02, 5.0)))
            kinds |= {seen.kind for seen in wire.seen}
            wire.seen.clear()
            wire.frames.clear()
        machine = server._machine
        assert kinds == {Type.OFFER, Type.ACK, Type.NAK}
        assert len(machine.bindings.by_address) <= 51
        assert len(machine.bindings._by_client) <= 51
        assert len(machine.bindings._times) < 1300
        assert len(server._waiting) <= 4096
        await asyncio.sleep(10_000)
        assert server.bindings == [] and not server._checking
        wire.seen.clear()
        await wire.lease(mac(200))
    assert complaints == []
