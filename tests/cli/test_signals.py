"""Signals to `asyncstack`: while it waits for an address that nobody gives, and to a program that it runs."""

import signal
from pathlib import Path

import pytest

from tests.netns import NetworkNamespace
from tests.programs import require_program
from tests.running import Running, cli

pytestmark = pytest.mark.tun

WAITING = ("--tap", "as0", "--address", "dhcp4")
COMMANDS = {
    "run": ("run", *WAITING, "script.py"),
    "ping": ("ping", "10.9.0.1", *WAITING),
    "traceroute": ("traceroute", "10.9.0.1", *WAITING),
    "serve": ("serve", ".", *WAITING),
}

PROGRAM = """
import asyncio, uvloop

async def main():
    print("begun", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        print("ended", flush=True)

{run}(main())
"""


STUBBORN = """
import time

while True:
    try:
        print("on", flush=True)
        time.sleep(60)
    except BaseException:
        pass
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_signal_while_nobody_gives_an_address(command, number, netns: NetworkNamespace, tmp_path: Path):
    (tmp_path / "script.py").write_text(PROGRAM.format(run="asyncio.run"))
    with Running(*cli(*command), cwd=tmp_path) as waiting:
        assert waiting.process.stderr.readline() == "asyncstack: waiting for dhcp4 on as0 ...\n"
        status, out, errors = waiting.end(number)
        assert (status, out, errors.strip()) == (128 + number, "", "")


@pytest.mark.parametrize("run", ["asyncio.run", "uvloop.run"])
def test_a_program_that_is_terminated(run, netns: NetworkNamespace, tmp_path: Path):
    """Its stack is closed: the peer's address, on an interface that was there before, is gone."""
    require_program("ip")
    netns.run("ip", "tuntap", "add", "dev", "as0", "mode", "tun")
    (tmp_path / "script.py").write_text(PROGRAM.format(run=run))
    interface = ("--tun", "as0", "--address", "10.9.0.2/24", "--peer", "10.9.0.1/24")
    with Running(*cli("run", *interface, "script.py"), cwd=tmp_path) as program:
        assert program.line() == "begun"
        assert "10.9.0.1/24" in netns.run("ip", "address", "show", "dev", "as0")
        assert program.end(signal.SIGTERM) == (128 + signal.SIGTERM, "ended\n", "")
    assert "10.9.0.1/24" not in netns.run("ip", "address", "show", "dev", "as0")


def test_a_program_that_does_not_end(netns: NetworkNamespace, tmp_path: Path):
    """It is ended when the time for closing the stack is up."""
    (tmp_path / "script.py").write_text(STUBBORN)
    interface = ("--tun", "as0", "--address", "10.9.0.2/24")
    with Running(*cli("run", *interface, "script.py"), cwd=tmp_path) as program:
        assert program.line() == "on"
        assert program.end(signal.SIGTERM) == (-signal.SIGTERM, "on\n", "")
