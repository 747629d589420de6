"""What a host says to whoever sends it extension headers that it can make nothing of (RFC 8200 4, RFC 4443 3.4)."""

import pytest

from asyncstack.network.addresses import parse_address as A
from asyncstack.wire import icmpv6, ipv6
from tests.network.host import Host

US, PEER, EXPERIMENT = A("fd00::1"), A("fd00::9"), 253
HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
PAD = bytes.fromhex("0104 00000000")
BAD_HOP = bytes.fromhex("8004 00000000")


def packet(*headers, src=PEER, dst=US, payload=b"transpor", protocol=EXPERIMENT, length=None):
    """A packet with `headers`: pairs of a number and what follows the two bytes that every header begins with."""
    numbers = [number for number, _ in headers] + [protocol]
    body = b"".join(bytes([numbers[at + 1], len(rest) // 8]) + rest for at, (_, rest) in enumerate(headers))
    size = len(body) + len(payload) if length is None else length
    return ipv6.build(src, dst, numbers[0], size) + body + payload


def problem(replies):
    """(code, pointer, quoted packet) of the one Parameter Problem among `replies`."""
    (reply,) = replies
    answer = ipv6.parse(memoryview(reply))
    message = icmpv6.parse(answer.payload, US, PEER)
    assert (answer.src, answer.dst, answer.protocol, message.type) == (US, PEER, 58, 4)
    return message.code, message.pointer, bytes(message.body)


def option(kind):
    return bytes([kind, 4]) + bytes(4)


TOLD = {
    "option 10": ([(DESTINATION, option(0x9E))], 2, 42),
    "option 11": ([(DESTINATION, option(0xDE))], 2, 42),
    "option 10 of every hop": ([(HOP, option(0x9E))], 2, 42),
    "the second option": ([(DESTINATION, bytes.fromhex("1e04 00000000 9e00 0104 00000000"))], 2, 48),
    "behind padding": ([(DESTINATION, bytes.fromhex("00 0101 00 8e00"))], 2, 46),
    "in the second header": ([(HOP, PAD), (DESTINATION, option(0x9E))], 2, 50),
    "behind a routing header": ([(ROUTING, bytes.fromhex("0000 00000000")), (DESTINATION, option(0x9E))], 2, 50),
    "behind an atomic fragment": ([(FRAGMENT, bytes(6)), (DESTINATION, option(0x9E))], 2, 50),
    "a jumbo payload": ([(HOP, bytes.fromhex("c204 00010000"))], 2, 42),
    "routing type 0": ([(ROUTING, bytes.fromhex("0001 00000000") + bytes(16))], 0, 42),
    "routing type 2": ([(ROUTING, bytes.fromhex("0201 00000000") + bytes(16))], 0, 42),
    "routing type 4": ([(DESTINATION, PAD), (ROUTING, bytes.fromhex("0401 00000000") + bytes(16))], 0, 50),
    "options of every hop, later": ([(DESTINATION, PAD), (HOP, PAD)], 1, 40),
    "options of every hop, twice": ([(HOP, PAD), (HOP, PAD)], 1, 40),
    "options of every hop, behind two": ([(DESTINATION, PAD), (DESTINATION, PAD), (HOP, PAD)], 1, 48),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_its_sender_is_told_where(host, name):
    headers, code, pointer = TOLD[name]
    data = packet(*headers)
    assert problem(host.receive(data)) == (code, pointer, data)
    assert host.counters["ipv6.malformed"] == 1


def test_a_jumbogram(host):
    """RFC 2675 3: no payload length; to a host that does not know the option it is one more of those."""
    data = packet((HOP, bytes.fromhex("c204 00010000")), length=0)
    assert problem(host.receive(data)) == (2, 42, data)
    data = packet((HOP, PAD), length=0)
    assert problem(host.receive(data)) == (0, 4, data)


@pytest.mark.parametrize(
    ("kind", "told"), [(0x1E, None), (0x5E, 0), (0x9E, 1), (0xDE, 0)], ids=["00", "01", "10", "11"]
)
def test_options_to_a_group(host, kind, told):
    taker = host.register(EXPERIMENT, host.ipv6)
    replies = host.receive(packet((DESTINATION, option(kind)), dst=A("ff02::1")))
    assert len(replies) == bool(told)
    assert len(taker.packets) == (told is None)
    if told:
        assert problem(replies)[:2] == (2, 42)


SILENT = {
    "option 01": [(DESTINATION, option(0x5E))],
    "nine options": [(DESTINATION, bytes.fromhex("1e00") * 9 + bytes.fromhex("01020000"))],
    "nine headers": [(DESTINATION, PAD)] * 9,
    "a cut header": [(DESTINATION, bytes.fromhex("1e09 00000000"))],
}


@pytest.mark.parametrize("name", SILENT)
def test_what_is_dropped_without_a_word(host, name):
    assert host.receive(packet(*SILENT[name])) == []
    assert host.counters == {"ipv6.malformed": 1}


def test_nothing_is_said_of_what_is_for_others(host):
    assert host.receive(packet((DESTINATION, option(0x9E)), dst=A("fd00::7"))) == []
    assert host.receive(packet((DESTINATION, option(0x9E)), dst=A("ff02::77"))) == []


def test_nothing_is_said_of_errors(host):
    """RFC 4443 2.4 (e.1), wherever in the packet the error is."""
    headers = [(DESTINATION, option(0x9E)), (DESTINATION, PAD), (FRAGMENT, bytes(6))]
    for kind, told in {1: 0, 4: 0, 137: 0, 128: 1}.items():
        replies = host.receive(packet(*headers, payload=bytes([kind]) + bytes(7), protocol=58))
        assert len(replies) == told, kind


def test_errors_about_headers_are_rate_limited():
    host = Host(errors_per_second=10.0)
    data = packet((DESTINATION, option(0x9E)))
    assert sum(len(host.receive(data)) for _ in range(500)) <= 80


def test_headers_within_fragments_are_told_of_once_all_is_there(host):
    whole = packet((DESTINATION, option(0x9E)), payload=bytes(24))[40:]
    first = packet((FRAGMENT, bytes.fromhex("0001 00000007")), payload=whole[:16], protocol=DESTINATION)
    last = packet((FRAGMENT, bytes.fromhex("0010 00000007")), payload=whole[16:], protocol=DESTINATION)
    assert host.receive(first) == []
    code, pointer, quoted = problem(host.receive(last))
    assert (code, pointer) == (2, 42)
    assert quoted == ipv6.build(PEER, US, DESTINATION, len(whole)) + whole


def test_options_of_every_hop_within_fragments(host):
    """They come right behind the fixed header (RFC 8200 4.1), and taking the fragment header out puts them there."""
    inner = bytes([EXPERIMENT, 0]) + PAD + bytes(16)
    first = packet((FRAGMENT, bytes.fromhex("0001 00000007")), payload=inner[:16], protocol=HOP)
    last = packet((FRAGMENT, bytes.fromhex("0010 00000007")), payload=inner[16:], protocol=HOP)
    assert problem(host.receive(first) + host.receive(last)) == (1, 40, first)
    assert host.counters["ipv6.malformed"] == 1


def test_a_first_fragment_without_all_headers(host):
    """RFC 7112 5, RFC 8200 4.5."""
    head = bytes([EXPERIMENT, 1]) + PAD  # 16 bytes, of which 8 are here
    data = packet((FRAGMENT, bytes.fromhex("0001 00000007")), payload=head, protocol=DESTINATION)
    assert problem(host.receive(data)) == (3, 0, data)


def test_a_fragment_beyond_the_largest_packet(host):
    """RFC 8200 4.5: pointing at the offset."""
    fragment = (FRAGMENT, bytes.fromhex("fff9 00000007"))
    data = packet((DESTINATION, PAD), fragment, payload=bytes(16))
    assert problem(host.receive(data)) == (0, 50, data)
