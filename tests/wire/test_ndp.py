import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.errors import WireError
from asyncstack.wire import icmpv6, ndp
from asyncstack.wire.ndp import (
    Dnssl,
    NeighborAdvertisement,
    NeighborSolicitation,
    Prefix,
    Rdnss,
    Redirect,
    RouteInformation,
    RouterAdvertisement,
    RouterSolicitation,
)

SRC = ipaddress.ip_address("fe80::1").packed
DST = ipaddress.ip_address("fe80::2").packed
TARGET = ipaddress.ip_address("2001:db8::12:3456").packed
MAC = bytes.fromhex("020000000001")

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
macs = st.one_of(st.just(b""), st.binary(min_size=6, max_size=6))
addresses = st.binary(min_size=16, max_size=16)
targets = addresses.filter(lambda address: address[0] != 0xFF)
prefixes = st.builds(Prefix, addresses, st.integers(0, 128), st.booleans(), st.booleans(), u32, u32)
preferences = st.sampled_from((-1, 0, 1))
networks = st.integers(0, 16).map(lambda size: b"\x20\x01" * 4 + bytes(8) if size else bytes(16))
routes = st.builds(RouteInformation, networks, st.integers(64, 128), preferences, u32)
labels = st.from_regex(r"[A-Za-z0-9_-]{1,63}", fullmatch=True)
names = st.lists(labels, min_size=1, max_size=3).map(".".join)
records = st.one_of(
    st.builds(NeighborSolicitation, targets, macs, macs),
    st.builds(Redirect, targets, targets, macs),
    st.builds(NeighborAdvertisement, targets, macs, st.booleans(), st.booleans(), st.booleans()),
    st.builds(RouterSolicitation, macs),
    st.builds(
        RouterAdvertisement,
        u16,
        st.integers(0, 255),
        st.booleans(),
        st.booleans(),
        u32,
        u32,
        macs,
        u32,
        st.lists(prefixes, max_size=3),
        preferences,
        st.lists(routes, max_size=2),
        st.lists(st.builds(Rdnss, u32, st.lists(addresses, min_size=1, max_size=3)), max_size=2),
        st.lists(st.builds(Dnssl, u32, st.lists(names, min_size=1, max_size=3)), max_size=2),
    ),
)


def parse(kind, rest, body, code=0):
    return ndp.parse(icmpv6.Message(kind, code, rest, memoryview(body)))


@given(records)
def test_round_trip(record):
    assert ndp.parse(icmpv6.parse(memoryview(ndp.build(record, SRC, DST)), SRC, DST)) == record


# whole messages, written out by hand from RFC 4861 section 4 (dpkt does not know these)
LAYOUTS = [
    (NeighborSolicitation(TARGET, MAC), f"8700 00000000 {TARGET.hex()} 0101 020000000001"),
    (NeighborSolicitation(TARGET), f"8700 00000000 {TARGET.hex()}"),
    (NeighborAdvertisement(TARGET, MAC, solicited=True), f"8800 40000000 {TARGET.hex()} 0201 020000000001"),
    (NeighborAdvertisement(TARGET, router=True, override=True), f"8800 a0000000 {TARGET.hex()}"),
    (NeighborSolicitation(TARGET, b"", MAC), f"8700 00000000 {TARGET.hex()} 0e01 020000000001"),
    (Redirect(SRC, TARGET, MAC), f"8900 00000000 {SRC.hex()} {TARGET.hex()} 0201 020000000001"),
    (RouterSolicitation(MAC), "8500 00000000 0101 020000000001"),
    (
        RouterAdvertisement(
            1800, 64, True, False, 30000, 1000, MAC, 1400, [Prefix(TARGET, 64, True, False, 9, 8)]
        ),
        "8600 40800708 00007530 000003e8 0101 020000000001 0501 0000 00000578"
        f"0304 40 80 00000009 00000008 00000000 {TARGET.hex()}",
    ),
]


# RFC 4191 2.1 and 2.3, RFC 8106 5.1 and 5.2
LAYOUTS += [
    (
        RouterAdvertisement(9, preference=-1, routes=[RouteInformation(TARGET[:8] + bytes(8), 48, 1, 7)]),
        f"8600 00180009 {'00' * 8} 1802 30 08 00000007 {TARGET[:8].hex()}",
    ),
    (
        RouterAdvertisement(9, preference=1, routes=[RouteInformation(bytes(16), 0)]),
        f"8600 00080009 {'00' * 8} 1801 00 00 ffffffff",
    ),
    (
        RouterAdvertisement(0, rdnss=[Rdnss(600, [SRC, DST])], dnssl=[Dnssl(0, ["a.bc", "d"])]),
        f"8600 00000000 {'00' * 8} 1905 0000 00000258 {SRC.hex()} {DST.hex()}"
        "1f03 0000 00000000 01 61 02 6263 00 01 64 00" + "00" * 7,
    ),
]


@pytest.mark.parametrize(("record", "expected"), LAYOUTS)
def test_the_layout(record, expected):
    built = ndp.build(record, SRC, DST)
    assert built[:2] + built[4:] == bytes.fromhex(expected)


def test_unknown_options_and_later_addresses_are_skipped():
    nonce = bytes.fromhex("0f01 112233445566")
    long = bytes.fromhex("0102") + bytes(14)  # a link-layer address that is not Ethernet's
    mac = bytes.fromhex("0101") + MAC
    other = bytes.fromhex("0101 020000000009")
    read = parse(icmpv6.NEIGHBOR_SOLICITATION, 0, TARGET + nonce + long + mac + other)
    assert read == NeighborSolicitation(TARGET, MAC)


@pytest.mark.parametrize(
    "options", ["0100 020000000001", "0101 0200000000", "01", "0101", "0103" + "00" * 14]
)
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (icmpv6.NEIGHBOR_SOLICITATION, TARGET),
        (icmpv6.NEIGHBOR_ADVERTISEMENT, TARGET),
        (icmpv6.ROUTER_SOLICITATION, b""),
        (icmpv6.ROUTER_ADVERTISEMENT, bytes(8)),
    ],
)
def test_a_broken_option_makes_the_message_invalid(kind, body, options):
    with pytest.raises(WireError):
        parse(kind, 0, body + bytes.fromhex(options))
    with pytest.raises(WireError):
        parse(kind, 0, body + bytes.fromhex("0101") + MAC + bytes.fromhex(options))


@pytest.mark.parametrize("size", range(16))
def test_a_truncated_body_is_refused(size):
    for kind in (icmpv6.NEIGHBOR_SOLICITATION, icmpv6.NEIGHBOR_ADVERTISEMENT):
        with pytest.raises(WireError):
            parse(kind, 0, TARGET[:size])
    if size < 8:
        with pytest.raises(WireError):
            parse(icmpv6.ROUTER_ADVERTISEMENT, 0, bytes(size))


@pytest.mark.parametrize(
    "option",
    [
        "1801 40 00 00000007",  # a prefix of 64 bits that is not there
        f"1802 40 10 00000007 {'20' * 8}",  # RFC 4191 2.3: the reserved preference
        f"0304 81 c0 ffffffff ffffffff 00000000 {'20' * 16}",  # a prefix of 129 bits
        "1901 0000 00000258",  # no server
        f"1904 0000 00000258 {'20' * 24}",  # one and a half
        "1f02 0000 00000000 09 61 02 6263 00 01 64",  # a label beyond the end
        "1f02 0000 00000000 c0 00 000000000000",  # compression
        "1f02 0000 00000000 03 61 20 62 0000 0000",  # a space
    ],
)
def test_a_bad_option_for_routes_or_names_is_passed_over(option):
    mtu = "0501 0000 00000578"
    read = parse(icmpv6.ROUTER_ADVERTISEMENT, 0, bytes(8) + bytes.fromhex(option) + bytes.fromhex(mtu))
    assert read == RouterAdvertisement(0, mtu=1400)


def test_a_reserved_preference_of_a_router_is_medium():
    assert parse(icmpv6.ROUTER_ADVERTISEMENT, 2 << 19, bytes(8)).preference == 0


def test_a_redirect_needs_two_addresses_of_hosts():
    quoted = bytes.fromhex("0402 000000000000 60000000 00000000")
    assert parse(icmpv6.REDIRECT, 0, SRC + TARGET + quoted) == Redirect(SRC, TARGET)
    for body in (
        SRC + TARGET[:15],
        SRC + ndp.ALL_NODES,
        ndp.ALL_NODES + TARGET,
        SRC + TARGET + b"\2\0" + MAC,
    ):
        with pytest.raises(WireError):
            parse(icmpv6.REDIRECT, 0, body)


def test_other_types_codes_and_multicast_targets_are_refused():
    for kind, code, body in [
        (137, 0, TARGET),
        (135, 1, TARGET),
        (135, 0, ndp.ALL_NODES),
        (136, 0, ndp.ALL_NODES),
    ]:
        with pytest.raises(WireError):
            parse(kind, 0, body, code)


@pytest.mark.parametrize(
    ("address", "group", "mac"),
    [
        ("2001:db8::12:3456", "ff02::1:ff12:3456", "3333ff123456"),
        ("fe80::200:ff:fe00:1", "ff02::1:ff00:1", "3333ff000001"),
    ],
)
def test_the_solicited_node_group_and_its_mac(address, group, mac):
    multicast = ndp.solicited_node_multicast(ipaddress.ip_address(address).packed)
    assert multicast == ipaddress.ip_address(group).packed
    assert ndp.multicast_mac(multicast).hex() == mac


@pytest.mark.parametrize(
    ("group", "mac"),
    [("ff02::1", "333300000001"), ("224.0.0.1", "01005e000001"), ("239.255.1.2", "01005e7f0102")],
)
def test_the_mac_of_a_group(group, mac):
    assert ndp.multicast_mac(ipaddress.ip_address(group).packed).hex() == mac


def test_the_defaults_say_nothing():
    built = ndp.build(RouterAdvertisement(0), SRC, DST)
    assert built[4:] == bytes(12)
    prefix = Prefix(TARGET, 64)
    assert (prefix.valid_lifetime, prefix.preferred_lifetime) == (0xFFFFFFFF, 0xFFFFFFFF)


def test_the_well_known_groups():
    assert ipaddress.ip_address("::").packed == ndp.UNSPECIFIED
    assert ipaddress.ip_address("ff02::1").packed == ndp.ALL_NODES
    assert ipaddress.ip_address("ff02::2").packed == ndp.ALL_ROUTERS
