"""Our router advertisements to Linux, which configures itself by them, and to rdisc6."""

import asyncio
import json

import pytest

import asyncstack
from asyncstack.application.radv import RouterAdvertiser, times
from tests.interop.kernel import run
from tests.netns import check_addresses

pytestmark = pytest.mark.tun

OURS = ["fe80::1/64", "fd00:1::1/64"]
MAC = "02:00:00:00:00:01"


async def until(condition, seconds=20):
    """Wait until the coroutine function `condition` gives something true, and return that."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.05)
    return found


async def default_routes():
    return json.loads(await run("ip", "-6", "-j", "route", "show", "default", "dev", "as0") or "[]")


async def autoconfigured():
    """The kernel's addresses in our prefix that are checked and in use."""
    links = json.loads(await run("ip", "-6", "-j", "addr", "show", "dev", "as0"))
    return [
        one
        for link in links
        for one in link.get("addr_info", [])
        if one["local"].startswith("fd00:1:") and not one.get("tentative") and one.get("dynamic")
    ]


@pytest.mark.parametrize("preference", ["high", "low"])
async def test_linux_configures_itself(checked_capture, preference):
    check_addresses()
    async with asyncstack.Stack() as stack:
        interface = await stack.add_interface(asyncstack.TapDevice("as0", address=MAC), OURS)
        checked_capture.attach(interface)
        await run("ip", "link", "set", "as0", "up")
        async with RouterAdvertiser(
            stack, interface, ["fd00:1::/64"],
            dns=["fd00:1::53"], search=["example.org"], mtu=1400, preference=preference,
        ):  # fmt: skip
            [address] = await until(autoconfigured)
            assert (address["prefixlen"], 86300 < address["valid_life_time"] <= 86400) == (64, True)
            assert 14300 < address["preferred_life_time"] <= 14400
            [route] = await until(default_routes)
            assert (route["gateway"], route["protocol"], route["pref"]) == ("fe80::1", "ra", preference)
            assert (await run("sysctl", "-n", "net.ipv6.conf.as0.mtu")).strip() == "1400"
            reply = await stack.ping(address["local"], timeout=5)
            assert reply.source == address["local"]
            # what is behind a router is asked for at our MAC
            await run("ping", "-6", "-c", "1", "-W", "5", "fd00:1::1")
        await until(no_default_route)


async def no_default_route():
    return not await default_routes()


async def test_rdisc6_reads_all_that_is_said(checked_capture, monkeypatch):
    monkeypatch.setattr(
        times, "MIN_DELAY_BETWEEN", 0.3
    )  # or its answer comes three seconds after the kernel's
    async with asyncstack.Stack() as stack:
        interface = await stack.add_interface(asyncstack.TapDevice("as0", address=MAC), OURS)
        checked_capture.attach(interface)
        await run("ip", "link", "set", "as0", "up")
        async with RouterAdvertiser(
            stack, interface, ["fd00:1::/64"],
            dns=["fd00:1::53", "fd00:1::54"], search=["example.org", "lan"], mtu=1400, other=True,
        ):  # fmt: skip
            await until(autoconfigured)  # then the kernel has a link-local address to ask from
            said = [" ".join(line.split()) for line in (await run("rdisc6", "-1", "as0")).splitlines()]
    for line in [
        "Hop limit : 64 ( 0x40)",
        "Stateful address conf. : No",
        "Stateful other conf. : Yes",
        "Router preference : medium",
        "Router lifetime : 1800 (0x00000708) seconds",
        "Source link-layer address: 02:00:00:00:00:01",
        "MTU : 1400 bytes (valid)",
        "Prefix : fd00:1::/64",
        "On-link : Yes",
        "Autonomous address conf.: Yes",
        "Valid time : 86400 (0x00015180) seconds",
        "Pref. time : 14400 (0x00003840) seconds",
        "Recursive DNS server : fd00:1::53",
        "Recursive DNS server : fd00:1::54",
        "DNS search list : example.org lan",
        "from fe80::1",
    ]:
        assert any(line in one for one in said), (line, "\n".join(said))
