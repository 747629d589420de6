"""Leaving `async with Stack()`: in order while there is time, then by RST; and nothing stays behind."""

import asyncio
import gc
import math
import weakref
from contextlib import AsyncExitStack

import pytest

import asyncstack
from asyncstack.link.frame import Frame
from asyncstack.wire import ipv4
from tests.interop.applications import echo
from tests.interop.kernel import peer, run, until
from tests.interop.loops import on_uvloop
from tests.interop.medium import ADDRESSES, OURS, OURS6, PEER, PEERS, PLAIN_TAP, TUN, host
from tests.interop.peers import digest, pieces
from tests.stack.census import back_to, census

pytestmark = pytest.mark.tun

MB = 1000 * 1000
OURS_TAP = "10.8.0.2"
BOTH = pytest.mark.parametrize("ours", [OURS, OURS6])


class Recorder(asyncio.Protocol):
    """Notes how its connection, or its datagram endpoint, ended."""

    def __init__(self) -> None:
        self.lost: list[Exception | None] = []
        self.came = 0

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.came += len(data)

    def connection_lost(self, exc) -> None:
        self.lost.append(exc)


class Busy:
    """A stack with something of everything going on, over a TUN and a TAP."""

    def __init__(self, stack: asyncstack.Stack) -> None:
        self.stack = stack
        self.recorders: list[Recorder] = []
        self.tasks: list[asyncio.Future] = []

    def _recorder(self) -> Recorder:
        self.recorders.append(Recorder())
        return self.recorders[-1]

    async def begin(self, programs: AsyncExitStack) -> None:
        stack = self.stack
        tun = await stack.add_interface(asyncstack.TunDevice("as0", peer=PEERS), ADDRESSES, PEER)
        await stack.add_interface(asyncstack.TapDevice("as1", peer="10.8.0.1/24"), [f"{OURS_TAP}/24"])
        await stack.create_server(self._recorder, None, 7000)
        await stack.start_server(echo, None, 7001)
        for address in (OURS, OURS_TAP):
            for _ in range(2):
                program = peer("holder", host=address, port=7000, receive_buffer=8192)
                await (await programs.enter_async_context(program)).said()
        await until(lambda: len(self.recorders) == 4 and all(each.came for each in self.recorders))
        first, second, third, _ = self.recorders
        first.transport.pause_reading()
        second.transport.write(bytes(8 * MB))  # to one that does not read
        third.transport.close()  # FIN-WAIT-2
        async with peer("client", host=OURS, port=7001, size=1000) as program:
            assert (await program.ended())["size"] == 1000
        # datagrams, an echo request and a SYN that wait for their neighbours
        transport, _ = await stack.create_datagram_endpoint(self._recorder, (OURS_TAP, 53))
        transport.sendto(b"hello", ("10.8.0.77", 9))
        self.tasks.append(asyncio.ensure_future(stack.open_connection("10.8.0.78", 80)))
        self.tasks.append(asyncio.ensure_future(stack.ping("10.8.0.79", timeout=60)))
        # the first fragment of a datagram whose rest never comes
        head = ipv4.build(
            bytes([10, 9, 0, 1]), bytes([10, 9, 0, 2]), 17, 8, dont_fragment=False, more_fragments=True
        )
        tun.device.deliver([Frame(memoryview(head + bytes(8)))])
        assert stack.ipv4.reassembly.deadline < math.inf
        await asyncio.sleep(0)


async def test_nothing_is_left():
    await run("true")  # whatever asyncio keeps for subprocesses is there before we count
    await asyncio.to_thread(int)
    before = census()
    async with AsyncExitStack() as programs:
        config = asyncstack.StackConfig(close_timeout=0.3)
        async with asyncstack.Stack(config) as stack:
            busy = Busy(stack)
            await busy.begin(programs)
        assert [len(each.lost) for each in busy.recorders] == [1] * 5, (
            "connection_lost() comes once, and in time"
        )
        failures = await asyncio.gather(*busy.tasks, return_exceptions=True)
        assert all(isinstance(each, OSError) for each in failures), failures
        alive = weakref.ref(stack)
        del stack, busy, failures
    await asyncio.sleep(0)
    assert census() == before
    gc.collect()
    assert alive() is None, "something refers to the stack: a timer, a reader, a task"


@pytest.mark.parametrize("medium, ours", [(TUN, OURS), (PLAIN_TAP, OURS6)], ids=["tun", "plain_tap, IPv6"])
async def test_what_was_written_is_delivered(medium, ours):
    """The transfer is under way when the stack is left; the reader is slow, but fast enough."""
    size = 3 * MB

    async def serve(reader, writer):
        for piece in pieces(size, seed=1):
            writer.write(piece)
        writer.close()

    async with host(medium, asyncstack.StackConfig(close_timeout=20)) as here:
        await here.stack.start_server(serve, ours, 7000)
        reading = peer("slow_reader", host=ours, port=7000, receive_buffer=65536, piece=100_000, pause=0.005)
        async with reading as program:
            assert await program.said() == {"connected": True}
            await until(lambda: any(info.bytes_acked for info in here.stack.connections()))
            program.tell()
            await here.stack.close()
            assert await program.ended() == {"size": size, "digest": digest(size, 1)}


@BOTH
async def test_open_connections_end_with_fin(ours):
    """An idle client sees the end of the stream, not a reset; and our transports are told."""
    async with host(TUN) as here:
        made = []

        def factory():
            made.append(Recorder())
            return made[-1]

        await here.stack.create_server(factory, ours, 7000)
        async with peer("client", host=ours, port=7000) as program:
            await until(lambda: made)
            loop = asyncio.get_running_loop()
            start = loop.time()
            await here.stack.close()
            assert loop.time() - start < 1.0, "everybody answered: there was nothing to wait for"
            assert await program.ended() == {"size": 0, "digest": digest(0, 0)}
        assert made[0].lost == [None]


@on_uvloop
async def test_a_thousand_connections_end_with_fin():
    count = 1000
    async with host(TUN, asyncstack.StackConfig(close_timeout=20)) as here:
        await here.stack.start_server(echo, OURS6, 7000, backlog=count)
        async with peer("many", host=OURS6, port=7000, count=count, rounds=1, watch_end=True) as program:
            assert await program.said() == {"done": count}
            closing = asyncio.create_task(here.stack.close())
            program.tell()
            assert await program.ended() == {"closed": count, "eof": count, "reset": 0}
            await closing


def in_close_wait() -> int:
    """Sockets of the kernel that have our FIN and wait for their program to close too."""
    with open("/proc/thread-self/net/tcp") as table:
        return sum(line.split()[3] == "08" for line in table.readlines()[1:])


@on_uvloop
async def test_a_thousand_that_do_not_answer_are_reset():
    """They keep us waiting, as nobody closes the other half. Then each gets its RST."""
    count = 1000
    async with host(TUN, asyncstack.StackConfig(close_timeout=0.5)) as here:
        await here.stack.start_server(echo, OURS, 7000, backlog=count)
        async with peer("many", host=OURS, port=7000, count=count, rounds=1) as program:
            assert await program.said() == {"done": count}
            start = here.stack.clock()
            closing = asyncio.create_task(here.stack.close())
            await until(lambda: in_close_wait() == count)
            await closing
            assert here.stack.clock() - start < 5
            await until(lambda: in_close_wait() == 0)


async def test_flooded_to_the_last():
    """Datagrams and SYNs come as fast as the kernel sends while the stack is left."""
    await run("true")
    before = census()
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as programs, host(TUN, asyncstack.StackConfig(close_timeout=0.3)) as here:
        await here.stack.start_server(echo, OURS, 7000)
        flood = peer("udp_flood", host=OURS, port=9, seconds=30)
        datagrams = await programs.enter_async_context(flood)
        flood = peer("syn_flood", network="10.77", host=OURS, port=7000, count=1_000_000, seed=1)
        syns = await programs.enter_async_context(flood)
        await syns.said()
        await datagrams.said()
        await until(lambda: here.stack.counters["tcp.syn_backlog_full"] > 0)
        start = loop.time()
        await here.stack.close()
        assert loop.time() - start < 2
    await back_to(before)


@BOTH
async def test_who_does_not_answer_is_reset_in_time(ours):
    made = []

    def factory():
        made.append(Recorder())
        return made[-1]

    loop = asyncio.get_running_loop()
    async with host(TUN, asyncstack.StackConfig(close_timeout=0.3)) as here:
        await here.stack.create_server(factory, ours, 7000)
        async with peer("reset_watcher", host=ours, port=7000, receive_buffer=8192) as program:
            assert await program.said() == {"connected": True}
            await until(lambda: made)
            made[0].transport.write(bytes(2 * MB))
            start = loop.time()
            await here.stack.close()
            assert 0.3 <= loop.time() - start < 1.5
            program.tell()
            assert await program.ended() == {"reset": True}
        assert len(made[0].lost) == 1


# closing, interrupted and repeated


async def unresponsive(stack: asyncstack.Stack, programs: AsyncExitStack) -> None:
    """A connection that keeps `close` waiting."""
    made = []

    def factory():
        made.append(Recorder())
        return made[-1]

    await stack.create_server(factory, OURS, 7000)
    program = await programs.enter_async_context(peer("holder", host=OURS, port=7000, receive_buffer=8192))
    await program.said()
    await until(lambda: made)
    made[0].transport.write(bytes(2 * MB))


async def test_cancelled_while_closing():
    """Ctrl-C twice: the second one cuts the waiting short, and everything is given back all the same."""
    await run("true")
    before = census()
    async with AsyncExitStack() as programs:
        entered = asyncio.Event()

        async def main() -> None:
            async with asyncstack.Stack(asyncstack.StackConfig(close_timeout=30)) as stack:
                await stack.add_interface(asyncstack.TunDevice("as0", peer=PEERS), ADDRESSES)
                await unresponsive(stack, programs)
                entered.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(main())
        await entered.wait()
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        task.cancel()
        async with asyncio.timeout(5):
            with pytest.raises(asyncio.CancelledError):
                await task
    await asyncio.sleep(0)
    assert census() == before


async def test_two_who_close_both_wait():
    async with AsyncExitStack() as programs, host(TUN, asyncstack.StackConfig(close_timeout=0.3)) as here:
        await unresponsive(here.stack, programs)
        first = asyncio.create_task(here.stack.close())
        await asyncio.sleep(0.05)
        await here.stack.close()
        assert not here.stack.interfaces
        assert not here.stack.tcp.connections
        await first


async def test_no_connection_is_made_while_the_stack_is_closing():
    """One that has addresses left to try does not succeed with the next one while others still end in order."""
    hosts = {"several": ["10.9.0.77", PEER]}
    config = asyncstack.StackConfig(close_timeout=0.5)
    async with AsyncExitStack() as programs, asyncstack.Stack(config, hosts=hosts) as stack:
        await stack.add_interface(asyncstack.TapDevice("as0", peer=PEERS), ADDRESSES)
        port = (await (await programs.enter_async_context(peer("echo_server", host=PEER))).said())["port"]
        await unresponsive(stack, programs)
        connecting = asyncio.ensure_future(stack.open_connection("several", port))
        await until(lambda: len(stack.tcp.connections) == 2)
        await stack.close()
        with pytest.raises(OSError):
            await connecting
        assert not stack.tcp.connections


async def test_closed_stack_refuses():
    async with host(TUN) as here:
        pass
    stack = here.stack
    await stack.close()
    for call in (
        stack.open_connection(PEER, 80),
        stack.start_server(echo, None, 80),
        stack.create_datagram_endpoint(asyncio.DatagramProtocol, (None, 53)),
        stack.ping(PEER),
        stack.add_interface(asyncstack.TunDevice("as0")),
    ):
        with pytest.raises(RuntimeError, match="is closed"):
            await call
    with pytest.raises(RuntimeError, match="is closed"):
        stack.attach(asyncstack.memory_pair()[0])


async def test_what_the_body_raises_comes_out():
    before = census()
    with pytest.raises(ZeroDivisionError):
        async with asyncstack.Stack() as stack:
            await stack.add_interface(asyncstack.TunDevice("as0", peer=PEERS), ADDRESSES)
            raise ZeroDivisionError
    assert census() == before
    assert "as0" not in await run("ip", "link")


def test_needs_a_loop():
    with pytest.raises(RuntimeError, match="needs a running event loop"):
        asyncstack.Stack()
