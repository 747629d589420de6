"""An interface that gets all it needs from dnsmasq, which is its DHCP server, DHCPv6 server and router in one."""

from ipaddress import ip_address, ip_network

import pytest

from asyncstack import Stack, TapDevice, TunDevice
from asyncstack.network.addresses import Origin, format_address
from tests.interop.dnsmasq import DHCP4, count, dnsmasq
from tests.interop.kernel import run, until

pytestmark = pytest.mark.tun

SIX = (
    *("--enable-ra", "--dhcp-range=fd00:9::100,fd00:9::1ff,slaac,64,2m", "--quiet-ra"),
    *("--dhcp-option=option6:dns-server,[fd00:9::53]", "--dhcp-option=option6:domain-search,six.example.org"),
)


async def kernel_side():
    """A TAP that is there before, with the addresses of a router."""
    await run("ip", "tuntap", "add", "dev", "as0", "mode", "tap")
    await run("ip", "address", "add", "10.9.0.1/24", "dev", "as0")
    await run("ip", "address", "add", "fd00:9::1/64", "dev", "as0", "nodad")
    await run("ip", "link", "set", "as0", "up")


async def test_every_word_and_an_address(tmp_path):
    await kernel_side()
    async with dnsmasq(tmp_path, *DHCP4, *SIX) as said:
        async with Stack(name="ours") as stack:
            words = ["dhcp4", "slaac", "dhcp6", "10.7.0.2/24"]
            interface = await stack.add_interface(TapDevice("as0"), words, timeout=20)
            found = {one.origin: format_address(one.address) for one in stack.addresses.of(interface)}
            assert found[Origin.DHCP4] == "10.9.0.50"
            assert found[Origin.STATIC] == "10.7.0.2"
            assert ip_address(found[Origin.DHCP6]) in ip_network("fd00:9::100/120")
            assert ip_address(found[Origin.SLAAC]) in ip_network("fd00:9::/64")
            assert found[Origin.LINK_LOCAL].startswith("fe80::")
            for source in (Origin.SLAAC, Origin.DHCP6):
                assert (await stack.ping("fd00:9::1", source=found[source])).source == "fd00:9::1"
            assert (await stack.ping("10.9.0.1")).source == "10.9.0.1"
            config = stack.resolver.config
            assert {"10.9.0.53", "fd00:9::53"} <= set(config.nameservers)
            assert {"example.org", "six.example.org"} <= set(config.search)
            defaults = [route for route in stack.routes.routes() if not route.prefix_length]
            assert sorted(len(route.prefix) for route in defaults) == [4, 16]
        await until(lambda: count(said, "DHCPRELEASE") >= 2)  # of both families, when the stack closes


async def test_what_a_tun_can_not_have():
    async with Stack() as stack:
        with pytest.raises(OSError, match="DHCP on as0, which is no Ethernet"):
            await stack.add_interface(TunDevice("as0"), ["dhcp4"])
        assert [interface.name for interface in stack.interfaces] == ["lo"]
