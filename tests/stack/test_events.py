"""`async for event in stack.events()`, in virtual time."""

import asyncio
import errno

import pytest

from asyncstack import (
    CongestionWindowChanged,
    ConnectionClosed,
    ConnectionEstablished,
    ConnectionOpened,
    RecoveryStarted,
    RetransmissionTimeout,
    SegmentRetransmitted,
    Stack,
    StackConfig,
    TcpConfig,
)

pytestmark = pytest.mark.virtual_time


async def hosts(network, **link):
    """(client, server, link); the server reads to the end of the stream and closes."""
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
    made = network.link(a, b, **link)

    async def serve(reader, writer):
        await reader.read(-1)
        writer.close()

    await b.start_server(serve, "b", 80)
    return a, b, made


async def upload(stack, size):
    reader, writer = await stack.open_connection("b", 80)
    writer.write(bytes(size))
    writer.write_eof()
    await reader.read()
    writer.close()
    await writer.wait_closed()


def waiting(stream):
    """What can be read at once."""
    return list(stream._waiting)


def kinds(events):
    return [type(event).__name__ for event in events]


async def test_an_uneventful_connection(network):
    a, b, _ = await hosts(network, delay=0.05)
    ours, theirs = a.events(), b.events()
    await upload(a, 1000)
    await asyncio.sleep(1)
    events = [event for event in waiting(ours) if not isinstance(event, CongestionWindowChanged)]
    opened, established, closed = events
    assert isinstance(opened, ConnectionOpened)
    assert not opened.passive
    assert isinstance(established, ConnectionEstablished)
    assert established.time - opened.time == pytest.approx(0.1)
    assert established.srtt == pytest.approx(0.1)
    assert isinstance(closed, ConnectionClosed)
    assert (closed.errno, closed.reason, closed.sent, closed.received) == (0, "", 1000, 0)
    assert {event.remote for event in events} == {("10.0.0.2", 80)}
    assert len({event.local for event in events}) == 1
    opened, *_, closed = waiting(theirs)
    assert opened.passive
    assert closed.received == 1000


async def test_loss(network):
    a, _, link = await hosts(network, delay=0.02, rate=10e6)
    events = a.events(100_000)
    uploading = asyncio.ensure_future(upload(a, 2_000_000))
    await asyncio.sleep(0.5)
    link.down()
    await asyncio.sleep(1.0)
    link.up()
    await uploading
    found = waiting(events)
    timeouts = [event for event in found if isinstance(event, RetransmissionTimeout)]
    assert timeouts
    assert timeouts[0].flight > 0
    again = [event for event in found if isinstance(event, SegmentRetransmitted)]
    assert sum(event.size for event in again) > 0
    windows = [event for event in found if isinstance(event, CongestionWindowChanged)]
    assert windows[0].cwnd > windows[0].before
    assert any(event.cwnd < event.before for event in windows)
    assert [event.time for event in found] == sorted(event.time for event in found)


async def test_fast_recovery(network):
    a, _, link = await hosts(network, delay=0.02)
    events = a.events(100_000)
    uploading = asyncio.ensure_future(upload(a, 100_000))
    link.loss = 0.05
    await uploading
    found = waiting(events)
    assert any(isinstance(event, RecoveryStarted) for event in found)
    first = kinds(found).index("RecoveryStarted")
    assert "SegmentRetransmitted" in kinds(found)[first:]


async def test_a_refused_connection_says_why(network):
    a, _, _ = await hosts(network)
    events = a.events()
    with pytest.raises(ConnectionRefusedError):
        await a.open_connection("b", 81)
    opened, closed = waiting(events)
    assert isinstance(opened, ConnectionOpened)
    assert (closed.errno, closed.reason) == (errno.ECONNREFUSED, "Connection refused")


async def test_a_peer_that_does_not_answer(network):
    config = StackConfig(tcp=TcpConfig(syn_retries=2))
    a, b = network.host("a", "10.0.0.1/24", config=config), network.host("b", "10.0.0.2/24")
    network.link(a, b).down()
    events = a.events()
    with pytest.raises(TimeoutError):
        await a.open_connection("b", 80)
    assert kinds(waiting(events)) == [
        "ConnectionOpened",
        "RetransmissionTimeout",
        "RetransmissionTimeout",
        "ConnectionClosed",
    ]


async def test_iterating(network):
    a, _, _ = await hosts(network, delay=0.01)
    seen = []

    async def watch():
        async for event in a.events():
            seen.append(event)
            if isinstance(event, ConnectionClosed):
                break

    watching = asyncio.ensure_future(watch())
    await asyncio.sleep(0)
    await upload(a, 10)
    await watching
    assert kinds(seen)[0] == "ConnectionOpened"
    await upload(a, 10)
    assert a.tcp.observer is None  # nobody listens any more
    assert all(endpoint.connection.sender.trace is None for endpoint in a.tcp.connections.values())


async def test_the_oldest_make_room(network):
    a, _, _ = await hosts(network, delay=0.01)
    stream = a.events(2)
    other = a.events()
    await upload(a, 10)
    await asyncio.sleep(1)
    everything = waiting(other)
    assert waiting(stream) == everything[-2:]
    assert stream.dropped == len(everything) - 2
    assert other.dropped == 0
    with pytest.raises(ValueError, match="at least one"):
        a.events(0)


async def test_a_stream_ends_with_its_stack():
    async with Stack() as stack:
        stream = stack.events()
        waiting_for_one = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
    with pytest.raises(StopAsyncIteration):
        await waiting_for_one
    with pytest.raises(RuntimeError):
        stack.events()


async def test_connections_that_were_there_before_are_not_opened_again(network):
    a, _, _ = await hosts(network, delay=0.01)
    _, writer = await a.open_connection("b", 80)
    stream = a.events()
    writer.write(b"x" * 100_000)
    await asyncio.sleep(1)
    assert "ConnectionOpened" not in kinds(waiting(stream))
    writer.close()
    await asyncio.sleep(1)
    assert kinds(waiting(stream))[-1] == "ConnectionClosed"
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        while True:
            await anext(stream)


async def test_connections_have_addresses(network):
    a, b, _ = await hosts(network, delay=0.01)
    _, writer = await a.open_connection("b", 80)
    (ours,) = a.connections()
    assert ours.remote == ("10.0.0.2", 80)
    assert ours.local == writer.get_extra_info("sockname")
    await asyncio.sleep(1)
    assert b.connections()[0].remote == ours.local
    assert ours.pmtu == 1500
    writer.close()
