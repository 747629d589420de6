"""The judge of captures sees what it has to see."""

import pytest

import asyncstack
from asyncstack.link.frame import OutgoingFrame
from asyncstack.wire import icmp, ipv4, tcp, udp
from tests.interop.tshark import faults
from tests.link.devices import ip_frame

pytestmark = pytest.mark.forges("what tshark has to find")

A, B = "10.9.0.1", "10.9.0.2"


async def verdict(tmp_path, *frames: OutgoingFrame) -> int:
    """How many of `frames` it finds fault with."""
    device, _ = asyncstack.memory_pair()
    async with asyncstack.Stack() as stack, asyncstack.Capture(tmp_path / "run.pcapng") as capture:
        interface = await stack.add_interface(device)
        capture.attach(interface)
        for frame in frames:
            interface.transmit(frame)
        assert capture.captured == len(frames)
        await capture.flush()
        return len(await faults(capture.path))


async def test_bad_checksums_are_found(tmp_path):
    segment = tcp.build(tcp.Segment(7000, 7001, 1, 1, tcp.ACK, 100), 0x1234)
    message = bytearray(icmp.build(icmp.ECHO_REQUEST, 0, 1, b"hello"))
    message[2] ^= 1
    datagram = udp.build(7000, 7001, 5, 0x1234)
    broken = bytearray(b"".join(ip_frame(A, B, 17, udp.build(7000, 7001, 0, 0)).parts))
    broken[10] ^= 1
    frames = [
        ip_frame(A, B, 6, segment),
        ip_frame(A, B, 1, bytes(message)),
        ip_frame(A, B, 17, datagram, b"hello"),
        OutgoingFrame([bytes(broken)]),
    ]
    assert await verdict(tmp_path, *frames) == 4


async def test_malformed_packets_are_found(tmp_path):
    cut = OutgoingFrame([ipv4.build(bytes(4), bytes(4), 6, 10) + bytes(10)])
    assert await verdict(tmp_path, cut) == 1


async def test_good_packets_pass(tmp_path):
    datagram = ip_frame(A, B, 17, udp.build(7000, 7001, 0, 0))
    assert await verdict(tmp_path, datagram, ip_frame(A, B, 1, icmp.build(icmp.ECHO_REQUEST, 0, 1, b""))) == 0
