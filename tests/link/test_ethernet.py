"""EthernetLink in a real Interface, on a cable in memory whose other end is read by dpkt; virtual time."""

import asyncio
import errno
import random
from types import SimpleNamespace

import dpkt
import pytest

from asyncstack.counters import Counters
from asyncstack.link.ethernet import EthernetLink
from asyncstack.link.frame import OutgoingFrame
from asyncstack.link.interface import Interface
from asyncstack.link.memory import memory_pair
from asyncstack.link.reachability import State
from asyncstack.wire import arp, ethernet, ipv4

pytestmark = [pytest.mark.virtual_time(limit=300), pytest.mark.forges("payloads that are no packets")]

OURS, PEER, NOBODY = b"\x0a\x09\0\x02", b"\x0a\x09\0\x01", b"\x0a\x09\0\x63"
PEER6 = b"\xfe\x80" + bytes(13) + b"\x01"
MAC, PEER_MAC, THIRD_MAC = (bytes((2, 0, 0, 0, 0, n)) for n in (2, 1, 3))
IPV4, ARP, IPV6 = ethernet.ETHERTYPE_IPV4, ethernet.ETHERTYPE_ARP, ethernet.ETHERTYPE_IPV6


def make_interface(device, seed=1, **options):
    loop = asyncio.get_running_loop()
    interface = Interface(
        device.name,
        1,
        device,
        loop=loop,
        clock=loop.time,
        counters=Counters(),
        rng=random.Random(seed),
        **options,
    )
    interface.received = []

    async def keep(data, frame, interface):
        interface.received.append((bytes(data), frame))

    interface.handlers.update({IPV4: keep, IPV6: keep})
    return interface


class Cable:
    """One interface with address OURS, and the bare other end of its cable."""

    def __init__(self, neighbor_limit=1024, **options):
        device, self.end = memory_pair(ethernet=True, addresses=(MAC, PEER_MAC), **options)
        self.seen = []
        self.end.start(self._read())
        self.interface = make_interface(device, neighbor_limit=neighbor_limit)
        self.link = self.interface.link
        self.counters = self.interface.counters
        self.interface.start()
        self.link.addresses[OURS] = None

    async def _read(self):
        while True:
            for frame in await self.end.receive():
                self.seen.append(dpkt.ethernet.Ethernet(bytes(frame.data)))

    async def seen_now(self):
        """What arrived since the last call, once everything in flight has."""
        for _ in range(3):
            await asyncio.sleep(0)
        seen, self.seen[:] = list(self.seen), []
        return seen

    async def say(self, dst, ethertype, payload, src=PEER_MAC):
        self.end.send(OutgoingFrame([ethernet.build(dst, src, ethertype), payload]))
        for _ in range(2):
            await asyncio.sleep(0)

    async def answer(self, sender=PEER, mac=PEER_MAC):
        await self.say(MAC, ARP, arp.build(arp.Arp(arp.REPLY, mac, sender, MAC, OURS)), mac)

    def now(self):
        return self.interface.clock()

    @property
    def timer_is_set(self):
        return self.link._timer._handle is not None


class Sender:
    """Sends one frame when it has its turn."""

    def __init__(self, cable, next_hop=PEER):
        self.queued = False
        self.cable, self.next_hop = cable, next_hop
        self.sent, self.errors = 0, []

    def transmit(self, now, quantum):
        mac = self.cable.link.resolve(self.next_hop, now)
        if mac is None:
            self.cable.link.park(self.next_hop, self)
            return False
        self.cable.link.send(OutgoingFrame([b"sender"]), mac, IPV4)
        self.sent += 1
        return False

    def unreachable(self, error):
        self.errors.append(error)


def packet(dst=PEER, payload=b"datagram"):
    return OutgoingFrame([ipv4.build(OURS, dst, 17, len(payload)), payload])


# resolution


async def test_the_first_datagram_waits_for_the_answer_and_is_not_lost():
    cable = Cable()
    assert cable.link.resolve(PEER, cable.now()) is None
    cable.link.enqueue(PEER, packet(), IPV4)
    [question] = await cable.seen_now()
    assert (question.dst, question.src, question.type) == (ethernet.BROADCAST, MAC, ARP)
    assert (question.arp.op, question.arp.tpa, question.arp.spa) == (arp.REQUEST, PEER, OURS)
    await cable.answer()
    [datagram] = await cable.seen_now()
    assert (datagram.dst, datagram.src, datagram.type) == (PEER_MAC, MAC, IPV4)
    assert bytes(datagram.data)[-8:] == b"datagram"
    assert cable.link.resolve(PEER, cable.now()) == PEER_MAC
    assert not cable.timer_is_set  # an idle link has no timer


async def test_parked_senders_are_made_ready_by_the_answer():
    cable = Cable()
    senders = [Sender(cable) for _ in range(3)]
    for sender in senders:
        cable.interface.mark_ready(sender)
    [question] = await cable.seen_now()  # one, not three
    assert question.type == ARP
    assert [sender.sent for sender in senders] == [0, 0, 0]
    await cable.answer()
    assert [sender.sent for sender in senders] == [1, 1, 1]
    assert len(await cable.seen_now()) == 3


async def test_those_who_wait_for_nobody_are_told():
    cable = Cable()
    unsent = []
    cable.interface.on_unsent = lambda data, interface: unsent.append((bytes(data), interface))
    sender = Sender(cable, NOBODY)
    cable.interface.mark_ready(sender)
    await asyncio.sleep(0)
    cable.link.enqueue(NOBODY, packet(NOBODY), IPV4)
    started = cable.now()
    await asyncio.sleep(2.99)
    assert (sender.errors, unsent) == ([], [])
    await asyncio.sleep(0.02)
    assert [type(error) for error in sender.errors] == [OSError]
    assert sender.errors[0].errno == errno.EHOSTUNREACH
    assert str(sender.errors[0]).endswith("no answer from 10.9.0.99 on memory0")
    assert unsent == [(b"".join(packet(NOBODY).parts), cable.interface)]
    questions = await cable.seen_now()
    assert [question.arp.tpa for question in questions] == [NOBODY] * 3
    assert cable.now() - started < 3.1
    assert not cable.timer_is_set


async def test_an_evicted_question_says_so():
    cable = Cable(neighbor_limit=1)
    sender = Sender(cable, NOBODY)
    cable.interface.mark_ready(sender)
    await asyncio.sleep(0)
    cable.link.resolve(PEER, cable.now())
    [error] = sender.errors
    assert error.errno == errno.EHOSTUNREACH
    assert str(error).endswith("the neighbour table of memory0 has no room for 10.9.0.99")
    cable.interface.stop()


async def test_a_sender_that_closed_is_not_woken():
    cable = Cable()
    sender = Sender(cable)
    cable.interface.mark_ready(sender)
    await asyncio.sleep(0)
    cable.link.unpark(sender)
    await cable.answer()
    assert (sender.sent, sender.queued) == (0, False)


async def test_parking_or_queueing_for_a_known_neighbor_goes_on_at_once():
    cable = Cable()
    cable.link.resolve(PEER, cable.now())
    await cable.answer()
    await cable.seen_now()
    sender = Sender(cable)
    cable.link.park(PEER, sender)
    assert sender.queued
    cable.link.enqueue(PEER, packet(), IPV4)
    assert [frame.type for frame in await cable.seen_now()] == [IPV4, IPV4]
    assert sender.sent == 1


async def test_queueing_without_a_lookup_asks_by_itself():
    cable = Cable()
    cable.link.enqueue(PEER, packet(), IPV4)
    assert [frame.type for frame in await cable.seen_now()] == [ARP]
    await cable.answer()
    assert [frame.type for frame in await cable.seen_now()] == [IPV4]


async def test_a_neighbor_is_probed_by_unicast_and_found_gone():
    cable = Cable()
    cable.link.resolve(PEER, cable.now())
    await cable.answer()
    await cable.seen_now()
    await asyncio.sleep(50)
    assert cable.link.resolve(PEER, cable.now()) == PEER_MAC
    await asyncio.sleep(8.01)
    probes = await cable.seen_now()
    assert [(probe.dst, probe.arp.tha) for probe in probes] == [(PEER_MAC, PEER_MAC)] * 3
    assert cable.link.resolve(PEER, cable.now()) is None
    cable.interface.stop()


async def test_progress_above_spares_the_probes():
    cable = Cable()
    cable.link.resolve(PEER, cable.now())
    await cable.answer()
    await cable.seen_now()
    for _ in range(20):
        await asyncio.sleep(10)
        cable.link.confirm(PEER, cable.now())
        assert cable.link.resolve(PEER, cable.now()) == PEER_MAC
    assert await cable.seen_now() == []
    cable.link.confirm(PEER6, cable.now())  # unknown: harmless


@pytest.mark.parametrize(
    ("next_hop", "mac"),
    [
        ("ffffffff", "ffffffffffff"),
        ("0a0900ff", "ffffffffffff"),  # of the subnet, says the hook
        ("e0000001", "01005e000001"),
        ("efff8102", "01005e7f8102"),  # the top bit of the second byte is lost (RFC 1112 6.4)
        ("ff020000000000000000000000000001", "333300000001"),
        ("ff0200000000000000000001ffabcdef", "3333ffabcdef"),
    ],
)
async def test_groups_and_broadcasts_need_no_question(next_hop, mac):
    cable = Cable()
    cable.link.is_broadcast = lambda address: address == b"\x0a\x09\0\xff"
    assert cable.link.resolve(bytes.fromhex(next_hop), cable.now()) == bytes.fromhex(mac)
    assert await cable.seen_now() == []
    assert len(cable.link.neighbors4) + len(cable.link.neighbors6) == 0


async def test_a_reserved_address_is_no_group():
    cable = Cable()
    assert cable.link.resolve(b"\xf0\0\0\x01", cable.now()) is None
    cable.interface.stop()


async def test_ipv6_neighbors_are_asked_for_through_the_hook():
    cable = Cable()
    asked = []
    cable.link.solicit_ipv6 = lambda target, mac: asked.append((target, mac))
    assert cable.link.resolve(PEER6, cable.now()) is None
    cable.link.enqueue(PEER6, OutgoingFrame([b"\x60six"]), IPV6)
    assert asked == [(PEER6, None)]
    cable.link.neighbor_advertised(PEER6, PEER_MAC, cable.now(), solicited=True, override=True)
    assert cable.link.resolve(PEER6, cable.now()) == PEER_MAC
    [frame] = await cable.seen_now()
    assert (frame.dst, frame.type) == (PEER_MAC, IPV6)
    await asyncio.sleep(50)
    cable.link.resolve(PEER6, cable.now())
    await asyncio.sleep(5.01)
    assert asked[1:] == [(PEER6, PEER_MAC)]
    cable.interface.stop()


async def test_an_ipv6_neighbor_that_asks_us_is_known():
    cable = Cable()
    cable.link.neighbor_asked(PEER6, PEER_MAC, cable.now())
    assert cable.link.resolve(PEER6, cable.now()) == PEER_MAC
    cable.interface.stop()


# frames in


@pytest.mark.parametrize("dst", [MAC, ethernet.BROADCAST, b"\x01\0\x5e\0\0\x01", b"\x33\x33\0\0\0\x01"])
async def test_frames_for_us_for_groups_and_for_all_are_taken(dst):
    cable = Cable()
    await cable.say(dst, IPV4, b"content")
    [(data, frame)] = cable.interface.received
    assert data == b"content"
    assert bytes(frame.data[:6]) == dst


async def test_frames_for_others_are_counted():
    cable = Cable()
    await cable.say(THIRD_MAC, IPV4, b"content")
    assert (cable.interface.received, cable.counters["ethernet.not_for_us"]) == ([], 1)


@pytest.mark.parametrize("ethertype", [0x0000, 0x0026, 0x05DC, 0x8100, 0x88CC, 0xFFFF])
async def test_unknown_types_are_counted(ethertype):
    cable = Cable()
    await cable.say(MAC, ethertype, b"content")
    assert (cable.interface.received, cable.counters["ethernet.unknown_type"]) == ([], 1)


@pytest.mark.parametrize("length", range(14))
async def test_frames_without_a_header_are_counted(length):
    cable = Cable()
    cable.end.send(OutgoingFrame([(MAC + PEER_MAC + b"\x08\0")[:length]]))
    await asyncio.sleep(0)
    assert (cable.interface.received, cable.counters["ethernet.malformed"]) == ([], 1)


async def test_a_header_without_content_reaches_the_handler():
    cable = Cable()
    await cable.say(MAC, IPV4, b"")
    assert [data for data, _ in cable.interface.received] == [b""]


async def test_mutated_frames_raise_nothing_and_never_suspend():
    cable = Cable()
    script = random.Random(3)
    valid = ethernet.build(MAC, PEER_MAC, ARP) + arp.build(arp.Arp(1, PEER_MAC, PEER, bytes(6), OURS))
    for _ in range(5000):
        data = bytearray(valid[: script.choice((len(valid), len(valid), script.randrange(len(valid))))])
        for _ in range(script.randrange(4)):
            if data:
                data[script.randrange(len(data))] = script.randrange(256)
        step = cable.link.receive(SimpleNamespace(data=memoryview(data)))
        with pytest.raises(StopIteration):
            step.send(None)
    assert len(cable.link.neighbors4) <= 1024
    assert cable.counters["arp.malformed"] > 100
    cable.interface.stop()


# frames out


async def test_the_header_moves_the_checksum():
    device, end = memory_pair(ethernet=True, addresses=(MAC, PEER_MAC))
    frames = []
    end.start(collect(end, frames))
    interface = make_interface(device)
    interface.start()
    header = ipv4.build(OURS, PEER, 6, 20)
    assert interface.link.send(OutgoingFrame([header, bytes(20)], 20, 16, 1000), PEER_MAC, IPV4)
    await asyncio.sleep(0)
    [frame] = frames
    assert (frame.checksum_start, frame.checksum_offset, frame.gso_size) == (34, 16, 1000)
    assert bytes(frame.data) == ethernet.build(PEER_MAC, MAC, IPV4) + header + bytes(20)


async def collect(device, frames):
    while True:
        frames += await device.receive()


async def test_a_frame_that_the_device_has_no_room_for_is_reported():
    cable = Cable(inbox_frames=1)
    assert cable.link.send(packet(), PEER_MAC, IPV4)
    assert not cable.link.send(packet(), PEER_MAC, IPV4)


# addresses


async def test_an_address_is_announced_and_answered_for_until_it_is_removed():
    cable = Cable()
    request = arp.build(arp.Arp(arp.REQUEST, PEER_MAC, PEER, bytes(6), b"\x0a\x09\0\x07"))
    await cable.say(ethernet.BROADCAST, ARP, request)
    assert await cable.seen_now() == []
    cable.link.add_address(b"\x0a\x09\0\x07", cable.now())
    [news] = await cable.seen_now()
    assert (news.dst, news.arp.spa, news.arp.tpa) == (ethernet.BROADCAST, *[b"\x0a\x09\0\x07"] * 2)
    await cable.say(ethernet.BROADCAST, ARP, request)
    [reply] = await cable.seen_now()
    assert (reply.dst, reply.arp.op, reply.arp.sha) == (PEER_MAC, arp.REPLY, MAC)
    cable.link.remove_address(b"\x0a\x09\0\x07")
    cable.link.remove_address(b"\x0a\x09\0\x07")  # harmless
    await cable.say(ethernet.BROADCAST, ARP, request)
    assert await cable.seen_now() == []


async def test_an_ipv6_address_is_announced_through_the_hook():
    cable = Cable()
    announced = []
    cable.link.announce_ipv6 = announced.append
    cable.link.add_address(PEER6, cable.now())
    assert announced == [PEER6]
    assert PEER6 in cable.link.addresses
    assert await cable.seen_now() == []


# the end


async def test_a_closed_link_has_no_timer_and_asks_nobody():
    cable = Cable()
    sender = Sender(cable)
    cable.interface.mark_ready(sender)
    await cable.seen_now()
    assert cable.timer_is_set
    cable.link.close()
    cable.link.close()
    assert not cable.timer_is_set
    assert cable.link.resolve(PEER, cable.now()) is None
    cable.link.enqueue(PEER, packet(), IPV4)
    cable.link.unpark(sender)
    await cable.answer()
    await asyncio.sleep(10)
    assert not cable.timer_is_set
    assert (await cable.seen_now(), sender.sent, sender.errors) == ([], 0, [])
    assert len(cable.link.neighbors4) == 0


async def test_a_device_without_a_mac_is_an_error_of_use():
    interface = SimpleNamespace(device=SimpleNamespace(name="tap9", address=b""))
    with pytest.raises(ValueError, match="tap9 has no MAC address yet: open the device"):
        EthernetLink(interface)


# two of them


async def test_two_interfaces_find_each_other_with_one_question():
    a_device, b_device = memory_pair(ethernet=True, addresses=(MAC, PEER_MAC))
    a, b = make_interface(a_device, 1), make_interface(b_device, 2)
    frames = []
    for interface, own in ((a, OURS), (b, PEER)):
        interface.taps.append(lambda interface, frame: frames.append((interface, type(frame).__name__)))
        interface.start()
        interface.link.addresses[own] = None
    a.link.resolve(PEER, a.clock())
    a.link.enqueue(PEER, packet(), IPV4)
    for _ in range(5):
        await asyncio.sleep(0)
    assert [data[-8:] for data, _ in b.received] == [b"datagram"]
    # b knows a from a's question
    assert b.link.resolve(OURS, b.clock()) == MAC
    assert b.link.neighbors4.entries[OURS].state is State.DELAY
    outgoing = [interface for interface, kind in frames if kind == "OutgoingFrame"]
    assert outgoing == [a, b, a]
    a.stop()
    b.stop()
