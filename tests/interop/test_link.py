"""The kernel's side of a TUN or TAP goes down and comes back: who is told, and what outlives it."""

import asyncio
import os

import pytest

from asyncstack import InterfaceDown, LinkDown, LinkUp, Stack, TapDevice, TunDevice
from tests.interop.dnsmasq import DHCP4, count, dnsmasq
from tests.interop.kernel import peer, run, until
from tests.netns import NetworkNamespace

pytestmark = pytest.mark.tun

KINDS = pytest.mark.parametrize("kind", [TunDevice, TapDevice])


async def links(*command):
    await run("ip", "link", *command)


def told(stack):
    """The events of `stack` from now on."""
    seen = []
    stack.subscribe(seen.append)
    return seen


@KINDS
async def test_a_connection_outlives_a_link_that_is_down(kind):
    async with Stack() as stack:
        interface = await stack.add_interface(kind("as0", peer="10.9.0.1/24"), ["10.9.0.2/24"])
        seen = told(stack)
        async with peer("echo_server", host="10.9.0.1") as program:
            reader, writer = await stack.open_connection("10.9.0.1", (await program.said())["port"])
            writer.write(b"before")
            assert await reader.readexactly(6) == b"before"
            await links("set", "as0", "down")
            await until(lambda: seen == [LinkDown(interface)])
            assert not interface.running
            writer.write(b"while")
            await asyncio.sleep(0.3)
            await links("set", "as0", "up")
            await until(lambda: len(seen) == 2)
            assert seen[1] == LinkUp(interface)
            async with asyncio.timeout(10):
                assert await reader.readexactly(5) == b"while"
            writer.close()
            await writer.wait_closed()


@KINDS
async def test_one_that_is_down_from_the_start(kind):
    async with Stack() as stack:
        seen = told(stack)
        interface = await stack.add_interface(kind("as0"), ["10.9.0.2/24"])
        await until(lambda: LinkDown(interface) in seen)
        await run("ip", "addr", "add", "10.9.0.1/24", "dev", "as0")
        await links("set", "as0", "up")
        await until(lambda: LinkUp(interface) in seen)
        assert (await stack.ping("10.9.0.1", timeout=5)).source == "10.9.0.1"


@KINDS
async def test_a_carrier_that_is_off(kind):
    async with Stack() as stack:
        interface = await stack.add_interface(kind("as0", peer="10.9.0.1/24"), ["10.9.0.2/24"])
        await links("set", "as0", "carrier", "off")
        await until(lambda: not interface.running)
        await links("set", "as0", "carrier", "on")
        await until(lambda: interface.running)


@KINDS
async def test_a_deleted_one_is_gone_for_good(kind):
    async with Stack() as stack:
        interface = await stack.add_interface(kind("as0", peer="10.9.0.1/24"), ["10.9.0.2/24"])
        seen = told(stack)
        await links("del", "as0")
        await until(lambda: any(isinstance(event, InterfaceDown) for event in seen))
        assert LinkUp(interface) not in seen
        assert interface not in stack.interfaces


@KINDS
async def test_one_that_is_moved_away_counts_as_up(kind, netns):
    with NetworkNamespace() as other:
        async with Stack() as stack:
            interface = await stack.add_interface(kind("as0"), ["10.9.0.2/24"])
            await until(lambda: not interface.running)
            await links("set", "as0", "netns", f"/proc/{os.getpid()}/fd/{other.fd}")
            other.run("ip", "addr", "add", "10.9.0.1/24", "dev", "as0")
            other.run("ip", "link", "set", "as0", "up")
            await until(lambda: interface.running)
            assert (await stack.ping("10.9.0.1", timeout=5)).source == "10.9.0.1"


async def test_a_lease_is_confirmed_when_the_link_is_back(tmp_path):
    """INIT-REBOOT (RFC 2131 4.4.2): dnsmasq is asked for the address again, which stays, and so does the connection."""
    await run("ip", "tuntap", "add", "dev", "as0", "mode", "tap")
    await run("ip", "address", "add", "10.9.0.1/24", "dev", "as0")
    await links("set", "as0", "up")
    async with dnsmasq(tmp_path, *DHCP4) as said, Stack(name="ours") as stack:
        interface = await stack.add_interface(TapDevice("as0"), ["dhcp4"], timeout=10)
        (address,) = [str(entry) for entry in stack.addresses.of(interface, 4)]
        assert address == "10.9.0.50/24"
        async with peer("echo_server", host="10.9.0.1") as program:
            reader, writer = await stack.open_connection("10.9.0.1", (await program.said())["port"])
            await until(lambda: count(said, "DHCPACK") == 1)
            asked = count(said, "DHCPREQUEST")
            await links("set", "as0", "down")
            await until(lambda: not interface.running)
            await links("set", "as0", "up")
            await until(lambda: interface.running)
            await until(lambda: count(said, "DHCPREQUEST") > asked and count(said, "DHCPACK") == 2)
            writer.write(b"still here")
            async with asyncio.timeout(10):
                assert await reader.readexactly(10) == b"still here"
            assert [str(entry) for entry in stack.addresses.of(interface, 4)] == [address]
            writer.close()
            await writer.wait_closed()
        await stack.remove_interface(interface)
        await until(lambda: count(said, "DHCPRELEASE"))
