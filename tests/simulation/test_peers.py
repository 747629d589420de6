"""Peers that do not do their part: slow, silent, gone, cut off."""

import asyncio
import errno

import pytest

from asyncstack.config import StackConfig, TcpConfig
from tests.transport.asyncio_contract.recorders import reset

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("nothing_left")]

MB = 1_000_000
both_versions = pytest.mark.parametrize("version", [4, 6])


def hosts(network, version, config=None):
    """The two ends of a link; `config` is that of the first."""
    prefix = "10.0.0.{}/24" if version == 4 else "fd00::{}/64"
    return network.host("a", prefix.format(1), config=config), network.host("b", prefix.format(2))


def buffered(stack):
    """Bytes that the connections of `stack` hold, received and unread or sent and not acknowledged."""
    return sum(
        endpoint.connection.unread + endpoint.connection.queued for endpoint in stack.tcp.connections.values()
    )


async def test_slow_reader_closes_the_window_and_gets_everything(pair, stream):
    pair.link(delay=0.005, rate=1e9)
    data = stream(10 * MB)
    drained = []

    async def serve(reader, writer):
        loop = asyncio.get_running_loop()
        await data.send(writer)
        drained.append(loop.time())
        writer.close()
        await writer.wait_closed()

    await pair.serve(serve)
    reader, writer = await pair.connect()
    received = bytearray()
    while chunk := await reader.read(100_000):
        received += chunk
        await asyncio.sleep(1.0)  # 100 kB/s at most
    assert bytes(received) == b"".join(data.chunks())
    assert drained[0] > 20  # the sender had to wait
    writer.close()
    await writer.wait_closed()


async def test_reader_that_never_reads_holds_the_sender_and_bounds_its_memory(pair):
    pair.link(delay=0.005)
    written = 0

    async def serve(reader, writer):
        nonlocal written
        while True:
            writer.write(bytes(65536))
            written += 65536
            await writer.drain()

    await pair.serve(serve)
    reader, writer = await pair.connect()
    await asyncio.sleep(60)
    stalled = written
    await asyncio.sleep(600)
    assert written == stalled < 16 * MB
    assert buffered(pair.client) <= 2 * MB
    assert buffered(pair.client) + buffered(pair.server) < 16 * MB
    assert len(pair.server.tcp.connections) == 1  # probes of the zero window keep it alive
    assert len(await reader.readexactly(MB)) == MB
    await asyncio.sleep(60)
    assert written > stalled  # and it goes on
    writer.transport.abort()


async def test_link_down_for_a_while_only_delays(pair, stream, digest_of):
    link = pair.link(delay=0.01, rate=100e6)
    data = stream(20 * MB)

    async def serve(reader, writer):
        await data.send(writer)
        writer.close()
        await writer.wait_closed()

    async def cut():
        await asyncio.sleep(0.5)
        link.down()
        await asyncio.sleep(30)
        link.up()

    await pair.serve(serve)
    reader, writer = await pair.connect()
    _, result = await asyncio.gather(cut(), digest_of(reader))
    assert result == (data.size, data.digest)
    assert asyncio.get_running_loop().time() > 30.5
    assert link.backward.stats.cut > 0
    writer.close()
    await writer.wait_closed()


@both_versions
async def test_link_down_for_good_ends_the_sender(network, version):
    config = StackConfig(tcp=TcpConfig(user_timeout=120.0))
    a, b = hosts(network, version, config)
    link = network.link(a, b, delay=0.01)

    async def serve(reader, writer):
        await reader.read()

    await b.start_server(serve, "b", 80)
    _, writer = await a.open_connection("b", 80)
    link.down()
    writer.write(b"anybody there?")
    started = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError) as caught:
        while True:
            await writer.drain()
            await asyncio.sleep(1)
    assert caught.value.errno == errno.ETIMEDOUT
    assert 100 < asyncio.get_running_loop().time() - started < 260


async def test_half_open_peer_is_found_out_by_data(pair):
    """The server restarts while the link is down: what comes for the old connection is answered with RST."""
    link = pair.link(delay=0.01)

    accepted = []

    async def serve(reader, writer):
        accepted.append(writer.transport)
        await reader.read()

    await pair.serve(serve)
    reader, writer = await pair.connect()
    await asyncio.sleep(1)
    link.down()
    reset(accepted[0])
    await asyncio.sleep(1)
    assert not pair.server.tcp.connections
    link.up()
    writer.write(b"still there?")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    with pytest.raises(ConnectionResetError):
        await writer.wait_closed()


@both_versions
async def test_half_open_peer_is_found_out_by_keepalive(network, version):
    config = StackConfig(
        tcp=TcpConfig(keepalive=True, keepalive_idle=60, keepalive_interval=10, keepalive_count=3)
    )
    a, b = hosts(network, version, config)
    link = network.link(a, b, delay=0.01)

    async def serve(reader, writer):
        await reader.read()

    await b.start_server(serve, "b", 80)
    reader, writer = await a.open_connection("b", 80)
    waiting = asyncio.create_task(reader.read())
    await asyncio.sleep(1000)
    assert not waiting.done()  # the peer answers
    link.down()
    started = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await waiting
    assert asyncio.get_running_loop().time() - started < 60 + 3 * 10 + 1
    writer.close()
    with pytest.raises(TimeoutError):
        await writer.wait_closed()


async def test_nobody_listens(pair):
    pair.link(delay=0.01)
    with pytest.raises(ConnectionRefusedError):
        await pair.connect()
    assert asyncio.get_running_loop().time() == pytest.approx(0.02)


@both_versions
async def test_nobody_is_there(network, version):
    config = StackConfig(tcp=TcpConfig(syn_retries=3))
    a, b = hosts(network, version, config)
    network.link(a, b, delay=0.01, loss=1.0)
    with pytest.raises(TimeoutError):
        await a.open_connection("b", 80)
    assert asyncio.get_running_loop().time() == pytest.approx(15.0)  # 1 + 2 + 4 + 8


@both_versions
async def test_closing_the_network_under_a_transfer_tells_both(network, version):
    a, b = hosts(network, version)
    network.link(a, b, delay=0.01, rate=10e6)
    ended = []

    async def serve(reader, writer):
        try:
            while True:
                writer.write(bytes(65536))
                await writer.drain()
        except OSError as exc:
            ended.append(type(exc))

    await b.start_server(serve, "b", 80)
    reader, _ = await a.open_connection("b", 80)
    await reader.readexactly(MB)
    await network.close()
    await asyncio.sleep(0)
    assert len(ended) == 1
    assert issubclass(ended[0], ConnectionError)


async def test_first_segments_lost(pair):
    """A rule drops the first SYN, the first SYN-ACK and the first data: each is sent again after its time."""
    from asyncstack.testing.impairment import Verdict
    from asyncstack.wire import tcp

    def drop_first(wanted):
        done = []

        def rule(packet):
            if not done and packet.tcp is not None and wanted(packet.tcp):
                done.append(packet.number)
                return Verdict.DROP
            return Verdict.PASS

        return rule

    link = pair.link(delay=0.01)
    link.forward.set(rule=drop_first(lambda segment: segment.flags & tcp.SYN))
    link.backward.set(rule=drop_first(lambda segment: segment.flags & tcp.SYN))

    async def serve(reader, writer):
        writer.write(await reader.readexactly(5))
        writer.close()
        await writer.wait_closed()

    await pair.serve(serve)
    reader, writer = await pair.connect()
    assert 2.0 <= asyncio.get_running_loop().time() < 4.0
    link.forward.set(rule=drop_first(lambda segment: segment.payload))
    writer.write(b"hello")
    assert await reader.read() == b"hello"
    assert link.forward.stats.refused == 2
    assert link.backward.stats.refused == 1
    writer.close()
    await writer.wait_closed()
