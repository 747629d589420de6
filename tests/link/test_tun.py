"""TUN devices against the kernel, in a network namespace."""

import asyncio
import errno
import fcntl
import os
import socket
from pathlib import Path

import pytest

from asyncstack.link.attach import (
    IFF_MULTI_QUEUE,
    IFF_NO_PI,
    IFF_TAP,
    IFF_TUN,
    IFF_VNET_HDR,
    TUNGETIFF,
    attach,
)
from asyncstack.link.device import BATCH_FRAMES
from asyncstack.link.frame import OutgoingFrame
from asyncstack.link.kernel import interface_mtu
from asyncstack.link.tun import TunDevice
from asyncstack.wire import icmp, icmpv6, ipv4, ipv6, tcp, udp
from asyncstack.wire.checksum import pseudo_header_sum, verify
from asyncstack.wire.tcp import ACK, SYN, Segment
from tests.link.devices import (
    TCP,
    UDP,
    Receiver,
    address,
    addresses_of,
    delete_link,
    ip_frame,
    is_ip,
    is_up,
    make_persistent,
    receiving,
    set_link,
    tcp_frame,
    udp_frame,
)
from tests.programs import require_program

pytestmark = pytest.mark.tun

OURS, PEER = "10.9.0.2", "10.9.0.1"
OURS6, PEER6 = "fd00:9::2", "fd00:9::1"
BOTH = [f"{PEER}/24", f"{PEER6}/64"]


def udp_socket(family=socket.AF_INET, host=PEER) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_DGRAM)
    listener.bind((host, 0))
    listener.setblocking(False)
    return listener


async def datagram(listener: socket.socket) -> bytes:
    async with asyncio.timeout(5):
        return await asyncio.get_running_loop().sock_recv(listener, 65535)


# what the kernel sends


@pytest.mark.parametrize("offload", [True, False])
async def test_kernel_ping_is_received_and_the_reply_accepted(offload):
    ping = require_program("ping")
    device = TunDevice("as0", peer=f"{PEER}/24", offload=offload)
    async with receiving(device) as receiver:
        process = await asyncio.create_subprocess_exec(
            ping, "-c1", "-w5", OURS, stdout=asyncio.subprocess.DEVNULL
        )
        (frame,) = await receiver.until(lambda frame: is_ip(frame, 1))
        request = ipv4.parse(frame.data)
        message = icmp.parse(request.payload)
        assert (request.src, request.dst, message.type) == (address(PEER), address(OURS), icmp.ECHO_REQUEST)
        echo = icmp.build(icmp.ECHO_REPLY, 0, message.rest, message.body)
        assert device.send(ip_frame(OURS, PEER, 1, echo))
        assert await process.wait() == 0


async def test_kernel_ping_over_ipv6():
    ping = require_program("ping")
    device = TunDevice("as0", peer=f"{PEER6}/64")
    async with receiving(device) as receiver:
        process = await asyncio.create_subprocess_exec(
            ping, "-6", "-c1", "-w5", OURS6, stdout=asyncio.subprocess.DEVNULL
        )
        wanted = address(OURS6)
        (frame,) = await receiver.until(lambda frame: is_ip(frame, 58, 6) and frame.data[24:40] == wanted)
        request = ipv6.parse(frame.data)
        message = icmpv6.parse(request.payload, request.src, request.dst)
        echo = icmpv6.build(wanted, request.src, icmpv6.ECHO_REPLY, 0, message.rest, message.body)
        assert device.send(ip_frame(OURS6, PEER6, 58, echo))
        assert await process.wait() == 0


@pytest.mark.parametrize("offload", [True, False])
@pytest.mark.parametrize(("ours", "peer", "version"), [(OURS, PEER, 4), (OURS6, PEER6, 6)])
async def test_checksum_of_a_kernel_datagram(ours, peer, version, offload):
    device = TunDevice("as0", peer=BOTH, offload=offload)
    async with receiving(device) as receiver:
        with udp_socket(socket.AF_INET if version == 4 else socket.AF_INET6, peer) as sender:
            sender.sendto(b"hello", (ours, 99))
        (frame,) = await receiver.until(lambda frame: is_ip(frame, UDP, version))
    packet = (ipv4 if version == 4 else ipv6).parse(frame.data)
    assert bytes(packet.payload[8:]) == b"hello"
    initial = pseudo_header_sum(packet.src, packet.dst, UDP, len(packet.payload))
    if offload:
        assert frame.checksum_valid
        assert (frame.checksum_start, frame.checksum_offset) == (20 if version == 4 else 40, 6)
        assert udp.parse(packet.payload).checksum == initial, (
            "partial: the kernel leaves the sum to the device"
        )
    else:
        assert (frame.checksum_valid, frame.checksum_start) == (False, 0)
        assert verify(packet.payload, initial)


async def answer_syn(device: TunDevice, receiver: Receiver, ours: str, peer: str) -> None:
    """Our half of a handshake, by hand."""
    version = 6 if ":" in ours else 4
    (frame,) = await receiver.until(lambda frame: is_ip(frame, TCP, version))
    syn = tcp.parse((ipv6 if version == 6 else ipv4).parse(frame.data).payload)
    assert syn.flags & SYN
    reply = Segment(syn.dst_port, syn.src_port, 1000, syn.seq + 1, SYN | ACK, 65535, mss=1440, window_scale=7)
    assert device.send(tcp_frame(ours, peer, reply))


@pytest.mark.parametrize(("ours", "peer", "header"), [(OURS, PEER, 20), (OURS6, PEER6, 40)])
async def test_tcp_super_segments_from_the_kernel(ours, peer, header):
    device = TunDevice("as0", peer=BOTH)
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in ours else socket.AF_INET
    async with receiving(device) as receiver:
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.setblocking(False)
            connecting = asyncio.ensure_future(loop.sock_connect(client, (ours, 80)))
            await answer_syn(device, receiver, ours, peer)
            await asyncio.wait_for(connecting, 5)
            assert client.send(b"x" * 100000) > 1440
            (frame, *_) = await receiver.until(lambda frame: frame.gso_size != 0)
    assert len(frame.data) > device.mtu
    assert frame.gso_size == 1440
    assert (frame.checksum_valid, frame.checksum_start, frame.checksum_offset) == (True, header, 16)


async def test_a_flood_comes_in_bounded_batches():
    device = TunDevice("as0", peer=f"{PEER}/24")
    async with receiving(device) as receiver:
        with udp_socket() as sender:
            for number in range(300):
                sender.sendto(number.to_bytes(2, "big"), (OURS, 99))
        frames = await receiver.until(lambda frame: is_ip(frame, UDP), 300)
        assert [int.from_bytes(frame.data[28:30], "big") for frame in frames] == list(range(300))
        assert len(receiver.batches) > 300 // BATCH_FRAMES
        assert max(map(len, receiver.batches)) <= BATCH_FRAMES


# what the kernel accepts


@pytest.mark.parametrize(("ours", "peer"), [(OURS, PEER), (OURS6, PEER6)])
async def test_kernel_accepts_a_partial_checksum(ours, peer):
    device = TunDevice("as0", peer=BOTH)
    async with receiving(device):
        with udp_socket(socket.AF_INET6 if ":" in ours else socket.AF_INET, peer) as listener:
            assert device.send(udp_frame(ours, peer, (5000, listener.getsockname()[1]), b"partial"))
            assert await datagram(listener) == b"partial"


@pytest.mark.parametrize(("ours", "peer"), [(OURS, PEER), (OURS6, PEER6)])
async def test_kernel_takes_a_super_segment_whole(ours, peer):
    device = TunDevice("as0", peer=BOTH)
    payload = bytes(range(256)) * 250
    async with receiving(device):
        family = socket.AF_INET6 if ":" in ours else socket.AF_INET
        with socket.socket(family, socket.SOCK_RAW, TCP) as listener:
            listener.setblocking(False)
            assert device.max_segment == 65535
            assert device.send(tcp_frame(ours, peer, Segment(5, 6, 1, 1, ACK, 1000, payload, gso_size=1400)))
            received = await datagram(listener)
    assert received.endswith(payload)
    assert len(received) < len(payload) + 60 + 20


@pytest.mark.parametrize(
    ("source", "target", "parse", "setting"),
    [
        (OURS, "10.10.0.2", ipv4.parse, "ipv4/ip_forward"),
        (OURS6, "fd00:10::2", ipv6.parse, "ipv6/conf/all/forwarding"),
    ],
)
async def test_kernel_cuts_and_sums_for_a_device_without_offload(source, target, parse, setting):
    """Routed from a TUN with offload to one without: all that was left out has to be done on the way."""
    Path("/proc/sys/net", setting).write_text("1")
    payload = os.urandom(10000)
    first = TunDevice("as0", peer=BOTH)
    second = TunDevice("as1", peer=["10.10.0.1/24", "fd00:10::1/64"], offload=False, mtu=1400)
    async with receiving(first), receiving(second) as receiver:
        assert (second.max_segment, second.checksum_offload) == (1400, False)
        first.send(udp_frame(source, target, (1, 2), b"a datagram"))
        first.send(tcp_frame(source, target, Segment(5, 6, 100, 1, ACK, 1000, payload, gso_size=1300)))
        version = 6 if ":" in target else 4
        await receiver.until(lambda frame: is_ip(frame, UDP, version))
        frames = await receiver.until(lambda frame: is_ip(frame, TCP, version), -(-len(payload) // 1300))
    segments = []
    for frame in receiver.frames:
        if is_ip(frame, TCP, version) or is_ip(frame, UDP, version):
            packet = parse(frame.data)
            initial = pseudo_header_sum(packet.src, packet.dst, packet.protocol, len(packet.payload))
            assert verify(packet.payload, initial)
            if packet.protocol == TCP:
                segments.append(tcp.parse(packet.payload))
    assert len(segments) == len(frames)
    assert [segment.seq for segment in segments] == list(range(100, 100 + len(payload), 1300))
    assert b"".join(segment.payload for segment in segments) == payload


async def test_frame_in_many_pieces():
    device = TunDevice("as0", peer=f"{PEER}/24")
    async with receiving(device):
        with udp_socket() as listener:
            payload = os.urandom(1400)
            frame = udp_frame(OURS, PEER, (5000, listener.getsockname()[1]), payload)
            header, transport, _ = frame.parts
            frame.parts = [header, transport, *(payload[i : i + 1] for i in range(len(payload)))]
            assert device.send(frame)
            assert await datagram(listener) == payload


async def test_frame_that_the_kernel_refuses_is_counted():
    device = TunDevice("as0", peer=f"{PEER}/24")
    async with receiving(device):
        assert not device.send(OutgoingFrame([b"\x15 no version of IP"]))
        assert device.counters["device.refused"] == 1
        assert device.writable


# down and gone


class Watched(TunDevice):
    """Counts the calls of its reader."""

    reads = 0

    def _read_batch(self) -> None:
        self.reads += 1
        super()._read_batch()


async def test_deleted_interface_is_reported_once_and_the_reader_does_not_spin():
    device = Watched("as0", peer=f"{PEER}/24")
    errors: list[OSError] = []
    told = asyncio.Event()
    device.on_down = lambda error: (errors.append(error), told.set())
    async with receiving(device):
        await delete_link("as0")
        await asyncio.wait_for(told.wait(), 5)
        reads = device.reads
        for _ in range(200):
            await asyncio.sleep(0)
        assert device.reads == reads
        assert not device.send(udp_frame(OURS, PEER, (1, 2), b""))
        await asyncio.sleep(0)
    assert [error.errno for error in errors] == [errno.ENETDOWN]
    assert "as0 is gone" in str(errors[0])


@pytest.mark.parametrize("frames", [0, 1])
async def test_deletion_is_noticed_though_the_fd_polls_with_an_error_before_reads_fail(frames, monkeypatch):
    """The kernel deletes in steps. In between a last frame may be read and then nothing, and uvloop, told of the
    error, watches the fd no longer."""
    device = Watched("as0", peer=f"{PEER}/24")
    told = asyncio.Event()
    device.on_down = lambda error: told.set()
    read = os.read
    last = [b""] * frames
    early = 0

    def read_early(fd: int, size: int) -> bytes:
        nonlocal early
        try:
            return read(fd, size)
        except OSError as exc:
            if fd != device._fd or exc.errno != errno.EBADFD or early:
                raise
        if last:
            return last.pop() + bytes(100)
        early = 1
        raise BlockingIOError

    async with receiving(device):
        monkeypatch.setattr(os, "read", read_early)
        await delete_link("as0")
        await asyncio.wait_for(told.wait(), 5)
        assert (early, last) == (1, [])


async def test_deletion_found_by_send_is_reported_on_a_later_turn():
    device = TunDevice("as0", peer=f"{PEER}/24")
    errors: list[OSError] = []
    device.on_down = errors.append
    await device.open(asyncio.get_running_loop())
    await delete_link("as0")
    assert not device.send(udp_frame(OURS, PEER, (1, 2), b""))
    assert not device.writable
    assert errors == []
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(errors) == 1
    await device.close()
    await device.close()


async def test_interface_that_is_down_loses_frames_and_comes_back():
    device = TunDevice("as0", peer=f"{PEER}/24")
    errors: list[OSError] = []
    device.on_down = errors.append
    async with receiving(device):
        with udp_socket() as listener:
            frame = udp_frame(OURS, PEER, (5000, listener.getsockname()[1]), b"again")
            await set_link("as0", state="down")
            assert not device.send(frame)
            assert device.counters["device.interface_down"] == 1
            await set_link("as0", state="up")
            assert device.send(frame)
            assert await datagram(listener) == b"again"
    assert errors == []


async def test_close_gives_everything_back():
    before = sorted(os.listdir("/proc/self/fd"))
    device = TunDevice("as0", peer=f"{PEER}/24")
    async with receiving(device):
        pass
    with pytest.raises(OSError, match="No such device"):
        interface_mtu("as0")
    await device.close()
    assert not device.send(udp_frame(OURS, PEER, (1, 2), b""))
    assert sorted(os.listdir("/proc/self/fd")) == before


# how it is attached


async def test_the_kernel_may_choose_the_name():
    device = TunDevice()
    async with receiving(device):
        assert device.name == "tun0"
    async with receiving(TunDevice("as%d")) as receiver:
        assert receiver.device.name == "as0"


async def test_peer_addresses_are_set_before_open_returns():
    device = TunDevice("as0", peer=BOTH, mtu=1400)
    async with receiving(device):
        assert await addresses_of("as0") == sorted(BOTH)
        assert (await is_up("as0"), interface_mtu("as0")) == (True, 1400)


@pytest.mark.parametrize("flags", [IFF_NO_PI, IFF_NO_PI | IFF_VNET_HDR, IFF_NO_PI | IFF_MULTI_QUEUE, 0])
async def test_attach_to_a_persistent_interface_and_leave_it_as_it_was(flags):
    make_persistent("as0", IFF_TUN, flags)
    device = TunDevice("as0", peer=f"{PEER}/24", mtu=1400)
    async with receiving(device):
        with udp_socket() as listener:
            assert device.send(udp_frame(OURS, PEER, (5000, listener.getsockname()[1]), b"hello"))
            assert await datagram(listener) == b"hello"
    assert await addresses_of("as0") == []
    assert (await is_up("as0"), interface_mtu("as0")) == (False, 1500)


async def test_attach_to_a_persistent_multi_queue_interface_without_offload():
    make_persistent("as0", IFF_TUN, IFF_NO_PI | IFF_MULTI_QUEUE)
    async with receiving(TunDevice("as0", offload=False)) as receiver:
        assert not receiver.device.checksum_offload


async def test_what_was_there_before_stays():
    make_persistent("as0", IFF_TUN)
    first = TunDevice("as0", peer=f"{PEER}/24")
    await first.open(asyncio.get_running_loop())
    first._kernel = None  # as if an administrator had set it up
    await first.close()
    assert (await addresses_of("as0"), await is_up("as0")) == ([f"{PEER}/24"], True)
    async with receiving(TunDevice("as0", peer=BOTH)):
        assert await addresses_of("as0") == sorted(BOTH)
    assert (await addresses_of("as0"), await is_up("as0")) == ([f"{PEER}/24"], True)


async def test_offloads_left_on_by_another_program_are_turned_off():
    """Without a header in front, a partial checksum would pass for a bad one."""
    make_persistent("as0", IFF_TUN)
    os.close(attach("as0", IFF_TUN, offload=True).fd)
    async with receiving(TunDevice("as0", peer=f"{PEER}/24", offload=False)) as receiver:
        with udp_socket() as sender:
            sender.sendto(b"hello", (OURS, 99))
        (frame,) = await receiver.until(lambda frame: is_ip(frame, UDP))
    packet = ipv4.parse(frame.data)
    assert verify(packet.payload, pseudo_header_sum(packet.src, packet.dst, UDP, len(packet.payload)))


@pytest.mark.parametrize("offload", [True, False])
async def test_fd_handed_in(offload):
    fd = attach("as0", IFF_TUN, offload).fd
    os.set_blocking(fd, True)
    device = TunDevice(fd=fd, peer=f"{PEER}/24")
    async with receiving(device):
        assert (device.name, device.checksum_offload, os.get_blocking(fd)) == ("as0", offload, False)
        with udp_socket() as listener:
            frame = udp_frame(OURS, PEER, (5000, listener.getsockname()[1]), b"hello")
            if not offload:
                frame.parts[1] = udp.build(5000, listener.getsockname()[1], 5)
                frame.checksum_start = 0
            assert device.send(frame)
            assert await datagram(listener) == b"hello"
    with pytest.raises(OSError, match="Bad file descriptor"):
        fcntl.ioctl(fd, TUNGETIFF, bytes(40))


async def test_fd_that_is_no_tun():
    loop = asyncio.get_running_loop()
    fd = os.open("/dev/null", os.O_RDWR)
    with pytest.raises(OSError, match=f"fd {fd} is not attached to a TUN or TAP"):
        await TunDevice(fd=fd).open(loop)
    os.close(fd)
    fd = attach("as0", IFF_TAP, offload=True).fd
    with pytest.raises(OSError, match="as0 is a tap, not a tun interface"):
        await TunDevice(fd=fd).open(loop)
    os.close(fd)


async def test_errors_of_attaching():
    loop = asyncio.get_running_loop()
    async with receiving(TunDevice("as0")):
        with pytest.raises(OSError, match="as0 is in use by another program") as info:
            await TunDevice("as0").open(loop)
        assert info.value.errno == errno.EBUSY
    make_persistent("as1", IFF_TAP)
    with pytest.raises(OSError, match="an interface of that name is no tun"):
        await TunDevice("as1").open(loop)


async def test_peer_that_can_not_be_set_leaves_nothing_behind():
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    with pytest.raises(OSError, match=r"as0: the kernel refused to add fd00:9::1/64: .*disable_ipv6"):
        await TunDevice("as0", peer=BOTH).open(asyncio.get_running_loop())
    with pytest.raises(OSError, match="No such device"):
        interface_mtu("as0")
