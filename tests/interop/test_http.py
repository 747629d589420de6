"""curl of the kernel's side against asyncstack's HTTP server, and its HTTP client against a server over there."""

import hashlib
import random

import pytest

from asyncstack.application.http import Application, HttpClient, Response, StaticFiles
from tests.interop.kernel import peer, run
from tests.interop.medium import BOTH_FAMILIES, OURS, TAP, TUN

pytestmark = pytest.mark.tun

PAGE = b"<html>" + b"x" * 5000 + b"</html>"
LARGE = random.Random(1).randbytes(1_000_000)
BOTH = pytest.mark.parametrize(("medium", "ours", "peer_address"), BOTH_FAMILIES)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
async def site(peered, tmp_path):
    """The application on port 80 of every address of ours."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "large.bin").write_bytes(LARGE)
    app = Application()

    @app.get("/")
    async def page(request):
        return Response(PAGE, headers={"content-type": "text/html"})

    @app.route("/digest", ("POST", "PUT"), body_size=0)
    async def digest(request):
        state = hashlib.sha256()
        async for piece in request.stream():
            state.update(piece)
        return state.hexdigest()

    app.mount("/files", StaticFiles(folder))
    server = await peered.stack.start_server(app.handle, None, 80)
    yield folder
    server.close()
    await app.shutdown(2)


def url(address: str, path: str) -> str:
    return f"http://[{address}]{path}" if ":" in address else f"http://{address}{path}"


@BOTH
async def test_curl(site, ours, peer_address, tmp_path):
    quiet = ("-sS", "--fail", "--noproxy", "*", "--max-time", "20")
    assert (await run("curl", *quiet, url(ours, "/"))).encode() == PAGE
    # a download, twice over one connection
    here = [tmp_path / "1", tmp_path / "2"]
    source = url(ours, "/files/large.bin")
    text = await run(
        "curl",
        *quiet,
        "-w",
        "%{http_code} %{num_connects}\n",
        "-o",
        str(here[0]),
        source,
        "-o",
        str(here[1]),
        source,
    )
    assert text.split() == ["200", "1", "200", "0"]
    assert [path.read_bytes() == LARGE for path in here] == [True, True]
    # uploads, with a length (and Expect: 100-continue) and chunked
    upload = ("-T", str(site / "large.bin"))
    assert await run("curl", *quiet, *upload, url(ours, "/digest")) == sha256(LARGE)
    chunked = ("-H", "Transfer-Encoding: chunked")
    assert await run("curl", *quiet, *upload, *chunked, url(ours, "/digest")) == sha256(LARGE)


@pytest.mark.parametrize("medium", [TUN, TAP])
async def test_fifty_requests_of_curl_at_once(site):
    globbed = url(OURS, "/?[1-50]")
    text = await run(
        "curl", "-sS", "--noproxy", "*", "-Z", "--parallel-max", "50", "-w", "\n%{http_code}\n", globbed
    )
    assert text.count(PAGE.decode()) == 50
    assert text.count("\n200\n") == 50


@BOTH
async def test_stack_client_of_a_kernel_server(site, peered, ours, peer_address):
    async with peer("http_server", host=peer_address, folder=str(site)) as program:
        port = (await program.said())["port"]
        there = f"[{peer_address}]" if ":" in peer_address else peer_address
        async with HttpClient(peered.stack.open_connection) as client:
            for _ in range(2):
                response = await client.get(f"http://{there}:{port}/large.bin")
                assert (response.status, sha256(await response.read())) == (200, sha256(LARGE))
