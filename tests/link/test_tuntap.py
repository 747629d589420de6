"""What TUN and TAP have in common, without a kernel: a socket pair stands in for the fd."""

import asyncio
import errno
import itertools
import os
import random
import socket

import pytest

from asyncstack.link.attach import Attachment
from asyncstack.link.frame import OutgoingFrame
from asyncstack.link.tap import TapDevice
from asyncstack.link.tun import TunDevice
from asyncstack.link.tuntap import build_header, parse_frame
from asyncstack.wire import virtio_net
from asyncstack.wire.virtio_net import F_DATA_VALID, F_NEEDS_CSUM, GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4
from tests.link.devices import Receiver

FRAME = bytes(range(100))


class SocketDevice(TunDevice):
    """A TUN whose fd is one end of a socket pair that keeps frames apart."""

    def __init__(self, **options) -> None:
        super().__init__("fake", **options)
        self.kernel, self.ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.kernel.setblocking(False)
        self.ours.setblocking(False)

    def _attach(self) -> Attachment:
        return Attachment(self.ours.detach(), "lo", True, False)  # whose carrier there is to watch

    async def _configure(self, attachment: Attachment) -> None:
        pass


@pytest.fixture
async def device():
    made = SocketDevice()
    await made.open(asyncio.get_running_loop())
    yield made
    await made.close()
    made.kernel.close()


# sending


async def test_parts_follow_the_header(device):
    assert device.send(OutgoingFrame([b"one", memoryview(b"two"), bytearray(b"three")]))
    assert device.kernel.recv(100) == virtio_net.PLAIN + b"onetwothree"
    assert device.send(OutgoingFrame([b"\x45" + bytes(60), b"data"], 20, 16, 3))
    fields = virtio_net.parse(memoryview(device.kernel.recv(100)))
    assert fields == (F_NEEDS_CSUM, GSO_TCPV4, 40, 3, 20, 16)


async def test_a_frame_without_room_is_kept_and_leaves_first(device):
    woken: list[bool] = []
    device.on_writable = lambda: woken.append(device.writable)
    sent = 0
    while device.writable:
        assert device.send(OutgoingFrame([sent.to_bytes(2, "big"), bytes(1000)]))
        sent += 1
    assert not device.send(OutgoingFrame([b"\xff\xff", bytes(1000)])), "one frame is kept, no more"
    assert device.counters["device.no_room"] == 1
    await asyncio.sleep(0.01)
    assert woken == []
    received = []
    async with asyncio.timeout(5):
        while len(received) < sent:
            received.append(await asyncio.get_running_loop().sock_recv(device.kernel, 2000))
    await asyncio.sleep(0)
    assert [int.from_bytes(data[10:12], "big") for data in received] == list(range(sent))
    assert woken == [True]
    assert device.send(OutgoingFrame([b"next"]))


async def test_a_frame_that_waits_may_be_refused_in_the_end(device):
    woken: list[bool] = []
    device.on_writable = lambda: woken.append(device.writable)
    while device.writable:
        device.send(OutgoingFrame([bytes(1000)]))
    device.kernel.close()
    async with asyncio.timeout(5):
        while not woken:
            await asyncio.sleep(0)
    assert woken == [True]
    assert device.counters["device.refused"] == 1


async def test_a_device_may_die_while_a_frame_waits(device, monkeypatch):
    errors: list[OSError] = []
    device.on_down = errors.append
    while device.writable:
        device.send(OutgoingFrame([bytes(1000)]))

    def gone(fd, buffers):
        raise OSError(errno.EBADFD, "File descriptor in bad state")

    monkeypatch.setattr(os, "writev", gone)
    async with asyncio.timeout(5):
        while not errors:  # room again, as soon as most of what waits there has been read
            try:
                device.kernel.recv(2000)
            except BlockingIOError:
                pass
            await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert (len(errors), device.writable) == (1, False)


async def test_close_forgets_a_frame_that_waits(device):
    while device.writable:
        device.send(OutgoingFrame([bytes(1000)]))
    await device.close()
    await device.close()
    assert not device.send(OutgoingFrame([b"x"]))


async def test_headers_kept_are_bounded(device):
    for size in range(1, 1000):
        device.send(OutgoingFrame([b"\x45" + bytes(60)], 20, 16, size))
        assert virtio_net.parse(memoryview(device.kernel.recv(100)))[3] == size
    assert len(device._headers) <= 256


async def test_family_of_a_super_segment():
    def gso_type(device, *parts):
        return virtio_net.parse(memoryview(device._header(OutgoingFrame(parts, 40, 16, 1000))))[1]

    tun, tap = TunDevice(), TapDevice()
    assert gso_type(tun, b"\x45" + bytes(39), bytes(20)) == GSO_TCPV4
    assert gso_type(tun, b"\x60" + bytes(39), bytes(20)) == GSO_TCPV6
    macs = bytes(12)
    assert gso_type(tap, macs + b"\x08\x00", b"\x45" + bytes(39)) == GSO_TCPV4
    assert gso_type(tap, macs + b"\x86\xdd", b"\x60" + bytes(39)) == GSO_TCPV6


async def test_cwr_of_a_super_segment():
    """RFC 3168 6.1.2: on its first piece alone, which the kernel has to be told."""

    def gso_type(device, flags, *before):
        tcp = bytes(13) + bytes([flags]) + bytes(6)
        start = sum(map(len, before))
        frame = OutgoingFrame([*before, tcp, bytes(3000)], start, 16, 1000)
        joined = OutgoingFrame([b"".join(frame.parts)], start, 16, 1000)
        kinds = {virtio_net.parse(memoryview(device._header(each)))[1] for each in (frame, joined)}
        assert len(kinds) == 1
        return kinds.pop()

    ip, eth = b"\x45" + bytes(19), bytes(12) + b"\x08\x00"
    assert gso_type(TunDevice(), 0x90, ip) == GSO_TCPV4 | virtio_net.GSO_ECN
    assert gso_type(TunDevice(), 0x50, ip) == GSO_TCPV4
    assert gso_type(TapDevice(), 0x90, eth, ip) == GSO_TCPV4 | virtio_net.GSO_ECN
    assert gso_type(TapDevice(), 0x10, eth, ip) == GSO_TCPV4


def test_header_of_a_checksum_alone():
    assert virtio_net.parse(memoryview(build_header(20, 6, 0, False))) == (F_NEEDS_CSUM, 0, 0, 0, 20, 6)


# receiving


async def test_a_frame_too_short_for_its_header_is_counted_and_the_next_one_read(device):
    receiver = Receiver(device)
    device.kernel.send(b"short")
    device.kernel.send(virtio_net.PLAIN + FRAME)
    (frame,) = await receiver.until(lambda frame: True)
    assert bytes(frame.data) == FRAME
    assert device.counters["device.malformed"] == 1


async def test_frames_wait_until_the_receiver_starts_and_end_with_it(device):
    device.kernel.send(virtio_net.PLAIN + FRAME)
    await asyncio.sleep(0)
    receiver = Receiver(device)
    await receiver.until(lambda frame: True)
    device.stop()
    device.kernel.send(virtio_net.PLAIN + FRAME)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(receiver.frames) == 1


def parsed(*fields: int):
    frame = parse_frame(virtio_net.build(*fields) + FRAME)
    assert bytes(frame.data) == FRAME
    return frame.checksum_valid, frame.gso_size, frame.checksum_start, frame.checksum_offset


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((0, 0, 0, 0, 0, 0), (False, 0, 0, 0)),
        ((F_NEEDS_CSUM, 0, 0, 0, 20, 6), (True, 0, 20, 6)),
        ((F_DATA_VALID, 0, 0, 0, 0, 0), (True, 0, 0, 0)),
        ((F_NEEDS_CSUM, GSO_TCPV4, 52, 1448, 20, 16), (True, 1448, 20, 16)),
        ((F_NEEDS_CSUM, GSO_TCPV6 | GSO_ECN, 72, 1428, 40, 16), (True, 1428, 40, 16)),
        ((F_DATA_VALID, GSO_TCPV4, 52, 1448, 0, 0), (True, 1448, 0, 0)),
        # what does not fit counts as absent
        ((F_NEEDS_CSUM, 0, 0, 0, 82, 16), (True, 0, 82, 16)),
        ((F_NEEDS_CSUM, 0, 0, 0, 83, 16), (False, 0, 0, 0)),
        ((F_NEEDS_CSUM, 0, 0, 0, 65535, 65535), (False, 0, 0, 0)),
        ((F_NEEDS_CSUM, 0, 0, 0, 0, 16), (False, 0, 0, 0)),
        ((0, 0, 0, 1448, 20, 16), (False, 0, 0, 0)),
        ((F_NEEDS_CSUM, GSO_UDP_L4, 0, 1448, 20, 6), (True, 0, 20, 6)),
        ((F_NEEDS_CSUM, 0x7F, 0, 1448, 20, 6), (True, 0, 20, 6)),
    ],
)
def test_fields_of_the_header(fields, expected):
    assert parsed(*fields) == expected


def test_no_header_raises_or_points_outside_of_the_frame():
    rng = random.Random(1)
    edges = (0, 1, 20, 40, 99, 100, 101, 65535)
    for start, offset in itertools.product(edges, edges):
        fields = (
            rng.randrange(256),
            rng.randrange(256),
            rng.randrange(65536),
            rng.randrange(65536),
            start,
            offset,
        )
        _, _, start, offset = parsed(*fields)
        assert start == 0 or start + offset + 2 <= len(FRAME)


# errors of use


@pytest.mark.parametrize("name", ["sixteen-letters-", "ünïcödé-nämé", "a/b", "a b", "a:b", ".."])
def test_names_that_can_not_be(name):
    with pytest.raises(ValueError, match="interface name"):
        TunDevice(name)


def test_longest_name():
    assert TunDevice("fifteen-letters").name == "fifteen-letters"


@pytest.mark.parametrize("mtu", [0, 67, 65536])
def test_mtu_that_can_not_be(mtu):
    with pytest.raises(ValueError, match=f"mtu {mtu} "):
        TunDevice(mtu=mtu)


async def test_open_twice(device):
    with pytest.raises(OSError, match="lo is open already") as info:
        await device.open(asyncio.get_running_loop())
    assert info.value.errno == errno.EALREADY
    assert device.send(OutgoingFrame([b"still there"]))
