"""Dialogues: what arrives, what goes out. Messages of the other side are built and ours are read by dpkt."""

import errno

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.network.addresses import parse_address
from asyncstack.network.errors import ICMP_MESSAGE, Unreachable
from tests.network.host import Host, fails

A = parse_address
ICMP, UDP, TCP, EXPERIMENT = 1, 17, 6, 253
US, PEER, ROUTER = A("10.0.0.1"), A("10.0.0.9"), A("10.0.0.254")


def ip(src, dst, data, protocol=ICMP, **fields):
    return bytes(dpkt.ip.IP(src=src, dst=dst, p=protocol, data=data, len=20 + len(data), **fields))


def icmp(kind, code, data=b""):
    return bytes(dpkt.icmp.ICMP(type=kind, code=code, data=data))


def echo(ident, sequence, payload=b"", kind=8):
    body = dpkt.icmp.ICMP.Echo(id=ident, seq=sequence, data=payload)
    return bytes(dpkt.icmp.ICMP(type=kind, data=body))


def error(kind, code, quoted, rest=0, src=ROUTER):
    return ip(src, US, icmp(kind, code, rest.to_bytes(4, "big") + quoted))


def read(data):
    """The IP header as dpkt sees it; both checksums have to be right."""
    header = dpkt.ip.IP(data)
    assert dpkt.in_cksum(data[:20]) == 0
    assert dpkt.in_cksum(data[20:]) == 0
    return header


# echo


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.binary(max_size=100))
def test_an_echo_is_answered_with_the_same_data(ident, sequence, payload):
    host = Host()
    (reply,) = host.receive(ip(PEER, US, echo(ident, sequence, payload), tos=0x20))
    answer = read(reply)
    assert (answer.src, answer.dst, answer.tos, answer.df) == (US, PEER, 0x20, 0)
    assert reply[20:] == echo(ident, sequence, payload, kind=0)


def test_the_largest_echo_is_answered_in_fragments():
    host, peer = Host(), Host("10.0.0.9/24")
    replies = []
    peer.icmp.on_echo_reply = lambda *reply: replies.append(reply)
    payload = bytes(range(256)) * 255 + bytes(227)
    assert len(payload) == 65507
    peer.icmp.send_echo(peer.path("10.0.0.1"), 5, 6, payload)
    answers = [answer for request in peer.sent() for answer in host.receive(request)]
    assert len(answers) == 45
    for answer in answers:
        peer.receive(answer)
    ((packet, ident, sequence, returned),) = replies
    assert (packet.src, ident, sequence, returned == payload) == (US, 5, 6, True)
    with fails(errno.EMSGSIZE):
        peer.icmp.send_echo(peer.path("10.0.0.1"), 5, 6, payload + b"x")


@pytest.mark.parametrize("group", ["10.0.0.255", "255.255.255.255", "224.0.0.1"])
def test_an_echo_to_many_is_not_answered(host, group):
    assert host.receive(ip(PEER, A(group), echo(1, 1))) == []
    assert host.counters == {"icmp.to_group": 1}


def test_a_reply_without_a_route_or_room_is_dropped_and_counted(host):
    assert host.receive(ip(A("8.8.8.8"), US, echo(1, 1))) == []
    host.eth0.link.room = 0
    assert host.receive(ip(PEER, US, echo(1, 1))) == []
    assert host.counters["icmp.reply_dropped"] == 2


def test_a_reply_waits_for_an_unknown_neighbour(host):
    host.eth0.link.unresolved.add(PEER)
    assert host.receive(ip(PEER, US, echo(1, 1))) == []
    assert [entry[0] for entry in host.eth0.link.waiting] == [PEER]


@pytest.mark.parametrize("damage", [slice(20, 21), slice(22, 24), slice(26, 28)])
def test_a_bad_checksum_is_dropped(host, damage):
    data = bytearray(ip(PEER, US, echo(1, 1)))
    data[damage] = bytes(byte ^ 0x5A for byte in data[damage])
    assert host.receive(data) == []
    assert host.counters == {"icmp.malformed": 1}
    assert (
        len(host.receive(ip(PEER, US, echo(1, 1)[:-1] + b"\x77"), checksum_valid=True)) == 1
    )  # the device knows


@given(st.binary(max_size=60))
def test_garbage_is_counted_and_raises_nothing(data):
    host = Host()
    host.receive(ip(PEER, US, data), checksum_valid=True)
    assert sum(host.counters.values()) + bool(data[:1] == b"\0" and len(data) >= 8) >= 1


def test_a_reply_nobody_waits_for_is_ignored(host):
    assert host.receive(ip(PEER, US, echo(1, 1, kind=0))) == []


# errors we send


def test_an_error_quotes_the_packet_and_comes_from_its_destination(host):
    host.attach("eth1", "10.1.0.1/24")
    data = ip(PEER, A("10.1.0.1"), bytes(range(200)), EXPERIMENT)
    (reply,) = host.receive(data)
    answer = read(reply)
    assert (answer.src, answer.dst, answer.tos) == (A("10.1.0.1"), PEER, 0xC0)
    assert (answer.data.type, answer.data.code) == (3, 2)
    assert reply[24:28] == bytes(4)
    assert reply[28:] == data


def test_an_error_has_at_most_576_bytes(host):
    data = ip(PEER, US, bytes(1400), EXPERIMENT)
    (reply,) = host.receive(data)
    assert len(reply) == 576
    assert reply[28:] == data[:548]


@pytest.mark.parametrize("kind", list(Unreachable))
def test_every_kind_can_be_sent(host, kind):
    taker = host.register(EXPERIMENT)
    host.receive(ip(PEER, US, bytes(8), EXPERIMENT))
    host.ipv4.send_error(taker.packets[0], kind)
    answer = read(host.sent()[0])
    assert (answer.data.type, answer.data.code) == ICMP_MESSAGE[kind]


def test_the_second_word_holds_the_mtu_or_the_pointer(host):
    taker = host.register(EXPERIMENT)
    host.receive(ip(PEER, US, bytes(8), EXPERIMENT))
    host.ipv4.send_error(taker.packets[0], Unreachable.TOO_BIG, mtu=1400)
    host.ipv4.send_error(taker.packets[0], Unreachable.PARAMETER, pointer=9)
    assert [reply[24:28].hex() for reply in host.sent()] == ["00000578", "09000000"]


def test_no_error_about_what_must_not_be_answered(host):
    """RFC 1122 3.2.2."""
    taker = host.register(EXPERIMENT)

    def answers(data, interface=None):
        host.receive(data, interface)
        host.ipv4.send_error(taker.packets.pop(), Unreachable.PORT)
        return len(host.sent(interface))

    assert answers(ip(PEER, US, bytes(8), EXPERIMENT)) == 1
    assert answers(ip(PEER, A("10.0.0.255"), bytes(8), EXPERIMENT)) == 0
    assert answers(ip(PEER, A("255.255.255.255"), bytes(8), EXPERIMENT)) == 0
    assert answers(ip(PEER, A("224.0.0.1"), bytes(8), EXPERIMENT)) == 0
    assert answers(ip(bytes(4), A("255.255.255.255"), bytes(8), EXPERIMENT)) == 0
    assert answers(ip(A("127.0.0.1"), A("127.0.0.1"), bytes(8), EXPERIMENT), host.lo) == 1
    assert host.counters["icmp.error_suppressed"] == 4


@pytest.mark.parametrize(
    ("kind", "answered"), [(3, 0), (4, 0), (5, 0), (11, 0), (12, 0), (40, 0), (8, 1), (13, 1)]
)
def test_no_error_about_an_error(host, kind, answered):
    taker = host.register(ICMP)  # in place of ours
    host.receive(ip(PEER, US, icmp(kind, 0, bytes(8))))
    host.ipv4.send_error(taker.packets[0], Unreachable.PORT)
    assert len(host.sent()) == answered


@pytest.mark.parametrize("source", ["0.0.0.0", "224.0.0.1", "255.255.255.255", "10.0.0.255", "127.0.0.1"])
def test_no_error_to_what_is_no_single_host(host, source):
    taker = host.register(EXPERIMENT)
    host.receive(ip(PEER, US, bytes(8), EXPERIMENT))
    taker.packets[0].src = A(source)
    host.ipv4.send_error(taker.packets[0], Unreachable.PORT)
    assert host.sent() == host.sent(host.lo) == []
    assert host.counters == {"icmp.error_suppressed": 1}


def test_no_error_about_a_later_fragment(host):
    taker = host.register(EXPERIMENT)
    host.receive(ip(PEER, US, bytes(8), EXPERIMENT))
    taker.packets[0].fragment_offset = 8
    host.ipv4.send_error(taker.packets[0], Unreachable.PORT)
    assert host.sent() == []


def test_errors_are_rate_limited_and_echoes_are_not():
    host = Host(errors_per_second=10.0)
    data = ip(PEER, US, bytes(8), EXPERIMENT)
    burst = sum(len(host.receive(data)) for _ in range(500))
    assert 30 <= burst <= 80
    assert host.counters["icmp.error_rate_limited"] == 500 - burst
    assert len(host.receive(ip(PEER, US, echo(1, 1)))) == 1
    host.loop.advance(1.0)
    later = sum(len(host.receive(data)) for _ in range(500))
    assert 5 <= later <= 20


# errors we receive


def sent_datagram(host, size=100, protocol=UDP):
    host.ipv4.send(host.path("10.0.0.9"), protocol, [b"\0\x01\0\x02" + bytes(size - 4)])
    return host.sent()[0]


# the errno Linux gives, and whether it is hard
LINUX = {
    (3, 0): (errno.ENETUNREACH, False),
    (3, 1): (errno.EHOSTUNREACH, False),
    (3, 2): (errno.ENOPROTOOPT, True),
    (3, 3): (errno.ECONNREFUSED, True),
    (3, 5): (errno.EOPNOTSUPP, False),
    (3, 6): (errno.ENETUNREACH, True),
    (3, 7): (errno.EHOSTDOWN, True),
    (3, 9): (errno.ENETUNREACH, True),
    (3, 10): (errno.EHOSTUNREACH, True),
    (3, 13): (errno.EHOSTUNREACH, True),
    (11, 0): (errno.EHOSTUNREACH, False),
    (11, 1): (errno.EHOSTUNREACH, False),
    (12, 0): (errno.EPROTO, True),
}


@pytest.mark.parametrize("message", LINUX)
def test_an_error_reaches_the_protocol_that_sent_the_packet(host, message):
    sender, other = host.register(UDP), host.register(TCP)
    quoted = sent_datagram(host)
    assert host.receive(error(*message, quoted[:28])) == []
    (told,) = sender.errors
    assert (told.errno, told.hard) == LINUX[message]
    assert (told.type, told.code, told.reporter, told.interface) == (*message, ROUTER, host.eth0)
    assert (told.quoted.src, told.quoted.dst, told.quoted.protocol) == (US, PEER, UDP)
    assert bytes(told.quoted.payload) == b"\0\x01\0\x02\0\0\0\0"
    assert other.errors == []


def test_an_error_may_quote_a_header_with_options_or_a_changed_ttl(host):
    sender = host.register(UDP)
    quoted = bytearray(sent_datagram(host))
    quoted[8] = 1  # and no new checksum
    quoted[0] = 0x46
    quoted[20:20] = b"\x01\x01\x01\x00"
    host.receive(error(11, 0, bytes(quoted)))
    assert bytes(sender.errors[0].quoted.payload[:4]) == b"\0\x01\0\x02"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda quoted: quoted[:27],
        lambda quoted: b"\x65" + quoted[1:],
        lambda quoted: b"\x44" + quoted[1:],
        lambda quoted: b"\x4f" + quoted[1:60],
        lambda quoted: quoted[:6] + b"\x00\x01" + quoted[8:],  # a later fragment has no ports
        lambda quoted: quoted[:12] + PEER + quoted[16:],  # not from us
        lambda quoted: b"",
    ],
)
def test_what_we_can_not_have_sent_is_not_believed(host, spoil):
    sender = host.register(UDP)
    host.receive(error(3, 3, spoil(sent_datagram(host))))
    assert sender.errors == []
    assert host.counters == {"icmp.error_not_ours": 1}


def test_an_error_to_a_broadcast_is_ignored(host):
    sender = host.register(UDP)
    data = icmp(3, 3, bytes(4) + sent_datagram(host))
    host.receive(ip(ROUTER, A("10.0.0.255"), data))
    assert sender.errors == []


def test_an_error_for_a_protocol_we_do_not_have(host):
    quoted = sent_datagram(host, protocol=EXPERIMENT)
    host.receive(error(3, 2, quoted))
    assert host.counters == {"ipv4.error_unknown_protocol": 1}


@pytest.mark.parametrize(("kind", "code"), [(4, 0), (5, 1), (3, 99), (15, 0)])
def test_other_messages_are_ignored(host, kind, code):
    sender = host.register(UDP)
    host.receive(error(kind, code, sent_datagram(host)))
    assert sender.errors == []
    assert host.counters == {"icmp.ignored": 1}


# path MTU


def test_fragmentation_needed_lowers_the_path_mtu_for_ten_minutes(host):
    sender = host.register(UDP)
    before = host.path("10.0.0.9")
    host.receive(error(3, 4, sent_datagram(host, 1400)[:28], rest=1300))
    (told,) = sender.errors
    assert (told.kind, told.errno, told.mtu) == (Unreachable.TOO_BIG, errno.EMSGSIZE, 1300)
    assert before.generation != host.routes.generation
    assert (host.path("10.0.0.9").mtu, host.path("10.0.0.8").mtu) == (1300, 1500)
    host.loop.advance(599.0)
    assert host.path("10.0.0.9").mtu == 1300
    host.loop.advance(1.0)
    assert host.path("10.0.0.9").mtu == 1500
    assert host.loop.pending == []


def test_a_router_that_does_not_say_its_mtu(host):
    host.register(UDP)
    host.receive(error(3, 4, sent_datagram(host, 1400)[:28], rest=0))
    assert host.path("10.0.0.9").mtu == 1006


def test_no_path_mtu_below_552_but_packets_that_may_be_cut(host):
    sender = host.register(UDP)
    host.receive(error(3, 4, sent_datagram(host, 1400)[:28], rest=100))
    assert sender.errors[0].mtu == 552
    assert (host.path("10.0.0.9").mtu, host.path("10.0.0.9").fragile) == (552, True)


@pytest.mark.parametrize("mtu", [1420, 1500, 65535, 67, 1])
def test_an_implausible_mtu_is_not_believed(host, mtu):
    """The packet quoted has 1,420 bytes: what says that it takes as much can not have refused it."""
    sender = host.register(UDP)
    host.receive(error(3, 4, sent_datagram(host, 1400)[:28], rest=mtu))
    assert sender.errors == []
    assert host.path("10.0.0.9").mtu == 1500
    assert host.counters == {"icmp.implausible_mtu": 1}


def test_what_no_endpoint_sent_does_not_change_the_path_mtu(host):
    sender = host.register(UDP)
    sender.believes = False
    host.receive(error(3, 4, sent_datagram(host, 1400)[:28], rest=1300))
    assert len(sender.errors) == 1
    assert host.path("10.0.0.9").mtu == 1500
    assert host.loop.pending == []


def test_a_larger_mtu_for_an_older_packet_does_not_raise_it_again(host):
    host.register(UDP)
    quoted = sent_datagram(host, 1400)[:28]
    host.receive(error(3, 4, quoted, rest=1200))
    host.receive(error(3, 4, quoted, rest=1300))
    assert host.path("10.0.0.9").mtu == 1200


def test_path_mtus_are_bounded(host):
    host.register(UDP)
    quoted = sent_datagram(host, 1400)[:28]
    for number in range(2000):
        host.receive(
            error(3, 4, quoted[:16] + (0x0B000000 + number).to_bytes(4, "big") + quoted[20:], rest=1300)
        )
    assert len(host.routes.pmtu) == 1024


# our own echoes


def test_an_error_about_our_echo_reaches_ping(host):
    told = []
    host.icmp.on_echo_error = lambda *args: told.append(args) or True
    host.icmp.send_echo(host.path("10.0.0.9"), 5, 6, b"ping", ttl=1)
    (request,) = host.sent()
    assert read(request).ttl == 1
    host.receive(error(11, 0, request))
    ((failure, ident, sequence),) = told
    assert (failure.kind, failure.reporter, ident, sequence) == (Unreachable.TIME_EXCEEDED, ROUTER, 5, 6)


def test_an_error_about_an_answer_of_ours_concerns_nobody(host):
    host.icmp.on_echo_error = lambda *args: pytest.fail("not an echo request")
    (reply,) = host.receive(ip(PEER, US, echo(1, 1)))
    host.receive(error(3, 1, reply))
    assert host.counters["ipv4.error_unknown_endpoint"] == 1


def test_an_unreachable_neighbour_fails_the_echo(host):
    told = []
    host.icmp.on_echo_error = lambda *args: told.append(args) or True
    host.icmp.send_echo(host.path("10.0.0.9"), 5, 6, b"")
    host.ipv4.report_unsent(memoryview(host.sent()[0]), host.eth0)
    assert (told[0][0].errno, told[0][1:]) == (errno.EHOSTUNREACH, (5, 6))


def test_an_echo_to_ourselves_comes_back_over_loopback(host):
    replies = []
    host.icmp.on_echo_reply = lambda *reply: replies.append(reply)
    host.icmp.send_echo(host.path("10.0.0.1"), 5, 6, b"me")
    (request,) = host.sent(host.lo)
    host.receive(request, host.lo)
    (reply,) = host.sent(host.lo)
    host.receive(reply, host.lo)
    assert replies[0][1:] == (5, 6, b"me")
    assert host.sent() == []
