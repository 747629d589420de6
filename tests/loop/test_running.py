"""A stack that a loop has from its first turn to its end: `asyncstack.run`, and uvicorn by `--loop`."""

import asyncio
import json
import random
import socket
import sys
import threading
import urllib.request
from contextlib import suppress
from pathlib import Path

import dpkt
import pytest

import asyncstack
from asyncstack.loop import new_event_loop
from asyncstack.loop.loops import EventLoop, SelectorEventLoop
from asyncstack.loop.opening import Opening
from asyncstack.loop.settings import Settings
from asyncstack.loop.tables import SettingsError, read_table
from asyncstack.transport.tcp.transport import TcpTransport
from tests.programs import require_package, require_program
from tests.running import Running, run

HOSTS = {"server": "10.8.0.2/24", "client": "10.8.0.1/24"}
LINKS = [{"between": ["client", "server"], "delay": 0.001}]
NETWORK = {"hosts": HOSTS, "links": LINKS}
KINDS = {"uvloop": EventLoop, "selector": SelectorEventLoop}


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def ask(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    assert isinstance(writer.transport, TcpTransport)
    writer.write(b"hello")
    answer = await reader.readexactly(5)
    writer.close()
    await writer.wait_closed()
    return answer


def free_port() -> int:
    """A port that is free now; below those that the kernel gives to whoever asks for any, so that it stays free."""
    while True:
        port = random.SystemRandom().randrange(10240, 32768)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def call(port: int, data: bytes) -> bytes:
    """What a kernel client gets for `data`, as long as that."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(data)
        return client.recv(len(data), socket.MSG_WAITALL)


@pytest.mark.parametrize("loop", KINDS)
def test_run(loop):
    async def main() -> bytes:
        assert isinstance(asyncio.get_running_loop(), KINDS[loop])
        async with await asyncio.start_server(echo, "10.8.0.2", 7):
            return await ask("server", 7)

    assert asyncstack.run(main(), network=NETWORK, loop=loop) == b"hello"


@pytest.mark.parametrize("loop", KINDS)
def test_a_published_port(loop):
    """Kernel clients reach the program, as if from the other host."""
    port = free_port()
    seen = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[0])
        await echo(reader, writer)

    async def main() -> bytes:
        async with await asyncio.start_server(serve, None, 7):
            return await asyncio.to_thread(call, port, b"kernel")

    network = {**NETWORK, "publish": [{"at": f"127.0.0.1:{port}", "to": "server:7"}]}
    assert asyncstack.run(main(), network=network, loop=loop) == b"kernel"
    assert seen == ["10.8.0.1"]
    with pytest.raises(ConnectionRefusedError):
        call(port, b"after")


def test_a_capture_is_whole(tmp_path: Path):
    """The stack is closed while the default executor, which writes it, still works."""
    path = tmp_path / "all.pcapng"

    async def main() -> None:
        async with await asyncio.start_server(echo, "10.8.0.2", 7):
            await ask("10.8.0.2", 7)

    with pytest.raises(ConnectionRefusedError):  # nobody listens on the program's side of the client's link
        asyncstack.run(ask("10.8.0.1", 7), network={**NETWORK, "capture": str(path)})
    with path.open("rb") as file:
        flags = [dpkt.ip.IP(data).data.flags for _, data in dpkt.pcapng.Reader(file)]
    assert flags[0] == dpkt.tcp.TH_SYN
    assert flags[-1] & dpkt.tcp.TH_RST


def test_what_main_raises_comes_out():
    async def main() -> None:
        raise LookupError("this")

    with pytest.raises(LookupError, match="this"):
        asyncstack.run(main(), network=NETWORK)


def test_the_settings_of_the_stack():
    async def main() -> list[object]:
        (stack, _) = asyncio.get_running_loop().stacks
        assert await asyncio.get_running_loop().getaddrinfo("db", 1)
        return [stack.name, stack.config.ttl, stack.names.resolve("db")]

    config = asyncstack.StackConfig(ttl=9)
    found = asyncstack.run(main(), network=NETWORK, config=config, hosts={"DB": "10.8.0.7"})
    assert found == ["server", 9, [bytes([10, 8, 0, 7])]]


def test_the_environment_says_what_there_is(monkeypatch, tmp_path: Path):
    file = tmp_path / "net.toml"
    file.write_text(FILE.format(port=free_port()))
    monkeypatch.setenv("ASYNCSTACK_CONFIG", str(file))

    async def main() -> bytes:
        async with await asyncio.start_server(echo, "10.8.0.2", 7):
            return await ask("server", 7)

    assert asyncstack.run(main()) == b"hello"


@pytest.mark.parametrize("kind", KINDS.values())
def test_it_is_open_before_what_was_scheduled(kind):
    """Also before a callback that waited for the loop to run; and closed with a loop that nobody shuts down."""
    opening = Opening(read_table(Settings, {"network": NETWORK}, "test"))
    loop = kind(opening=opening)
    seen = []
    loop.call_soon(lambda: seen.append(len(loop.stacks)))
    task = loop.create_task(asyncio.sleep(0))
    assert not loop.stacks
    loop.run_until_complete(task)
    assert seen == [2]
    loop.close()
    assert not loop.stacks
    with pytest.raises(RuntimeError, match="closed"):
        opening.stack.socket()


def test_loopback():
    async def main() -> None:
        async with await asyncio.start_server(echo, "127.0.0.1", 7):
            assert await ask("127.0.0.1", 7) == b"hello"

    settings = read_table(Settings, {"network": NETWORK, "loopback": True}, "test")
    with asyncio.Runner(loop_factory=lambda: EventLoop(opening=Opening(settings))) as runner:
        runner.run(main())


# what can not be


def complaint(kind: type[BaseException], **settings: object) -> str:
    started = []

    async def main() -> None:
        started.append(True)

    with pytest.raises(kind) as told:
        asyncstack.run(main(), **settings)
    assert not started
    return str(told.value)


def test_settings_that_can_not_be(monkeypatch, tmp_path: Path):
    for variable in ("CONFIG", "TUN", "TAP", "ADDRESSES"):
        monkeypatch.delenv(f"ASYNCSTACK_{variable}", raising=False)
    empty = tmp_path / "empty.toml"
    empty.write_text('[[interface]]\ntun = "as0"\naddresses = "10.9.0.2/24"')
    assert "give tun, tap or network" in complaint(SettingsError)
    assert "leave out tun" in complaint(SettingsError, tun="as0", network=NETWORK)
    assert "give one of tun and tap" in complaint(
        SettingsError, tun="as0", tap="as1", addresses="10.9.0.2/24"
    )
    assert "addresses: the stack needs one" in complaint(SettingsError, tun="as0")
    assert "'curio'" in complaint(SettingsError, network=NETWORK, loop="curio")
    assert "unknown key 'host'" in complaint(SettingsError, network={"host": {}})
    assert "it has no [network]" in complaint(SettingsError, network=empty)
    assert "no/such.toml" in complaint(OSError, network="no/such.toml")
    assert "no network in common" in complaint(
        ValueError,
        network={"hosts": {"a": "10.0.0.1/24", "b": "10.1.0.1/24"}, "links": [{"between": ["a", "b"]}]},
    )


def test_no_coroutine():
    async def main() -> None:
        pass

    with pytest.raises(TypeError, match=r"run\(main\(\)\)"):
        asyncstack.run(main, network=NETWORK)


@pytest.mark.filterwarnings("error")
def test_in_a_running_loop():
    """It says what to do instead, and that works."""

    async def main() -> bytes:
        server = await asyncio.start_server(echo, "10.8.0.2", 7)
        async with server:
            return await ask("10.8.0.2", 7)

    async def cell() -> bytes:
        assert "await asyncio.to_thread(asyncstack.run, " in complaint(RuntimeError, network=NETWORK)
        return await asyncio.to_thread(asyncstack.run, main(), network=NETWORK)

    assert asyncio.run(cell()) == b"hello"


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_loop_that_can_not_run_yet(kind):
    """Nothing is opened while another loop runs in the thread; later it is, and closed."""
    opening = Opening(read_table(Settings, {"network": NETWORK}, "test"))
    loop = kind(opening=opening)

    async def elsewhere() -> None:
        with pytest.raises(RuntimeError, match="another loop is running"):
            loop.run_forever()

    asyncio.run(elsewhere())
    assert opening.stack is None
    loop.run_until_complete(asyncio.sleep(0, loop))
    assert opening.stack is not None
    loop.close()


def test_what_the_system_refuses(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        network = {**NETWORK, "publish": [{"at": f"127.0.0.1:{port}", "to": "server:7"}]}
        assert f"publish on 127.0.0.1 port {port}" in complaint(OSError, network=network)
    assert "no/such" in complaint(OSError, network={**NETWORK, "capture": "no/such"})


def test_a_factory_without_settings(monkeypatch):
    monkeypatch.delenv("ASYNCSTACK_CONFIG", raising=False)

    async def main() -> int:
        return len(asyncio.get_running_loop().stacks)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(main()) == 0


def test_a_loop_in_another_thread():
    """As servers in a thread have it: made here, run and closed there."""
    opening = Opening(read_table(Settings, {"network": NETWORK}, "test"))
    loop = EventLoop(opening=opening)
    answers = []

    async def main() -> None:
        async with await asyncio.start_server(echo, "10.8.0.2", 7):
            answers.append(await ask("10.8.0.2", 7))

    def work() -> None:
        loop.run_until_complete(main())
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert answers == [b"hello"]
    assert not loop.stacks


# uvicorn

APP = """
import json

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        return await send({"type": "lifespan.shutdown.complete"})
    body = json.dumps({"client": scope["client"], "server": scope["server"]}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""

FILE = """
[network]
[network.hosts]
server = "10.8.0.2/24"
client = "10.8.0.1/24"
[[network.links]]
between = ["client", "server"]
[[network.publish]]
at = "127.0.0.1:{port}"
to = "server:8000"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


UVICORN = (
    sys.executable,
    "-m",
    "uvicorn",
    "app:app",
    "--loop",
    "asyncstack.loop:new_event_loop",
    "--no-access-log",
)


def wait_until_it_serves(server: Running) -> None:
    """uvicorn logs to stderr; the last line of its start says where."""
    for line in iter(server.process.stderr.readline, ""):
        if "Uvicorn running on" in line:
            return
    raise AssertionError("uvicorn ended")


def test_uvicorn_by_its_option(folder, monkeypatch):
    require_package("uvicorn")
    port = free_port()
    (folder / "stack.toml").write_text(FILE.format(port=port))
    with Running(
        *UVICORN, "--host", "10.8.0.2", cwd=folder, environment={"ASYNCSTACK_CONFIG": "stack.toml"}
    ) as server:
        wait_until_it_serves(server)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
            answer = json.load(response)
        assert answer["server"] == ["10.8.0.2", 8000]
        assert answer["client"][0] == "10.8.0.1"
        status, _, errors = server.end()
        assert (status, "Traceback" in errors) == (0, False), errors


def test_uvicorn_with_a_mistake(folder):
    require_package("uvicorn")
    done = run(
        *UVICORN, cwd=folder, environment={"ASYNCSTACK_TUN": "as0", "ASYNCSTACK_ADDRES": "10.9.0.2/24"}
    )
    assert done.returncode != 0
    expected = "asyncstack.loop.tables.SettingsError: ASYNCSTACK_ADDRES: unknown; there are "
    assert [line for line in done.stderr.splitlines() if line.startswith(expected)]


@pytest.mark.tun
@pytest.mark.parametrize("kind", ["tun", "tap"])
def test_uvicorn_on_an_interface(kind, folder, netns):
    require_package("uvicorn")
    curl = require_program("curl")
    variables = {
        f"ASYNCSTACK_{kind.upper()}": "as0",
        "ASYNCSTACK_ADDRESSES": "10.9.0.2/24,fd09::2/64",
        "ASYNCSTACK_PEER": "10.9.0.1/24,fd09::1/64",
    }
    with Running(*UVICORN, "--host", "10.9.0.2", "--port", "80", cwd=folder, environment=variables) as server:
        wait_until_it_serves(server)
        answer = json.loads(run(curl, "-s", "--max-time", "10", "http://10.9.0.2/").stdout)
        assert (answer["server"], answer["client"][0]) == (["10.9.0.2", 80], "10.9.0.1")
        assert server.end()[0] == 0
    assert "as0" not in {name for _, name in socket.if_nameindex()}


@pytest.mark.tun
@pytest.mark.parametrize("loop", KINDS)
def test_run_on_an_interface(loop, netns):
    async def main() -> bytes:
        async with await asyncio.start_server(echo, "10.9.0.2", 7):
            return await asyncio.to_thread(of_kernel, "10.9.0.2", 7)

    def of_kernel(host: str, port: int) -> bytes:
        with netns.entered(), socket.create_connection((host, port), timeout=10) as client:
            client.sendall(b"kernel")
            return client.recv(6, socket.MSG_WAITALL)

    found = asyncstack.run(main(), tun="as0", addresses="10.9.0.2/24", peer="10.9.0.1/24", loop=loop)
    assert found == b"kernel"
    assert "as0" not in {name for _, name in socket.if_nameindex()}


@pytest.mark.tun
def test_an_address_twice(netns):
    """What was opened before the error is given back."""
    told = complaint(OSError, tun="as0", addresses=["10.9.0.2/24"] * 2, peer="10.9.0.1/24")
    assert "10.9.0.2" in told
    assert "as0" not in {name for _, name in socket.if_nameindex()}


def test_a_loop_is_closed_though_its_stack_could_not_be():
    class Broken:
        waits = False

        def open(self, loop):
            pass

        async def close(self):
            raise OSError("the device can not be closed")

    loop = SelectorEventLoop(opening=Broken())
    loop.run_until_complete(asyncio.sleep(0))
    with pytest.raises(OSError, match="can not be closed"):
        loop.close()
    assert loop.is_closed()
