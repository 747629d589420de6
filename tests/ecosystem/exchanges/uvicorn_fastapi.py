"""uvicorn serving a FastAPI application: to httpx, and to websockets' client."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
import websockets

from tests.ecosystem.exchanges.asgi import app, get_and_post
from tests.ecosystem.site import Exchange, Site

PORT = 8000


@asynccontextmanager
async def _serve(site: Site, **options: object) -> AsyncIterator[None]:
    config = uvicorn.Config(app, site.host, PORT, log_config=None, access_log=False, **options)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        assert not running.done(), running.result()
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        server.should_exit = True
        await running


async def use_http(site: Site) -> None:
    async with httpx.AsyncClient(base_url=f"http://{site.host}:{PORT}", trust_env=False) as client:
        await get_and_post(client, "http")


def serve_https(site: Site):
    return _serve(site, ssl_certfile=site.certificate, ssl_keyfile=site.key)


async def use_https(site: Site) -> None:
    base = f"https://{site.host}:{PORT}"
    async with httpx.AsyncClient(base_url=base, verify=site.client_tls(), trust_env=False) as client:
        await get_and_post(client, "https")
    async with httpx.AsyncClient(
        base_url=base, verify=ssl.create_default_context(), trust_env=False
    ) as client:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get("/items/7")


async def use_websocket(site: Site) -> None:
    async with websockets.connect(
        f"ws://{site.host}:{PORT}/echo", subprotocols=["echo"], proxy=None
    ) as socket:
        assert socket.subprotocol == "echo"
        for size in (1, 126, 70_000):
            await socket.send("x" * size)
            assert await socket.recv() == "X" * size
    assert socket.close_code == 1000


http = Exchange(_serve, use_http)
https = Exchange(serve_https, use_https)
websocket = Exchange(_serve, use_websocket)
