import errno

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.network.addresses import parse_address
from asyncstack.network.errors import Unreachable
from asyncstack.network.groups import SourceFilter
from asyncstack.network.routing import Path
from tests.network.host import Host, fails

A = parse_address
UDP, TCP, EXPERIMENT = 17, 6, 253


def packet(src, dst, payload=b"payload!", protocol=EXPERIMENT, **fields):
    """A packet by dpkt, with its checksum."""
    return bytes(
        dpkt.ip.IP(src=A(src), dst=A(dst), p=protocol, data=payload, len=20 + len(payload), **fields)
    )


def fragments(src, dst, payload, step, protocol=EXPERIMENT, ident=7):
    pieces = []
    for at in range(0, len(payload), step):
        header = dpkt.ip.IP(src=A(src), dst=A(dst), p=protocol, id=ident, data=payload[at : at + step])
        header.len = 20 + len(payload[at : at + step])
        header.offset = at >> 3
        header.mf = at + step < len(payload)
        pieces.append(bytes(header))
    return pieces


# receive


def test_a_packet_for_us_reaches_its_protocol(host):
    taker = host.register(EXPERIMENT)
    data = packet("10.0.0.9", "10.0.0.1", b"hello", ttl=9, tos=0x10)
    assert host.receive(data, checksum_valid=True, gso_size=1000) == []
    (taken,) = taker.packets
    assert (taken.src, taken.dst, taken.payload) == (A("10.0.0.9"), A("10.0.0.1"), b"hello")
    assert (taken.ttl, taken.tos, taken.interface) == (9, 0x10, host.eth0)
    assert (taken.checksum_valid, taken.gso_size) == (True, 1000)


def test_an_address_of_another_interface_is_ours_too(host):
    taker = host.register(EXPERIMENT)
    host.attach("eth1", "10.1.0.1/24")
    host.receive(packet("10.0.0.9", "10.1.0.1"))
    assert len(taker.packets) == 1


@pytest.mark.parametrize(
    ("src", "dst", "reason"),
    [
        ("10.0.0.9", "10.0.0.2", "not_ours"),
        ("10.0.0.9", "239.1.2.3", "not_ours"),
        ("10.0.0.9", "10.1.0.255", "not_ours"),
        ("10.0.0.9", "127.0.0.1", "martian"),
        ("10.0.0.9", "127.1.2.3", "martian"),
        ("127.0.0.1", "10.0.0.1", "martian"),
        ("224.0.0.1", "10.0.0.1", "martian"),
        ("255.255.255.255", "10.0.0.1", "martian"),
        ("10.0.0.255", "10.0.0.1", "martian"),
        ("0.0.0.0", "10.0.0.1", "martian"),
        ("0.1.2.3", "10.0.0.1", "martian"),
        ("10.0.0.1", "10.0.0.1", "martian"),  # LAND
        ("10.0.0.1", "255.255.255.255", "martian"),
    ],
)
def test_strange_packets_are_dropped_and_counted(host, src, dst, reason):
    taker = host.register(EXPERIMENT)
    assert host.receive(packet(src, dst)) == []
    assert taker.packets == []
    assert host.counters == {f"ipv4.{reason}": 1}


@pytest.mark.parametrize("dst", ["10.0.0.255", "255.255.255.255", "224.0.0.1"])
def test_broadcasts_are_for_us_but_not_for_tcp(host, dst):
    taker, tcp = host.register(EXPERIMENT), host.register(TCP)
    host.receive(packet("10.0.0.9", dst))
    host.receive(packet("10.0.0.9", dst, bytes(20), protocol=TCP))
    assert (len(taker.packets), len(tcp.packets)) == (1, 0)
    assert host.counters == {"ipv4.not_ours": 1}


def test_a_group_that_was_joined(host):
    taker = host.register(EXPERIMENT)
    wanted = SourceFilter(False, frozenset([A("10.0.0.9")]))
    host.addresses.groups.join(A("239.1.2.3"), host.eth0, "member", wanted)
    host.receive(packet("10.0.0.9", "239.1.2.3"))
    host.receive(packet("10.0.0.8", "239.1.2.3"))
    assert [each.src for each in taker.packets] == [A("10.0.0.9")]


def test_a_host_without_an_address_may_ask_around(host):
    taker = host.register(UDP)
    host.receive(packet("0.0.0.0", "255.255.255.255", bytes(8), protocol=UDP))
    assert len(taker.packets) == 1


def test_over_loopback_our_own_addresses_may_be_the_source(host):
    taker = host.register(EXPERIMENT)
    for src, dst in (("127.0.0.1", "127.0.0.1"), ("10.0.0.1", "10.0.0.1"), ("127.0.0.1", "127.9.9.9")):
        host.receive(packet(src, dst), host.lo)
    assert len(taker.packets) == 3
    host.receive(packet("10.0.0.1", "10.0.0.9"), host.lo)
    assert host.counters == {"ipv4.not_ours": 1}


def test_a_super_segment_for_others_is_dropped(host):
    assert host.receive(packet("10.0.0.9", "10.0.0.2", bytes(4000), protocol=TCP), gso_size=1400) == []
    assert host.counters == {"ipv4.not_ours": 1}


@given(st.binary(max_size=60))
def test_garbage_is_counted_and_raises_nothing(data):
    host = Host()
    host.receive(b"\x45" + data)
    assert sum(host.counters.values()) == 1


@given(st.data())
def test_a_damaged_packet_raises_nothing(data):
    host = Host()
    host.register(UDP)
    whole = bytearray(packet("10.0.0.9", "10.0.0.1", bytes(40), protocol=UDP))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    whole[10:12] = b"\0\0"
    whole[10:12] = dpkt.in_cksum(bytes(whole[:20])).to_bytes(2, "big")  # so that it is looked at
    host.receive(bytes(whole[: data.draw(st.integers(0, len(whole)))]))


def test_an_unknown_protocol_is_answered(host):
    (reply,) = host.receive(packet("10.0.0.9", "10.0.0.1"))
    answer = dpkt.ip.IP(reply)
    assert (answer.data.type, answer.data.code, answer.dst) == (3, 2, A("10.0.0.9"))
    assert host.counters["ipv4.unknown_protocol"] == 1


# reassembly


def test_fragments_in_any_order_become_one_packet(host):
    taker = host.register(EXPERIMENT)
    payload = bytes(range(256)) * 20
    for data in reversed(fragments("10.0.0.9", "10.0.0.1", payload, 1480)):
        assert taker.packets == []
        host.receive(data, checksum_valid=True)
    (whole,) = taker.packets
    assert whole.payload == payload
    assert (whole.more_fragments, whole.fragment_offset, whole.interface) == (False, 0, host.eth0)
    assert whole.checksum_valid is False  # nobody has seen the whole
    read = dpkt.ip.IP(bytes(whole.raw))  # an ICMP error would quote a packet that was never cut
    assert (read.len, read.data, read.mf, dpkt.in_cksum(bytes(whole.raw[:20]))) == (
        20 + len(payload),
        payload,
        0,
        0,
    )
    assert host.loop.pending == []


def test_a_datagram_that_is_too_large_with_its_header_is_dropped(host):
    taker = host.register(EXPERIMENT)
    for data in fragments("10.0.0.9", "10.0.0.1", bytes(65520), 32760):
        host.receive(data)
    assert taker.packets == []
    assert host.counters == {"ipv4.malformed": 1}


def test_the_sender_of_an_incomplete_datagram_is_told(host):
    host.register(EXPERIMENT)
    first, *_ = fragments("10.0.0.9", "10.0.0.1", bytes(4000), 1480)
    host.receive(first)
    host.loop.advance(29.0)
    assert host.sent() == []
    host.loop.advance(1.0)
    (reply,) = host.sent()
    answer = dpkt.ip.IP(reply)
    assert (answer.dst, answer.data.type, answer.data.code) == (A("10.0.0.9"), 11, 1)
    assert reply[28:] == first[:548]
    assert host.loop.pending == []


def test_without_its_first_fragment_nobody_is_told(host):
    _, second, _ = fragments("10.0.0.9", "10.0.0.1", bytes(4000), 1480)
    host.receive(second)
    host.loop.advance(31.0)
    assert host.sent() == []
    assert host.counters == {"ipv4.reassembly_timeout": 1}


def test_closing_leaves_no_timer(host):
    host.receive(fragments("10.0.0.9", "10.0.0.1", bytes(4000), 1480)[0])
    assert len(host.loop.pending) == 1
    host.ipv4.close()
    assert host.loop.pending == []
    assert host.ipv4.reassembly.bytes == 0


def test_the_bounds_of_the_constructor_hold():
    host = Host(fragment_datagrams=2, fragment_bytes=10_000)
    for ident in range(10):
        host.receive(fragments(f"10.0.0.{9 + ident}", "10.0.0.1", bytes(4000), 1480)[0])
        assert len(host.ipv4.reassembly) <= 2
    assert host.counters["ipv4.reassembly_evicted"] == 8


# send


@given(
    st.lists(st.binary(max_size=50), min_size=1, max_size=4),
    st.integers(0, 255),
    st.integers(1, 255),
    st.integers(0, 255),
    st.booleans(),
)
def test_what_is_sent_is_read_by_dpkt(parts, protocol, ttl, tos, dont_fragment):
    host = Host()
    path = host.path("10.0.0.9")
    assert host.ipv4.send(path, protocol, parts, ttl=ttl, tos=tos, dont_fragment=dont_fragment) is True
    (data,) = host.sent()
    assert dpkt.in_cksum(data[:20]) == 0
    read = dpkt.ip.IP(data)
    assert (read.v, read.hl, read.len, read.p) == (4, 5, len(data), protocol)
    assert (read.ttl, read.tos, bool(read.df), read.mf) == (ttl, tos, dont_fragment, 0)
    assert (read.src, read.dst, data[20:]) == (path.source, path.destination, b"".join(parts))


def test_the_frame_says_what_is_left_to_do(host):
    host.ipv4.send(host.path("10.0.0.9"), TCP, [bytes(20), bytes(4000)], checksum_offset=16, gso_size=1400)
    host.ipv4.send(host.path("10.0.0.9"), EXPERIMENT, [bytes(20)])
    offloaded, complete = host.frames()
    assert (offloaded.checksum_start, offloaded.checksum_offset, offloaded.gso_size) == (20, 16, 1400)
    assert (complete.checksum_start, complete.gso_size) == (0, 0)


def test_the_stack_has_its_own_ttl():
    host = Host(ttl=17)
    host.ipv4.send(host.path("10.0.0.9"), EXPERIMENT, [b"x"])
    assert host.sent()[0][8] == 17


def test_no_room_means_false(host):
    host.eth0.link.room = 0
    assert host.ipv4.send(host.path("10.0.0.9"), EXPERIMENT, [b"x"]) is False


def test_a_packet_waits_for_its_neighbour(host):
    host.eth0.link.unresolved.add(A("10.0.0.9"))
    assert host.ipv4.send(host.path("10.0.0.9"), EXPERIMENT, [b"x"]) is True
    assert host.sent() == []
    ((next_hop, frame, ethertype),) = host.eth0.link.waiting
    assert (next_hop, b"".join(frame.parts)[20:], ethertype) == (A("10.0.0.9"), b"x", 0x0800)


def test_what_may_not_be_cut_is_an_error(host):
    with fails(errno.EMSGSIZE) as raised:
        host.ipv4.send(host.path("10.0.0.9"), EXPERIMENT, [bytes(1481)])
    assert "a packet of 1501 bytes, the path to 10.0.0.9 takes 1500" in str(raised.value)
    with fails(errno.EMSGSIZE):
        host.ipv4.send(host.path("10.0.0.9"), EXPERIMENT, [bytes(65516)], dont_fragment=False)
    assert host.ipv4.send(host.path("10.0.0.9"), EXPERIMENT, [bytes(1480)])


def test_a_large_datagram_is_cut_with_its_checksum_complete(host):
    body = bytes(range(256)) * 20
    udp = dpkt.udp.UDP(sport=1, dport=2, ulen=8 + len(body), data=body)
    expected = dpkt.ip.IP(
        bytes(dpkt.ip.IP(src=A("10.0.0.1"), dst=A("10.0.0.9"), p=UDP, data=udp, len=28 + len(body)))
    )
    path = host.path("10.0.0.9")
    header = bytes(dpkt.udp.UDP(sport=1, dport=2, ulen=8 + len(body)))[:6]
    partial = path.address_sum + UDP + 8 + len(body)
    header += ((partial & 0xFFFF) + (partial >> 16)).to_bytes(2, "big")
    assert host.ipv4.send(path, UDP, [header, body], checksum_offset=6, dont_fragment=False)
    frames = host.frames()
    assert all(frame.checksum_start == 0 for frame in frames)
    sent = [b"".join(frame.parts) for frame in frames]
    read = [dpkt.ip.IP(data) for data in sent]
    assert [len(data) for data in sent] == [1500, 1500, 1500, 708]
    assert [int.from_bytes(data[6:8], "big") & 0x1FFF for data in sent] == [0, 185, 370, 555]
    assert [bool(r.mf) for r in read] == [True, True, True, False]
    assert not any(r.df for r in read)
    assert len({r.id for r in read}) == 1
    assert all(dpkt.in_cksum(data[:20]) == 0 for data in sent)
    assert b"".join(data[20:] for data in sent) == bytes(expected.data)


def test_a_lost_fragment_is_told(host):
    host.eth0.link.room = 2
    assert host.ipv4.send(host.path("10.0.0.9"), EXPERIMENT, [bytes(4000)], dont_fragment=False) is False


@given(st.integers(1, 20_000), st.integers(576, 2000))
def test_fragments_of_ours_are_reassembled_by_another_host(size, mtu):
    sender, receiver = Host(mtu=mtu), Host("10.0.0.9/24")
    taker = receiver.register(EXPERIMENT)
    payload = bytes(at * 7 & 0xFF for at in range(size))
    sender.ipv4.send(sender.path("10.0.0.9"), EXPERIMENT, [payload], dont_fragment=False)
    sent = sender.sent()
    assert all(len(data) <= mtu for data in sent)
    for data in sent:
        receiver.receive(data)
    assert [taken.payload for taken in taker.packets] == [payload]


def test_idents_do_not_repeat_where_they_matter(host):
    path = host.path("10.0.0.9")
    for _ in range(65536):
        host.ipv4.send(path, EXPERIMENT, [b"x"], dont_fragment=False)
    idents = [frame.parts[0][4:6] for frame in host.frames()]
    assert len(set(idents)) == 65536
    host.ipv4.send(path, EXPERIMENT, [b"x"])
    assert host.sent()[0][4:8] == b"\0\0\x40\0"  # with DF it has no meaning


def test_an_ident_can_not_be_foretold_from_those_of_another_flow():
    """Two destinations whose flows share a counter: what one sees of it says nothing about the next of the other."""
    host = Host()
    chosen, steps = {}, set()
    for number in range(3000):
        destination = A(f"10.0.{number >> 8}.{number & 0xFF}")
        path = Path(host.eth0, A("10.0.0.1"), destination, destination, 1500)
        slot = host.ipv4._idents._derive(path.addresses)[0]
        chosen.setdefault(slot, []).append(path)
    for mine, victims in [(paths[0], paths[1]) for paths in chosen.values() if len(paths) > 1][:500]:
        steps.add(host.ipv4._idents.next(victims) - host.ipv4._idents.next(mine) & 0xFFFF)
    assert len(steps) > 480


def test_a_path_below_what_we_believe_may_be_cut_on_its_way(host):
    host.routes.update_path_mtu(A("10.0.0.9"), 296, 0.0)
    host.ipv4.send(host.path("10.0.0.9"), TCP, [bytes(500)], checksum_offset=16)
    assert dpkt.ip.IP(host.sent()[0]).df == 0


# errors about what we sent


def test_an_unreachable_neighbour_is_reported_to_the_protocol(host):
    sender = host.register(UDP)
    host.ipv4.send(host.path("10.0.0.9"), UDP, [b"\0\x01\0\x02\0\x08\0\0"], checksum_offset=6)
    (data,) = host.sent()
    host.ipv4.report_unsent(memoryview(data), host.eth0)
    (error,) = sender.errors
    assert (error.kind, error.errno, error.hard) == (Unreachable.HOST, errno.EHOSTUNREACH, False)
    assert (error.reporter, error.quoted.dst, error.interface) == (A("10.0.0.1"), A("10.0.0.9"), host.eth0)
    assert bytes(error.quoted.payload[:4]) == b"\0\x01\0\x02"


def test_only_the_first_fragment_is_reported(host):
    sender = host.register(UDP)
    host.ipv4.send(host.path("10.0.0.9"), UDP, [bytes(4000)], dont_fragment=False)
    for data in host.sent():
        host.ipv4.report_unsent(memoryview(data), host.eth0)
    host.ipv4.report_unsent(memoryview(b"no packet"), host.eth0)
    assert len(sender.errors) == 1
