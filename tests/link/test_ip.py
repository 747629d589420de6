"""IpLink: dispatch by IP version, and nothing to resolve."""

from types import SimpleNamespace

import pytest

from asyncstack.counters import Counters
from asyncstack.link.frame import Frame, OutgoingFrame
from asyncstack.link.ip import IpLink


def make_link(handlers=(0x0800, 0x86DD)):
    received, sent, ready = [], [], []

    async def keep(data, frame, interface):
        received.append((bytes(data), frame, interface))

    interface = SimpleNamespace(
        handlers=dict.fromkeys(handlers, keep),
        counters=Counters(),
        transmit=lambda frame: sent.append(frame) or True,
        mark_ready=ready.append,
    )
    return IpLink(interface), SimpleNamespace(
        interface=interface, received=received, sent=sent, ready=ready, counters=interface.counters
    )


@pytest.mark.parametrize("first", [0x45, 0x4F, 0x60, 0x6F])
async def test_packets_go_to_the_handler_of_their_version(first):
    link, world = make_link()
    frame = Frame(memoryview(bytes((first, 1, 2))))
    await link.receive(frame)
    assert world.received == [(bytes((first, 1, 2)), frame, world.interface)]


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x15", b"\x56", b"\x70", b"\xff" * 100])
async def test_other_versions_are_counted(data):
    link, world = make_link()
    await link.receive(Frame(memoryview(data)))
    assert (world.received, world.counters) == ([], Counters({"ip_link.unknown_version": 1}))


async def test_a_version_without_handler_is_counted():
    link, world = make_link(handlers=(0x0800,))
    await link.receive(Frame(memoryview(b"\x60")))
    assert world.counters["ip_link.unknown_version"] == 1


@pytest.mark.parametrize("next_hop", [b"\x0a\0\0\x01", b"\xff" * 4, b"\xff\x02" + bytes(14)])
def test_there_is_nothing_to_resolve(next_hop):
    link, world = make_link()
    assert link.resolve(next_hop, 0.0) == b""
    frame = OutgoingFrame([b"\x45"], 20, 16)
    assert link.send(frame, b"", 0x0800)
    link.enqueue(next_hop, frame, 0x0800)
    assert world.sent == [frame, frame]
    assert (frame.parts, frame.checksum_start) == ([b"\x45"], 20)
    sender = object()
    link.park(next_hop, sender)
    link.unpark(sender)
    link.confirm(next_hop, 0.0)
    assert world.ready == [sender]


def test_addresses_are_kept_without_a_word_on_the_link():
    link, world = make_link()
    link.add_address(b"\x0a\0\0\x01", 0.0)
    assert list(link.addresses) == [b"\x0a\0\0\x01"]
    link.remove_address(b"\x0a\0\0\x01")
    link.remove_address(b"\x0a\0\0\x01")
    link.close()
    assert (link.addresses, world.sent, link.is_broadcast(b"\x0a\0\0\xff")) == ({}, [], False)
