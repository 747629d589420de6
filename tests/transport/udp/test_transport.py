"""Datagram endpoints, beyond what the kernel's have in common with them: see asyncio_contract/test_datagrams."""

import asyncio
import errno

import pytest

from asyncstack import Stack, memory_pair
from asyncstack.transport.udp.endpoint import WAYS_KEPT
from asyncstack.transport.udp.queue import WAITING_LIMIT
from tests.transport.asyncio_contract.recorders import Datagrams

pytestmark = pytest.mark.virtual_time


async def endpoints(network, **link):
    """An endpoint of host a, and one of host b on port 7."""
    a, b = network.host("a", "10.0.0.1/24", "fd00::1/64"), network.host("b", "10.0.0.2/24", "fd00::2/64")
    made = network.link(a, b, **link)
    _, near = await a.create_datagram_endpoint(Datagrams, ("0.0.0.0", 0))
    _, far = await b.create_datagram_endpoint(Datagrams, ("0.0.0.0", 7))
    return a, b, made, near, far


async def test_ipv6(network):
    _, b, _, _, _ = await endpoints(network)
    a = network.hosts["a"]
    _, far = await b.create_datagram_endpoint(Datagrams, ("fd00::2", 7))
    transport, near = await a.create_datagram_endpoint(Datagrams, remote_addr=("b", 7), family=10)
    transport.sendto(b"six")
    assert await far.received(1) == [b"six"]
    far.transport.sendto(b"answer", far.datagrams[0][1])
    assert await near.received(1) == [b"answer"]
    assert near.datagrams[0][1] == ("fd00::2", 7, 0, 0)
    assert transport.get_extra_info("peername") == ("fd00::2", 7, 0, 0)
    transport.sendto(b"again", ("fd00::2", 7, 0, 0))
    transport.sendto(b"again", ("fd00:0::2", 7))
    assert len(await far.received(3)) == 3


async def test_a_datagram_that_arrives_before_connection_made_waits_for_it(network):
    _, b, _, near, _ = await endpoints(network)
    near.transport.sendto(b"early", ("10.0.0.2", 9))
    # started now, the endpoint is bound in this turn, in which the datagram is about to arrive
    _, protocol = await b.create_datagram_endpoint(Datagrams, ("10.0.0.2", 9))
    assert await protocol.received(1) == [b"early"]
    assert protocol.callbacks == ["connection_made", "datagram_received"]


async def test_the_first_datagram_waits_for_the_neighbour(network):
    _, _, _, near, far = await endpoints(network, delay=0.01, ethernet=True)
    for number in range(3):
        near.transport.sendto(b"%d" % number, ("10.0.0.2", 7))
    assert await far.received(3) == [b"0", b"1", b"2"]


async def test_a_neighbour_that_does_not_answer(network):
    a, _, _, near, _ = await endpoints(network, ethernet=True)
    _, connected = await a.create_datagram_endpoint(Datagrams, remote_addr=("10.0.0.9", 7))
    connected.transport.sendto(b"anybody?")
    near.transport.sendto(b"anybody?", ("10.0.0.9", 7))
    await asyncio.sleep(10)
    assert [error.errno for error in connected.errors] == [errno.EHOSTUNREACH]
    assert near.errors == []


async def test_paths_remembered_are_bounded_and_follow_the_routes(network):
    a, _, _, near, far = await endpoints(network)
    for number in range(3 * WAYS_KEPT):
        near.transport.sendto(b"x", (f"10.0.0.{2 + number % 250}", 7))
    assert len(near.transport._endpoint._ways) == WAYS_KEPT
    near.transport.sendto(b"now", ("10.0.0.2", 7))
    await far.until(lambda: far.datagrams[-1:] and far.datagrams[-1][0] == b"now")
    interface = next(each for each in a.interfaces if each.name != "lo")
    await a.remove_interface(interface)
    near.transport.sendto(b"no route now", ("10.0.0.2", 7))
    assert near.errors[-1].errno == errno.ENETUNREACH


async def test_a_connected_endpoint_hears_that_its_interface_went(network):
    a, _, link, near, _ = await endpoints(network)
    _, connected = await a.create_datagram_endpoint(Datagrams, remote_addr=("10.0.0.2", 7))
    link.ends[0].set_down()
    await asyncio.sleep(0.1)
    assert [error.errno for error in connected.errors] == [errno.ENETDOWN]
    assert near.errors == []
    assert not connected.transport.is_closing()


async def test_port_zero_is_nobody_s(network):
    _, _, _, near, _ = await endpoints(network)
    near.transport.sendto(b"x", ("10.0.0.2", 0))
    assert [error.errno for error in near.errors] == [errno.EINVAL]
    with pytest.raises(OverflowError):
        near.transport.sendto(b"x", ("10.0.0.2", 65536))


async def test_leaving_the_stack_closes_endpoints():
    async with Stack() as stack:
        near, _far = memory_pair()
        stack.attach(near, ["10.0.0.1/24"])
        transport, protocol = await stack.create_datagram_endpoint(Datagrams, ("10.0.0.1", 0))
    assert protocol.callbacks == ["connection_made", "connection_lost"]
    assert transport.is_closing()
    assert "closing" in repr(transport)


async def test_oneself_over_loopback(network):
    a, _, _, near, _ = await endpoints(network)
    _, own = await a.create_datagram_endpoint(Datagrams, ("127.0.0.1", 0))
    port = own.transport.get_extra_info("sockname")[1]
    near.transport.sendto(b"me", ("127.0.0.1", port))
    assert await own.received(1) == [b"me"]


# datagrams that wait


class Waiting:
    """Two stacks on a link whose inbox takes four frames; `source` sends to `sink`."""

    async def __aenter__(self):
        self.a, self.b = Stack(), Stack()
        self.near, far = memory_pair(inbox_frames=4)
        self.interface = self.a.attach(self.near, ["10.1.0.1/24"])
        self.b.attach(far, ["10.1.0.2/24"])
        _, self.sink = await self.b.create_datagram_endpoint(Datagrams, ("10.1.0.2", 9))
        _, self.source = await self.a.create_datagram_endpoint(Datagrams, ("0.0.0.0", 0))
        return self

    async def __aexit__(self, *_):
        await self.a.close()
        await self.b.close()

    def send(self, data, to="10.1.0.2"):
        self.source.transport.sendto(data, (to, 9))


async def test_nothing_overtakes_what_waits():
    async with Waiting() as waiting:
        for number in range(6):
            waiting.send(b"%d" % number)
        assert not waiting.near.writable
        waiting.near.writable = True  # there is room again, but the queue has not had its turn
        waiting.near.peer.inbox_frames = 100
        waiting.send(b"6")
        assert await waiting.sink.received(7) == [b"%d" % number for number in range(7)]


async def test_datagrams_without_bytes_do_not_wait_without_bound():
    async with Waiting() as waiting:
        for _ in range(2 * WAITING_LIMIT):
            waiting.send(b"")
        queue = waiting.source.transport._queue
        assert len(queue) == WAITING_LIMIT
        assert not queue.has_room
        queue.clear()


async def test_a_turn_is_bounded():
    async with Waiting() as waiting:
        for _ in range(20):
            waiting.send(bytes(1000))
        waiting.near.peer.inbox_frames = 100
        waiting.near.writable = True
        transport = waiting.source.transport
        waiting.interface.forget(transport._queue)
        assert transport._queue.transmit(0.0, 2500)  # there is more
        assert transport.get_write_buffer_size() == 13_000
        assert not transport._queue.transmit(0.0, 1 << 20)
        assert transport.get_write_buffer_size() == 0


async def test_a_datagram_too_long_that_had_to_wait():
    async with Waiting() as waiting:
        for _ in range(6):
            waiting.send(b"x")
        waiting.send(bytes(65508))
        waiting.send(b"last")
        assert waiting.source.errors == []
        await waiting.sink.received(7)
        assert [error.errno for error in waiting.source.errors] == [errno.EMSGSIZE]
        assert waiting.sink.datagrams[-1][0] == b"last"


async def test_waiting_for_two_interfaces():
    """One is full: what is for the other waits its turn, without a spinning loop, and arrives."""
    async with Waiting() as waiting, Stack() as c:
        near, far = memory_pair()
        other = waiting.a.attach(near, ["10.2.0.1/24"])
        c.attach(far, ["10.2.0.2/24"])
        _, second = await c.create_datagram_endpoint(Datagrams, ("10.2.0.2", 9))
        waiting.near.writable = False
        for number in range(3):
            waiting.send(b"%d" % number)
            waiting.send(b"%d" % number, to="10.2.0.2")
        flushes, flush = [], other.flush
        other.flush = lambda: flushes.append(1) or flush()
        other.mark_ready(waiting.source.transport._queue)
        await asyncio.sleep(1)
        assert len(flushes) < 10
        waiting.near.writable = True
        waiting.near.on_writable()
        for sink in (waiting.sink, second):
            assert await sink.received(3) == [b"0", b"1", b"2"]


async def test_a_closed_endpoint_hears_of_no_error():
    async with Waiting() as waiting:
        _, source = await waiting.a.create_datagram_endpoint(Datagrams, remote_addr=("10.1.0.2", 9))
        for _ in range(10):
            source.transport.sendto(b"x")
        source.transport.close()
        await waiting.a.remove_interface(waiting.interface)
        await source.called("connection_lost")
        assert source.callbacks == ["connection_made", "connection_lost"]


@pytest.mark.parametrize("turns", range(4))
async def test_an_endpoint_cancelled_while_it_is_made(turns):
    async with Stack() as stack:
        protocol = Datagrams()
        opening = asyncio.create_task(stack.create_datagram_endpoint(lambda: protocol, ("127.0.0.1", 7)))
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        try:
            (await opening)[0].close()
        except asyncio.CancelledError:
            pass
        await asyncio.sleep(0.01)
        assert protocol.callbacks in ([], ["connection_made", "connection_lost"])
        assert not stack.udp.endpoints
