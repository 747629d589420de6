"""A folder as a site."""

import asyncio
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.application import files
from asyncstack.application.http import Application, Headers, StaticFiles
from asyncstack.application.http.conditional import Validators, precondition, range_applies
from asyncstack.application.http.ranges import Unsatisfiable, parse_ranges

LARGE = bytes(range(256)) * 4096  # 1 MiB, more than is read at once
MODIFIED = 784111777
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "www"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / ".git").mkdir()
    (root / ".well-known").mkdir()
    files = {
        "index.html": b"<h1>home</h1>",
        "sub/index.html": b"sub",
        "sub/a b&ü.txt": b"name",
        "digits.txt": b"0123456789",
        "large.bin": LARGE,
        "app.js": b"1",
        "archive.tar.gz": b"gz",
        "nothing": b"",
        ".git/config": b"secret",
        ".env": b"secret",
        ".well-known/acme": b"acme",
    }
    for name, data in files.items():
        (root / name).write_bytes(data)
        os.utime(root / name, (MODIFIED, MODIFIED))
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "www-secret").mkdir()
    (tmp_path / "www-secret" / "x").write_bytes(b"secret")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to("..")
    (root / "sibling").symlink_to(tmp_path / "www-secret")
    (root / "loop").symlink_to("loop")
    (root / "inside").symlink_to("sub")
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "fifo")
    return root


class Site:
    def __init__(self, pair, port):
        self.pair = pair
        self.port = port

    async def ask(self, target: str, *fields: str, method: str = "GET"):
        """(status, headers, body) of one request on a connection of its own."""
        lines = [f"{method} {target} HTTP/1.1", "Host: a", "Connection: close", *fields, "", ""]
        answer = await self.pair.talk(self.port, "\r\n".join(lines).encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *rest = head.decode().split("\r\n")
        headers = Headers(tuple(line.split(": ", 1)) for line in rest)
        return int(status.split()[1]), headers, body


@pytest.fixture
async def site(network_pair, folder):
    app = Application()
    app.mount("/files", StaticFiles(folder, cache_control="no-cache"))
    app.mount("/", StaticFiles(folder))
    return Site(network_pair, await network_pair.serve(app))


@pytest.mark.parametrize(
    ("target", "kind", "body"),
    [
        ("/", "text/html; charset=utf-8", b"<h1>home</h1>"),
        ("/?query=1", "text/html; charset=utf-8", b"<h1>home</h1>"),
        ("/index.html", "text/html; charset=utf-8", b"<h1>home</h1>"),
        ("/sub/", "text/html; charset=utf-8", b"sub"),
        ("/files/sub/", "text/html; charset=utf-8", b"sub"),
        ("/sub/a%20b&%C3%BC.txt", "text/plain; charset=utf-8", b"name"),
        ("//sub///a%20b%26%c3%bc.txt", "text/plain; charset=utf-8", b"name"),
        ("/inside/index.html", "text/html; charset=utf-8", b"sub"),
        ("/large.bin", "application/octet-stream", LARGE),
        ("/app.js", "text/javascript; charset=utf-8", b"1"),
        ("/archive.tar.gz", "application/gzip", b"gz"),
        ("/nothing", "application/octet-stream", b""),
        ("/.well-known/acme", "application/octet-stream", b"acme"),
    ],
)
async def test_a_file(site, target, kind, body):
    status, headers, data = await site.ask(target)
    assert (status, headers["content-type"], data) == (200, kind, body)
    assert headers["content-length"] == str(len(body))
    assert (headers["last-modified"], headers["accept-ranges"]) == (DATE, "bytes")
    assert ("cache-control" in headers) == target.startswith("/files")
    status, head, data = await site.ask(target, method="HEAD")
    assert (status, data) == (200, b"")
    for name in ("content-type", "content-length", "etag", "last-modified", "accept-ranges"):
        assert head[name] == headers[name]


@pytest.mark.parametrize(
    "target",
    [
        "/nowhere",
        "/index.html/",
        "/index.html/x",
        "/empty/",
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/sub/../../secret",
        "/sub/%2e%2e/%2e%2e/secret",
        "/....//secret",
        "/.%2e/secret",
        "/./index.html",
        "/%2fetc/passwd",
        "//etc/passwd",
        "/\\..\\secret",
        "/..%5csecret",
        "/out",
        "/up/secret",
        "/up/",
        "/sibling/x",
        "/up/www/../secret",
        "/up/www-secret/x",
        "/loop",
        "/dangling",
        "/fifo",
        "/.git/config",
        "/.env",
        "/%2eenv",
        "/index.html%00",
        "/%00",
        "/" + "x" * 300,
        "/" + "x/" * 2500,
    ],
)
async def test_what_is_not_there(site, target):
    async with asyncio.timeout(2):
        status, _, body = await site.ask(target)
    assert status == 404
    assert b"secret" not in body and b"root:" not in body


async def test_malformed_percent_encoding(site):
    assert (await site.ask("/%ff"))[0] == 400
    assert (await site.ask("/%zz"))[0] == 404


async def test_hidden_files_on_request(network_pair, folder):
    app = Application()
    app.mount("/", StaticFiles(folder, hidden=True))
    site = Site(network_pair, await network_pair.serve(app))
    assert (await site.ask("/.env"))[2] == b"secret"
    assert (await site.ask("/../secret"))[0] == 404


async def test_a_file_that_may_not_be_read(site, monkeypatch):
    def refuse(root, segments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "open_beneath", refuse)
    assert (await site.ask("/digits.txt"))[0] == 403


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/sub", "/sub/"),
        ("/files/sub?a=b", "/files/sub/?a=b"),
        ("//sub", "/sub/"),
        ("/%73ub", "/%73ub/"),
        ("/inside", "/inside/"),
    ],
)
async def test_a_folder_without_its_slash(site, target, location):
    """`//sub/` as a Location would send the browser to a host named sub."""
    status, headers, _ = await site.ask(target)
    assert (status, headers["location"]) == (301, location)


async def test_other_methods(site):
    status, headers, _ = await site.ask("/digits.txt", method="POST")
    assert (status, headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    status, headers, _ = await site.ask("/digits.txt", method="OPTIONS")
    assert (status, headers["allow"]) == (204, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    ("value", "status", "content_range", "body"),
    [
        ("bytes=0-3", 206, "bytes 0-3/10", b"0123"),
        ("bytes=7-", 206, "bytes 7-9/10", b"789"),
        ("bytes=-2", 206, "bytes 8-9/10", b"89"),
        ("bytes=-99", 206, "bytes 0-9/10", b"0123456789"),
        ("bytes=5-99", 206, "bytes 5-9/10", b"56789"),
        ("Bytes=0-0", 206, "bytes 0-0/10", b"0"),
        ("bytes=10-", 416, "bytes */10", None),
        ("bytes=-0", 416, "bytes */10", None),
        ("bytes=99-100,-0", 416, "bytes */10", None),
        ("bytes=3-1", 200, "", b"0123456789"),
        ("bytes=a-b", 200, "", b"0123456789"),
        ("bytes=", 200, "", b"0123456789"),
        ("lines=0-3", 200, "", b"0123456789"),
        ("bytes=0-9,0-9", 200, "", b"0123456789"),
        ("bytes=" + ",".join(["0-0"] * 17), 200, "", b"0123456789"),
    ],
)
async def test_ranges(site, value, status, content_range, body):
    got, headers, data = await site.ask("/digits.txt", f"Range: {value}")
    assert (got, headers.get("content-range")) == (status, content_range)
    if body is not None:
        assert data == body


async def test_a_range_of_a_large_file(site):
    status, _, body = await site.ask("/large.bin", "Range: bytes=100000-700000")
    assert status == 206
    assert body == LARGE[100_000:700_001]


async def test_several_ranges(site):
    status, headers, body = await site.ask("/digits.txt", "Range: bytes=0-1, 99-, -3")
    assert status == 206
    assert "content-range" not in headers
    kind, _, boundary = headers["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    fields = "Content-Type: text/plain; charset=utf-8\r\nContent-Range: bytes"
    expected = (
        f"\r\n--{boundary}\r\n{fields} 0-1/10\r\n\r\n01"
        f"\r\n--{boundary}\r\n{fields} 7-9/10\r\n\r\n789"
        f"\r\n--{boundary}--\r\n"
    )
    assert body.decode() == expected


async def test_head_ignores_ranges(site):
    status, headers, _ = await site.ask("/digits.txt", "Range: bytes=0-1", method="HEAD")
    assert (status, headers["content-length"]) == (200, "10")


async def test_conditions(site):
    _, headers, _ = await site.ask("/digits.txt")
    etag = headers["etag"]

    async def ask(*fields, method="GET"):
        status, _, body = await site.ask("/digits.txt", *fields, method=method)
        assert status != 304 or body == b""
        return status, body

    assert await ask(f"If-None-Match: {etag}") == (304, b"")
    assert await ask(f'If-None-Match: "x", W/{etag}', method="HEAD") == (304, b"")
    assert (await ask(f"If-Modified-Since: {DATE}"))[0] == 304
    assert (await ask('If-None-Match: "x"', f"If-Modified-Since: {DATE}"))[0] == 200
    assert (await ask('If-Match: "x"'))[0] == 412
    assert await ask(f"If-Range: {etag}", "Range: bytes=0-1") == (206, b"01")
    assert await ask('If-Range: "old"', "Range: bytes=0-1") == (200, b"0123456789")
    assert await ask(f"If-Range: {DATE}", "Range: bytes=0-1") == (206, b"01")


async def test_another_version_has_another_tag(site, folder):
    tags = set()
    for data, when in ((b"0123456789", MODIFIED), (b"0123456789", MODIFIED + 1), (b"012345678", MODIFIED)):
        (folder / "digits.txt").write_bytes(data)
        os.utime(folder / "digits.txt", (when, when))
        tags.add((await site.ask("/digits.txt"))[1]["etag"])
    assert len(tags) == 3


async def test_a_file_that_shrinks_while_it_is_sent(site, folder, caplog):
    """The answer announced more bytes than there are now: the connection ends early."""
    size = 64 * 1024 * 1024
    with open(folder / "large.bin", "wb") as file:
        file.truncate(size)
    reader, writer = await site.pair.connect(site.port)
    writer.write(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    received = len(await reader.read(1000))
    os.truncate(folder / "large.bin", 1000)
    try:
        while data := await reader.read(1 << 20):
            received += len(data)
    except ConnectionResetError:
        pass
    assert received < size
    assert "broke off" in caplog.text


async def test_files_are_closed(site):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await site.ask("/large.bin")
        await site.ask("/large.bin", method="HEAD")
        await site.ask("/large.bin", "Range: bytes=99999999-")
        await site.ask("/large.bin", "If-None-Match: *")
        await site.ask("/large.bin", "Range: bytes=1-2")
    for task in [asyncio.create_task(site.ask("/large.bin")) for _ in range(5)]:
        await asyncio.sleep(0.002)
        task.cancel()
    for writer in site.pair.writers:
        writer.transport.abort()
    async with asyncio.timeout(5):
        while len(os.listdir("/proc/self/fd")) > before:
            await asyncio.sleep(0.01)


async def test_a_thread_that_works_for_somebody_who_has_gone(folder):
    """The descriptor is closed when the thread is done with it, neither before nor never."""
    before = sorted(os.listdir("/proc/self/fd"))
    for step in range(2):
        file = await files.OpenFile.beneath(str(folder), ["large.bin"]) if step else None
        work = file.read(1000) if file else files.OpenFile.beneath(str(folder), ["large.bin"])
        task = asyncio.create_task(work)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if file:
            file.close()
    async with asyncio.timeout(5):
        while sorted(os.listdir("/proc/self/fd")) != before:
            await asyncio.sleep(0.01)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(NotADirectoryError, match="is no folder"):
        StaticFiles(tmp_path / "nowhere")


@given(st.integers(min_value=0, max_value=50), st.text(alphabet="0123456789-, abytes=", max_size=30))
def test_any_range_lies_in_the_file(size, text):
    try:
        parts = parse_ranges("bytes=" + text, size)
    except Unsatisfiable:
        return
    for start, length in parts or []:
        assert 0 <= start < start + length <= size


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("If-None-Match", "*", 304),
        ("If-None-Match", '"a"', 304),
        ("If-None-Match", 'W/"a"', 304),
        ("If-None-Match", '"b", "a"', 304),
        ("If-None-Match", '"b,a"', 200),
        ("If-None-Match", "a", 200),
        ("If-None-Match", "", 200),
        ("If-Match", "*", 200),
        ("If-Match", '"a"', 200),
        ("If-Match", 'W/"a"', 412),
        ("If-Match", '"b"', 412),
        ("If-Modified-Since", DATE, 304),
        ("If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT", 304),
        ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:36 GMT", 200),
        ("If-Modified-Since", "yesterday", 200),
        ("If-Unmodified-Since", DATE, 200),
        ("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:36 GMT", 412),
        ("If-Unmodified-Since", "x", 200),
    ],
)
def test_precondition(field, value, status):
    assert precondition(Headers({field: value}), Validators('"a"', MODIFIED)) == status


@pytest.mark.parametrize(
    ("value", "applies"),
    [("", True), ('"a"', True), ('W/"a"', False), ('"b"', False), (DATE, True), ("x", False)],
)
def test_if_range(value, applies):
    headers = Headers({"If-Range": value} if value else {})
    assert range_applies(headers, Validators('"a"', MODIFIED)) is applies
