"""`ip neigh` through its states, the kernel's of us and ours of the kernel, over a TAP; IPv4."""

import asyncio
import json
import socket
from itertools import groupby

import pytest

from asyncstack.link import neighbors
from asyncstack.link.reachability import State
from asyncstack.wire.ethernet import ETHERTYPE_ARP
from tests.interop.kernel import run
from tests.interop.loops import on_uvloop
from tests.interop.medium import OURS, PEER, TAP, host
from tests.interop.test_icmp import Talker

pytestmark = pytest.mark.tun

NOBODY = "10.9.0.77"
# The kernel's times, in milliseconds. REACHABLE lasts from half of what is said here to one and a half of it; the
# kernel takes its own question for use of the entry, so DELAY has to be shorter, or it would skip STALE.
QUICK = ("base_reachable", "1000", "delay_probe", "400", "retrans", "200")


async def kernel_state(address: str = OURS) -> str:
    """What `ip neigh` says of `address`."""
    entries = json.loads(await run("ip", "-j", "-4", "neigh", "show", "dev", "as0"))
    return next((entry["state"][0] for entry in entries if entry["dst"] == address), "NONE")


async def pass_through(states: list[str], look, seconds: float = 15) -> None:
    """Until `look()` has shown all of `states` in their order."""
    seen, end = [], asyncio.get_running_loop().time() + seconds
    while states:
        seen.append(await look())
        if seen[-1] == states[0]:
            states = states[1:]
        assert asyncio.get_running_loop().time() < end, (states, [state for state, _ in groupby(seen)])
        await asyncio.sleep(0.01)


def knock(address: str = OURS) -> None:
    """A datagram of the kernel that nobody answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto(b"knock", (address, 9999))


@pytest.fixture
async def made(netns):
    async with host(TAP) as made:
        await made.stack.create_datagram_endpoint(
            Talker, (OURS, 9999)
        )  # no error comes back: that would confirm us
        await run("ip", "ntable", "change", "name", "arp_cache", "dev", "as0", *QUICK)
        yield made


@on_uvloop
async def test_the_kernel_sees_us_come_stay_and_die(made):
    look = kernel_state
    await run("ip", "neigh", "flush", "dev", "as0")
    made.interface.handlers[ETHERTYPE_ARP] = quiet
    knock()
    await pass_through(["INCOMPLETE"], look)
    del made.interface.handlers[ETHERTYPE_ARP]
    knock()  # it may have given up meanwhile
    await pass_through(["REACHABLE", "STALE"], look)
    knock()
    await pass_through(["DELAY", "REACHABLE", "STALE"], look)  # PROBE lasts as long as our answer takes
    made.interface.handlers[ETHERTYPE_ARP] = quiet
    knock()
    await pass_through(["DELAY", "PROBE", "FAILED"], look)


async def quiet(data, frame, interface):
    """ARP goes unheard."""


async def test_the_kernel_does_not_find_who_is_not_there(made):
    knock(NOBODY)
    await pass_through(["INCOMPLETE", "FAILED"], lambda: kernel_state(NOBODY))


@on_uvloop
async def test_we_see_the_kernel_come_stay_and_die(made, monkeypatch):
    monkeypatch.setattr(neighbors, "DELAY_FIRST_PROBE_TIME", 0.5)
    table = made.interface.link.neighbors4
    table.reachable_time, table.retrans = 0.4, 0.3
    address = socket.inet_aton(PEER)

    async def look() -> State | None:
        entry = table.entries.get(address)
        return None if entry is None else entry.state

    table.clear()
    await run("ip", "link", "set", "as0", "arp", "off")  # it neither asks nor answers
    transport, _ = await made.stack.create_datagram_endpoint(Talker, remote_addr=(PEER, 9998))
    transport.sendto(b"x")
    await pass_through([State.INCOMPLETE], look)
    await run("ip", "link", "set", "as0", "arp", "on")
    await pass_through([State.REACHABLE], look)
    (link,) = json.loads(await run("ip", "-j", "link", "show", "dev", "as0"))
    assert table.entries[address].mac.hex(":") == link["address"]
    await asyncio.sleep(0.7)
    transport.sendto(b"x")  # REACHABLE has run out, which is noticed when it is used
    await pass_through([State.DELAY, State.REACHABLE], look)
    await run("ip", "link", "set", "as0", "arp", "off")
    await asyncio.sleep(0.7)
    transport.sendto(b"x")
    await pass_through([State.DELAY, State.PROBE, State.FAILED], look)
    with pytest.raises(OSError, match="No route to host"):
        await made.stack.open_connection(PEER, 9998)
    await run("ip", "link", "set", "as0", "arp", "on")
    assert (await made.stack.ping(PEER, timeout=5)).source == PEER
    assert await look() is State.REACHABLE
    transport.close()
