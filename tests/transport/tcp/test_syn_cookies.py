"""SYN cookies (RFC 4987 3.6): no state for a SYN, and nothing lost for who comes back."""

import asyncio
import random
import sys
from itertools import pairwise

import pytest

from asyncstack import StackConfig, TcpConfig
from asyncstack.transport.tcp.syn_cookies import MSS_TABLES, SynCookies, options_in_timestamp, syn_of
from asyncstack.wire.tcp import ACK, AE, CWR, ECE, FIN, PSH, RST, SYN, Segment
from tests.transport.wire import OURS, OURS6, PEER, PEER6, wire

__all__ = ["wire"]

MASK = 0xFFFFFFFF
KEY = (bytes((10, 0, 0, 2)), 80, bytes((10, 0, 0, 1)), 4000)
KEY6 = (bytes(15) + b"\2", 80, bytes(15) + b"\1", 4000)

pytestmark = pytest.mark.virtual_time
ALWAYS = pytest.mark.parametrize("wire", [StackConfig(tcp=TcpConfig(syn_cookies="always"))], indirect=True)


def cookies():
    return SynCookies(random.Random(1))


def syn(seq=1000, **options):
    return Segment(4000, 80, seq, 0, SYN, 65535, **options)


def ack_of(cookie, seq=1001, **options):
    return Segment(4000, 80, seq, (cookie + 1) & MASK, ACK, 65535, **options)


# the cookie itself


@pytest.mark.parametrize("key", [KEY, KEY6], ids=("IPv4", "IPv6"))
@pytest.mark.parametrize("offered", [0, 1, 88, 500, 536, 1000, 1220, 1300, 1399, 1440, 1460, 9000, 65495])
def test_rfc4987_3_6_a_cookie_holds_the_mss(key, offered):
    made = cookies().make(key, syn(mss=offered), 1000.0)
    held = cookies().mss(key, ack_of(made), 1000.5)
    wanted = offered or 536  # RFC 9293 3.7.1
    below = [size for size in MSS_TABLES[len(key[0])] if size <= wanted]
    assert held == (below[-1] if below else 88)


def test_rfc4987_3_6_a_cookie_is_good_for_two_minutes():
    made = cookies().make(KEY, syn(mss=1460), 119.9)  # the last moment of its minute
    assert cookies().mss(KEY, ack_of(made), 120.0) == 1460
    assert cookies().mss(KEY, ack_of(made), 179.9) == 1460
    assert cookies().mss(KEY, ack_of(made), 180.0) == 0
    assert cookies().mss(KEY, ack_of(made), 59.9) == 0  # and not before it was made


def test_a_cookie_is_good_when_the_counter_of_minutes_wraps():
    """Eight bits of it are in the cookie."""
    for minute in (255, 256, 511, 1 << 24):
        made = cookies().make(KEY, syn(mss=1460), minute * 60.0)
        assert cookies().mss(KEY, ack_of(made), minute * 60.0 + 60) == 1460


def test_a_cookie_is_for_one_connection_alone():
    made = cookies().make(KEY, syn(mss=1460), 1000.0)
    local, local_port, remote, remote_port = KEY
    others = [
        (local, 81, remote, remote_port), (local, local_port, remote, 4001),
        (local, local_port, bytes((10, 0, 0, 3)), remote_port), (remote, local_port, local, remote_port),
    ]  # fmt: skip
    assert all(cookies().mss(key, ack_of(made), 1000.0) == 0 for key in others)
    assert SynCookies(random.Random(2)).mss(KEY, ack_of(made), 1000.0) == 0  # another stack's secrets


def test_a_segment_behind_lost_data_does_not_pass_for_the_first():
    """Its first bytes would be missing in the stream, without a gap."""
    for first in (0, 1000, MASK):
        made = cookies().make(KEY, syn(first, mss=1460), 1000.0)
        later = (ack_of(made, seq=(first + 1 + lost) & MASK) for lost in range(1, 2000))
        assert not any(cookies().mss(KEY, one, 1000.0) for one in later)


def test_forged_cookies_do_not_fit():
    """2**-28 a guess: in 200,000 there is none."""
    rng, checker = random.Random(7), cookies()
    made = checker.make(KEY, syn(mss=1460), 1000.0)
    assert not any(checker.mss(KEY, ack_of(rng.getrandbits(32)), 1000.0) for _ in range(100_000))
    near = [made + step for step in range(-50_000, 50_000) if abs(step) > 8]
    assert not any(checker.mss(KEY, ack_of(guess & MASK), 1000.0) for guess in near)


def test_cookies_tell_nothing_about_one_another():
    ports = [cookies().make((*KEY[:3], port), syn(mss=1460), 1000.0) for port in range(1000)]
    steps = {(b - a) & MASK for a, b in pairwise(ports)}
    assert len(steps) == 999


@pytest.mark.parametrize("now", [0, 1, 63, 64, 1 << 20, MASK])
@pytest.mark.parametrize("scale", [-1, 0, 7, 14])
@pytest.mark.parametrize("sack", [False, True])
@pytest.mark.parametrize("flags", [SYN, SYN | ECE | CWR, SYN | ECE])
def test_options_in_the_timestamp(now, scale, sack, flags):
    """They come back from the echo, and the clock does not run backwards for it by more than 64 + 63 ms."""
    first = Segment(
        4000, 80, 1000, 0, flags, 65535, ts_val=77, mss=1460, window_scale=scale, sack_permitted=sack
    )
    stamped = options_in_timestamp(now, first)
    assert (now - stamped) & MASK < 128
    found = syn_of(ack_of(5, ts_val=78, ts_ecr=stamped), 1460)
    ecn = first.flags if first.flags & CWR else SYN
    assert (found.window_scale, found.sack_permitted, found.flags) == (scale, sack, ecn)
    assert (found.seq, found.ts_val, found.mss) == (1000, 78, 1460)


# a stack that uses them


async def handshake(wire, port=4000, offer=None, ports=80, src=PEER, dst=OURS, syn_flags=SYN, **first):
    """SYN, SYN-ACK, and the ACK with the options of `first`. Gives the SYN-ACK."""
    offer = {} if offer is None else offer
    wire.send((port, ports), syn_flags, 1000, src=src, dst=dst, **offer)
    await asyncio.sleep(0.001)
    (answer,) = [one for one in wire.answers() if one.dst_port == port]
    assert answer.flags & (SYN | ACK | RST) == SYN | ACK and answer.ack == 1001
    stamps = {"ts_val": 90, "ts_ecr": answer.ts_val} if answer.ts_val >= 0 else {}
    wire.send(
        (port, ports),
        ACK | first.pop("flags", 0),
        1001,
        (answer.seq + 1) & MASK,
        src,
        dst=dst,
        **stamps,
        **first,
    )
    await asyncio.sleep(0.001)
    return answer


FULL = {"mss": 1400, "window_scale": 9, "sack_permitted": True, "ts_val": 80}


@ALWAYS
async def test_rfc4987_3_6_a_syn_leaves_nothing(wire):
    await wire.stack.create_server(wire.accept, OURS, 80)
    wire.send((4000, 80), SYN, **FULL)
    await asyncio.sleep(0.001)
    (answer,) = wire.answers()
    assert answer.flags == SYN | ACK
    assert (answer.window_scale >= 0, answer.sack_permitted, answer.ts_ecr) == (True, True, 80)
    assert not wire.stack.tcp.connections
    await asyncio.sleep(120)
    assert not wire.answers()  # it is not repeated: the client has to ask again


@ALWAYS
@pytest.mark.parametrize("ends", [(PEER, OURS), (PEER6, OURS6)], ids=("IPv4", "IPv6"))
async def test_rfc4987_3_6_who_comes_back_has_all_options(wire, ends):
    src, dst = ends
    await wire.stack.create_server(wire.accept, dst, 80)
    await handshake(wire, offer=FULL, src=src, dst=dst, window=1000)
    (endpoint,) = wire.stack.tcp.connections.values()
    conn = endpoint.connection
    assert conn.state.value == "ESTABLISHED"
    assert conn.peer_mss == 1400
    assert (conn.sender.scale, conn.sender.sack_ok, conn.receiver.timestamps) == (9, True, True)
    assert conn.sender.edge - conn.sender.una == 1000 << 9
    assert conn.receiver.ts_recent == 90
    assert [each.callbacks for each in wire.accepted] == [["connection_made"]]
    wire.accepted[0].transport.write(bytes(3000))
    await asyncio.sleep(0.001)
    sent = wire.answers()
    assert sum(len(one.payload) for one in sent) == 3000
    assert all(one.ts_ecr == 90 for one in sent)


@ALWAYS
async def test_without_timestamps_there_is_only_the_mss(wire):
    """The answer offers nothing that the cookie can not remember."""
    await wire.stack.create_server(wire.accept, OURS, 80)
    answer = await handshake(wire, offer={**FULL, "ts_val": -1}, syn_flags=SYN | ECE | CWR)
    assert (answer.window_scale, answer.sack_permitted, answer.ts_val) == (-1, False, -1)
    assert not answer.flags & ECE
    (endpoint,) = wire.stack.tcp.connections.values()
    conn = endpoint.connection
    assert (conn.peer_mss, conn.sender.scale, conn.scaling) == (1400, 0, False)
    assert (conn.sender.sack_ok, conn.receiver.timestamps) == (False, False)


@ALWAYS
async def test_data_and_fin_on_the_ack_are_taken(wire):
    await wire.stack.create_server(wire.accept, OURS, 80)
    await handshake(wire, offer=FULL, payload=b"early", flags=FIN | PSH)
    (protocol,) = wire.accepted
    assert protocol.data == b"early"
    assert "eof_received" in protocol.callbacks


@ALWAYS
async def test_the_first_data_does_where_the_ack_was_lost(wire):
    await wire.stack.create_server(wire.accept, OURS, 80)
    await handshake(wire, offer=FULL, payload=b"the ACK before this one was lost")
    assert wire.accepted[0].data == b"the ACK before this one was lost"
    assert wire.stack.counters["tcp.cookies_received"] == 1


@ALWAYS
async def test_an_ack_that_brings_no_cookie_is_reset(wire):
    """RFC 9293 3.10.7.2: in LISTEN any ACK is bad."""
    await wire.stack.create_server(wire.accept, OURS, 80)
    wire.send((4000, 80), SYN, **FULL)
    await asyncio.sleep(0.001)
    (answer,) = wire.answers()
    forged = [(4000, answer.seq + 100, 1001), (4001, answer.seq + 1, 1001), (4000, answer.seq + 1, 1002)]
    for port, number, seq in forged:
        wire.send((port, 80), ACK, seq, number & MASK, ts_val=90, ts_ecr=answer.ts_val)
    await asyncio.sleep(0.001)
    assert [one.flags for one in wire.answers()] == [RST] * 3
    assert not wire.stack.tcp.connections and not wire.accepted
    assert wire.stack.counters["tcp.cookies_failed"] == 3


@ALWAYS
async def test_a_cookie_that_is_too_old_is_reset(wire):
    await wire.stack.create_server(wire.accept, OURS, 80)
    wire.send((4000, 80), SYN, **FULL)
    await asyncio.sleep(0.001)
    (answer,) = wire.answers()
    await asyncio.sleep(181)
    wire.send((4000, 80), ACK, 1001, (answer.seq + 1) & MASK, ts_val=90, ts_ecr=answer.ts_val)
    await asyncio.sleep(0.001)
    assert [one.flags for one in wire.answers()] == [RST]


async def test_acks_are_looked_at_only_after_cookies_were_given(wire):
    """Linux: tcp_synq_no_recent_overflow. Without a flood a guess has no chance at all, and costs no hash."""
    await wire.stack.create_server(wire.accept, OURS, 80)
    key = (bytes((10, 0, 0, 2)), 80, bytes((10, 0, 0, 1)), 4000)
    right = wire.stack.tcp.cookies.make(key, syn(mss=1460), wire.stack.clock())
    wire.send((4000, 80), ACK, 1001, (right + 1) & MASK)
    await asyncio.sleep(0.001)
    assert [one.flags for one in wire.answers()] == [RST]
    assert not wire.stack.counters["tcp.cookies_failed"]


@pytest.mark.parametrize("wire", [StackConfig(tcp=TcpConfig(syn_backlog=3))], indirect=True)
async def test_cookies_begin_when_the_backlog_is_full_and_end_with_it(wire):
    await wire.stack.create_server(wire.accept, OURS, 80)
    for port in range(4000, 4003):
        wire.send((port, 80), SYN, **FULL)
    await asyncio.sleep(0.001)
    assert wire.stack.counters["tcp.cookies_sent"] == 0
    await handshake(wire, port=5000, offer=FULL)
    assert wire.stack.counters["tcp.cookies_sent"] == wire.stack.counters["tcp.cookies_received"] == 1
    assert len(wire.accepted) == 1
    await asyncio.sleep(120)  # what was half open has given up
    await handshake(wire, port=5001, offer=FULL)
    assert wire.stack.counters["tcp.cookies_sent"] == 1
    assert len(wire.accepted) == 2


@pytest.mark.parametrize("wire", [StackConfig(tcp=TcpConfig(syn_backlog=3))], indirect=True)
async def test_a_full_accept_queue_drops_the_ack_of_a_cookie(wire):
    """As on Linux: nothing was promised, and the client's data will bring the cookie again."""
    await wire.stack.create_server(wire.accept, OURS, 80, backlog=1)
    for port in range(4000, 4003):
        wire.send((port, 80), SYN, **FULL)
    await asyncio.sleep(0.001)
    wire.answers()
    for port in (5000, 5001):
        wire.send((port, 80), SYN, **FULL)
    await asyncio.sleep(0.001)
    answers = wire.answers()
    for answer in answers:  # both in one turn
        wire.send((answer.dst_port, 80), ACK, 1001, (answer.seq + 1) & MASK, ts_val=90, ts_ecr=answer.ts_val)
    await asyncio.sleep(0.001)
    assert len(wire.accepted) == 1 and not wire.answers()
    second = answers[1]
    wire.send(
        (second.dst_port, 80),
        ACK,
        1001,
        (second.seq + 1) & MASK,
        payload=b"x",
        ts_val=90,
        ts_ecr=second.ts_val,
    )
    await asyncio.sleep(0.001)
    assert [each.data for each in wire.accepted] == [b"", b"x"]


@ALWAYS
async def test_accurate_ecn_becomes_classic_and_the_rest_of_the_syn_is_forgotten(wire):
    """RFC 9768's feedback and Fast Open's data have no place in a cookie."""
    await wire.stack.create_server(wire.accept, OURS, 80)
    wire.send((4000, 80), SYN | AE | CWR | ECE, payload=b"data on a SYN", fast_open=b"", **FULL)
    await asyncio.sleep(0.001)
    (answer,) = wire.answers()
    assert answer.ack == 1001 and not answer.flags & AE and answer.fast_open is None


@ALWAYS
async def test_a_flood_takes_no_memory(wire):
    await wire.stack.create_server(wire.accept, OURS, 80)
    held = []
    for number in range(4001):
        wire.send((1024 + number, 80), SYN, **FULL)
        if not number % 50:
            await asyncio.sleep(0.001)
            wire.answers()
            if not number % 2000:
                held.append(sys.getallocatedblocks())
    assert held[2] - held[1] < 500
    assert not wire.stack.tcp.connections
