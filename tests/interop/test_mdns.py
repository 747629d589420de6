"""mDNS by zeroconf, unmodified: on a stack, in a program run by `asyncstack run`, and on the kernel's side of a TAP."""

import asyncio
import ipaddress

import ifaddr
import pytest

from asyncstack.loop.program import Program
from asyncstack.loop.replacing import replaced
from asyncstack.loop.settings import InterfaceSettings, LinkSettings, NetworkSettings, Settings
from tests.interop.kernel import peer
from tests.interop.mdns import addresses_of, on, service
from tests.interop.medium import ADDRESSES, OURS, OURS6, PEER, PEER6, PEERS

SECONDS = 30
ON_A_TAP = Settings([InterfaceSettings(tap="as0", addresses=ADDRESSES, peer=PEERS)])
TWO_HOSTS = Settings(
    network=NetworkSettings(
        {"a": ADDRESSES, "b": PEERS}, [LinkSettings(["a", "b"], delay=0.001, ethernet=True)], seed=1
    )
)
FAMILIES = pytest.mark.parametrize(("ours", "theirs"), [(OURS, PEER), (OURS6, PEER6)], ids=["ipv4", "ipv6"])


@pytest.fixture
def adapters(monkeypatch):
    """zeroconf finds the index of an IPv6 address by ifaddr, which asks the kernel; a stack's are not there."""

    def add(*addresses):
        found = [
            ifaddr.Adapter("as0", "as0", [ifaddr.IP((address, 0, 0), 64, "as0")], index=2)
            for address in addresses
            if ipaddress.ip_address(address).version == 6
        ]
        monkeypatch.setattr(ifaddr, "get_adapters", lambda *_, **__: found)

    return add


def run(main, settings):
    with replaced(Program(settings)), asyncio.Runner() as runner:
        return runner.run(asyncio.wait_for(main(), SECONDS))


@pytest.mark.tun
@FAMILIES
def test_with_the_kernel(netns, adapters, ours, theirs):
    adapters(ours)

    async def main():
        async with peer("main", site=True, file="mdns.py", address=theirs) as kernel:
            assert await kernel.said() == "registered"
            made = on(ours)
            assert await addresses_of("kernel", made) == [theirs]
            await (await made.async_register_service(service("stack", ours)))
            kernel.tell()
            assert await kernel.said() == [ours]
            await made.async_close()

    run(main, ON_A_TAP)


@pytest.mark.tun
@FAMILIES
def test_between_two_stacks(netns, adapters, ours, theirs):
    """In a namespace, so that numbers of interfaces can not be the machine's."""
    adapters(ours, theirs)

    async def main():
        a, b = asyncio.get_running_loop().stacks
        with a.current():
            one = on(ours)
            await (await one.async_register_service(service("stack", ours)))
        with b.current():
            other = on(theirs)
            assert await addresses_of("stack", other) == [ours]
            assert await addresses_of("nobody", other, seconds=1) == []
        await one.async_close()
        await other.async_close()

    run(main, TWO_HOSTS)
