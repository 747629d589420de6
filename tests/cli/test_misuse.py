"""Errors of use: one clear line, exit status 2."""

import socket
from pathlib import Path

import pytest

from tests.programs import require_program
from tests.running import cli, run

TUN = ("--tun", "as0", "--address", "10.9.0.2/24")


def complaint(*command: str, cwd: Path | None = None) -> str:
    """The one line that the command has to say before it ends with status 2."""
    done = run(*command, **({} if cwd is None else {"cwd": cwd}))
    assert (done.returncode, done.stdout) == (2, ""), done
    (line,) = done.stderr.splitlines()
    assert line.startswith("asyncstack: ")
    return line


MISTAKES = {
    "a command that is not there": (("srv",), "No such command 'srv'"),
    "an option that is not there": (("serve", ".", "--frob"), "--frob"),
    "no target": (("serve",), "TARGET"),
    "a target that is nothing": (("serve", "nowhere", "--publish", "127.0.0.1:0"), "neither a folder nor"),
    "a module that is not there": (("serve", "nomod:app", "--publish", "127.0.0.1:0"), "no module 'nomod'"),
    "an attribute that is not there": (
        ("serve", "json:app", "--publish", "127.0.0.1:0"),
        "no attribute 'app'",
    ),
    "something else": (
        ("serve", "json:dumps", "--publish", "127.0.0.1:0"),
        "no async handler(reader, writer)",
    ),
    "no interface": (("serve", "."), "one of --tun NAME and --tap NAME, or --publish HOST:PORT"),
    "two interfaces": (("serve", ".", *TUN, "--tap", "as1"), "one of --tun NAME and --tap NAME"),
    "a TUN without address": (("serve", ".", "--tun", "as0"), "--address 10.9.0.2/24"),
    "no address": (("serve", ".", "--tun", "as0", "--address", "10.9.0"), "'10.9.0'"),
    "a word on a TUN": (
        ("ping", "10.9.0.1", "--tun", "as0", "--address", "dhcp4"),
        "--address: dhcp4 needs Ethernet: use a TAP",
    ),
    "workers on what is leased": (
        ("serve", ".", "--tap", "as0", "--address", "dhcp4", "--workers", "2"),
        "--workers share addresses: write them out instead of dhcp4",
    ),
    "an address without length": (
        ("ping", "10.9.0.1", "--tun", "as0", "--address", "fd09::2"),
        "--address: 'fd09::2' needs a prefix length, such as fd09::2/64",
    ),
    "a peer without length": (("serve", ".", *TUN, "--peer", "10.9.0.1"), "10.9.0.1/24"),
    "a MAC on a TUN": (("serve", ".", *TUN, "--mac", "02:00:5e:10:00:01"), "--mac is for a TAP"),
    "a MAC of a group": (
        ("ping", "10.9.0.1", "--tap", "as0", "--address", "10.9.0.2/24", "--mac", "03:00:5e:10:00:01"),
        "--mac: '03:00:5e:10:00:01' is no unicast Ethernet address",
    ),
    "too long a name": (("serve", ".", "--tun", "a" * 16, "--address", "10.9.0.2/24"), "15 bytes"),
    "a simulated network on a TUN": (("serve", ".", *TUN, "--publish", "127.0.0.1:0"), "leave out --tun"),
    "workers without a TUN": (
        ("serve", ".", "--publish", "127.0.0.1:0", "--workers", "2"),
        "--workers needs the queues of a --tun or --tap",
    ),
    "workers without an interface": (("serve", ".", "--workers", "2"), "one of --tun NAME and --tap NAME"),
    "workers on any port": (("serve", ".", *TUN, "--workers", "2", "--port", "0"), "--port 80"),
    "workers with a capture": (
        ("serve", ".", *TUN, "--workers", "2", "--capture", "all.pcapng"),
        "--capture is for one process",
    ),
    "no workers": (("serve", ".", *TUN, "--workers", "0"), "--workers"),
    "a key without certificate": (("serve", ".", *TUN, "--ssl-keyfile", __file__), "--ssl-certfile"),
    "a certificate that is none": (
        ("serve", ".", "--publish", "127.0.0.1:0", "--ssl-certfile", __file__),
        "test_misuse.py",
    ),
    "no port to publish on": (("serve", ".", "--publish", "127.0.0.1"), "'127.0.0.1' is not HOST:PORT"),
    "a port too large": (("serve", ".", "--port", "65536", "--publish", "127.0.0.1:0"), "65535"),
    "nowhere to write": (
        ("serve", ".", "--publish", "127.0.0.1:0", "--capture", "no/such"),
        "no/such: No such file",
    ),
    "nobody to ping": (("ping",), "HOST"),
    "hops that end before they begin": (
        ("traceroute", "10.9.0.1", *TUN, "-f", "9", "-m", "8"),
        "--first is beyond",
    ),
    "less than no pings": (("ping", "10.9.0.1", *TUN, "--count", "-1"), "--count"),
}


@pytest.mark.parametrize("arguments, expected", MISTAKES.values(), ids=MISTAKES)
def test_mistake(arguments, expected):
    assert expected in complaint(*cli(*arguments))


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        (cli("serve", "."), ""),
        ((*cli()[:1], "-m", "demos.site"), "; elsewhere: make demo DEMO='--publish 127.0.0.1:8081'"),
    ],
)
def test_port_in_use(command, advice):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = complaint(*command, "--publish", f"127.0.0.1:{port}")
    assert line == f"asyncstack: Address already in use: listen on 127.0.0.1 port {port}{advice}"


@pytest.mark.tun
@pytest.mark.parametrize("kind", ["tun", "tap"])
def test_no_permission(kind):
    setpriv = require_program("setpriv")
    without = (setpriv, "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--")
    interface = (f"--{kind}", "as0", "--address", "10.9.0.2/24", "--peer", "10.9.0.1/24")
    for command in (cli("serve", "."), cli("ping", "10.9.0.1"), (*cli()[:1], "-m", "demos.site")):
        line = complaint(*without, *command, *interface)
        assert "no permission to attach to as0" in line
        assert "CAP_NET_ADMIN" in line
        assert f"ip tuntap add dev as0 mode {kind}" in line


@pytest.mark.tun
def test_no_route_on_the_interface_that_was_named():
    assert "no route to fe80::1%as0" in complaint(*cli("ping", "fe80::1%as0", *TUN))


@pytest.mark.tun
def test_a_name_that_nobody_knows():
    assert "'nobody' is no address" in complaint(*cli("ping", "nobody", *TUN))
