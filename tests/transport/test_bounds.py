"""Memory is bounded, whatever the peer or the application does: floods, scans, readers that never read."""

import asyncio
import errno

import pytest

from asyncstack import StackConfig, TcpConfig
from asyncstack.wire import tcp
from asyncstack.wire.tcp import ACK, RST, SYN
from tests.transport.asyncio_contract.recorders import PausedReader, Recorder
from tests.transport.wire import OURS6, PEER6, wire

__all__ = ["wire"]

pytestmark = pytest.mark.virtual_time

MB = 1_000_000


@pytest.fixture(params=[4, 6], autouse=True)
def version(request):
    """Every test goes over both families."""
    if "wire" in request.fixturenames and request.param == 6:
        wire = request.getfixturevalue("wire")
        wire.peer, wire.ours = PEER6, OURS6
    return request.param


def join(network, version, **configs):
    """Hosts a and b, and a link of one family."""
    prefix = "10.0.0.{}/24" if version == 4 else "fd00::{}/64"
    a, b = (
        network.host(name, prefix.format(number), config=configs.get(name))
        for number, name in enumerate("ab", 1)
    )
    network.link(a, b, delay=0.001)
    return a, b


@pytest.mark.parametrize("cookies", ["off", "when full"])
async def test_half_open_connections_are_bounded(wire, cookies):
    wire.stack.config.tcp.syn_cookies = cookies
    backlog = wire.stack.config.tcp.syn_backlog
    await wire.stack.create_server(wire.accept, wire.ours, 80)
    for number in range(3 * backlog):
        wire.send((1024 + number, 80), SYN)
        if number % 50 == 0:
            await asyncio.sleep(0.0001)
            assert len(wire.stack.tcp.connections) <= backlog
    await asyncio.sleep(0.001)
    assert len(wire.stack.tcp.connections) == backlog
    assert wire.stack.counters["tcp.syn_backlog_full"] == 2 * backlog
    assert len(wire.answers()) == (backlog if cookies == "off" else 3 * backlog)
    assert wire.accepted == []  # no protocol is made for them
    # who answers gets in during the flood, if there are cookies
    wire.send((80, 80), SYN)
    await asyncio.sleep(0.0001)
    for answer in wire.answers():
        wire.send((80, 80), ACK, 1001, (answer.seq + 1) & 0xFFFFFFFF)
    await asyncio.sleep(0.0001)
    entered = 0 if cookies == "off" else 1
    assert len(wire.accepted) == entered
    await asyncio.sleep(120)  # the others time out
    assert len(wire.stack.tcp.connections) == entered


async def test_data_that_comes_with_the_handshake_s_last_segment(wire):
    """All in one batch: the data, and the end, are there before the protocol is made."""
    await wire.stack.create_server(wire.accept, wire.ours, 80)
    wire.send((5, 80), SYN)
    await asyncio.sleep(0.001)
    (answer,) = wire.answers()
    ack = (answer.seq + 1) & 0xFFFFFFFF
    wire.send((5, 80), ACK, 1001, ack)
    wire.send((5, 80), ACK, 1001, ack, payload=b"early")
    wire.send((5, 80), ACK | tcp.FIN, 1006, ack)
    await asyncio.sleep(0.001)
    (protocol,) = wire.accepted
    assert protocol.callbacks == ["connection_made", "data_received", "eof_received", "connection_lost"]
    assert protocol.data == b"early"


async def test_closing_the_listener_resets_what_is_half_open(wire):
    server = await wire.stack.create_server(wire.accept, wire.ours, 80)
    for port in range(1, 31):
        wire.send((port, 80), SYN)
    await asyncio.sleep(0.001)
    wire.answers()
    server.close()
    await asyncio.sleep(0.001)
    assert [each.flags & RST for each in wire.answers()] == [RST] * 30
    assert not wire.stack.tcp.connections


async def test_more_handshakes_in_one_turn_than_the_backlog(wire):
    """The application has no turn between them: as on Linux ACKs beyond the backlog are dropped, those connections
    stay SYN-RECEIVED and get in with the answer to the next SYN-ACK. The rest is for the peers to repeat."""
    await wire.stack.create_server(wire.accept, wire.ours, 80, backlog=5)
    for port in range(1, 11):
        wire.send((port, 80), SYN)
    await asyncio.sleep(0.001)
    synacks = wire.answers()
    assert len(synacks) == 10
    for answer in synacks:
        wire.send((answer.dst_port, 80), ACK, 1001, (answer.seq + 1) & 0xFFFFFFFF)
    wire.send((99, 80), SYN)
    await asyncio.sleep(0.001)
    assert len(wire.accepted) == 5
    states = [one.connection.state.value for one in wire.stack.tcp.connections.values()]
    assert states == ["ESTABLISHED"] * 5 + ["SYN-RECEIVED"] * 5
    assert wire.stack.counters["tcp.accept_queue_full"] == 6
    assert [each.dst_port for each in wire.answers() if each.flags & SYN] == []
    wire.send((99, 80), SYN)
    await asyncio.sleep(0.001)
    assert [each.dst_port for each in wire.answers() if each.flags & SYN] == [99]
    await asyncio.sleep(1.0)
    repeated = [each for each in wire.answers() if each.flags & SYN and each.dst_port != 99]
    assert [each.dst_port for each in repeated] == [6, 7, 8, 9, 10]
    for answer in repeated:
        wire.send((answer.dst_port, 80), ACK, 1001, (answer.seq + 1) & 0xFFFFFFFF)
    await asyncio.sleep(0.001)
    assert len(wire.accepted) == 10


@pytest.mark.parametrize("wire", [StackConfig(connection_limit=10)], indirect=True)
async def test_the_limit_on_connections(wire):
    await wire.stack.create_server(wire.accept, wire.ours, 80)
    for port in range(1, 31):
        wire.send((port, 80), SYN)
    await asyncio.sleep(0.001)
    assert len(wire.stack.tcp.connections) == 10
    assert wire.stack.counters["tcp.connection_limit"] == 20
    with pytest.raises(OSError, match="limit of 10 connections") as caught:
        await wire.stack.create_connection(Recorder, wire.peer, 80)
    assert caught.value.errno == errno.ENOBUFS


@pytest.mark.parametrize("flags", [SYN, ACK, tcp.FIN, RST, 0, SYN | ACK, tcp.FIN | tcp.PSH | tcp.URG])
async def test_a_scan_leaves_no_trace(wire, version, flags):
    """20,000 segments for closed ports, from as many places."""
    await wire.stack.create_server(wire.accept, wire.ours, 80)
    tables = (wire.stack.tcp.connections, wire.stack.tcp.lingering, wire.stack.tcp._time_wait)
    for number in range(20_000):
        source = f"10.0.{number // 250 % 250}.{1 + number % 250}" if version == 4 else f"fd00::1:{number:x}"
        source = source if source != wire.ours else wire.peer
        wire.send((number % 60_000 + 1, 81 + number % 60_000), flags, src=source)
        if number % 60 == 0:
            await asyncio.sleep(0.0001)
            if number % 6000 == 0:
                wire.answers()
    assert [len(table) for table in tables] == [0, 0, 0]
    assert [one.sockname[:2] for one in wire.stack.tcp.listeners] == [(wire.ours, 80)]
    assert len(wire.stack.counters) < 20


async def test_a_writer_that_ignores_pause_writing_meets_a_limit(network, version):
    """All transports of a stack share it, but those that obey do not meet it."""
    config = StackConfig(memory=16 * MB)
    a, b = join(network, version, a=config)
    accepted = []
    await b.create_server(lambda: accepted.append(PausedReader()) or accepted[-1], "b", 80)
    clients = [(await a.create_connection(Recorder, "b", 80))[1] for _ in range(2)]
    with pytest.raises(OSError, match=r"await drain\(\), or obey pause_writing\(\)") as caught:
        for _ in range(1000):
            clients[0].transport.write(bytes(65536))
            await asyncio.sleep(0.001)
    assert caught.value.errno == errno.ENOBUFS
    assert a.tcp.memory.held <= 8 * MB + 65536
    clients[1].transport.write(b"x")
    assert clients[0].callbacks[-1] == "pause_writing"  # it lives
    for protocol, size in zip(accepted, (8 * MB, 1), strict=True):
        protocol.transport.resume_reading()
        await protocol.received(size)
    await asyncio.sleep(10)
    assert a.tcp.memory.held == 0


async def test_many_that_obey_meet_a_limit_too(network, version):
    """Each fills its send buffer; memory is bounded all the same."""
    config = StackConfig(memory=2 * MB)
    a, b = join(network, version, a=config)
    await b.create_server(PausedReader, "b", 80)
    clients = [(await a.create_connection(Recorder, "b", 80))[1] for _ in range(200)]
    with pytest.raises(OSError, match="obey pause_writing") as caught:
        for client in clients:
            client.transport.write(bytes(100_000))
    assert caught.value.errno == errno.ENOBUFS
    assert 2 * MB < a.tcp.memory.held <= 2 * MB + 100_000


@pytest.mark.parametrize("end", ["close", "abort", "reset by the peer"])
async def test_the_count_of_buffered_bytes_returns_to_zero(network, version, end):
    a, b = join(network, version)
    accepted = []
    await b.create_server(lambda: accepted.append(PausedReader()) or accepted[-1], "b", 80)
    _, client = await a.create_connection(Recorder, "b", 80)
    await asyncio.sleep(0.1)
    client.transport.write(bytes(10 * MB))
    await asyncio.sleep(0.1)
    assert a.tcp.memory.held > 8 * MB
    if end == "reset by the peer":
        accepted[0].transport.abort()
    else:
        getattr(client.transport, end)()
        accepted[0].transport.resume_reading()
    await client.called("connection_lost")
    await asyncio.sleep(5)
    assert a.tcp.memory.held == 0


async def test_a_reader_that_never_reads_holds_no_more_than_its_buffer(network, version):
    settings = TcpConfig(receive_buffer=200_000, tune_receive_buffer=False)
    a, b = join(network, version, b=StackConfig(tcp=settings))
    accepted = []
    await b.create_server(lambda: accepted.append(PausedReader()) or accepted[-1], "b", 80)
    _, client = await a.create_connection(Recorder, "b", 80)
    client.transport.write(bytes(10 * MB))
    await asyncio.sleep(600)
    (endpoint,) = b.tcp.connections.values()
    assert 150_000 < endpoint.connection.unread <= 200_000
    accepted[0].transport.resume_reading()
    await accepted[0].received(10 * MB)


async def test_a_stream_reader_that_never_reads_holds_its_limit(network, version):
    a, b = join(network, version)
    readers = []

    async def handler(reader, writer):
        readers.append(reader)
        await asyncio.sleep(100)
        writer.close()

    await b.start_server(handler, "b", 80, limit=10_000)
    _, writer = await a.open_connection("b", 80)
    writer.write(bytes(10 * MB))
    await asyncio.sleep(50)
    assert len(readers[0]._buffer) <= 10_000 * 2 + b.config.tcp.receive_buffer
    writer.transport.abort()


@pytest.mark.parametrize("wire", [StackConfig(time_wait_limit=100)], indirect=True)
async def test_time_wait_is_bounded(wire, version):
    stack, loopback = wire.stack, "127.0.0.1" if version == 4 else "::1"
    server = await stack.create_server(Recorder, loopback, 80)
    for _ in range(300):
        _, client = await stack.create_connection(Recorder, loopback, 80)
        client.transport.close()
        await client.called("connection_lost")
    await asyncio.sleep(0.1)
    assert len(stack.tcp._time_wait) == 100
    assert not stack.tcp.connections
    await asyncio.sleep(61)
    assert len(stack.tcp._time_wait) == 0
    server.close()
