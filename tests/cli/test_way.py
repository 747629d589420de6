"""`asyncstack ping` and `traceroute` through Linux routers, each in a network namespace of its own."""

import os
from contextlib import ExitStack

import pytest

from tests.netns import NetworkNamespace
from tests.programs import require_program
from tests.running import cli, run

pytestmark = pytest.mark.tun

INTERFACE = (
    *("--tun", "as0", "--address", "10.9.0.2/24", "--address", "fd09::2/64"),
    *("--peer", "10.9.0.1/24", "--peer", "fd09::1/64"),
)


@pytest.fixture
def routers(netns: NetworkNamespace):
    """The namespace of the test routes on to a second router, and that one to a host: 10.9.0.1, 10.8.1.2, 10.8.2.2."""
    require_program("ip")
    with ExitStack() as stack:
        second, last = (stack.enter_context(NetworkNamespace()) for _ in range(2))
        for number, (left, right) in enumerate([(netns, second), (second, last)], 1):
            near, far = f"r{number}", f"l{number}"
            left.run("ip", "link", "add", near, "type", "veth", "peer", "name", far)
            left.run("ip", "link", "set", far, "netns", f"/proc/{os.getpid()}/fd/{right.fd}")
            for where, name, end in ((left, near, 1), (right, far, 2)):
                where.run("ip", "address", "add", f"10.8.{number}.{end}/24", "dev", name)
                where.run("ip", "address", "add", f"fd08:{number}::{end}/64", "dev", name, "nodad")
                where.run("ip", "link", "set", name, "up")
        for where in (netns, second):
            where.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
            where.run("sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")
        for network, router in (("10.8.2.0/24", "10.8.1.2"), ("fd08:2::/64", "fd08:1::2")):
            netns.run("ip", "route", "add", network, "via", router)
        for network, router in (("10.9.0.0/24", "10.8.1.1"), ("fd09::/64", "fd08:1::1")):
            second.run("ip", "route", "add", network, "via", router)
        last.run("ip", "route", "add", "default", "via", "10.8.2.1")
        last.run("ip", "-6", "route", "add", "default", "via", "fd08:2::1")
        yield last


@pytest.mark.parametrize("method", [(), ("-I",), ("-T", "-p", "9")], ids=["udp", "icmp", "tcp"])
@pytest.mark.parametrize(
    ("host", "hops"),
    [
        ("10.8.2.2", ["10.9.0.1", "10.8.1.2", "10.8.2.2"]),
        ("fd08:2::2", ["fd09::1", "fd08:1::2", "fd08:2::2"]),
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
    done = run(*cli("traceroute", "10.8.2.77", *INTERFACE, "-q", "1", "-w", "4", "-m", "4"))
    assert "10.8.1.2 (10.8.1.2)" in done.stdout.splitlines()[-1], done
    assert done.stdout.rstrip().endswith("!H"), done
    assert done.returncode == 0


def test_ping_that_is_stopped_on_the_way(routers):
    done = run(*cli("ping", "10.8.2.2", *INTERFACE, "-c", "2", "-i", "0.01", "-t", "2"))
    assert done.returncode == 1, done
    assert "From 10.8.1.2 icmp_seq=1 Time to live exceeded" in done.stdout
    assert "2 packets transmitted, 0 received, +2 errors, 100% packet loss" in done.stdout


@pytest.mark.parametrize(("host", "ttl"), [("10.8.2.2", 62), ("fd08:2::2", 62)])
def test_ping_through_both_routers(routers, host, ttl):
    done = run(*cli("ping", host, *INTERFACE, "-c", "2", "-i", "0.01", "-s", "3000"))
    assert done.returncode == 0, done
    assert f"3008 bytes from {host}: icmp_seq=2 ttl={ttl} time=" in done.stdout
