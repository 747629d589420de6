"""`ip -6 neigh` through its states, the kernel's of us and ours of the kernel (RFC 4861 7.3.2)."""

import asyncio
import json
import socket
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

import asyncstack
from asyncstack.link import neighbors
from asyncstack.link.reachability import State
from asyncstack.wire.ethernet import ETHERTYPE_IPV6
from tests.interop.loops import on_uvloop
from tests.interop.segment import Segment
from tests.interop.test_icmp import Talker
from tests.interop.test_neighbors import QUICK
from tests.interop.test_slaac import add

pytestmark = pytest.mark.tun

OURS, PEER = "2001:db8:1::5", "2001:db8:1::1"
DISCOVERY = (135, 136)


@pytest.fixture
async def made(netns):
    """(kernel's namespace, our stack, our interface)."""
    with ExitStack() as exits:
        segment = Segment(exits)
        kernel = segment.namespace("fe80::1/64", f"{PEER}/64")
        kernel.run("ip", "ntable", "change", "name", "ndisc_cache", "dev", "eth0", *QUICK)
        async with asyncstack.Stack(asyncstack.StackConfig(dad_transmits=0)) as stack:
            interface = await add(stack, segment, f"{OURS}/64")
            # datagrams are not answered: an answer would be a sign of life
            await stack.create_datagram_endpoint(Talker, (OURS, 9999))
            yield kernel, stack, interface


def make_deaf(interface):
    """Let no neighbour discovery in. Returns what undoes that."""
    receive = interface.handlers[ETHERTYPE_IPV6]

    async def without_discovery(data, frame, interface):
        if not (data[6] == 58 and data[40] in DISCOVERY):
            await receive(data, frame, interface)

    interface.handlers[ETHERTYPE_IPV6] = without_discovery
    return lambda: interface.handlers.__setitem__(ETHERTYPE_IPV6, receive)


def knock(kernel):
    """A datagram of the kernel's that nobody answers."""
    with kernel.entered(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto(b"knock", (OURS, 9999))


async def pass_through(states, look, seconds=20):
    """Until `look()` has shown all of `states` in their order."""
    left = list(states)
    async with asyncio.timeout(seconds):
        while left:
            if look() == left[0]:
                left.pop(0)
            await asyncio.sleep(0.01)


@on_uvloop
async def test_the_kernels_states_of_us(made):
    kernel, _, interface = made

    def look():
        entries = json.loads(kernel.run("ip", "-6", "-j", "neigh", "show", OURS, "dev", "eth0") or "[]")
        return entries[0]["state"][0] if entries else None

    kernel.run("ip", "-6", "neigh", "flush", "dev", "eth0")
    hear = make_deaf(interface)
    knock(kernel)
    await pass_through(["INCOMPLETE"], look)
    hear()
    knock(kernel)  # it may have given up meanwhile
    await pass_through(["REACHABLE", "STALE"], look)
    knock(kernel)
    await pass_through(["DELAY", "REACHABLE", "STALE"], look)  # PROBE lasts as long as our answer takes
    make_deaf(interface)
    knock(kernel)
    await pass_through(["DELAY", "PROBE", "FAILED"], look)


@on_uvloop
async def test_our_states_of_the_kernel(made, monkeypatch):
    monkeypatch.setattr(neighbors, "DELAY_FIRST_PROBE_TIME", 0.5)
    kernel, stack, interface = made
    table = interface.link.neighbors6
    table.reachable_time, table.retrans = 0.4, 0.3
    peer = ip_address(PEER).packed

    def look():
        # REACHABLE ends when somebody looks
        entry = table.entries.get(peer)
        return None if entry is None else entry.state

    def send():
        transport.sendto(b"knock")

    async def lost():
        """What comes is not heard: the kernel is gone."""
        undo = make_deaf(interface)
        await pass_through([State.DELAY, State.PROBE, State.FAILED], look)
        undo()

    transport, talker = await stack.create_datagram_endpoint(Talker, remote_addr=(PEER, 9))
    # the closed port's errors are signs of nothing: only neighbour discovery confirms
    send()
    await pass_through([State.INCOMPLETE, State.REACHABLE], look)
    await asyncio.sleep(0.7)  # more than 1.5 times the reachable time
    send()
    await pass_through([State.DELAY, State.REACHABLE], look)
    await asyncio.sleep(0.7)
    send()
    await lost()
    send()
    await pass_through([State.REACHABLE], look)
    kernel.run("ip", "link", "set", "eth0", "down")
    await asyncio.sleep(0.7)
    send()
    await pass_through([State.DELAY, State.PROBE, State.FAILED], look)
    send()
    async with asyncio.timeout(5):
        while not isinstance(await talker.errors.get(), OSError):
            pass
    transport.close()
