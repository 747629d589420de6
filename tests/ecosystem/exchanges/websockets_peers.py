"""websockets' server and client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import websockets
from websockets.asyncio.server import ServerConnection, serve

from tests.ecosystem.site import SERVER_NAME, Exchange, Site, blob

PORT = 8001


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@asynccontextmanager
async def serve_plain(site: Site) -> AsyncIterator[None]:
    async with serve(echo, site.host, PORT, max_size=None):
        yield


@asynccontextmanager
async def serve_secure(site: Site) -> AsyncIterator[None]:
    async with serve(echo, site.host, PORT, max_size=None, ssl=site.server_tls()):
        yield


async def _talk(client: websockets.ClientConnection) -> None:
    for message in ("text ✓", blob(), b"", "a" * 300_000):
        await client.send(message)
        assert await client.recv() == message
    await (await client.ping())
    parts = ["in ", "three ", "frames"]
    await client.send(parts)
    assert await client.recv() == "".join(parts)


async def use_plain(site: Site) -> None:
    async with websockets.connect(f"ws://{site.host}:{PORT}", max_size=None, proxy=None) as client:
        assert [type(one).__name__ for one in client.protocol.extensions] == ["PerMessageDeflate"]
        await _talk(client)
    assert client.close_code == 1000


async def use_secure(site: Site) -> None:
    tls = site.client_tls()
    uri = f"wss://{site.host}:{PORT}"
    async with websockets.connect(
        uri, ssl=tls, server_hostname=SERVER_NAME, max_size=None, proxy=None
    ) as client:
        assert client.transport.get_extra_info("cipher")
        await _talk(client)
    assert client.close_code == 1000


plain = Exchange(serve_plain, use_plain)
secure = Exchange(serve_secure, use_secure)
