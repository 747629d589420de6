"""Neighbour discovery as dialogues on a cable: messages in, messages out, read by dpkt."""

import asyncio
import random
from types import SimpleNamespace

import dpkt
import pytest

from asyncstack.counters import Counters
from asyncstack.link.frame import OutgoingFrame
from asyncstack.link.interface import Interface
from asyncstack.link.ip import IpLink
from asyncstack.link.memory import memory_pair
from asyncstack.link.reachability import State
from asyncstack.network.ndp import Ndp
from asyncstack.wire import ethernet, icmpv6, ipv6, ndp
from asyncstack.wire.packet import Packet

pytestmark = pytest.mark.virtual_time(limit=300)

MAC, PEER_MAC, EVIL_MAC = (bytes((2, 0, 0, 0, 0, n)) for n in (2, 1, 0xEE))
LOCAL, PEER_LOCAL = (b"\xfe\x80" + bytes(13) + bytes((n,)) for n in (2, 1))
GLOBAL, PEER_GLOBAL = (b"\x20\x01\x0d\xb8" + bytes(11) + bytes((n,)) for n in (2, 1))
UNSPECIFIED, ALL_NODES = bytes(16), ndp.ALL_NODES
ALL_NODES_MAC = b"\x33\x33\0\0\0\x01"
R, S, O = 0x80000000, 0x40000000, 0x20000000  # noqa: E741  the RFC's letters
SOURCE_MAC, TARGET_MAC = b"\x01\x01", b"\x02\x01"


class Cable:
    """An interface with LOCAL and GLOBAL whose messages go to an Ndp, and the bare other end."""

    def __init__(self):
        loop = asyncio.get_running_loop()
        device, self.end = memory_pair(ethernet=True, addresses=(MAC, PEER_MAC))
        self.frames = []
        self.end.start(self._read())
        self.counters = Counters()
        self.interface = Interface(
            "eth0",
            1,
            device,
            loop=loop,
            clock=loop.time,
            counters=self.counters,
            rng=random.Random(1),
        )
        self.link = self.interface.link
        self.ndp = Ndp(clock=loop.time, counters=self.counters)
        self.ndp.attach(self.interface)
        self.interface.start()
        self.link.addresses.update({LOCAL: None, GLOBAL: None, b"\x0a\0\0\x01": None})

    async def _read(self):
        while True:
            self.frames += await self.end.receive()

    def receive(self, kind, rest, body, *, src=PEER_LOCAL, dst=LOCAL, ttl=255, code=0):
        packet = Packet(src, dst, 58, memoryview(b""), memoryview(b""), ttl, interface=self.interface)
        self.ndp.receive(packet, icmpv6.Message(kind, code, rest, body))

    def solicit(self, target=LOCAL, option=SOURCE_MAC + PEER_MAC, **fields):
        self.receive(icmpv6.NEIGHBOR_SOLICITATION, 0, target + option, **fields)

    def advertise(self, target=PEER_LOCAL, flags=S | O, option=TARGET_MAC + PEER_MAC, **fields):
        self.receive(icmpv6.NEIGHBOR_ADVERTISEMENT, flags, target + option, **fields)

    async def sent(self):
        """(MAC, source, destination, type, flags, target, option) of what was sent since the last call."""
        for _ in range(3):
            await asyncio.sleep(0)
        frames, self.frames[:] = list(self.frames), []
        return [read(bytes(frame.data)) for frame in frames]

    def state(self, address=PEER_LOCAL):
        entry = self.link.neighbors6.entries.get(address)
        return None if entry is None else (entry.state, entry.mac)


def read(data):
    frame = dpkt.ethernet.Ethernet(data)
    assert (frame.src, frame.type) == (MAC, ethernet.ETHERTYPE_IPV6)
    packet = frame.data
    message = packet.data
    assert (packet.hlim, packet.nxt, packet.plen) == (255, 58, len(bytes(message)))
    expected, message.sum = message.sum, 0
    assert expected != 0
    assert dpkt.ip6.IP6(bytes(packet)).data.sum == expected  # dpkt filled it in
    body = bytes(message)[4:]
    flags, target, option = int.from_bytes(body[:4], "big"), body[4:20], body[20:]
    return frame.dst, packet.src, packet.dst, message.type, flags, target, option


def advertisement(target, *, to=PEER_LOCAL, mac=PEER_MAC, flags=S | O):
    return mac, target, to, 136, flags, target, TARGET_MAC + MAC


# solicitations in


@pytest.mark.parametrize("target", [LOCAL, GLOBAL])
async def test_a_solicitation_for_us_is_answered_and_the_asker_kept(target):
    cable = Cable()
    cable.solicit(target, dst=ndp.solicited_node_multicast(target))
    assert await cable.sent() == [advertisement(target)]
    assert cable.state() == (State.STALE, PEER_MAC)
    cable.interface.stop()


async def test_a_solicitation_for_another_is_counted():
    cable = Cable()
    cable.solicit(PEER_GLOBAL, dst=ndp.solicited_node_multicast(PEER_GLOBAL))
    assert (await cable.sent(), cable.state(), cable.counters["ndp.not_ours"]) == ([], None, 1)


async def test_an_answer_without_the_askers_mac_is_sent_once_it_is_known():
    cable = Cable()
    cable.solicit(option=b"")
    [question] = await cable.sent()
    assert question[3:6] == (135, 0, PEER_LOCAL)
    cable.advertise()
    assert await cable.sent() == [advertisement(LOCAL)]


async def test_who_checks_whether_our_address_is_free_hears_that_it_is_not():
    cable = Cable()
    cable.solicit(option=b"", src=UNSPECIFIED, dst=ndp.solicited_node_multicast(LOCAL))
    assert await cable.sent() == [advertisement(LOCAL, to=ALL_NODES, mac=ALL_NODES_MAC, flags=O)]
    assert len(cable.link.neighbors6) == 0


async def test_an_address_that_was_removed_is_not_answered_for():
    cable = Cable()
    cable.link.remove_address(LOCAL)
    cable.solicit()
    assert await cable.sent() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"ttl": 254},
        {"code": 1},
        {"target": b"\xff\x02" + bytes(14)},
        {"target": LOCAL[:15], "option": b""},
        {"option": b"\x01\x00" + PEER_MAC},
        {"option": b"\x01\x02" + PEER_MAC},
        {"option": SOURCE_MAC + PEER_MAC[:5]},
        {"option": SOURCE_MAC + b"\xff" * 6},
        {"option": SOURCE_MAC + b"\x33\x33\0\0\0\x01"},
        {"option": SOURCE_MAC + bytes(6)},
        {"src": UNSPECIFIED, "dst": LOCAL, "option": b""},
        {"src": UNSPECIFIED, "dst": ndp.solicited_node_multicast(LOCAL)},  # with a MAC
        {"src": UNSPECIFIED, "dst": ndp.solicited_node_multicast(PEER_GLOBAL), "option": b""},
    ],
)
async def test_invalid_solicitations_are_counted(fields):
    cable = Cable()
    cable.solicit(**fields)
    assert (await cable.sent(), len(cable.link.neighbors6)) == ([], 0)
    assert cable.counters == Counters({"ndp.invalid": 1})


@pytest.mark.parametrize(("mac", "conflicts"), [(MAC, 0), (EVIL_MAC, 1)])
async def test_a_solicitation_from_our_own_address_is_no_neighbor(mac, conflicts):
    cable = Cable()
    cable.solicit(GLOBAL, src=LOCAL, option=SOURCE_MAC + mac)
    assert (await cable.sent(), len(cable.link.neighbors6)) == ([], 0)
    assert cable.counters["ndp.address_conflict"] == conflicts


# solicitations out


@pytest.mark.parametrize(("target", "source"), [(PEER_LOCAL, LOCAL), (PEER_GLOBAL, GLOBAL)])
async def test_a_neighbor_is_asked_for_and_resolved(target, source):
    cable = Cable()
    assert cable.link.resolve(target, cable.interface.clock()) is None
    group = ndp.solicited_node_multicast(target)
    mac = b"\x33\x33\xff" + target[13:]
    assert await cable.sent() == [(mac, source, group, 135, 0, target, SOURCE_MAC + MAC)]
    cable.advertise(target)
    assert cable.state(target) == (State.REACHABLE, PEER_MAC)
    assert cable.link.resolve(target, cable.interface.clock()) == PEER_MAC


async def test_a_quiet_neighbor_is_verified_by_unicast():
    cable = Cable()
    cable.solicit()
    await cable.sent()
    cable.link.resolve(PEER_LOCAL, cable.interface.clock())
    await asyncio.sleep(5.01)
    assert await cable.sent() == [(PEER_MAC, LOCAL, PEER_LOCAL, 135, 0, PEER_LOCAL, SOURCE_MAC + MAC)]
    cable.advertise(option=b"", flags=S)  # the MAC need not be repeated
    assert cable.state() == (State.REACHABLE, PEER_MAC)


async def test_nobody_is_asked_without_an_address_to_ask_from():
    cable = Cable()
    cable.link.addresses.clear()
    cable.link.resolve(PEER_LOCAL, cable.interface.clock())
    assert (await cable.sent(), cable.counters["ndp.no_source"]) == ([], 1)
    await asyncio.sleep(3.01)
    assert cable.state() == (State.FAILED, b"")


async def test_an_address_is_announced():
    cable = Cable()
    cable.link.add_address(GLOBAL, cable.interface.clock())
    assert await cable.sent() == [advertisement(GLOBAL, to=ALL_NODES, mac=ALL_NODES_MAC, flags=O)]


# advertisements in


async def test_an_advertisement_nobody_asked_for_makes_no_entry():
    cable = Cable()
    cable.advertise()
    assert (cable.state(), cable.counters["ndp.unexpected_reply"]) == (None, 1)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (S, (State.STALE, PEER_MAC)),
        (0, (State.STALE, PEER_MAC)),
        (O, (State.STALE, EVIL_MAC)),
        (S | O, (State.REACHABLE, EVIL_MAC)),
    ],
)
async def test_the_flags_decide_about_another_mac(flags, expected):
    cable = Cable()
    cable.link.resolve(PEER_LOCAL, cable.interface.clock())
    cable.advertise()
    cable.advertise(flags=flags, option=TARGET_MAC + EVIL_MAC)
    assert cable.state() == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"ttl": 64},
        {"code": 3},
        {"target": b"\xff" * 16},
        {"target": b"", "option": b""},
        {"dst": ALL_NODES, "flags": S | O},
        {"option": b"\x02\x00" + PEER_MAC},
        {"option": TARGET_MAC + b"\x01" + bytes(5)},
        {"option": TARGET_MAC + bytes(6)},
        {"option": TARGET_MAC + PEER_MAC + b"\0"},
    ],
)
async def test_invalid_advertisements_are_counted(fields):
    cable = Cable()
    cable.link.resolve(PEER_LOCAL, cable.interface.clock())
    cable.advertise(**fields)
    assert cable.state() == (State.INCOMPLETE, b"")
    assert cable.counters == Counters({"ndp.invalid": 1})
    cable.interface.stop()


@pytest.mark.parametrize(("mac", "conflicts"), [(MAC, 0), (EVIL_MAC, 1)])
async def test_a_claim_to_our_address_is_counted(mac, conflicts):
    cable = Cable()
    cable.advertise(GLOBAL, option=TARGET_MAC + mac, dst=ALL_NODES, flags=O)
    assert (await cable.sent(), len(cable.link.neighbors6)) == ([], 0)
    assert cable.counters["ndp.address_conflict"] == conflicts


# everything else


@pytest.mark.parametrize("kind", [133, 134, 137])
async def test_routers_and_redirects_are_ignored(kind):
    cable = Cable()
    cable.receive(kind, 0, bytes(40))
    assert (await cable.sent(), cable.counters) == ([], Counters({"ndp.ignored": 1}))


async def test_a_link_without_neighbors_ignores_discovery():
    interface = SimpleNamespace(counters=Counters())
    interface.link = IpLink(interface)
    service = Ndp(clock=lambda: 0.0, counters=interface.counters)
    service.attach(interface)
    packet = Packet(PEER_LOCAL, LOCAL, 58, memoryview(b""), memoryview(b""), 255, interface=interface)
    service.receive(packet, icmpv6.Message(135, 0, 0, LOCAL))
    assert interface.counters == Counters({"ndp.ignored": 1})


async def test_mutations_raise_nothing_and_leave_the_table_bounded():
    cable = Cable()
    script = random.Random(11)
    for _ in range(5000):
        body = bytearray(script.choice((LOCAL, GLOBAL, PEER_LOCAL)) + SOURCE_MAC + PEER_MAC)
        for _ in range(script.randrange(4)):
            body[script.randrange(len(body))] = script.randrange(256)
        cable.receive(
            script.choice((133, 134, 135, 136, 137)),
            script.getrandbits(32),
            bytes(body[: script.randrange(len(body) + 1)]) if script.random() < 0.2 else bytes(body),
            src=script.choice((PEER_LOCAL, PEER_GLOBAL, UNSPECIFIED, LOCAL)),
            dst=script.choice((LOCAL, ALL_NODES, ndp.solicited_node_multicast(LOCAL))),
            ttl=script.choice((255, 255, 255, 1)),
        )
    assert len(cable.link.neighbors6) <= 3
    assert cable.counters["ndp.invalid"] > 1000
    cable.interface.stop()


@pytest.mark.forges("a payload that is no packet")
async def test_two_interfaces_find_each_other():
    loop = asyncio.get_running_loop()
    counters = Counters()
    service = Ndp(clock=loop.time, counters=counters)
    received = []

    async def receive(data, frame, interface):
        packet = ipv6.parse(data)
        packet.interface = interface
        if packet.protocol == icmpv6.PROTOCOL:
            service.receive(packet, icmpv6.parse(packet.payload, packet.src, packet.dst))
        else:
            received.append(bytes(packet.payload))

    ends = []
    for device, own in zip(
        memory_pair(ethernet=True, addresses=(MAC, PEER_MAC)), (LOCAL, PEER_LOCAL), strict=True
    ):
        interface = Interface(
            device.name,
            1,
            device,
            loop=loop,
            clock=loop.time,
            counters=counters,
            rng=random.Random(1),
        )
        service.attach(interface)
        interface.handlers[ethernet.ETHERTYPE_IPV6] = receive
        interface.link.addresses[own] = None
        interface.link.join(ndp.solicited_node_multicast(own))
        interface.start()
        ends.append(interface)
    a, b = ends
    assert a.link.resolve(PEER_LOCAL, loop.time()) is None
    frame = OutgoingFrame([ipv6.build(LOCAL, PEER_LOCAL, 17, 5), b"hello"])
    a.link.enqueue(PEER_LOCAL, frame, ethernet.ETHERTYPE_IPV6)
    await asyncio.sleep(0.001)
    assert received == [b"hello"]
    assert b.link.neighbors6.entries[LOCAL].mac == MAC  # from the question
    a.stop()
    b.stop()
