"""Memory links: order, bounds, backpressure, and turns of the loop."""

import asyncio
import contextvars
import errno
import random

import pytest

from asyncstack.link.device import BATCH_BYTES, BATCH_FRAMES
from asyncstack.link.frame import OutgoingFrame
from asyncstack.link.loopback import LoopbackDevice
from asyncstack.link.memory import MemoryDevice, memory_pair
from tests.link.devices import Receiver


def frame(number: int, size: int = 40) -> OutgoingFrame:
    return OutgoingFrame([number.to_bytes(4, "big"), bytes(size - 4)])


def numbers(receiver: Receiver) -> list[int]:
    return [int.from_bytes(each.data[:4], "big") for each in receiver.frames]


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def started(**options) -> tuple[MemoryDevice, MemoryDevice, Receiver, Receiver]:
    a, b = memory_pair(**options)
    return a, b, Receiver(a), Receiver(b)


async def test_frames_arrive_in_order_on_a_later_turn():
    a, b, at_a, at_b = started()
    for number in range(10):
        assert a.send(frame(number))
    assert b.send(frame(99))
    assert at_b.batches == [], "nothing may arrive within send"
    await turns(1)
    assert numbers(at_b) == list(range(10))
    assert len(at_b.batches) == 1, "a burst is one batch"
    assert numbers(at_a) == [99]


@pytest.mark.parametrize(("count", "size"), [(3 * BATCH_FRAMES + 1, 40), (40, 60000)])
async def test_a_batch_per_turn_and_bounded(count, size):
    a, _, _, at_b = started(mtu=65535)
    for number in range(count):
        assert a.send(frame(number, size))
    while len(at_b.frames) < count:
        before = len(at_b.batches)
        await turns(1)
        assert len(at_b.batches) <= before + 1, "the loop had no turn between two batches"
    assert numbers(at_b) == list(range(count))
    assert len(at_b.batches) > 1
    for batch in at_b.batches:
        assert len(batch) <= BATCH_FRAMES
        assert sum(len(each.data) for each in batch) < BATCH_BYTES + size


async def test_an_endless_exchange_lets_the_loop_run():
    a, b = memory_pair()

    async def reply(device):
        while True:
            for each in await device.receive():
                device.send(OutgoingFrame([bytes(each.data)]))

    a.start(reply(a))
    b.start(reply(b))
    a.send(frame(1))
    ticks = 0
    async with asyncio.timeout(5):
        while ticks < 1000:
            await asyncio.sleep(0)
            ticks += 1
    await a.close()
    await b.close()


async def test_full_inbox_stops_the_sender_until_there_is_room():
    a, _, _, at_b = started(inbox_frames=100)
    woken: list[bool] = []
    a.on_writable = lambda: woken.append(a.writable)
    sent = 0
    while a.writable:
        assert a.send(frame(sent))
        sent += 1
    assert sent == 100
    assert not a.send(frame(sent)), "there is no room"
    assert a.counters["device.no_room"] == 1
    await turns(1)
    assert woken == [True]
    assert a.send(frame(sent))
    await turns(5)
    assert numbers(at_b) == list(range(101))
    assert woken == [True]


async def test_inbox_is_bounded_in_bytes():
    a, _, _, at_b = started(mtu=65535, inbox_bytes=150000)
    while a.writable:
        a.send(frame(0, 60000))
    assert len(at_b.frames) == 0
    await turns(2)
    assert len(at_b.frames) == 3
    assert a.writable


async def test_two_full_devices_do_not_wait_for_each_other():
    a, b, at_a, at_b = started(inbox_frames=8)
    for device in (a, b):
        while device.writable:
            device.send(frame(7))
    await turns(2)
    assert (len(at_a.frames), len(at_b.frames), a.writable, b.writable) == (8, 8, True, True)


async def test_offload_passes_super_segments_and_partial_checksums():
    a, _, _, at_b = started()
    assert (a.max_segment, a.checksum_offload) == (65535, True)
    a.send(OutgoingFrame([bytes(40), memoryview(b"x" * 60000)], 20, 16, 1460))
    a.send(OutgoingFrame([bytearray(b"complete")]))
    await turns(1)
    big, small = at_b.frames
    assert (len(big.data), big.checksum_valid, big.gso_size) == (60040, True, 1460)
    assert (big.checksum_start, big.checksum_offset) == (20, 16)
    assert (small.checksum_valid, small.checksum_start) == (False, 0), "nobody has checked that one"


async def test_without_offload_a_device_asks_for_whole_segments():
    a, _, _, at_b = started(offload=False, mtu=1400)
    assert (a.max_segment, a.checksum_offload) == (1400, False)
    assert not a.send(OutgoingFrame([bytes(1401)], gso_size=1000))
    await turns(1)
    assert at_b.frames == []


async def test_buffers_are_the_receivers_own():
    a, _, _, at_b = started()
    buffer = bytearray(b"before")
    a.send(OutgoingFrame([buffer]))
    buffer[:] = b"after!"
    await turns(1)
    assert bytes(at_b.frames[0].data) == b"before"


@pytest.mark.parametrize(("ethernet", "limit"), [(False, 1500), (True, 1514)])
async def test_mtu(ethernet, limit):
    a, _, _, at_b = started(ethernet=ethernet)
    assert a.send(frame(1, limit))
    assert not a.send(frame(2, limit + 1))
    await turns(1)
    assert numbers(at_b) == [1]
    assert a.counters["device.too_long"] == 1


async def test_nothing_passes_to_a_device_that_is_not_started_or_closed():
    a, b = memory_pair()
    a.start(_ignore(a))
    assert not a.send(frame(1))
    at_b = Receiver(b)
    assert a.send(frame(2))
    await turns(1)
    assert a.send(frame(3))
    await b.close()
    await b.close()
    await turns(2)
    assert numbers(at_b) == [2]
    assert not a.send(frame(4))
    assert a.counters["device.unplugged"] == 2


async def _ignore(device):
    while True:
        await device.receive()


async def test_a_waiting_sender_is_released_when_the_peer_closes():
    a, b, _, _ = started(inbox_frames=1)
    woken = []
    a.on_writable = lambda: woken.append("writable")
    a.send(frame(1))
    assert not a.writable
    await b.close()
    assert (woken, a.writable) == (["writable"], True)
    assert not a.send(frame(2)), "nobody is there"


async def test_set_down_tells_once_and_stops_both_directions():
    a, b, at_a, at_b = started()
    errors: list[OSError] = []
    a.on_down = errors.append
    b.send(frame(1))
    a.set_down()
    a.set_down()
    assert errors == [], "told on a later turn"
    await turns(2)
    assert [error.errno for error in errors] == [errno.ENETDOWN]
    assert not a.send(frame(2))
    assert not b.send(frame(3))
    await turns(1)
    assert (at_a.batches, at_b.batches) == ([], [])


async def test_frames_arrive_in_the_receivers_context():
    variable = contextvars.ContextVar("variable", default="receiver")
    seen = []
    a, b = memory_pair()
    a.start(_ignore(a))

    async def look():
        while True:
            await b.receive()
            seen.append((variable.get(), asyncio.current_task()))

    b.start(look())
    variable.set("sender")
    a.send(frame(1))
    await turns(1)
    assert seen == [("receiver", None)]


def test_ethernet_addresses():
    pairs = [memory_pair(ethernet=True, rng=random.Random(5)) for _ in range(2)]
    macs = [(a.address, b.address) for a, b in pairs]
    assert macs[0] == macs[1], "the same seed gives the same addresses"
    assert macs[0][0] != macs[0][1]
    assert all(len(mac) == 6 and mac[0] & 3 == 2 for mac in macs[0]), "unicast, locally administered"
    a, b = memory_pair(ethernet=True, addresses=("02:00:00:00:00:01", bytes.fromhex("020000000002")))
    assert (a.address, b.address) == (b"\2\0\0\0\0\1", b"\2\0\0\0\0\2")
    assert memory_pair()[0].address == b""


@pytest.mark.parametrize("text", ["02:00", "01:00:5e:00:00:01", "00:00:00:00:00:00", "no address at all"])
def test_bad_ethernet_address(text):
    with pytest.raises(ValueError, match="no unicast Ethernet address"):
        MemoryDevice(ethernet=True, address=text)


async def test_loopback_returns_what_is_sent():
    device = LoopbackDevice()
    receiver = Receiver(device)
    assert (device.mtu, device.max_segment, device.checksum_offload) == (65535, 65535, True)
    for number in range(200):
        assert device.send(frame(number))
    assert receiver.frames == []
    await turns(6)
    assert numbers(receiver) == list(range(200))
    await device.close()
    assert not device.send(frame(1))


async def test_loopback_is_bounded():
    device = LoopbackDevice()
    receiver = Receiver(device)
    sent = 0
    while device.writable:
        device.send(frame(sent, 65535))
        sent += 1
    assert sent * 65535 < device.inbox_bytes + 65536
    await turns(10)
    assert (len(receiver.frames), device.writable) == (sent, True)
