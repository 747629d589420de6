"""`asyncstack serve --publish`: no privileges, kernel clients come in through a forwarder."""

import re
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import dpkt
import pytest

from asyncstack.version import __version__
from tests.programs import require_program
from tests.running import Running, cli, run

ANY_PORT = ("--publish", "127.0.0.1:0")
ANY_PORT6 = ("--publish", "[::1]:0")

APPLICATION = """
from asyncstack.application.http import Application

app = Application()

@app.get("/hello/{name}")
async def hello(request):
    return f"hello {request.params['name']}"

async def shout(reader, writer):
    writer.write((await reader.readline()).upper())
    writer.close()

async def polite(reader, writer, farewell=b"bye"):
    writer.write((await reader.readline()).upper() + farewell)
    writer.close()

class things:
    app = app
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text("<p>hello</p>")
    (tmp_path / "large").write_bytes(bytes(range(256)) * 20_000)
    (tmp_path / "mine.py").write_text(APPLICATION)
    return tmp_path


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read()


@pytest.mark.parametrize(
    "publish, host", [(ANY_PORT, "127.0.0.1"), (ANY_PORT6, "[::1]")], ids=["IPv4", "IPv6"]
)
def test_a_folder_fetched_by_curl(folder, publish, host):
    curl = require_program("curl")
    with Running(*cli("serve", str(folder), *publish)) as server:
        url = server.url()
        assert re.fullmatch(re.escape(f"http://{host}:") + r"[1-9]\d*/", url)
        assert run(curl, "-s", "--max-time", "10", url).stdout == "<p>hello</p>"
        assert get(url + "large") == (folder / "large").read_bytes()
        assert server.end() == (0, "", "")


@pytest.mark.parametrize("name", ["app", "app.handle", "things.app"])
def test_an_application_found_from_the_current_folder(folder, name):
    with Running(*cli("serve", f"mine:{name}", *ANY_PORT), cwd=folder) as server:
        assert get(server.url() + "hello/you") == b"hello you"
        assert server.end() == (0, "", "")


@pytest.mark.parametrize("name, farewell", [("shout", b""), ("polite", b"bye")])
def test_a_handler_of_streams(folder, name, farewell):
    with Running(*cli("serve", f"mine:{name}", *ANY_PORT), cwd=folder) as server:
        with socket.create_connection(address_of(server.url()), timeout=10) as client:
            client.sendall(b"quietly\n")
            assert client.makefile("rb").read() == b"QUIETLY\n" + farewell
        assert server.end() == (0, "", "")


def address_of(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").rstrip("/").partition(":")
    return host, int(port)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_once_with_connections_open(folder, number):
    """One that waits between two requests, and one that has asked for nothing yet."""
    with Running(*cli("serve", str(folder), *ANY_PORT)) as server:
        address = address_of(server.url())
        with socket.create_connection(address, 10) as idle, socket.create_connection(address, 10) as silent:
            idle.sendall(b"GET /index.html HTTP/1.1\r\nHost: here\r\n\r\n")
            assert idle.recv(65536).startswith(b"HTTP/1.1 200")
            assert server.end(number, timeout=5) == (0, "", "")
            for client in (idle, silent):
                assert is_over(client)


def is_over(client: socket.socket) -> bool:
    try:
        return b"" in (client.recv(65536), client.recv(65536))
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "publish, parse", [(ANY_PORT, dpkt.ip.IP), (ANY_PORT6, dpkt.ip6.IP6)], ids=["IPv4", "IPv6"]
)
def test_the_packets_in_a_file(folder, publish, parse):
    """The network inside is of the family outside."""
    capture = folder / "all.pcapng"
    with Running(*cli("serve", str(folder), *publish, "--capture", str(capture), "--port", "8000")) as server:
        get(server.url())
        assert server.end()[0] == 0
    with capture.open("rb") as file:
        packets = [parse(data) for _, data in dpkt.pcapng.Reader(file)]
    assert {packet.v for packet in packets} == {6 if parse is dpkt.ip6.IP6 else 4}
    assert packets[0].data.flags == dpkt.tcp.TH_SYN
    assert packets[0].data.dport == 8000
    assert any(b"<p>hello</p>" in bytes(packet) for packet in packets)


@pytest.mark.parametrize("command", [cli(), (str(Path(sys.executable).with_name("asyncstack")),)])
def test_version(command):
    done = run(*command, "--version")
    assert (done.returncode, done.stdout) == (0, f"asyncstack, version {__version__}\n")
