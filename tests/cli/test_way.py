"""`asyncstack ping` and `traceroute` through Linux routers, each in a network namespace of its own."""

from contextlib import ExitStack

import pytest

from tests.interop.routers import Path
from tests.programs import require_program
from tests.running import cli, run

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
    size = 40 if "-T" in method else 80 if ":" in host else 60
    assert head == f"traceroute to {host} ({host}), 30 hops max, {size} byte packets"
    assert [line.split()[:2] for line in lines] == [[str(i), hop] for i, hop in enumerate(hops, 1)]
    assert all(line.count(" ms") == 3 for line in lines)


def test_traceroute_to_where_nobody_is(routers):
    done = run(*cli("traceroute", "10.7.0.77", *INTERFACE, "-q", "1", "-w", "4", "-m", "4"))
    assert "10.8.0.2 (10.8.0.2)" in done.stdout.splitlines()[-1], done
    assert done.stdout.rstrip().endswith("!H"), done
    assert done.returncode == 0


def test_ping_that_is_stopped_on_the_way(routers):
    done = run(*cli("ping", "10.7.0.2", *INTERFACE, "-c", "2", "-i", "0.01", "-t", "2"))
    assert done.returncode == 1, done
    assert "From 10.8.0.2 icmp_seq=1 Time to live exceeded" in done.stdout
    assert "2 packets transmitted, 0 received, +2 errors, 100% packet loss" in done.stdout


@pytest.mark.parametrize(("host", "ttl"), [("10.7.0.2", 62), ("fd07::2", 62)])
def test_ping_through_both_routers(routers, host, ttl):
    done = run(*cli("ping", host, *INTERFACE, "-c", "2", "-i", "0.01", "-s", "3000"))
    assert done.returncode == 0, done
    assert f"3008 bytes from {host}: icmp_seq=2 ttl={ttl} time=" in done.stdout
