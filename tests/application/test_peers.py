"""Other people's clients and servers: curl, aiohttp and websockets, over the kernel's loopback."""

import asyncio
import hashlib
import random

import aiohttp
import aiohttp.web
import pytest
import websockets

from asyncstack.application.http import Application, HttpClient, Response, StaticFiles
from asyncstack.application.websocket import ConnectionClosed, connect
from tests.programs import require_program

MIB = 1024 * 1024
LARGE = random.Random(1).randbytes(3 * MIB)


@pytest.fixture
def app(tmp_path):
    app = Application()
    (tmp_path / "large.bin").write_bytes(LARGE)
    (tmp_path / "digits").write_bytes(b"0123456789")

    @app.get("/hello/{name}")
    async def hello(request):
        return f"Hello, {request.params['name']}"

    @app.route("/digest", ("POST", "PUT"), body_size=0)
    async def digest(request):
        state = hashlib.sha256()
        async for piece in request.stream():
            state.update(piece)
        framing = "length" if "content-length" in request.headers else "chunks"
        return f"{framing} {state.hexdigest()}"

    @app.post("/pipe", body_size=0)
    async def pipe(request):
        return Response(request.stream())

    @app.post("/refuse", body_size=10)
    async def refuse(request):
        return await request.body()

    @app.websocket("/echo", subprotocols=["chat"])
    async def echo(ws):
        async for message in ws:
            await ws.send(message)

    @app.websocket("/bye")
    async def bye(ws):
        await ws.close(4001, "tschüs")

    app.mount("/files", StaticFiles(tmp_path))
    return app


class Kernel:
    """`app` on a port of the kernel's loopback."""

    def __init__(self, port):
        self.http = f"http://127.0.0.1:{port}"
        self.ws = f"ws://127.0.0.1:{port}"


@pytest.fixture
async def site(app):
    server = await asyncio.start_server(app.handle, "127.0.0.1", 0)
    yield Kernel(server.sockets[0].getsockname()[1])
    server.close()
    await app.shutdown(1)
    assert app.connections == 0


async def curl(*arguments, data=b""):
    """What curl prints for `arguments`; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        require_program("curl"),
        "-sS",
        "--max-time",
        "20",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(data)
    assert process.returncode == 0, errors.decode()
    return output


async def test_curl_gets(site):
    assert await curl(site.http + "/hello/w%C3%B6rld") == "Hello, wörld".encode()
    head = await curl("-I", site.http + "/files/large.bin")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"Content-Length: 3145728\r\n" in head
    assert await curl(site.http + "/files/large.bin") == LARGE
    assert await curl("-0", site.http + "/files/large.bin") == LARGE
    assert await curl("-r", "100-199", site.http + "/files/large.bin") == LARGE[100:200]
    assert await curl("-r", "-5", site.http + "/files/digits") == b"56789"
    assert (
        await curl("-r", "20-", "-o", "/dev/null", "-w", "%{http_code}", site.http + "/files/digits")
        == b"416"
    )
    parts = await curl("-r", "0-1,8-", site.http + "/files/digits")
    assert parts.count(b"Content-Range") == 2


async def test_curl_revalidates(site, tmp_path):
    etag = str(tmp_path / "etag")
    form = ["-o", "/dev/null", "-w", "%{http_code}"]
    assert await curl("--etag-save", etag, *form, site.http + "/files/digits") == b"200"
    assert await curl("--etag-compare", etag, *form, site.http + "/files/digits") == b"304"
    copy = str(tmp_path / "copy")
    await curl("-R", "-o", copy, site.http + "/files/digits")
    assert await curl("-z", copy, *form, site.http + "/files/digits") == b"304"


async def test_curl_keeps_its_connection(site):
    urls = [site.http + path for path in ("/hello/a", "/nowhere", "/files/digits", "/hello/b")]
    outputs = [argument for _ in urls for argument in ("-o", "/dev/null")]
    assert await curl(*outputs, "-w", "%{num_connects}%{http_code} ", *urls) == b"1200 0404 0200 0200 "


@pytest.mark.parametrize("expect", [[], ["-H", "Expect:"], ["-H", "Expect: 100-continue"]])
@pytest.mark.parametrize("chunked", [True, False])
async def test_curl_uploads(site, expect, chunked):
    coding = ["-H", "Transfer-Encoding: chunked"] if chunked else []
    answer = await curl("--data-binary", "@-", *coding, *expect, site.http + "/digest", data=LARGE)
    assert answer.decode() == f"{'chunks' if chunked else 'length'} {hashlib.sha256(LARGE).hexdigest()}"
    assert await curl("--data-binary", "@-", *coding, *expect, site.http + "/pipe", data=LARGE) == LARGE


async def test_curl_sees_a_refusal_while_it_uploads(site):
    form = ["-o", "/dev/null", "-w", "%{http_code}"]
    for extra in (["-H", "Expect:"], ["-H", "Transfer-Encoding: chunked"], []):
        assert await curl("--data-binary", "@-", *extra, *form, site.http + "/refuse", data=LARGE) == b"413"


async def test_aiohttp_as_the_client(site):
    async def pieces():
        for start in range(0, len(LARGE), 50_000):
            yield LARGE[start : start + 50_000]

    async with aiohttp.ClientSession(site.http) as session:
        for _ in range(3):
            async with session.get("/hello/x") as response:
                assert await response.text() == "Hello, x"
        async with session.post("/digest", data=pieces()) as response:
            assert await response.text() == f"chunks {hashlib.sha256(LARGE).hexdigest()}"
        async with session.post("/pipe", data=pieces()) as response:
            assert await response.read() == LARGE
        async with session.head("/files/digits") as response:
            assert response.headers["Content-Length"] == "10"
        async with session.ws_connect("/echo", compress=15) as ws:
            await ws.send_str("ä" * 1000)
            assert await ws.receive_str() == "ä" * 1000
            await ws.send_bytes(LARGE[:500_000])
            assert await ws.receive_bytes() == LARGE[:500_000]


@pytest.fixture
async def aiohttp_site():
    async def echo(request):
        return aiohttp.web.Response(body=await request.read(), headers={"X-Method": request.method})

    async def stream(request):
        response = aiohttp.web.StreamResponse()
        await response.prepare(request)
        for start in range(0, len(LARGE), 100_000):
            await response.write(LARGE[start : start + 100_000])
        return response

    async def away(request):
        raise aiohttp.web.HTTPFound("/stream")

    async def live(request):
        ws = aiohttp.web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            if message.type == aiohttp.WSMsgType.TEXT:
                await ws.send_str(message.data)
            else:
                await ws.send_bytes(message.data)
        return ws

    app = aiohttp.web.Application(client_max_size=64 * MIB)
    app.router.add_route("*", "/echo", echo)
    app.router.add_get("/stream", stream)
    app.router.add_get("/live", live)
    app.router.add_get("/away", away)
    runner = aiohttp.web.AppRunner(app, handle_signals=False)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield Kernel(runner.addresses[0][1])
    await runner.cleanup()


async def test_aiohttp_as_the_server(aiohttp_site):
    async def pieces():
        for start in range(0, len(LARGE), 50_000):
            yield LARGE[start : start + 50_000]

    async with HttpClient(follow_redirects=True) as client:
        response = await client.put(aiohttp_site.http + "/echo", pieces())
        assert (await response.read(), response.headers["x-method"]) == (LARGE, "PUT")
        assert await (await client.post(aiohttp_site.http + "/echo", LARGE)).read() == LARGE
        assert (await client.head(aiohttp_site.http + "/echo")).headers["x-method"] == "HEAD"
        response = await client.get(aiohttp_site.http + "/away")
        assert (await response.read(), response.url) == (LARGE, aiohttp_site.http + "/stream")
        assert client.pool.size == 1
    async with connect(aiohttp_site.ws + "/live") as ws:
        for message in ("text", b"bytes", "x" * 200_000, ["in ", "pieces"]):
            await ws.send(message)
            assert await ws.recv() == (message if isinstance(message, (str, bytes)) else "in pieces")


async def test_websockets_as_the_client(site):
    async with websockets.connect(site.ws + "/echo", subprotocols=["chat"]) as ws:
        assert ws.subprotocol == "chat"
        assert ws.protocol.extensions
        for message in ("text", b"bytes", "ü" * 100_000, LARGE[:900_000]):
            await ws.send(message)
            assert await ws.recv() == message
        await ws.send(["frag", "ments"])
        assert await ws.recv() == "fragments"
        await (await ws.ping())
        await ws.send(bytes(2 * MIB))
        with pytest.raises(websockets.ConnectionClosedError) as caught:
            await ws.recv()
        assert caught.value.rcvd.code == 1009
    async with websockets.connect(site.ws + "/bye", compression=None) as ws:
        with pytest.raises(websockets.ConnectionClosedError) as caught:
            await ws.recv()
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4001, "tschüs")
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(site.ws + "/hello/x")
    assert refused.value.response.status_code == 200


async def test_websockets_as_the_server():
    async def handle(ws):
        async for message in ws:
            if message == "close":
                await ws.close(4002, "done")
            else:
                await ws.send(message)

    async with websockets.serve(handle, "127.0.0.1", 0, subprotocols=["chat"]) as server:
        uri = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with connect(uri, subprotocols=["chat"], ping_interval=0.02) as ws:
            assert ws.subprotocol == "chat"
            for message in ("text", b"bytes", LARGE[:900_000], "x" * 300_000):
                await ws.send(message)
                assert await ws.recv() == message
            await ws.send(["frag", "ments"])
            assert await ws.recv() == "fragments"
            assert await ws.ping() > 0
            await ws.send("close")
            with pytest.raises(ConnectionClosed) as caught:
                await ws.recv()
            assert (caught.value.code, caught.value.reason) == (4002, "done")
        async with connect(uri, subprotocols=["chat"], compression=None) as ws:
            await ws.send(bytes(2 * MIB))
            with pytest.raises(ConnectionClosed) as caught:
                await ws.recv()
            assert caught.value.code == 1009
