"""Two Linux routers and a far host, each in a network namespace.

stack  --  router 1, the namespace of the test: 10.9.0.1  --  router 2: 10.8.0.2  --  far host: 10.7.0.2

And the same with fd09::1, fd08::2, fd07::2.
"""

import os
from contextlib import ExitStack

from tests.netns import NetworkNamespace

FAR, FAR6 = "10.7.0.2", "fd07::2"
FORWARD = """
echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
echo 0 > /proc/sys/net/ipv4/icmp_ratelimit; echo 0 > /proc/sys/net/ipv6/icmp/ratelimit
"""  # and errors as often as there is a reason


def join(one: NetworkNamespace, other: NetworkNamespace, net: str, name: str, mtu: int) -> None:
    """A veth pair between two namespaces, at .1 and .2 of network `net`."""
    there = f"/proc/{os.getpid()}/fd/{other.fd}"
    size = ("mtu", str(mtu))
    number = ("index", f"1{net}")  # see `segment.join`
    one.run("ip", "link", "add", name, *number, *size, "type", "veth", "peer", name, *size, "netns", there)
    for space, number in ((one, 1), (other, 2)):
        space.run("ip", "address", "add", f"10.{net}.0.{number}/24", "dev", name)
        space.run("ip", "address", "add", f"fd0{net}::{number}/64", "dev", name, "nodad")
        space.run("ip", "link", "set", name, "up")


class Path:
    """The namespaces. `one` is that of the test."""

    def __init__(self, stack: ExitStack, middle_mtu: int = 1500) -> None:
        self.one = NetworkNamespace.__new__(NetworkNamespace)
        self.one.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        stack.callback(self.one.close)
        self.two, self.far = (stack.enter_context(NetworkNamespace()) for _ in range(2))
        join(self.one, self.two, "8", "middle", middle_mtu)
        join(self.two, self.far, "7", "wide", 1500)
        for space in (self.one, self.two):
            space.run("sh", "-c", FORWARD)
        for table in ("arp_cache", "ndisc_cache"):  # that nobody is there is known after three questions
            self.two.run("ip", "ntable", "change", "name", table, "dev", "wide", "retrans", "200")
        for space, network, gateway in (
            (self.one, "7", "8.2"),
            (self.two, "9", "8.1"),
            (self.far, "9", "7.1"),
            (self.far, "8", "7.1"),
        ):
            near, number = gateway.split(".")
            space.run("ip", "route", "add", f"10.{network}.0.0/24", "via", f"10.{near}.0.{number}")
            space.run("ip", "route", "add", f"fd0{network}::/64", "via", f"fd0{near}::{number}")
