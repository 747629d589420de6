"""`asyncstack serve` and `ping` on a TUN and a TAP, with the kernel as the peer."""

import signal
from pathlib import Path

import pytest

from tests.netns import NetworkNamespace
from tests.programs import require_program
from tests.running import Running, cli, run

pytestmark = [pytest.mark.tun, pytest.mark.parametrize("kind", ["tun", "tap"])]


def interface(kind: str) -> tuple[str, ...]:
    return (
        *(f"--{kind}", "as0"),
        *("--address", "10.9.0.2/24", "--address", "fd09::2/64"),
        *("--peer", "10.9.0.1/24", "--peer", "fd09::1/64"),
    )


@pytest.mark.parametrize("offload", ["--offload", "--no-offload"])
def test_a_folder_fetched_by_curl(kind, offload, tmp_path: Path):
    curl = require_program("curl")
    large = bytes(range(256)) * 40_000
    (tmp_path / "large").write_bytes(large)
    with Running(*cli("serve", str(tmp_path), *interface(kind), offload)) as server:
        assert server.url() == "http://10.9.0.2:80/"
        assert server.url() == "http://[fd09::2]:80/"
        for host in ("10.9.0.2", "[fd09::2]"):
            got = tmp_path / "got"
            run(curl, "-s", "--max-time", "20", "-o", str(got), f"http://{host}/large")
            assert got.read_bytes() == large
        assert server.end(signal.SIGTERM) == (0, "", "")


def test_an_interface_that_was_there_is_left_as_it_was(kind, tmp_path: Path, netns: NetworkNamespace):
    require_program("ip")
    netns.run("ip", "tuntap", "add", "dev", "as0", "mode", kind)
    before = netns.run("ip", "-o", "address", "show", "dev", "as0"), netns.run("ip", "route")
    with Running(*cli("serve", str(tmp_path), *interface(kind))) as server:
        server.url()
        assert "10.9.0.1/24" in netns.run("ip", "-o", "address", "show", "dev", "as0")
        assert "10.9.0.0/24 dev as0" in netns.run("ip", "route")
        assert server.end(signal.SIGTERM)[0] == 0
    assert (netns.run("ip", "-o", "address", "show", "dev", "as0"), netns.run("ip", "route")) == before
    assert "UP" not in netns.run("ip", "-o", "link", "show", "dev", "as0").split("<")[1].split(">")[0].split(
        ","
    )


def test_an_interface_of_ours_is_gone(kind, tmp_path: Path, netns: NetworkNamespace):
    require_program("ip")
    with Running(*cli("serve", str(tmp_path), *interface(kind))) as server:
        server.url()
        assert "as0" in netns.run("ip", "-o", "link")
        assert server.end(signal.SIGINT)[0] == 0
    assert "as0" not in netns.run("ip", "-o", "link")


def test_an_interface_that_somebody_deletes(kind, tmp_path: Path, netns: NetworkNamespace):
    require_program("ip")
    with Running(*cli("serve", str(tmp_path), *interface(kind))) as server:
        server.url()
        netns.run("ip", "link", "delete", "as0")
        _, said = server.process.communicate(timeout=10)
        assert said.startswith("asyncstack: interface as0 is gone: ")
        assert server.process.returncode == 1


def test_ping(kind):
    done = run(*cli("ping", "10.9.0.1", *interface(kind), "-c", "3", "-i", "0.01"))
    assert done.returncode == 0, done
    replies = [
        line for line in done.stdout.splitlines() if line.startswith("64 bytes from 10.9.0.1: icmp_seq=")
    ]
    assert len(replies) == 3
    assert "3 packets transmitted, 3 received, 0% packet loss" in done.stdout


def test_ping_without_answer(kind):
    """Nobody has that address: no reply, or the word that it can not be reached."""
    done = run(*cli("ping", "10.9.0.77", *interface(kind), "-c", "1", "-W", "0.2"))
    assert done.returncode == 1, done
    assert "1 packets transmitted, 0 received, 100% packet loss" in done.stdout


PROGRAM = """
import asyncio

async def main():
    async with await asyncio.start_server(lambda reader, writer: None, "10.9.0.2", 80) as server:
        print("http://10.9.0.2:80/", flush=True)
        await server.serve_forever()

asyncio.run(main())
"""


@pytest.mark.parametrize("command", ["serve", "workers", "run"])
def test_the_mac_is_the_one_that_was_asked_for(kind, command, tmp_path: Path, netns: NetworkNamespace):
    """So that a DHCP server knows the stack again."""
    require_program("ip")
    if kind == "tun":
        return  # has none: tests/cli/test_misuse.py
    mac = "02:00:5e:10:00:01"
    words = (*interface(kind), "--mac", mac)
    if command == "run":
        (tmp_path / "program.py").write_text(PROGRAM)
        words = ("run", *words, str(tmp_path / "program.py"))
    else:
        words = ("serve", str(tmp_path), *words, *(["--workers", "2"] if command == "workers" else []))
    with Running(*cli(*words)) as server:
        server.url()
        netns.run("ping", "-c1", "-W5", "10.9.0.2")
        assert f"lladdr {mac}" in netns.run("ip", "neigh", "show", "10.9.0.2")
        server.end(signal.SIGTERM)
