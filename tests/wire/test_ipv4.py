import struct

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.errors import WireError
from asyncstack.wire import ipv4

SRC, DST = b"\x0a\0\0\1", b"\x0a\0\0\2"
# dpkt decodes a payload by the protocol: 253 is for experiments (RFC 3692) and stays bytes
EXPERIMENT = 253

addresses = st.binary(min_size=4, max_size=4)
headers = st.fixed_dictionaries(
    {
        "ttl": st.integers(0, 255),
        "tos": st.integers(0, 255),
        "ident": st.integers(0, 0xFFFF),
        "dont_fragment": st.booleans(),
        "more_fragments": st.booleans(),
        "fragment_offset": st.integers(0, 0x1FFF).map(lambda units: units * 8),
        "options": st.binary(max_size=10).map(lambda options: options * 4),
    }
)


def parse(data):
    return ipv4.parse(memoryview(data))


@given(addresses, addresses, st.binary(max_size=60), headers)
def test_ours_is_read_by_dpkt(src, dst, payload, fields):
    built = ipv4.build(src, dst, EXPERIMENT, len(payload), **fields)
    read = dpkt.ip.IP(built + payload)
    assert (read.v, read.hl * 4, read.len) == (4, len(built), len(built) + len(payload))
    assert (read.src, read.dst, read.p, read.data) == (src, dst, EXPERIMENT, payload)
    assert (read.ttl, read.tos, read.id) == (fields["ttl"], fields["tos"], fields["ident"])
    assert (read.rf, read.df, read.mf) == (0, fields["dont_fragment"], fields["more_fragments"])
    assert (read.offset * 8, read.opts) == (fields["fragment_offset"], fields["options"])
    read.sum = 0  # makes dpkt compute it
    assert bytes(read) == built + payload


@given(addresses, addresses, st.binary(max_size=60), headers, st.binary(max_size=20))
def test_dpkt_is_read_by_ours_and_padding_cut_off(src, dst, payload, fields, padding):
    packet = dpkt.ip.IP(src=src, dst=dst, p=EXPERIMENT, ttl=fields["ttl"], tos=fields["tos"], data=payload)
    packet.id, packet.df, packet.mf = fields["ident"], fields["dont_fragment"], fields["more_fragments"]
    packet.offset, packet.opts = fields["fragment_offset"] // 8, fields["options"]
    packet.hl = 5 + len(packet.opts) // 4
    built = bytes(packet)
    read = parse(built + padding)
    assert (read.src, read.dst, read.protocol, read.payload) == (src, dst, EXPERIMENT, payload)
    assert read.raw == built
    for name, value in fields.items():
        assert getattr(read, name) == value


def test_the_defaults():
    read = parse(ipv4.build(SRC, DST, 6, 0))
    assert (read.ttl, read.tos, read.ident, read.options) == (64, 0, 0, b"")
    assert (read.dont_fragment, read.more_fragments, read.fragment_offset) == (True, False, 0)


@pytest.mark.parametrize(("given", "padded"), [(b"\x07\x03\x04", b"\x07\x03\x04\0"), (b"\1", b"\1\0\0\0")])
def test_options_are_padded(given, padded):
    assert parse(ipv4.build(SRC, DST, 6, 0, options=given)).options == padded


def test_more_than_40_bytes_of_options_are_an_error_of_use():
    with pytest.raises(ValueError, match="at most 40 bytes, not 41"):
        ipv4.build(SRC, DST, 6, 0, options=bytes(41))


@pytest.mark.parametrize("field", ["ttl", "tos", "ident"])
def test_a_number_too_large_for_its_field_is_an_error_of_use(field):
    with pytest.raises(struct.error):
        ipv4.build(SRC, DST, 6, 0, **{field: 0x10000})


VALID = ipv4.build(SRC, DST, EXPERIMENT, 8, options=b"\x94\x04\0\0") + b"transpor"


@pytest.mark.parametrize("size", range(len(VALID)))
def test_a_truncated_packet_is_refused(size):
    with pytest.raises(WireError):
        parse(VALID[:size])


@pytest.mark.parametrize("bit", range(24 * 8))
def test_every_changed_bit_of_the_header_is_noticed(bit):
    changed = bytearray(VALID)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(WireError):
        parse(changed)


def repaired(header: bytes) -> bytes:
    """`header` with a checksum computed by dpkt."""
    zeroed = header[:10] + b"\0\0" + header[12:]
    return header[:10] + struct.pack("!H", dpkt.dpkt.in_cksum(zeroed)) + header[12:]


@pytest.mark.parametrize("first", [0x00, 0x40, 0x44, 0x46, 0x4F, 0x50, 0x55, 0x65, 0xF5])
def test_a_wrong_version_or_header_length_is_refused(first):
    """Header lengths above 20 are refused because the packet is that short."""
    header = repaired(bytes([first]) + ipv4.build(SRC, DST, 6, 0)[1:])
    with pytest.raises(WireError):
        parse(header)


@pytest.mark.parametrize("total", [0, 1, 19, 29, 0xFFFF])
def test_a_wrong_total_length_is_refused(total):
    header = ipv4.build(SRC, DST, 6, 8)
    with pytest.raises(WireError):
        parse(repaired(header[:2] + struct.pack("!H", total) + header[4:]) + bytes(8))


def test_the_checksum_0_is_built_as_0_and_ffff_is_taken_as_equal():
    """One's complement has two zeros (RFC 1624 3); find the header whose checksum comes out as zero."""
    headers = (ipv4.build(SRC, DST, 6, 0, ident=ident) for ident in range(0x10000))
    header = next(header for header in headers if header[10:12] == b"\0\0")
    assert header == repaired(header)
    assert parse(header).dst == DST
    assert parse(header[:10] + b"\xff\xff" + header[12:]).dst == DST


def test_a_super_segment_of_65535_bytes():
    packet = ipv4.build(SRC, DST, 6, 65515) + bytes(65515)
    read = parse(packet)
    assert len(read.payload) == 65515
    assert len(read.raw) == 65535


def test_the_payload_is_not_copied():
    packet = bytearray(ipv4.build(SRC, DST, 6, 4) + bytes(4))
    read = ipv4.parse(memoryview(packet))
    packet[20] = 9
    assert read.payload[0] == 9
