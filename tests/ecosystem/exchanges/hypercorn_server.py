"""hypercorn serving a FastAPI application by HTTP/1.1, by HTTP/2 over TLS, and by HTTP/3."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent
from hypercorn.asyncio import serve
from hypercorn.config import Config

from tests.ecosystem.exchanges.asgi import app, get_and_post
from tests.ecosystem.site import SERVER_NAME, Exchange, Site, blob

PORT, TLS_PORT, QUIC_PORT = 8000, 8443, 4433


@asynccontextmanager
async def _serve(site: Site) -> AsyncIterator[None]:
    config = Config()
    config.insecure_bind = [f"{site.bind}:{PORT}"]
    config.bind = [f"{site.bind}:{TLS_PORT}"]
    config.quic_bind = [f"{site.bind}:{QUIC_PORT}"]
    config.certfile, config.keyfile = site.certificate, site.key
    config.graceful_timeout = 0.2
    config.alpn_protocols = ["h2", "http/1.1"]
    started, stop = asyncio.Event(), asyncio.Event()

    async def trigger() -> None:
        started.set()
        await stop.wait()

    running = asyncio.create_task(serve(app, config, shutdown_trigger=trigger))
    starting = asyncio.create_task(started.wait())
    await asyncio.wait([running, starting], return_when=asyncio.FIRST_COMPLETED)
    starting.cancel()
    assert not running.done(), running.result()
    try:
        yield
    finally:
        stop.set()
        await running


async def use_http1(site: Site) -> None:
    async with httpx.AsyncClient(base_url=f"http://{site.host}:{PORT}", trust_env=False) as client:
        await get_and_post(client, "http")


async def use_http2(site: Site) -> None:
    base = f"https://{site.host}:{TLS_PORT}"
    async with httpx.AsyncClient(
        base_url=base, http2=True, verify=site.client_tls(), trust_env=False
    ) as client:
        await get_and_post(client, "https")
        together = await asyncio.gather(*(client.get(f"/items/{number}") for number in range(10)))
        assert [answer.json()["number"] for answer in together] == list(range(10))
        assert {answer.http_version for answer in together} == {"HTTP/2"}


class Http3(QuicConnectionProtocol):
    """A client that sends one request after the other."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self._http = H3Connection(self._quic)
        self._answers: dict[int, tuple[dict[bytes, bytes], bytearray, asyncio.Future[None]]] = {}

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[dict[bytes, bytes], bytes]:
        stream = self._quic.get_next_available_stream_id()
        headers = {":method": method, ":scheme": "https", ":authority": SERVER_NAME, ":path": path}
        self._http.send_headers(stream, [(name.encode(), value.encode()) for name, value in headers.items()])
        self._http.send_data(stream, body, end_stream=True)
        answer = self._answers[stream] = ({}, bytearray(), asyncio.get_running_loop().create_future())
        self.transmit()
        await answer[2]
        return answer[0], bytes(answer[1])

    def quic_event_received(self, event: QuicEvent) -> None:
        for one in self._http.handle_event(event):
            headers, body, done = self._answers[one.stream_id]
            if isinstance(one, HeadersReceived):
                headers.update(one.headers)
            elif isinstance(one, DataReceived):
                body += one.data
            if one.stream_ended:
                done.set_result(None)


async def use_http3(site: Site) -> None:
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, cafile=site.authority)
    configuration.server_name = SERVER_NAME
    async with connect(site.host, QUIC_PORT, configuration=configuration, create_protocol=Http3) as client:
        headers, body = await client.request("GET", "/items/7")
        assert (headers[b":status"], httpx.Response(200, content=body).json()["number"]) == (b"200", 7)
        headers, body = await client.request("POST", "/reversed", blob())
        assert (headers[b":status"], body) == (b"200", blob()[::-1])
        assert (await client.request("GET", "/items/seven"))[0][b":status"] == b"422"


http1 = Exchange(_serve, use_http1)
http2 = Exchange(_serve, use_http2)
http3 = Exchange(_serve, use_http3)
