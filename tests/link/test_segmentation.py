"""Software segmentation, with dpkt as the oracle for every piece it makes."""

from itertools import pairwise

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncstack.errors import WireError
from asyncstack.link.frame import OutgoingFrame
from asyncstack.link.segmentation import complete_checksum, segment
from asyncstack.wire import checksum, ethernet, icmpv6, ipv4, ipv6, tcp, udp

V4 = (b"\x0a\x09\x00\x01", b"\x0a\x09\x00\x02")
V6 = (b"\xfd\x00" + bytes(13) + b"\x01", b"\xfd\x00" + bytes(13) + b"\x02")
MAC = b"\x02\x00\x00\x00\x00\x01"
FIN, SYN, PSH, ACK, CWR = tcp.FIN, tcp.SYN, tcp.PSH, tcp.ACK, tcp.CWR
PATTERN = bytes(i * 7 & 0xFF for i in range(257))


def payload_of(length):
    return (PATTERN * (length // 257 + 1))[:length]


def super_segment(
    payload,
    gso_size,
    *,
    addresses=V4,
    link_header=14,
    seq=1000,
    flags=ACK | PSH,
    ident=0,
    dont_fragment=True,
    ip_options=b"",
    **fields,
):
    """The frame that the transport and the network layer make: a partial checksum, one header."""
    record = tcp.Segment(80, 40000, seq, 77, flags, 501, b"", **fields)
    length = len(tcp.build(record, 0)) + len(payload)
    header = tcp.build(record, checksum.pseudo_header_sum(*addresses, 6, length))
    if len(addresses[0]) == 4:
        ip = ipv4.build(
            *addresses, 6, length, ident=ident, dont_fragment=dont_fragment, options=ip_options, tos=2
        )
        ethertype = ethernet.ETHERTYPE_IPV4
    else:
        ip = ipv6.build(*addresses, 6, length, flow_label=0x12345, traffic_class=2)
        ethertype = ethernet.ETHERTYPE_IPV6
    link = [ethernet.build(MAC, MAC, ethertype)] if link_header else []
    return OutgoingFrame([*link, ip, header, payload], link_header + len(ip), 16, gso_size)


def oracle(frame, link_header):
    """dpkt's view of a finished frame, once its checksums were found to be what dpkt computes."""
    assert (frame.checksum_start, frame.gso_size) == (0, 0)
    data = b"".join(frame.parts)[link_header:]
    kind = dpkt.ip.IP if data[0] >> 4 == 4 else dpkt.ip6.IP6
    packet = kind(data)
    assert bytes(packet) == data
    again = kind(data)
    again.data.sum = 0
    if kind is dpkt.ip.IP:
        assert packet.len == len(data)
        again.sum = 0
    else:
        assert packet.plen == len(data) - 40
    assert bytes(again) == data  # dpkt fills in what is 0
    return packet


@settings(max_examples=150, deadline=None)
@given(
    length=st.integers(1, 9000),
    gso_size=st.integers(1, 3000),
    family=st.sampled_from([V4, V6]),
    link_header=st.sampled_from([0, 14]),
    seq=st.one_of(st.integers(0, 2**32 - 1), st.integers(2**32 - 9000, 2**32 - 1)),
    flags=st.integers(0, 255).map(lambda flags: flags & ~SYN),
    ident=st.one_of(st.just(0), st.integers(0, 0xFFFF)),
    dont_fragment=st.booleans(),
    ip_options=st.sampled_from([b"", b"\x94\x04\x00\x00", b"\x01" * 40]),
    timestamps=st.booleans(),
    sack=st.integers(0, 3).map(lambda n: tuple((i * 10, i * 10 + 5) for i in range(n))),
)
def test_every_piece_is_what_dpkt_would_send(
    length,
    gso_size,
    family,
    link_header,
    seq,
    flags,
    ident,
    dont_fragment,
    ip_options,
    timestamps,
    sack,
):
    gso_size = max(gso_size, length // 100 + 1)  # hundreds of tiny pieces teach nothing
    payload = payload_of(length)
    frame = super_segment(
        payload,
        gso_size,
        addresses=family,
        link_header=link_header,
        seq=seq,
        flags=flags,
        ident=ident,
        dont_fragment=dont_fragment,
        ip_options=ip_options,
        sack=sack,
        **({"ts_val": 123, "ts_ecr": 456} if timestamps else {}),
    )
    whole = b"".join(frame.parts)
    pieces = segment(frame, link_header)
    assert len(pieces) == -(-length // gso_size)
    last = len(pieces) - 1
    for index, piece in enumerate(pieces):
        assert b"".join(piece.parts)[:link_header] == whole[:link_header]
        packet = oracle(piece, link_header)
        segment_ = packet.data
        assert segment_.data == payload[index * gso_size : (index + 1) * gso_size]
        assert segment_.seq == (seq + index * gso_size) % 2**32
        expected = flags
        if index != last:
            expected &= ~(FIN | PSH)
        if index:
            expected &= ~CWR
        assert bytes(segment_)[13] == expected
        assert (segment_.sport, segment_.dport, segment_.ack, segment_.win) == (80, 40000, 77, 501)
        tcp_header = frame.checksum_start
        assert segment_.opts == whole[tcp_header + 20 : tcp_header + len(segment_) - len(segment_.data)]
        if family is V4:
            counts = ident or not dont_fragment
            assert packet.id == ((ident + index) & 0xFFFF if counts else 0)
            assert (packet.tos, packet.ttl, bool(packet.df)) == (2, 64, dont_fragment)
            assert packet.opts == ip_options
        else:
            assert (packet.fc, packet.flow, packet.hlim) == (2, 0x12345, 64)


@pytest.mark.parametrize("family", [V4, V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("cuts", [[1], [14], [14, 34], [20, 60], [54], [66], [54, 66, 70], [66, 1000, 2001]])
def test_headers_and_payload_may_lie_in_any_parts(family, cuts):
    frame = super_segment(payload_of(5000), 1448, addresses=family, ts_val=1, ts_ecr=2)
    expected = [b"".join(piece.parts) for piece in segment(frame, 14)]
    whole = b"".join(frame.parts)
    bounds = [0, *cuts, len(whole)]
    parts = [memoryview(whole)[a:b] for a, b in pairwise(bounds)]
    split = OutgoingFrame(parts, frame.checksum_start, 16, 1448)
    assert [b"".join(piece.parts) for piece in segment(split, 14)] == expected
    whole_frame = OutgoingFrame([whole], frame.checksum_start, 16, 1448)
    assert [b"".join(piece.parts) for piece in segment(whole_frame, 14)] == expected


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_the_payload_may_be_any_buffer(buffer):
    frame = super_segment(buffer(payload_of(3001)), 1000)
    assert b"".join(oracle(piece, 14).data.data for piece in segment(frame, 14)) == payload_of(3001)


@pytest.mark.parametrize("length", [0, 1, 1448])
def test_a_segment_that_fits_is_only_completed(length):
    frame = super_segment(payload_of(length), 1448, flags=ACK | PSH | FIN | CWR)
    [piece] = segment(frame, 14)
    packet = oracle(piece, 14)
    assert packet.data.data == payload_of(length)
    assert bytes(packet.data)[13] == ACK | PSH | FIN | CWR


@pytest.mark.parametrize("family", [V4, V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("length", [1448, 2896, 4000])
def test_partial_pieces_become_the_same_frames_when_they_are_completed(family, length):
    frame = super_segment(payload_of(length), 1448, addresses=family, ident=9)
    full = segment(frame, 14)
    partial = segment(frame, 14, partial=True)
    assert all((piece.checksum_offset, piece.gso_size) == (16, 0) for piece in partial)
    assert all(piece.checksum_start == frame.checksum_start for piece in partial)
    completed = [complete_checksum(piece) for piece in partial]
    assert [b"".join(p.parts) for p in completed] == [b"".join(p.parts) for p in full]
    assert [b"".join(p.parts) for p in partial] != [b"".join(p.parts) for p in full]


def test_a_checksum_of_zero_is_sent_as_zero():
    # the payload is chosen so that the first piece sums to 0xFFFF
    probe = segment(super_segment(b"\0\0" + payload_of(98), 50), 14)[0]
    fix = oracle(probe, 14).data.sum
    [piece, _] = segment(super_segment(fix.to_bytes(2, "big") + payload_of(98), 50), 14)
    assert oracle(piece, 14).data.sum == 0
    assert checksum.verify(b"".join(piece.parts)[34:], checksum.pseudo_header_sum(*V4, 6, 70))


def broken(*, start=34, offset=16, gso_size=100, length=1000, patch=None, cut=None, link_header=14):
    frame = super_segment(payload_of(length), gso_size)
    data = bytearray(b"".join(frame.parts))
    for index, value in (patch or {}).items():
        data[index] = value
    return OutgoingFrame([bytes(data[:cut])], start, offset, gso_size), link_header


@pytest.mark.parametrize(
    "case",
    [
        broken(gso_size=0),
        broken(gso_size=-1),
        broken(offset=6),  # UDP
        broken(start=0),
        broken(start=20),
        broken(start=33),  # not where the IPv4 header ends
        broken(start=5000),
        broken(patch={14: 0x75}),  # version 7
        broken(patch={14: 0x65}),  # version 6, but 20 bytes of header
        broken(patch={14: 0x46}),  # IPv4 options that are not there
        broken(cut=53),  # no whole TCP header
        broken(cut=60, patch={46: 0xF0}),  # no whole options
        broken(cut=0),
    ],
)
def test_a_frame_that_is_not_what_it_says_is_refused(case):
    with pytest.raises(WireError):
        segment(*case)


def test_a_tcp_header_length_below_five_is_taken_as_five():
    frame, link_header = broken(patch={46: 0x10}, length=200)
    assert len(segment(frame, link_header)) == 2


# complete_checksum


def test_a_complete_frame_is_left_alone():
    frame = OutgoingFrame([b"abc"])
    assert complete_checksum(frame) is frame


@settings(max_examples=60, deadline=None)
@given(length=st.integers(0, 4000), family=st.sampled_from([V4, V6]), link_header=st.sampled_from([0, 14]))
def test_a_tcp_checksum_is_completed(length, family, link_header):
    frame = super_segment(payload_of(length), 0, addresses=family, link_header=link_header)
    assert oracle(complete_checksum(frame), link_header).data.data == payload_of(length)


def datagram(payload, addresses):
    length = 8 + len(payload)
    header = udp.build(53, 5353, len(payload), checksum.pseudo_header_sum(*addresses, 17, length))
    ip = (ipv4 if len(addresses[0]) == 4 else ipv6).build(*addresses, 17, length)
    return OutgoingFrame([ip, header, payload], len(ip), 6)


@settings(max_examples=60, deadline=None)
@given(payload=st.binary(max_size=600), family=st.sampled_from([V4, V6]))
def test_a_udp_checksum_is_completed(payload, family):
    packet = oracle(complete_checksum(datagram(payload, family)), 0)
    assert packet.data.data == payload


@pytest.mark.parametrize("family", [V4, V6], ids=["ipv4", "ipv6"])
def test_a_udp_checksum_of_zero_is_sent_as_all_ones(family):
    without = b"".join(complete_checksum(datagram(b"\0\0", family)).parts)
    fix = without[-4:-2]
    finished = b"".join(complete_checksum(datagram(fix, family)).parts)
    assert finished[-4:-2] == b"\xff\xff"


def test_an_icmpv6_checksum_is_completed():
    expected = icmpv6.build_echo(*V6, 1, 2, b"odd")
    pseudo = checksum.pseudo_header_sum(*V6, 58, len(expected))
    partial = expected[:2] + pseudo.to_bytes(2, "big") + expected[4:]
    frame = OutgoingFrame([ipv6.build(*V6, 58, len(expected)), partial], 40, 2)
    assert b"".join(complete_checksum(frame).parts)[40:] == expected


@pytest.mark.parametrize(("start", "offset"), [(34, 1400), (34, 1019), (1053, 0), (5000, 16)])
def test_a_checksum_field_outside_of_the_frame_is_refused(start, offset):
    frame = OutgoingFrame([bytes(1054)], start, offset)
    with pytest.raises(WireError):
        complete_checksum(frame)


def test_the_super_segment_stays_one_when_only_its_checksum_is_completed():
    frame = super_segment(payload_of(4000), 1448)
    done = complete_checksum(frame)
    assert (done.gso_size, done.checksum_start) == (1448, 0)
    done.gso_size = 0
    assert oracle(done, 14).data.data == payload_of(4000)
