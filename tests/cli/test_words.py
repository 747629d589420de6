"""`asyncstack` on a TAP where dnsmasq gives the address: ping, serve, and programs that know nothing of it."""

import signal
import socket
import subprocess
from pathlib import Path
from threading import Thread

import pytest

from tests.programs import require_program
from tests.running import Running, cli, run

pytestmark = pytest.mark.tun

TAP = ("--tap", "as0", "--address", "dhcp4", "--address", "10.7.0.2/24")

# it is told nothing of the stack; its first line runs when the stack has an address
PROGRAM = """
import asyncio, socket

async def answer(reader, writer):
    writer.write(b"hello from the stack")
    writer.close()

async def main():
    reader, writer = await asyncio.open_connection("10.9.0.1", {port})
    print(writer.get_extra_info("sockname")[0], (await reader.read()).decode())
    server = await asyncio.start_server(answer, "10.9.0.50", 80)
    print(server.sockets[0].getsockname()[:2])
    plain = socket.socket()
    plain.bind(("10.9.0.50", 81))  # the stack's too, by now
    print(type(plain).__module__)

asyncio.run(main())
"""


@pytest.fixture
def leased(netns, tmp_path: Path):
    """as0 with 10.9.0.1 on the kernel's side, where dnsmasq has one address to give."""
    command = require_program("dnsmasq")
    netns.run("ip", "tuntap", "add", "dev", "as0", "mode", "tap")
    netns.run("ip", "address", "add", "10.9.0.1/24", "dev", "as0")
    netns.run("ip", "link", "set", "as0", "up")
    options = (
        *("--keep-in-foreground", "--port=0", "--conf-file=/dev/null", "--user=root", "--log-facility=-"),
        *("--interface=as0", "--bind-interfaces", "--no-ping", f"--pid-file={tmp_path}/pid"),
        *("--dhcp-range=10.9.0.50,10.9.0.50,2m", f"--dhcp-leasefile={tmp_path}/leases"),
    )
    with netns.entered(), subprocess.Popen([command, *options], stderr=subprocess.PIPE, text=True) as server:
        for line in server.stderr:
            if "started" in line:
                break
        yield tmp_path / "leases"
        server.kill()


def test_ping(leased):
    done = run(*cli("ping", "10.9.0.1", *TAP, "-c", "1"))
    assert "1 received" in done.stdout, done
    assert leased.read_text() == ""  # the address was given back


def test_serve(leased, tmp_path: Path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "x").write_text("content")
    with Running(*cli("serve", str(tmp_path / "site"), *TAP)) as server:
        assert {server.url(), server.url()} == {"http://10.9.0.50:80/", "http://10.7.0.2:80/"}
        assert run(require_program("curl"), "-s", "http://10.9.0.50/x").stdout == "content"
        assert server.end(signal.SIGTERM) == (0, "", "")


def greet(server) -> None:
    connection, _ = server.accept()
    connection.sendall(b"hello from the kernel")
    connection.close()


VARIABLES = {"ASYNCSTACK_TAP": "as0", "ASYNCSTACK_ADDRESSES": "dhcp4,10.7.0.2/24"}


@pytest.mark.parametrize(("options", "environment"), [(TAP, {}), ((), VARIABLES)])
def test_run(options, environment, leased, tmp_path: Path):
    with socket.create_server(("10.9.0.1", 0)) as server:
        Thread(target=greet, args=(server,), daemon=True).start()
        script = tmp_path / "script.py"
        script.write_text(PROGRAM.format(port=server.getsockname()[1]))
        done = run(*cli("run", *options, str(script)), environment=environment)
    assert done.stdout.splitlines() == [
        "10.9.0.50 hello from the kernel",
        "('10.9.0.50', 80)",
        "asyncstack.loop.recording",
    ], done
