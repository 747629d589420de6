"""IGMP and MLD: what is written is read, the layouts of the RFCs, and what is refused."""

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.errors import WireError
from asyncstack.network.addresses import parse_address as A
from asyncstack.wire import icmpv6, igmp, mld
from asyncstack.wire.checksum import checksum
from asyncstack.wire.membership import (
    Kind,
    Membership,
    Query,
    Record,
    Report,
    Version,
    read_code,
    record_size,
    write_code,
)

SRC, DST = A("fe80::1"), A("ff02::1")


def messages(size, versions, codes):
    addresses = st.binary(min_size=size, max_size=size)
    sources = st.lists(addresses, max_size=4).map(tuple)
    times = st.sampled_from(codes)
    records = st.builds(Record, st.sampled_from(Kind), addresses, sources)
    third = st.builds(
        Query,
        st.just(Version.THIRD),
        addresses,
        times,
        sources,
        st.booleans(),
        st.integers(0, 7),
        st.sampled_from((0, 125, 127, 1024, 31744)),
    )
    second = st.builds(Query, st.just(Version.SECOND), addresses, st.sampled_from(codes[:2]))
    old = st.builds(Membership, addresses, st.booleans())
    more = [st.builds(Membership, addresses, st.just(False), st.just(Version.FIRST))] if versions == 3 else []
    return st.one_of(st.builds(Report, st.lists(records, max_size=4)), third, second, old, *more)


@given(messages(4, 3, (0.1, 10.0, 12.8, 3174.4)))
def test_igmp_round_trip(message):
    assert igmp.parse(memoryview(igmp.build(message))) == message


@given(messages(16, 2, (0.001, 10.0, 32.768, 8387.584)))
def test_mld_round_trip(message):
    assert mld.parse(icmpv6.parse(memoryview(mld.build(message, SRC, DST)), SRC, DST)) == message


@pytest.mark.parametrize(
    "message, kind, code",
    [
        (Query(Version.SECOND, A("239.1.2.3"), 10.0), 0x11, 100),
        (Query(Version.FIRST, bytes(4), 10.0), 0x11, 0),
        (Membership(A("239.1.2.3"), version=Version.FIRST), 0x12, 0),
        (Membership(A("239.1.2.3")), 0x16, 0),
        (Membership(A("239.1.2.3"), leave=True), 0x17, 0),
    ],
)
def test_dpkt_writes_the_same(message, kind, code):
    by_dpkt = bytes(dpkt.igmp.IGMP(type=kind, maxresp=code, group=message.group))
    assert igmp.build(message) == by_dpkt
    assert igmp.parse(memoryview(by_dpkt)) == message


# by hand, from RFC 3376 4 and RFC 3810 5, without checksums
REPORT4 = Report(
    [Record(Kind.TO_EXCLUDE, A("239.1.2.3")), Record(Kind.ALLOW, A("232.1.1.1"), (A("10.0.0.1"),))]
)
LAYOUTS4 = [
    (
        Query(Version.THIRD, A("239.1.2.3"), 12.8, (A("10.0.0.1"),), True, 2, 125),
        "1180 ef010203 0a 7d 0001 0a000001",
    ),
    (REPORT4, "2200 0000 0002 04000000 ef010203 05000001 e8010101 0a000001"),
]
GROUP6, SOURCE6 = A("ff05::123"), A("fd00::1")
LAYOUTS6 = [
    (
        Query(Version.THIRD, GROUP6, 10.0, (SOURCE6,), False, 2, 125),
        f"8200 27100000 {GROUP6.hex()} 027d0001 {SOURCE6.hex()}",
    ),
    (Query(Version.SECOND, bytes(16), 10.0), f"8200 27100000 {bytes(16).hex()}"),
    (Membership(GROUP6), f"8300 00000000 {GROUP6.hex()}"),
    (Membership(GROUP6, leave=True), f"8400 00000000 {GROUP6.hex()}"),
    (
        Report([Record(Kind.BLOCK, GROUP6, (SOURCE6,))]),
        f"8f00 00000001 06000001 {GROUP6.hex()} {SOURCE6.hex()}",
    ),
]


@pytest.mark.parametrize("message, layout", LAYOUTS4)
def test_igmp_layouts(message, layout):
    data = igmp.build(message)
    assert data[:2] + data[4:] == bytes.fromhex(layout)


@pytest.mark.parametrize("message, layout", LAYOUTS6)
def test_mld_layouts(message, layout):
    data = mld.build(message, SRC, DST)
    assert data[:2] + data[4:] == bytes.fromhex(layout)


@pytest.mark.parametrize(
    "code, bits, value",
    [
        (127, 4, 127),
        (0x80, 4, 128),
        (0xFF, 4, 31744),
        (0x7FFF, 12, 32767),
        (0x8000, 12, 32768),
        (0xFFFF, 12, 8387584),
    ],
)
def test_rfc3376_4_1_1_numbers_with_an_exponent(code, bits, value):
    assert read_code(code, bits) == value
    assert write_code(value, bits) == code


@given(st.integers(0, 40_000))
def test_a_code_is_the_largest_that_is_not_above(value):
    code = write_code(value, 4)
    assert read_code(code, 4) <= value
    assert code == 0xFF or read_code(code + 1, 4) > value


def with_checksum(text):
    data = bytearray.fromhex(text)
    data[2:4] = checksum(data).to_bytes(2, "big")
    return memoryview(bytes(data))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "11640000",
        "1164 0000 00000000 02",  # neither version 2 nor 3
        "1164 0000 00000000 027d0001",  # a source is missing
        "2200 0000 00000001",  # a record is
        "2200 0000 00000001 01000002 ef010203 0a000001",  # a source of it
        "2200 0000 00000001 01010000 ef010203",  # its auxiliary data
        "1300 0000 00000000",  # DVMRP
    ],
)
def test_igmp_refuses(text):
    with pytest.raises(WireError):
        igmp.parse(with_checksum(text) if len(text) > 8 else memoryview(bytes.fromhex(text)))


def test_igmp_refuses_a_wrong_checksum():
    data = bytearray(igmp.build(Membership(A("239.1.2.3"))))
    data[7] ^= 1
    with pytest.raises(WireError, match="checksum"):
        igmp.parse(memoryview(data))


@pytest.mark.parametrize(
    "kind, rest, body",
    [
        (130, 0, bytes(15)),
        (130, 0, bytes(19)),
        (130, 0, bytes(18) + b"\0\1"),
        (131, 0, b""),
        (143, 1, bytes(19)),
        (143, 1, b"\1\0\0\1" + bytes(31)),
        (135, 0, bytes(16)),
    ],
)
def test_mld_refuses(kind, rest, body):
    with pytest.raises(WireError):
        mld.parse(icmpv6.Message(kind, 0, rest, memoryview(body)))


def test_records_of_kinds_to_come_are_left_out():
    data = with_checksum("2200 0000 00000002 09010000 ef010203 aaaaaaaa 04000000 ef010204")
    assert igmp.parse(data) == Report([Record(Kind.TO_EXCLUDE, A("239.1.2.4"))])


def test_the_size_of_a_record():
    for record in REPORT4.records:
        assert len(igmp.build(Report([record]))) == 8 + record_size(record)


@pytest.mark.parametrize(
    "headers, found",
    [
        ("3a00 0502 0000 0100", True),
        ("3a00 0000 0502 0000", True),
        ("3a00 0502 0001 0100", False),  # for RSVP
        ("3a00 0104 00000000", False),
        ("3a01 0104 00000000 0104 00000000 0502", False),
    ],
)
def test_the_router_alert(headers, found):
    assert mld.has_router_alert(bytes(40) + bytes.fromhex(headers)) is found


def test_no_hop_by_hop_header_no_router_alert():
    assert not mld.has_router_alert(bytes(6) + b"\x3a" + bytes(33))
