"""`asyncstack ping` and `traceroute` through Linux routers, each in a network namespace of its own."""

import signal
from contextlib import ExitStack

import pytest

from tests.interop.routers import Path
from tests.programs import require_program
from tests.running import Running, cli, run

pytestmark = pytest.mark.tun

INTERFACE = (
    *("--tun", "as0", "--address", "10.9.0.2/24", "--address", "fd09::2/64"),
    *("--peer", "10.9.0.1/24", "--peer", "fd09::1/64"),
)


@pytest.fixture
def routers(netns):
    require_program("ip")
    with ExitStack() as stack:
        yield Path(stack)


@pytest.mark.parametrize("method", [(), ("-I",), ("-T", "-p", "9")], ids=["udp", "icmp", "tcp"])
@pytest.mark.parametrize(
    ("host", "hops"),
    [
        ("10.7.0.2", ["10.9.0.1", "10.8.0.2", "10.7.0.2"]),
        ("fd07::2", ["fd09::1", "fd08::2", "fd07::2"]),
    ],
)
def test_traceroute(routers, method, host, hops):
    done = run(*cli("traceroute", host, *INTERFACE, "-n", "-w", "2", *method))
    assert done.returncode == 0, done
    head, *lines = done.stdout.splitlines()
    size = (24 if "-T" in method else 40) + (40 if ":" in host else 20)
    assert head == f"traceroute to {host} ({host}), 30 hops max, {size} byte packets"
    assert [line.split()[:2] for line in lines] == [[str(i), hop] for i, hop in enumerate(hops, 1)]
    assert all(line.count(" ms") == 3 for line in lines)


def test_traceroute_to_where_nobody_is(routers):
    done = run(*cli("traceroute", "10.7.0.77", *INTERFACE, "-q", "1", "-w", "4", "-m", "4"))
    assert "10.8.0.2 (10.8.0.2)" in done.stdout.splitlines()[-1], done
    assert done.stdout.rstrip().endswith("!H"), done
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("host", "router", "hop", "said"),
    [
        ("10.7.0.2", "10.8.0.2", "1", "Time to live exceeded"),
        ("fd07::2", "fd08::2", "1", "Time exceeded: Hop limit"),
        ("10.7.0.77", "10.8.0.2", "9", "Destination Host Unreachable"),
        ("fd07::77", "fd08::2", "9", "Destination unreachable: Address unreachable"),
    ],
)
def test_ping_that_is_stopped_on_the_way(routers, host, router, hop, said):
    """Linux's ping, one hop nearer, is told the same and says it in the same words."""
    done = run(*cli("ping", host, *INTERFACE, "-c", "2", "-i", "0.01", "-W", "6", "-t", str(int(hop) + 1)))
    assert done.returncode == 1, done
    line = f"From {router} icmp_seq=1 {said}"
    assert line in done.stdout
    linux = run(require_program("ping"), "-c", "1", "-W", "6", "-t", hop, host)
    assert line in linux.stdout, linux
    assert "2 packets transmitted, 0 received, +2 errors, 100% packet loss" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("10.7.0.2", "-I", "10.9.0.77"), "10.9.0.77 is not an address of this stack"),
        (("10.7.0.2", "-I", "fd09::2"), "'10.7.0.2' is no address of AF_INET6"),
        (("10.7.0.2", "-I", "as0"), "'as0' is no address"),
        (("fd07::2", "-4"), "'fd07::2' is no address of AF_INET"),
    ],
)
def test_ping_that_can_not_begin(routers, arguments, said):
    done = run(*cli("ping", *arguments, *INTERFACE))
    assert (done.returncode, done.stdout) == (2, ""), done
    assert said in done.stderr


def test_ping_that_is_interrupted(routers):
    with Running(*cli("ping", "10.9.0.77", *INTERFACE, "-c", "0", "-W", "0.1", "-i", "0.1")) as ping:
        assert ping.line().startswith("PING")
        assert ping.line()
        ping.process.send_signal(signal.SIGINT)
        said, _ = ping.process.communicate(timeout=10)
        assert "0 received" in said
        assert ping.process.returncode == 1


@pytest.mark.parametrize(("host", "ttl"), [("10.7.0.2", 62), ("fd07::2", 62)])
def test_ping_through_both_routers(routers, host, ttl):
    done = run(*cli("ping", host, *INTERFACE, "-c", "2", "-i", "0.01", "-s", "3000"))
    assert done.returncode == 0, done
    assert f"3008 bytes from {host}: icmp_seq=2 ttl={ttl} time=" in done.stdout


def test_ping_says_why_at_the_end(netns):
    """Also where a reply is waited for less long than a neighbour is."""
    tap = ("--tap", "as0", "--address", "10.9.0.2/24", "--peer", "10.9.0.1/24")
    done = run(*cli("ping", "10.9.0.77", *tap, "-c", "2", "-i", "0.01"))
    assert done.returncode == 1, done
    assert "no answer yet for icmp_seq=1" in done.stdout
    assert "From 10.9.0.2 icmp_seq=2 Destination Host Unreachable" in done.stdout
    assert "2 packets transmitted, 0 received, +1 errors, 100% packet loss" in done.stdout
