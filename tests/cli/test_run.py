"""`asyncstack run`: programs as they are, in processes of their own, on a stack."""

import json
import re
import signal
import socket
import sys
import threading
import urllib.request
from pathlib import Path

import dpkt
import pytest

from tests.loop.test_running import APP, FILE, free_port, wait_until_it_serves
from tests.programs import require_package, require_program
from tests.running import Running, cli, run

NETWORK = ("run", "--network", "net.toml")

ECHO = """
import asyncio, sys

async def echo(reader, writer):
    while data := await reader.read(100):
        writer.write(data)
    writer.close()

async def main():
    async with await asyncio.start_server(echo, "10.8.0.2", 7):
        reader, writer = await asyncio.open_connection("server", 7)
        writer.write(b"hello")
        print((await reader.readexactly(5)).decode(), type(writer.transport).__name__)
        writer.close()
        await writer.wait_closed()
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def folder(tmp_path: Path, port: int) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "net.toml").write_text(FILE.format(port=port))
    return tmp_path


def output(folder: Path, program: str, *arguments: str, options: tuple[str, ...] = NETWORK) -> list[str]:
    """The lines that a script prints, which has nothing to complain about."""
    (folder / "script.py").write_text(program)
    done = run(*cli(*options, "script.py", *arguments), cwd=folder)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.splitlines()


STARTS = {
    "asyncio.run": "asyncio.run(main())",
    "a runner": "with asyncio.Runner() as runner: runner.run(main())",
    "a new loop": "loop = asyncio.new_event_loop(); loop.run_until_complete(main()); loop.close()",
    "a task before": "loop = asyncio.new_event_loop(); loop.run_until_complete(loop.create_task(main()))\nloop.close()",
    "the class": "loop = asyncio.SelectorEventLoop(); loop.run_until_complete(main()); loop.close()",
    "twice": "asyncio.run(main()); asyncio.run(asyncio.sleep(0))",
    "uvloop.run": "import uvloop; uvloop.run(main())",
    "uvloop's factory": "import uvloop; asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main())",
    "uvloop's class": "import uvloop; loop = uvloop.Loop(); loop.run_until_complete(main()); loop.close()",
    "uvloop.install": "import uvloop; uvloop.install(); asyncio.run(main())",
    "a policy": "import uvloop; asyncio.set_event_loop_policy(uvloop.EventLoopPolicy()); asyncio.run(main())",
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_a_script(start, folder):
    assert output(folder, ECHO + start) == ["hello TcpTransport"]


def test_it_is_run_as_python_does(folder):
    program = """
import sys
print(__name__, sys.argv, sys.path[0], sys.modules["__main__"].__name__, bool(__file__))
"""
    expected = f"__main__ {['script.py', 'a', '--tun', '-m', '--', 'b']} {folder} __main__ True"
    assert output(folder, program, "a", "--tun", "-m", "--", "b") == [expected]
    done = run(*cli(*NETWORK, "-m", "script", "--help", "-m"), cwd=folder)
    assert done.stdout == f"__main__ {[str(folder / 'script.py'), '--help', '-m']} {folder} __main__ True\n"


def test_it_ends_as_the_program_ends(folder):
    (folder / "script.py").write_text("import sys; sys.exit(7)")
    assert run(*cli(*NETWORK, "script.py"), cwd=folder).returncode == 7
    (folder / "script.py").write_text("import json\njson.loads('x')")
    done = run(*cli(*NETWORK, "script.py"), cwd=folder)
    lines = done.stderr.splitlines()
    assert (done.returncode, lines[0]) == (1, "Traceback (most recent call last):")
    assert "script.py" in lines[1]
    assert lines[-1].startswith("json.decoder.JSONDecodeError")


@pytest.mark.parametrize("end", ["", "sys.exit()"])
def test_a_loop_that_the_program_leaves_open_is_closed(end, folder, port):
    """So that a peer is told, and a capture is whole."""
    (folder / "net.toml").write_text(FILE.format(port=port).replace("[network]", '[network]\ncapture = "c"'))
    program = f"""
import asyncio, sys

async def main():
    try:
        await asyncio.open_connection("10.8.0.1", 7)
    except ConnectionRefusedError as exc:
        print(exc.errno)

asyncio.new_event_loop().run_until_complete(main())
{end}
"""
    assert output(folder, program) == ["111"]
    with (folder / "c").open("rb") as file:
        assert len(list(dpkt.pcapng.Reader(file))) == 2


def test_importing_replaces_nothing():
    program = """
import asyncio, socket, sys
before = socket.socket, asyncio.SelectorEventLoop, asyncio.DefaultEventLoopPolicy._loop_factory
import asyncstack.loop.replacing, asyncstack.cli.run, uvloop
assert before == (socket.socket, asyncio.SelectorEventLoop, asyncio.DefaultEventLoopPolicy._loop_factory)
assert uvloop.Loop.__module__ == "uvloop"
"""
    done = run(sys.executable, "-c", program)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_help_says_what_is_replaced():
    text = " ".join(run(*cli("run", "--help")).stdout.split())
    for words in ("socket.socket", "uvloop", "child processes", "blocking sockets"):
        assert words in text


# servers


@pytest.mark.parametrize("loop", ["auto", "asyncio", "uvloop"])
def test_uvicorn(loop, folder, port):
    require_package("uvicorn")
    program = ("-m", "uvicorn", "app:app", "--loop", loop, "--host", "10.8.0.2", "--no-access-log")
    with Running(*cli(*NETWORK, *program), cwd=folder) as server:
        wait_until_it_serves(server)
        assert answer(port)["server"] == ["10.8.0.2", 8000]
        assert server.end()[0] == 0


def answer(port: int) -> dict[str, list]:
    """What the application says it was asked by whom, through the published port."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
        return json.load(response)


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


# what a program may do with sockets

SOCKETS = """
import asyncio, socket, ssl, threading

def told(call, *args):
    try:
        return call(*args)
    except (OSError, RuntimeError) as exc:
        return f"{type(exc).__name__} {exc}"
"""


def test_sockets_of_the_kernel_are_the_kernels(folder):
    program = SOCKETS + (
        'server = socket.create_server(("127.0.0.1", 0))\n'
        "with socket.create_connection(server.getsockname()) as client, server.accept()[0] as made:\n"
        '    client.sendall(b"hello"); print(made.recv(5), isinstance(made, socket.socket))\n'
        "a, b = socket.socketpair(); print(type(a) is socket.socket, isinstance(a, socket.socket))\n"
        "for one in (a, b, server): one.close()\n"
        "print(issubclass(ssl.SSLSocket, socket.socket))"
    )
    assert output(folder, program) == ["b'hello' True", "True True", "True"]


def test_what_is_bound_before_the_loop(folder):
    """Names, any port, IPv6 with IPv4 in it; told again by the socket, and served by the loop."""
    program = SOCKETS + (
        'named = socket.create_server(("server", 7)); print(named.getsockname())\n'
        "free = socket.socket(); free.bind(('', 0)); print(free.getsockname()[0], free.getsockname()[1] > 0)\n"
        "mapped = socket.socket(socket.AF_INET6); mapped.bind(('::ffff:10.8.0.2', 8)); print(mapped.getsockname())\n"
        "print(told(named.bind, ('10.8.0.2', 9)))\n"
        "print(told(named.getpeername))\n"
        "for sock in (named, free, mapped): sock.close()"
    )
    assert output(folder, program) == [
        "('10.8.0.2', 7)",
        "0.0.0.0 True",
        "('::ffff:10.8.0.2', 8, 0, 0)",
        "OSError [Errno 22] Invalid argument: it is bound to ('10.8.0.2', 7) already",
        "OSError [Errno 107] Transport endpoint is not connected",
    ]


SERVE = """
sock = socket.create_server(("10.8.0.2", 7))

async def serve(reader, writer):
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()

async def ask(call, *args):
    async with await asyncio.start_server(serve, sock=sock):
        return await asyncio.to_thread(call, *args)
"""


def test_a_socket_given_to_the_loop(folder):
    program = (
        SOCKETS
        + SERVE
        + (
            "async def main():\n"
            "    async with await asyncio.start_server(serve, sock=sock):\n"
            "        print(sock.getsockname())\n"
            '        reader, writer = await asyncio.open_connection("10.8.0.2", 7)\n'
            '        writer.write(b"line\\n"); print(await reader.read()); writer.close()\n'
            "asyncio.run(main())"
        )
    )
    assert output(folder, program) == ["('10.8.0.2', 7)", "b'line\\n'"]


def test_a_thread_connects_while_the_loop_runs(folder):
    """All that a socket that blocks can do, for it has a descriptor of the kernel."""
    program = (
        SOCKETS
        + SERVE
        + (
            "def client():\n"
            '    with socket.create_connection(("10.8.0.2", 7), 5) as sock:\n'
            "        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)\n"
            "        print(sock.getpeername(), sock.getsockname()[0], sock.gettimeout())\n"
            '        print(told(socket.create_connection, ("10.8.0.2", 9), 5))\n'
            '        sock.sendall(b"line\\n")\n'
            '        return sock.makefile("rb").read()\n'
            "print(asyncio.run(ask(client)))"
        )
    )
    assert output(folder, program) == [
        "('10.8.0.2', 7) 10.8.0.2 5.0",
        "ConnectionRefusedError [Errno 111] Connection refused: connect to 10.8.0.2 port 9",
        "b'line\\n'",
    ]


AIOHTTP = """
from aiohttp import ClientSession, web

async def hello(request):
    return web.Response(text=f"hello {request.remote}")

async def main():
    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    async with ClientSession() as session, session.get("http://10.8.0.2:7/") as response:
        print(response.status, await response.text())
    await runner.cleanup()

asyncio.run(main())
"""


def test_a_client_that_makes_its_own_sockets(folder):
    """aiohttp makes sockets of the kernel and has the loop connect them; its server is given one that listens."""
    require_package("aiohttp")
    assert output(folder, SOCKETS + SERVE + AIOHTTP) == ["200 hello 10.8.0.2"]


DATAGRAMS = """
sock = socket.socket(type=socket.SOCK_DGRAM)
sock.bind(("10.8.0.2", 7))
peer = socket.socket(type=socket.SOCK_DGRAM)
peer.connect(("10.8.0.2", 7))

class Answering(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
    def datagram_received(self, data, address):
        self.transport.sendto(data.upper(), address)

class Asking(asyncio.DatagramProtocol):
    def __init__(self, answer):
        self.answer = answer
    def datagram_received(self, data, address):
        self.answer.set_result((data, address))

async def main():
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    server, _ = await loop.create_datagram_endpoint(Answering, sock=sock)
    client, _ = await loop.create_datagram_endpoint(lambda: Asking(answer), sock=peer)
    client.sendto(b"hello")
    print(await answer)
    client.close()
    server.close()

asyncio.run(main())
"""


def test_datagram_sockets_given_to_the_loop(folder):
    assert output(folder, SOCKETS + DATAGRAMS) == ["(b'HELLO', ('10.8.0.2', 7))"]


TLS = """
import sys

async def greet(reader, writer):
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()

def client(certificate):
    context = ssl.create_default_context(cafile=certificate)
    with socket.create_connection(("10.8.0.2", 443), 5) as raw:
        with context.wrap_socket(raw, server_hostname="server") as sock:
            sock.sendall(b"secret\\n")
            return sock.recv(100)

async def main(certificate, key):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with await asyncio.start_server(greet, "10.8.0.2", 443, ssl=context):
        print(await asyncio.to_thread(client, certificate))

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_thread_with_tls(folder, certificate):
    assert output(folder, SOCKETS + TLS, *map(str, certificate)) == ["b'secret\\n'"]


def test_virtual_time_is_none_of_the_programs(folder):
    """A loop with a clock of its own can not have the stack, which lives in real time."""
    program = """
import asyncio
from asyncstack.testing import run

async def main():
    await asyncio.sleep(3600)
    return len(asyncio.get_running_loop().stacks)

print(run(main()))
"""
    assert output(folder, program) == ["0"]


# what is outside, and told

OUTSIDE = {
    "a connection before the loop": (
        'print(told(socket.create_connection, ("10.8.0.2", 7)))',
        r"connect\(\) to 10\.8\.0\.2:7, an address of the stack: no event loop that has the stack runs: connect in one",
    ),
    "a connection that would stop the loop": (
        'async def main(): print(told(socket.create_connection, ("10.8.0.2", 7)))\nasyncio.run(main())',
        r"connect\(\) to 10\.8\.0\.2:7.*: it would stop the event loop that has to serve it: use asyncio's calls",
    ),
    "a connection that nobody waits for": (
        "sock = socket.socket(); sock.setblocking(False)\n"
        'async def main(): print(await asyncio.to_thread(told, sock.connect_ex, ("10.8.0.2", 7)))\n'
        "asyncio.run(main())",
        r"connect\(\) to 10\.8\.0\.2:7.*: the socket does not block, and only the loop's own calls",
    ),
    "accept": (
        'print(told(socket.create_server(("10.8.0.2", 7)).accept))',
        r"waiting on a socket of 10\.8\.0\.2:7.*: no thread can wait on it: serve with asyncio",
    ),
    "a server with threads": (
        "from http.server import ThreadingHTTPServer, BaseHTTPRequestHandler\n"
        'server = ThreadingHTTPServer(("10.8.0.2", 80), BaseHTTPRequestHandler)\n'
        "print(told(server.serve_forever))",
        r"waiting on a socket of 10\.8\.0\.2:80.*: no thread can wait on it: serve with asyncio",
    ),
    "recvfrom": (
        "sock = socket.socket(type=socket.SOCK_DGRAM); sock.bind(('10.8.0.2', 7))\nprint(told(sock.recvfrom, 10))",
        r"waiting on a socket of 10\.8\.0\.2:7",
    ),
    "sendto": (
        'print(told(socket.socket(type=socket.SOCK_DGRAM).sendto, b"", ("10.8.0.1", 53)))',
        r"sendto\(\) to 10\.8\.0\.1:53.*: no thread can send by it: use a datagram endpoint",
    ),
    "sendto from ours": (
        "sock = socket.socket(type=socket.SOCK_DGRAM); sock.bind(('10.8.0.2', 7))\n"
        'print(told(sock.sendto, b"", ("10.8.0.1", 53)))',
        r"sendto\(\) from 10\.8\.0\.2:7.*: no thread can send by it",
    ),
    "a socket for a child": (
        "import multiprocessing\n"
        'sock = socket.create_server(("0.0.0.0", 7))\n'
        'print(told(multiprocessing.get_context("spawn").Process(target=print, args=(sock,)).start))',
        r"a socket for 0\.0\.0\.0:7.*: a child process can not have a socket of it. Run the program in one process",
    ),
    "a loop of a child": (
        "import os\n"
        "if not os.fork():\n"
        "    print(told(asyncio.run, asyncio.sleep(0)), flush=True); os._exit(0)\n"
        "os.wait()",
        r"the stack lives in process \d+, and this is its child: run the program in one process \(uvicorn",
    ),
    "a second loop": (
        'def other(): print(told(asyncio.run, asyncio.open_connection("10.8.0.2", 7)))\n'
        "asyncio.run(asyncio.to_thread(other))",
        r"create_connection\(\) to 10\.8\.0\.2:7.*: another event loop of this program has the stack",
    ),
    "datagrams of a second loop": (
        "async def main(): await asyncio.get_running_loop().create_datagram_endpoint(print, ('10.8.0.2', 7))\n"
        "def other(): print(told(asyncio.run, main()))\n"
        "asyncio.run(asyncio.to_thread(other))",
        r"create_datagram_endpoint\(\) at 10\.8\.0\.2:7.*: another event loop of this program has the stack",
    ),
    "a server of a second loop": (
        'def other(): print(told(asyncio.run, asyncio.start_server(print, "10.8.0.2", 7)))\n'
        "asyncio.run(asyncio.to_thread(other))",
        r"create_server\(\) at 10\.8\.0\.2:7.*: another event loop of this program has the stack",
    ),
}


@pytest.mark.parametrize("program, expected", OUTSIDE.values(), ids=OUTSIDE)
def test_what_is_outside_is_told(program, expected, folder):
    careless = "import warnings; warnings.simplefilter('ignore', ResourceWarning)\n"  # nothing here is closed
    (line,) = output(folder, careless + SOCKETS + program)
    assert line.startswith("RuntimeError ")
    assert re.search(expected, line), line


@pytest.mark.parametrize("options", [("--workers", "2"), ("--reload",)])
def test_uvicorns_children(options, folder):
    require_package("uvicorn")
    done = run(*cli(*NETWORK, "-m", "uvicorn", "app:app", "--host", "10.8.0.2", *options), cwd=folder)
    assert done.returncode != 0
    assert "a child process can not have a socket of it. Run the program in one process" in done.stderr


def test_hypercorns_child(folder):
    require_package("hypercorn")
    done = run(*cli(*NETWORK, "-m", "hypercorn", "app:app", "--bind", "10.8.0.2:80"), cwd=folder)
    assert done.returncode != 0
    assert "hypercorn with --workers 0" in done.stderr


# errors of use

MISTAKES = {
    "nothing to run": (NETWORK, "say what to run: a script, or -m MODULE"),
    "no module": ((*NETWORK, "-m", "no.such"), "can not run -m no.such: no such module"),
    "no script": ((*NETWORK, "no.py"), "can not run 'no.py': no such file"),
    "no interface": (("run", "script.py"), "--tun NAME, --tap NAME, --network FILE, --config FILE"),
    "two of them": ((*NETWORK, "--tun", "as0", "script.py"), "leave out --tun"),
    "two files": ((*NETWORK, "--config", "net.toml", "script.py"), "one file says all of it"),
    "no file": (("run", "--network", "no.toml", "script.py"), "no.toml: No such file"),
    "a key of nothing": (
        ("run", "--config", "bad.toml", "script.py"),
        "bad.toml: unknown key 'networks'; there are",
    ),
    "no network": (("run", "--network", "tun.toml", "script.py"), "tun.toml: it has no [network]"),
    "no address": (
        ("run", "--tun", "as0", "script.py"),
        "--address 10.9.0.2/24, or on a TAP --address dhcp4",
    ),
    "an address without length": (
        ("run", "--tun", "as0", "--address", "10.9.0.2", "script.py"),
        "--address: '10.9.0.2' needs a prefix length, such as 10.9.0.2/24",
    ),
    "what is no address": (
        ("run", "--tun", "as0", "--address", "x", "script.py"),
        "--address: 'x' is no source of addresses: give an address, or one of dhcp4, slaac, dhcp6, link-local",
    ),
}


@pytest.mark.parametrize("arguments, expected", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake(arguments, expected, folder):
    (folder / "bad.toml").write_text("[networks]")
    (folder / "tun.toml").write_text('[[interface]]\ntun = "as0"\naddresses = "10.9.0.2/24"')
    (folder / "script.py").write_text("print('it ran')")
    done = run(*cli(*arguments), cwd=folder)
    assert (done.returncode, done.stdout) == (2, ""), done
    (line,) = done.stderr.splitlines()
    assert line.startswith("asyncstack: ")
    assert expected in line


def test_what_the_system_refuses(folder, port):
    (folder / "script.py").write_text(ECHO + "asyncio.run(main())")
    with socket.create_server(("127.0.0.1", port)):
        done = run(*cli(*NETWORK, "script.py"), cwd=folder)
    assert done.returncode == 2
    assert done.stderr == f"asyncstack: Address already in use: publish on 127.0.0.1 port {port}\n"


def test_the_environment_says_what_there_is(folder):
    (folder / "script.py").write_text(ECHO + "asyncio.run(main())")
    done = run(*cli("run", "script.py"), cwd=folder, environment={"ASYNCSTACK_CONFIG": "net.toml"})
    assert (done.stdout, done.stderr) == ("hello TcpTransport\n", "")
