"""What a user is told who may not have a TUN, and how one without privileges gets it all the same."""

import asyncio
import errno
import os
import subprocess
import sys

import pytest

from asyncstack.link import attach as attach_module
from asyncstack.link.attach import CLONE_DEVICE, IFF_TUN, attach
from tests.link.devices import addresses_of, make_persistent
from tests.programs import require_program

# Root of a user namespace of its own has no say in the network namespace, which belongs to the outer one.
CHILD = """
import asyncio
from asyncstack.link.tun import TunDevice
async def main():
    device = TunDevice({arguments})
    try:
        await device.open(asyncio.get_running_loop())
        print("open", device.name, device.mtu, device.checksum_offload)
    except OSError as exc:
        print(exc.errno, exc.strerror)
    await device.close()
asyncio.run(main())
"""


async def without_capabilities(arguments: str) -> str:
    def run() -> str:
        command = [require_program("unshare"), "-Ur", sys.executable, "-c", CHILD.format(arguments=arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout

    return await asyncio.to_thread(run)


@pytest.mark.tun
async def test_without_the_capability():
    told = await without_capabilities("'as0'")
    assert told.startswith(
        f"{errno.EPERM} no permission to attach to as0: this needs the capability CAP_NET_ADMIN"
    )
    assert "`ip tuntap add dev as0 mode tun user $USER`" in told
    assert "`unshare -Urn`" in told


@pytest.mark.tun
async def test_persistent_interface_of_this_user_needs_no_capability():
    make_persistent("as0", IFF_TUN)
    assert await without_capabilities("'as0'") == "open as0 1500 True\n"
    assert await without_capabilities("'as0', mtu=1400") == "open as0 1400 True\n"
    assert await without_capabilities("'as0', mtu=9000") == "open as0 1500 True\n"


@pytest.mark.tun
async def test_peer_without_the_capability():
    make_persistent("as0", IFF_TUN)
    told = await without_capabilities("'as0', peer='10.9.0.1/24'")
    assert told.startswith(f"{errno.EPERM} as0: the kernel refused to bring it up: ")
    assert "CAP_NET_ADMIN" in told
    assert await addresses_of("as0") == []


def test_missing_device_file(monkeypatch):
    monkeypatch.setattr(attach_module, "CLONE_DEVICE", "/dev/net/none")
    with pytest.raises(
        OSError, match="/dev/net/none is missing: load the module with `modprobe tun`"
    ) as info:
        attach("as0", IFF_TUN, offload=True)
    assert info.value.errno == errno.ENOENT


def test_device_file_of_another_user(monkeypatch):
    def refuse(path, flags):
        assert path == CLONE_DEVICE
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match=f"this user may not open {CLONE_DEVICE}: run as root"):
        attach("as0", IFF_TUN, offload=True)


@pytest.mark.parametrize("newest", [0, 1, 7, 15])
def test_an_older_kernel_is_asked_for_less(monkeypatch, newest):
    asked = []

    def ioctl(fd, request, flags):
        asked.append(flags)
        if flags & ~newest:
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(attach_module.fcntl, "ioctl", ioctl)
    attach_module._set_offload(3, True)
    assert asked[-1] == newest
    assert asked == sorted(asked, reverse=True)
