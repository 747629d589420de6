"""The HTTP client, against our server and against servers that misbehave."""

import asyncio

import pytest

from asyncstack.application.http import (
    Application,
    BadResponse,
    BodyTruncated,
    ClientLimits,
    HttpClient,
    LimitExceeded,
    Response,
    TooManyRedirects,
    fetch,
)
from asyncstack.application.http.url import follow, parse_url

MIB = 1024 * 1024


def application() -> Application:
    app = Application()

    @app.route("/echo", ("GET", "POST", "PUT", "DELETE"))
    async def echo(request):
        body = await request.body()
        fields = {name.lower(): value for name, value in request.headers}
        return Response.json(
            {"method": request.method, "headers": fields, "body": body.decode(), "query": request.query}
        )

    @app.post("/pipe", body_size=0)
    async def pipe(request):
        return Response(request.stream())

    @app.get("/size/{n:int}")
    async def size(request):
        return b"x" * request.params["n"]

    @app.get("/stream/{n:int}")
    async def stream(request):
        async def pieces():
            for _ in range(request.params["n"]):
                yield b"x" * 1000

        return Response(pieces())

    @app.route("/to/{status:int}/{path:path}", ("GET", "POST", "PUT", "HEAD"))
    async def to(request):
        return Response("moved", request.params["status"], {"Location": "/" + request.params["path"]})

    return app


@pytest.fixture
async def base(network_pair):
    return f"http://{network_pair.host}:{await network_pair.serve(application())}"


@pytest.fixture
async def client(network_pair):
    async with HttpClient(network_pair.open_connection) as client:
        yield client


async def scripted(pair, *answers, requests=None):
    """A server that sends `answers`, one for each head that it reads, in turn over all connections, and then
    closes that connection if the answer is a tuple (answer,). Returns the base URL."""
    left = list(answers)

    async def handle(reader, writer):
        try:
            while left:
                head = await reader.readuntil(b"\r\n\r\n")
                if requests is not None:
                    requests.append(head)
                answer = left.pop(0)
                writer.write(answer[0] if isinstance(answer, tuple) else answer)
                if isinstance(answer, tuple):
                    break
            else:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    return f"http://{pair.host}:{await pair.serve_raw(handle)}/"


async def test_a_request(client, base):
    response = await client.get(base + "/echo?a=1&b=%C3%BC&c=ü x", headers={"X-Test": "yes"})
    assert (response.status, response.reason, response.version) == (200, "OK", "1.1")
    assert response.headers["content-type"] == "application/json"
    echoed = await response.json()
    assert echoed["method"] == "GET"
    assert echoed["query"] == {"a": "1", "b": "ü", "c": "ü x"}
    assert echoed["headers"]["x-test"] == "yes"
    assert echoed["headers"]["host"] == base.removeprefix("http://")
    assert "content-length" not in echoed["headers"]


async def test_bodies_up(client, base):
    async def pieces():
        yield b"one"
        yield b""
        yield b"two"

    echoed = await (await client.post(base + "/echo", "text")).json()
    assert (echoed["body"], echoed["headers"]["content-length"]) == ("text", "4")
    echoed = await (await client.post(base + "/echo")).json()
    assert echoed["headers"]["content-length"] == "0"
    echoed = await (await client.put(base + "/echo", pieces())).json()
    assert (echoed["body"], echoed["headers"]["transfer-encoding"]) == ("onetwo", "chunked")
    echoed = await (await client.put(base + "/echo", pieces(), headers={"Content-Length": "6"})).json()
    assert (echoed["body"], echoed["headers"]["content-length"]) == ("onetwo", "6")
    assert client.pool.size == 1


async def test_connections_are_kept(client, base):
    for path in ("/size/0", "/size/10", "/size/1000000", "/stream/3", "/nowhere"):
        response = await client.get(base + path)
        await client.head(base + path)
        assert (client.pool.size, client.pool.idle) == (1, 1), path
        if path.startswith("/size"):
            assert len(await response.read()) == int(path.split("/")[2])


async def test_the_pool_is_bounded(network_pair, base):
    limits = ClientLimits(idle_per_origin=2, idle_total=3)
    other = f"http://{network_pair.host}:{await network_pair.serve(application())}"
    async with HttpClient(network_pair.open_connection, limits=limits) as client:
        await asyncio.gather(*(client.get(base + "/stream/5") for _ in range(6)))
        assert client.pool.idle == 2
        await asyncio.gather(*(client.get(other + "/stream/5") for _ in range(6)))
        assert client.pool.idle == 3


async def test_what_is_idle_for_long_is_closed(network_pair, base):
    async with HttpClient(network_pair.open_connection, limits=ClientLimits(idle_time=0.3)) as client:
        await client.get(base + "/stream/5")
        assert client.pool.size == 1
        async with asyncio.timeout(5):
            while client.pool.size:
                await asyncio.sleep(0.01)
        assert client.pool.idle == 0


async def test_streams_both_ways_at_once(client, base):
    """More than all buffers hold: only a client that sends and receives at the same time gets through."""
    total = 24 * MIB

    async def pieces():
        for _ in range(total // 65536):
            yield bytes(65536)

    received = 0
    async with client.stream("POST", base + "/pipe", body=pieces()) as response:
        async for piece in response:
            received += len(piece)
    assert received == total
    assert client.pool.idle == 1


async def test_a_stream_that_is_not_read_to_its_end_costs_the_connection(client, base):
    async with client.stream("GET", base + "/stream/100000") as response:
        assert await anext(aiter(response))
    assert client.pool.size == 0
    with pytest.raises(KeyError):
        async with client.stream("GET", base + "/stream/3") as response:
            raise KeyError
    assert client.pool.size == 0


async def test_a_slow_reader_slows_the_server_down(network_pair, client):
    produced = 0
    app = Application()

    @app.get("/")
    async def flood(request):
        async def pieces():
            nonlocal produced
            while True:
                produced += 65536
                yield bytes(65536)

        return Response(pieces())

    port = await network_pair.serve(app)
    async with client.stream("GET", f"http://{network_pair.host}:{port}/") as response:
        await anext(aiter(response))
        before = -1
        while produced != before:
            before = produced
            await asyncio.sleep(0.05)
        assert produced < 16 * MIB


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        ((b"HTTP/1.0 200 OK\r\n\r\nuntil the end",), b"until the end"),
        ((b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",), b"abc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\n", b"abc"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", b""),
    ],
)
async def test_bodies_down(network_pair, client, answer, body):
    url = await scripted(network_pair, answer)
    assert await (await client.get(url)).read() == body
    assert client.pool.idle == (0 if isinstance(answer, tuple) else 1)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((b"",), ConnectionError),
        ((b"HTTP/1.1 200 OK\r\nContent-",), BodyTruncated),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",), BodyTruncated),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",), BodyTruncated),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", BadResponse),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", BadResponse),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, BadResponse),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", BadResponse),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 100, BadResponse),
        (b"SSH-2.0-OpenSSH\r\n\r\n", BadResponse),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", BadResponse),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 2_000_000, LimitExceeded),
    ],
)
async def test_what_can_not_be_trusted(network_pair, answer, error):
    url = await scripted(network_pair, answer)
    async with HttpClient(network_pair.open_connection, limits=ClientLimits(body_size=MIB)) as client:
        with pytest.raises(error):
            await client.get(url)
        assert client.pool.size == 0


async def test_a_body_after_head_is_not_taken_for_an_answer(network_pair, client):
    """httptools would swallow the next response after HEAD; a server that sends a body there is worse."""
    url = await scripted(
        network_pair,
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/",),
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ndef",
    )
    assert (await client.head(url)).headers["content-length"] == "5"
    assert client.pool.idle == 0
    assert await (await client.get(url)).read() == b"abc"
    assert (await client.head(url)).status == 200


async def test_bytes_on_an_idle_connection_end_it(network_pair, client):
    """An answer to nothing must not become the answer to the next request."""
    requests = []

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        requests.append(1)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await asyncio.sleep(0.02)
        writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 3\r\n\r\nbad")
        await reader.read()
        writer.close()

    url = f"http://{network_pair.host}:{await network_pair.serve_raw(handle)}/"
    for _ in range(2):
        assert await (await client.get(url)).read() == b"ok"
        async with asyncio.timeout(5):
            while client.pool.size:
                await asyncio.sleep(0.005)
    assert len(requests) == 2


@pytest.mark.parametrize(("method", "again"), [("GET", True), ("PUT", True), ("POST", False)])
async def test_a_stale_connection(network_pair, client, method, again):
    """The server closes when it sees the second request: only idempotent methods are sent again, once."""
    requests = []
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    url = await scripted(network_pair, ok, (b"",), ok, requests=requests)
    await client.request(method, url)
    if again:
        assert (await client.request(method, url)).status == 200
        assert len(requests) == 3
    else:
        with pytest.raises(ConnectionError):
            await client.request(method, url)
        assert len(requests) == 2


async def test_a_fresh_connection_that_fails_is_not_tried_again(network_pair, client):
    requests = []
    url = await scripted(network_pair, (b"",), (b"",), requests=requests)
    with pytest.raises(ConnectionError):
        await client.get(url)
    assert len(requests) == 1


async def test_a_stale_connection_and_a_body_that_is_gone(network_pair, client):
    async def pieces():
        yield b"x"

    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    url = await scripted(network_pair, ok, (b"",), ok)
    await client.get(url)
    with pytest.raises(ConnectionError):
        await client.put(url, pieces())


async def test_a_refusal_before_the_body_is_sent(client, base):
    """The server answers 413 at once and lingers; the client stops sending and hands out the answer."""
    sent = 0

    async def pieces():
        nonlocal sent
        while True:
            sent += 65536
            yield bytes(65536)

    response = await client.put(base + "/echo", pieces(), headers={"Content-Length": str(10**9)})
    assert response.status == 413
    assert sent < 64 * MIB
    assert client.pool.size == 0


@pytest.mark.parametrize("length", ["2", "4", ""])
async def test_a_body_that_fails(client, base, length):
    async def pieces():
        yield b"abc"
        if not length:
            raise KeyError("no more")

    headers = {"Content-Length": length} if length else {}
    with pytest.raises(ValueError if length else KeyError):
        await client.put(base + "/pipe", pieces(), headers=headers)
    assert client.pool.size == 0


async def test_redirects(client, base):
    response = await client.get(base + "/to/302/echo", follow_redirects=True)
    assert (response.status, response.url) == (200, base + "/echo")
    assert (await client.get(base + "/to/302/echo")).status == 302

    async def method_after(status, method, body=b""):
        response = await client.request(
            method, f"{base}/to/{status}/echo", body=body, follow_redirects=True, headers={"X": "y"}
        )
        echoed = await response.json()
        assert echoed["headers"]["x"] == "y"
        return echoed["method"], echoed["body"]

    assert await method_after(301, "POST", b"a") == ("GET", "")
    assert await method_after(303, "PUT", b"a") == ("GET", "")
    assert await method_after(307, "POST", b"a") == ("POST", "a")
    assert await method_after(308, "PUT", b"a") == ("PUT", "a")
    assert client.pool.size == 1


async def test_redirects_to_another_origin_take_no_secrets_along(network_pair, client, base):
    url = await scripted(
        network_pair, f"HTTP/1.1 302 F\r\nLocation: {base}/echo\r\nContent-Length: 0\r\n\r\n".encode()
    )
    headers = {"Authorization": "x", "Cookie": "y", "X-Other": "z"}
    echoed = await (await client.get(url, headers=headers, follow_redirects=True)).json()
    assert "authorization" not in echoed["headers"] and "cookie" not in echoed["headers"]
    assert echoed["headers"]["x-other"] == "z"
    assert echoed["headers"]["host"] == base.removeprefix("http://")


async def test_redirects_without_end(network_pair, client):
    loop = b"HTTP/1.1 302 F\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(TooManyRedirects):
        await client.get(await scripted(network_pair, *[loop] * 20), follow_redirects=True)
    away = b"HTTP/1.1 302 F\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(TooManyRedirects):
        await client.get(await scripted(network_pair, away), follow_redirects=True)


@pytest.mark.parametrize("where", ["head", "body", "total"])
async def test_timeouts(network_pair, where):
    answer = b"" if where != "body" else b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"
    limits = ClientLimits(response_time=0.05 if where == "head" else 9, body_time=0.05)
    url = await scripted(network_pair, answer)
    async with HttpClient(network_pair.open_connection, limits=limits) as client:
        with pytest.raises(TimeoutError):
            await client.get(url, timeout=0.05 if where == "total" else None)
        assert client.pool.size == 0


async def test_a_connection_that_does_not_come():
    async def never(host, port):
        await asyncio.Event().wait()

    async with HttpClient(never, limits=ClientLimits(connect_time=0.02)) as client:
        with pytest.raises(TimeoutError, match=r"no connection to a:81 in 0.02 s"):
            await client.get("http://a:81/")


async def test_closing_the_client_ends_requests_on_their_way(network_pair, client):
    url = await scripted(network_pair, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab")
    request = asyncio.create_task(client.get(url))
    while not client.pool.size:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.02)
    await client.close()
    with pytest.raises(ConnectionError):
        await request


async def test_fetch(network_pair, base):
    response = await fetch(base + "/size/3", open_connection=network_pair.open_connection)
    assert await response.text() == "xxx"


@pytest.mark.parametrize(
    ("method", "url", "options"),
    [
        ("GET", "/path", {}),
        ("GET", "ftp://a/", {}),
        ("GET", "http://", {}),
        ("GET", "http://a:99999/", {}),
        ("GET", "http://u:p@a/", {}),
        ("GET", "http://a b/", {}),
        ("G T", "http://a/", {}),
        ("GET\r\nX: y", "http://a/", {}),
        ("CONNECT", "http://a/", {}),
        ("GET", "http://a/", {"headers": {"Transfer-Encoding": "chunked"}}),
    ],
)
async def test_errors_of_use(client, method, url, options):
    with pytest.raises(ValueError):
        await client.request(method, url, **options)


async def test_headers_can_not_be_smuggled(client, base):
    for headers in ({"X": "a\r\nY: b"}, {"X\r\nY": "a"}, {"X ": "a"}, {"X": "a\0"}):
        with pytest.raises(ValueError, match="line break"):
            await client.get(base + "/echo", headers=headers)
    response = await client.get(base + "/echo?a=b HTTP/1.1\r\nX: y")
    assert "x" not in (await response.json())["headers"]


@pytest.mark.parametrize(
    ("text", "origin", "target"),
    [
        ("http://a", ("http", "a", 80), "/"),
        ("HTTPS://A:444/x y?q=1 2#f", ("https", "a", 444), "/x%20y?q=1%202"),
        ("http://[::1]:8080/%41", ("http", "::1", 8080), "/%41"),
        ("http://[fe80::1%25lan]:81/", ("http", "fe80::1%lan", 81), "/"),
        ("http://bücher.example/ü", ("http", "xn--bcher-kva.example", 80), "/%C3%BC"),
    ],
)
def test_urls(text, origin, target):
    url = parse_url(text)
    assert (url.origin.scheme, url.origin.host, url.origin.port) == origin
    assert url.target == target
    assert parse_url(str(url)) == url


def test_rfc6874_4_the_zone_is_nothing_to_the_server():
    assert parse_url("http://[fe80::1%25lan]/").origin.authority == "[fe80::1]"


def test_following():
    base = parse_url("http://a:81/b/c?d")
    assert str(follow(base, "../e")) == "http://a:81/e"
    assert str(follow(base, "//b/x")) == "http://b/x"
