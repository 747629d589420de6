"""What tests of devices share: a receiver that keeps frames, packets made by hand, and the kernel's own links."""

import asyncio
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from contextlib import asynccontextmanager

from asyncstack.link.attach import CLONE_DEVICE, IFF_NO_PI, TUNSETIFF
from asyncstack.link.device import Device
from asyncstack.link.frame import Frame, OutgoingFrame
from asyncstack.wire import ipv4, ipv6, tcp, udp
from asyncstack.wire.checksum import pseudo_header_sum
from asyncstack.wire.tcp import Segment

TUNSETPERSIST = 0x400454CB
TUNSETOWNER = 0x400454CC
TCP, UDP = 6, 17


class Receiver:
    """Keeps what a device receives, batch by batch."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.batches: list[list[Frame]] = []
        self._waiter = asyncio.Event()
        device.start(self._receive())

    async def _receive(self) -> None:
        while True:
            self.batches.append(list(await self.device.receive()))
            self._waiter.set()

    @property
    def frames(self) -> list[Frame]:
        return [frame for batch in self.batches for frame in batch]

    async def until(self, wanted: Callable[[Frame], bool], count: int = 1) -> list[Frame]:
        """Wait for `count` frames that are `wanted`."""
        async with asyncio.timeout(10):
            while len(found := [frame for frame in self.frames if wanted(frame)]) < count:
                self._waiter.clear()
                await self._waiter.wait()
        return found


@asynccontextmanager
async def receiving(device: Device):
    """The device, open and received from."""
    await device.open(asyncio.get_running_loop())
    try:
        yield Receiver(device)
    finally:
        await device.close()


def address(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def ip_frame(src: str, dst: str, protocol: int, *parts, offset: int = -1, gso_size: int = 0) -> OutgoingFrame:
    """`parts` in an IP packet; `offset` is that of the partial checksum in the transport header."""
    build = ipv6.build if ":" in src else ipv4.build
    header = build(address(src), address(dst), protocol, sum(map(len, parts)))
    if offset < 0:
        return OutgoingFrame([header, *parts])
    return OutgoingFrame([header, *parts], len(header), offset, gso_size)


def udp_frame(src: str, dst: str, ports: tuple[int, int], payload: bytes) -> OutgoingFrame:
    partial = pseudo_header_sum(address(src), address(dst), UDP, 8 + len(payload))
    return ip_frame(src, dst, UDP, udp.build(*ports, len(payload), partial), payload, offset=6)


def tcp_frame(src: str, dst: str, segment: Segment) -> OutgoingFrame:
    length = len(tcp.build(segment, 0)) + len(segment.payload)
    header = tcp.build(segment, pseudo_header_sum(address(src), address(dst), TCP, length))
    return ip_frame(src, dst, TCP, header, segment.payload, offset=16, gso_size=segment.gso_size)


def is_ip(frame: Frame, protocol: int, version: int = 4) -> bool:
    data = frame.data
    return data[0] >> 4 == version and data[9 if version == 4 else 6] == protocol


def make_persistent(name: str, kind: int, flags: int = IFF_NO_PI) -> None:
    """An interface that stays, owned by this user, as `ip tuntap add` makes it."""
    fd = os.open(CLONE_DEVICE, os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), kind | flags))
    fcntl.ioctl(fd, TUNSETOWNER, os.geteuid())
    fcntl.ioctl(fd, TUNSETPERSIST, 1)
    os.close(fd)


async def kernel(call: Callable):
    """`call(ip, index_of)` with pyroute2's IPRoute, in a thread: as an administrator does it beside us."""

    def work():
        from pyroute2 import IPRoute

        with IPRoute() as ip:
            return call(ip, socket.if_nametoindex)

    return await asyncio.to_thread(work)


async def delete_link(name: str) -> None:
    await kernel(lambda ip, index: ip.link("del", index=index(name)))


async def set_link(name: str, **settings) -> None:
    await kernel(lambda ip, index: ip.link("set", index=index(name), **settings))


async def addresses_of(name: str) -> list[str]:
    """The kernel's addresses on the interface, those that it gives itself left out."""
    found = await kernel(lambda ip, index: list(ip.get_addr(index=index(name))))
    texts = [f"{each.get_attr('IFA_ADDRESS')}/{each['prefixlen']}" for each in found]
    return sorted(text for text in texts if not text.startswith("fe80"))


async def is_up(name: str) -> bool:
    return bool((await kernel(lambda ip, index: ip.link("get", index=index(name))))[0]["flags"] & 1)
