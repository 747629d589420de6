"""Options by the byte, as RFC 791 draws them."""

import pytest

from asyncstack.wire import ipv4_options
from asyncstack.wire.ipv4_options import BadOption, parse

US, OTHER = b"\x0a\0\0\1", b"\x0a\0\0\7"
NOON = 43_200_000
TIME = NOON.to_bytes(4, "big")


def stamped(options, arriving=True):
    found = parse(options)
    found.stamp(US, NOON, lambda address: address == US, arriving=arriving)
    return bytes(found.data)


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ("07", 20),  # no length
        ("01 07", 21),
        ("07 00", 20),
        ("07 01", 20),
        ("07 05 04", 20),  # longer than the header
        ("07 02 00 00", 21),  # too short for a pointer
        ("44 03 05 00", 21),
        ("07 07 03 00000000 00", 22),  # the pointer points into the option's head
        ("44 08 04 00 00000000", 22),
        ("07 07 05 00000000 00", 22),  # to half an entry
        ("44 08 06 00 00000000", 22),
        ("44 08 05 01 00000000", 22),  # an address and a time need 8 bytes
        ("44 08 05 03 00000000", 22),
        ("44 08 09 f0 00000000", 23),  # 15 hosts had no room before
        ("44 08 09 f1 00000000", 23),
        ("07 03 04 07 03 04 00 00", 23),  # two of a kind
        ("44 04 05 00 44 04 05 00", 24),
        ("83 03 04 89 03 04 00 00", 23),
        ("83 02 00 00", 21),
        ("83 07 03 00000000 00", 22),
        ("94 02 00 00", 21),
        ("00 07 01 00", None),  # behind the end nothing counts
        ("82 0b 0000000000000000ff 00", None),  # security: skipped
        ("1e 02 01 01", None),
        ("94 04 00 01", None),
    ],
)
def test_what_is_wrong_and_where(options, pointer):
    options = bytes.fromhex(options)
    if pointer is None:
        assert stamped(options) == options
        return
    with pytest.raises(BadOption) as raised:
        stamped(options)
    assert raised.value.pointer == pointer


@pytest.mark.parametrize(
    ("options", "after"),
    [
        ("07 07 04 00000000 00", "07 07 08 0a000001 00"),
        ("01 07 0b 08 0a090909 00000000", "01 07 0b 0c 0a090909 0a000001"),
        ("07 07 08 0a090909 00", "07 07 08 0a090909 00"),  # full
        ("44 08 05 00 00000000", "44 08 09 00 02932e00"),
        ("44 0c 05 01 0000000000000000", "44 0c 0d 01 0a00000102932e00"),
        ("44 0c 05 03 0a00000100000000", "44 0c 0d 03 0a00000102932e00"),
        ("44 0c 05 03 0a00000700000000", "44 0c 05 03 0a00000700000000"),  # another host's turn
        ("44 0c 0d 03 0a00000700000000", "44 0c 0d 03 0a00000700000000"),
        ("44 08 09 20 00000007", "44 08 09 30 00000007"),  # no room
        ("44 08 05 02 00000000", "44 08 05 02 00000000"),  # a flag that means nothing
    ],
)
def test_what_is_entered(options, after):
    assert stamped(bytes.fromhex(options)) == bytes.fromhex(after)


def test_who_sends_does_not_count_himself_as_without_room():
    full = bytes.fromhex("44 08 09 20 00000007")
    assert stamped(full, arriving=False) == full


def test_what_a_reply_takes_along():
    found = parse(bytes.fromhex("94040000 01 44 08 05 00 00000000 07 07 04 00000000 82 03 00 00"))
    assert found.router_alert
    reply = found.reply()
    assert bytes(reply.data) == bytes.fromhex("07 07 04 00000000 44 08 05 00 00000000")
    reply.stamp(US, NOON, lambda address: True, arriving=False)
    assert bytes(reply.data) == bytes.fromhex("07 07 08 0a000001 44 08 09 00 02932e00")


def test_source_routes():
    assert parse(bytes.fromhex("83 07 04 0a000009 00")).asks_to_be_passed_on
    assert not parse(bytes.fromhex("89 07 08 0a000009 00")).asks_to_be_passed_on
    assert not parse(b"").asks_to_be_passed_on


def test_what_every_fragment_repeats():
    options = bytes.fromhex("07 07 04 00000000 94040000 01 82 03 aa 00 94")
    assert ipv4_options.copied(options) == bytes.fromhex("94040000 82 03 aa")
