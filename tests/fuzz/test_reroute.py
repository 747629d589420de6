"""Routes that change under live connections: the way moves to another interface, or is gone for a while."""

import asyncio

import pytest

pytestmark = pytest.mark.virtual_time

SIZE = 200_000


class TwoLinks:
    """Hosts `a` and `b` with two links between them; a connection from a's address on the first."""

    def __init__(self, network, **second):
        self.a, self.b = network.host("a"), network.host("b")
        first = network.link(
            self.a, self.b, addresses=(["10.0.0.1/24"], ["10.0.0.2/24"]), rate=1e6, delay=0.01
        )
        other = network.link(
            self.a, self.b, addresses=(["10.0.1.1/24"], ["10.0.1.2/24"]), rate=1e6, delay=0.01, **second
        )
        self.first, self.second = (self._interface(link) for link in (first, other))
        self.received = bytearray()
        self.reported = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: self.reported.append(context))

    def _interface(self, link):
        return next(interface for interface in self.a.interfaces if interface.device is link.ends[0])

    async def connect(self):
        async def serve(reader, writer):
            try:
                while data := await reader.read(65536):
                    self.received += data
            except ConnectionResetError:
                pass
            writer.close()

        await self.b.start_server(serve, None, 80)
        _, self.writer = await self.a.open_connection("10.0.0.2", 80)
        self.writer.write(bytes(SIZE))

    def cut(self):
        routes = self.a.routes
        self.route = next(r for r in routes.routes() if r.interface is self.first and len(r.prefix) == 4)
        routes.remove(self.route)

    def move(self):
        self.a.routes.add(self.route.prefix, 24, self.second)


@pytest.mark.parametrize("mtu", (600, 1500))
async def test_a_connection_follows_its_route_to_another_interface(network, mtu):
    two = TwoLinks(network, mtu=mtu)
    await two.connect()
    await asyncio.sleep(0.2)
    two.cut()
    two.move()
    await asyncio.sleep(10)
    assert len(two.received) == SIZE
    (endpoint,) = two.a.tcp.connections.values()
    assert endpoint.path.interface is two.second
    assert endpoint.connection.path_mss == mtu - 40
    assert not two.reported


@pytest.mark.parametrize("gone", (0.02, 5.0, 100.0))
async def test_a_connection_waits_while_it_has_no_route(network, gone):
    two = TwoLinks(network)
    await two.connect()
    await asyncio.sleep(0.2)
    two.cut()
    await asyncio.sleep(gone)
    assert len(two.received) < SIZE
    two.move()
    await asyncio.sleep(10 + 2 * gone)
    assert len(two.received) == SIZE


async def test_connecting_without_a_route_ends_when_the_retries_do(network):
    two = TwoLinks(network)
    opening = asyncio.create_task(two.a.open_connection("10.0.0.77", 80))
    await asyncio.sleep(0)
    two.cut()
    with pytest.raises(TimeoutError):
        await opening
    assert not two.a.tcp.connections


async def test_an_end_while_queued_on_the_interface_that_was_left(network):
    """The turn to send is on one interface, the route by now on another: neither may keep the connection."""
    two = TwoLinks(network)
    await two.connect()
    await asyncio.sleep(0.2)
    (endpoint,) = two.a.tcp.connections.values()
    two.first.device.writable = False
    two.writer.write(b"more")
    assert endpoint.queued
    two.cut()
    two.move()
    endpoint.path_mtu_changed()
    assert endpoint.path.interface is two.second
    two.writer.transport.abort()
    await asyncio.sleep(0.01)
    assert not two.a.tcp.connections
    assert not two.first._ready and not two.second._ready
    two.first.device.writable = True
    two.first.device.on_writable()
    await asyncio.sleep(1)
    assert not two.reported
