"""TLS put on a connection that is open, and files sent over it: both sides, also TLS in TLS."""

import asyncio
import io
import ssl
import tempfile

import pytest

from tests.loop.where import everywhere
from tests.transport.asyncio_contract.recorders import Recorder

DATA = bytes(range(256)) * 4000


async def pair(**server_arguments):
    """(client, server): two protocols, connected."""
    loop, accepted = asyncio.get_running_loop(), asyncio.Queue()

    class Accepted(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            accepted.put_nowait(self)

    listening = await loop.create_server(Accepted, "127.0.0.1", 0, **server_arguments)
    _, near = await loop.create_connection(Recorder, *listening.sockets[0].getsockname()[:2])
    far = await accepted.get()
    listening.close()
    return near, far


async def upgrade(client, server, client_tls, server_tls):
    """Both transports, with TLS over them."""
    loop = asyncio.get_running_loop()
    near, far = await asyncio.gather(
        loop.start_tls(client.transport, client, client_tls, server_hostname="server"),
        loop.start_tls(server.transport, server, server_tls, server_side=True),
    )
    client.transport, server.transport = near, far
    return near, far


async def end(*protocols):
    for one in protocols:
        one.transport.close()
    for one in protocols:
        await one.called("connection_lost")


@everywhere
async def test_both_sides(stack, client_tls, server_tls):
    client, server = await pair()
    near, far = await upgrade(client, server, client_tls, server_tls)
    near.write(DATA)
    assert await server.received(len(DATA)) == DATA
    far.write(DATA[::-1])
    assert await client.received(len(DATA)) == DATA[::-1]
    assert near.get_extra_info("ssl_object").version() == "TLSv1.3"
    assert near.get_extra_info("socket").getpeername() == far.get_extra_info("sockname")
    await end(client, server)


@everywhere
async def test_streams(stack, client_tls, server_tls):
    async def serve(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        await writer.start_tls(server_tls)
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"STARTTLS\n")
    assert await reader.readline() == b"STARTTLS\n"
    await writer.start_tls(client_tls, server_hostname="server")
    writer.write(b"secret\n")
    assert await reader.read() == b"SECRET\n"
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


@everywhere
async def test_tls_in_tls(stack, client_tls, server_tls):
    client, server = await pair()
    await upgrade(client, server, client_tls, server_tls)
    near, far = await upgrade(client, server, client_tls, server_tls)
    near.write(b"twice secret")
    assert await server.received(12) == b"twice secret"
    far.write(b"answer")
    assert await client.received(6) == b"answer"
    await end(client, server)


@everywhere
async def test_a_handshake_that_fails(stack, client_tls, server_tls):
    client, server = await pair()
    loop = asyncio.get_running_loop()
    strict = ssl.create_default_context()  # which does not trust the certificate
    results = await asyncio.gather(
        loop.start_tls(client.transport, client, strict, server_hostname="server"),
        loop.start_tls(server.transport, server, server_tls, server_side=True),
        return_exceptions=True,
    )
    assert isinstance(results[0], ssl.SSLCertVerificationError)
    assert isinstance(results[1], (ssl.SSLError, ConnectionError))
    del results


@everywhere
async def test_files(stack, client_tls, server_tls):
    """In the clear and over TLS, from an offset and with a count; the file's position follows."""
    loop = asyncio.get_running_loop()
    client, server = await pair()
    with tempfile.TemporaryFile() as file:
        file.write(DATA)
        file.flush()
        assert await loop.sendfile(client.transport, file, 100, 200_000) == 200_000
        assert file.tell() == 200_100
        await server.received(200_000)
        await upgrade(client, server, client_tls, server_tls)
        file.seek(0)  # where asyncio begins over TLS
        assert await loop.sendfile(client.transport, file) == len(DATA)
        client.transport.write(b"end")
        expected = DATA[100:200_100] + DATA + b"end"
        assert await server.received(len(expected)) == expected
        client.transport.close()
        with pytest.raises(RuntimeError, match="closing"):
            await loop.sendfile(client.transport, file)
    await end(client, server)


@everywhere(kernel=False)
async def test_files_that_only_the_kernel_could_send(stack):
    loop = asyncio.get_running_loop()
    client, server = await pair()
    with tempfile.TemporaryFile() as file:
        with pytest.raises(RuntimeError, match="fallback is disabled"):
            await loop.sendfile(client.transport, file, fallback=False)
        sock, listening = stack.socket(), stack.socket()
        listening.listen()
        await loop.sock_connect(sock, ("127.0.0.1", listening.getsockname()[1]))
        with pytest.raises(asyncio.SendfileNotAvailableError):
            await loop.sock_sendfile(sock, file, fallback=False)
        with pytest.raises(ValueError, match="binary mode"), open(__file__) as text:
            await loop.sock_sendfile(sock, text)
        sock.close()
        listening.close()
    await end(client, server)


@everywhere
async def test_one_file_for_several(stack):
    """From its beginning, wherever it stands."""
    loop = asyncio.get_running_loop()
    pairs = [await pair() for _ in range(3)]
    with tempfile.TemporaryFile() as file:
        file.write(DATA)
        file.flush()
        sent = await asyncio.gather(*(loop.sendfile(client.transport, file) for client, _ in pairs))
        assert sent == [len(DATA)] * 3
        for client, server in pairs:
            assert await server.received(len(DATA)) == DATA
            await end(client, server)


@everywhere
async def test_what_is_no_regular_file(stack):
    loop = asyncio.get_running_loop()
    client, server = await pair()
    assert await loop.sendfile(client.transport, io.BytesIO(b"0123456789"), 2, 5) == 5
    assert await server.received(5) == b"23456"
    await end(client, server)
