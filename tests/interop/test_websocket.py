"""The `websockets` package over the kernel's sockets, against asyncstack's WebSocket server and client."""

import random

import pytest

from asyncstack.application.http import Application
from asyncstack.application.websocket import ConnectionClosed, connect
from tests.interop.kernel import peer
from tests.interop.medium import OURS, OURS6, PEER, PEER6, TAP, TUN

pytestmark = pytest.mark.tun

MEDIA = pytest.mark.parametrize("medium", [TUN, TAP])


def uri(address: str, port: int) -> str:
    return f"ws://[{address}]:{port}/echo" if ":" in address else f"ws://{address}:{port}/echo"


@MEDIA
@pytest.mark.parametrize("ours", [OURS, OURS6])
async def test_kernel_client(peered, ours):
    app = Application()
    closed = []

    @app.websocket("/echo", max_size=None)
    async def echo(ws):
        try:
            async for message in ws:
                await ws.send(message)
        except ConnectionClosed as closing:
            closed.append((closing.code, closing.reason))

    server = await peered.stack.start_server(app.handle, None, 8000)
    async with peer("websocket_client", site=True, uri=uri(ours, 8000)) as program:
        assert await program.ended() == {"code": 4001, "deflate": ["PerMessageDeflate"]}
    server.close()
    await app.shutdown(2)
    assert closed == [(4001, "done")]


@MEDIA
@pytest.mark.parametrize("peer_address", [PEER, PEER6])
async def test_stack_client(peered, peer_address):
    large = random.Random(8).randbytes(2_000_000)
    async with peer("websocket_server", site=True, host=peer_address) as program:
        port = (await program.said())["port"]
        target = uri(peer_address, port)
        async with connect(target, open_connection=peered.stack.open_connection, max_size=None) as ws:
            for message in ("grüße", "", b"", large):
                await ws.send(message)
                assert await ws.recv() == message
