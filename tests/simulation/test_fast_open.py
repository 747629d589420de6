"""Two stacks that open fast (RFC 7413): a request and its answer in one round trip."""

import asyncio

import pytest

from asyncstack import StackConfig, TcpConfig
from asyncstack.testing import Passing, Verdict
from asyncstack.transport.tcp.fast_open import WAIT

pytestmark = pytest.mark.virtual_time

FAST = StackConfig(tcp=TcpConfig(fast_open=16))
DELAY = 0.05


class World:
    """A client, a server that answers each request, and the link between them."""

    def __init__(self, network, client=FAST, server=FAST, family=4, **impairments):
        addresses = ("10.0.0.1/24", "10.0.0.2/24") if family == 4 else ("fd00::1/64", "fd00::2/64")
        self.client = network.host("client", addresses[0], config=client)
        self.server = network.host("server", addresses[1], config=server)
        self.link = network.link(self.client, self.server, delay=DELAY, **impairments)
        self.peers = []

    async def serve(self):
        async def answer(reader, writer):
            self.peers.append(writer.get_extra_info("peername"))
            writer.write(b"answer to " + await reader.readline())
            await reader.read()
            writer.close()

        return await self.server.start_server(answer, None, 80)

    async def ask(self, request=b"request\n"):
        """Returns (answer, seconds from the call to it)."""
        started = self.client.tcp.clock()
        reader, writer = await self.client.open_connection("server", 80)
        writer.write(request)
        answer = await reader.readline()
        took = self.client.tcp.clock() - started
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(1.0)
        return answer, took


@pytest.mark.parametrize("family", [4, 6])
async def test_rfc7413_1_the_second_request_takes_one_round_trip(network, family):
    world = World(network, family=family)
    await world.serve()
    assert await world.ask() == (b"answer to request\n", pytest.approx(4 * DELAY, abs=0.002))
    for _ in range(3):
        assert await world.ask() == (b"answer to request\n", pytest.approx(2 * DELAY, abs=0.002))
    assert world.server.counters["tcp.fast_open"] == 3
    assert len(world.peers) == 4


async def test_a_large_request_goes_on_after_the_handshake(network):
    world = World(network)
    await world.serve()
    await world.ask()
    answer, took = await world.ask(b"x" * 10_000 + b"\n")
    assert (len(answer), took) == (10_011, pytest.approx(4 * DELAY, abs=0.01))


@pytest.mark.parametrize("server", [StackConfig(), FAST])
@pytest.mark.parametrize("client", [StackConfig(), FAST])
async def test_one_end_alone_opens_as_ever(network, client, server):
    if client is server is FAST:
        return
    world = World(network, client, server)
    await world.serve()
    for _ in range(3):
        assert await world.ask() == (b"answer to request\n", pytest.approx(4 * DELAY, abs=0.002))
    assert world.server.counters["tcp.fast_open"] == 0


async def test_rfc7413_4_1_3_a_path_that_drops_syns_with_data(network):
    def drop(passing: Passing) -> Verdict:
        segment = passing.tcp
        syn_data = segment is not None and segment.flags & 2 and segment.payload
        return Verdict.DROP if syn_data else Verdict.PASS

    world = World(network, rule=drop)
    await world.serve()
    await world.ask()
    assert await world.ask() == (b"answer to request\n", pytest.approx(1.0 + 4 * DELAY, abs=0.01))
    assert await world.ask() == (b"answer to request\n", pytest.approx(4 * DELAY, abs=0.002))  # learned


async def test_the_server_may_speak_first(network):
    world = World(network)

    async def greet(reader, writer):
        writer.write(b"220 hello\n")
        await reader.read()
        writer.close()

    await world.server.start_server(greet, None, 80)
    for expected in (4 * DELAY, WAIT + 2 * DELAY):
        started = world.client.tcp.clock()
        reader, writer = await world.client.open_connection("server", 80)
        assert await reader.readline() == b"220 hello\n"
        assert world.client.tcp.clock() - started == pytest.approx(expected, abs=0.002)
        writer.close()
        await asyncio.sleep(1.0)


async def test_a_refusal_comes_as_the_end_of_the_connection(network):
    world = World(network)
    server = await world.serve()
    await world.ask()
    server.close()
    reader, writer = await world.client.open_connection("server", 80)
    writer.write(b"request\n")
    with pytest.raises(ConnectionRefusedError):
        await reader.readline()
    writer.close()


async def test_rfc7413_5_1_a_flood_with_a_stolen_cookie_is_bounded(network):
    config = StackConfig(tcp=TcpConfig(fast_open=4))
    world = World(network, server=config)
    await world.serve()
    await world.ask()
    held = []

    def hold(passing: Passing) -> Verdict:
        """The client's ACKs do not get through."""
        segment = passing.tcp
        return Verdict.DROP if segment is not None and not segment.flags & 2 else Verdict.PASS

    world.link.forward.set(rule=hold)
    for _ in range(10):
        _, writer = await world.client.open_connection("server", 80)
        writer.write(b"request\n")
        held.append(writer)
    await asyncio.sleep(0.2)
    assert world.server.counters["tcp.fast_open"] == 4
    for writer in held:
        writer.transport.abort()
