"""aioquic's server and client: streams over QUIC, verified by the test's authority."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aioquic.asyncio import connect, serve
from aioquic.quic.configuration import QuicConfiguration

from tests.ecosystem.site import SERVER_NAME, Exchange, Site, blob

PORT = 4433
ALPN = ["echo"]


class Answering:
    """Answers each stream with what it brought, backwards. Holds the tasks that do it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read())[::-1])
        writer.write_eof()


@asynccontextmanager
async def serve_echo(site: Site) -> AsyncIterator[None]:
    configuration = QuicConfiguration(is_client=False, alpn_protocols=ALPN)
    configuration.load_cert_chain(site.certificate, site.key)
    server = await serve(site.host, PORT, configuration=configuration, stream_handler=Answering())
    try:
        yield
    finally:
        server.close()


def _configuration(site: Site) -> QuicConfiguration:
    return QuicConfiguration(
        is_client=True, alpn_protocols=ALPN, cafile=site.authority, server_name=SERVER_NAME
    )


async def use_echo(site: Site) -> None:
    async with connect(site.host, PORT, configuration=_configuration(site)) as client:
        await client.ping()

        async def exchange(seed: int) -> None:
            body = blob(seed, 200_000)
            reader, writer = await client.create_stream()
            writer.write(body)
            writer.write_eof()
            assert await reader.read() == body[::-1]

        await asyncio.gather(*map(exchange, range(4)))
    stranger = _configuration(site)
    stranger.server_name = "stranger.example"
    with pytest.raises(ConnectionError):
        async with connect(site.host, PORT, configuration=stranger):
            pass


echo = Exchange(serve_echo, use_echo)
