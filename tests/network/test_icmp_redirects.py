"""ICMP redirects: whom a host believes, and what becomes of its connections (RFC 1122 3.2.2.2)."""

import asyncio
import random

import pytest

from asyncstack import Network
from asyncstack.counters import Counters
from asyncstack.link.frame import OutgoingFrame
from asyncstack.network.addresses import parse_address as A
from asyncstack.network.icmp import Icmp
from asyncstack.network.redirects import LIFETIME_IPV4, LIMIT, Redirects
from asyncstack.wire import icmp, ipv4
from tests.network.host import Host

ROUTER, BETTER, FAR, US = "10.0.0.254", "10.0.0.253", "192.0.2.1", "10.0.0.1"


@pytest.fixture
def host():
    host = Host()
    host.routes.add(bytes(4), 0, host.eth0, A(ROUTER))
    host.redirects = Redirects(host.routes, Counters())
    host.icmp = Icmp(host.ipv4, redirects=host.redirects)
    return host


def redirect(*, source=ROUTER, gateway=BETTER, destination=FAR, sender=US, code=1, cut=100, to=US):
    quoted = ipv4.build(A(sender), A(destination), 17, 8) + bytes(8)
    message = icmp.build(5, code, int.from_bytes(A(gateway), "big"), quoted[:cut])
    return ipv4.build(A(source), A(to), 1, len(message)) + message


def next_hop(host, destination=FAR):
    return host.path(destination).next_hop


@pytest.mark.parametrize("code", range(4))
def test_the_router_in_use_is_believed(host, code):
    path = host.path(FAR)
    host.receive(redirect(code=code))
    assert next_hop(host) == A(BETTER)
    assert path.generation != host.routes.generation  # who kept the path looks again
    assert next_hop(host, "192.0.2.2") == A(ROUTER)


@pytest.mark.parametrize(
    "fields",
    [
        {"source": "10.0.0.66"},
        {"gateway": "192.0.2.254"},  # on another network
        {"gateway": "192.0.2.1"},  # not even as the destination itself
        {"gateway": US},
        {"gateway": "10.0.0.255"},
        {"gateway": "224.0.0.5"},
        {"gateway": "0.0.0.0"},
        {"destination": "10.0.0.7"},
        {"destination": "10.0.0.255"},
        {"destination": "224.0.0.9"},
        {"destination": US},
        {"sender": "10.0.0.77"},
        {"code": 4},
        {"cut": 27},
        {"to": "10.0.0.255"},
    ],
)
def test_nothing_else_is(host, fields):
    host.receive(redirect(**fields))
    assert len(host.redirects) == 0
    assert next_hop(host) == A(ROUTER)


def test_one_redirect_may_follow_another_but_only_from_where_it_led(host):
    host.receive(redirect())
    host.receive(redirect(gateway="10.0.0.9"))
    assert next_hop(host) == A(BETTER)
    host.receive(redirect(source=BETTER, gateway="10.0.0.9"))
    assert next_hop(host) == A("10.0.0.9")
    assert len(host.redirects) == 1


def test_it_ends_after_five_minutes(host):
    host.receive(redirect())
    host.loop.advance(LIFETIME_IPV4 - 1)
    assert next_hop(host) == A(BETTER)
    host.loop.advance(1)
    assert next_hop(host) == A(ROUTER)
    assert host.loop.pending == []


def test_its_end_is_no_life(host):
    host.receive(redirect())
    assert len(host.loop.pending) == 1
    host.icmp.close()
    assert host.loop.pending == []


def test_a_flood_of_them_is_bounded(host):
    rng = random.Random(1)
    for _ in range(3 * LIMIT):
        host.receive(redirect(destination=f"192.{rng.randrange(256)}.{rng.randrange(256)}.9"))
    assert len(host.redirects) == LIMIT
    assert len(host.routes.routes()) <= LIMIT + 10


@pytest.mark.virtual_time(limit=300)
async def test_a_connection_goes_on_over_the_better_router():
    """The far end has both routers' addresses: what changes is the MAC that our frames go to."""
    async with Network(seed=3) as net:
        near, far = net.host("near"), net.host("far")
        lan = net.lan("lan", delay=0.001)
        on_near = near.attach(lan.port("near"), [f"{US}/24"], ROUTER)
        first = far.attach(lan.port("first"), [f"{ROUTER}/24"])
        second = far.attach(lan.port("second"), [f"{BETTER}/24"])
        far.add_address(first, A(FAR), 32)
        to = []

        def tap(interface, frame):
            if isinstance(frame, OutgoingFrame):
                to.append(bytes(frame.parts[0][:6]))

        on_near.taps.append(tap)

        async def echo(reader, writer):
            while data := await reader.read(1000):
                writer.write(data)

        await far.start_server(echo, FAR, 80)
        reader, writer = await near.open_connection(FAR, 80)
        for number in range(6):
            writer.write(b"%d" % number)
            assert await reader.read(10) == b"%d" % number
            if number == 2:
                quoted = ipv4.build(A(US), A(FAR), 6, 8) + bytes(8)
                message = icmp.build(5, 1, int.from_bytes(A(BETTER), "big"), quoted)
                far.ipv4.send(far.routes.lookup(A(US), A(ROUTER)), 1, [message])
                await asyncio.sleep(1.0)
                to.clear()
        unicast = {mac for mac in to if not mac[0] & 1}
        assert unicast == {second.link.mac}
        writer.close()


def test_where_they_are_not_accepted_they_are_ignored():
    host = Host()
    host.routes.add(bytes(4), 0, host.eth0, A(ROUTER))
    host.receive(redirect())
    assert next_hop(host) == A(ROUTER)
    assert host.counters == {"icmp.ignored": 1}
