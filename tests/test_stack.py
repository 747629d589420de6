"""A stack's life: interfaces come and go, connections are counted, and leaving it ends everything.

In virtual time over simulated links; over real devices see tests/stack, for one connection tests/transport.
"""

import asyncio
import errno
import os

import pytest

from asyncstack import (
    AddressAdded,
    InterfaceDown,
    InterfaceUp,
    LoopbackDevice,
    MemoryDevice,
    Network,
    Stack,
    StackConfig,
    memory_pair,
)
from tests.transport.asyncio_contract.recorders import Datagrams, HalfOpen, PausedReader, Recorder

pytestmark = pytest.mark.virtual_time


def descriptors():
    return set(os.listdir("/proc/self/fd"))


def assert_nothing_left(before):
    """The tasks, timers and descriptors of the test itself, and no more."""
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert asyncio.get_running_loop().timers == 0
    assert descriptors() == before


class Pair:
    """Two hosts on a link, a server on the second, and the protocols it made."""

    def __init__(self, network, protocol=Recorder, config=None, **link):
        self.a = network.host("a", "10.0.0.1/24", config=config)
        self.b = network.host("b", "10.0.0.2/24", config=config)
        self.link = network.link(self.a, self.b, **{"delay": 0.01, **link})
        self.protocol = protocol
        self.accepted = []

    def accept(self):
        self.accepted.append(self.protocol())
        return self.accepted[-1]

    async def connect(self, protocol=Recorder):
        if not self.b.servers:
            self.server = await self.b.create_server(self.accept, "b", 80)
        _, client = await self.a.create_connection(protocol, "b", 80)
        await asyncio.sleep(0.1)
        return client, self.accepted[-1]

    @property
    def interface(self):
        return next(each for each in self.a.interfaces if each.name != "lo")


# interfaces


async def test_interfaces_have_names_and_numbers():
    async with Stack() as stack:
        near, _ = memory_pair()
        one = stack.attach(near, ["10.1.0.1/24"], name="uplink")
        other, _ = memory_pair(("x", "y"))
        two = await stack.add_interface(other, ["10.2.0.1/24", "fd00:2::1/64"], gateway="10.2.0.254")
        assert [each.name for each in stack.interfaces] == ["lo", "uplink", "x"]
        assert [each.index for each in stack.interfaces] == [1, 2, 3]
        await stack.remove_interface(one)
        await stack.remove_interface(one)
        third = stack.attach(memory_pair()[0])
        assert third.index == 4
        assert "uplink" not in repr(stack)
        assert "lo" in repr(stack)
        assert stack.routes.lookup(bytes([8, 8, 8, 8])).interface is two


async def test_several_addresses_of_one_network():
    async with Stack() as a, Stack() as b:
        near, far = memory_pair(ethernet=True)
        a.attach(near, ["10.1.0.1/24"])
        interface = b.attach(far, ["10.1.0.2/24", "10.1.0.3/24", "fd00::2/64", "fd00::3/64"])
        for host in ("10.1.0.2", "10.1.0.3"):
            assert (await a.ping(host)).source == host
        assert (await b.ping("10.1.0.1", source="10.1.0.3")).source == "10.1.0.1"
        with pytest.raises(FileExistsError):
            b.add_address(interface, bytes([10, 1, 0, 3]), 24)


@pytest.mark.parametrize(
    ("addresses", "gateway", "error"),
    [
        (["10.1.0.1"], "10.1.0.300", ValueError),
        (["10.1.0.0.1/24"], None, ValueError),
        (["10.1.0.1/33"], None, ValueError),
        (["ten/24"], None, ValueError),
        (["10.1.0.1/24", "10.1.0.1/24"], None, OSError),
    ],
)
@pytest.mark.parametrize("call", ["attach", "add_interface"])
async def test_an_interface_that_can_not_be_made_leaves_nothing(call, addresses, gateway, error):
    async with Stack() as stack:
        events = []
        stack.subscribe(events.append)
        near, _ = memory_pair()
        with pytest.raises(error):
            made = getattr(stack, call)(near, addresses, gateway)
            if call == "add_interface":
                await made
        await asyncio.sleep(0)
        assert [each.name for each in stack.interfaces] == ["lo"]
        up_and_down = [InterfaceUp, AddressAdded, InterfaceDown] if error is OSError else []
        assert [type(event) for event in events] == up_and_down
        again = stack.attach(near, ["10.1.0.1/24"])  # the device and the address are free
        assert again.up


async def test_a_device_that_can_not_be_opened_leaves_nothing():
    class Broken(MemoryDevice):
        async def open(self, loop):
            raise PermissionError(errno.EPERM, "no")

    async with Stack() as stack:
        with pytest.raises(PermissionError):
            await stack.add_interface(Broken(), ["10.1.0.1/24"])
        assert [each.name for each in stack.interfaces] == ["lo"]


async def test_events():
    async with Stack() as stack:
        events, others = [], []
        unsubscribe = stack.subscribe(events.append)
        stack.subscribe(others.append)
        near, _ = memory_pair()
        interface = stack.attach(near, ["10.1.0.1/24"])
        assert events == []  # they come by call_soon
        await asyncio.sleep(0)
        near.set_down(OSError(errno.ENODEV, "unplugged"))
        await asyncio.sleep(0.1)
        assert [type(event) for event in events] == [InterfaceUp, AddressAdded, InterfaceDown]
        assert [event.interface for event in events[::2]] == [interface, interface]
        assert str(events[1].address) == "10.1.0.1/24"
        assert events[2].error.errno == errno.ENODEV
        unsubscribe()
        unsubscribe()
        second = stack.attach(memory_pair()[0])
        await stack.remove_interface(second)
        await asyncio.sleep(0)
        assert len(events) == 3
        assert others[-1] == InterfaceDown(second, None)
    await asyncio.sleep(0)
    assert [event.interface.name for event in others[5:]] == ["lo"]


async def test_removing_an_interface_ends_its_connections_alone(network):
    pair = Pair(network)
    client, _ = await pair.connect()
    local = await pair.a.create_server(Recorder, "127.0.0.1", 81)
    _, own = await pair.a.create_connection(Recorder, "127.0.0.1", 81)
    await pair.a.remove_interface(pair.interface)
    await client.called("connection_lost")
    assert client.lost.errno == errno.ENETDOWN
    own.transport.write(b"x")
    await asyncio.sleep(0.1)
    assert own.callbacks == ["connection_made"]
    with pytest.raises(OSError) as caught:
        await pair.a.create_connection(Recorder, "b", 80)
    assert caught.value.errno == errno.ENETUNREACH
    local.close()


async def test_a_connect_under_way_hears_that_the_interface_went(network):
    pair = Pair(network)
    pair.link.down()
    connecting = asyncio.create_task(pair.a.create_connection(Recorder, "b", 80))
    await asyncio.sleep(0.1)
    await pair.a.remove_interface(pair.interface)
    with pytest.raises(OSError) as caught:
        await connecting
    assert caught.value.errno == errno.ENETDOWN
    assert not pair.a.tcp.connections


async def test_removing_an_interface_from_inside_a_callback(network):
    """As a task does that runs at once when it is made (eager tasks)."""

    class Leaving(Recorder):
        def data_received(self, data):
            super().data_received(data)
            removal = pair.b.remove_interface(interface)
            with pytest.raises(StopIteration):
                removal.send(None)

    pair = Pair(network, Leaving)
    client, server = await pair.connect()
    interface = next(each for each in pair.b.interfaces if each.name != "lo")
    client.transport.write(b"go")
    await server.called("connection_lost")
    assert server.lost.errno == errno.ENETDOWN
    near, far = memory_pair()
    pair.b.attach(near, ["10.5.0.1/24"])
    pair.a.attach(far, ["10.5.0.2/24"])
    assert (await pair.a.ping("10.5.0.1")).size == 56


# two stacks


async def test_two_stacks_with_the_same_addresses_do_not_meet():
    """There are no module globals: four stacks, two networks, one set of addresses and ports."""
    async with Stack() as a, Stack() as b, Stack() as c, Stack() as d:
        for near, far in ((a, b), (c, d)):
            ends = memory_pair()
            near.attach(ends[0], ["10.0.0.1/24"])
            far.attach(ends[1], ["10.0.0.2/24"])
        replies = {}
        for name, stack in (("b", b), ("d", d)):

            async def handler(reader, writer, name=name):
                writer.write(name.encode() + await reader.readexactly(1))
                writer.close()

            await stack.start_server(handler, "10.0.0.2", 80)
        local = ("10.0.0.1", 5000)
        streams = [await stack.open_connection("10.0.0.2", 80, local_addr=local) for stack in (a, c)]
        for (reader, writer), name in zip(streams, ("b", "d"), strict=True):
            assert writer.get_extra_info("sockname") == local
            writer.write(b"!")
            replies[name] = await reader.read()
            writer.close()
            await writer.wait_closed()
        assert replies == {"b": b"b!", "d": b"d!"}
        assert a.counters is not c.counters
        with pytest.raises(ConnectionRefusedError):
            await a.open_connection("127.0.0.1", 80)


async def test_one_stack_s_end_is_not_another_s(network):
    pair = Pair(network)
    client, server = await pair.connect()
    async with Stack() as other:
        near, _ = memory_pair()
        other.attach(near, ["10.0.0.1/24"])
    client.transport.write(b"on")
    assert await server.received(2) == b"on"


async def test_loopback_of_one_stack():
    async with Stack() as stack:
        near, _ = memory_pair()
        stack.attach(near, ["10.0.0.1/24", "fd00::1/64"])

        async def handler(reader, writer):
            writer.write(writer.get_extra_info("peername")[0].encode())
            writer.close()

        await stack.start_server(handler, None, 80)
        for host in ("127.0.0.1", "::1", "10.0.0.1", "fd00::1", "127.7.7.7"):
            reader, writer = await stack.open_connection(host, 80)
            assert writer.get_extra_info("peername")[0] == host
            source = (await reader.read()).decode()
            assert source == ("127.0.0.1" if host == "127.7.7.7" else host)
            writer.close()
        assert near.peer._inbox_size == 0


# numbers


async def test_connections_in_the_order_they_were_made(network):
    pair = Pair(network)
    assert pair.a.connections() == []
    client, server = await pair.connect()
    client.transport.write(bytes(5000))
    server.transport.write(bytes(700))
    await asyncio.sleep(1)
    (info,) = pair.a.connections()
    assert info.state.value == "ESTABLISHED"
    assert (info.bytes_acked, info.bytes_received) == (5000, 700)
    assert info.rtt == pytest.approx(0.02, abs=0.005)
    assert info.total_retrans == 0
    (other,) = pair.b.connections()
    assert (other.bytes_acked, other.bytes_received) == (700, 5000)
    second, _ = await pair.connect()
    second.transport.write_eof()
    await asyncio.sleep(0.005)
    assert [each.state.value for each in pair.a.connections()] == ["ESTABLISHED", "FIN-WAIT-1"]
    client.transport.close()
    await asyncio.sleep(1)
    assert pair.a.connections() == pair.b.connections() == []  # TIME-WAIT is no connection any more


# the end


async def test_leaving_ends_idle_connections_in_order():
    before = descriptors()
    async with Network(seed=1) as network:
        pair = Pair(network)
        client, server = await pair.connect()
        start = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - start < 0.1
    assert client.callbacks == ["connection_made", "connection_lost"]
    assert server.callbacks[0] == "connection_made"
    assert server.callbacks[-1] == "connection_lost"
    assert (client.lost, server.lost) == (None, None)
    assert_nothing_left(before)


async def test_leaving_one_stack_is_a_fin_for_the_other(network):
    pair = Pair(network)
    client, server = await pair.connect()
    client.transport.write(b"x" * 100_000)
    await pair.a.close()
    assert client.callbacks[-1] == "connection_lost"
    await server.called("connection_lost")
    assert server.outline == ["connection_made", "data_received", "eof_received", "connection_lost"]
    assert len(server.data) == 100_000


async def test_leaving_waits_as_long_as_it_says_and_then_resets():
    before = descriptors()
    async with Network(seed=1) as network:
        pair = Pair(network, PausedReader, StackConfig(close_timeout=3.0))
        client, server = await pair.connect()
        client.transport.write(bytes(20_000_000))
        await asyncio.sleep(1)
        start = asyncio.get_running_loop().time()
        await pair.a.close()
        assert asyncio.get_running_loop().time() - start == pytest.approx(3.0, abs=0.1)
        assert client.callbacks[-1] == "connection_lost"
        server.transport.resume_reading()
        await server.called("connection_lost")
        assert isinstance(server.lost, ConnectionResetError)
        assert 0 < len(server.data) < 20_000_000
    assert_nothing_left(before)


async def test_leaving_while_a_connection_is_being_made():
    before = descriptors()
    async with Network(seed=1) as network:
        pair = Pair(network)
        pair.link.down()
        connecting = asyncio.create_task(pair.a.create_connection(Recorder, "b", 80))
        await asyncio.sleep(0.1)
    with pytest.raises(OSError) as caught:
        await connecting
    assert caught.value.errno == errno.ECONNABORTED
    assert_nothing_left(before)


async def test_leaving_in_the_middle_of_everything():
    """Half-open, half-closed, closing, paused, datagrams, pings, servers nobody used."""
    before = descriptors()
    async with Network(seed=1) as network:
        pair = Pair(network, HalfOpen, StackConfig(close_timeout=1.0))
        half_closed, _ = await pair.connect(HalfOpen)
        half_closed.transport.write_eof()
        closing, server = await pair.connect(PausedReader)
        server.transport.write(bytes(20_000_000))
        server.transport.close()
        await pair.b.create_datagram_endpoint(Datagrams, ("10.0.0.2", 9))
        await pair.b.create_server(Recorder, None, 81, start_serving=False)
        await asyncio.sleep(0.1)
        tasks = [
            asyncio.create_task(pair.a.create_connection(Recorder, "b", 80)),
            asyncio.create_task(pair.a.ping("b", timeout=60)),
            asyncio.create_task(pair.server.serve_forever()),
        ]
        await asyncio.sleep(0.005)
        pair.link.down()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, BaseException) for result in results[:2])
    assert isinstance(results[2], asyncio.CancelledError)
    for protocol in (half_closed, closing, *pair.accepted):
        assert protocol.callbacks.count("connection_lost") == 1
    assert_nothing_left(before)


async def test_a_handler_that_goes_on_after_the_end_is_told():
    """What an application does with a closed stack's objects fails in words, or does nothing."""
    async with Network(seed=1) as network:
        pair = Pair(network)
        client, _ = await pair.connect()
        transport, _ = await pair.a.create_datagram_endpoint(Datagrams, ("10.0.0.1", 9))
    client.transport.write(b"late")
    client.transport.close()
    transport.sendto(b"late", ("10.0.0.2", 9))
    assert pair.server.sockets == ()
    for call in (
        lambda: pair.a.create_connection(Recorder, "b", 80),
        lambda: pair.a.create_server(Recorder, None, 80),
        lambda: pair.a.create_datagram_endpoint(Datagrams, ("10.0.0.1", 9)),
        lambda: pair.a.ping("b"),
        lambda: pair.a.add_interface(LoopbackDevice("late")),
    ):
        with pytest.raises(RuntimeError, match="closed"):
            await call()
    with pytest.raises(RuntimeError, match="closed"):
        pair.a.attach(LoopbackDevice("late"))


async def test_the_exception_of_the_body_comes_out_of_a_network():
    with pytest.raises(ZeroDivisionError):
        async with Network(seed=1) as network:
            pair = Pair(network)
            client, _ = await pair.connect()
            raise ZeroDivisionError
    assert client.callbacks[-1] == "connection_lost"
