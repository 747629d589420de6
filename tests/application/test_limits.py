"""What one client may cost: sizes, counts, times, memory."""

import asyncio
import time

import pytest

from asyncstack.application.http import Application, Limits, Response
from tests.application.test_server import END, application, bodies

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("limits", "request_", "status"),
    [
        ({"request_line": 100}, b"GET /" + b"x" * 100 + b" HTTP/1.1\r\n" + END, 414),
        ({"head_size": 300}, b"GET /" + b"x" * 400, 414),
        ({"head_size": 300}, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 400, 431),
        ({"head_size": 300}, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 400 + b"\r\n\r\n", 431),
        ({"header_count": 3}, b"GET / HTTP/1.1\r\nA: b\r\nC: d\r\n" + END, 431),
        ({"body_size": 10}, b"POST /length HTTP/1.1\r\nContent-Length: 11\r\n" + END + b"x" * 11, 413),
        ({"body_size": 10}, b"POST /length HTTP/1.1\r\nContent-Length: 900000000\r\n" + END, 413),
        (
            {"body_size": 10},
            b"POST /length HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + END + b"6\r\nabcdef\r\n" * 9,
            413,
        ),
        ({"head_time": 0.05}, b"GET / HTTP/1.1\r\nHost: a\r\nX:", 408),
        ({"body_time": 0.05}, b"POST /length HTTP/1.1\r\nContent-Length: 9\r\n" + END + b"x", 408),
        (
            {"body_rate": 1000, "body_grace": 0.05},
            b"POST /length HTTP/1.1\r\nContent-Length: 9\r\n" + END,
            408,
        ),
    ],
)
async def test_limit(network_pair, limits, request_, status):
    port = await network_pair.serve(application(**limits))
    answer = await network_pair.talk(port, request_)
    assert [code for code, _ in bodies(answer)] == [status]
    assert b"Connection: close" in answer


async def test_a_body_of_just_the_limit(network_pair):
    port = await network_pair.serve(application(body_size=10))
    answer = await network_pair.talk(
        port, b"POST /length HTTP/1.1\r\nContent-Length: 10\r\n" + END + b"x" * 10
    )
    assert bodies(answer) == [(200, b"10")]


async def test_a_route_has_its_own_limit(network_pair):
    app = application(body_size=10)

    @app.post("/large", body_size=20)
    async def large(request):
        return str(len(await request.body()))

    @app.post("/any", body_size=0)
    async def any_size(request):
        return str(len(await request.body()))

    port = await network_pair.serve(app)
    for path, size, status in ((b"/large", 20, 200), (b"/large", 21, 413), (b"/any", 100_000, 200)):
        head = b"POST %s HTTP/1.1\r\nContent-Length: %d\r\n" % (path, size)
        answer = await network_pair.talk(port, head + END + b"x" * size)
        assert bodies(answer)[0][0] == status


async def test_an_answer_reaches_a_client_that_is_still_sending(network_pair):
    """Closing with unread input sends a reset, which would eat the 413 (RFC 9112 section 9.6)."""
    port = await network_pair.serve(application(body_size=10))
    reader, writer = await network_pair.connect(port)
    writer.write(b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (2 * MIB))
    for _ in range(32):
        writer.write(b"x" * 65536)
        await writer.drain()
        await asyncio.sleep(0)
    assert bodies(await reader.read())[0][0] == 413


async def test_the_lingering_is_limited(network_pair):
    app = application(body_size=10, linger_size=100_000, linger_time=30)
    port = await network_pair.serve(app)
    _, writer = await network_pair.connect(port)
    writer.write(b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(5):
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
                await asyncio.sleep(0)


async def test_an_idle_connection_is_closed_without_a_word(network_pair):
    port = await network_pair.serve(application(idle_time=0.25))
    assert await network_pair.talk(port) == b""
    answer = await network_pair.talk(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert bodies(answer) == [(200, b"root")]


async def test_slowloris(network_pair):
    """A byte now and then does not move the deadline of the head; other clients do not notice."""
    port = await network_pair.serve(application(head_time=0.15))

    async def drip():
        reader, writer = await network_pair.connect(port)
        began = time.monotonic()
        answer = asyncio.create_task(reader.read())
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n")
        while not answer.done():
            writer.write(b"X: y\r\n")
            await asyncio.sleep(0.02)
        return bodies(answer.result())[0][0], time.monotonic() - began

    drips = [asyncio.create_task(drip()) for _ in range(20)]
    for _ in range(5):
        assert bodies(await network_pair.talk(port, b"GET / HTTP/1.1\r\n" + END)) == [(200, b"root")]
    for status, seconds in await asyncio.gather(*drips):
        assert status == 408
        assert 0.1 < seconds < 2


async def test_a_body_that_drips(network_pair):
    """Each byte comes in time, all together come too slowly."""
    port = await network_pair.serve(application(body_time=10, body_rate=1000, body_grace=0.1))
    reader, writer = await network_pair.connect(port)
    writer.write(b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
    answer = asyncio.create_task(reader.read())
    async with asyncio.timeout(5):
        while not answer.done():
            writer.write(b"x")
            await asyncio.sleep(0.01)
    assert bodies(answer.result())[0][0] == 408


async def test_a_slow_handler_is_no_slow_client(network_pair):
    """Only the time spent waiting for the body counts."""
    app = application(body_rate=1_000_000, body_grace=0.1, body_time=1)

    @app.post("/slow")
    async def slow(request):
        size = 0
        async for piece in request.stream():
            size += len(piece)
            await asyncio.sleep(0.15)
        return str(size)

    port = await network_pair.serve(app)
    head = b"POST /slow HTTP/1.1\r\nContent-Length: 200000\r\n"
    answer = await network_pair.talk(port, head + END + b"x" * 200_000)
    assert bodies(answer) == [(200, b"200000")]


async def test_a_client_that_never_reads(network_pair, caplog):
    """It is cut off after write_time, and until then costs no more than a write buffer."""
    app = Application(limits=Limits(write_time=0.2))
    produced = 0

    @app.get("/flood")
    async def flood(request):
        async def pieces():
            nonlocal produced
            while True:
                produced += 65536
                yield b"x" * 65536

        return Response(pieces())

    port = await network_pair.serve(app)
    _, writer = await network_pair.connect(port)
    writer.write(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(5):
        while not app.connections:
            await asyncio.sleep(0.01)
        while app.connections:
            await asyncio.sleep(0.01)
    # The kernel's own buffers on both sides hold a few MiB.
    assert 0 < produced < 16 * MIB
    assert not caplog.records


async def test_an_upload_that_nobody_reads_is_held_back(network_pair):
    """The window closes: the server holds what its stream reader holds, not the upload."""
    app = application()
    go_on = asyncio.Event()

    @app.post("/later", body_size=0)
    async def later(request):
        await go_on.wait()
        size = 0
        async for piece in request.stream():
            assert len(piece) <= 65536
            size += len(piece)
        return str(size)

    port = await network_pair.serve(app)
    reader, writer = await network_pair.connect(port)
    size = 64 * MIB
    writer.write(b"POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
    sent = 0

    async def upload():
        nonlocal sent
        while sent < size:
            writer.write(bytes(MIB))
            await writer.drain()
            sent += MIB

    uploading = asyncio.create_task(upload())
    before = -1
    while sent != before:
        before = sent
        await asyncio.sleep(0.1)
    assert sent < 24 * MIB
    go_on.set()
    await uploading
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert int(await reader.readexactly(8)) == size


async def test_pipelined_requests_wait_as_unread_bytes(network_pair):
    """One is in flight; the others are not even parsed."""
    app = application()
    started = 0
    go_on = asyncio.Event()

    @app.get("/wait")
    async def wait(request):
        nonlocal started
        started += 1
        await go_on.wait()
        return "x"

    port = await network_pair.serve(app)
    reader, writer = await network_pair.connect(port)
    writer.write(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" * 500)
    async with asyncio.timeout(5):
        while not started:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert started == 1
    go_on.set()
    writer.write(b"GET /wait HTTP/1.1\r\n" + END)
    assert len(bodies(await reader.read())) == 501


async def test_as_many_requests_as_allowed(network_pair):
    port = await network_pair.serve(application(requests=3))
    answer = await network_pair.talk(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 5)
    assert len(bodies(answer)) == 3
    assert answer.count(b"Connection: close") == 1


async def test_many_connections_leave_nothing_behind(network_pair):
    app = application()
    port = await network_pair.serve(app)
    before = len(asyncio.all_tasks())
    answers = await asyncio.gather(
        *(network_pair.talk(port, b"GET / HTTP/1.1\r\n" + END) for _ in range(100))
    )
    assert all(bodies(answer) == [(200, b"root")] for answer in answers)
    async with asyncio.timeout(5):
        while app.connections or len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.01)
