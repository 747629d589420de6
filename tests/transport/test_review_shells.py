"""Cases that a reviewer of the shells did not trust: each was a defect, or is the guard against one."""

import asyncio
import errno
import gc
import socket
from collections import Counter

import pytest

from asyncstack import Stack, StackConfig, TcpConfig, memory_pair

pytestmark = pytest.mark.virtual_time(limit=10_000)


class Recorder(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self):
        self.data = bytearray()
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data

    def connection_lost(self, exc):
        self.lost.set_result(exc)


class Two:
    """Hosts `a` and `b` and one link."""

    def __init__(self, network, config=None, **link):
        self.network = network
        self.a = network.host("a", "10.0.0.1/24", config=config)
        self.b = network.host("b", "10.0.0.2/24", config=config)
        self.link = network.link(self.a, self.b, **link)
        self.accepted = []
        self.reported = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: self.reported.append(context))

    @property
    def interface(self):
        """The interface of `a`."""
        return next(i for i in self.a.interfaces if i.device is self.link.ends[0])

    async def connect(self):
        """(client, server) protocols."""
        if not self.b.servers:
            await self.b.create_server(self._accept, "b", 80)
        _, client = await self.a.create_connection(Recorder, "b", 80)
        await asyncio.sleep(1)
        return client, self.accepted[-1]

    def _accept(self):
        self.accepted.append(Recorder())
        return self.accepted[-1]


async def test_keepalive_set_on_a_connection_that_is_idle_from_then_on(network):
    two = Two(network, delay=0.01)
    _client, server = await two.connect()
    sock = server.transport.get_extra_info("socket")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    two.link.down()
    async with asyncio.timeout(30):
        assert isinstance(await server.lost, TimeoutError)


async def test_nodelay_lets_what_waits_go(network):
    two = Two(network, config=StackConfig(tcp=TcpConfig(nodelay=False)), delay=0.2)
    client, server = await two.connect()
    client.transport.write(b"1")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    client.transport.write(b"2")
    await asyncio.sleep(0)
    client.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await asyncio.sleep(0.21)
    assert server.data == b"12"


@pytest.mark.parametrize("value", [-1, 0, 1, 1000])
async def test_tiny_buffer_sizes_do_not_shut_the_window(network, value):
    two = Two(network, delay=0.001)
    client, server = await two.connect()
    server.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, value)
    client.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, value)
    client.transport.write(bytes(200_000))
    await asyncio.sleep(200)
    assert len(server.data) == 200_000
    client.transport.write_eof()
    async with asyncio.timeout(10):
        await client.lost


@pytest.mark.parametrize("end", ["reset", "time-wait"])
async def test_interface_removed_before_the_last_segment_of_a_connection_has_left(network, end):
    """It never will; the connection may not wait for that."""
    two = Two(network, delay=0.01)
    client, _server = await two.connect()
    if end == "reset":
        client.transport.abort()
    else:
        client.transport.write_eof()
        await asyncio.sleep(0.012)
        two.interface.device.writable = False
        await asyncio.sleep(1)
        assert [e.connection.state.name for e in two.a.tcp.connections.values()] == ["TIME_WAIT"]
    await two.a.remove_interface(two.interface)
    await asyncio.sleep(1)
    assert not two.a.tcp.connections
    assert client.lost.done()


async def test_connect_over_a_device_that_has_no_room(network):
    """It was writable when the SYN was queued; nothing can be sent ever after."""
    two = Two(network, config=StackConfig(tcp=TcpConfig(syn_retries=2)), delay=0.01)
    opening = asyncio.create_task(two.a.open_connection("b", 80))
    await asyncio.sleep(0)
    two.interface.device.writable = False
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await opening
    assert opening.done() and not opening.cancelled()
    two.interface.device.writable = True
    two.interface.device.on_writable()


@pytest.mark.parametrize("writes_first", [True, False])
async def test_user_timeout_while_the_device_has_no_room(network, writes_first):
    two = Two(network, config=StackConfig(tcp=TcpConfig(user_timeout=100.0)), delay=0.01)
    client, _server = await two.connect()
    if writes_first:
        client.transport.write(b"anybody there?")
        two.interface.device.writable = False
    else:
        two.interface.device.writable = False
        client.transport.write(b"anybody there?")
    async with asyncio.timeout(1000):
        assert isinstance(await client.lost, TimeoutError)
    two.interface.device.writable = True
    two.interface.device.on_writable()


async def test_device_without_room_for_a_while_only_delays(network):
    two = Two(network, config=StackConfig(tcp=TcpConfig(user_timeout=100.0)), delay=0.01)
    client, server = await two.connect()
    two.interface.device.writable = False
    client.transport.write(bytes(100_000))
    client.transport.write_eof()
    await asyncio.sleep(60)
    two.interface.device.writable = True
    two.interface.device.on_writable()
    await asyncio.sleep(1)
    assert len(server.data) == 100_000


async def test_user_timeout_of_data_that_waits_for_a_neighbour(network):
    """The neighbour's entry is gone before the first byte is written: the data never leaves."""
    two = Two(network, config=StackConfig(tcp=TcpConfig(user_timeout=100.0)), delay=0.01, ethernet=True)
    client, _server = await two.connect()
    two.link.down()
    two.interface.link.neighbors4.clear()
    client.transport.write(b"anybody there?")
    async with asyncio.timeout(1000):
        error = await client.lost
    assert error.errno == errno.EHOSTUNREACH


async def test_user_timeout_of_data_without_a_route(network):
    two = Two(network, config=StackConfig(tcp=TcpConfig(user_timeout=100.0)), delay=0.01)
    client, _server = await two.connect()
    routes = two.a.routes
    routes.remove(next(r for r in routes.routes() if r.interface is two.interface))
    client.transport.write(b"anybody there?")
    async with asyncio.timeout(1000):
        assert isinstance(await client.lost, OSError)


async def test_neighbour_that_is_away_for_a_while_only_delays(network):
    two = Two(network, delay=0.01, ethernet=True)
    client, server = await two.connect()
    two.link.down()
    two.interface.link.neighbors4.clear()
    client.transport.write(bytes(100_000))
    await asyncio.sleep(50)
    two.link.up()
    await asyncio.sleep(60)
    assert len(server.data) == 100_000


async def test_idle_connection_does_not_ask_for_its_neighbour_for_ever(network):
    two = Two(network, delay=0.01, ethernet=True)
    client, _server = await two.connect()
    two.link.down()
    two.interface.link.neighbors4.clear()
    client.transport._endpoint.settle()  # something that gives it a turn, and it has nothing to say
    await asyncio.sleep(100)
    before = two.link.forward.stats.sent
    await asyncio.sleep(1000)
    assert two.link.forward.stats.sent == before


async def test_datagrams_that_wait_for_an_interface_that_goes_down(network):
    two = Two(network, delay=0.01)

    class Datagrams(asyncio.DatagramProtocol):
        lost = False

        def connection_lost(self, exc):
            self.lost = True

    transport, protocol = await two.a.create_datagram_endpoint(Datagrams, ("10.0.0.1", 0))
    two.interface.device.writable = False
    transport.sendto(b"never", ("10.0.0.2", 7))
    await two.a.remove_interface(two.interface)
    transport.close()
    await asyncio.sleep(1)
    assert protocol.lost


async def test_super_segments_are_cut_to_the_path_mtu(network):
    """A device that cuts nothing itself, and a path that takes less than it: a packet that fits the device still
    must not be larger than the path takes."""
    loop = asyncio.get_running_loop()
    near, far = memory_pair(offload=False)
    async with Stack() as a, Stack() as b:
        a.attach(near, ["10.0.0.1/24"])
        b.attach(far, ["10.0.0.2/24"])
        received = []

        async def serve(reader, writer):
            received.append(await reader.read())
            writer.close()

        await b.start_server(serve, "10.0.0.2", 80)
        a.routes.update_path_mtu(bytes([10, 0, 0, 2]), 600, loop.time())
        sizes, send = [], near.send
        near.send = lambda frame: (sizes.append(len(frame)), send(frame))[1]
        _, writer = await a.open_connection("10.0.0.2", 80)
        writer.write(bytes(1000))
        writer.write_eof()
        await asyncio.sleep(5)
        assert len(received[0]) == 1000
        assert max(sizes) == 600
        writer.close()


def population():
    """How many objects of each of our types there are."""
    types = (type(o) for o in gc.get_objects())
    return Counter(t.__qualname__ for t in types if str(t.__module__).startswith("asyncstack."))


@pytest.mark.parametrize("end", ["both close", "half-close", "abort"])
async def test_ended_connections_leave_nothing_to_the_garbage_collector(network, end):
    two = Two(network, delay=0.001)

    async def talk():
        client, server = await two.connect()
        client.transport.write(b"hello")
        await asyncio.sleep(0.01)
        if end == "abort":
            server.transport.abort()
        elif end == "half-close":
            client.transport.write_eof()
        else:
            server.transport.close()
            client.transport.close()
        await asyncio.sleep(1)
        two.accepted.clear()

    await talk()
    await asyncio.sleep(100)
    gc.collect()
    gc.disable()
    try:
        before = population()
        for _ in range(20):
            await talk()
        await asyncio.sleep(100)
        assert not {name: n for name, n in (population() - before).items() if n >= 20}
    finally:
        gc.enable()


class Lender(asyncio.BufferedProtocol):
    """Lends whatever it was given."""

    def __init__(self, buffer):
        self.buffer = buffer
        self.lost = asyncio.get_running_loop().create_future()

    def get_buffer(self, sizehint):
        return self.buffer

    def connection_lost(self, exc):
        self.lost.set_result(exc)


@pytest.mark.parametrize("buffer", [None, "text", b"read-only", memoryview(bytearray(10))[::2], 7])
async def test_buffers_that_can_not_be_filled_end_the_connection(network, buffer):
    two = Two(network, delay=0.001)
    lenders = []

    def accept():
        lenders.append(Lender(buffer))
        return lenders[-1]

    await two.b.create_server(accept, "b", 81)
    _, client = await two.a.create_connection(Recorder, "b", 81)
    client.transport.write(b"hello")
    client.transport.write_eof()
    await asyncio.sleep(5)
    assert lenders[0].lost.done()
    assert client.lost.done()
    assert len(two.reported) == 1


async def test_a_local_port_in_time_wait_is_in_use(network):
    """RFC 9293 3.10.1; and the clock of the initial numbers may be behind a fast connection's last one."""
    two = Two(network, delay=0.001)
    await two.connect()
    local = ("10.0.0.1", 1234)
    _, client = await two.a.create_connection(Recorder, "b", 80, local_addr=local)
    client.transport.close()
    await asyncio.sleep(1)
    with pytest.raises(OSError) as caught:
        await two.a.create_connection(Recorder, "b", 80, local_addr=local)
    assert caught.value.errno == errno.EADDRINUSE
    await asyncio.sleep(60)
    _, client = await two.a.create_connection(Recorder, "b", 80, local_addr=local)
    client.transport.close()


async def test_idle_connection_without_a_route_sets_no_timer(network):
    two = Two(network, delay=0.01)
    client, _ = await two.connect()
    routes = two.a.routes
    routes.remove(next(r for r in routes.routes() if r.interface is two.interface))
    client.transport._endpoint.settle()  # something that gives it a turn, and it has nothing to say
    await asyncio.sleep(1)
    assert asyncio.get_running_loop().timers == 0
