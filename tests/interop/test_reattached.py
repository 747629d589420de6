"""A TAP loses its carrier and gets it back: Linux has taken our address meanwhile, or another router is there."""

import asyncio
import errno
import json
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from asyncstack import AddressRemoved, LinkUp, Stack, StackConfig, TapDevice
from asyncstack.network.addresses import Origin
from tests.interop.kernel import peer, run
from tests.interop.segment import Segment, radvd
from tests.interop.test_slaac import default_router, own, prefix, until

pytestmark = pytest.mark.tun

OURS, LINUX = {4: "10.9.0.2", 6: "2001:db8:9::2"}, {4: "10.9.0.1", 6: "2001:db8:9::1"}
LENGTH = {4: 24, 6: 64}


async def carrier(state):
    await run("ip", "link", "set", "as0", "carrier", state)


async def linux_mac():
    return json.loads(await run("ip", "-j", "link", "show", "as0"))[0]["address"]


async def plugged(stack, version):
    """Our TAP, with Linux at the other end; the events from now on."""
    device = TapDevice("as0", peer=f"{LINUX[version]}/{LENGTH[version]}")
    interface = await stack.add_interface(device, [f"{OURS[version]}/{LENGTH[version]}"], timeout=20)
    seen = []
    stack.subscribe(seen.append)
    return interface, seen


@pytest.mark.parametrize("version", [4, 6])
async def test_an_address_that_linux_has_taken_meanwhile_is_lost(version, netns):
    async with Stack(StackConfig(ipv4_conflict_probes=1)) as stack:
        interface, seen = await plugged(stack, version)
        async with peer("echo_server", host=LINUX[version]) as program:
            port = (await program.said())["port"]
            reader, writer = await stack.open_connection(LINUX[version], port)
            await carrier("off")
            await until(lambda: not interface.running)
            options = ["nodad"] if version == 6 else []
            await run("ip", "addr", "add", f"{OURS[version]}/{LENGTH[version]}", "dev", "as0", *options)
            await carrier("on")
            await until(lambda: LinkUp(interface) in seen)
            await until(lambda: any(isinstance(event, AddressRemoved) for event in seen))
            (gone,) = [event for event in seen if isinstance(event, AddressRemoved)]
            assert ip_address(gone.address.address) == ip_address(OURS[version])
            assert gone.error.errno == errno.EADDRINUSE
            assert await linux_mac() in str(gone.error)
            with pytest.raises(OSError) as lost:
                await reader.read()
            assert lost.value.errno == errno.EADDRINUSE
            writer.close()


async def test_one_that_nobody_has_taken_stays(netns):
    """And Linux, which is told of it once more, reaches us."""
    async with Stack() as stack:
        interface, seen = await plugged(stack, 6)
        async with peer("echo_server", host=LINUX[6]) as program:
            reader, writer = await stack.open_connection(LINUX[6], (await program.said())["port"])
            await carrier("off")
            await until(lambda: not interface.running)
            await carrier("on")
            await until(lambda: LinkUp(interface) in seen)
            recheck = stack._rechecks[interface]
            await until(recheck.done)
            assert not any(isinstance(event, AddressRemoved) for event in seen)
            writer.write(b"still here")
            async with asyncio.timeout(10):
                assert await reader.readexactly(10) == b"still here"
            writer.close()
            await writer.wait_closed()
        assert "1 received" in await run("ping", "-6", "-c1", "-W5", OURS[6])


async def test_radvd_of_another_network(netns, tmp_path):
    """The old router is not there, the new one advertises another prefix: it is used from then on."""
    with ExitStack() as exits:
        segment = Segment(exits)
        old = segment.namespace("fe80::1/64", "2001:db8:1::1/64", forwarding=True)
        new = segment.namespace("fe80::2/64", "2001:db8:2::1/64", forwarding=True)
        async with Stack() as stack:
            async with radvd(old, tmp_path / "old", prefix("2001:db8:1::/64")):
                interface = await stack.add_interface(segment.tap(), ["slaac"])
                assert default_router(stack) == "fe80::1"
                await carrier("off")
                await until(lambda: not interface.running)
                old.run("ip", "link", "set", "eth0", "down")
            async with radvd(new, tmp_path / "new", prefix("2001:db8:2::/64")):
                await carrier("on")
                await until(lambda: len(own(stack, Origin.SLAAC)) == 2)
                assert default_router(stack) == "fe80::2"
                now = stack.clock()
                deprecated, preferred = [entry.preferred_until <= now for entry in own(stack, Origin.SLAAC)]
                assert (deprecated, preferred) == (True, False)
                assert (await stack.ping("2001:db8:2::1", timeout=5)).source == "2001:db8:2::1"
