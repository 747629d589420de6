"""`asyncstack run`: programs as they are, in processes of their own, on a stack; and mistakes."""

import socket
import sys

import dpkt
import pytest

from tests.cli.scripts import ECHO, NETWORK, output
from tests.loop.test_running import FILE
from tests.running import cli, run

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
