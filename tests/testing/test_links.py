"""A simulated link, seen by the frames on it: exact times, exact counts for a seed, and an order that holds."""

import asyncio
import itertools
import random
import struct
import time

import pytest

from asyncstack.link.frame import OutgoingFrame
from asyncstack.testing.clock import run
from asyncstack.testing.impairment import GilbertElliott, Verdict
from asyncstack.testing.links import Link
from asyncstack.wire import checksum, ethernet, ipv4, tcp, udp

A, B = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])


class Receiver:
    """The least that a device can drive: remembers what came, and when."""

    def __init__(self, device):
        self.frames, self.times, self.batches = [], [], []
        self.device = device
        device.start(self.receive())

    async def receive(self):
        loop = asyncio.get_running_loop()
        while True:
            batch = await self.device.receive()
            self.batches.append(len(batch))
            for frame in batch:
                self.frames.append(frame)
                self.times.append(loop.time())

    @property
    def numbers(self):
        return [struct.unpack_from("!I", frame.data, 28)[0] for frame in self.frames]


def numbered(number, size=1000, *, complete=False):
    """A UDP packet of `size` bytes that carries `number` and a partial checksum."""
    data = struct.pack("!I", number) + bytes(size - 32)
    pseudo = checksum.pseudo_header_sum(A, B, udp.PROTOCOL, len(data) + 8)
    header = udp.build(1, 2, len(data), pseudo)
    packet = bytearray(ipv4.build(A, B, udp.PROTOCOL, len(data) + 8) + header + data)
    if complete:
        checksum.complete(packet, 20, 6)
        return OutgoingFrame([bytes(packet)])
    return OutgoingFrame([bytes(packet[:28]), memoryview(bytes(packet[28:]))], 20, 6)


def super_segment(payload, size=1448):
    pseudo = checksum.pseudo_header_sum(A, B, tcp.PROTOCOL, len(payload) + 20)
    header = tcp.build(tcp.Segment(1, 2, 100, 0, tcp.ACK | tcp.PSH, 1000), pseudo)
    ip = ipv4.build(A, B, tcp.PROTOCOL, len(payload) + 20)
    return OutgoingFrame([ip + header, payload], 20, 16, size)


def simulate(work, *, seed=1, mtu=1500, is_ethernet=False, **parameters):
    """Run `await work(link, a, b)` on a link whose ends only remember; returns (link, a, b)."""

    async def main():
        loop = asyncio.get_running_loop()
        link = Link("a-b", loop=loop, seed=seed, mtu=mtu, ethernet=is_ethernet)
        link.set(**parameters)
        a, b = map(Receiver, link.ends)
        await work(link, a, b)
        await asyncio.sleep(100)
        await link.close()
        assert loop.timers == 0
        return link, a, b

    return run(main())


def send_all(count, *, size=1000, interval=0.0):
    async def work(link, a, b):
        for number in range(count):
            assert link.ends[0].send(numbered(number, size))
            if interval:
                await asyncio.sleep(interval)

    return work


# without impairments


def test_clear_link_passes_super_segments_whole():
    payload = random.Random(1).randbytes(60_000)

    async def work(link, a, b):
        assert link.ends[0].send(super_segment(payload))

    link, _, b = simulate(work)
    (frame,) = b.frames
    assert (frame.gso_size, frame.checksum_valid, frame.checksum_start) == (1448, True, 20)
    assert frame.data[40:] == payload
    assert (link.forward.stats.sent, link.forward.stats.bytes) == (1, 60_040)


def test_clear_link_stops_the_sender_and_loses_nothing():
    async def work(link, a, b):
        end, number, stops = link.ends[0], 0, 0
        while number < 5000:
            if end.writable:
                assert end.send(numbered(number))
                number += 1
            else:
                stops += 1
                assert not end.send(numbered(0))
                event = asyncio.Event()
                end.on_writable = event.set
                await event.wait()
        assert stops >= 4

    _, _, b = simulate(work)
    assert b.numbers == list(range(5000))
    assert max(b.batches) <= 64


# time


def test_delay_is_exact():
    _, _, b = simulate(send_all(3, interval=1.0), delay=0.0123)
    assert b.times == [0.0123, 1.0123, 2.0123]


def test_packets_due_at_once_arrive_as_one_batch_in_order():
    _, _, b = simulate(send_all(150), delay=0.5)
    assert b.batches == [64, 64, 22]
    assert b.numbers == list(range(150))
    assert set(b.times) == {0.5}


def test_rate_is_exact_serialisation():
    _, _, b = simulate(send_all(100), rate=8e6, delay=0.25, queue=10**6)
    assert b.times == pytest.approx([0.25 + 0.001 * (i + 1) for i in range(100)], abs=1e-12)


def test_wire_rests_between_packets():
    _, _, b = simulate(send_all(3, interval=0.01), rate=8e6)
    assert b.times == pytest.approx([0.001, 0.011, 0.021], abs=1e-12)


def test_queue_drops_the_tail():
    link, _, b = simulate(send_all(100), rate=8e6, queue=10_000)
    assert b.numbers == list(range(10))
    assert link.forward.stats.overflowed == link.forward.stats.dropped == 90


def test_empty_queue_takes_any_packet():
    _, _, b = simulate(send_all(3), rate=8e6, queue=0)
    assert b.numbers == [0]


def test_default_queue_holds_the_path():
    async def work(link, a, b):
        assert link.forward.queue_limit == 256 << 10
        link.set(delay=0.1, rate=1e9)
        assert link.forward.queue_limit == link.backward.queue_limit == 25_000_000
        link.queue = 5000
        assert link.forward.queue_limit == 5000

    simulate(work)


def test_queue_numbers():
    async def work(link, a, b):
        await send_all(10)(link, a, b)
        assert (link.forward.queued_bytes, link.forward.queued, link.forward.in_flight) == (10_000, 10, 10)
        await asyncio.sleep(0.0035)
        assert (link.forward.queued_bytes, link.forward.queued, link.forward.in_flight) == (6500, 7, 10)
        await asyncio.sleep(0.1)
        assert (link.forward.queued_bytes, link.forward.queued, link.forward.in_flight) == (0, 0, 7)

    simulate(work, rate=8e6, delay=0.1005)


def test_new_rate_applies_to_what_waits():
    async def work(link, a, b):
        await send_all(10)(link, a, b)
        await asyncio.sleep(2.5)
        link.rate = 80_000
        await send_all(1)(link, a, b)

    _, _, b = simulate(work, rate=8_000, delay=0.25)
    assert b.times[:2] == [1.25, 2.25]
    assert b.times[2:] == pytest.approx([2.8 + 0.1 * i for i in range(9)], abs=1e-9)


def test_no_rate_frees_what_waits():
    async def work(link, a, b):
        await send_all(10)(link, a, b)
        await asyncio.sleep(0.5)
        link.rate = None
        await send_all(1)(link, a, b)

    _, _, b = simulate(work, rate=8_000, delay=0.25)
    assert b.times == [0.75] * 11
    assert b.numbers == [*range(10), 0]


def test_jitter_keeps_the_order():
    _, _, b = simulate(send_all(500, interval=0.001), delay=0.1, jitter=0.01)
    delays = [t - 0.001 * i for i, t in enumerate(b.times)]
    assert b.numbers == list(range(500))
    assert min(delays) >= 0.1 - 1e-9
    assert max(delays) <= 0.11 + 1e-9
    assert max(delays) - min(delays) > 0.005


def test_shorter_delay_does_not_let_later_packets_pass():
    async def work(link, a, b):
        await send_all(5)(link, a, b)
        link.delay = 0.001
        await send_all(5)(link, a, b)

    _, _, b = simulate(work, delay=0.1)
    assert b.numbers == [0, 1, 2, 3, 4] * 2


def test_clearing_a_link_does_not_let_later_packets_pass():
    async def work(link, a, b):
        await send_all(5)(link, a, b)
        link.set(delay=0.0)
        assert not link.forward.clear
        await send_all(5)(link, a, b)
        await asyncio.sleep(1)
        assert link.forward.clear

    _, _, b = simulate(work, delay=0.1)
    assert b.numbers == [0, 1, 2, 3, 4] * 2


def test_impairing_a_link_does_not_let_later_packets_pass():
    async def work(link, a, b):
        await send_all(200)(link, a, b)
        link.duplicate = 1e-9
        await send_all(5)(link, a, b)

    _, _, b = simulate(work)
    assert b.numbers == [*range(200), *range(5)]


# what befalls a packet


def test_loss_for_a_seed():
    link, _, b = simulate(send_all(10_000), loss=0.02, delay=0.01)
    stats = link.forward.stats
    assert stats.lost == 210  # the seed's; 200 are expected
    assert (stats.sent, stats.delivered) == (10_000, 10_000 - 210)
    assert b.numbers == sorted(set(b.numbers))


def test_same_seed_same_fate_and_other_seed_another():
    kwargs = {"loss": 0.1, "jitter": 0.01, "reorder": 0.1, "duplicate": 0.1}
    first, again, other = (simulate(send_all(500), seed=seed, **kwargs)[2] for seed in (5, 5, 6))
    assert (first.numbers, first.times) == (again.numbers, again.times)
    assert first.numbers != other.numbers


def test_directions_have_fates_of_their_own():
    async def work(link, a, b):
        for number in range(200):
            link.ends[0].send(numbered(number))
            link.ends[1].send(numbered(number))

    _, a, b = simulate(work, loss=0.5)
    assert a.numbers != b.numbers
    assert 60 < len(a.numbers) < 140


def test_a_lost_packet_takes_its_time_on_the_wire():
    async def work(link, a, b):
        await send_all(5)(link, a, b)
        link.loss = 0.0
        await send_all(1)(link, a, b)

    _, _, b = simulate(work, rate=8e6, loss=1.0)
    assert b.times == pytest.approx([0.006])


def test_gilbert_elliott_loses_in_bursts():
    model = GilbertElliott.with_mean(0.02, burst=5)
    link, _, b = simulate(send_all(50_000), loss=model, delay=0.01)
    lost = sorted(set(range(50_000)) - set(b.numbers))
    bursts = 1 + sum(later - earlier > 1 for earlier, later in itertools.pairwise(lost))
    assert len(lost) == link.forward.stats.lost
    assert 0.015 < len(lost) / 50_000 < 0.025
    assert 4 < len(lost) / bursts < 6
    assert not model.bad  # each direction has a copy


def test_duplicates():
    link, _, b = simulate(send_all(1000), duplicate=0.1, delay=0.01)
    stats = link.forward.stats
    assert stats.duplicated == 88  # the seed's
    assert stats.delivered == len(b.numbers) == 1088
    assert b.numbers == sorted(b.numbers)


def test_reordering_holds_back_and_loses_nothing():
    link, _, b = simulate(send_all(1000, interval=0.0001), reorder=0.05, reorder_delay=0.002, delay=0.01)
    assert sorted(b.numbers) == list(range(1000))
    late = sum(number < max(b.numbers[:i], default=0) for i, number in enumerate(b.numbers))
    assert 20 < late <= link.forward.stats.reordered == 44  # the seed's
    delays = [t - 0.0001 * number for t, number in zip(b.times, b.numbers, strict=True)]
    assert max(delays) <= 0.012 + 1e-9


def test_every_damage_is_found_by_a_checksum():
    async def work(link, a, b):
        for number in range(2000):
            link.ends[0].send(numbered(number, 60, complete=number % 2 == 0))

    link, _, b = simulate(work, corrupt=0.5)
    damaged = 0
    for number, frame in enumerate(b.frames):
        sent = b"".join(numbered(number, 60).parts)
        if frame.checksum_start:
            assert (frame.checksum_valid, bytes(frame.data)) == (True, sent)
            continue
        try:
            packet = ipv4.parse(frame.data)
            good = packet.protocol == 17 and checksum.verify(
                packet.payload,
                checksum.pseudo_header_sum(packet.src, packet.dst, 17, len(packet.payload)),
            )
        except ipv4.WireError:
            good = False
        assert not frame.checksum_valid
        damaged += not good
    assert len(b.frames) == 2000
    assert damaged == link.forward.stats.corrupted > 900


def test_damage_spares_the_link_header():
    header = ethernet.build(b"\x02" * 6, b"\x02" * 6, ethernet.ETHERTYPE_IPV4)

    async def work(link, a, b):
        for number in range(500):
            frame = numbered(number, 60)
            link.ends[0].send(OutgoingFrame([header, *frame.parts], 34, 6))

    link, _, b = simulate(work, is_ethernet=True, corrupt=1.0)
    assert link.forward.stats.corrupted == 500
    assert {bytes(frame.data[:14]) for frame in b.frames} == {header}


def test_impaired_link_cuts_super_segments():
    payload = random.Random(1).randbytes(10_000)

    async def work(link, a, b):
        link.ends[0].send(super_segment(payload))

    link, _, b = simulate(work, delay=0.01)
    segments = []
    for frame in b.frames:
        assert len(frame.data) <= 1500
        assert frame.gso_size == 0
        data = bytearray(frame.data)
        checksum.complete(data, frame.checksum_start, frame.checksum_offset)
        packet = ipv4.parse(memoryview(data))
        assert checksum.verify(packet.payload, checksum.pseudo_header_sum(A, B, 6, len(packet.payload)))
        segments.append(tcp.parse(packet.payload))
    assert b"".join(segment.payload for segment in segments) == payload
    assert [segment.seq for segment in segments] == [100 + 1448 * i for i in range(7)]
    assert link.forward.stats.sent == 7


def test_too_large_a_packet_is_dropped():
    link, _, b = simulate(send_all(3, size=1501), delay=0.01)
    assert b.frames == []
    assert link.forward.stats.refused == 3


def test_rule_passes_drops_and_delays():
    seen = []

    def rule(packet):
        seen.append((packet.number, packet.now, packet.udp.dst_port, packet.tcp))
        number = struct.unpack("!I", packet.udp.payload[:4])[0]
        if number == 1:
            return Verdict.DROP
        return 0.5 if number == 3 else Verdict.PASS

    async def work(link, a, b):
        link.forward.set(rule=rule)
        await send_all(5)(link, a, b)
        link.ends[1].send(numbered(7))

    link, a, b = simulate(work, delay=0.1)
    assert b.numbers == [0, 2, 3, 4]
    assert b.times == [0.1, 0.1, 0.6, 0.6]  # in order
    assert seen == [(i + 1, 0.0, 2, None) for i in range(5)]
    assert link.forward.stats.refused == 1
    assert a.numbers == [7]


def test_rule_sees_tcp_and_ethernet():
    header = ethernet.build(b"\x02" * 6, b"\x02" * 6, ethernet.ETHERTYPE_IPV4)
    seen = []

    def rule(packet):
        seen.append((packet.ip.dst, packet.tcp.seq, len(packet.tcp.payload), packet.udp))
        return Verdict.PASS

    async def work(link, a, b):
        frame = super_segment(bytes(3000))
        link.ends[0].send(OutgoingFrame([header, *frame.parts], 34, 16, 1448))

    simulate(work, is_ethernet=True, rule=rule)
    assert seen == [(B, 100, 1448, None), (B, 1548, 1448, None), (B, 2996, 104, None)]


def test_rule_sees_what_is_no_ip_packet():
    seen = []

    def rule(packet):
        seen.append((packet.ip, packet.tcp, packet.udp))
        return Verdict.PASS

    async def work(link, a, b):
        for data in (b"", b"\x45", b"\x60" * 10, b"\xff" * 60):
            link.ends[0].send(OutgoingFrame([data]))

    simulate(work, rule=rule)
    assert seen == [(None, None, None)] * 4


def test_rule_that_returns_nonsense_is_told():
    async def work(link, a, b):
        with pytest.raises(TypeError, match=r"returned None: return Verdict\.PASS"):
            link.ends[0].send(numbered(1))

    simulate(work, rule=lambda packet: None)


def test_down_and_up():
    async def work(link, a, b):
        await send_all(3)(link, a, b)
        link.down()
        assert link.is_down
        await send_all(4)(link, a, b)
        link.up()
        await asyncio.sleep(1)
        await send_all(1)(link, a, b)

    link, _, b = simulate(work, delay=0.1)
    assert b.times == [1.1]
    assert link.forward.stats.cut == 7


def test_clear_link_can_be_cut():
    async def work(link, a, b):
        link.forward.set_down(True)
        link.ends[0].send(numbered(1))
        link.ends[1].send(numbered(2))
        link.up()
        link.ends[0].send(numbered(3))

    _, a, b = simulate(work)
    assert (a.numbers, b.numbers) == ([2], [3])


def test_what_is_on_its_way_is_bounded():
    link, _, _ = simulate(send_all(60_000, size=1500), delay=10.0)
    assert 64 << 20 <= link.forward.stats.delivered * 1500 <= (64 << 20) + 1500
    assert link.forward.stats.overflowed == 60_000 - link.forward.stats.delivered


# parameters


def test_attributes_read_forward_and_set_both():
    async def work(link, a, b):
        link.loss = 0.25
        link.backward.set(loss=0.5)
        assert (link.loss, link.backward.impairments.loss) == (0.25, 0.5)
        link.set(delay=1.0, rate=1e6)
        assert (link.delay, link.rate) == (1.0, 1e6)
        assert link.backward.impairments.rate == 1e6

    simulate(work)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"loss": 2}, "loss=2: give a probability, 0 to 1"),
        ({"reorder": -0.1}, "reorder=-0.1: give a probability"),
        ({"delay": -1}, "delay=-1: give seconds, 0 or more"),
        ({"jitter": float("nan")}, "jitter=nan: give seconds"),
        ({"rate": 0}, "rate=0: give bits per second above 0, or None"),
        ({"queue": -1}, "queue=-1: give bytes"),
    ],
)
def test_wrong_parameters_are_refused_in_words(parameters, words):
    async def work(link, a, b):
        with pytest.raises(ValueError, match=words):
            link.set(**parameters)
        assert link.forward.clear

    simulate(work)


def test_wrong_loss_models_are_refused():
    with pytest.raises(ValueError, match="bad_to_good=3"):
        GilbertElliott(0.1, 3)
    with pytest.raises(ValueError, match="burst at least 1"):
        GilbertElliott.with_mean(0.1, 0.5)


def test_ethernet_addresses_come_from_the_seed():
    async def addresses(seed):
        link = Link("a-b", loop=asyncio.get_running_loop(), seed=seed, ethernet=True)
        return [end.address for end in link.ends]

    first, again, other = (run(addresses(seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert all(len(address) == 6 and address[0] & 3 == 2 for address in first)


def test_links_alone_are_fast():
    """40,000 packets in virtual time: ten times what the whole stack has to do per second, with room for a busy CI."""

    async def work(link, a, b):
        for _ in range(400):
            await send_all(100)(link, a, b)
            await asyncio.sleep(0.01)

    started = time.process_time()
    link, _, _ = simulate(work, rate=100e6, delay=0.01, loss=0.01)
    assert link.forward.stats.sent == 40_000
    assert time.process_time() - started < 4.0
