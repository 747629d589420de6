"""What the kernel tells of interfaces, read from its bytes; the rest is in tests/interop/test_link.py."""

import random
import struct

from asyncstack.link.carrier import IFF_LOWER_UP, link_messages

NEWLINK, DELLINK, NEW_NETNSID, IFNAME = 16, 17, 45, 3


def message(kind, index, flags=0, *attributes):
    body = struct.pack("=BxHiII", 0, 1, index, flags, 0)
    for number, data in attributes:
        body += struct.pack("=HH", 4 + len(data), number) + data + bytes(-len(data) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_up_and_down():
    data = message(NEWLINK, 3, IFF_LOWER_UP | 1, (IFNAME, b"as0\0")) + message(NEWLINK, 4, 1)
    assert list(link_messages(data)) == [(3, True), (4, False)]


def test_moved_and_deleted():
    moved = message(DELLINK, 3, 0, (IFNAME, b"tun\0"), (NEW_NETNSID, bytes(4)))
    assert list(link_messages(moved + message(DELLINK, 4, 0, (IFNAME, b"x")))) == [(3, True)]


def test_other_messages_are_passed_over():
    assert list(link_messages(message(20, 3, 1) + message(NEWLINK, 5))) == [(5, False)]


def test_damaged_ones_end():
    rng = random.Random(5)
    good = message(NEWLINK, 3, 1, (IFNAME, b"as0\0")) + message(DELLINK, 3, 0, (NEW_NETNSID, bytes(4)))
    for _ in range(5000):
        data = bytearray(good[: rng.randrange(len(good) + 1)])
        for _ in range(rng.randrange(4)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        assert len(list(link_messages(bytes(data)))) <= 2
