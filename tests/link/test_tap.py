"""TAP devices against the kernel, in a network namespace."""

import asyncio
import errno
import random
import socket

import pytest

from asyncstack.link.kernel import interface_mac
from asyncstack.link.tap import TapDevice
from asyncstack.wire import arp, ethernet, icmp, ipv4, tcp
from asyncstack.wire.checksum import pseudo_header_sum
from asyncstack.wire.ethernet import BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV4
from tests.link.devices import TCP, Receiver, address, ip_frame, receiving, tcp_frame, udp_frame
from tests.programs import require_program

OURS, PEER = "10.9.0.2", "10.9.0.1"


def is_type(frame, ethertype: int) -> bool:
    return ethernet.parse(frame.data).ethertype == ethertype


def framed(device: TapDevice, frame):
    """An Ethernet header to the kernel's side in front of an IP frame."""
    frame.parts = [ethernet.build(interface_mac(device.name), device.address, ETHERTYPE_IPV4), *frame.parts]
    if frame.checksum_start:
        frame.checksum_start += 14
    return frame


async def answer_arp(device: TapDevice, receiver: Receiver) -> None:
    (frame,) = await receiver.until(lambda frame: is_type(frame, ETHERTYPE_ARP))
    header = ethernet.parse(frame.data)
    request = arp.parse(header.payload)
    assert (header.dst, request.target_ip) == (BROADCAST, address(OURS))
    assert request.sender_mac == interface_mac(device.name) != device.address
    reply = arp.Arp(arp.REPLY, device.address, address(OURS), request.sender_mac, request.sender_ip)
    frame = ip_frame(OURS, PEER, 1)
    frame.parts = [ethernet.build(request.sender_mac, device.address, ETHERTYPE_ARP), arp.build(reply)]
    assert device.send(frame)


@pytest.mark.tun
@pytest.mark.parametrize("offload", [True, False])
async def test_kernel_ping(offload):
    ping = require_program("ping")
    device = TapDevice("as0", peer=f"{PEER}/24", offload=offload, address="02:00:00:00:00:09")
    async with receiving(device) as receiver:
        process = await asyncio.create_subprocess_exec(
            ping, "-c1", "-w5", OURS, stdout=asyncio.subprocess.DEVNULL
        )
        await answer_arp(device, receiver)
        (frame,) = await receiver.until(lambda frame: is_type(frame, ETHERTYPE_IPV4))
        header = ethernet.parse(frame.data)
        assert header.dst == device.address == bytes.fromhex("020000000009")
        message = icmp.parse(ipv4.parse(header.payload).payload)
        assert message.type == icmp.ECHO_REQUEST
        echo = icmp.build(icmp.ECHO_REPLY, 0, message.rest, message.body)
        assert device.send(framed(device, ip_frame(OURS, PEER, 1, echo)))
        assert await process.wait() == 0


@pytest.mark.tun
async def test_partial_checksums_and_super_segments_both_ways():
    device = TapDevice("as0", peer=f"{PEER}/24")
    loop = asyncio.get_running_loop()
    async with receiving(device) as receiver:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
            listener.bind((PEER, 0))
            listener.setblocking(False)
            port = listener.getsockname()[1]
            assert device.send(framed(device, udp_frame(OURS, PEER, (5000, port), b"hello")))
            assert await asyncio.wait_for(loop.sock_recv(listener, 100), 5) == b"hello"
            listener.sendto(b"world", (OURS, 99))
            await answer_arp(device, receiver)
            (frame,) = await receiver.until(lambda frame: is_type(frame, ETHERTYPE_IPV4))
        assert (frame.checksum_valid, frame.checksum_start, frame.checksum_offset) == (True, 34, 6)
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, TCP) as listener:
            listener.setblocking(False)
            segment = tcp.Segment(5, 6, 1, 1, tcp.ACK, 1000, bytes(60000), gso_size=1400)
            assert device.send(framed(device, tcp_frame(OURS, PEER, segment)))
            assert len(await asyncio.wait_for(loop.sock_recv(listener, 65535), 5)) == 60040


@pytest.mark.tun
async def test_address_of_the_kernels_side_is_refused():
    first = TapDevice("as0")
    loop = asyncio.get_running_loop()
    await first.open(loop)
    fd, first._fd = first._fd, -1
    with pytest.raises(OSError, match="as0: the kernel's side has the address") as info:
        await TapDevice(fd=fd, address=interface_mac("as0")).open(loop)
    assert info.value.errno == errno.EADDRINUSE
    await first.close()


def test_addresses():
    assert TapDevice(rng=random.Random(1)).address == TapDevice(rng=random.Random(1)).address
    assert TapDevice().address != TapDevice().address
    assert all(TapDevice().address[0] & 3 == 2 for _ in range(50)), "unicast, locally administered"
    with pytest.raises(ValueError, match="no unicast Ethernet address"):
        TapDevice(address="ff:ff:ff:ff:ff:ff")


def test_pseudo_header_is_not_moved_by_the_link_header():
    frame = udp_frame(OURS, PEER, (1, 2), b"x")
    assert frame.parts[1][6:8] == pseudo_header_sum(address(OURS), address(PEER), 17, 9).to_bytes(2, "big")
