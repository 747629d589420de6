"""Segments that strangers make up: what is answered, by what, and how often (RFC 9293 3.10.7, RFC 5961, RFC 1337)."""

import asyncio
import itertools

import pytest

from asyncstack import StackConfig, TcpConfig
from asyncstack.wire.tcp import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG
from tests.transport.wire import OURS, PEER, wire

__all__ = ["wire"]
pytestmark = pytest.mark.virtual_time
MASK = 0xFFFFFFFF

SCANS = {
    "null": 0,
    "FIN": FIN,
    "Christmas tree": FIN | PSH | URG,
    "all flags but ACK and RST": FIN | SYN | PSH | URG | ECE | CWR,
    "SYN-FIN": SYN | FIN,
}


async def establish(wire, port=4000, ports=80):
    wire.send((port, ports), SYN)
    await asyncio.sleep(0.001)
    (answer,) = [one for one in wire.answers() if one.dst_port == port]
    wire.send((port, ports), ACK, 1001, (answer.seq + 1) & MASK)
    await asyncio.sleep(0.001)
    return (answer.seq + 1) & MASK


@pytest.mark.parametrize("flags", SCANS.values(), ids=SCANS)
async def test_rfc9293_3_10_7_2_a_scan_of_a_listening_port_is_dropped(wire, flags):
    """As on Linux, which takes a SYN with a FIN for a scan too."""
    await wire.stack.create_server(wire.accept, OURS, 80)
    wire.send((4000, 80), flags)
    await asyncio.sleep(2)
    assert not wire.answers() and not wire.stack.tcp.connections


@pytest.mark.parametrize("flags", SCANS.values(), ids=SCANS)
async def test_rfc9293_3_10_7_1_a_scan_of_a_closed_port_is_reset(wire, flags):
    wire.send((4000, 81), flags, 1000)
    await asyncio.sleep(0.001)
    (answer,) = wire.answers()
    assert (answer.flags, answer.seq) == (RST | ACK, 0)
    assert answer.ack == 1000 + bool(flags & SYN) + bool(flags & FIN)


@pytest.mark.parametrize("port", [80, 81], ids=("listening", "closed"))
async def test_rfc9293_3_10_7_2_an_ack_of_nothing_is_reset_with_its_own_number(wire, port):
    await wire.stack.create_server(wire.accept, OURS, 80)
    for flags in (ACK, SYN | ACK, FIN | ACK):
        wire.send((4000, port), flags, 1000, 77)
    await asyncio.sleep(0.001)
    assert [(one.flags, one.seq) for one in wire.answers()] == [(RST, 77)] * 3


@pytest.mark.parametrize("port", [80, 81], ids=("listening", "closed"))
async def test_rfc9293_3_10_7_a_reset_is_never_answered(wire, port):
    await wire.stack.create_server(wire.accept, OURS, 80)
    for flags in (RST, RST | ACK, RST | SYN, RST | SYN | FIN | ACK):
        wire.send((4000, port), flags, 1000, 77)
    await asyncio.sleep(0.001)
    assert not wire.answers()


@pytest.mark.parametrize("dst", ["10.0.255.255", "255.255.255.255", "224.0.0.1", "10.1.255.255"])
async def test_rfc9293_3_9_2_3_nothing_is_said_to_broadcasts_and_groups(wire, dst):
    await wire.stack.create_server(wire.accept, "0.0.0.0", 80)
    for port in (80, 81):
        for flags in (SYN, ACK, FIN, 0):
            wire.send((4000, port), flags, dst=dst)
            wire.send((4000, port), flags, src=dst)
    await asyncio.sleep(0.001)
    assert not wire.answers() and not wire.stack.tcp.connections


@pytest.mark.parametrize("wire", [StackConfig(resets_per_second=100)], indirect=True)
async def test_resets_are_limited(wire):
    """A flood at closed ports from made-up addresses does not make us flood those."""
    for burst in range(5):
        for number in range(200):
            wire.send((1024 + number, 81), SYN if number & 1 else ACK)
        await asyncio.sleep(0.5)
        sent = len(wire.answers())
        assert (100 if burst else 160) >= sent >= 20
    assert wire.stack.counters["tcp.reset_rate_limited"] > 500


@pytest.mark.parametrize("wire", [StackConfig(challenge_acks_per_second=10)], indirect=True)
async def test_rfc5961_7_challenges_of_all_connections_together_are_limited(wire):
    await wire.stack.create_server(wire.accept, OURS, 80)
    for port in range(4000, 4100):
        await establish(wire, port)
    await asyncio.sleep(1)
    wire.answers()
    for port in range(4000, 4100):
        wire.send((port, 80), RST, 1100)  # in the window, not exact
    await asyncio.sleep(0.001)
    said = wire.answers()
    assert 5 <= len(said) <= 30
    assert all(one.flags == ACK and one.ack == 1001 for one in said)
    assert len(wire.stack.tcp.connections) == 100


async def test_rfc5961_7_the_number_of_challenges_tells_nothing(wire):
    """CVE-2016-5696: who can count what is left of the limit learns of challenges to others."""
    await wire.stack.create_server(wire.accept, OURS, 80)
    for port in range(4000, 4200):
        await establish(wire, port)
    counts = set()
    wire.stack.tcp._challenges._rate, wire.stack.tcp._challenges._burst = 100, 100
    for _ in range(8):
        await asyncio.sleep(2)
        wire.answers()
        for port in range(4000, 4200):
            wire.send((port, 80), RST, 1100)
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        counts.add(len(wire.answers()))
    assert len(counts) >= 4


async def test_rfc1337_a_reset_does_not_end_time_wait(wire):
    await wire.stack.create_server(wire.accept, OURS, 80)
    nxt = await establish(wire)
    wire.accepted[0].transport.close()
    await asyncio.sleep(0.001)
    wire.send((4000, 80), FIN | ACK, 1001, nxt + 1)
    await asyncio.sleep(0.001)
    wire.answers()
    assert len(wire.stack.tcp._time_wait) == 1
    for seq in (1002, 1001, 1003):
        wire.send((4000, 80), RST, seq)
        wire.send((4000, 80), RST | ACK, seq, nxt + 1)
    wire.send(
        (4000, 80), ACK, 900, nxt, payload=b"old"
    )  # RFC 1337, hazard H1: it is answered, and taken by nobody
    await asyncio.sleep(0.001)
    assert [(one.flags, one.ack) for one in wire.answers()] == [(ACK, 1002)]
    assert len(wire.stack.tcp._time_wait) == 1


@pytest.mark.parametrize("wire", [StackConfig(time_wait_limit=50)], indirect=True)
async def test_rfc6191_time_wait_is_bounded_and_gives_way_to_a_newer_syn(wire):
    await wire.stack.create_server(wire.accept, OURS, 80)
    for port in range(4000, 4100):
        nxt = await establish(wire, port)
        wire.accepted[-1].transport.close()
        await asyncio.sleep(0.001)
        wire.send((port, 80), FIN | ACK, 1001, (nxt + 1) & MASK)
        await asyncio.sleep(0.001)
        assert len(wire.stack.tcp._time_wait) <= 50
    wire.answers()
    wire.send((4099, 80), SYN, 900)  # older than what it would follow
    await asyncio.sleep(0.001)
    assert [one.flags for one in wire.answers()] == [ACK]
    wire.send((4099, 80), SYN, 100_000)
    await asyncio.sleep(0.001)
    (answer,) = wire.answers()
    assert answer.flags == SYN | ACK and 0 < (answer.seq - nxt) & MASK < 1 << 31
    assert len(wire.stack.tcp._time_wait) == 49


async def test_rfc6528_initial_numbers(wire):
    """One connection's number tells nothing of another's; a 4-tuple's own rises with time, 250,000 a second."""
    await wire.stack.create_server(wire.accept, OURS, 80)
    numbers = {}
    for port in range(4000, 4200):
        wire.send((port, 80), SYN)
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        numbers[port] = wire.answers()[-1].seq
        wire.send((port, 80), RST, 1001)
        await asyncio.sleep(0.001)
    values = sorted(numbers.values())
    assert max(b - a for a, b in itertools.pairwise(values)) < 1 << 29, "they are spread over all there is"
    assert 60 < sum(value >> 31 for value in values) < 140
    before = numbers[4000], wire.stack.clock() - 200 * 0.002
    wire.send((4000, 80), SYN)
    await asyncio.sleep(0.001)
    grown = (wire.answers()[-1].seq - before[0]) & MASK
    assert grown == pytest.approx(250_000 * (wire.stack.clock() - before[1]), abs=2000)


async def test_rfc6056_ephemeral_ports_start_anywhere(wire):
    made = set()
    for _ in range(50):
        connecting = asyncio.ensure_future(wire.stack.create_connection(wire.accept, PEER, 81))
        await asyncio.sleep(0.001)
        (syn,) = [one for one in wire.answers() if one.flags == SYN or one.flags & SYN]
        made.add(syn.src_port)
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
    assert len(made) >= 46
    assert max(made) - min(made) > 15_000 and min(made) >= 32768 and max(made) <= 60999


@pytest.mark.parametrize("wire", [StackConfig(tcp=TcpConfig(defer_accept=10))], indirect=True)
async def test_a_deferred_connection_makes_no_protocol(wire):
    await wire.stack.create_server(wire.accept, OURS, 80)
    nxt = await establish(wire)
    assert not wire.accepted
    wire.send((4000, 80), ACK, 1001, nxt, payload=b"now")
    await asyncio.sleep(0.001)
    assert wire.accepted[0].data == b"now"
