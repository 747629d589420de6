"""Descriptors that poll as a transport's kernel socket does, made when somebody asks; the kernel's beside ours."""

import asyncio
import os
import select

import pytest
from httpcore._utils import is_socket_readable

from tests.loop.where import everywhere, until
from tests.transport.asyncio_contract.recorders import Recorder

IN, OUT = select.POLLIN, select.POLLOUT


def shown(transport):
    """IN and OUT, as poll says of the transport's descriptor now."""
    poller = select.poll()
    poller.register(transport.get_extra_info("socket").fileno(), IN | OUT)
    return sum(bits & (IN | OUT) for _, bits in poller.poll(0))


async def pair(client=Recorder, server=Recorder):
    """(client, server): two protocols, connected."""
    loop = asyncio.get_running_loop()
    made = []
    listening = await loop.create_server(lambda: made.append(server()) or made[-1], "127.0.0.1", 0)
    _, near = await loop.create_connection(client, *listening.sockets[0].getsockname())
    await until(lambda: made and made[0].transport)
    listening.close()
    return near, made[0]


async def end(*protocols):
    for one in protocols:
        one.transport.abort()
    for one in protocols:
        await one.called("connection_lost")


@everywhere
async def test_readable_is_what_the_transport_leaves(stack):
    client, server = await pair()
    assert shown(client.transport) == OUT
    client.transport.pause_reading()
    server.transport.write(b"hello")
    await until(lambda: shown(client.transport) == IN | OUT)
    client.transport.resume_reading()
    await client.received(5)
    await until(lambda: shown(client.transport) == OUT)
    await end(client, server)


@everywhere
async def test_the_end_is_readable(stack):
    client, server = await pair()
    client.transport.pause_reading()
    assert not is_socket_readable(client.transport.get_extra_info("socket"))
    server.transport.close()
    await until(lambda: shown(client.transport) & IN)
    assert is_socket_readable(client.transport.get_extra_info("socket"))
    await end(client)


@everywhere
async def test_writable_is_room_in_the_send_buffer(stack):
    client, server = await pair()
    server.transport.pause_reading()
    assert shown(client.transport) == OUT
    client.transport.write(bytes(32 << 20))
    await until(lambda: shown(client.transport) == 0)
    server.transport.resume_reading()
    await until(lambda: shown(client.transport) == OUT)
    await end(client, server)


@everywhere(kernel=False)
async def test_who_polls_is_told(stack):
    """Without a look at `fileno()` between. (asyncio's loops refuse to watch a transport's descriptor.)"""
    loop, readable, writable = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    client, server = await pair()
    descriptor = client.transport.get_extra_info("socket").fileno()
    client.transport.pause_reading()
    loop.add_reader(descriptor, readable.set)
    loop.add_writer(descriptor, writable.set)
    await writable.wait()
    loop.remove_writer(descriptor)
    await asyncio.sleep(0.01)
    assert not readable.is_set()
    server.transport.write(b"x")
    await readable.wait()
    loop.remove_reader(descriptor)
    await end(client, server)


@everywhere
async def test_it_is_closed_with_the_transport(stack):
    client, server = await pair()
    before = len(os.listdir("/proc/self/fd"))
    sock = client.transport.get_extra_info("socket")
    descriptor = sock.fileno()
    assert descriptor == client.transport.get_extra_info("socket").fileno()
    if stack is not None:
        assert len(os.listdir("/proc/self/fd")) == before + 2
    await end(client, server)
    assert sock.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@everywhere(kernel=False)
async def test_connections_cost_no_descriptors(stack):
    before = len(os.listdir("/proc/self/fd"))
    loop, made = asyncio.get_running_loop(), []
    server = await loop.create_server(lambda: made.append(Recorder()) or made[-1], "127.0.0.1", 7)
    clients = [(await loop.create_connection(Recorder, "127.0.0.1", 7))[1] for _ in range(50)]
    for one in clients:
        one.transport.get_extra_info("socket").getpeername()
    assert len(os.listdir("/proc/self/fd")) == before
    server.close()
    await end(*clients)
    for one in made:
        await one.called("connection_lost")


@everywhere
async def test_servers_and_datagram_endpoints(stack):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Recorder, "127.0.0.1", 0)
    listening = server.sockets[0]
    descriptor = listening.fileno()
    assert descriptor == server.sockets[0].fileno() >= 0
    poller = select.poll()
    poller.register(descriptor, IN)
    assert poller.poll(0) == []
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    sock = transport.get_extra_info("socket")
    assert shown(transport) == OUT
    server.close()
    transport.close()
    await asyncio.sleep(0.01)
    assert listening.fileno() == sock.fileno() == -1
