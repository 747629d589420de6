"""The three invariants of the design, fairness, and what ended connections leave behind.

1. `receive()` and `flush()` never suspend; a batch is one loop turn
2. protocol logic does no I/O and reads no clock (tests/test_layers.py)
3. memory is bounded (test_bounds.py)
"""

import asyncio
import gc
import time
import weakref

import pytest
import uvloop

from asyncstack import Stack, StackConfig, TcpConfig, memory_pair
from asyncstack.link.device import BATCH_FRAMES
from asyncstack.link.interface import QUANTUM, Interface
from asyncstack.wire.ethernet import ETHERTYPE_IPV4
from tests.link.devices import udp_frame
from tests.transport.asyncio_contract.recorders import (
    Datagrams,
    Echo,
    HalfOpen,
    PausedReader,
    Recorder,
    reset,
)

MB = 1_000_000


class Pair:
    """Two stacks on a memory link."""

    async def __aenter__(self):
        config = StackConfig(tcp=TcpConfig(receive_buffer=MB))  # less than fits into the link
        self.a, self.b = Stack(config=config), Stack(config=config)
        self.near, self.far = memory_pair()
        self.out = self.a.attach(self.near, ["10.0.0.1/24"])
        self.into = self.b.attach(self.far, ["10.0.0.2/24"])
        return self

    async def __aexit__(self, *_):
        await self.a.close()
        await self.b.close()

    async def connect(self, client=Recorder, server=Recorder, port=80):
        accepted = []
        if ("10.0.0.2", port) not in [one.sockname for one in self.b.tcp.listeners]:
            self.accepted = accepted
            await self.b.create_server(lambda: accepted.append(server()) or accepted[-1], "10.0.0.2", port)
        _, near = await self.a.create_connection(client, "10.0.0.2", port)
        async with asyncio.timeout(5):
            while len(self.accepted) <= len([c for c in self.accepted if c.transport is None]):
                await asyncio.sleep(0)
        return near, self.accepted[-1]


# 1. nothing suspends


@pytest.mark.parametrize("waits_for", ["a sleep", "a future", "a turn"])
async def test_a_layer_that_waits_is_found_out(waits_for):
    reported = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: reported.append(context["exception"]))

    async def waiting(data, frame, interface):
        if waits_for == "a sleep":
            await asyncio.sleep(0.01)
        elif waits_for == "a turn":
            await asyncio.sleep(0)
        else:
            await loop.create_future()

    async with Pair() as pair:
        pair.into.handlers[ETHERTYPE_IPV4] = waiting
        pair.near.send(udp_frame("10.0.0.1", "10.0.0.2", (1, 2), b"x"))
        await asyncio.sleep(0.001)
        (error,) = reported
        assert isinstance(error, RuntimeError)
        assert "receive() may not wait for anything" in str(error)
        reported.clear()


def test_flush_and_transmit_are_no_coroutines():
    from asyncstack.transport.tcp.endpoint import TcpEndpoint
    from asyncstack.transport.udp.queue import DatagramQueue

    for function in (Interface.flush, Interface.transmit, TcpEndpoint.transmit, DatagramQueue.transmit):
        assert not function.__code__.co_flags & (
            0x80 | 0x100 | 0x20
        )  # coroutine, iterable coroutine, generator


async def test_flush_is_not_re_entrant():
    """A sender that flushes while it has its turn does not get another one inside."""
    async with Pair() as pair:
        depth, deepest, turns = 0, 0, 0

        class Greedy:
            queued = False

            def transmit(self, now, quantum):
                nonlocal depth, deepest, turns
                depth, turns = depth + 1, turns + 1
                deepest = max(deepest, depth)
                if turns < 3:
                    pair.out.mark_ready(self)
                pair.out.flush()
                depth -= 1
                return False

            def unreachable(self, error):
                pass

            def blocked(self, now):
                pass

        pair.out.mark_ready(Greedy())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (deepest, turns) == (1, 3)


async def test_a_batch_is_one_loop_turn():
    async with Pair() as pair:
        turn, turns_of = 0, []
        loop = asyncio.get_running_loop()

        class Counting(Datagrams):
            def datagram_received(self, data, addr):
                turns_of.append(turn)

        def count():
            nonlocal turn
            turn += 1
            if turn < 20:
                loop.call_soon(count)

        await pair.b.create_datagram_endpoint(Counting, ("10.0.0.2", 7))
        for _ in range(3 * BATCH_FRAMES):
            pair.near.send(udp_frame("10.0.0.1", "10.0.0.2", (1, 7), b"x"))
        loop.call_soon(count)
        while len(turns_of) < 3 * BATCH_FRAMES:
            await asyncio.sleep(0)
        assert [turns_of.count(each) for each in sorted(set(turns_of))] == [BATCH_FRAMES] * 3
        assert len(set(turns_of)) == 3  # and the loop ran in between


async def test_the_answers_to_a_batch_leave_at_its_end():
    """One segment with the answer's data and the ACK of all that came, not one of each."""
    async with Pair() as pair:
        client, server = await pair.connect(server=Echo)
        await asyncio.sleep(0.1)
        sent, send = [], pair.far.send
        pair.far.send = lambda frame: sent.append(len(frame)) or send(frame)
        client.transport.write(b"x" * 30_000)
        await client.received(30_000)
        assert len(sent) <= 3
        assert server.data == client.data


# fairness


async def test_a_bulk_sender_does_not_starve_a_small_one():
    """A byte written behind a mountain leaves within a few quanta."""
    async with Pair() as pair:
        bulk, mountain = await pair.connect()
        small, quiet = await pair.connect()
        bulk.transport.write(bytes(50 * MB))
        await mountain.received(2 * MB)
        for _ in range(10):
            before, known = len(mountain.data), len(quiet.data)
            small.transport.write(b"x")
            await quiet.received(known + 1)
            assert len(mountain.data) - before <= 24 * QUANTUM
        assert len(mountain.data) < 50 * MB


async def test_senders_share_in_turns():
    """Ten senders that are always ready: nobody is ever ahead by more than his turn."""
    async with Pair() as pair:
        sent = {}

        class Sender:
            queued = False

            def __init__(self, name):
                self.name = name

            def transmit(self, now, quantum):
                sent[self.name] = sent.get(self.name, 0) + quantum
                time.sleep(0.0003)  # so that one flush does not see all of them
                return len(sent) < 10 or min(sent.values()) < 5 * QUANTUM

            def unreachable(self, error):
                pass

            def blocked(self, now):
                pass

        for name in range(10):
            pair.out.mark_ready(Sender(name))
        spread = 0
        while len(sent) < 10 or min(sent.values()) < 5 * QUANTUM:
            await asyncio.sleep(0)
            if len(sent) == 10:
                spread = max(spread, max(sent.values()) - min(sent.values()))
        assert spread <= QUANTUM


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_loop_stays_alive_during_a_bulk_transfer(factory):
    """A 10 ms ticker beside 400 MB in memory: how much processor time passes between two ticks, which other processes
    have no part in. The bound is generous: a flush takes a millisecond, not a transfer."""

    async def main():
        async with Pair() as pair:
            client, server = await pair.connect()
            server.data = Discard()
            lags, done = [], False

            async def tick():
                while not done:
                    start = time.thread_time()
                    await asyncio.sleep(0.01)
                    lags.append(time.thread_time() - start)

            ticking = asyncio.create_task(tick())
            client.transport.write(bytes(400 * MB))
            while server.data.size < 400 * MB:
                await asyncio.sleep(0.001)
            done = True
            await ticking
            client.transport.abort()
            return lags

    with asyncio.Runner(loop_factory=factory) as runner:
        lags = sorted(runner.run(main()))
    assert len(lags) >= 3
    assert lags[len(lags) // 2] < 0.05
    assert lags[-1] < 0.3


class Discard:
    """Counts, and keeps nothing."""

    size = 0

    def __iadd__(self, data):
        self.size += len(data)
        return self

    def __len__(self):
        return self.size


# what ended connections leave


@pytest.fixture
def no_collector():
    """What dies, dies by its reference count."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Watched(Recorder):
    """Can be watched by a weak reference."""


ENDS = ["close", "reset", "peer closes", "peer resets", "both halves", "error in a callback"]


@pytest.mark.virtual_time
@pytest.mark.parametrize("end", ENDS)
async def test_an_ended_connection_dies_by_its_reference_count(network, no_collector, end):
    """Transport, endpoint, machine and protocol: no cycle is left for the collector to find."""
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
    network.link(a, b, delay=0.001)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)
    accepted = []

    class Failing(HalfOpen):
        def data_received(self, data):
            super().data_received(data)
            if data == b"fail":
                raise ValueError("callback")

    await b.create_server(lambda: accepted.append(Failing()) or accepted[-1], "b", 80)
    transport, client = await a.create_connection(HalfOpen, "b", 80)
    client.transport.write(b"hello")
    await asyncio.sleep(0.1)
    await accepted[0].received(5)
    server = accepted.pop()
    if end == "close":
        client.transport.close()
        await server.called("eof_received")
        server.transport.close()
    elif end == "reset":
        reset(client.transport)
    elif end == "peer closes":
        server.transport.close()
        await client.called("eof_received")
        client.transport.close()
    elif end == "peer resets":
        reset(server.transport)
    elif end == "both halves":
        client.transport.write_eof()
        server.transport.write_eof()
        await asyncio.sleep(1)
        client.transport.close()
        server.transport.close()
    else:
        client.transport.write(b"fail")
        await client.called("eof_received")  # as nothing is lost
        client.transport.close()
    await client.called("connection_lost")
    await server.called("connection_lost")
    await asyncio.sleep(61)
    if end == "error in a callback":  # a protocol that keeps the error keeps its traceback, and so itself
        assert isinstance(server.lost, ValueError)
        server.lost = None
    parts = [weakref.ref(part) for each in (client, server) for part in (each, each.transport)]
    named = {id(ref): type(ref()).__name__ for ref in parts}
    client.transport = server.transport = client = server = None
    del transport
    await asyncio.sleep(0)
    assert [named[id(ref)] for ref in parts if ref() is not None] == []


@pytest.mark.virtual_time
async def test_failed_calls_leave_no_cycles(network, no_collector):
    """An exception kept in a local variable of its own traceback would keep everything in those frames."""
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24", "10.0.0.3/24")
    network.link(a, b, delay=0.001)
    a.names.table["both"] = ["10.0.0.2", "10.0.0.3"]

    async def hang_up(reader, writer):
        writer.close()

    await b.start_server(hang_up, "b", 80)

    def connect(host, port, **arguments):
        return lambda factory: a.create_connection(factory, host, port, **arguments)

    async def attempt(call):
        protocol = Watched()
        found = weakref.ref(protocol)
        with pytest.raises((OSError, ExceptionGroup)):
            await call(lambda: protocol)
        return found

    for call in (
        connect("b", 9),
        connect("both", 9),
        connect("both", 9, all_errors=True),
        connect("both", 9, happy_eyeballs_delay=0.1),
        connect("b", 80, ssl=True),
        connect("192.0.2.1", 9),
        lambda factory: a.create_datagram_endpoint(factory, ("192.0.2.1", 9)),
        lambda factory: ping_nobody(a, factory()),
    ):
        found = await attempt(call)
        await asyncio.sleep(1)
        assert found() is None, call
    assert not a.tcp.connections


async def ping_nobody(stack, watched):
    """`watched` lives as long as this frame."""
    await stack.ping("10.0.0.9", timeout=1)


@pytest.mark.virtual_time
async def test_streams_and_datagrams_leave_nothing_either(network, no_collector):
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
    network.link(a, b, delay=0.001)

    async def handler(reader, writer):
        writer.write(await reader.read())
        writer.close()
        await writer.wait_closed()

    await b.start_server(handler, "b", 80)
    found = []
    for _ in range(3):
        reader, writer = await a.open_connection("b", 80)
        writer.write(b"x")
        writer.write_eof()
        assert await reader.read() == b"x"
        writer.close()
        await writer.wait_closed()
        found.append(weakref.ref(writer.transport))
        transport, protocol = await a.create_datagram_endpoint(Datagrams, remote_addr=("b", 9))
        transport.sendto(b"x")
        await protocol.called("error_received")
        transport.close()
        await protocol.called("connection_lost")
        found.append(weakref.ref(transport))
        del reader, writer, transport, protocol
    await asyncio.sleep(61)
    assert [ref() for ref in found] == [None] * 6


@pytest.mark.virtual_time
async def test_a_stack_that_was_left_is_collectable():
    """It is full of cycles, and made once; the collector finds it."""

    async def live():
        async with Stack(StackConfig(tcp=TcpConfig())) as stack:
            near, far = memory_pair()
            stack.attach(near, ["10.0.0.1/24"])
            await stack.create_server(PausedReader, "10.0.0.1", 80)
            await stack.create_connection(Recorder, "10.0.0.1", 80)
            await far.close()
            return weakref.ref(stack), weakref.ref(stack.tcp), weakref.ref(near)

    found = await live()
    await asyncio.sleep(1)
    gc.collect()
    assert [ref() for ref in found] == [None] * 3
