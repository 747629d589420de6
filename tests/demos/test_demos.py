"""Every demo, run as a stranger would, and what it prints."""

import sys
from pathlib import Path

import pytest

from tests.programs import require_program
from tests.running import CHECKOUT, run

DEMOS = CHECKOUT / "demos"
FILES = sorted(DEMOS.rglob("*.py"))

EXPECTED = {
    "tcp_echo.py": ["every byte arrives,", "though the link loses", "a packet in twenty"],
    "udp_echo.py": ["port 7: is anybody there?", "port 8: [Errno 111] Connection refused"],
    "http_server.py": [
        '/hello/world 200 {"hello":"world","from":"fd00::1"}',
        "/hello 404",
        "/nothing 404",
        "/length 200 1000000 bytes",
    ],
    "dhcp.py": [
        "+ laptop 10.0.0.172",
        "laptop has 10.0.0.172/24",
        "+ phone 10.0.0.115",
        "phone has 10.0.0.115/24",
        "+ printer 10.0.0.7",
        "printer has 10.0.0.7/24",
        "the printer answers: 10.0.0.7",
        "- phone 10.0.0.115",
    ],
    "dns_server.py": [
        "shop.example.test 10.0.0.80 fd00::80",
        "x.apps.example.test 10.0.0.81",
        "7.square 0.0.0.49",
        "SRV(name='_http._tcp.example.test', ttl=60, priority=10, weight=0, port=8080, target='www.example.test')",
        "SRV(name='_http._tcp.example.test', ttl=60, priority=20, weight=0, port=80, target='www.example.test')",
        "10.0.0.9 is printer.example.test",
        "[Errno -2] Name or service not known: printer.example.test A: printer.example.test does not exist",
    ],
    "arp.py": [
        "at first:",
        "after a ping:",
        "  10.0.0.2 is at ",
        "while alice asks for 10.0.0.9:",
        "  10.0.0.2 is at ",
        "  10.0.0.9 is at ? (incomplete)",
        "[Errno 113] No route to host: host unreachable, says 10.0.0.1, about 10.0.0.9",
        "bob was silent for a minute; now alice will ask whether he is still there:",
        "  10.0.0.2 is at ",
        "  10.0.0.9 is at ? (failed)",
    ],
    "ports.py": [
        "port 80 is there once for each address: the other, to 10.0.0.3 port 80",
        "but not twice: Address already in use",
        "with reuse_port two servers share the clients: left, right",
        "port 0 is ",
        "and what is left can go to one server: all the others, to 10.0.0.2 port 4711",
        "a port that nobody has: Connection refused",
    ],
    "slaac.py": [
        "anna: fe80::ae5e:118c:60f7:3550/64, link-local, by link-local",
        "anna: fd00:1::6e0d:143d:2d4f:ec78/64, global, by slaac",
        "anna: ::/0 via fe80::1 dev office",
        "anna: names are asked of fd00:1::53",
        "ben: fe80::9dfc:8924:43bc:a808/64, link-local, by link-local",
        "ben: fd00:1::16a1:eaf7:8a86:e2b9/64, global, by slaac",
        "ben: ::/0 via fe80::1 dev office",
        "ben: names are asked of fd00:1::53",
        "router pings fd00:1::6e0d:143d:2d4f:ec78: 56 bytes",
        "anna pings fd00:1::16a1:eaf7:8a86:e2b9: 56 bytes",
        "the router goes",
        "anna: fe80::ae5e:118c:60f7:3550/64, link-local, by link-local",
        "anna: fd00:1::6e0d:143d:2d4f:ec78/64, global, by slaac",
        "anna: names are asked of nobody",
    ],
    "ping.py": [
        "b: 56 bytes from fd00::2",
        "fd00::2: 56 bytes from fd00::2",
        "10.0.0.99: [Errno 113] No route to host",
        "192.0.2.1: [Errno 101] Network is unreachable",
    ],
}


def output(name: str) -> list[str]:
    done = run(sys.executable, str(DEMOS / name))
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", EXPECTED)
def test_output(name):
    lines = output(name)
    assert len(lines) == len(EXPECTED[name])
    for line, expected in zip(lines, EXPECTED[name], strict=True):
        assert line.startswith(expected)


def test_chat():
    """Who is faster says it first; everybody hears everything, and what one says in order."""
    lines = [line.split() for line in output("websocket_chat.py")]
    for guest in ("anna", "ben", "carol"):
        heard = [(speaker, word) for who, _, speaker, word in lines if who == guest]
        assert sorted(heard) == [
            (f"{name}:", word) for name in ("anna", "ben", "carol") for word in ("bye", "hello")
        ]
        for name in ("anna:", "ben:", "carol:"):
            assert heard.index((name, "hello")) < heard.index((name, "bye"))


@pytest.mark.tun
def test_tap_frames():
    require_program("ping")
    text = "\n".join(output("tap_frames.py"))
    assert "type 0x0806" in text
    assert "answered: 10.8.0.2 is at" in text
    assert "type 0x0800" in text  # the kernel believed it, and sends its echo requests
    assert "2 packets transmitted, 0 received" in text


def test_each_demo_is_tried_here():
    alone = {path.name for path in DEMOS.glob("*.py")} - {"__init__.py"}
    assert alone == {*EXPECTED, "websocket_chat.py", "tap_frames.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(Path(path).relative_to(DEMOS)))
def test_it_is_short(path):
    assert len(path.read_text().splitlines()) < 60
