"""Dialogues: what arrives, what goes out. Messages of the other side are built and ours are read by dpkt."""

import errno

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.network.addresses import parse_address
from asyncstack.network.errors import ICMPV6_MESSAGE, Unreachable
from tests.network.host import Host, fails

A = parse_address
ICMPV6, UDP, TCP, EXPERIMENT = 58, 17, 6, 253
US, PEER, ROUTER = A("fd00::1"), A("fd00::9"), A("fd00::ff")


def ip(src, dst, data, protocol=ICMPV6, **fields):
    header = dpkt.ip6.IP6(src=src, dst=dst, nxt=protocol, plen=len(data), **{"hlim": 64, **fields})
    header.data = data
    return bytes(header)


def pseudo(src, dst, size):
    return src + dst + size.to_bytes(4, "big") + bytes((0, 0, 0, ICMPV6))


def icmp(src, dst, kind, code, rest=0, body=b""):
    """A packet with a message, its checksum by dpkt."""
    message = bytes((kind, code, 0, 0)) + rest.to_bytes(4, "big") + body
    checksum = dpkt.in_cksum(pseudo(src, dst, len(message)) + message)
    return ip(src, dst, message[:2] + checksum.to_bytes(2, "big") + message[4:])


def echo(ident, sequence, payload=b"", kind=128, src=PEER, dst=US):
    return icmp(src, dst, kind, 0, ident << 16 | sequence, payload)


def error(kind, code, quoted, rest=0, src=ROUTER):
    return icmp(src, US, kind, code, rest, quoted)


def read(data):
    """The header as dpkt sees it; the checksum has to be right."""
    header = dpkt.ip6.IP6(data)
    assert dpkt.in_cksum(pseudo(header.src, header.dst, len(data) - 40) + data[40:]) == 0
    return header


# echo


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.binary(max_size=100))
def test_an_echo_is_answered_with_the_same_data(ident, sequence, payload):
    host = Host()
    (reply,) = host.receive(echo(ident, sequence, payload))
    assert reply == echo(ident, sequence, payload, kind=129, src=US, dst=PEER)


def test_a_large_echo_is_answered_in_fragments():
    host, peer = Host(), Host("fd00::9/64")
    replies = []
    peer.icmpv6.on_echo_reply = lambda *reply: replies.append(reply)
    payload = bytes(range(256)) * 255 + bytes(247)
    assert len(payload) == 65527
    peer.icmpv6.send_echo(peer.path("fd00::1"), 5, 6, payload)
    answers = [answer for request in peer.sent() for answer in host.receive(request)]
    assert len(answers) == 46
    for answer in answers:
        peer.receive(answer)
    ((packet, ident, sequence, returned),) = replies
    assert (packet.src, ident, sequence, returned == payload) == (US, 5, 6, True)
    with fails(errno.EMSGSIZE):
        peer.icmpv6.send_echo(peer.path("fd00::1"), 5, 6, payload + b"x")


@pytest.mark.parametrize(("asks", "answers"), [("fd00::9", "fd00::1"), ("fe80::9", "fe80::1")])
def test_an_echo_to_a_group_is_answered_from_an_address_of_its_link(host, asks, answers):
    """RFC 4443 4.2; `ping ff02::1%eth0` is how people look who is there."""
    eth1 = host.attach("eth1", "fd00:0:0:1::1/64", "fe80::2/64")
    (reply,) = host.receive(echo(1, 1, b"who", src=A(asks), dst=A("ff02::1")))
    read_reply = read(reply)
    assert (read_reply.src, read_reply.dst, reply[40], reply[48:]) == (A(answers), A(asks), 129, b"who")
    assert host.receive(echo(1, 1, src=A(asks), dst=A("ff02::1")), eth1) == []
    assert [read(data).src for data in host.sent(eth1)] == ([A("fe80::2")] if asks == "fe80::9" else [])


def test_an_echo_from_nowhere_is_not_answered(host):
    assert host.receive(echo(1, 1, src=bytes(16))) == []
    assert host.counters == {"icmpv6.no_source": 1}


def test_a_link_local_sender_is_answered_on_its_link(host):
    eth1 = host.attach("eth1", "fe80::2/64")
    host.receive(echo(1, 1, src=A("fe80::9"), dst=A("fe80::2")), eth1)
    assert len(host.sent(eth1)) == 1
    assert len(host.receive(echo(1, 1, src=A("fe80::9"), dst=A("fe80::1")))) == 1


def test_a_reply_without_a_route_or_room_is_dropped_and_counted(host):
    assert host.receive(echo(1, 1, src=A("2001:db8::1"))) == []
    host.eth0.link.room = 0
    assert host.receive(echo(1, 1)) == []
    assert host.counters["icmpv6.reply_dropped"] == 2


def test_a_bad_checksum_is_dropped(host):
    data = bytearray(echo(1, 1))
    data[42] ^= 1
    assert host.receive(data) == []
    assert host.counters == {"icmpv6.malformed": 1}
    assert len(host.receive(data, checksum_valid=True)) == 1  # the device knows better


@given(st.binary(max_size=80))
def test_garbage_raises_nothing(data):
    host = Host()
    host.receive(ip(PEER, US, data), checksum_valid=True)


# neighbour discovery


class Discovery:
    def __init__(self):
        self.messages = []

    def receive(self, packet, message):
        self.messages.append((packet.src, message.type))


def test_discovery_gets_its_messages(host):
    host.icmpv6.ndp = Discovery()
    for kind in range(130, 140):
        host.receive(icmp(PEER, US, kind, 0, 0, bytes(16)))
    host.receive(icmp(bytes(16), A("ff02::1:ff00:1"), 135, 0, 0, US))
    assert host.icmpv6.ndp.messages == [*((PEER, kind) for kind in range(133, 138)), (bytes(16), 135)]


@pytest.mark.parametrize("before", [b"", bytes((44, 0, 1, 4, 0, 0, 0, 0))], ids=["alone", "behind options"])
def test_discovery_in_an_atomic_fragment_is_ignored(host, before):
    """RFC 6980 5: a fragment header hides it from a switch, also when it cuts nothing."""
    host.icmpv6.ndp = Discovery()
    message = icmp(PEER, US, 136, 0, 0, bytes(16))[40:]
    fragment = before + bytes((ICMPV6, 0, 0, 0, 0, 0, 0, 9))
    host.receive(ip(PEER, US, fragment + message, 60 if before else 44))
    assert host.icmpv6.ndp.messages == []
    assert host.counters == {"ipv6.fragmented_discovery": 1}
    options = before and bytes((ICMPV6,)) + before[1:]
    host.receive(ip(PEER, US, options + message, 60 if before else ICMPV6))
    assert host.icmpv6.ndp.messages == [(PEER, 136)]


def test_without_discovery_its_messages_are_ignored(host):
    assert host.receive(icmp(PEER, US, 135, 0, 0, US)) == []


# errors we send


def test_an_error_fits_the_smallest_mtu(host):
    data = ip(PEER, US, bytes(1400), EXPERIMENT)
    (reply,) = host.receive(data)
    answer = read(reply)
    assert (answer.src, answer.dst, len(reply)) == (US, PEER, 1280)
    assert reply[48:] == data[:1232]


@pytest.mark.parametrize("kind", list(Unreachable))
def test_every_kind_can_be_sent(host, kind):
    taker = host.register(EXPERIMENT, host.ipv6)
    host.receive(ip(PEER, US, bytes(8), EXPERIMENT))
    host.ipv6.send_error(taker.packets[0], kind)
    (reply,) = host.sent()
    read(reply)
    assert tuple(reply[40:42]) == ICMPV6_MESSAGE[kind]


def test_no_error_about_what_must_not_be_answered(host):
    """RFC 4443 2.4 (e)."""
    taker = host.register(EXPERIMENT, host.ipv6)

    def answers(data, kind=Unreachable.PORT, interface=None):
        host.receive(data, interface)
        host.ipv6.send_error(taker.packets.pop(), kind)
        return len(host.sent(interface))

    assert answers(ip(PEER, US, bytes(8), EXPERIMENT)) == 1
    assert answers(ip(PEER, A("ff02::1"), bytes(8), EXPERIMENT)) == 0
    assert answers(ip(PEER, A("ff02::1"), bytes(8), EXPERIMENT), Unreachable.TOO_BIG) == 1
    assert answers(ip(A("::1"), A("::1"), bytes(8), EXPERIMENT), interface=host.lo) == 1
    assert host.counters["icmpv6.error_suppressed"] == 1


@pytest.mark.parametrize(
    ("kind", "answered"), [(1, 0), (4, 0), (100, 0), (127, 0), (137, 0), (128, 1), (200, 1)]
)
def test_no_error_about_an_error(host, kind, answered):
    taker = host.register(ICMPV6, host.ipv6)  # in place of ours
    host.receive(icmp(PEER, US, kind, 0, 0, bytes(8)))
    host.ipv6.send_error(taker.packets[0], Unreachable.PORT)
    assert len(host.sent()) == answered


@pytest.mark.parametrize("source", ["::", "ff02::1", "::1"])
def test_no_error_to_what_is_no_single_host(host, source):
    taker = host.register(EXPERIMENT, host.ipv6)
    host.receive(ip(PEER, US, bytes(8), EXPERIMENT))
    taker.packets[0].src = A(source)
    host.ipv6.send_error(taker.packets[0], Unreachable.PORT)
    assert host.sent() == host.sent(host.lo) == []
    assert host.counters == {"icmpv6.error_suppressed": 1}


def test_no_error_about_what_may_be_an_error(host):
    taker = host.register(ICMPV6, host.ipv6)
    host.receive(icmp(PEER, US, 128, 0))
    (packet,) = taker.packets
    packet.fragment_offset = 8  # its first byte is no type
    host.ipv6.send_error(packet, Unreachable.PORT)
    packet.fragment_offset, packet.payload = 0, memoryview(b"")
    host.ipv6.send_error(packet, Unreachable.PORT)
    assert host.sent() == []


def test_errors_are_rate_limited():
    host = Host(errors_per_second=10.0)
    data = ip(PEER, US, bytes(8), EXPERIMENT)
    burst = sum(len(host.receive(data)) for _ in range(500))
    assert 30 <= burst <= 80
    assert host.counters["icmpv6.error_rate_limited"] == 500 - burst


# errors we receive


def sent_datagram(host, size=100, protocol=UDP):
    host.ipv6.send(host.path("fd00::9"), protocol, [b"\0\x01\0\x02" + bytes(size - 4)], dont_fragment=False)
    return host.sent()[0]


# the errno Linux gives, and whether it is hard
LINUX = {
    (1, 0): (errno.ENETUNREACH, False),
    (1, 1): (errno.EACCES, True),
    (1, 2): (errno.EHOSTUNREACH, False),
    (1, 3): (errno.EHOSTUNREACH, False),
    (1, 4): (errno.ECONNREFUSED, True),
    (1, 5): (errno.EACCES, True),
    (1, 6): (errno.EACCES, True),
    (3, 0): (errno.EHOSTUNREACH, False),
    (3, 1): (errno.EHOSTUNREACH, False),
    (4, 1): (errno.EPROTO, True),
    (1, 99): (errno.EPROTO, True),
    (3, 2): (errno.EHOSTUNREACH, False),
    (4, 99): (errno.EPROTO, True),
    (5, 0): (errno.EPROTO, False),  # of no type that we know: RFC 4443 2.4 (a)
    (127, 3): (errno.EPROTO, False),
}


@pytest.mark.parametrize("message", LINUX)
def test_an_error_reaches_the_protocol_that_sent_the_packet(host, message):
    sender, other = host.register(UDP, host.ipv6), host.register(TCP, host.ipv6)
    assert host.receive(error(*message, sent_datagram(host)[:48])) == []
    (told,) = sender.errors
    assert (told.errno, told.hard) == LINUX[message]
    assert (told.type, told.code, told.reporter, told.interface) == (*message, ROUTER, host.eth0)
    assert (told.quoted.src, told.quoted.dst, told.quoted.protocol) == (US, PEER, UDP)
    assert bytes(told.quoted.payload) == b"\0\x01\0\x02\0\0\0\0"
    assert other.errors == []


def test_an_error_to_a_group_is_ignored(host):
    sender = host.register(UDP, host.ipv6)
    host.receive(icmp(ROUTER, A("ff02::1"), 1, 4, 0, sent_datagram(host)))
    assert sender.errors == []
    assert host.counters == {"icmpv6.to_group": 1}


def test_an_error_about_our_first_fragment(host):
    sender = host.register(UDP, host.ipv6)
    host.receive(error(1, 4, sent_datagram(host, 4000)[:1232]))
    assert sender.errors[0].quoted.more_fragments is True
    assert bytes(sender.errors[0].quoted.payload[:4]) == b"\0\x01\0\x02"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda quoted: quoted[:47],
        lambda quoted: b"\x45" + quoted[1:],
        lambda quoted: quoted[:8] + PEER + quoted[24:],  # not from us
        lambda quoted: quoted[:6] + b"\x2c" + quoted[7:50],  # a fragment header, and nothing behind it
        lambda quoted: quoted[:6] + b"\x2c" + quoted[7:42] + b"\x00\x08" + quoted[44:],  # a later fragment
        lambda quoted: b"",
    ],
)
def test_what_we_can_not_have_sent_is_not_believed(host, spoil):
    sender = host.register(UDP, host.ipv6)
    host.receive(error(1, 4, spoil(sent_datagram(host))))
    assert sender.errors == []
    assert host.counters["icmpv6.error_not_ours"] == 1


@pytest.mark.parametrize(("kind", "code"), [(138, 0), (200, 0)])
def test_other_messages_are_ignored(host, kind, code):
    sender = host.register(UDP, host.ipv6)
    assert host.receive(error(kind, code, sent_datagram(host))) == []
    assert sender.errors == []
    assert host.counters == {"icmpv6.ignored": 1}


# path MTU


def test_packet_too_big_lowers_the_path_mtu_for_ten_minutes(host):
    sender = host.register(UDP, host.ipv6)
    host.receive(error(2, 0, sent_datagram(host, 1400), rest=1300))
    (told,) = sender.errors
    assert (told.kind, told.errno, told.mtu) == (Unreachable.TOO_BIG, errno.EMSGSIZE, 1300)
    assert (host.path("fd00::9").mtu, host.path("fd00::8").mtu) == (1300, 1500)
    host.loop.advance(600.0)
    assert host.path("fd00::9").mtu == 1500
    assert host.loop.pending == []


def test_the_code_of_packet_too_big_says_nothing(host):
    """RFC 4443 3.2: it is ignored by the receiver."""
    host.register(UDP, host.ipv6)
    host.receive(error(2, 7, sent_datagram(host, 1400), rest=1300))
    assert host.path("fd00::9").mtu == 1300


@pytest.mark.parametrize("mtu", [1440, 1500, 1279, 0, 0xFFFFFFFF])
def test_an_implausible_mtu_is_not_believed(host, mtu):
    """RFC 8201 4: below 1,280 it is to be discarded. The packet quoted has 1,440 bytes."""
    sender = host.register(UDP, host.ipv6)
    host.receive(error(2, 0, sent_datagram(host, 1400), rest=mtu))
    assert sender.errors == []
    assert host.path("fd00::9").mtu == 1500
    assert host.counters == {"icmpv6.implausible_mtu": 1}


def test_what_no_endpoint_sent_does_not_change_the_path_mtu(host):
    sender = host.register(UDP, host.ipv6)
    sender.believes = False
    host.receive(error(2, 0, sent_datagram(host, 1400), rest=1300))
    assert len(sender.errors) == 1
    assert host.path("fd00::9").mtu == 1500


# our own echoes


def test_an_error_about_our_echo_reaches_ping(host):
    told = []
    host.icmpv6.on_echo_error = lambda *args: told.append(args) or True
    host.icmpv6.send_echo(host.path("fd00::9"), 5, 6, b"ping", ttl=1)
    (request,) = host.sent()
    assert read(request).hlim == 1
    host.receive(error(3, 0, request))
    ((failure, ident, sequence),) = told
    assert (failure.kind, failure.reporter, ident, sequence) == (Unreachable.TIME_EXCEEDED, ROUTER, 5, 6)


def test_an_error_about_an_answer_of_ours_concerns_nobody(host):
    host.icmpv6.on_echo_error = lambda *args: pytest.fail("not an echo request")
    (reply,) = host.receive(echo(1, 1))
    host.receive(error(1, 3, reply))
    assert host.counters["ipv6.error_unknown_endpoint"] == 1


def test_an_echo_to_ourselves_comes_back_over_loopback(host):
    replies = []
    host.icmpv6.on_echo_reply = lambda *reply: replies.append(reply)
    host.icmpv6.send_echo(host.path("::1"), 5, 6, b"me")
    (request,) = host.sent(host.lo)
    host.receive(request, host.lo)
    (reply,) = host.sent(host.lo)
    host.receive(reply, host.lo)
    assert replies[0][1:] == (5, 6, b"me")


def test_a_reply_that_is_too_large_lowers_the_path_mtu(host):
    """Who has asked gets nothing else: no router cuts what we send."""
    replies = host.receive(icmp(PEER, US, 128, 0, 0x00070001, bytes(1400)))
    report = icmp(A("fd00::ff"), US, 2, 0, 1300, replies[0][:1232])
    host.receive(report)
    assert host.path("fd00::9").mtu == 1300
    first, _ = host.receive(icmp(PEER, US, 128, 0, 0x00070001, bytes(1400)))
    assert len(first) <= 1300
    other = Host()
    other.receive(report)
    assert other.path("fd00::9").mtu == 1500, "it has not sent that"
