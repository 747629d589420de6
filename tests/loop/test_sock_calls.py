"""Kernel sockets that programs make themselves, on addresses of a stack by the loop's calls: word for word the same."""

import asyncio
import errno
import select
import socket
import tempfile

import pytest

from tests.loop.sockets import listener, pair, stream
from tests.loop.where import everywhere, until


@everywhere
async def test_an_echo_server_and_its_client(stack):
    """As in the documentation of `loop.sock_accept`."""
    loop = asyncio.get_running_loop()

    async def echo(conn):
        with conn:
            while data := await loop.sock_recv(conn, 1000):
                await loop.sock_sendall(conn, data)

    async def serve(listening):
        while True:
            conn, address = await loop.sock_accept(listening)
            assert conn.gettimeout() == 0
            assert conn.getpeername() == address
            assert conn.getsockname() == listening.getsockname()
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tasks.append(asyncio.ensure_future(echo(conn)))

    tasks = []
    with listener() as listening:
        serving = asyncio.ensure_future(serve(listening))
        address = listening.getsockname()
        for number in range(3):
            with stream() as client:
                await loop.sock_connect(client, address)
                assert client.getpeername() == address
                await loop.sock_sendall(client, b"hello %d" % number)
                buffer = bytearray(100)
                assert await loop.sock_recv_into(client, buffer) == 7
                assert buffer[:7] == b"hello %d" % number
        await asyncio.gather(*tasks)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    if stack is not None:
        assert stack.counters["tcp.handshake_failed"] == 0


@everywhere
async def test_much_data_and_files(stack):
    loop = asyncio.get_running_loop()
    client, server = await pair()
    data = bytes(range(256)) * 8000

    async def receive():
        got = bytearray()
        while part := await loop.sock_recv(server, 65536):
            got += part
        return got

    receiving = asyncio.ensure_future(receive())
    await loop.sock_sendall(client, data)
    with tempfile.TemporaryFile() as file:
        file.write(data[:1000])
        file.flush()
        assert await loop.sock_sendfile(client, file, 10, 500) == 500
        assert file.tell() == 510
    client.close()
    assert await receiving == data + data[10:510]
    server.close()


@everywhere
async def test_datagrams(stack):
    loop = asyncio.get_running_loop()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for sock in (server, client):
        sock.setblocking(False)
    server.bind(("127.0.0.1", 0))
    waiting = asyncio.ensure_future(loop.sock_recvfrom(server, 100))
    await asyncio.sleep(0)
    assert await loop.sock_sendto(client, b"question", server.getsockname()) == 8
    data, address = await waiting
    assert data == b"question"
    assert address[1] == client.getsockname()[1]
    await loop.sock_sendto(server, b"answer", address)
    buffer = bytearray(10)
    assert await loop.sock_recvfrom_into(client, buffer) == (6, server.getsockname())
    await loop.sock_connect(client, server.getsockname())
    assert client.getpeername() == server.getsockname()
    await loop.sock_sendall(client, b"again")
    assert await loop.sock_recv(server, 100) == b"again"
    server.close()
    client.close()


@everywhere
async def test_calls_that_do_not_wait(stack):
    """What a program does with the socket itself, and how it hears when there is something to do."""
    loop = asyncio.get_running_loop()
    client, server = await pair()
    with pytest.raises(BlockingIOError):
        client.recv(10)
    readable = loop.create_future()
    loop.add_reader(client, lambda: readable.done() or readable.set_result(client.recv(10)))
    assert server.send(b"hello") == 5
    assert await readable == b"hello"
    loop.remove_reader(client)
    writable = loop.create_future()
    loop.add_writer(client.fileno(), lambda: writable.done() or writable.set_result(client.send(b"answer")))
    assert await writable == 6
    loop.remove_writer(client.fileno())
    await until(lambda: select.select([server], [], [], 0)[0])
    assert server.recv(10, socket.MSG_PEEK) == b"answer"
    view = bytearray(6)
    assert server.recv_into(view) == 6
    assert server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    assert (client.family, client.type) == (socket.AF_INET, socket.SOCK_STREAM)
    client.shutdown(socket.SHUT_WR)
    await until(lambda: select.select([server], [], [], 0)[0])
    assert server.recv(10) == b""
    with pytest.raises(BrokenPipeError):
        client.send(b"too late")
    for sock in (client, server):
        sock.close()
        assert sock.fileno() == -1
        with pytest.raises(OSError, match="Bad file descriptor"):
            sock.getpeername()
        sock.close()


@everywhere
async def test_errors_of_connecting(stack):
    loop = asyncio.get_running_loop()
    with stream() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()
    with stream() as client:
        with pytest.raises(ConnectionRefusedError):
            await loop.sock_connect(client, free)
        with pytest.raises(OSError) as caught:
            client.getpeername()
        assert caught.value.errno == errno.ENOTCONN
    client, server = await pair()
    with pytest.raises(OSError) as caught:
        for _ in range(2):  # the kernel lets the first pass that follows an EINPROGRESS
            await loop.sock_connect(client, server.getsockname())
    assert caught.value.errno == errno.EISCONN
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    server.close()
    with pytest.raises(ConnectionResetError):
        await loop.sock_recv(client, 10)
    client.close()


@everywhere
async def test_debug_mode_wants_sockets_that_do_not_block(stack):
    loop = asyncio.get_running_loop()
    listening = listener()
    with socket.socket() as client:
        loop.set_debug(True)
        with pytest.raises(ValueError, match="the socket must be non-blocking"):
            await loop.sock_connect(client, listening.getsockname())
    loop.set_debug(False)
    listening.close()


@everywhere
async def test_a_cancelled_call_takes_nothing(stack):
    loop = asyncio.get_running_loop()
    client, server = await pair()
    waiting = asyncio.ensure_future(loop.sock_recv(client, 10))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await loop.sock_sendall(server, b"kept")
    assert await loop.sock_recv(client, 10) == b"kept"
    client.close()
    server.close()
