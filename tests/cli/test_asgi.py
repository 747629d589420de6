"""`asyncstack serve` with ASGI applications, which uvicorn runs on the stack."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.test_published import ANY_PORT, get
from tests.programs import require_package, require_program
from tests.running import Running, cli, run

TUN = ("--tun", "as0", "--address", "10.9.0.2/24", "--address", "fd09::2/64")
PEERS = ("--peer", "10.9.0.1/24", "--peer", "fd09::1/64")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    require_package("uvicorn")
    shutil.copy(Path(__file__).with_name("asgi_applications.py"), tmp_path / "apps.py")
    return tmp_path


@pytest.mark.parametrize(
    "name", ["function", "partial", "instance", "Awaited", "Asgi2", "starlette", "django"]
)
def test_every_shape_of_application(folder, name):
    if name in ("starlette", "django"):
        require_package(name)
    with Running(*cli("serve", f"apps:{name}", *ANY_PORT), cwd=folder) as server:
        assert get(server.url() + "some/path") == b"/some/path"
        status, out, log = server.end()
        assert (status, out) == (0, "")
        assert '"GET /some/path HTTP/1.1" 200 OK' in log


def test_fastapi_published_without_privileges(folder):
    require_package("fastapi")
    with Running(*cli("serve", "apps:fast", *ANY_PORT), cwd=folder) as server:
        url = server.url()
        assert (folder / "begun").exists()
        answer = json.loads(get(url + "who/you"))
        assert (answer["name"], answer["client"], answer["scheme"]) == ("you", "10.9.0.1", "http")
        assert_shouts(url)
        assert server.end(signal.SIGTERM)[:2] == (0, "")
        assert (folder / "over").exists()


@pytest.mark.tun
@pytest.mark.parametrize("host", ["10.9.0.2", "[fd09::2]"])
def test_fastapi_on_a_tun(folder, host):
    """curl and a WebSocket client of the kernel's side."""
    require_package("fastapi")
    curl = (require_program("curl"), "-sS", "--fail", "--max-time", "20", "--noproxy", "*")
    with Running(*cli("serve", "apps:fast", *TUN, *PEERS, "--port", "8000"), cwd=folder) as server:
        assert server.url() == "http://10.9.0.2:8000/"
        url = f"http://{host}:8000/"
        client = json.loads(run(*curl, url + "who/me").stdout)["client"]
        assert client == ("fd09::1" if ":" in host else "10.9.0.1")
        (folder / "upload").write_bytes(b"y" * 2_000_000)
        sent = run(*curl, "--data-binary", f"@{folder / 'upload'}", url + "length")
        assert json.loads(sent.stdout) == {"length": 2_000_000}
        assert run(*curl, url + "large").stdout == "x" * 3_000_000
        assert_shouts(url)
        assert server.end()[0] == 0
        assert (folder / "over").exists()


@pytest.mark.tun
def test_fastapi_with_workers(folder):
    """Each serves HTTP and WebSockets; one is killed, and the WebSocket of the other goes on."""
    require_package("fastapi")
    from websockets.exceptions import ConnectionClosedError
    from websockets.sync.client import connect

    command = ("serve", "apps:fast", *TUN, *PEERS, "--port", "8000", "--workers", "2")
    with Running(*cli(*command), cwd=folder) as server, ExitStack() as stack:
        assert server.url() == "http://10.9.0.2:8000/"
        pids = Counter(json.loads(get("http://10.9.0.2:8000/who/me"))["pid"] for _ in range(40))
        assert len(pids) == 2
        sockets = [stack.enter_context(connect("ws://10.9.0.2:8000/shout", proxy=None)) for _ in range(30)]
        os.kill(min(pids), signal.SIGKILL)
        ended = 0
        for number, one in enumerate(sockets):
            try:
                one.send(f"word {number}")
                assert one.recv(10) == f"WORD {number}"
            except ConnectionClosedError:
                ended += 1
        assert 0 < ended < len(sockets)
        now = {json.loads(get("http://10.9.0.2:8000/who/me"))["pid"] for _ in range(40)}
        assert now > {max(pids)} and min(pids) not in now
        status, _, log = server.end()
        assert status == 0
        assert "was killed by SIGKILL; a new one takes its place" in log


@pytest.mark.tun
def test_nobody_is_refused_while_a_worker_starts_late(folder):
    with Running(*cli("serve", "apps:late", *TUN, *PEERS, "--workers", "2"), cwd=folder) as server:
        server.url()
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
        os.kill(int(children.split()[0]), signal.SIGKILL)
        began = time.monotonic()
        for number in range(20):
            assert get(f"http://10.9.0.2/{number}") == b"/%d" % number
        assert time.monotonic() - began > 1
        log = server.end()[2]
        assert "was killed by SIGKILL" in log


def assert_shouts(url: str) -> None:
    from websockets.sync.client import connect

    with connect(url.replace("http", "ws") + "shout", proxy=None) as client:
        for word in ("quietly", "a" * 100_000):
            client.send(word)
            assert client.recv(10) == word.upper()


@pytest.mark.parametrize("target", ["apps:function", "."])
def test_https(folder, certificate, target):
    files = ("--ssl-certfile", str(certificate[0]), "--ssl-keyfile", str(certificate[1]))
    curl = (require_program("curl"), "-sS", "--max-time", "20", "--noproxy", "*")
    (folder / "page").write_text("/page")
    with Running(*cli("serve", target, *ANY_PORT, *files), cwd=folder) as server:
        url = server.url()
        assert url.startswith("https://127.0.0.1:")
        assert run(*curl, "--cacert", str(certificate[0]), url + "page").stdout == "/page"
        assert server.end()[0] == 0


def test_the_end_waits_for_a_request_under_way(folder):
    (folder / "slow.py").write_text(
        "import asyncio\n"
        "async def app(scope, receive, send):\n"
        "    assert scope['type'] == 'http'\n"
        "    print('asked', flush=True)\n"
        "    await asyncio.sleep(0.5)\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': b'late'})\n"
    )
    curl = require_program("curl")
    with Running(*cli("serve", "slow:app", *ANY_PORT), cwd=folder) as server:
        url = server.url()
        with subprocess.Popen((curl, "-sS", "--noproxy", "*", url), stdout=subprocess.PIPE) as client:
            assert server.line() == "asked"
            assert server.end(signal.SIGTERM)[0] == 0
            assert client.communicate(timeout=10)[0] == b"late"


def test_an_application_that_does_not_start(folder):
    done = run(*cli("serve", "apps:failing", *ANY_PORT), cwd=folder)
    assert (done.returncode, done.stdout) == (3, "")
    assert "no database today" in done.stderr
    assert "Traceback" not in done.stderr


def test_wsgi_is_none(folder):
    done = run(*cli("serve", "apps:wsgi", *ANY_PORT), cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no ASGI application" in done.stderr


def test_without_uvicorn(folder):
    """The line that says what to install."""
    (folder / "uvicorn.py").write_text("raise ImportError('No module named uvicorn', name='uvicorn')")
    done = run(*cli("serve", "apps:function", *ANY_PORT), cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("asyncstack: an ASGI application needs uvicorn: pip install 'asyncstack[serve]'\n")
