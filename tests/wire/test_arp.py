import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.errors import WireError
from asyncstack.wire import arp

macs = st.binary(min_size=6, max_size=6)
addresses = st.binary(min_size=4, max_size=4)
packets = st.builds(arp.Arp, st.integers(0, 0xFFFF), macs, addresses, macs, addresses)


@given(packets)
def test_ours_is_read_by_dpkt(packet):
    built = arp.build(packet)
    assert len(built) == arp.SIZE
    read = dpkt.arp.ARP(built)
    assert (read.hrd, read.pro, read.hln, read.pln, read.op) == (1, 0x0800, 6, 4, packet.operation)
    assert (read.sha, read.spa) == (packet.sender_mac, packet.sender_ip)
    assert (read.tha, read.tpa) == (packet.target_mac, packet.target_ip)


@given(packets, st.binary(max_size=18))
def test_dpkt_is_read_by_ours_and_padding_ignored(packet, padding):
    built = bytes(
        dpkt.arp.ARP(
            op=packet.operation,
            sha=packet.sender_mac,
            spa=packet.sender_ip,
            tha=packet.target_mac,
            tpa=packet.target_ip,
        )
    )
    assert arp.parse(memoryview(built + padding)) == packet


def test_the_operations_are_those_of_dpkt():
    assert (arp.REQUEST, arp.REPLY) == (dpkt.arp.ARP_OP_REQUEST, dpkt.arp.ARP_OP_REPLY)


VALID = arp.build(arp.Arp(arp.REQUEST, b"\2\0\0\0\0\1", b"\x0a\0\0\1", bytes(6), b"\x0a\0\0\2"))


@pytest.mark.parametrize("size", range(28))
def test_a_truncated_packet_is_refused(size):
    with pytest.raises(WireError):
        arp.parse(memoryview(VALID)[:size])


@pytest.mark.parametrize("at", range(6))
def test_other_hardware_and_protocols_are_refused(at):
    changed = bytearray(VALID)
    changed[at] ^= 0x02
    with pytest.raises(WireError):
        arp.parse(memoryview(changed))
