"""The kernel's side of an interface: changed where it differs, and put back."""

import asyncio
import errno
import ipaddress

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from asyncstack.link import kernel as kernel_module
from asyncstack.link.attach import IFF_TAP
from asyncstack.link.kernel import (
    RTN_LOCAL,
    KernelSide,
    _wait_until_local,
    interface_mac,
    interface_mtu,
    parse_peer,
)
from tests.link.devices import addresses_of, delete_link, is_up, kernel, make_persistent, set_link
from tests.netns import NetworkNamespace, check_addresses


def side(*peers: str, mtu: int = 1500) -> KernelSide:
    return KernelSide("as0", parse_peer(peers), mtu)


def test_peer():
    four, six = ipaddress.ip_interface("10.9.0.1/24"), ipaddress.ip_interface("fd00::1/64")
    assert parse_peer(None) == []
    assert parse_peer("10.9.0.1/24") == [four]
    assert parse_peer(["10.9.0.1/24", "fd00::1/64"]) == [four, six]


@pytest.mark.parametrize("peer", ["10.9.0.1", "10.9.0.256/24", "10.9.0.1/33", "host/24", ["fd00::1"]])
def test_peer_that_can_not_be(peer):
    with pytest.raises(ValueError, match="peer"):
        parse_peer(peer)


@pytest.mark.tun
async def test_configure_and_restore():
    make_persistent("as0", IFF_TAP)
    wanted = side("10.9.0.1/24", "10.9.1.1/25", "fd00::1/64", mtu=1400)
    await wanted.configure()
    assert await addresses_of("as0") == ["10.9.0.1/24", "10.9.1.1/25", "fd00::1/64"]
    assert (interface_mtu("as0"), await is_up("as0")) == (1400, True)
    await side("10.9.0.1/24", mtu=1400).configure()
    await wanted.restore()
    await wanted.restore()
    assert await addresses_of("as0") == []
    assert (interface_mtu("as0"), await is_up("as0")) == (1500, False)


@pytest.mark.tun
async def test_what_is_there_is_left_alone():
    make_persistent("as0", IFF_TAP)
    await side("10.9.0.1/24").configure()
    second = side("10.9.0.1/24")
    await second.configure()
    await second.restore()
    assert (await addresses_of("as0"), await is_up("as0")) == (["10.9.0.1/24"], True)


@pytest.mark.tun
async def test_ipv6_address_is_usable_at_once():
    check_addresses()
    make_persistent("as0", IFF_TAP)
    await side("fd00::1/64").configure()
    addresses = await kernel(lambda ip, index: list(ip.get_addr(index=index("as0"))))
    (added,) = [each for each in addresses if each.get_attr("IFA_ADDRESS") == "fd00::1"]
    assert not added["flags"] & 0x40, "tentative: the kernel would first look for duplicates"


def test_waits_until_packets_to_an_address_are_the_kernels_own(monkeypatch):
    """The kernel adds the local route behind our back, sometimes tens of milliseconds later."""
    answers = [NetlinkError(errno.ENETUNREACH), [{"type": 1}], [{"type": 1}], [{"type": RTN_LOCAL}], None]

    class Route:
        def route(self, command, dst):
            assert (command, dst) == ("get", "fd00::1")
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr(kernel_module.time, "sleep", lambda seconds: None)
    _wait_until_local(Route(), "fd00::1")
    assert answers == [None]


@pytest.mark.tun
async def test_local_addresses_of_both_families_are_waited_for(monkeypatch):
    make_persistent("as0", IFF_TAP)
    waited = []
    monkeypatch.setattr(kernel_module, "_wait_until_local", lambda route, text: waited.append(text))
    await side("10.9.0.1/24", "fd00::1/64").configure()
    assert waited == ["10.9.0.1", "fd00::1"]


@pytest.mark.tun
async def test_restore_after_somebody_took_it_away():
    make_persistent("as0", IFF_TAP)
    await set_link("as0", state="up")
    wanted = side("10.9.0.1/24", mtu=1400)
    await wanted.configure()
    await kernel(lambda ip, index: ip.addr("del", index=index("as0"), address="10.9.0.1", prefixlen=24))
    await wanted.restore()
    assert (interface_mtu("as0"), await is_up("as0")) == (1500, True)
    await wanted.configure()
    await delete_link("as0")
    await wanted.restore()


@pytest.mark.tun
async def test_an_address_that_the_kernel_refuses_undoes_the_others():
    make_persistent("as0", IFF_TAP)
    with pytest.raises(OSError, match=r"as0: the kernel refused to add ff02::1/64: ") as info:
        await side("10.9.0.1/24", "ff02::1/64", mtu=1400).configure()
    assert info.value.errno == errno.EADDRNOTAVAIL
    assert await addresses_of("as0") == []
    assert (interface_mtu("as0"), await is_up("as0")) == (1500, False)


@pytest.mark.tun
async def test_an_old_worker_thread_in_another_namespace_does_not_matter():
    await asyncio.to_thread(int)  # a worker of the default executor, made in the first namespace
    with NetworkNamespace() as other, other.entered():
        make_persistent("as0", IFF_TAP)
        await side("10.9.0.1/24").configure()  # ENODEV in the first one
        assert len(interface_mac("as0")) == 6


@pytest.mark.tun
async def test_interface_that_is_not_there():
    with pytest.raises(OSError, match="No such device"):
        interface_mtu("as0")
    with pytest.raises(OSError, match="no interface"):
        await side("10.9.0.1/24").configure()
