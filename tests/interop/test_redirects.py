"""A Linux router that is not the best way redirects us to the one that is; the connection goes on over that.

stack (as0) and two routers on one bridge: the stack's gateway is the first, but the far host is behind the second.
"""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from asyncstack import Stack, TapDevice
from asyncstack.link import neighbors
from tests.interop.kernel import peer
from tests.netns import NetworkNamespace

pytestmark = pytest.mark.tun

OURS, FIRST, SECOND, FAR = "10.9.0.2", "10.9.0.1", "10.9.0.3", "10.7.0.2"
ROUTE = "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv4/conf/all/send_redirects"


def router(here: NetworkNamespace, there: NetworkNamespace, name: str, address: str) -> None:
    """A namespace on the bridge of this one."""
    where = f"/proc/{os.getpid()}/fd/{there.fd}"
    here.run("ip", "link", "add", name, "type", "veth", "peer", "eth0", "netns", where)
    here.run("ip", "link", "set", name, "master", "br0", "up")
    there.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
    there.run("ip", "link", "set", "eth0", "up")
    there.run("sh", "-c", ROUTE)


async def test_a_router_redirects_us_and_the_connection_goes_on(netns, monkeypatch):
    monkeypatch.setattr(neighbors, "DELAY_FIRST_PROBE_TIME", 0.5)
    netns.run("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
    netns.run("ip", "link", "set", "br0", "up")
    with NetworkNamespace() as first, NetworkNamespace() as second:
        router(netns, first, "r1", FIRST)
        router(netns, second, "r2", SECOND)
        first.run("ip", "route", "add", "10.7.0.0/24", "via", SECOND)
        second.run("ip", "address", "add", f"{FAR}/32", "dev", "lo")
        async with Stack() as stack:
            waiting = asyncio.ensure_future(stack.add_interface(TapDevice("as0"), [f"{OURS}/24"], FIRST))
            while "as0:" not in Path("/proc/thread-self/net/dev").read_text():
                await asyncio.sleep(0.01)
            netns.run("ip", "link", "set", "as0", "master", "br0", "up")
            interface = await waiting
            interface.link.neighbors4.reachable_time = interface.link.neighbors4.retrans = 0.2
            far = socket.inet_aton(FAR)
            assert stack.routes.lookup(far).next_hop == socket.inet_aton(FIRST)
            with second.entered():
                running = peer("server", host=FAR, size=2_000_000, seed=3)
                program = await running.__aenter__()
            port = (await program.said())["port"]
            reader, writer = await stack.open_connection(FAR, port)
            data = bytes(range(251)) * 12_000
            writer.write(data)
            writer.write_eof()
            came = await reader.read()
            result = await program.ended()
            assert (len(came), result["size"]) == (2_000_000, len(data))
            writer.close()
            await running.__aexit__(None, None, None)
            assert stack.counters["redirect.accepted"] == 1
            assert stack.routes.lookup(far).next_hop == socket.inet_aton(SECOND)
            passed = int(forwarded(first))
            # what the first router saw of 3 MB is no more than what was under way when it spoke up
            assert 0 < passed < 200, passed
            # the second router goes: the old way is taken again
            second.run("ip", "link", "set", "eth0", "down")
            async with asyncio.timeout(20):  # it is noticed some time after it is next used (RFC 4861 10)
                while stack.routes.lookup(far).next_hop != socket.inet_aton(FIRST):
                    with pytest.raises((OSError, TimeoutError)):
                        await stack.ping(FAR, timeout=0.5)


def forwarded(space: NetworkNamespace) -> str:
    """How many packets a router has passed on."""
    lines = space.run("cat", "/proc/thread-self/net/snmp").splitlines()
    names, values = (line.split() for line in lines if line.startswith("Ip:"))
    return values[names.index("ForwDatagrams")]
