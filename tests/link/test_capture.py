"""Captures, read back by dpkt and by tshark with its checksum checks on."""

import asyncio
import errno
import json
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field

import dpkt
import pytest
from dpkt import pcapng

from asyncstack.link.capture import Capture, captured_bytes, epoch_of
from asyncstack.link.device import Device
from asyncstack.link.frame import Frame, OutgoingFrame
from asyncstack.link.memory import MemoryDevice
from asyncstack.link.pcapng import INBOUND, LINKTYPE_ETHERNET, LINKTYPE_RAW, OUTBOUND
from asyncstack.testing.clock import run
from asyncstack.wire import ethernet
from asyncstack.wire.checksum import pseudo_header_sum, verify
from asyncstack.wire.tcp import ACK, Segment
from tests.link.devices import TCP, UDP, address, tcp_frame, udp_frame
from tests.programs import require_program

V4, V6 = ("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")


@dataclass(eq=False)
class Tapped:
    """As much of an interface as a capture sees."""

    name: str = "as0"
    device: Device = field(default_factory=MemoryDevice)
    now: float = 1.5
    taps: list = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def pass_on(self, *frames) -> None:
        for frame in frames:
            for tap in self.taps:
                tap(self, frame)


def received(frame: OutgoingFrame) -> Frame:
    """`frame` as the peer's device would have it."""
    data = memoryview(b"".join(frame.parts))
    return Frame(data, True, frame.gso_size, frame.checksum_start, frame.checksum_offset)


def ethernet_frame(frame: OutgoingFrame, ethertype: int = 0x0800) -> OutgoingFrame:
    header = ethernet.build(b"\2\0\0\0\0\1", b"\2\0\0\0\0\2", ethertype)
    return OutgoingFrame(
        [header, *frame.parts], frame.checksum_start + 14, frame.checksum_offset, frame.gso_size
    )


def blocks(path):
    """(block type, body without its options' length word) of a pcapng file, by its own reading of the format."""
    data = path.read_bytes()
    position = 0
    while position < len(data):
        kind, length = struct.unpack_from("<II", data, position)
        assert length % 4 == 0
        assert data[position + length - 4 : position + length] == struct.pack("<I", length)
        yield kind, data[position : position + length]
        position += length


def packets(path):
    for kind, data in blocks(path):
        if kind == pcapng.PCAPNG_BT_EPB:
            yield pcapng.EnhancedPacketBlockLE(data)


async def test_packets_read_back(tmp_path):
    path = tmp_path / "run.pcapng"
    interface = Tapped()
    out, into = udp_frame(*V4, (1, 2), b"out"), received(udp_frame(*V4, (3, 4), b"into"))
    async with Capture(path) as capture:
        interface.pass_on(out)
        capture.attach(interface)
        interface.pass_on(out)
        interface.now = 2.25
        interface.pass_on(into)
        capture.detach(interface)
        interface.pass_on(out)
    assert (capture.captured, capture.dropped, interface.taps) == (2, 0, [])
    with path.open("rb") as file:
        reader = pcapng.Reader(file)
        read = list(reader)
    assert reader.datalink() == LINKTYPE_RAW
    assert [float(stamp) for stamp, _ in read] == [1.5, 2.25]
    assert [dpkt.ip.IP(data).udp.data for _, data in read] == [b"out", b"into"]
    assert [packet.opts[0].data for packet in packets(path)] == [
        struct.pack("<I", OUTBOUND),
        struct.pack("<I", INBOUND),
    ]


async def test_several_interfaces_in_one_file(tmp_path):
    path = tmp_path / "run.pcapng"
    lan, tun = Tapped("lan", MemoryDevice(ethernet=True)), Tapped("tün")
    async with Capture(path) as capture:
        capture.attach(lan)
        tun.pass_on(udp_frame(*V4, (1, 2), b"not yet"))
        lan.pass_on(ethernet_frame(udp_frame(*V4, (1, 2), b"lan")))
        capture.attach(tun)
        tun.pass_on(udp_frame(*V4, (1, 2), b"tun"))
        lan.pass_on(ethernet_frame(udp_frame(*V4, (1, 2), b"lan again")))
        with pytest.raises(ValueError, match="interface lan is captured already"):
            capture.attach(lan)
    described = [pcapng.InterfaceDescriptionBlockLE(data) for kind, data in blocks(path) if kind == 1]
    assert [block.linktype for block in described] == [LINKTYPE_ETHERNET, LINKTYPE_RAW]
    assert [block.opts[0].data.decode() for block in described] == ["lan", "tün"]
    assert [block.opts[1].data for block in described] == [b"\x09", b"\x09"], "nanoseconds"
    assert [packet.iface_id for packet in packets(path)] == [0, 1, 0]
    assert (lan.taps, tun.taps) == ([], [])


@pytest.mark.parametrize(("src", "dst"), [V4, V6])
@pytest.mark.parametrize("size", [0, 1, 1000, 60001])
@pytest.mark.parametrize("link_header", [0, 14])
def test_partial_checksums_are_completed(src, dst, size, link_header):
    payload = bytes(index * 7 & 0xFF for index in range(size))
    frames = [
        (UDP, udp_frame(src, dst, (1, 2), payload)),
        (TCP, tcp_frame(src, dst, Segment(1, 2, 3, 4, ACK, 5, payload, gso_size=1000))),
    ]
    for protocol, frame in frames:
        if link_header:
            frame = ethernet_frame(frame)
        before = b"".join(frame.parts)
        for given in (frame, received(frame)):
            transport = bytes(captured_bytes(given))[frame.checksum_start :]
            initial = pseudo_header_sum(address(src), address(dst), protocol, len(transport))
            assert verify(transport, initial)
        assert b"".join(frame.parts) == before, "the frame itself has to stay as it is"


def test_a_checksum_field_outside_of_the_frame_is_left():
    frame = Frame(memoryview(b"short"), True, 0, 4, 16)
    assert captured_bytes(frame) == b"short"


def test_the_copy_is_taken_at_once():
    buffer = bytearray(b"before")
    copies = [captured_bytes(Frame(memoryview(buffer))), captured_bytes(OutgoingFrame([buffer]))]
    buffer[:] = b"after!"
    assert copies == [b"before", b"before"]


def conversation(interface: Tapped, wrap=lambda frame: frame) -> int:
    """Frames of every kind through the taps; returns how many."""
    count = 0
    for src, dst in (V4, V6):
        for size in (0, 1, 1400):
            interface.now += 0.001
            frame = udp_frame(src, dst, (40001, 40002), bytes(size))
            interface.pass_on(wrap(frame), received(wrap(frame)))
            count += 2
        segment = Segment(40001, 40002, 1, 1, ACK, 1000, bytes(30000), ts_val=1, ts_ecr=1, gso_size=1400)
        interface.pass_on(wrap(tcp_frame(src, dst, segment)))
        count += 1
    return count


async def test_tshark_finds_no_fault(tmp_path):
    tshark = require_program("tshark")
    path = tmp_path / "run.pcapng"
    tun, lan = Tapped("tun"), Tapped("lan", MemoryDevice(ethernet=True))

    def on_ethernet(frame: OutgoingFrame) -> OutgoingFrame:
        return ethernet_frame(frame, 0x86DD if frame.parts[0][0] >> 4 == 6 else 0x0800)

    async with Capture(path) as capture:
        capture.attach(tun)
        capture.attach(lan)
        count = conversation(tun) + conversation(lan, on_ethernet)
    fields = ("frame.interface_name", "ip.checksum.status", "udp.checksum.status", "tcp.checksum.status")
    command = [tshark, "-r", str(path), "-T", "json", *(word for name in fields for word in ("-e", name))]
    for protocol in ("ip", "udp", "tcp"):
        command += ["-o", f"{protocol}.check_checksum:TRUE"]
    command += ["-e", "_ws.malformed", "-e", "frame.time_epoch"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = [row["_source"]["layers"] for row in json.loads(done.stdout)]
    assert len(rows) == count
    assert [row["frame.interface_name"] for row in rows] == [["tun"]] * (count // 2) + [["lan"]] * (
        count // 2
    )
    for row in rows:
        assert "_ws.malformed" not in row
        statuses = {name: row[name] for name in fields[1:] if name in row}
        assert statuses
        assert all(status == ["1"] for status in statuses.values()), statuses


@pytest.mark.forges("bytes that are no packets")
async def test_what_finds_no_room_is_counted(tmp_path):
    path = tmp_path / "run.pcapng"
    interface = Tapped()
    async with Capture(path, limit=10000) as capture:
        capture.attach(interface)
        for _ in range(10):
            interface.pass_on(OutgoingFrame([bytes(1500)]))
        assert (capture.captured, capture.dropped) == (6, 4)
        await capture.flush()
        interface.pass_on(OutgoingFrame([bytes(1500)]))
        assert capture.captured == 7, "what was written makes room"
    assert len(list(packets(path))) == 7


@pytest.mark.forges("bytes that are no packets")
async def test_flush_brings_everything_into_the_file(tmp_path):
    path = tmp_path / "run.pcapng"
    interface = Tapped()
    async with Capture(path) as capture:
        capture.attach(interface)
        for number in range(50):
            interface.pass_on(OutgoingFrame([bytes(number)]))
            if number % 10 == 9:
                await capture.flush()
                assert len(list(packets(path))) == number + 1
        await asyncio.sleep(0)
        assert not [task for task in asyncio.all_tasks() if "capture" in task.get_name()], (
            "no task waits for packets"
        )


@pytest.mark.forges("bytes that are no packets")
async def test_attached_before_start(tmp_path):
    path = tmp_path / "run.pcapng"
    interface = Tapped()
    capture = Capture(path)
    capture.attach(interface)
    interface.pass_on(OutgoingFrame([b"early"]))
    await capture.start()
    with pytest.raises(RuntimeError, match="has started already"):
        await capture.start()
    await capture.close()
    await capture.close()
    assert [kind for kind, _ in blocks(path)] == [
        pcapng.PCAPNG_BT_SHB,
        pcapng.PCAPNG_BT_IDB,
        pcapng.PCAPNG_BT_EPB,
    ]


async def test_file_that_can_not_be_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        await Capture(tmp_path / "none" / "run.pcapng").start()


async def test_full_disk_is_reported_at_close():
    interface = Tapped()
    capture = Capture("/dev/full")
    await capture.start()
    capture.attach(interface)
    interface.pass_on(OutgoingFrame([bytes(60000)]))
    with pytest.raises(OSError, match="No space left") as info:
        await capture.close()
    assert info.value.errno == errno.ENOSPC
    assert interface.taps == []


# time


@pytest.mark.forges("bytes that are no packets")
async def test_real_clocks_are_moved_to_the_epoch(tmp_path):
    loop = asyncio.get_running_loop()
    for clock in (time.monotonic, loop.time):
        assert abs(epoch_of(clock) + clock() * 1e9 - time.time_ns()) < 1e8
    assert epoch_of(lambda: 5.0) == 0
    path = tmp_path / "run.pcapng"
    async with Capture(path, clock=time.monotonic) as capture:
        interface = Tapped()
        capture.attach(interface)
        interface.pass_on(OutgoingFrame([b"x"]))
    with path.open("rb") as file:
        ((stamp, _),) = pcapng.Reader(file)
    assert abs(float(stamp) - time.time()) < 10


def write_in_virtual_time(path) -> None:
    async def main():
        loop = asyncio.get_running_loop()
        assert epoch_of(loop.time) == 0
        interface = Tapped()
        async with Capture(path, clock=loop.time) as capture:
            capture.attach(interface)
            for _ in range(100):
                await asyncio.sleep(0.1)
                conversation(interface)

    run(main())


def test_equal_runs_write_equal_files(tmp_path):
    for name in ("one", "two"):
        write_in_virtual_time(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    stamps = [packet.ts_high << 32 | packet.ts_low for packet in packets(tmp_path / "one")]
    assert (len(stamps), stamps[0]) == (1400, 100_000_000)
    assert 9_999_999_000 < stamps[-1] < 10_000_001_000


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = "import sys, asyncstack.link.capture, asyncstack.link.tun; "
    code += "print({'dpkt', 'aiofiles', 'pyroute2'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout == "set()\n", done.stderr
