"""Configured by radvd on Linux routers, over a TAP; duplicates and redirects of the kernel."""

import asyncio
import errno
import json
import signal
from contextlib import ExitStack, asynccontextmanager
from ipaddress import ip_address, ip_network

import pytest

import asyncstack
from asyncstack.link import neighbors
from asyncstack.network.addresses import Origin
from tests.interop.loops import on_uvloop
from tests.interop.segment import Segment, end, join, radvd
from tests.programs import require_program

pytestmark = pytest.mark.tun

UNCHECKED = asyncstack.StackConfig(dad_transmits=0)  # addresses are used at once
PREFIX = "2001:db8:1::/64"
FAR = "2001:db8:99::1"


@pytest.fixture
def segment(netns):
    with ExitStack() as stack:
        yield Segment(stack)


async def until(condition, seconds=20):
    """Wait until `condition()` gives something true, and return that."""
    async with asyncio.timeout(seconds):
        while not (found := condition()):
            await asyncio.sleep(0.02)
    return found


def packed(text):
    return ip_address(text).packed


def prefix(text, valid=86400, preferred=14400):
    return f"prefix {text} {{ AdvValidLifetime {valid}; AdvPreferredLifetime {preferred}; }};"


async def add(stack, segment, *addresses):
    """A TAP of ours on the segment, by SLAAC or with `addresses`."""
    return await stack.add_interface(segment.tap(), addresses or ["slaac"])


async def answers(stack, address):
    """Whether one echo is answered."""
    try:
        return await stack.ping(address, timeout=0.3)
    except OSError:
        return None


def own(stack, *origins):
    return [
        entry
        for entry in stack.addresses.local.values()
        if entry.address[0] == 0x20 and (not origins or entry.origin in origins)
    ]


def default_router(stack):
    return next((str(ip_address(r.gateway)) for r in stack.routes.routes() if r.prefix_length == 0), None)


async def test_prefix_router_and_nameservers_of_radvd(segment, tmp_path, checked_capture):
    router = segment.namespace("fe80::1/64", "2001:db8:1::1/64", f"{FAR}/128", forwarding=True)
    body = (
        f"AdvDefaultPreference high; AdvLinkMTU 1400; AdvCurHopLimit 44; AdvReachableTime 20000; {prefix(PREFIX)}"
        "RDNSS 2001:db8:1::53 2001:db8:1::54 { AdvRDNSSLifetime 600; };"
        "DNSSL example.com sub.example.org { AdvDNSSLLifetime 600; };"
        "route 2001:db8:77::/48 { AdvRouteLifetime 600; };"
    )
    config = asyncstack.StackConfig(temporary_addresses=True)
    async with radvd(router, tmp_path / "r", body), asyncstack.Stack(config) as stack:
        began = stack.clock()
        interface = await add(stack, segment)
        checked_capture.attach(interface)
        assert stack.clock() - began < 12
        await until(lambda: len(own(stack)) == 2)
        [stable] = own(stack, Origin.SLAAC)
        [temporary] = own(stack, Origin.TEMPORARY)
        assert ip_address(stable.address) in ip_network(PREFIX)
        assert ip_address(temporary.address) in ip_network(PREFIX)
        assert default_router(stack) == "fe80::1"
        path = stack.routes.lookup(packed(FAR))
        assert (path.mtu, path.hop_limit, path.source) == (1400, 44, temporary.address)
        assert stack.routes.lookup(packed("2001:db8:77::5")).next_hop == packed("fe80::1")
        assert list(stack.resolver.config.nameservers) == ["2001:db8:1::53", "2001:db8:1::54"]
        assert list(stack.resolver.config.search) == ["example.com", "sub.example.org"]
        for target in (FAR, "2001:db8:1::1"):
            assert (await stack.ping(target, timeout=5)).source == target
        # and the kernel reaches us, whose states it sees as those of any neighbour
        text = str(ip_address(stable.address))
        assert "1 received" in await asyncio.to_thread(router.run, "ping", "-6", "-c1", "-W5", text)
        [entry] = json.loads(router.run("ip", "-6", "-j", "neigh", "show", text))
        assert entry["lladdr"] == interface.device.address.hex(":")
        assert entry["state"][0] in ("REACHABLE", "DELAY", "STALE")
        router.run(
            "ip", "-6", "neigh", "replace", text, "lladdr", entry["lladdr"], "dev", "eth0", "nud", "probe"
        )
        await until(
            lambda: "REACHABLE" in json.loads(router.run("ip", "-6", "-j", "neigh", "show", text))[0]["state"]
        )
        assert interface.link.neighbors6.reachable_time == 20.0


@on_uvloop
async def test_lifetimes_run_out(segment, tmp_path):
    router = segment.namespace("fe80::1/64", "2001:db8:1::1/64", forwarding=True)
    body = (
        f"AdvDefaultLifetime 3; {prefix(PREFIX, 5, 3)}"
        "RDNSS 2001:db8:1::53 { AdvRDNSSLifetime 3; }; DNSSL example.com { AdvDNSSLLifetime 3; };"
    )
    removed = []
    async with radvd(router, tmp_path / "r", body) as program, asyncstack.Stack(UNCHECKED) as stack:
        await add(stack, segment)
        [entry] = own(stack)
        stack.subscribe(
            lambda event: (
                isinstance(event, asyncstack.AddressRemoved) and removed.append((stack.clock(), event))
            )
        )
        before = entry.preferred_until
        await until(lambda: entry.preferred_until > before + 1)  # renewed
        assert entry.preferred_until - stack.clock() <= 3.1
        await end(program, signal.SIGKILL)
        await until(lambda: default_router(stack) is None)
        await until(lambda: not stack.resolver.config.nameservers)
        assert not stack.resolver.config.search
        assert entry.preferred_until <= stack.clock()
        assert own(stack) == [entry]
        await until(lambda: removed)  # which is told a turn of the loop later
        assert own(stack) == []
        [(when, event)] = removed
        assert 0 <= when - (entry.preferred_until + 2) < 0.5
        assert "valid lifetime" in str(event.error)


@on_uvloop
async def test_a_router_that_dies_and_one_that_says_good_bye(segment, tmp_path, monkeypatch):
    """The far host is behind both routers, and answers us directly."""
    monkeypatch.setattr(neighbors, "DELAY_FIRST_PROBE_TIME", 0.5)
    routers = [segment.namespace(f"fe80::{n}/64", forwarding=True) for n in (1, 2)]
    far = segment.namespace(f"{FAR}/128")
    far.run("ip", "route", "add", PREFIX, "dev", "eth0")
    for number, router in enumerate(routers):
        join(router, far, f"far{number}")
        router.run("ip", "route", "add", f"{FAR}/128", "via", "fe80::2", "dev", f"far{number}")
    high = f"AdvDefaultPreference high; AdvReachableTime 1000; AdvRetransTimer 200; {prefix(PREFIX)}"
    low = f"AdvReachableTime 1000; AdvRetransTimer 200; {prefix(PREFIX)}"
    async with (
        radvd(routers[0], tmp_path / "one", high) as first,
        radvd(routers[1], tmp_path / "two", low) as second,
        asyncstack.Stack(UNCHECKED) as stack,
    ):
        interface = await add(stack, segment)
        await until(
            lambda: len(interface.link.neighbors6.entries) >= 2 and default_router(stack) == "fe80::1"
        )
        assert (await stack.ping(FAR, timeout=5)).source == FAR
        routers[0].run("ip", "link", "set", "eth0", "down")
        await end(first, signal.SIGKILL)
        async with asyncio.timeout(30):  # DELAY, three probes
            while not await answers(stack, FAR):
                pass
        assert default_router(stack) == "fe80::2"
        await end(second)  # SIGTERM: it advertises a lifetime of 0
        await until(lambda: default_router(stack) != "fe80::2")


async def test_a_redirect_of_a_linux_router(segment, tmp_path):
    router = segment.namespace("fe80::1/64", "2001:db8:1::1/64", forwarding=True)
    far = segment.namespace("fe80::9/64", f"{FAR}/128")
    far.run("ip", "route", "add", PREFIX, "dev", "eth0")
    router.run("ip", "route", "add", f"{FAR}/128", "dev", "eth0")
    async with radvd(router, tmp_path / "r", prefix(PREFIX)), asyncstack.Stack(UNCHECKED) as stack:
        await add(stack, segment)
        assert stack.routes.lookup(packed(FAR)).next_hop == packed("fe80::1")
        assert (await stack.ping(FAR, timeout=5)).ttl == 64
        await until(lambda: stack.routes.lookup(packed(FAR)).next_hop == packed(FAR))
        assert stack.counters["redirect.accepted"] == 1
        router.run("ip", "link", "set", "eth0", "down")
        assert (await stack.ping(FAR, timeout=5)).source == FAR


async def test_an_address_that_the_kernel_has(segment):
    kernel = segment.namespace("fe80::1/64", "2001:db8:1::5/64")
    mac = json.loads(kernel.run("ip", "-j", "link", "show", "eth0"))[0]["address"]
    async with asyncstack.Stack() as stack:
        with pytest.raises(OSError, match=f"2001:db8:1::5 on as0: {mac} has it") as caught:
            await add(stack, segment, "2001:db8:1::5/64")
        assert caught.value.errno == errno.EADDRINUSE
        assert stack.interfaces[1:] == []


async def test_the_kernel_finds_that_we_have_an_address(segment):
    kernel = segment.namespace("fe80::1/64")
    kernel.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_dad")
    async with asyncstack.Stack(UNCHECKED) as stack:
        await add(stack, segment, "2001:db8:1::5/64")
        kernel.run("ip", "address", "add", "2001:db8:1::5/64", "dev", "eth0")

        def failed():
            [link] = json.loads(kernel.run("ip", "-6", "-j", "addr", "show", "dev", "eth0"))
            return any(one.get("dadfailed") for one in link["addr_info"])

        await until(failed)
        assert len(own(stack)) == 1


async def test_nobody_advertises(segment):
    async with asyncstack.Stack(UNCHECKED) as stack:
        device = asyncstack.TapDevice("as0")
        with pytest.raises(
            TimeoutError, match="no router advertisement, after 1 solicitation on as0 within 1 s"
        ):
            await stack.add_interface(device, ["slaac"], timeout=1)


# thc-ipv6


@asynccontextmanager
async def attack(space, *command):
    """A program of thc-ipv6 at work in a namespace."""
    program = require_program(f"atk6-{command[0]}")
    with space.entered():
        process = await asyncio.create_subprocess_exec(
            program, *command[1:], stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("tool", ["flood_router26", "flood_redir6", "flood_advertise6", "flood_solicitate6"])
async def test_a_flood_leaves_what_is_there(segment, tmp_path, tool):
    router = segment.namespace("fe80::1/64", "2001:db8:1::1/64", forwarding=True, apart=True)
    evil = segment.namespace("fe80::66/64", apart=True)
    config = asyncstack.StackConfig(neighbor_limit=128, dad_transmits=0)
    async with radvd(router, tmp_path / "r", prefix(PREFIX)), asyncstack.Stack(config) as stack:
        complaints = []
        stack.loop.set_exception_handler(lambda _, context: complaints.append(context))
        interface = await add(stack, segment)
        config.dad_transmits = 1  # what the flood brings is checked
        [entry] = own(stack)
        before = interface.counters["ethernet.other_group"] + sum(stack.counters.values())
        async with attack(evil, tool, "eth0"):
            await until(lambda: sum(stack.counters.values()) > before + 10_000)
        assert complaints == []
        assert entry in own(stack)
        assert len(stack.addresses.of(interface)) <= 33
        assert len([route for route in stack.routes.routes() if route.interface is interface]) <= 400 + 256
        assert len(interface.link.neighbors6) <= 128
        # questions and answers may have been lost in it, so asking once is not enough
        async with asyncio.timeout(15):
            while not await answers(stack, "2001:db8:1::1"):
                pass


async def test_somebody_who_has_every_address(segment):
    """dos-new-ip6 answers all questions whether an address is free."""
    evil = segment.namespace("fe80::66/64")
    async with attack(evil, "dos-new-ip6", "eth0"), asyncstack.Stack() as stack:
        await asyncio.sleep(0.5)
        with pytest.raises(OSError, match=r"has it|is about to take it") as caught:
            await add(stack, segment, "2001:db8:1::5/64")
        assert caught.value.errno == errno.EADDRINUSE
