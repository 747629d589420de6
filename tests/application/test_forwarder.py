"""The forwarder between kernel sockets and a simulated network, on both event loops."""

import asyncio
import hashlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from asyncstack import Network
from asyncstack.application.forwarder import Forwarder

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request):
    return request.param


Inside = tuple[str, str, str]  # addresses of client and server, and the kernel's
IPV4: Inside = "10.0.0.1/24", "10.0.0.2/24", "127.0.0.1"
IPV6: Inside = "fd00::1/64", "fd00::2/64", "::1"
both_families = pytest.mark.parametrize("family", [IPV4, IPV6], ids=["IPv4", "IPv6"])


@asynccontextmanager
async def published(
    handler: Handler | None, family: Inside = IPV4, **link: float
) -> AsyncIterator[Forwarder]:
    """A server in the network (none: nobody listens) and the forwarder that leads to it."""
    ours, theirs, outside = family
    async with asyncio.timeout(20), Network(seed=1) as net:
        client, server = net.host("client", ours), net.host("server", theirs)
        net.link(client, server, **link)
        if handler is not None:
            await server.start_server(handler, "server", 80)
        async with Forwarder(client, theirs.partition("/")[0], 80, outside) as forwarder:
            yield forwarder


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@both_families
def test_every_connection_gets_what_it_sends(run, family):
    """The request is there as soon as the connection: some loops read it before the way inward is open."""

    async def main() -> None:
        async with published(echo, family, delay=0.002) as forwarder:

            async def ask(number: int) -> bytes:
                with socket.create_connection((forwarder.host, forwarder.port)) as raw:
                    raw.sendall(b"%d" % number)
                    raw.shutdown(socket.SHUT_WR)
                    raw.setblocking(False)
                    reader, writer = await asyncio.open_connection(sock=raw.dup())
                    data = await reader.read()
                    writer.close()
                    return data

            answers = await asyncio.gather(*(ask(number) for number in range(100)))
            assert answers == [b"%d" % number for number in range(100)]

    run(main())


def test_a_server_that_speaks_first_and_leaves(run):
    async def banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        writer.close()

    async def main() -> None:
        async with published(banner) as forwarder:
            reader, writer = await asyncio.open_connection(forwarder.host, forwarder.port)
            assert await reader.read() == b"220 hello\r\n"
            writer.close()

    run(main())


@both_families
def test_half_close_each_way(run, family):
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()  # until the client's FIN
        writer.write(b"%d" % len(data))
        writer.close()

    async def main() -> None:
        async with published(count, family, delay=0.002) as forwarder:
            reader, writer = await asyncio.open_connection(forwarder.host, forwarder.port)
            writer.write(bytes(300_000))
            writer.write_eof()
            assert await reader.read() == b"300000"
            writer.close()

    run(main())


@both_families
def test_nobody_listens(run, family):
    async def main() -> None:
        async with published(None, family) as forwarder:
            reader, writer = await asyncio.open_connection(forwarder.host, forwarder.port)
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()

    run(main())


@both_families
def test_a_reset_is_passed_on(run, family):
    async def main() -> None:
        raised: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.read()
                raised.set_result(None)
            except OSError as error:
                raised.set_result(error)
            writer.close()

        async with published(wait, family) as forwarder:
            with socket.create_connection((forwarder.host, forwarder.port)) as raw:
                await asyncio.sleep(0.05)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            assert isinstance(await raised, ConnectionResetError)

    run(main())


def test_a_client_that_does_not_read_holds_up_the_server_and_loses_nothing(run):
    size = 20 << 20

    async def main() -> None:
        sent = 0
        digest = hashlib.sha256()

        async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            while sent < size:
                chunk = sent.to_bytes(8, "big") * 8192
                digest.update(chunk)
                writer.write(chunk)
                await writer.drain()
                sent += len(chunk)
            writer.close()

        async with published(flood) as forwarder:
            with socket.create_connection((forwarder.host, forwarder.port)) as raw:
                raw.setblocking(False)
                before = -1
                while sent != before or not sent:
                    before = sent
                    await asyncio.sleep(0.2)
                assert sent < size * 0.8, "nothing held the server up"
                reader, writer = await asyncio.open_connection(sock=raw.dup())
                received = hashlib.sha256()
                while data := await reader.read(1 << 20):
                    received.update(data)
                assert received.digest() == digest.digest()
                writer.close()

    run(main())
