"""A stack's sockets over simulated links, in virtual time, and beside servers of the same stack."""

import asyncio
import contextlib
import errno
import random
import socket

import pytest

from asyncstack import Stack
from tests.transport.sockets.conftest import raises


async def echo(reader, writer):
    writer.write(await reader.read(100))
    writer.close()


async def test_servers_and_sockets_share_one_table_of_ports():
    async with Stack() as stack:
        bound = stack.socket()
        bound.bind(("127.0.0.1", 8080))
        with raises(errno.EADDRINUSE):
            await stack.start_server(echo, "127.0.0.1", 8080)
        bound.close()
        await stack.start_server(echo, "127.0.0.1", 8080)
        other = stack.socket()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with raises(errno.EADDRINUSE):
            other.bind(("", 8080))
        await other.connect(("localhost", 8080))
        await other.sendall(b"hello")
        assert await other.recv(100) == b"hello"
        datagrams = stack.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("", 5353))
        with raises(errno.EADDRINUSE):
            await stack.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 5353))


async def read_oddly(sock, rng):
    """Everything up to the end of the stream, by calls of every kind, some of them cancelled."""
    data = bytearray()
    while True:
        size = rng.choice((1, 7, 1000, 5000, 100_000))
        way = rng.randrange(5)
        if way == 0:
            piece = await sock.recv(size)
        elif way == 1:
            seen = await sock.recv(size, socket.MSG_PEEK)
            piece = await sock.recv(size)
            assert piece.startswith(seen)
        elif way == 2:
            buffer = bytearray(size)
            count = await sock.recv_into(buffer)
            piece = bytes(buffer[:count])
        elif way == 3:
            call = asyncio.ensure_future(sock.recv(size, socket.MSG_WAITALL))
            await asyncio.sleep(rng.random() * 0.05)
            call.cancel()
            try:
                piece = await call
            except asyncio.CancelledError:
                continue
        else:
            try:
                async with asyncio.timeout(rng.random() * 0.02):
                    piece = await sock.recv(size)
            except TimeoutError:
                continue
        data += piece
        if not piece:
            return bytes(data)


async def write_oddly(sock, data, rng):
    at = 0
    while at < len(data):
        size = rng.choice((1, 100, 1448, 30_000))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(rng.random()):
                at += await sock.send(data[at : at + size], rng.choice((0, socket.MSG_MORE)))
    sock.shutdown(socket.SHUT_WR)


@pytest.mark.virtual_time
@pytest.mark.parametrize("seed", range(6))
async def test_every_byte_arrives_once_however_it_is_asked_for(network, seed):
    rng = random.Random(seed)
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
    network.link(a, b, delay=0.01, loss=0.02, rate=20e6)
    listener = b.socket()
    listener.bind(("", 80))
    listener.listen()
    client = a.socket()
    if seed % 2:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
    await client.connect(("b", 80))
    server, _ = await listener.accept()
    up, down = rng.randbytes(200_000), rng.randbytes(150_000)
    results = await asyncio.gather(
        write_oddly(client, up, rng),
        write_oddly(server, down, rng),
        read_oddly(client, rng),
        read_oddly(server, rng),
    )
    assert results[2] == down
    assert results[3] == up
    client.close()
    server.close()
    listener.close()
    await asyncio.sleep(120)
    assert not a.tcp.connections
    assert not b.tcp.connections
    assert a.tcp.memory.held == b.tcp.memory.held == 0
