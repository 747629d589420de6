"""Waiting calls and their ends, the pollable descriptor, and what a closing stack leaves: only a stack's sockets."""

import asyncio
import errno
import gc
import select
import socket
import struct
import weakref

import pytest

from asyncstack import Stack, StackConfig, TcpConfig
from tests.transport.sockets.conftest import Net, raises

IN, OUT = select.POLLIN, select.POLLOUT
MSG_FASTOPEN = 0x20000000


@pytest.fixture
async def net():
    async with Stack() as stack:
        yield Net(stack)


async def test_close_wakes_everybody_who_waits(net):
    client, server = await net.connected()
    sender, _ = await net.connected()
    assert client is not sender
    listener = net.listener()
    calls = [
        server.recv(1),
        server.poll(IN),
        sender.sendall(bytes(1 << 22)),
        listener.accept(),
        net.socket(kind=socket.SOCK_DGRAM).recv(1),
    ]
    tasks = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in tasks)
    for sock in net.made:
        sock.close()
        sock.close()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, OSError)
        assert result.errno == errno.EBADF
    with raises(errno.EBADF):
        await server.recv(1)
    assert server.fileno() == -1


async def test_a_stack_that_closes_ends_its_sockets():
    async with Stack() as stack:
        net = Net(stack)
        client, server = await net.connected()
        listener = net.listener()
        waiting_client = net.socket()
        await waiting_client.connect(listener.getsockname())  # never accepted
        bound = net.socket(kind=socket.SOCK_DGRAM)
        bound.bind(("127.0.0.1", 0))
        tasks = [asyncio.ensure_future(call) for call in (server.recv(1), client.recv(1), bound.recv(1))]
        descriptor = client.fileno()
        await asyncio.sleep(0.01)
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, OSError)
        assert result.errno == errno.EBADF
    assert not stack.tcp.connections
    assert not stack._sockets
    poller = select.poll()
    poller.register(descriptor)
    assert poller.poll(0) == [(descriptor, select.POLLNVAL)]


async def test_closed_sockets_are_freed(net):
    client, server = await net.connected()
    await client.send(b"x")
    await server.recv(1)
    listener = net.listener()
    datagrams = net.socket(kind=socket.SOCK_DGRAM)
    await datagrams.sendto(b"x", ("127.0.0.1", 9))
    assert listener.fileno() != datagrams.fileno()
    waiting = asyncio.ensure_future(listener.accept())
    await asyncio.sleep(0)
    waiting.cancel()
    sockets = [client, server, listener, datagrams]
    references = [weakref.ref(sock) for sock in sockets]
    for sock in sockets:
        sock.close()
    await asyncio.sleep(0.05)
    net.made.clear()
    gc.disable()
    try:
        del client, server, listener, datagrams, sockets, sock, waiting
        assert [reference() for reference in references] == [None] * 4
    finally:
        gc.enable()


async def test_timeouts(net):
    client, server = await net.connected()
    assert client.gettimeout() is None
    client.settimeout(0.02)
    with pytest.raises(TimeoutError, match="timed out"):
        await client.recv(1)
    assert await client.poll(IN, 0.01) == 0
    await server.send(b"x")
    assert await client.recv(1) == b"x"
    client.setblocking(False)
    assert client.gettimeout() == 0.0
    assert not client.getblocking()
    with pytest.raises(ValueError, match="out of range"):
        client.settimeout(-1)


async def test_many_accept_and_receive_at_once(net):
    listener = net.listener(backlog=20)
    accepting = [asyncio.ensure_future(listener.accept()) for _ in range(5)]
    clients = [net.socket() for _ in range(5)]
    for client in clients:
        await client.connect(listener.getsockname())
    servers = [(await task)[0] for task in accepting]
    assert {server.getpeername() for server in servers} == {client.getsockname() for client in clients}
    reading = [asyncio.ensure_future(servers[0].recv(1)) for _ in range(3)]
    await asyncio.sleep(0)
    reading[0].cancel()
    peer = next(client for client in clients if client.getsockname() == servers[0].getpeername())
    await peer.send(b"ab")
    assert await reading[1] + await reading[2] == b"ab"


async def test_the_descriptor_follows_the_socket(net):
    client, server = await net.connected()
    poller = select.epoll()
    descriptor = client.fileno()
    assert descriptor == client.fileno()
    poller.register(descriptor, select.EPOLLIN | select.EPOLLOUT)

    def shown():
        return poller.poll(0)[0][1] if poller.poll(0) else 0

    assert shown() == OUT
    await server.send(b"hello")
    await asyncio.sleep(0.01)
    assert shown() == IN | OUT
    assert await client.recv(2) == b"he"
    assert shown() == IN | OUT
    assert await client.recv(2, socket.MSG_PEEK) == b"ll"
    assert await client.recv(10) == b"llo"
    assert shown() == OUT
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            await client.send(bytes(1 << 20))
    assert shown() == 0
    await server.recv(1 << 16)
    while not shown():
        await server.recv(1 << 20)
        await asyncio.sleep(0)
    assert shown() == OUT
    server.close()
    await asyncio.sleep(0.01)
    assert shown() & IN
    client.close()
    poller.close()


async def test_the_loop_watches_the_descriptor(net):
    listener = net.listener()
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(listener.fileno(), ready.set)
    client = net.socket()
    await client.connect(listener.getsockname())
    await ready.wait()
    loop.remove_reader(listener.fileno())
    await listener.accept()


async def test_a_cancelled_connect_goes_on(net):
    listener = net.listener()
    client = net.socket()
    connecting = asyncio.ensure_future(client.connect(listener.getsockname()))
    await asyncio.sleep(0)
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)
    await client.poll(OUT)
    await client.connect(listener.getsockname())
    assert client.getpeername() == listener.getsockname()


@pytest.mark.virtual_time
async def test_fast_open(network):
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
    network.link(a, b, delay=0.1)
    listener = b.socket()
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
    listener.bind(("", 80))
    listener.listen()
    clock = asyncio.get_running_loop().time

    async def exchange(sock):
        start = clock()
        server, _ = await listener.accept()
        assert await server.recv(100) == b"hello"
        elapsed = clock() - start
        sock.close()
        server.close()
        return elapsed

    first = a.socket()
    first.setblocking(False)
    with raises(errno.EINPROGRESS):  # no cookie yet
        await first.sendto(b"hello", MSG_FASTOPEN, ("10.0.0.2", 80))
    with raises(errno.EALREADY):
        await first.sendto(b"hello", MSG_FASTOPEN, ("10.0.0.2", 80))
    await first.poll(OUT)
    await first.send(b"hello")
    await exchange(first)
    second = a.socket()
    second.setblocking(False)
    assert await second.sendto(b"hello", MSG_FASTOPEN, ("10.0.0.2", 80)) == 5
    assert await exchange(second) == pytest.approx(0.1, abs=0.01)
    third = a.socket()
    third.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
    await third.connect(("10.0.0.2", 80))
    start = clock()
    assert await third.send(b"hello") == 5  # it waits for the answer to the SYN
    assert clock() - start == pytest.approx(0.2, abs=0.02)
    assert await exchange(third) == pytest.approx(0.0, abs=0.02)
    fourth = a.socket()
    assert await fourth.sendto(b"hello", MSG_FASTOPEN, ("10.0.0.2", 80)) == 5
    with raises(errno.EISCONN):
        await fourth.sendto(b"hello", MSG_FASTOPEN, ("10.0.0.2", 80))
    await exchange(fourth)


@pytest.mark.virtual_time
async def test_connect_to_nobody_times_out(network):
    config = StackConfig(tcp=TcpConfig(syn_retries=1))
    a, b = network.host("a", "10.0.0.1/24", config=config), network.host("b", "10.0.0.2/24")
    link = network.link(a, b)
    link.down()
    sock = a.socket()
    with raises(errno.ETIMEDOUT):
        await sock.connect(("b", 80))
    assert sock.getsockname()[1] == 0


@pytest.mark.virtual_time
async def test_linger_waits_for_the_peer(network):
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
    network.link(a, b, delay=0.5)
    listener = b.socket()
    listener.bind(("", 80))
    listener.listen()
    sock = a.socket()
    await sock.connect(("b", 80))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
    await sock.send(b"x" * 1000)
    clock = asyncio.get_running_loop().time
    start = clock()
    await sock.aclose()
    assert 0.9 < clock() - start < 2
    other = a.socket()
    await other.connect(("b", 80))
    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3))
    network.links[0].down()
    await other.send(b"x")
    start = clock()
    await other.aclose()
    assert clock() - start == pytest.approx(3, abs=0.01)
