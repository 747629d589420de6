"""The server, spoken to byte by byte."""

import asyncio
import gc
import logging
import sys

import pytest

from asyncstack.application.http import Application, HttpError, Limits, Request, Response
from asyncstack.application.http.body import RequestBody
from asyncstack.application.http.connection import HttpConnection
from asyncstack.application.http.deadline import Deadline
from asyncstack.application.http.sending import Sender
from asyncstack.application.http.source import ByteSource
from asyncstack.application.websocket import WebSocket, connect
from asyncstack.application.websocket.keepalive import Keepalive
from tests.application.test_parser import REFUSED

END = b"Host: a\r\nConnection: close\r\n\r\n"


def application(**limits) -> Application:
    app = Application(limits=Limits(**limits), clock=lambda: 784111777)

    @app.get("/")
    async def root(request):
        return "root"

    @app.post("/echo")
    async def echo(request):
        return Response(request.stream())

    @app.post("/length")
    async def length(request):
        return str(len(await request.body()))

    @app.post("/ignore")
    async def ignore(request):
        return "ignored"

    @app.get("/hello/{name}")
    async def hello(request):
        return f"hello {request.params['name']}"

    @app.get("/stream")
    async def stream(request):
        async def pieces():
            yield b"one"
            yield b""
            yield b"two"

        return Response(pieces())

    return app


def bodies(answer: bytes) -> list[tuple[int, bytes]]:
    """(status, body) of each answer in a stream of answers with Content-Length."""
    found = []
    while answer:
        head, _, rest = answer.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        found.append((status, rest[:length]))
        answer = rest[length:]
    return found


async def test_a_request_and_its_answer(network_pair):
    port = await network_pair.serve(application())
    assert await network_pair.talk(port, b"GET / HTTP/1.1\r\n" + END) == (
        b"HTTP/1.1 200 OK\r\n"
        b"Server: asyncstack\r\n"
        b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        b"Content-Length: 4\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Connection: close\r\n"
        b"\r\n"
        b"root"
    )


async def test_a_request_in_single_bytes(network_pair):
    port = await network_pair.serve(application())
    request = b"\r\nPOST /length HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + END + b"3\r\nabc\r\n0\r\n\r\n"
    answer = await network_pair.talk(port, *[request[at : at + 1] for at in range(len(request))])
    assert bodies(answer) == [(200, b"3")]


async def test_pipelined_requests_are_answered_in_order(network_pair):
    app = application()
    running = []

    @app.get("/slow/{n:int}")
    async def slow(request):
        n = request.params["n"]
        running.append(n)
        await asyncio.sleep(0.02 / (n + 1))
        assert running[-1] == n, "a later request ran before this one was answered"
        return str(n)

    port = await network_pair.serve(app)
    requests = b"".join(b"GET /slow/%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(20))
    answer = await network_pair.talk(port, requests + b"GET / HTTP/1.1\r\n" + END)
    assert bodies(answer) == [(200, b"%d" % n) for n in range(20)] + [(200, b"root")]


async def test_pipelined_bodies(network_pair):
    port = await network_pair.serve(application())
    one = b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    two = b"POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    skipped = b"POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /"
    answer = await network_pair.talk(port, one + two + skipped + two + b"GET / HTTP/1.1\r\n" + END)
    assert bodies(answer) == [(200, b"5"), (200, b"2"), (200, b"ignored"), (200, b"2"), (200, b"root")]


async def test_a_burst_of_pipelined_requests_leaves_the_loop_alive(network_pair):
    app = application()
    port = await network_pair.serve(app)
    turns = 0

    async def count():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counter = asyncio.create_task(count())
    requests = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000
    answer = await network_pair.talk(port, requests + b"GET / HTTP/1.1\r\n" + END)
    counter.cancel()
    assert len(bodies(answer)) == 1001
    assert turns > 1000 / 8


@pytest.mark.parametrize(
    ("line", "fields", "persistent", "connection"),
    [
        (b"HTTP/1.1", b"Host: a\r\n", True, b""),
        (b"HTTP/1.1", b"Host: a\r\nConnection: close\r\n", False, b"close"),
        (b"HTTP/1.0", b"", False, b"close"),
        (b"HTTP/1.0", b"Connection: keep-alive\r\n", True, b"keep-alive"),
    ],
)
async def test_persistence(network_pair, line, fields, persistent, connection):
    port = await network_pair.serve(application())
    answer = await network_pair.talk(port, b"GET / %s\r\n%s\r\n" % (line, fields) * 2, eof=True)
    assert len(bodies(answer)) == (2 if persistent else 1)
    assert (b"Connection: " + connection in answer) == bool(connection)


async def test_streams_are_chunked_for_1_1_and_end_with_the_connection_for_1_0(network_pair):
    port = await network_pair.serve(application())
    answer = await network_pair.talk(port, b"GET /stream HTTP/1.1\r\n" + END)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    answer = await network_pair.talk(port, b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert b"Connection: close" in head
    assert body == b"onetwo"


@pytest.mark.parametrize("path", [b"/", b"/stream", b"/hello/x", b"/nowhere"])
async def test_head_has_no_body(network_pair, path):
    port = await network_pair.serve(application())
    answer = await network_pair.talk(
        port, b"HEAD %s HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n%s" % (path, END)
    )
    first, second = answer.split(b"\r\n\r\n", 1)
    assert first.startswith(b"HTTP/1.1 404" if path == b"/nowhere" else b"HTTP/1.1 200")
    assert second.startswith(b"HTTP/1.1 200 OK")
    if path == b"/hello/x":
        assert b"Content-Length: 7" in first


async def test_routes(network_pair):
    port = await network_pair.serve(application())

    async def ask(line):
        answer = await network_pair.talk(port, line + b" HTTP/1.1\r\n" + END)
        return answer.partition(b"\r\n\r\n")

    assert (await ask(b"GET /hello/J%C3%B6rg%2Fx?a"))[2] == "hello Jörg/x".encode()
    assert (await ask(b"GET /hello/a/b"))[0].startswith(b"HTTP/1.1 404")
    assert (await ask(b"GET /hello/%FF"))[0].startswith(b"HTTP/1.1 400")
    head = (await ask(b"DELETE /echo"))[0]
    assert head.startswith(b"HTTP/1.1 405") and b"Allow: OPTIONS, POST\r\n" in head
    head = (await ask(b"OPTIONS /"))[0]
    assert head.startswith(b"HTTP/1.1 204") and b"Allow: GET, HEAD, OPTIONS\r\n" in head
    assert (await ask(b"OPTIONS *"))[0].startswith(b"HTTP/1.1 204")
    assert (await ask(b"GET http://elsewhere/hello/x"))[2] == b"hello x"


async def test_what_a_handler_reads(network_pair):
    app = application()

    @app.post("/read")
    async def read(request):
        assert await request.body() == await request.body()
        match request.query.get("as"):
            case "text":
                return await request.text()
            case "json":
                return Response.json(await request.json())
            case "trailers":
                return request.trailers["x-sum"]
        return Response.html(f"<p>{len(request.query_items)}")

    port = await network_pair.serve(app)

    async def ask(target, body):
        head = b"POST %s HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" % target
        answer = await network_pair.talk(
            port, head + END + b"%x\r\n%s\r\n0\r\nX-Sum: 7\r\n\r\n" % (len(body), body)
        )
        return bodies(answer)[0]

    assert await ask(b"/read?as=text", "ü".encode()) == (200, "ü".encode())
    assert await ask(b"/read?as=json", b'[1,{"a":null}]') == (200, b'[1,{"a":null}]')
    assert await ask(b"/read?as=trailers", b"x") == (200, b"7")
    assert await ask(b"/read?a=1&a=&b", b"x") == (200, b"<p>3")
    assert (await ask(b"/read?as=text", b"\xff"))[0] == 400
    assert (await ask(b"/read?as=json", b"{"))[0] == 400
    assert (await ask(b"/read?as=json", b"[" * 100_000))[0] == 400
    assert (await ask(b"/read?" + b"&" * 2000, b"x"))[0] == 400


async def test_expect_100_continue(network_pair):
    port = await network_pair.serve(application())
    reader, writer = await network_pair.connect(port)
    for path, answer in ((b"/length", b"4"), (b"/echo", b"4\r\nbody\r\n0\r\n\r\n")):
        head = b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n" % path
        writer.write(head)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        assert await reader.readexactly(len(answer)) == answer


async def test_expectation_of_a_body_that_nobody_wants(network_pair):
    """The final answer instead of 100, and then the end: what follows may be the body or the next request."""
    port = await network_pair.serve(application())
    head = b"POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    answer = await network_pair.talk(port, head + b"GET /")
    assert b"100 Continue" not in answer
    assert b"Connection: close" in answer
    assert bodies(answer) == [(200, b"ignored")]


@pytest.mark.parametrize(("status", "head"), REFUSED.values(), ids=REFUSED.keys())
async def test_smuggled_requests_are_refused_and_end_the_connection(network_pair, status, head):
    """The second request must not be answered, whatever the first one was."""
    port = await network_pair.serve(application())
    hidden = b"GET /hello/smuggler HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = await network_pair.talk(port, head + hidden)
    assert [code for code, _ in bodies(answer)] == [status]
    assert b"smuggler" not in answer
    assert b"Connection: close" in answer


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\n",
        b"3;" + b"x" * 5000 + b"\r\n",
        b"0\r\nX : y\r\n\r\n",
    ],
)
@pytest.mark.parametrize("path", [b"/length", b"/ignore"])
async def test_malformed_chunks_end_the_connection(network_pair, body, path):
    port = await network_pair.serve(application())
    head = b"POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % path
    answer = await network_pair.talk(port, head + body + b"GET /hello/smuggler HTTP/1.1\r\nHost: a\r\n\r\n")
    assert bodies(answer)[0] == ((400, bodies(answer)[0][1]) if path == b"/length" else (200, b"ignored"))
    assert len(bodies(answer)) == 1


async def test_input_that_is_no_http_is_refused_at_once(network_pair):
    """Not after the time limit: TLS on the wrong port, lines with bare LF."""
    port = await network_pair.serve(application(head_time=60, idle_time=60))
    for data in (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\nHost: a\n\n", b"\n\n", b"\r\n" * 40):
        answer = await network_pair.talk(port, data)
        assert answer.startswith(b"HTTP/1.1 400"), data


@pytest.mark.parametrize("failure", ["raise", "type", "header", "length", "early", "http"])
async def test_a_handler_that_fails(network_pair, caplog, failure):
    app = application()

    @app.get("/fail")
    async def fail(request):
        async def pieces():
            raise RuntimeError("boom")
            yield b""

        match failure:
            case "raise":
                raise RuntimeError("boom")
            case "type":
                return 42
            case "header":
                return Response("", headers={"X": "a\r\nSet-Cookie: b"})
            case "length":
                return Response(b"abc", length=7)
            case "early":
                return Response(pieces(), length=3)
            case "http":
                raise HttpError(403, "no entry", {"X-Why": "because"})

    port = await network_pair.serve(app)
    answer = await network_pair.talk(port, b"GET /fail HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n" + END)
    if failure == "http":
        assert bodies(answer) == [(403, b"403 no entry\n"), (200, b"root")]
        assert b"X-Why: because\r\n" in answer
        assert not caplog.records
        return
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert b"boom" not in answer
    if failure == "early":
        # The head was out already: only the missing bytes can tell.
        assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"\r\n\r\n")
    else:
        assert bodies(answer)[0] == (500, b"500 Internal Server Error\n")
        # Nothing was wrong with the connection when the handler itself failed.
        assert bodies(answer)[1:] == ([(200, b"root")] if failure in ("raise", "type") else [])


async def test_a_stream_for_1_0_that_fails_ends_in_a_reset(network_pair, caplog):
    """Its end is the connection's end: a FIN would say that all is there."""
    app = application()

    @app.get("/fail")
    async def fail(request):
        async def pieces():
            yield b"half"
            raise RuntimeError("boom")

        return Response(pieces())

    port = await network_pair.serve(app)
    with pytest.raises(ConnectionResetError):
        await network_pair.talk(port, b"GET /fail HTTP/1.0\r\n\r\n")
    answer = await network_pair.talk(port, b"GET /fail HTTP/1.1\r\n" + END)
    assert answer.endswith(b"4\r\nhalf\r\n")
    assert caplog.text.count("broke off") == 2


@pytest.mark.parametrize("count", [2, 4])
async def test_a_body_of_another_length_than_announced_breaks_the_connection(network_pair, caplog, count):
    app = application()

    @app.get("/wrong")
    async def wrong(request):
        async def pieces():
            for _ in range(count):
                yield b"x"

        return Response(pieces(), length=3)

    port = await network_pair.serve(app)
    reader, writer = await network_pair.connect(port)
    writer.write(b"GET /wrong HTTP/1.1\r\nHost: a\r\n\r\n")
    try:
        answer = await reader.read()
    except ConnectionResetError:
        answer = b""
    assert len(answer.partition(b"\r\n\r\n")[2]) <= 3
    assert "announced" in caplog.text


async def test_a_generator_is_closed_when_the_client_leaves(network_pair):
    app = application()
    closed = asyncio.Event()

    @app.get("/endless")
    async def endless(request):
        async def pieces():
            try:
                while True:
                    yield b"x" * 10_000
            finally:
                closed.set()

        return Response(pieces())

    port = await network_pair.serve(app)
    reader, writer = await network_pair.connect(port)
    writer.write(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
    await reader.readexactly(1000)
    writer.transport.abort()
    async with asyncio.timeout(5):
        await closed.wait()
        while app.connections:
            await asyncio.sleep(0.01)


async def test_a_client_that_leaves_in_the_middle_of_its_body(network_pair, caplog):
    app = application()
    port = await network_pair.serve(app)
    answer = await network_pair.talk(
        port, b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc", eof=True
    )
    assert answer == b""
    assert not caplog.records


async def test_shutdown_lets_answers_finish_and_closes_idle_connections(network_pair):
    app = application(linger_time=0.05)
    started, go_on = asyncio.Event(), asyncio.Event()

    @app.get("/wait")
    async def wait(request):
        started.set()
        await go_on.wait()
        return "done"

    port = await network_pair.serve(app)
    idle, _ = await network_pair.connect(port)
    busy, writer = await network_pair.connect(port)
    writer.write(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
    await started.wait()
    stopping = asyncio.create_task(app.shutdown(5))
    assert await idle.read() == b""
    go_on.set()
    answer = await busy.read()
    assert bodies(answer) == [(200, b"done")]
    assert b"Connection: close" in answer
    await stopping
    assert app.connections == 0


async def test_shutdown_cuts_off_what_does_not_end(network_pair):
    app = application()
    cancelled = asyncio.Event()

    @app.get("/wait")
    async def wait(request):
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    port = await network_pair.serve(app)
    _, writer = await network_pair.connect(port)
    writer.write(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
    while not app.connections:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.02)
    await app.shutdown(0.05)
    assert cancelled.is_set()
    assert app.connections == 0


async def test_connections_end_without_the_garbage_collector(network_pair):
    """Ten thousand connections in reference cycles would make every collection a long one."""
    app = application()

    @app.websocket("/ws")
    async def ws(ws):
        await ws.send("x" * 100)

    port = await network_pair.serve(app)
    kinds = (HttpConnection, ByteSource, Deadline, Sender, Request, RequestBody, WebSocket, Keepalive)

    def alive():
        return [thing for thing in gc.get_objects() if isinstance(thing, kinds)]

    gc.collect()
    gc.disable()
    try:
        before = len(alive())
        for _ in range(3):
            await network_pair.talk(port, b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n" + END)
            await network_pair.talk(port, b"POST /length HTTP/1.1\r\nContent-Length: 3\r\n" + END + b"abc")
            uri = f"ws://{network_pair.host}:{port}/ws"
            async with connect(uri, open_connection=network_pair.open_connection) as socket:
                await socket.recv()
            del socket
        async with asyncio.timeout(5):
            while app.connections:
                await asyncio.sleep(0.01)
        assert len(alive()) == before
    finally:
        gc.enable()


def test_errors_of_use():
    app = application()
    with pytest.raises(ValueError, match="has a handler already"):
        app.get("/")(lambda request: None)
    with pytest.raises(ValueError, match="starts with /"):
        app.get("hello")(lambda request: None)
    with pytest.raises(ValueError, match="'nix' is no converter"):
        app.get("/{a:nix}")(lambda request: None)
    with pytest.raises(ValueError, match="occurs twice"):
        app.get("/{a}/{a}")(lambda request: None)
    with pytest.raises(ValueError, match="no final status"):
        Response("", 100)


async def test_importing_http_brings_no_heavy_package():
    code = (
        "import sys, asyncstack.application.http, asyncstack.application.websocket as w; w.ConnectionClosed; "
        "print([n for n in ('httptools', 'aiofiles', 'websockets') if n in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert output.strip() == b"[]"
