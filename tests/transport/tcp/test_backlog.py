"""The two queues of a listener, as on Linux (listen(2), tcp(7)): half open, and open but not accepted."""

import asyncio
import socket

import pytest

from asyncstack import StackConfig, TcpConfig
from asyncstack.wire.tcp import ACK, RST, SYN
from tests.transport.wire import OURS, wire

__all__ = ["wire"]
pytestmark = pytest.mark.virtual_time
MASK = 0xFFFFFFFF


async def listening(wire, backlog):
    sock = wire.stack.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind((OURS, 80))
    sock.listen(backlog)
    sock.setblocking(False)
    return sock


async def syn(wire, port):
    """A SYN's answer, or None."""
    wire.send((port, 80), SYN)
    await asyncio.sleep(0.001)
    return next((one for one in wire.answers() if one.dst_port == port), None)


async def complete(wire, answer, payload=b""):
    wire.send((answer.dst_port, 80), ACK, 1001, (answer.seq + 1) & MASK, payload=payload)
    await asyncio.sleep(0.001)


def states(wire):
    return sorted(one.connection.state.value for one in wire.stack.tcp.connections.values())


async def test_an_ack_that_finds_the_queue_full_is_as_good_as_lost(wire):
    """The connection stays SYN-RECEIVED; its SYN-ACK goes out again, and what answers that one opens it."""
    sock = await listening(wire, 0)
    answers = [await syn(wire, port) for port in (4000, 4001)]
    for answer in answers:
        await complete(wire, answer)
    assert states(wire) == ["ESTABLISHED", "SYN-RECEIVED"]
    assert wire.stack.counters["tcp.accept_queue_full"] == 1
    assert not wire.answers()
    await sock.accept()
    with pytest.raises(BlockingIOError):
        await sock.accept()
    await asyncio.sleep(1.1)
    (again,) = wire.answers()
    assert (again.flags, again.seq, again.dst_port) == (SYN | ACK, answers[1].seq, 4001)
    await complete(wire, again)
    _, peer = await sock.accept()
    assert peer[1] == 4001
    sock.close()


async def test_data_brings_the_ack_again(wire):
    sock = await listening(wire, 0)
    answers = [await syn(wire, port) for port in (4000, 4001)]
    for answer in answers:
        await complete(wire, answer)
    await sock.accept()
    await complete(wire, answers[1], b"data")
    accepted, _ = await sock.accept()
    assert await accepted.recv(100) == b"data"
    sock.close()


async def test_syns_are_dropped_while_the_queue_is_full(wire):
    sock = await listening(wire, 0)
    await complete(wire, await syn(wire, 4000))
    assert await syn(wire, 4001) is None
    assert states(wire) == ["ESTABLISHED"]
    await sock.accept()
    assert (await syn(wire, 4001)).flags == SYN | ACK
    sock.close()


async def test_the_syn_ack_of_a_connection_that_never_gets_in_is_given_up(wire):
    """After 1, 2, 4, 8 and 16 seconds, and 32 more, it is forgotten: nobody has heard of it."""
    sock = await listening(wire, 0)
    answers = [await syn(wire, port) for port in (4000, 4001)]
    for answer in answers:
        await complete(wire, answer)
    await asyncio.sleep(62)
    assert [one.flags for one in wire.answers()] == [SYN | ACK] * 5
    assert states(wire) == ["ESTABLISHED", "SYN-RECEIVED"]
    await asyncio.sleep(2)
    assert states(wire) == ["ESTABLISHED"]
    sock.close()


@pytest.mark.parametrize(
    "wire", [StackConfig(tcp=TcpConfig(syn_backlog=5, syn_cookies="off"))], indirect=True
)
async def test_without_cookies_a_full_syn_backlog_drops_syns(wire):
    sock = await listening(wire, 10)
    answers = [await syn(wire, port) for port in range(4000, 4010)]
    assert [answer is not None for answer in answers] == [True] * 5 + [False] * 5
    await complete(wire, answers[0])
    assert await syn(wire, 4005) is not None
    await asyncio.sleep(100)
    assert states(wire) == ["ESTABLISHED"]
    sock.close()


async def test_closing_resets_what_is_half_open_and_what_was_not_accepted(wire):
    sock = await listening(wire, 5)
    for port in (4000, 4001):
        await complete(wire, await syn(wire, port))
    await syn(wire, 4002)
    sock.close()
    await asyncio.sleep(0.001)
    assert sorted(one.dst_port for one in wire.answers() if one.flags & RST) == [4000, 4001, 4002]
    assert not wire.stack.tcp.connections
