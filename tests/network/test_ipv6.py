import errno

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.network.addresses import parse_address
from asyncstack.network.errors import Unreachable
from asyncstack.wire import ipv6
from tests.network.host import Host, fails

A = parse_address
UDP, TCP, ICMPV6, NONE, EXPERIMENT = 17, 6, 58, 59, 253
HOP_BY_HOP, DESTINATION_OPTIONS, FRAGMENT = 0, 60, 44


def packet(src, dst, payload=b"payload!", protocol=EXPERIMENT, **fields):
    header = dpkt.ip6.IP6(src=A(src), dst=A(dst), nxt=protocol, plen=len(payload), **{"hlim": 64, **fields})
    header.data = payload
    return bytes(header)


def options(next_header):
    """An extension header of padding."""
    return bytes((next_header, 0, 1, 4, 0, 0, 0, 0))


def fragment(src, dst, piece, offset, more, protocol=EXPERIMENT, ident=7, before=b"", first_header=FRAGMENT):
    header = bytes((protocol, 0)) + (offset | more).to_bytes(2, "big") + ident.to_bytes(4, "big")
    return packet(src, dst, before + header + piece, first_header)


def fragments(payload, step, **facts):
    return [
        fragment("fd00::9", "fd00::1", payload[at : at + step], at, at + step < len(payload), **facts)
        for at in range(0, len(payload), step)
    ]


# receive


def test_a_packet_for_us_reaches_its_protocol(host):
    taker = host.register(EXPERIMENT, host.ipv6)
    assert (
        host.receive(packet("fd00::9", "fd00::1", b"hello", hlim=9), checksum_valid=True, gso_size=1000) == []
    )
    (taken,) = taker.packets
    assert (taken.src, taken.dst, taken.payload, taken.ttl) == (A("fd00::9"), A("fd00::1"), b"hello", 9)
    assert (taken.interface, taken.checksum_valid, taken.gso_size) == (host.eth0, True, 1000)


def test_behind_extension_headers(host):
    taker = host.register(EXPERIMENT, host.ipv6)
    payload = options(DESTINATION_OPTIONS) + options(EXPERIMENT) + b"hello"
    host.receive(packet("fd00::9", "fd00::1", payload, HOP_BY_HOP))
    assert taker.packets[0].payload == b"hello"


@pytest.mark.parametrize(
    ("src", "dst", "reason"),
    [
        ("fd00::9", "fd00::2", "not_ours"),
        ("fd00::9", "ff02::fb", "not_ours"),
        ("fd00::9", "ff02::1:ff00:9", "not_ours"),
        ("fd00::9", "::1", "martian"),
        ("fd00::9", "::", "not_ours"),
        ("::1", "fd00::1", "martian"),
        ("::", "fd00::1", "martian"),
        ("ff02::1", "fd00::1", "martian"),
        ("fd00::1", "fd00::1", "martian"),  # LAND
        ("fe80::1", "ff02::1", "martian"),
        ("::ffff:127.0.0.1", "fd00::1", "martian"),
        ("::ffff:10.0.0.9", "ff02::1", "martian"),
        ("fd00::9", "ff01::1", "martian"),
        ("fd00::9", "ff00::1", "martian"),
    ],
)
def test_strange_packets_are_dropped_and_counted(host, src, dst, reason):
    taker = host.register(EXPERIMENT, host.ipv6)
    assert host.receive(packet(src, dst)) == []
    assert taker.packets == []
    assert host.counters == {f"ipv6.{reason}": 1}


@pytest.mark.parametrize("group", ["ff02::1", "ff02::1:ff00:1"])
def test_our_groups_are_for_us_but_not_for_tcp(host, group):
    taker, tcp = host.register(EXPERIMENT, host.ipv6), host.register(TCP, host.ipv6)
    host.receive(packet("fd00::9", group))
    host.receive(packet("fd00::9", group, bytes(20), protocol=TCP))
    host.receive(packet("fd00::9", group, options(TCP) + bytes(20), protocol=DESTINATION_OPTIONS))
    assert (len(taker.packets), len(tcp.packets)) == (1, 0)
    assert host.counters == {"ipv6.not_ours": 2}


def test_a_link_local_address_means_us_on_its_own_link_only(host):
    """RFC 4007 9: whoever is on another link has found it out there."""
    taker = host.register(EXPERIMENT, host.ipv6)
    eth1 = host.attach("eth1", "fd01::1/64", "fe80::2/64")
    host.receive(packet("fe80::9", "fe80::1"), eth1)
    assert (taker.packets, host.counters) == ([], {"ipv6.not_ours": 1})
    host.receive(packet("fe80::9", "fe80::2"), eth1)
    host.receive(packet("fe80::9", "fe80::1"))
    host.receive(packet("fd01::9", "fd00::1"), eth1)
    host.receive(packet("fe80::2", "fe80::1"), host.lo)
    assert len(taker.packets) == 4


def test_groups_of_the_host_alone_come_over_loopback(host):
    """RFC 4291 2.7: ff01::1 means this interface, and nobody on the wire."""
    taker = host.register(EXPERIMENT, host.ipv6)
    host.receive(packet("::1", "ff01::1"), host.lo)
    assert len(taker.packets) == 1


def test_a_host_without_an_address_may_only_use_icmpv6(host):
    icmp, udp = host.register(ICMPV6, host.ipv6), host.register(UDP, host.ipv6)
    host.receive(packet("::", "ff02::1:ff00:1", bytes(24), protocol=ICMPV6))
    host.receive(packet("::", "ff02::1", bytes(8), protocol=UDP))
    assert (len(icmp.packets), len(udp.packets)) == (1, 0)
    assert host.counters == {"ipv6.martian": 1}


def test_over_loopback_our_own_addresses_may_be_the_source(host):
    taker = host.register(EXPERIMENT, host.ipv6)
    for src, dst in (("::1", "::1"), ("fd00::1", "fd00::1"), ("::1", "fd00::1")):
        host.receive(packet(src, dst), host.lo)
    assert len(taker.packets) == 3
    host.receive(packet("fd00::1", "fd00::9"), host.lo)
    assert host.counters == {"ipv6.not_ours": 1}


@given(st.binary(max_size=100))
def test_garbage_is_counted_and_raises_nothing(data):
    host = Host()
    host.receive(b"\x60" + data)
    assert sum(host.counters.values()) == 1


@given(st.data())
def test_a_damaged_packet_raises_nothing(data):
    host = Host()
    host.register(EXPERIMENT, host.ipv6)
    payload = (
        options(FRAGMENT) + bytes((DESTINATION_OPTIONS, 0, 0, 1)) + bytes(4) + options(EXPERIMENT) + bytes(24)
    )
    whole = bytearray(packet("fd00::9", "fd00::1", payload, HOP_BY_HOP))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(40, len(whole) - 1))] = data.draw(st.integers(0, 255))
    host.receive(bytes(whole))
    host.loop.advance(61.0)


@pytest.mark.parametrize(
    ("payload", "first", "pointer"),
    [
        (b"payload!", EXPERIMENT, 6),
        (options(EXPERIMENT) + b"payload!", HOP_BY_HOP, 40),
        (options(DESTINATION_OPTIONS) + options(EXPERIMENT) + b"payload!", HOP_BY_HOP, 48),
        # an atomic fragment
        (bytes((EXPERIMENT, 0, 0, 0, 0, 0, 0, 7)) + b"payload!", FRAGMENT, 40),
    ],
)
def test_an_unknown_next_header_is_pointed_at(host, payload, first, pointer):
    data = packet("fd00::9", "fd00::1", payload, first)
    (reply,) = host.receive(data)
    answer = dpkt.ip6.IP6(reply)
    assert (answer.dst, answer.data.type, answer.data.code) == (A("fd00::9"), 4, 1)
    assert reply[44:48] == pointer.to_bytes(4, "big")
    assert reply[48:] == data


def test_nothing_follows_no_next_header(host):
    assert host.receive(packet("fd00::9", "fd00::1", b"", NONE)) == []
    assert host.counters == {"ipv6.unknown_protocol": 1}


# reassembly


def test_fragments_in_any_order_become_one_packet(host):
    taker = host.register(EXPERIMENT, host.ipv6)
    payload = bytes(range(256)) * 20
    for data in reversed(fragments(payload, 1448)):
        assert taker.packets == []
        host.receive(data, checksum_valid=True)
    (whole,) = taker.packets
    assert whole.payload == payload
    assert (whole.more_fragments, whole.fragment_offset, whole.interface) == (False, 0, host.eth0)
    assert whole.checksum_valid is False
    assert bytes(whole.raw) == packet("fd00::9", "fd00::1", payload)
    assert host.loop.pending == []


def test_headers_around_the_fragment_header(host):
    """Hop-by-hop options are in every fragment; destination options are part of what was cut."""
    taker = host.register(EXPERIMENT, host.ipv6)
    cut = options(EXPERIMENT) + bytes(range(200))
    for at in range(0, len(cut), 104):
        host.receive(
            fragment(
                "fd00::9",
                "fd00::1",
                cut[at : at + 104],
                at,
                at + 104 < len(cut),
                protocol=DESTINATION_OPTIONS,
                before=options(FRAGMENT),
                first_header=HOP_BY_HOP,
            )
        )
    (whole,) = taker.packets
    assert whole.payload == bytes(range(200))
    assert bytes(whole.raw) == packet("fd00::9", "fd00::1", options(DESTINATION_OPTIONS) + cut, HOP_BY_HOP)


def test_an_atomic_fragment_waits_for_nothing(host):
    """RFC 6946: even while fragments with the same ident are here."""
    taker = host.register(EXPERIMENT, host.ipv6)
    host.receive(fragment("fd00::9", "fd00::1", bytes(8), 8, False))
    host.receive(fragment("fd00::9", "fd00::1", b"whole", 0, False))
    assert [taken.payload for taken in taker.packets] == [b"whole"]


def test_a_fragment_of_odd_size_is_answered(host):
    data = fragment("fd00::9", "fd00::1", bytes(9), 0, True)
    (reply,) = host.receive(data)
    assert (reply[40], reply[41], reply[44:48]) == (4, 0, bytes((0, 0, 0, 4)))  # RFC 8200 4.5: payload length
    assert host.counters["ipv6.fragment_malformed"] == 1


@pytest.mark.parametrize(
    ("piece", "protocol"),
    [
        (bytes(16), TCP),
        (options(TCP), DESTINATION_OPTIONS),
        (bytes((TCP, 2)) + bytes(14), DESTINATION_OPTIONS),  # cut within the options
    ],
)
def test_the_first_fragment_holds_all_headers(host, piece, protocol):
    """RFC 7112."""
    host.receive(fragment("fd00::9", "fd00::1", piece, 0, True, protocol=protocol))
    assert host.counters["ipv6.fragment_tiny"] == 1
    assert len(host.ipv6.reassembly) == 0


def test_fragments_in_fragments_are_dropped(host):
    taker = host.register(EXPERIMENT, host.ipv6)
    inner = bytes((EXPERIMENT, 0, 0, 1, 0, 0, 0, 9)) + bytes(24)
    for data in fragments(inner, 16, protocol=FRAGMENT):
        host.receive(data)
    assert taker.packets == []
    assert sum(host.counters.values()) >= 1
    assert len(host.ipv6.reassembly) == 0


def test_discovery_may_not_be_cut(host):
    """RFC 6980."""
    taker = host.register(ICMPV6, host.ipv6)
    for kind in (135, 128):
        for data in fragments(bytes((kind,)) + bytes(23), 16, protocol=ICMPV6, ident=kind):
            host.receive(data)
    assert [taken.payload[0] for taken in taker.packets] == [128]
    assert host.counters["ipv6.fragmented_discovery"] == 1


def test_a_payload_that_is_too_long_with_its_headers_is_dropped(host):
    taker = host.register(EXPERIMENT, host.ipv6)
    for at in (0, 32760):
        size = 32760
        data = fragment(
            "fd00::9",
            "fd00::1",
            bytes(size),
            at,
            at == 0,
            before=options(FRAGMENT) * 2,
            first_header=DESTINATION_OPTIONS,
        )
        data = bytearray(data)
        data[40] = DESTINATION_OPTIONS
        host.receive(data)
    assert taker.packets == []
    assert host.counters["ipv6.malformed"] == 1


def test_the_sender_of_an_incomplete_datagram_is_told(host):
    first, *_ = fragments(bytes(4000), 1448)
    host.receive(first)
    host.loop.advance(59.0)
    assert host.sent() == []
    host.loop.advance(1.0)
    (reply,) = host.sent()
    assert (reply[40], reply[41], reply[24:40]) == (3, 1, A("fd00::9"))
    assert reply[48:] == first[:1232]
    assert host.loop.pending == []


# send


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=4), st.integers(1, 255), st.integers(0, 255))
def test_what_is_sent_is_read_by_dpkt(parts, ttl, tos):
    host = Host()
    path = host.path("fd00::9")
    assert host.ipv6.send(path, EXPERIMENT, parts, ttl=ttl, tos=tos) is True
    (data,) = host.sent()
    read = dpkt.ip6.IP6(data)
    assert (read.v, read.plen, read.nxt, read.hlim) == (6, len(data) - 40, EXPERIMENT, ttl)
    assert (read.fc, read.flow, read.src, read.dst) == (tos, 0, path.source, path.destination)
    assert data[40:] == b"".join(parts)


def test_the_frame_says_what_is_left_to_do(host):
    host.ipv6.send(host.path("fd00::9"), TCP, [bytes(20), bytes(4000)], checksum_offset=16, gso_size=1400)
    host.ipv6.send(host.path("fd00::9"), EXPERIMENT, [bytes(20)])
    offloaded, complete = host.frames()
    assert (offloaded.checksum_start, offloaded.checksum_offset, offloaded.gso_size) == (40, 16, 1400)
    assert (complete.checksum_start, complete.gso_size) == (0, 0)


def test_a_packet_waits_for_its_neighbour(host):
    host.eth0.link.unresolved.add(A("fd00::9"))
    assert host.ipv6.send(host.path("fd00::9"), EXPERIMENT, [b"x"]) is True
    ((next_hop, frame, ethertype),) = host.eth0.link.waiting
    assert (next_hop, b"".join(frame.parts)[40:], ethertype) == (A("fd00::9"), b"x", 0x86DD)


def test_what_may_not_be_cut_is_an_error(host):
    with fails(errno.EMSGSIZE) as raised:
        host.ipv6.send(host.path("fd00::9"), EXPERIMENT, [bytes(1461)])
    assert "a packet of 1501 bytes, the path to fd00::9 takes 1500" in str(raised.value)
    with fails(errno.EMSGSIZE):
        host.ipv6.send(host.path("fd00::9"), EXPERIMENT, [bytes(65536)], dont_fragment=False)
    assert host.ipv6.send(host.path("fd00::9"), EXPERIMENT, [bytes(1460)])


def test_a_large_datagram_is_cut_with_its_checksum_complete(host):
    body = bytes(range(256)) * 20
    path = host.path("fd00::9")
    whole = dpkt.ip6.IP6(src=path.source, dst=path.destination, nxt=UDP, hlim=64, plen=8 + len(body))
    whole.data = dpkt.udp.UDP(sport=1, dport=2, ulen=8 + len(body), data=body)
    expected = bytes(whole)[40:]
    partial = path.address_sum + UDP + 8 + len(body)
    header = expected[:6] + ((partial & 0xFFFF) + (partial >> 16)).to_bytes(2, "big")
    assert host.ipv6.send(path, UDP, [header, body], checksum_offset=6, dont_fragment=False)
    frames = host.frames()
    assert all(frame.checksum_start == 0 for frame in frames)
    sent = [b"".join(frame.parts) for frame in frames]
    read = [dpkt.ip6.IP6(data).extension_hdrs[FRAGMENT] for data in sent]
    assert [len(data) for data in sent] == [1496, 1496, 1496, 832]
    assert [(r.frag_off << 3, r.m_flag, r.nxt) for r in read] == [
        (0, 1, UDP),
        (1448, 1, UDP),
        (2896, 1, UDP),
        (4344, 0, UDP),
    ]
    assert len({r.id for r in read}) == 1
    assert b"".join(data[48:] for data in sent) == expected


@given(st.integers(1, 20_000), st.integers(1280, 2000))
def test_fragments_of_ours_are_reassembled_by_another_host(size, mtu):
    sender, receiver = Host(mtu=mtu), Host("fd00::9/64")
    taker = receiver.register(EXPERIMENT, receiver.ipv6)
    payload = bytes(at * 7 & 0xFF for at in range(size))
    sender.ipv6.send(sender.path("fd00::9"), EXPERIMENT, [payload], dont_fragment=False)
    sent = sender.sent()
    assert all(len(data) <= mtu for data in sent)
    for data in sent:
        receiver.receive(data)
    assert [taken.payload for taken in taker.packets] == [payload]


def test_an_unreachable_neighbour_is_reported_to_the_protocol(host):
    sender = host.register(UDP, host.ipv6)
    host.ipv6.send(host.path("fd00::9"), UDP, [bytes(4000)], dont_fragment=False)
    for data in host.sent():
        host.ipv6.report_unsent(memoryview(data), host.eth0)
    (error,) = sender.errors
    assert (error.kind, error.errno, error.hard) == (Unreachable.HOST, errno.EHOSTUNREACH, False)
    assert (error.quoted.dst, error.quoted.protocol) == (A("fd00::9"), UDP)


def test_headers_are_walked_as_wire_does():
    """The last next-header field, found again in what `wire.ipv6` has walked."""
    payload = options(DESTINATION_OPTIONS) + bytes((EXPERIMENT, 1, 0x1E, 12)) + bytes(12) + b"payload!"
    data = packet("fd00::9", "fd00::1", payload, HOP_BY_HOP)
    parsed = ipv6.parse(memoryview(data))
    host = Host()
    (reply,) = host.receive(data)
    pointer = int.from_bytes(reply[44:48], "big")
    assert (pointer, data[pointer], parsed.protocol) == (48, EXPERIMENT, EXPERIMENT)
