import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.errors import WireError
from asyncstack.wire import dhcp6
from asyncstack.wire.dhcp6 import IaAddress, IaNa, Message, Status

ADDRESS = ipaddress.ip_address("fd00:6::1234").packed
DUID = bytes.fromhex("00030001020000000001")
SERVER = bytes.fromhex("000100012a2b2c2d020000000009")

u16, u32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
addresses = st.binary(min_size=16, max_size=16)
duids = st.one_of(st.just(b""), st.binary(min_size=3, max_size=130))
statuses = st.one_of(st.none(), st.builds(Status, u16, st.text(max_size=20)))
ia_nas = st.builds(
    IaNa,
    u32,
    u32,
    u32,
    st.lists(st.builds(IaAddress, addresses, u32, u32, statuses), max_size=3),
    statuses,
)
names = st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True), min_size=1, max_size=3).map(".".join)
messages = st.builds(
    Message,
    st.integers(1, 11),
    st.integers(0, 0xFFFFFF),
    duids,
    duids,
    st.lists(ia_nas, max_size=2),
    st.lists(u16, max_size=5),
    st.one_of(st.none(), st.integers(0, 255)),
    st.one_of(st.none(), u16),
    statuses,
    st.booleans(),
    st.lists(addresses, max_size=3),
    st.lists(names, max_size=3),
    *[st.one_of(st.none(), u32)] * 3,
)


@given(messages)
def test_round_trip(message):
    assert dhcp6.parse(memoryview(dhcp6.build(message))) == message


# written out by hand from RFC 8415 8 and 21, RFC 3646; tests/interop has tshark and dnsmasq read ours
LAYOUTS = [
    (
        Message(dhcp6.SOLICIT, 0x123456, DUID, ia_nas=[IaNa(7)], requested=[23, 82], elapsed=0x102, rapid_commit=True),
        f"01 123456 0001 000a {DUID.hex()} 0003 000c 00000007 00000000 00000000 0006 0004 0017 0052"
        "0008 0002 0102 000e 0000",
    ),
    (
        Message(
            dhcp6.REPLY, 1, DUID, SERVER,
            [IaNa(7, 50, 80, [IaAddress(ADDRESS, 100, 200, Status(0, "fine"))], Status(2))],
            preference=255, status=Status(1, "no"), nameservers=[ADDRESS], search=["a.b"],
            refresh=600, sol_max_rt=60, inf_max_rt=61,
        ),
        f"07 000001 0001 000a {DUID.hex()} 0002 000e {SERVER.hex()}"
        f"0003 0038 00000007 00000032 00000050 0005 0022 {ADDRESS.hex()} 00000064 000000c8 000d 0006 0000 66696e65"
        "000d 0002 0002 0007 0001 ff 0020 0004 00000258 0052 0004 0000003c 0053 0004 0000003d"
        f"000d 0004 0001 6e6f 0017 0010 {ADDRESS.hex()} 0018 0005 01610162 00",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("message", "expected"), LAYOUTS)
def test_the_layout(message, expected):
    assert dhcp6.build(message).hex() == bytes.fromhex(expected).hex()
    assert dhcp6.parse(bytes.fromhex(expected)) == message


def test_options_that_are_unknown_or_repeated_are_passed_over():
    vendor, again = bytes.fromhex("0010 0004 00000009"), bytes.fromhex("0001 0004 0003ffff")
    data = dhcp6.build(Message(dhcp6.REPLY, 1, DUID, SERVER))
    assert dhcp6.parse(data + vendor + again) == Message(dhcp6.REPLY, 1, DUID, SERVER)


@pytest.mark.parametrize(
    "option",
    [
        "00", "000100", "0001 0005 0003",  # half an option, and one that goes beyond the end
        "0001 0002 0003", f"0002 0083 {'00' * 131}",  # DUIDs that are too short and too long
        "0003 000b 0000000000000000000000", "0003 000e 000000000000000000000000 0005",  # IA_NA
        f"0003 0020 {'00' * 12} 0005 0010 {'00' * 16}", "0006 0003 001700",  # an address, and codes
        "0007 0002 0000", "0008 0001 00", "000d 0001 00", "0020 0003 000000",  # numbers and a status
        "0017 000f" + "00" * 15, "0018 0002 0561",  # nameservers, and a name
    ],
)  # fmt: skip
def test_a_broken_option_makes_the_message_invalid(option):
    with pytest.raises(WireError):
        dhcp6.parse(bytes.fromhex("07 000001" + option))


@pytest.mark.parametrize(
    "data", ["", "070000", "00000000", "0c000000" + "00" * 32, "0d000000" + "00" * 32, "ff000000"]
)
def test_what_no_client_or_server_says_is_refused(data):
    with pytest.raises(WireError):
        dhcp6.parse(bytes.fromhex(data))


def test_a_status_in_words():
    assert str(Status(dhcp6.NO_ADDRS_AVAIL, "pool is empty")) == "NoAddrsAvail (pool is empty)"
    assert str(Status(99)) == "status 99"
