import struct

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.errors import WireError
from asyncstack.wire import ipv6

SRC = bytes.fromhex("fd000000000000000000000000000001")
DST = bytes.fromhex("fd000000000000000000000000000002")
EXPERIMENT = 253

addresses = st.binary(min_size=16, max_size=16)
headers = st.fixed_dictionaries(
    {
        "hop_limit": st.integers(0, 255),
        "traffic_class": st.integers(0, 255),
        "flow_label": st.integers(0, 0xFFFFF),
    }
)


def parse(data):
    return ipv6.parse(memoryview(data))


@given(addresses, addresses, st.binary(max_size=60), headers)
def test_ours_is_read_by_dpkt(src, dst, payload, fields):
    built = ipv6.build(src, dst, EXPERIMENT, len(payload), **fields)
    assert len(built) == ipv6.HEADER_SIZE
    read = dpkt.ip6.IP6(built + payload)
    assert (read.v, read.plen, read.nxt, read.data) == (6, len(payload), EXPERIMENT, payload)
    assert (read.src, read.dst) == (src, dst)
    assert (read.hlim, read.fc, read.flow) == (
        fields["hop_limit"],
        fields["traffic_class"],
        fields["flow_label"],
    )


@given(addresses, addresses, st.binary(max_size=60), headers, st.binary(max_size=20))
def test_dpkt_is_read_by_ours_and_padding_cut_off(src, dst, payload, fields, padding):
    packet = dpkt.ip6.IP6(src=src, dst=dst, nxt=EXPERIMENT, plen=len(payload), hlim=fields["hop_limit"])
    packet.fc, packet.flow, packet.data = fields["traffic_class"], fields["flow_label"], payload
    built = bytes(packet)
    read = parse(built + padding)
    assert (read.src, read.dst, read.protocol, read.payload) == (src, dst, EXPERIMENT, payload)
    assert (read.ttl, read.tos, read.flow_label) == (
        fields["hop_limit"],
        fields["traffic_class"],
        fields["flow_label"],
    )
    assert read.raw == built
    assert not read.more_fragments
    assert read.fragment_offset == 0


def test_the_defaults():
    read = parse(ipv6.build(SRC, DST, 6, 0))
    assert (read.ttl, read.tos, read.flow_label) == (64, 0, 0)


VALID = ipv6.build(SRC, DST, EXPERIMENT, 8) + b"transpor"


@pytest.mark.parametrize("size", range(len(VALID)))
def test_a_truncated_packet_is_refused(size):
    with pytest.raises(WireError):
        parse(VALID[:size])


@pytest.mark.parametrize("version", [v for v in range(16) if v != 6])
def test_another_version_is_refused(version):
    with pytest.raises(WireError):
        parse(bytes([version << 4]) + VALID[1:])


# extension headers


def chain(*extensions, payload=b"transpor"):
    """A packet with `extensions`: pairs of a number and the header from its second byte on."""
    numbers = [number for number, _ in extensions] + [EXPERIMENT]
    body = b"".join(bytes([numbers[at + 1]]) + rest for at, (_, rest) in enumerate(extensions))
    return ipv6.build(SRC, DST, numbers[0], len(body) + len(payload)) + body + payload


PADN_6 = bytes.fromhex("00 0104 00000000")
ROUTER_ALERT = bytes.fromhex("00 05020000 0100")
HOP = (ipv6.HOP_BY_HOP, ROUTER_ALERT)
OPTIONS = (ipv6.DESTINATION_OPTIONS, PADN_6)
ROUTED = (ipv6.ROUTING, bytes.fromhex("02 0400 00000000") + bytes(16))
ATOMIC = (ipv6.FRAGMENT, bytes.fromhex("00 0000 12345678"))
FIRST = (ipv6.FRAGMENT, bytes.fromhex("00 0001 12345678"))
LAST = (ipv6.FRAGMENT, bytes.fromhex("00 0010 12345678"))


@pytest.mark.parametrize(
    "extensions",
    [(HOP,), (OPTIONS,), (ROUTED,), (ATOMIC,), (HOP, OPTIONS, ROUTED, ATOMIC, OPTIONS), (OPTIONS,) * 8],
)
def test_extension_headers_are_walked_as_dpkt_walks_them(extensions):
    packet = chain(*extensions)
    read = parse(packet)
    assert (read.protocol, read.payload) == (EXPERIMENT, b"transpor")
    assert (read.fragment_offset, read.more_fragments) == (0, False)
    assert read.raw == packet
    theirs = dpkt.ip6.IP6(packet)
    assert (theirs.p, theirs.data) == (EXPERIMENT, b"transpor")
    assert len(theirs.all_extension_headers) == len(extensions)


def test_the_numbers_of_the_headers():
    assert (ipv6.HOP_BY_HOP, ipv6.ROUTING, ipv6.FRAGMENT, ipv6.DESTINATION_OPTIONS) == (0, 43, 44, 60)
    assert sorted(ipv6.EXTENSIONS) == [0, 43, 44, 60]
    assert ipv6.NO_NEXT_HEADER == 59


@pytest.mark.parametrize("number", [ipv6.NO_NEXT_HEADER, 50, 51, 135])
def test_other_numbers_end_the_walk(number):
    read = parse(ipv6.build(SRC, DST, number, 8) + bytes(8))
    assert (read.protocol, len(read.payload)) == (number, 8)


@given(st.integers(0, 0x1FFF), st.booleans(), st.integers(0, 0xFFFFFFFF), st.binary(max_size=20))
def test_fragment_headers_both_ways(units, more, ident, payload):
    header = ipv6.build_fragment(EXPERIMENT, units * 8, more, ident)
    packet = ipv6.build(SRC, DST, ipv6.FRAGMENT, 8 + len(payload)) + header + payload
    theirs = dpkt.ip6.IP6(packet).extension_hdrs[ipv6.FRAGMENT]
    assert (theirs.nxt, theirs.frag_off, theirs.m_flag, theirs.id) == (EXPERIMENT, units, more, ident)
    read = parse(packet)
    assert (read.fragment_offset, read.more_fragments, read.ident) == (units * 8, more, ident)
    assert (read.protocol, read.payload) == (EXPERIMENT, payload)


def test_the_walk_stops_at_a_fragment_and_goes_on_when_it_is_reassembled():
    read = parse(chain(HOP, FIRST, OPTIONS))
    assert (read.protocol, read.more_fragments, read.ident) == (ipv6.DESTINATION_OPTIONS, True, 0x12345678)
    assert read.payload == bytes([EXPERIMENT]) + PADN_6 + b"transpor"
    last = parse(chain(LAST))
    assert (last.fragment_offset, last.more_fragments) == (16, False)
    read.payload, read.more_fragments = memoryview(bytes(read.payload) + last.payload), False
    ipv6.skip_extensions(read)
    assert (read.protocol, read.payload) == (EXPERIMENT, b"transportranspor")


@pytest.mark.parametrize("extension", [HOP, OPTIONS, ROUTED, ATOMIC])
def test_nothing_has_to_follow_an_extension_header(extension):
    read = parse(chain(extension, payload=b""))
    assert (read.protocol, read.payload) == (EXPERIMENT, b"")


def test_a_fragment_header_behind_a_fragment_header_is_refused():
    read = parse(chain(FIRST, ATOMIC))
    with pytest.raises(WireError):
        ipv6.skip_extensions(read)


@pytest.mark.parametrize("size", range(8))
def test_a_truncated_extension_header_is_refused(size):
    for number in sorted(ipv6.EXTENSIONS):
        with pytest.raises(WireError):
            parse(ipv6.build(SRC, DST, number, size) + bytes([EXPERIMENT, *bytes(7)])[:size])


@pytest.mark.parametrize("number", [ipv6.HOP_BY_HOP, ipv6.ROUTING, ipv6.DESTINATION_OPTIONS])
def test_an_extension_header_longer_than_the_packet_is_refused(number):
    with pytest.raises(WireError, match="16 bytes, 15 left"):
        parse(chain((number, b"\1" + bytes(6)), payload=bytes(7)))


REFUSED = [
    ("nine headers", [OPTIONS] * 9),
    ("hop-by-hop options twice", [HOP, HOP]),
    ("hop-by-hop options not first", [OPTIONS, HOP]),
    ("routing header with a segment left", [(ipv6.ROUTING, bytes.fromhex("02 0401 00000000") + bytes(16))]),
    ("routing type 0 with segments left", [(ipv6.ROUTING, bytes.fromhex("02 0001 00000000") + bytes(16))]),
    ("option past the header", [(ipv6.DESTINATION_OPTIONS, bytes.fromhex("00 010500000000"))]),
    ("option without a length", [(ipv6.DESTINATION_OPTIONS, bytes.fromhex("00 010300000005"))]),
    ("unknown option, discard", [(ipv6.DESTINATION_OPTIONS, bytes.fromhex("00 4e0400000000"))]),
    ("unknown option, discard and tell", [(ipv6.DESTINATION_OPTIONS, bytes.fromhex("00 8e0400000000"))]),
    ("unknown option behind Pad1", [(ipv6.DESTINATION_OPTIONS, bytes.fromhex("00 00 c203000000"))]),
    ("jumbo payload", [(ipv6.HOP_BY_HOP, bytes.fromhex("00 c20400010000"))]),
    ("eight bytes of Pad1", [(ipv6.DESTINATION_OPTIONS, b"\1" + bytes(14))]),
    ("eight bytes of PadN", [(ipv6.DESTINATION_OPTIONS, bytes.fromhex("01 0106000000000000 0e0400000000"))]),
    ("nine options", [(ipv6.DESTINATION_OPTIONS, b"\2" + bytes.fromhex("1e00") * 9 + b"\1\2\0\0")]),
]


@pytest.mark.parametrize("extensions", [pytest.param(extensions, id=name) for name, extensions in REFUSED])
def test_refused_extension_headers(extensions):
    with pytest.raises(WireError):
        parse(chain(*extensions))


@pytest.mark.parametrize(
    "options",
    [
        "00 1e0400000000",
        "00 000000000000",
        "01 01050000000000 1e050000000000",
        "02 " + "1e00" * 8 + "010400000000",
    ],
)
def test_accepted_options(options):
    assert parse(chain((ipv6.DESTINATION_OPTIONS, bytes.fromhex(options)))).payload == b"transpor"


def test_the_payload_is_not_copied():
    packet = bytearray(chain(HOP, OPTIONS))
    read = ipv6.parse(memoryview(packet))
    packet[-8] = 9
    assert read.payload[0] == 9


@pytest.mark.parametrize("field", ["hop_limit", "traffic_class", "flow_label"])
def test_a_number_too_large_for_its_field_is_an_error_of_use(field):
    with pytest.raises(struct.error):
        ipv6.build(SRC, DST, 6, 0, **{field: 2**32})
