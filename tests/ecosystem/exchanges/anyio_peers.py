"""anyio's streams: TCP and TLS with its listener and with `connect_tcp`, and its UDP sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSAttribute, TLSListener, TLSStream

from tests.ecosystem.site import Exchange, Site, blob

PORT = 7007


async def _echo(stream: SocketStream | TLSStream) -> None:
    """Everything back, after its end, and then our end."""
    async with stream:
        received = bytearray()
        try:
            while len(received) < len(blob()):
                received += await stream.receive()
            await stream.send(bytes(reversed(received)))
            await stream.receive()
        except anyio.EndOfStream:
            pass


@asynccontextmanager
async def _listening(site: Site, tls: bool) -> AsyncIterator[None]:
    listener = await anyio.create_tcp_listener(local_host=site.bind, local_port=PORT)
    if tls:
        listener = TLSListener(listener, site.server_tls())
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, _echo)
        yield
        group.cancel_scope.cancel()


def serve_tcp(site: Site):
    return _listening(site, tls=False)


def serve_tls(site: Site):
    return _listening(site, tls=True)


async def _talk(stream: SocketStream | TLSStream, site: Site) -> None:
    assert stream.extra(SocketAttribute.remote_address) == (site.host, PORT)
    await stream.send(blob())
    received = BufferedByteReceiveStream(stream)
    assert await received.receive_exactly(len(blob())) == blob()[::-1]


async def use_tcp(site: Site) -> None:
    with anyio.fail_after(10):
        async with await anyio.connect_tcp(site.host, PORT) as stream:
            await _talk(stream, site)


async def use_tls(site: Site) -> None:
    with anyio.fail_after(10):
        async with await anyio.connect_tcp(site.host, PORT, ssl_context=site.client_tls()) as stream:
            assert stream.extra(TLSAttribute.tls_version) == "TLSv1.3"
            await _talk(stream, site)


@asynccontextmanager
async def serve_udp(site: Site) -> AsyncIterator[None]:
    async def echo() -> None:
        async for data, address in socket:
            await socket.sendto(data[::-1], *address)

    socket = await anyio.create_udp_socket(local_host=site.host, local_port=PORT)
    async with socket, anyio.create_task_group() as group:
        group.start_soon(echo)
        yield
        group.cancel_scope.cancel()


async def use_udp(site: Site) -> None:
    with anyio.fail_after(10):
        async with await anyio.create_connected_udp_socket(site.host, PORT) as socket:
            for size in (1, 1000, 30_000):
                await socket.send(blob(size=size))
                assert await socket.receive() == blob(size=size)[::-1]


tcp = Exchange(serve_tcp, use_tcp)
tls = Exchange(serve_tls, use_tls)
udp = Exchange(serve_udp, use_udp)
