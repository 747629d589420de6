"""Connections to a nameserver are used again while they are there."""

import asyncio

import pytest

from tests.application.dns.nameserver import Nameserver

pytestmark = pytest.mark.virtual_time


def truncating(query, way):
    """UDP is never enough."""
    return bytes([*query.to_wire()[:2], 0x83, 0x80]) + query.to_wire()[4:] if way == "udp" else None


@pytest.fixture
async def tcp_world(world, monkeypatch):
    """A world whose first nameserver wants TCP. `accepted` counts its connections."""
    names = [f"n{i}.example.org. 60 IN A 10.1.0.{i}" for i in range(20)]
    world.accepted = 0
    stream = Nameserver._stream

    async def counted(self, reader, writer):
        world.accepted += 1
        await stream(self, reader, writer)

    monkeypatch.setattr(Nameserver, "_stream", counted)
    await world.start(*names, edns_payload=0)
    world.server.rules.append(truncating)
    return world


async def test_queries_one_after_the_other_share_a_connection(tcp_world):
    for i in range(5):
        await tcp_world.query(f"n{i}.example.org")
        await asyncio.sleep(4)
    assert tcp_world.accepted == 1
    await asyncio.sleep(2)
    assert tcp_world.client._sockets == {}  # not kept for longer than 5 s
    await tcp_world.query("n5.example.org")
    assert tcp_world.accepted == 2


async def test_queries_at_the_same_time_have_their_own(tcp_world):
    await asyncio.gather(*(tcp_world.query(f"n{i}.example.org") for i in range(5)))
    assert tcp_world.accepted == 5
    assert len(tcp_world.client._sockets) == 1


async def test_a_connection_that_the_server_has_closed_is_replaced(tcp_world):
    await tcp_world.query("n0.example.org")
    for endpoint in list(tcp_world.server.stack.tcp.connections.values()):
        endpoint.abort()
    await asyncio.sleep(1)
    assert (await tcp_world.query("n1.example.org"))[0].address == "10.1.0.1"
    assert tcp_world.accepted == 2
    assert tcp_world.second.asked == []


async def test_the_end_of_the_stack_closes_them(tcp_world):
    await tcp_world.query("n0.example.org")
    await tcp_world.client.close()
    assert (len(tcp_world.client.resolver._connections), tcp_world.client._sockets) == (0, {})
