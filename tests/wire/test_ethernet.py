import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.errors import WireError
from asyncstack.wire import ethernet

macs = st.binary(min_size=6, max_size=6)
# dpkt decodes a payload by the ethertype: one that it does not know keeps the payload whole
ethertypes = st.just(0x88B5)


@given(macs, macs, ethertypes, st.binary(max_size=80))
def test_ours_is_read_by_dpkt(dst, src, ethertype, payload):
    frame = dpkt.ethernet.Ethernet(ethernet.build(dst, src, ethertype) + payload)
    assert (frame.dst, frame.src, frame.type, frame.data) == (dst, src, ethertype, payload)


@given(macs, macs, st.integers(0x600, 0xFFFF), st.binary(max_size=80))
def test_dpkt_is_read_by_ours(dst, src, ethertype, payload):
    built = dpkt.ethernet.Ethernet(dst=dst, src=src, type=ethertype).pack_hdr() + payload
    frame = ethernet.parse(memoryview(built))
    assert (frame.dst, frame.src, frame.ethertype, bytes(frame.payload)) == (dst, src, ethertype, payload)


def test_the_ethertypes_are_those_of_dpkt():
    theirs = dpkt.ethernet
    assert ethernet.ETHERTYPE_IPV4 == theirs.ETH_TYPE_IP
    assert ethernet.ETHERTYPE_IPV6 == theirs.ETH_TYPE_IP6
    assert ethernet.ETHERTYPE_ARP == theirs.ETH_TYPE_ARP
    assert ethernet.ETHERTYPE_VLAN == theirs.ETH_TYPE_8021Q


@pytest.mark.parametrize("size", range(14))
def test_a_truncated_header_is_refused(size):
    with pytest.raises(WireError):
        ethernet.parse(memoryview(bytes(size)))


def test_the_payload_is_not_copied():
    frame = bytearray(60)
    parsed = ethernet.parse(memoryview(frame))
    frame[14] = 7
    assert parsed.payload[0] == 7
