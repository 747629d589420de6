"""What a host does with header options: as receiver, in answers, and as sender."""

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.network.addresses import parse_address as A
from asyncstack.wire import ipv4, ipv4_options
from tests.network.host import Host
from tests.network.test_icmp import EXPERIMENT, ICMP, PEER, US, echo, icmp

NOON = 43_200_000
ROUTE = bytes.fromhex("07 0f 04 000000000000000000000000 00")


def packet(options, data=b"", protocol=ICMP, dst=US, **fields):
    return ipv4.build(PEER, dst, protocol, len(data), options=options, **fields) + data


@pytest.fixture
def host():
    host = Host()
    host.loop.now = 86_400 * 100 + NOON / 1000
    return host


def answer(host, options, data=None, **fields):
    """The header options and the ICMP message that come back."""
    (reply,) = host.receive(packet(options, echo(1, 2, b"x") if data is None else data, **fields))
    read = dpkt.ip.IP(reply)
    assert dpkt.in_cksum(reply[: read.hl * 4]) == 0
    assert (read.src, read.dst) == (US, PEER)
    return read.opts, read.data


def test_a_recorded_route_returns_with_the_echo(host):
    options, reply = answer(host, ROUTE)
    # once on arrival, once on departure, as Linux
    assert options == bytes.fromhex("07 0f 0c 0a000001 0a000001 00000000 00")
    assert bytes(reply) == echo(1, 2, b"x", kind=0)


def test_timestamps_return_with_the_echo(host):
    options, _ = answer(host, bytes.fromhex("44 14 05 01 00000000000000000000000000000000"))
    assert options == bytes.fromhex("44 14 15 01 0a00000102932e00 0a00000102932e00")


def test_other_options_do_not_return(host):
    options, _ = answer(host, ipv4_options.ROUTER_ALERT + b"\x82\x03\x00\x00")
    assert options == b""


def test_a_large_echo_returns_its_route_in_the_first_fragment(host):
    replies = host.receive(packet(ROUTE, echo(1, 2, bytes(1440))))
    assert len(replies) == 1
    large = echo(1, 2, bytes(3000))
    pieces = [large[:1464], large[1464:2928], large[2928:]]
    replies = []
    for number, piece in enumerate(pieces):
        offset = 1464 * number
        fields = {"fragment_offset": offset, "more_fragments": number < 2, "ident": 9, "dont_fragment": False}
        replies += host.receive(packet(b"" if number else ROUTE, piece, **fields))
    first, *others = map(dpkt.ip.IP, replies)
    assert first.opts == bytes.fromhex("07 0f 0c 0a000001 0a000001 00000000 00")
    assert [bool(other.opts) for other in others] == [False] * len(others) and others
    assert all(len(reply) <= 1500 for reply in replies)
    peer = Host("10.0.0.9/24")
    recorder = peer.register(ICMP)
    for reply in replies:
        peer.receive(reply)
    assert [bytes(got.payload) for got in recorder.packets] == [echo(1, 2, bytes(3000), kind=0)]


def test_a_list_with_room_for_one_entry_and_a_half(host):
    assert answer(host, bytes.fromhex("07 08 04 0000000000"))[0] == b""


def test_a_malformed_option_is_a_parameter_problem(host):
    bad = packet(b"\x01\x07\x00\x00", echo(1, 2))
    (reply,) = host.receive(bad)
    error = dpkt.ip.IP(reply).data
    assert (error.type, error.code, reply[24]) == (12, 0, 21)
    assert reply[28:] == bad
    assert host.counters["ipv4.bad_option"] == 1


def test_an_overflow_counter_that_becomes_full_is_still_answered(host):
    full = bytes.fromhex("44 08 09 e0 00000007")
    assert answer(host, full)[0] == bytes.fromhex("44 08 09 f0 00000007")


@pytest.mark.parametrize(("route", "told"), [("83 07 04 0a000009 00", True), ("89 07 08 0a000009 00", False)])
def test_a_source_route_is_refused(host, route, told):
    udp = host.register(EXPERIMENT)
    replies = host.receive(packet(bytes.fromhex(route), b"data", EXPERIMENT))
    assert not udp.packets
    assert host.counters["ipv4.source_routed"] == 1
    if told:
        assert (replies[0][20], replies[0][21]) == (3, 5)
    else:
        assert not replies


def test_a_source_route_through_us_to_another_host_is_not_even_looked_at(host):
    assert host.receive(packet(bytes.fromhex("83 07 04 0a000009 00"), b"", dst=A("10.0.0.77"))) == []
    assert host.counters == {"ipv4.not_ours": 1}


def test_a_transport_gets_the_payload_and_the_filled_options(host):
    recorder = host.register(EXPERIMENT)
    host.receive(packet(ROUTE, b"data", EXPERIMENT))
    (got,) = recorder.packets
    assert (bytes(got.payload), got.options[:7]) == (b"data", bytes.fromhex("07 0f 08 0a000001"))


def test_a_broadcast_records_the_address_that_would_answer(host):
    recorder = host.register(EXPERIMENT)
    host.receive(packet(ROUTE, b"", EXPERIMENT, dst=A("10.0.0.255")))
    assert recorder.packets[0].options[3:7] == US


@given(st.binary(max_size=10).map(lambda options: options * 4))
def test_arbitrary_options_raise_nothing(options):
    host = Host()
    for data in (echo(1, 2), icmp(13, 0, bytes(16))):
        for reply in host.receive(packet(options, data)):
            ipv4_options.parse(bytes(dpkt.ip.IP(reply).opts))
    assert host.counters["interface.receive_error"] == 0


# sending


def test_a_router_alert_is_sent(host):
    path = host.path("10.0.0.9")
    assert host.ipv4.send_with_options(path, 2, b"IGMPdata", ipv4_options.ROUTER_ALERT, ttl=1, tos=0xC0)
    (sent,) = host.sent()
    read = dpkt.ip.IP(sent)
    assert (read.hl, read.opts, read.ttl, read.tos, read.p, read.len) == (6, b"\x94\x04\0\0", 1, 0xC0, 2, 32)
    assert dpkt.in_cksum(sent[:24]) == 0


@pytest.mark.parametrize("size", [1476, 1477, 3000, 65511])
def test_a_large_message_with_options_is_cut(host, size):
    peer = Host("10.0.0.9/24")
    recorder = peer.register(EXPERIMENT)
    message = bytes(range(256)) * 256
    host.ipv4.send_with_options(host.path("10.0.0.9"), EXPERIMENT, message[:size], ipv4_options.ROUTER_ALERT)
    sent = host.sent()
    assert all(len(data) <= 1500 and data[20:24] == ipv4_options.ROUTER_ALERT for data in sent)
    for data in sent:
        peer.receive(data)
    assert [bytes(got.payload) for got in recorder.packets] == [message[:size]]


# ICMP timestamps


def test_a_timestamp_request_is_answered(host):
    _, reply = answer(host, b"", icmp(13, 0, b"\0\7\0\1" + b"\0\0\0\5" + bytes(8)))
    time = NOON.to_bytes(4, "big")
    assert bytes(reply) == icmp(14, 0, b"\0\7\0\1" + b"\0\0\0\5" + time + time)
    assert host.receive(packet(b"", icmp(13, 0, bytes(12)))) == []
    assert host.counters["icmp.malformed"] == 1
    assert host.receive(packet(b"", icmp(13, 0, bytes(16)), dst=A("10.0.0.255"))) == []
