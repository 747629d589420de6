"""WebSocket, both sides ours, and against hand-made frames."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode

from asyncstack.application.http import Application
from asyncstack.application.websocket import ConnectionClosed, HandshakeError, connect
from asyncstack.application.websocket.queue import MessageQueue

MIB = 1024 * 1024

HANDSHAKE = (
    b"GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


def application(**options) -> Application:
    app = Application()
    app.seen = []

    @app.websocket("/echo", **options)
    async def echo(ws):
        try:
            async for message in ws:
                await ws.send(message)
        except ConnectionClosed as closed:
            app.seen.append(closed)
            raise

    @app.websocket("/chat", subprotocols=["v2", "v1"], origins=["http://good", None])
    async def chat(ws):
        await ws.send(f"{ws.subprotocol} {ws.request.query} {ws.request.headers.get('x-test')}")

    @app.websocket("/fail")
    async def fail(ws):
        raise RuntimeError("boom")

    @app.websocket("/close/{code:int}")
    async def close(ws):
        await ws.close(ws.request.params["code"], "as you wish")

    @app.get("/echo")
    async def page(request):
        return "a page"

    return app


@pytest.fixture
async def dial(network_pair):
    """`dial(app, path, **options)`: what `connect` gives for `path` of `app`."""

    async def dial(app, path="/echo", **options):
        port = await network_pair.serve(app)
        uri = f"ws://{network_pair.host}:{port}{path}"
        return connect(uri, open_connection=network_pair.open_connection, **options)

    return dial


async def raw(pair, app, fields=b""):
    """Streams of a WebSocket that was opened by hand."""
    reader, writer = await pair.connect(await pair.serve(app))
    writer.write(HANDSHAKE + fields + b"\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    return reader, writer


def frame(opcode, data=b"", fin=True):
    return Frame(opcode, data, fin).serialize(mask=True)


async def all_closed(app):
    async with asyncio.timeout(5):
        while app.connections:
            await asyncio.sleep(0.01)


async def read_frame(reader):
    """(first byte, payload) of the next unmasked frame."""
    first, length = await reader.readexactly(2)
    if length == 126:
        length = int.from_bytes(await reader.readexactly(2), "big")
    elif length == 127:
        length = int.from_bytes(await reader.readexactly(8), "big")
    return first, await reader.readexactly(length)


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("message", ["", "text ü", b"", b"\0\xff", "x" * 300_000, b"y" * 70_000])
async def test_echo(dial, compression, message):
    async with await dial(application(compression=compression)) as ws:
        await ws.send(message)
        assert await ws.recv() == message


async def test_compression_is_used(network_pair):
    sent = 0

    async def counting(host, port):
        nonlocal sent
        reader, writer = await network_pair.open_connection(host, port)
        write = writer.transport.write

        class Counting:
            def __getattr__(self, name):
                return getattr(writer, name)

            def write(self, data):
                nonlocal sent
                sent += len(data)
                write(data)

        return reader, Counting()

    port = await network_pair.serve(application())
    async with connect(f"ws://{network_pair.host}:{port}/echo", open_connection=counting) as ws:
        sent = 0
        await ws.send("x" * 100_000)
        assert len(await ws.recv()) == 100_000
        assert sent < 2000


async def test_fragments(network_pair, dial):
    async def pieces():
        for piece in (b"a", b"", b"bc"):
            yield piece

    async with await dial(application()) as ws:
        for message, expected in (
            (["a", "bü", "c"], "abüc"),
            (pieces(), b"abc"),
            ([b"one"], b"one"),
            ([], b""),
        ):
            await ws.send(message)
            assert await ws.recv() == expected
        with pytest.raises(TypeError, match="all str or all bytes"):
            await ws.send(["a", b"b"])
        await ws.send("still there")
        assert await ws.recv() == "still there"
    reader, writer = await raw(network_pair, application())
    cut = "ü".encode()
    writer.write(frame(Opcode.TEXT, cut[:1], False) + frame(Opcode.PING, b"between"))
    assert await read_frame(reader) == (0x8A, b"between")
    writer.write(frame(Opcode.CONT, cut[1:], True))
    assert await read_frame(reader) == (0x81, cut)


async def test_a_message_that_breaks_off_ends_the_connection(dial):
    """Nothing else can be sent after half a message."""

    async def pieces():
        yield "a"
        yield "b"
        raise KeyError("no more")

    app = application()
    async with await dial(app) as ws:
        with pytest.raises(KeyError):
            await ws.send(pieces())
        with pytest.raises(ConnectionClosed) as caught:
            await ws.recv()
        assert (caught.value.code, caught.value.clean) == (1011, False)
    await all_closed(app)
    assert app.seen[0].code == 1011


async def test_a_long_fragmented_message_does_not_interleave_with_others(dial):
    go_on = asyncio.Event()

    async def pieces():
        yield "a"
        await go_on.wait()
        yield "b"

    async with await dial(application()) as ws:
        first = asyncio.create_task(ws.send(pieces()))
        await asyncio.sleep(0)
        second = asyncio.create_task(ws.send("c"))
        assert await ws.ping() < 1
        go_on.set()
        await asyncio.gather(first, second)
        assert [await ws.recv(), await ws.recv()] == ["ab", "c"]


async def test_ping(dial):
    async with await dial(application()) as ws:
        assert ws.latency == 0.0
        assert 0 < await ws.ping() < 1
        assert ws.latency > 0
        assert all(0 < latency < 1 for latency in await asyncio.gather(*(ws.ping() for _ in range(5))))
    with pytest.raises(ConnectionClosed):
        await ws.ping()


async def test_a_pong_answers_all_pings_before_it(network_pair):
    app = Application()
    results = []

    @app.websocket("/echo", ping_interval=None)
    async def ping(ws):
        results.extend(await asyncio.gather(*(ws.ping() for _ in range(3))))

    reader, writer = await raw(network_pair, app)
    pings = [await read_frame(reader) for _ in range(3)]
    assert len({data for _, data in pings}) == 3
    writer.write(frame(Opcode.PONG, b"unasked") + frame(Opcode.PONG, pings[2][1]))
    assert await read_frame(reader) == (0x88, Close(1000, "").serialize())
    assert len(results) == 3


async def test_keepalive(dial):
    """Pings keep an idle connection; the pongs of the other side are enough."""
    options = {"ping_interval": 0.02, "ping_timeout": 0.5}
    async with await dial(application(**options), **options) as ws:
        async with asyncio.timeout(5):
            while ws.latency == 0.0:
                await asyncio.sleep(0.01)
        await ws.send("alive")
        assert await ws.recv() == "alive"


async def test_a_peer_that_does_not_answer_pings_is_given_up(network_pair):
    app = application(ping_interval=0.02, ping_timeout=0.05, close_timeout=0.05)
    reader, _ = await raw(network_pair, app)
    assert (await read_frame(reader))[0] == 0x89
    assert await read_frame(reader) == (0x88, Close(1011, "keepalive ping timeout").serialize())
    await all_closed(app)
    assert app.seen[0].code == 1011


async def test_a_slow_application_is_no_dead_peer(network_pair):
    """While messages wait to be taken, pongs behind them are not read: that must not end the connection."""
    app = Application()
    got = []

    @app.websocket("/echo", ping_interval=0.02, ping_timeout=0.04, queue_messages=2, compression=None)
    async def slow(ws):
        await asyncio.sleep(0.3)
        async for message in ws:
            got.append(len(message))

    port = await network_pair.serve(app)
    uri = f"ws://{network_pair.host}:{port}/echo"
    async with connect(uri, open_connection=network_pair.open_connection) as ws:
        for _ in range(10):
            await ws.send(bytes(200_000))
    await all_closed(app)
    assert got == [200_000] * 10


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
async def test_closing_from_either_side(dial, code):
    app = application()
    async with await dial(app, f"/close/{code}") as ws:
        with pytest.raises(ConnectionClosed) as caught:
            await ws.recv()
        assert (caught.value.code, caught.value.reason) == (code, "as you wish")
        assert caught.value.clean == (code <= 1001)
        with pytest.raises(ConnectionClosed):
            await ws.send("late")
    async with await dial(app) as ws:
        await ws.close(code, "bye")
        with pytest.raises(ConnectionClosed):
            await ws.recv()
    await all_closed(app)
    assert [(closed.code, closed.reason) for closed in app.seen] == ([] if code <= 1001 else [(code, "bye")])


async def test_iteration_ends_with_a_clean_close(dial):
    async with await dial(application(), "/close/1000") as ws:
        assert [message async for message in ws] == []
    async with await dial(application(), "/close/4000") as ws:
        with pytest.raises(ConnectionClosed):
            async for _ in ws:
                pass


@pytest.mark.parametrize("code", [0, 999, 1005, 1006, 1015, 5000])
async def test_codes_that_may_not_be_sent(dial, code):
    async with await dial(application()) as ws:
        with pytest.raises(ValueError, match=f"close code {code}"):
            await ws.close(code)


async def test_a_peer_that_does_not_close(network_pair):
    """The close handshake has a time limit; then the connection is reset."""
    app = Application()

    @app.websocket("/echo", close_timeout=0.05)
    async def leave(ws):
        pass

    reader, _ = await raw(network_pair, app)
    assert (await read_frame(reader))[0] == 0x88
    await all_closed(app)


async def test_a_peer_that_vanishes(network_pair):
    app = application()
    _, writer = await raw(network_pair, app)
    writer.transport.abort()
    await all_closed(app)
    assert [(closed.code, closed.clean) for closed in app.seen] == [(1006, False)]


async def test_a_handler_that_fails(dial, caplog):
    async with await dial(application(), "/fail") as ws:
        with pytest.raises(ConnectionClosed) as caught:
            await ws.recv()
    assert caught.value.code == 1011
    assert "boom" in caplog.text


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(Opcode.TEXT, b"x" * 1001), 1009),
        (frame(Opcode.TEXT, b"x" * 600, False) + frame(Opcode.CONT, b"x" * 600), 1009),
        (frame(Opcode.TEXT, b"\xff"), 1007),
        (frame(Opcode.CONT, b"x"), 1002),
        (frame(Opcode.TEXT, b"x", False) + frame(Opcode.TEXT, b"x"), 1002),
        (frame(Opcode.CLOSE, b"x"), 1002),
        (frame(Opcode.CLOSE, (1005).to_bytes(2, "big")), 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x81\x01x", 1002),
        (b"\xf1\x80\0\0\0\0", 1002),
        (b"\x09\x80\0\0\0\0", 1002),
        (b"\x89\xfe\0\x7e" + bytes(4 + 126), 1002),
    ],
    ids=itertools.count(),  # the masks are random
)
async def test_violations(network_pair, sent, code):
    """Too large, no UTF-8, a fragment out of place, a bad close, an unknown opcode, no mask, a reserved bit,
    a fragmented ping, a ping too long: all closed with the code that RFC 6455 section 7.4.1 gives."""
    reader, writer = await raw(network_pair, application(max_size=1000))
    writer.write(sent)
    opcode, data = await read_frame(reader)
    assert (opcode, int.from_bytes(data[:2], "big")) == (0x88, code)
    assert await reader.read() == b""


async def test_a_bomb_of_compressed_zeros(dial):
    app = application(max_size=100_000)
    async with await dial(app) as ws:
        await ws.send(bytes(10 * MIB))
        with pytest.raises(ConnectionClosed) as caught:
            await ws.recv()
        assert caught.value.code == 1009


async def test_frames_right_behind_the_handshake(network_pair):
    reader, writer = await network_pair.connect(await network_pair.serve(application()))
    writer.write(HANDSHAKE + b"\r\n" + frame(Opcode.TEXT, b"early"))
    await reader.readuntil(b"\r\n\r\n")
    assert await read_frame(reader) == (0x81, b"early")


async def test_a_reader_that_does_not_read_stops_the_sender(dial):
    """Both queues, both stream buffers and the kernel's are full: then `send` waits."""
    app = Application()
    go_on = asyncio.Event()
    total = 0

    @app.websocket("/echo", compression=None, queue_size=MIB, queue_messages=1000)
    async def sink(ws):
        nonlocal total
        await go_on.wait()
        async for message in ws:
            total += len(message)

    sent = 0
    async with await dial(app, compression=None) as ws:

        async def pour():
            nonlocal sent
            while sent < 40 * MIB:
                await ws.send(bytes(65536))
                sent += 65536

        pouring = asyncio.create_task(pour())
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert 0 < sent < 24 * MIB
        go_on.set()
        await pouring
    assert total == sent


async def test_the_queue_is_bounded_for_compressed_messages(network_pair, dial):
    """A read of 64 KiB could hold a thousand messages of a megabyte: the queue is looked at in between."""
    app = Application()
    waiting = asyncio.Event()

    @app.websocket("/echo", queue_size=MIB, queue_messages=10_000)
    async def idle(ws):
        while not ws._queue.full:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # for whatever else is going to come
        app.held = ws._queue._size
        waiting.set()

    async with await dial(app) as ws:
        message = bytes(MIB)
        for _ in range(32):
            await ws.send(message)
        await waiting.wait()
        assert MIB <= app.held <= 8 * MIB


async def test_a_peer_that_takes_nothing_is_cut_off(network_pair):
    app = Application()
    closed = asyncio.Event()

    @app.websocket("/echo", compression=None, write_time=0.2)
    async def flood(ws):
        try:
            while True:
                await ws.send(bytes(65536))
        except ConnectionClosed:
            closed.set()

    await raw(network_pair, app)
    async with asyncio.timeout(5):
        await closed.wait()


async def test_a_flood_of_pings_is_bounded(network_pair):
    """Pongs that nobody reads stop the reading of pings."""
    app = application(write_time=0.3)
    _, writer = await raw(network_pair, app)
    pings = frame(Opcode.PING, b"x" * 125) * 1000
    sent = 0
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(10):
            while True:
                writer.write(pings)
                await writer.drain()
                sent += len(pings)
    assert sent < 64 * MIB
    await all_closed(app)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((b"Version: 13", b"Version: 12"), 426),
        ((b"Key: dGhlIHNhbXBsZSBub25jZQ==", b"Key: short"), 400),
        ((b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""), 400),
        ((b"/echo", b"/nowhere"), 404),
        ((b"GET /echo", b"POST /echo"), 405),
        ((b"keep-alive, Upgrade", b"keep-alive"), 200),
        ((b"Upgrade: websocket", b"Upgrade: h2c"), 200),
        ((b"GET /echo", b"GET /chat"), 101),
        ((b"GET /echo HTTP/1.1\r\n", b"GET /chat HTTP/1.1\r\nOrigin: http://good\r\n"), 101),
        ((b"GET /echo HTTP/1.1\r\n", b"GET /chat HTTP/1.1\r\nOrigin: http://evil\r\n"), 403),
        ((b"GET /echo HTTP/1.1\r\n", b"GET /fail HTTP/1.1\r\nOrigin: http://evil\r\n"), 101),
        ((b"Host: a\r\n", b"Host: a\r\nX: " + b"y" * 20_000 + b"\r\n"), 101),
    ],
)
async def test_the_upgrade_is_checked(network_pair, change, status):
    reader, writer = await network_pair.connect(await network_pair.serve(application()))
    writer.write(HANDSHAKE.replace(*change) + b"\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    if status == 426:
        assert b"Sec-WebSocket-Version: 13\r\n" in head


async def test_a_websocket_route_without_a_page(network_pair):
    port = await network_pair.serve(application())
    answer = await network_pair.talk(port, b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert b"Upgrade: websocket\r\n" in answer


async def test_subprotocol_and_headers(dial):
    async with await dial(
        application(), "/chat?a=b", subprotocols=["v1", "v2"], origin="http://good", headers={"X-Test": "y"}
    ) as ws:
        assert ws.subprotocol == "v2"
        assert await ws.recv() == "v2 {'a': 'b'} y"
    for path in ("/chat", "/echo"):
        async with await dial(application(), path, subprotocols=["v3"]) as ws:
            assert ws.subprotocol is None


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/chat", 403)])
async def test_a_handshake_that_is_refused(dial, path, status):
    with pytest.raises(HandshakeError, match=f"the server answered {status}") as caught:
        async with await dial(application(), path, origin="http://evil"):
            pass
    assert caught.value.status == status


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 101 S\r\n",
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 101 S\r\n\r\n",
        b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        b"HTTP/1.1 302 F\r\nLocation: /\r\n\r\n",
        b"X" * 100_000,
    ],
)
async def test_a_server_that_is_none(network_pair, answer):
    async def handle(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    port = await network_pair.serve_raw(handle)
    with pytest.raises((HandshakeError, ConnectionError)):
        await connect(f"ws://{network_pair.host}:{port}/", open_connection=network_pair.open_connection)


async def test_a_server_that_says_nothing(network_pair):
    async def handle(reader, writer):
        await reader.read()
        writer.close()

    port = await network_pair.serve_raw(handle)
    with pytest.raises(TimeoutError):
        await connect(
            f"ws://{network_pair.host}:{port}/",
            open_connection=network_pair.open_connection,
            open_timeout=0.05,
        )


async def test_shutdown_says_goodbye(network_pair, dial):
    app = application()
    async with await dial(app) as ws:
        await ws.send("x")
        await ws.recv()
        stopping = asyncio.create_task(app.shutdown(5))
        with pytest.raises(ConnectionClosed) as caught:
            await ws.recv()
        assert (caught.value.code, caught.value.reason) == (1001, "going away")
        await stopping
    assert app.connections == 0


async def test_many_websockets_leave_nothing_behind(network_pair):
    app = application()
    port = await network_pair.serve(app)
    before = len(asyncio.all_tasks())

    async def one(n):
        uri = f"ws://{network_pair.host}:{port}/echo"
        async with connect(uri, open_connection=network_pair.open_connection) as ws:
            await ws.send(str(n))
            return await ws.recv()

    assert await asyncio.gather(*(one(n) for n in range(50))) == [str(n) for n in range(50)]
    async with asyncio.timeout(5):
        while app.connections or len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.01)


async def test_errors_of_use(dial):
    with pytest.raises(ValueError, match="give ws://"):
        connect("http://a/")
    with pytest.raises(ValueError, match="give 'deflate' or None"):
        connect("ws://a/", compression="gzip")
    with pytest.raises(TypeError):
        connect("ws://a/", no_such_option=1)
    async with await dial(application()) as ws:
        first = asyncio.create_task(ws.recv())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await ws.recv()
        first.cancel()
        await asyncio.wait([first])
        await ws.send("after a cancelled recv")
        assert await ws.recv() == "after a cancelled recv"


@given(st.lists(st.one_of(st.binary(max_size=9), st.none()), max_size=40))
def test_queue(steps):
    """None takes a message; the queue is full from the limit until half of it is gone."""
    queue = MessageQueue(6, 24)
    expected: list[bytes] = []
    for step in steps:
        if step is not None:
            queue.put(step)
            expected.append(step)
            if len(expected) >= 6 or sum(map(len, expected)) >= 24:
                assert queue.full
        elif expected:
            with pytest.raises(StopIteration) as result:
                queue.get().send(None)
            assert result.value.value == expected.pop(0)
            if len(expected) <= 3 and sum(map(len, expected)) <= 12:
                assert not queue.full
