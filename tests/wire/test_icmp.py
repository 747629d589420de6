import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.errors import WireError
from asyncstack.wire import icmp

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)


@given(u8, u8, u32, st.binary(max_size=61))
def test_round_trip_with_the_checksum_of_dpkt(kind, code, rest, body):
    built = icmp.build(kind, code, rest, body)
    assert dpkt.dpkt.in_cksum(built[:2] + b"\0\0" + built[4:]) == int.from_bytes(built[2:4], "big")
    read = icmp.parse(memoryview(built))
    assert (read.type, read.code, read.rest, read.body) == (kind, code, rest, body)


@given(u16, u16, st.binary(max_size=61), st.booleans())
def test_our_echo_is_read_by_dpkt(ident, sequence, payload, reply):
    built = icmp.build_echo(ident, sequence, payload, reply=reply)
    read = dpkt.icmp.ICMP(built)
    assert (read.type, read.code) == (dpkt.icmp.ICMP_ECHOREPLY if reply else dpkt.icmp.ICMP_ECHO, 0)
    assert (read.data.id, read.data.seq, read.data.data) == (ident, sequence, payload)
    read.sum = 0  # makes dpkt compute it
    assert bytes(read) == built


@given(u16, u16, st.binary(max_size=61))
def test_an_echo_of_dpkt_is_read_by_ours(ident, sequence, payload):
    theirs = dpkt.icmp.ICMP(type=8, data=dpkt.icmp.ICMP.Echo(id=ident, seq=sequence, data=payload))
    read = icmp.parse(memoryview(bytes(theirs)))
    assert (read.type, read.ident, read.sequence, read.body) == (icmp.ECHO_REQUEST, ident, sequence, payload)


def test_an_error_and_its_quoted_packet():
    quoted = bytes(
        dpkt.ip.IP(src=b"\x0a\0\0\1", dst=b"\x0a\0\0\2", p=17, data=dpkt.udp.UDP(sport=7, dport=9))
    )
    read = dpkt.icmp.ICMP(icmp.build(icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, 1400, quoted))
    assert (read.type, read.code) == (dpkt.icmp.ICMP_UNREACH, dpkt.icmp.ICMP_UNREACH_NEEDFRAG)
    assert read.data.data.data.dport == 9
    parsed = icmp.parse(memoryview(icmp.build(icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, 1400, quoted)))
    assert (parsed.mtu, parsed.body) == (1400, quoted)


def test_the_pointer_of_a_parameter_problem():
    read = icmp.parse(memoryview(icmp.build(icmp.PARAMETER_PROBLEM, 0, 9 << 24)))
    assert read.pointer == 9


VALID = icmp.build_echo(1, 2, b"data")


@pytest.mark.parametrize("size", range(8))
def test_a_truncated_header_is_refused(size):
    for checksum_valid in (False, True):
        with pytest.raises(WireError):
            icmp.parse(memoryview(VALID)[:size], checksum_valid)


@pytest.mark.parametrize("bit", range(len(VALID) * 8))
def test_every_changed_bit_is_noticed_unless_the_checksum_was_checked(bit):
    changed = bytearray(VALID)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(WireError):
        icmp.parse(memoryview(changed))
    assert isinstance(icmp.parse(memoryview(changed), checksum_valid=True), icmp.Message)


def test_the_constants_are_those_of_dpkt():
    theirs = dpkt.icmp
    assert icmp.TIME_EXCEEDED == theirs.ICMP_TIMEXCEED
    assert icmp.REASSEMBLY_EXCEEDED == theirs.ICMP_TIMEXCEED_REASS
    assert icmp.PROTOCOL_UNREACHABLE == theirs.ICMP_UNREACH_PROTO
    assert icmp.PORT_UNREACHABLE == theirs.ICMP_UNREACH_PORT
    assert icmp.HOST_UNREACHABLE == theirs.ICMP_UNREACH_HOST
    assert icmp.NET_UNREACHABLE == theirs.ICMP_UNREACH_NET
    assert icmp.NET_PROHIBITED == theirs.ICMP_UNREACH_NET_PROHIB
    assert icmp.HOST_PROHIBITED == theirs.ICMP_UNREACH_HOST_PROHIB
    assert icmp.ADMINISTRATIVELY_PROHIBITED == theirs.ICMP_UNREACH_FILTER_PROHIB
    assert icmp.PARAMETER_PROBLEM == theirs.ICMP_PARAMPROB
    assert icmp.SOURCE_ROUTE_FAILED == theirs.ICMP_UNREACH_SRCFAIL
    assert icmp.NET_UNKNOWN == theirs.ICMP_UNREACH_NET_UNKNOWN
    assert icmp.HOST_UNKNOWN == theirs.ICMP_UNREACH_HOST_UNKNOWN
    assert icmp.TTL_EXCEEDED == theirs.ICMP_TIMEXCEED_INTRANS
    assert icmp.REDIRECT == theirs.ICMP_REDIRECT
    assert icmp.SOURCE_QUENCH == theirs.ICMP_SRCQUENCH
