"""Backpressure: limits, pause_writing and resume_writing, drain()."""

import asyncio

import pytest

from tests.transport.asyncio_contract.media import OURS, contract
from tests.transport.asyncio_contract.recorders import PausedReader

MB = 1_000_000


@contract
async def test_limits(net):
    client, _ = await net.pair()
    transport = client.transport
    assert transport.get_write_buffer_limits() == (16 << 10, 64 << 10)
    for arguments, limits in [
        ({"high": 1000}, (250, 1000)),
        ({"low": 100}, (100, 400)),
        ({"high": 1000, "low": 1000}, (1000, 1000)),
        ({"high": 0}, (0, 0)),
        ({"high": 5, "low": 0}, (0, 5)),
        ({}, (16 << 10, 64 << 10)),
    ]:
        transport.set_write_buffer_limits(**arguments)
        assert transport.get_write_buffer_limits() == limits
    for arguments in ({"high": 1, "low": 2}, {"high": -1}, {"low": -1}, {"high": 5, "low": -5}):
        with pytest.raises(ValueError, match="must be >="):
            transport.set_write_buffer_limits(**arguments)
    assert transport.get_write_buffer_limits() == (16 << 10, 64 << 10)


@contract
async def test_the_buffer_is_empty_while_the_connection_keeps_up(net):
    client, server = await net.pair()
    assert client.transport.get_write_buffer_size() == 0
    client.transport.write(bytes(1000))
    await server.received(1000)
    assert client.transport.get_write_buffer_size() == 0
    assert "pause_writing" not in client.callbacks


@contract
async def test_pause_and_resume_writing(net):
    client, server = await net.pair(server=PausedReader)
    client.transport.write(bytes(30 * MB))
    assert client.callbacks[-1] == "pause_writing"  # inside write()
    assert client.transport.get_write_buffer_size() > 64 << 10
    client.transport.write(bytes(1000))
    await net.quiet()
    assert client.callbacks.count("pause_writing") == 1
    assert "resume_writing" not in client.callbacks
    server.transport.resume_reading()
    await client.called("resume_writing")
    assert client.transport.get_write_buffer_size() <= 16 << 10
    await server.received(30 * MB + 1000)
    assert len(server.data) == 30 * MB + 1000
    assert client.callbacks == ["connection_made", "pause_writing", "resume_writing"]


@contract
async def test_high_water_zero_pauses_for_every_byte_that_waits(net):
    client, server = await net.pair(server=PausedReader)
    client.transport.write(bytes(30 * MB))
    await net.quiet()
    client.transport.set_write_buffer_limits(high=0)
    server.transport.resume_reading()
    await client.called("resume_writing")
    assert client.transport.get_write_buffer_size() == 0


@contract
async def test_lower_limits_pause_at_once(net):
    client, server = await net.pair(server=PausedReader)
    client.transport.set_write_buffer_limits(high=100 * MB)
    client.transport.write(bytes(30 * MB))
    assert "pause_writing" not in client.callbacks
    client.transport.set_write_buffer_limits(high=MB)
    assert client.callbacks[-1] == "pause_writing"
    server.transport.resume_reading()
    await client.called("resume_writing")


@contract
async def test_writing_more_from_resume_writing(net):
    client, server = await net.pair(server=PausedReader)
    left = [4 * MB] * 4

    def more():
        client.note("resume_writing")
        if left:
            client.transport.write(bytes(left.pop()))

    client.resume_writing = more
    client.transport.write(bytes(30 * MB))
    server.transport.resume_reading()
    await server.received(46 * MB)
    assert len(server.data) == 46 * MB
    await client.called("resume_writing", client.callbacks.count("pause_writing"))


@contract
async def test_close_with_a_full_buffer_waits_for_the_reader(net):
    client, server = await net.pair(server=PausedReader)
    client.transport.write(bytes(30 * MB))
    client.transport.close()
    await net.quiet()
    assert "connection_lost" not in client.callbacks
    server.transport.resume_reading()
    await client.called("connection_lost")
    await server.called("connection_lost")
    assert len(server.data) == 30 * MB
    assert (client.lost, server.lost) == (None, None)


@contract
async def test_what_resume_writing_writes_while_closing_is_sent(net):
    """TLS holds its last records back while writing is paused, and may be closed meanwhile."""
    client, server = await net.pair(server=PausedReader)
    left = [b"last"]

    def more():
        if left:
            client.transport.write(left.pop())

    client.resume_writing = more
    client.transport.write(bytes(30 * MB))
    client.transport.close()
    await net.quiet()
    server.transport.resume_reading()
    await server.called("connection_lost")
    assert len(server.data) == 30 * MB + 4
    assert server.data.endswith(b"last")
    assert (client.lost, server.lost) == (None, None)


@contract
async def test_drain_waits_for_a_slow_reader(net):
    gate = asyncio.Event()
    read = 0

    async def handler(reader, writer):
        nonlocal read
        await gate.wait()
        while data := await reader.read(1 << 16):
            read += len(data)
        writer.close()

    reader, writer = await net.open_connection(await net.start_server(handler))
    written = 0

    async def produce():
        nonlocal written
        while written < 30 * MB:
            writer.write(bytes(1 << 16))
            written += 1 << 16
            await writer.drain()

    producing = asyncio.create_task(produce())
    await net.quiet()
    assert not producing.done()
    assert written < 20 * MB  # the buffers on the way, no more
    gate.set()
    await producing
    writer.write_eof()
    assert await reader.read() == b""
    assert read == written
    writer.close()
    await writer.wait_closed()


@contract(media=OURS)
async def test_the_buffers_on_the_way_are_bounded(net):
    client, _ = await net.pair(server=PausedReader)
    client.transport.write(bytes(30 * MB))
    await net.quiet()
    for stack in (net.client, net.server):
        for endpoint in stack.tcp.connections.values():
            assert endpoint.connection.unread <= stack.config.tcp.receive_buffer
    sent = 30 * MB - client.transport.get_write_buffer_size()
    assert sent <= net.client.config.tcp.send_buffer + net.server.config.tcp.receive_buffer
