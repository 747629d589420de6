"""What the README shows works: its programs run, and the rest of its code and commands name only what is there."""

import ast
import asyncio
import inspect
import re
import shlex
import socket
import sys
import types
from pathlib import Path

import pytest

import asyncstack
from asyncstack.cli.commands import cli
from asyncstack.loop.settings import Settings
from asyncstack.testing import run
from asyncstack.transport.tcp.congestion import LossBased
from tests import running

TEXT = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for language, text in BLOCKS
    if language == "sh"
    for line in text.splitlines()
    if line.startswith("asyncstack ") and "..." not in line
]
SCOPE = "asyncio_default_fixture_loop_scope=function"  # else pytest-asyncio warns


def block(word: str) -> str:
    """The one block with this word."""
    [found] = [text for _, text in BLOCKS if word in text]
    return found


async def execute(text: str, **names: object) -> dict[str, object]:
    """Run code that awaits at its top level, as in the REPL of asyncio. What it has defined, and `names`."""
    code = compile(text, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names["asyncstack"] = asyncstack
    coroutine = types.FunctionType(code, names)()
    if inspect.iscoroutine(coroutine):
        await coroutine
    return names


def output_of(*command: str) -> str:
    """What a program prints; it must end well, and complain of nothing."""
    done = running.run(*command)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


def test_the_first_program():
    assert output_of(sys.executable, "-c", block("loss=0.05")) == "b'hello\\n'\n"


@pytest.mark.tun
async def test_a_real_interface():
    names = {"echo": echo}
    server = asyncio.create_task(execute(block('as0", peer="10.9.0.1/24")  # needs'), **names))
    async with asyncio.timeout(10):
        while True:
            try:
                reader, writer = await asyncio.open_connection("10.9.0.2", 7)
                break
            except OSError:
                await asyncio.sleep(0.01)
        writer.write(b"over the wire")
        assert await reader.readexactly(13) == b"over the wire"
        writer.close()
    server.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server


def test_a_lan_with_services(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # for the leases
    run(execute(block("DhcpServer(router, port")))
    assert 0.002 < float(capsys.readouterr().out) < 0.1
    assert (tmp_path / "leases.txt").read_text()


@pytest.mark.virtual_time
async def test_a_congestion_controller(network):
    names = await execute(block("class Mine"), LossBased=LossBased)
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
    network.link(a, b, delay=0.01, loss=0.02)
    a.register_congestion(names["Mine"])
    await b.start_server(echo, None, 7)
    reader, writer = await a.open_connection("b", 7, tcp=asyncstack.TcpConfig(congestion="mine"))
    writer.write(bytes(300_000))
    assert await reader.readexactly(300_000) == bytes(300_000)
    writer.close()


def test_a_test_of_ones_own(tmp_path):
    source = f"import pytest\n\n{inspect.getsource(echo)}\n\n{block('test_a_dead_peer_is_noticed')}"
    (tmp_path / "test_it.py").write_text(source)
    assert "1 passed" in output_of(sys.executable, "-m", "pytest", "-o", SCOPE, str(tmp_path))


def test_a_script_of_packetdrill(tmp_path):
    (tmp_path / "it.pkt").write_text(block("socket(..., SOCK_STREAM"))
    output_of(sys.executable, "-m", "asyncstack", "packetdrill", str(tmp_path / "it.pkt"))


def test_a_network_in_a_file(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "net.toml").write_text(block("stands_on").replace(":8080", f":{port}"))
    (tmp_path / "script.py").write_text("import asyncstack\nprint(asyncstack.__version__)\n")
    words = ["-m", "asyncstack", "run", "--network", str(tmp_path / "net.toml"), str(tmp_path / "script.py")]
    assert output_of(sys.executable, *words) == f"{asyncstack.__version__}\n"
    assert Settings.read(tmp_path / "net.toml")


@pytest.mark.parametrize("text", PYTHON, ids=lambda text: text.partition("\n")[0])
def test_all_code_compiles_and_names_what_is_there(text):
    tree = compile(text, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "asyncstack":
            getattr(asyncstack, node.attr)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_all_commands_have_these_options(words):
    command = cli.get_command(None, words[0])
    command.make_context(words[0], words[1:])  # reads the words; does nothing else


def test_there_is_something_to_test():
    assert (len(PYTHON), len(COMMANDS)) == (11, 7)
