"""httpx as the client: a pool with a limit, bodies streamed both ways, TLS; aiohttp serves."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import httpx

from tests.ecosystem.exchanges.aiohttp_peers import PORT, TLS_PORT, serve
from tests.ecosystem.site import Exchange, Site, blob


async def _pieces() -> AsyncIterator[bytes]:
    """A body whose length nobody knows before."""
    body = blob()
    for start in range(0, len(body), 50_000):
        yield body[start : start + 50_000]
        await asyncio.sleep(0)


async def _use(client: httpx.AsyncClient) -> None:
    together = await asyncio.gather(*(client.get("/peer") for _ in range(12)))
    assert len({answer.json()["port"] for answer in together}) == 3
    answer = await client.post("/digest", content=_pieces())
    assert answer.headers["Content-Encoding"] == "deflate"
    assert answer.text == hashlib.sha256(blob()).hexdigest() * 100
    state = hashlib.sha256()
    async with client.stream("GET", "/file") as response:
        async for piece in response.aiter_bytes():
            state.update(piece)
    assert state.digest() == hashlib.sha256(blob()).digest()


async def use_plain(site: Site) -> None:
    limits = httpx.Limits(max_connections=3)
    async with httpx.AsyncClient(
        base_url=f"http://{site.host}:{PORT}", limits=limits, trust_env=False
    ) as client:
        await _use(client)


async def use_secure(site: Site) -> None:
    limits, base = httpx.Limits(max_connections=3), f"https://{site.host}:{TLS_PORT}"
    async with httpx.AsyncClient(
        base_url=base, limits=limits, verify=site.client_tls(), trust_env=False
    ) as client:
        await _use(client)


plain = Exchange(serve, use_plain)
secure = Exchange(serve, use_secure)
