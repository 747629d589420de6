"""`asyncstack run`: what a program may do with sockets, and what is outside and told."""

import re

import pytest

from tests.cli.scripts import NETWORK, output
from tests.programs import require_package
from tests.running import cli, run

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
