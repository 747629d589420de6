"""`asyncstack run`: servers that people have, on simulated networks and on interfaces."""

import json
import signal
import socket
import threading

import pytest

from tests.cli.scripts import NETWORK, answer, output
from tests.loop.test_running import wait_until_it_serves
from tests.programs import require_package, require_program
from tests.running import Running, cli, run


@pytest.mark.parametrize("loop", ["auto", "asyncio", "uvloop"])
def test_uvicorn(loop, folder, port):
    require_package("uvicorn")
    program = ("-m", "uvicorn", "app:app", "--loop", loop, "--host", "10.8.0.2", "--no-access-log")
    with Running(*cli(*NETWORK, *program), cwd=folder) as server:
        wait_until_it_serves(server)
        assert answer(port)["server"] == ["10.8.0.2", 8000]
        assert server.end()[0] == 0


@pytest.mark.parametrize("worker", ["asyncio", "uvloop"])
@pytest.mark.parametrize("bind", ["10.8.0.2:8000", "0.0.0.0:8000"])
def test_hypercorn(worker, bind, folder, port):
    """It binds its sockets before there is a loop."""
    require_package("hypercorn")
    program = ("-m", "hypercorn", "app:app", "--workers", "0", "--worker-class", worker, "--bind", bind)
    with Running(*cli(*NETWORK, *program), cwd=folder) as server:
        line = server.process.stderr.readline()
        assert f"Running on http://{bind}" in line, line + server.process.stderr.read()
        got = answer(port)
        assert (got["server"], got["client"][0]) == (["10.8.0.2", 8000], "10.8.0.1")
        status, _, errors = server.end(signal.SIGTERM)
        assert (status, "Traceback" in errors) == (0, False), errors


SMTP = """
import asyncio, smtplib, socket
from aiosmtpd.controller import Controller, UnthreadedController

class Handler:
    async def handle_DATA(self, server, session, envelope):
        print(session.peer[0], envelope.content.decode().strip(), flush=True)
        return "250 OK"

def send(text):
    with smtplib.SMTP("10.8.0.2", 25, timeout=10) as client:
        client.sendmail("a@example.org", "b@example.org", text)
"""


def test_aiosmtpd_in_a_thread(folder):
    """The loop has a thread of its own, and the thread that made it connects to see whether it serves."""
    require_package("aiosmtpd")
    program = SMTP + (
        'controller = Controller(Handler(), hostname="10.8.0.2", port=25)\n'
        'controller.start(); send("threaded"); controller.stop()'
    )
    assert output(folder, program) == ["10.8.0.2 threaded"]


def test_aiosmtpd_without_a_thread(folder):
    require_package("aiosmtpd")
    program = SMTP + (
        "loop = asyncio.new_event_loop()\n"
        'controller = UnthreadedController(Handler(), hostname="10.8.0.2", port=25, loop=loop)\n'
        "controller.begin()\n"
        'loop.run_until_complete(asyncio.to_thread(send, "unthreaded"))\n'
        "controller.end(); loop.close()"
    )
    assert output(folder, program) == ["10.8.0.2 unthreaded"]


# addresses of the stack and of the kernel, any address, and one of a network beyond the gateway
FOUR = ("10.9.0.2/24", "10.9.0.1/24", "0.0.0.0", "10.77.0.1")
SIX = ("fd09::2/64", "fd09::1/64", "::", "fd77::1")


def host_of(address: str) -> str:
    return address.partition("/")[0]


@pytest.mark.tun
@pytest.mark.parametrize(("kind", "family"), [("tun", FOUR), ("tap", FOUR), ("tap", SIX)])
def test_uvicorn_on_an_interface(kind, family, folder, netns):
    require_package("uvicorn")
    curl = require_program("curl")
    own, peer, anywhere, _ = family
    interface = (f"--{kind}", "as0", "--address", own, "--peer", peer)
    program = ("-m", "uvicorn", "app:app", "--host", anywhere, "--port", "80", "--no-access-log")
    with Running(*cli("run", *interface, *program), cwd=folder) as server:
        wait_until_it_serves(server)
        where = f"[{host_of(own)}]" if ":" in own else host_of(own)
        got = json.loads(run(curl, "-g", "-s", "--max-time", "10", f"http://{where}/").stdout)
        assert (got["server"], got["client"][0]) == ([host_of(own), 80], host_of(peer))
        assert server.end()[0] == 0
    assert "as0" not in {name for _, name in socket.if_nameindex()}


@pytest.mark.tun
def test_hypercorn_on_an_interface(folder, netns):
    require_package("hypercorn")
    curl = require_program("curl")
    interface = ("--tun", "as0", "--address", "10.9.0.2/24", "--peer", "10.9.0.1/24")
    program = ("-m", "hypercorn", "app:app", "--workers", "0", "--bind", "10.9.0.2:80")
    with Running(*cli("run", *interface, *program), cwd=folder) as server:
        assert "Running on http://10.9.0.2:80" in server.process.stderr.readline()
        got = json.loads(run(curl, "-s", "--max-time", "10", "http://10.9.0.2/").stdout)
        assert (got["server"], got["client"][0]) == (["10.9.0.2", 80], "10.9.0.1")
        assert server.end(signal.SIGTERM)[0] == 0


@pytest.mark.tun
@pytest.mark.parametrize("families", [[FOUR], [SIX], [FOUR, SIX]], ids=["IPv4", "IPv6", "both"])
def test_a_client_on_an_interface(families, folder, netns):
    """The stack connects to the kernel, which has the other address on that network; and beyond by a gateway."""
    interface = ["--tun", "as0"]
    hosts = []
    for own, peer, _, far in families:
        interface += ["--address", own, "--peer", peer, "--gateway", host_of(peer)]
        hosts += [host_of(peer), far]
        netns.run("ip", "address", "add", far, "dev", "lo")
    client = """
import asyncio, sys

async def main():
    for host in sys.argv[2:]:
        reader, writer = await asyncio.open_connection(host, int(sys.argv[1]))
        print((await reader.read()).decode(), writer.get_extra_info("sockname")[0])
        writer.close()

asyncio.run(main())
"""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        thread = threading.Thread(target=greet, args=(server, len(hosts)))
        thread.start()
        found = output(folder, client, str(server.getsockname()[1]), *hosts, options=("run", *interface))
        thread.join(10)
    assert found == [f"hello {host_of(own)}" for own, _, _, _ in families for _ in range(2)]


def greet(server: socket.socket, times: int) -> None:
    for _ in range(times):
        with server.accept()[0] as made:
            made.sendall(b"hello")
