import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.errors import WireError
from asyncstack.wire import checksum, ipv4, udp

ports = st.integers(0, 0xFFFF)
addresses = st.binary(min_size=4, max_size=4)


@given(ports, ports, st.binary(max_size=60), ports)
def test_ours_is_read_by_dpkt(src_port, dst_port, payload, value):
    read = dpkt.udp.UDP(udp.build(src_port, dst_port, len(payload), value) + payload)
    assert (read.sport, read.dport, read.ulen, read.sum) == (src_port, dst_port, 8 + len(payload), value)
    assert read.data == payload


@given(ports, ports, st.binary(max_size=60), st.binary(max_size=20))
def test_dpkt_is_read_by_ours_and_padding_cut_off(src_port, dst_port, payload, padding):
    built = dpkt.udp.UDP(sport=src_port, dport=dst_port, sum=5, ulen=8 + len(payload), data=payload)
    read = udp.parse(memoryview(bytes(built) + padding))
    assert (read.src_port, read.dst_port, read.length, read.checksum) == (
        src_port,
        dst_port,
        8 + len(payload),
        5,
    )
    assert read.payload == payload


@given(addresses, addresses, ports, ports, st.binary(max_size=61))
def test_a_partial_checksum_completed_is_the_one_of_dpkt(src, dst, src_port, dst_port, payload):
    pseudo = checksum.pseudo_header_sum(src, dst, udp.PROTOCOL, 8 + len(payload))
    ours = bytearray(udp.build(src_port, dst_port, len(payload), pseudo))
    checksum.complete(ours, 0, udp.CHECKSUM_OFFSET, payload)
    theirs = dpkt.ip.IP(
        src=src,
        dst=dst,
        p=17,
        data=dpkt.udp.UDP(sport=src_port, dport=dst_port, ulen=8 + len(payload), data=payload),
    )
    datagram = bytes(theirs)[20:]
    assert ours + payload == datagram
    assert checksum.verify(datagram, pseudo)


VALID = udp.build(53, 4000, 4) + b"data"


@pytest.mark.parametrize("size", range(len(VALID)))
def test_a_truncated_datagram_is_refused(size):
    with pytest.raises(WireError):
        udp.parse(memoryview(VALID)[:size])


@pytest.mark.parametrize("length", [0, 1, 7, 13, 0xFFFF])
def test_a_wrong_length_is_refused(length):
    with pytest.raises(WireError):
        udp.parse(memoryview(VALID[:4] + length.to_bytes(2, "big") + VALID[6:]))


def test_an_empty_datagram():
    assert udp.parse(memoryview(udp.build(1, 2, 0))).payload == b""


def test_inside_ipv4():
    header = ipv4.build(b"\x0a\0\0\1", b"\x0a\0\0\2", udp.PROTOCOL, len(VALID))
    read = dpkt.ip.IP(header + VALID)
    assert isinstance(read.data, dpkt.udp.UDP)
    assert read.data.data == b"data"
