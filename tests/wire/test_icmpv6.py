import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.errors import WireError
from asyncstack.wire import icmpv6, ipv6

SRC = bytes.fromhex("fd000000000000000000000000000001")
DST = bytes.fromhex("fd000000000000000000000000000002")

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
addresses = st.binary(min_size=16, max_size=16)


def with_the_checksum_of_dpkt(src, dst, message):
    """`message` (bytes) as dpkt sends it: it computes a checksum that is zero when it builds the packet."""
    body = dpkt.icmp6.ICMP6(message)
    body.sum = 0
    packet = dpkt.ip6.IP6(src=src, dst=dst, nxt=58, plen=len(message), data=body)
    return bytes(packet)[ipv6.HEADER_SIZE :]


@given(addresses, addresses, st.integers(130, 255), u8, u32, st.binary(max_size=61))
def test_round_trip_with_the_checksum_of_dpkt(src, dst, kind, code, rest, body):
    built = icmpv6.build(src, dst, kind, code, rest, body)
    assert built == with_the_checksum_of_dpkt(src, dst, built)
    read = icmpv6.parse(memoryview(built), src, dst)
    assert (read.type, read.code, read.rest, read.body) == (kind, code, rest, body)


@given(u16, u16, st.binary(max_size=61), st.booleans())
def test_our_echo_is_read_by_dpkt(ident, sequence, payload, reply):
    built = icmpv6.build_echo(SRC, DST, ident, sequence, payload, reply=reply)
    read = dpkt.icmp6.ICMP6(built)
    assert read.type == (dpkt.icmp6.ICMP6_ECHO_REPLY if reply else dpkt.icmp6.ICMP6_ECHO_REQUEST)
    assert (read.data.id, read.data.seq, read.data.data) == (ident, sequence, payload)
    assert built == with_the_checksum_of_dpkt(SRC, DST, built)


@given(u16, u16, st.binary(max_size=61))
def test_an_echo_of_dpkt_is_read_by_ours(ident, sequence, payload):
    echo = dpkt.icmp6.ICMP6(type=128, data=dpkt.icmp6.ICMP6.Echo(id=ident, seq=sequence, data=payload))
    packet = dpkt.ip6.IP6(src=SRC, dst=DST, nxt=58, plen=8 + len(payload), data=echo)
    inner = ipv6.parse(memoryview(bytes(packet)))
    assert inner.protocol == icmpv6.PROTOCOL
    read = icmpv6.parse(inner.payload, SRC, DST)
    assert (read.type, read.ident, read.sequence, read.body) == (
        icmpv6.ECHO_REQUEST,
        ident,
        sequence,
        payload,
    )
    assert not read.is_error


def test_an_error_and_its_quoted_packet():
    quoted = ipv6.build(SRC, DST, 253, 4) + b"data"
    built = icmpv6.build(DST, SRC, icmpv6.PACKET_TOO_BIG, 0, 1400, quoted)
    theirs = dpkt.icmp6.ICMP6(built)
    assert (theirs.type, theirs.data.mtu, theirs.data.ip6.dst) == (2, 1400, DST)
    read = icmpv6.parse(memoryview(built), DST, SRC)
    assert (read.mtu, read.pointer, read.is_error, read.body) == (1400, 1400, True, quoted)


VALID = icmpv6.build_echo(SRC, DST, 1, 2, b"data")


@pytest.mark.parametrize("size", range(8))
def test_a_truncated_header_is_refused(size):
    for checksum_valid in (False, True):
        with pytest.raises(WireError):
            icmpv6.parse(memoryview(VALID)[:size], SRC, DST, checksum_valid)


@pytest.mark.parametrize("bit", range(len(VALID) * 8))
def test_every_changed_bit_is_noticed_unless_the_checksum_was_checked(bit):
    changed = bytearray(VALID)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(WireError):
        icmpv6.parse(memoryview(changed), SRC, DST)
    assert isinstance(icmpv6.parse(memoryview(changed), SRC, DST, checksum_valid=True), icmpv6.Message)


def test_the_checksum_covers_the_addresses():
    with pytest.raises(WireError):
        icmpv6.parse(memoryview(VALID), SRC, SRC)


def test_the_constants_are_those_of_dpkt():
    theirs = dpkt.icmp6
    assert icmpv6.UNREACHABLE == theirs.ICMP6_DST_UNREACH
    assert icmpv6.PACKET_TOO_BIG == theirs.ICMP6_PACKET_TOO_BIG
    assert icmpv6.TIME_EXCEEDED == theirs.ICMP6_TIME_EXCEEDED
    assert icmpv6.PARAMETER_PROBLEM == theirs.ICMP6_PARAM_PROB
    assert icmpv6.ROUTER_SOLICITATION == theirs.ND_ROUTER_SOLICIT
    assert icmpv6.ROUTER_ADVERTISEMENT == theirs.ND_ROUTER_ADVERT
    assert icmpv6.NEIGHBOR_SOLICITATION == theirs.ND_NEIGHBOR_SOLICIT
    assert icmpv6.NEIGHBOR_ADVERTISEMENT == theirs.ND_NEIGHBOR_ADVERT
    assert icmpv6.REDIRECT == theirs.ND_REDIRECT
