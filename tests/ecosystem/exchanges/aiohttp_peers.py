"""aiohttp's server and client: a pool that keeps connections, sendfile, WebSocket, HTTPS."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from tests.ecosystem.exchanges import dns_resolver
from tests.ecosystem.site import SERVER_NAME, Exchange, Site, blob

PORT, TLS_PORT = 8080, 8443


async def _peer(request: web.Request) -> web.Response:
    """Which connection it came by. It takes a while, so that requests at the same time are on several."""
    await asyncio.sleep(0.01)
    return web.json_response({"port": request.transport.get_extra_info("peername")[1]})


async def _digest(request: web.Request) -> web.Response:
    """The hash of a body, read as it comes."""
    state = hashlib.sha256()
    async for piece in request.content.iter_any():
        state.update(piece)
    response = web.Response(text=state.hexdigest() * 100)
    response.enable_compression()
    return response


async def _echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=["echo"], max_msg_size=0)
    await socket.prepare(request)
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        else:
            await socket.send_str(message.data.upper())
    return socket


@asynccontextmanager
async def serve(site: Site) -> AsyncIterator[None]:
    file = site.folder / "file.bin"
    file.write_bytes(blob())

    async def fetch(request: web.Request) -> web.FileResponse:
        return web.FileResponse(file)

    app = web.Application(client_max_size=1 << 24)
    app.add_routes([web.get("/peer", _peer), web.post("/digest", _digest), web.get("/echo", _echo)])
    app.add_routes([web.get("/file", fetch)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, site.host, PORT).start()
        await web.TCPSite(runner, site.host, TLS_PORT, ssl_context=site.server_tls()).start()
        yield
    finally:
        await runner.cleanup()


async def use_pool(site: Site) -> None:
    connector = aiohttp.TCPConnector(limit=3)
    async with aiohttp.ClientSession(f"http://{site.host}:{PORT}", connector=connector) as session:

        async def port() -> int:
            async with session.get("/peer") as response:
                assert response.status == 200
                return (await response.json())["port"]

        together = await asyncio.gather(*(port() for _ in range(12)))
        assert len(set(together)) == 3
        assert {await port() for _ in range(6)} <= set(together)  # kept, and taken from the pool
        async with session.post("/digest", data=blob()) as response:
            assert response.headers["Content-Encoding"] == "deflate"
            assert await response.text() == hashlib.sha256(blob()).hexdigest() * 100
        async with session.get("/nothing") as response:
            assert response.status == 404


async def use_sendfile(site: Site) -> None:
    async with aiohttp.ClientSession(f"http://{site.host}:{PORT}") as session:
        async with session.get("/file") as response:
            assert await response.read() == blob()
        async with session.get("/file", headers={"Range": "bytes=1000-499999"}) as response:
            assert (response.status, await response.read()) == (206, blob()[1000:500_000])


async def use_websocket(site: Site) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"http://{site.host}:{PORT}/echo"
        async with session.ws_connect(url, protocols=["echo"], compress=15, max_msg_size=0) as socket:
            assert (socket.protocol, socket.compress) == ("echo", 15)
            await socket.send_str("a" * 100_000)
            assert await socket.receive_str() == "A" * 100_000
            await socket.send_bytes(blob())
            assert await socket.receive_bytes() == blob()
            await socket.ping()
        assert socket.close_code == 1000


async def use_https(site: Site) -> None:
    connector = aiohttp.TCPConnector(ssl=site.client_tls())
    async with aiohttp.ClientSession(f"https://{site.host}:{TLS_PORT}", connector=connector) as session:
        async with session.get("/file") as response:
            assert await response.read() == blob()
        async with session.get("/peer", server_hostname=SERVER_NAME) as response:
            assert response.status == 200
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"https://{site.host}:{TLS_PORT}/peer")


@asynccontextmanager
async def serve_by_name(site: Site) -> AsyncIterator[None]:
    async with dns_resolver.serve(site, {("www.named.example.", "A"): site.host}), serve(site):
        yield


async def use_by_name(site: Site) -> None:
    """Without aiodns names are the loop's matter."""
    assert aiohttp.resolver.DefaultResolver is aiohttp.resolver.ThreadedResolver
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://www.named.example:{PORT}/file") as response:
            assert await response.read() == blob()
        with pytest.raises(aiohttp.ClientConnectorDNSError):
            await session.get(f"http://nowhere.named.example:{PORT}/file")


pool = Exchange(serve, use_pool)
sendfile = Exchange(serve, use_sendfile)
websocket = Exchange(serve, use_websocket)
https = Exchange(serve, use_https)
by_name = Exchange(serve_by_name, use_by_name)
