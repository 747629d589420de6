"""The end of sockets that a stack has adopted: with their transport, their loop, their stack, or without a word."""

import asyncio
import errno
import os
import socket
import ssl
import warnings

import pytest

from asyncstack import Stack
from asyncstack.loop.relaying import _relay
from asyncstack.transport.tcp.state import ESTABLISHED
from tests.loop.sockets import listener, pair, stream
from tests.loop.where import everywhere, until
from tests.transport.asyncio_contract.recorders import Recorder


@everywhere
async def test_a_cancelled_connect(stack):
    loop = asyncio.get_running_loop()
    listening, client = listener(), stream()
    connecting = asyncio.ensure_future(loop.sock_connect(client, listening.getsockname()))
    await asyncio.sleep(0)
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)
    client.close()
    listening.close()


@everywhere
async def test_many_connections_that_end_in_every_way(stack):
    """`everywhere` looks for what they leave."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Recorder, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    with stream() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = probe.getsockname()

    async def closed():
        with stream() as sock:
            await loop.sock_connect(sock, address)

    async def detached_by_a_transport():
        sock = stream()
        await loop.sock_connect(sock, address)
        transport, protocol = await loop.create_connection(Recorder, sock=sock)
        transport.abort()
        await protocol.called("connection_lost")
        sock.close()

    async def refused():
        with stream() as sock, pytest.raises(ConnectionRefusedError):
            await loop.sock_connect(sock, nobody)

    async def cancelled():
        with stream() as sock, pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await loop.sock_connect(sock, address)
                await loop.sock_recv(sock, 1)

    async def not_tls():
        with stream() as sock:
            await loop.sock_connect(sock, address)
            with pytest.raises((ssl.SSLError, ConnectionError, TimeoutError)):
                async with asyncio.timeout(0.02):
                    await loop.create_connection(
                        Recorder, sock=sock, ssl=ssl.create_default_context(), server_hostname="x"
                    )

    async def polled():
        with stream() as sock:
            await loop.sock_connect(sock, address)
            assert sock.fileno() >= 0

    kinds = [closed, detached_by_a_transport, refused, cancelled, not_tls, polled]
    await asyncio.gather(*(kind() for kind in kinds * 20))
    server.close()


@everywhere(kernel=False)
async def test_a_socket_that_is_closed_while_a_transport_takes_it_over(stack):
    client, server = await pair()

    class Closing(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            client.close()

    transport, protocol = await asyncio.get_running_loop().create_connection(Closing, sock=client)
    transport.write(b"still there")
    assert await asyncio.get_running_loop().sock_recv(server, 100) == b"still there"
    transport.close()
    await protocol.called("connection_lost")
    server.close()


@everywhere(kernel=False)
async def test_a_server_that_can_not_listen(stack):
    loop = asyncio.get_running_loop()
    first, second = stack.socket(), stack.socket()
    for sock in (first, second):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 7))
    first.listen()
    with pytest.raises(OSError) as caught:
        await loop.create_server(Recorder, sock=second)
    assert caught.value.errno == errno.EADDRINUSE
    assert not stack.servers
    first.close()


@everywhere(kernel=False)
async def test_a_stack_that_closes_first(stack):
    loop = asyncio.get_running_loop()
    async with Stack() as other:
        with other.current():
            client, server = await pair()
            waiting = asyncio.ensure_future(loop.sock_recv(client, 10))
            await asyncio.sleep(0.01)
    with pytest.raises(OSError, match="Bad file descriptor"):
        await waiting
    with pytest.raises(OSError, match="Bad file descriptor"):
        await loop.sock_sendall(server, b"x")
    assert client.fileno() == -1
    client.close()
    server.close()


@everywhere(kernel=False)
@pytest.mark.parametrize("turns", range(10))
async def test_a_stack_that_closes_in_a_handshake(stack, certificate, turns):
    loop, trust = asyncio.get_running_loop(), ssl.create_default_context(cafile=certificate[0])
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(*certificate)
    async with Stack() as other:
        with other.current():
            server = await loop.create_server(Recorder, "127.0.0.1", 0, ssl=serving)
            port = server.sockets[0].getsockname()[1]
            call = loop.create_connection(Recorder, "127.0.0.1", port, ssl=trust, server_hostname="server")
            connecting = asyncio.ensure_future(call)
            for _ in range(turns):
                await asyncio.sleep(0)
    try:
        transport, protocol = await connecting
    except (OSError, RuntimeError):  # RuntimeError: it was closed before the call began
        return
    assert transport.is_closing()
    await protocol.called("connection_lost")


@everywhere
async def test_a_protocol_that_aborts_as_soon_as_it_is_secured(stack, certificate):
    loop, trust = asyncio.get_running_loop(), ssl.create_default_context(cafile=certificate[0])
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(*certificate)

    class Aborting(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.abort()

    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=serving)
    port = server.sockets[0].getsockname()[1]
    made, protocol = await loop.create_connection(
        Aborting, "127.0.0.1", port, ssl=trust, server_hostname="server"
    )
    assert made is protocol.transport
    await protocol.called("connection_lost")
    server.close()
    await asyncio.sleep(0.05)


@everywhere(kernel=False)
@pytest.mark.parametrize("turns", range(1, 12))
async def test_a_connection_for_a_thread_that_gives_up(stack, turns):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 7)
    ours, theirs = socket.socketpair()
    relaying = asyncio.ensure_future(_relay(loop, theirs, ("127.0.0.1", 7), None))
    for _ in range(turns):
        await asyncio.sleep(0)
    relaying.cancel()
    await asyncio.gather(relaying, return_exceptions=True)
    ours.close()
    server.close()
    await until(lambda: not [one for one in stack.connections() if one.state is ESTABLISHED])


@everywhere(kernel=False)
async def test_a_socket_that_is_dropped(stack):
    loop = asyncio.get_running_loop()
    client, server = await pair()
    assert len(loop.adoptions) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # who records the warning holds the socket
        del client
    await until(lambda: len(loop.adoptions) == 1)
    assert await loop.sock_recv(server, 10) == b""
    server.close()
    assert not loop.adoptions


@everywhere(kernel=False)
async def test_a_call_that_would_wait_on_a_blocking_socket(stack):
    client, server = await pair()
    client.setblocking(True)
    with pytest.raises(RuntimeError, match=r"recv\(\) would wait"):
        client.recv(10)
    for call in (client.dup, client.detach):
        with pytest.raises(OSError, match="belongs to a stack"):
            call()
    client.close()
    server.close()


@everywhere(kernel=False)
async def test_no_descriptor_until_asked(stack):
    client, server = await pair()
    _, protocol = await asyncio.get_running_loop().create_connection(Recorder, sock=client)
    before = len(os.listdir("/proc/self/fd"))
    assert client.fileno() > 0
    assert len(os.listdir("/proc/self/fd")) == before + 2
    assert client.fileno() == protocol.transport.get_extra_info("socket").fileno()
    server.close()
    await protocol.called("connection_lost")
    assert len(os.listdir("/proc/self/fd")) == before
    assert client.fileno() == -1
    client.close()
