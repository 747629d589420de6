"""Pausing and resuming, changing the protocol, and buffers that the protocol lends."""

import asyncio

import pytest

from tests.transport.asyncio_contract.media import contract
from tests.transport.asyncio_contract.recorders import Buffered, HalfOpen, PausedReader, Recorder


@contract
async def test_pause_and_resume(net):
    client, server = await net.pair()
    assert server.transport.is_reading()
    server.transport.pause_reading()
    assert not server.transport.is_reading()
    client.transport.write(b"held")
    await net.quiet()
    assert server.data == b""
    server.transport.resume_reading()
    assert server.transport.is_reading()
    assert await server.received(4) == b"held"


@contract
async def test_repeated_calls_do_nothing(net):
    client, server = await net.pair()
    server.transport.resume_reading()
    server.transport.pause_reading()
    server.transport.pause_reading()
    client.transport.write(b"held")
    await net.quiet()
    assert server.data == b""
    server.transport.resume_reading()
    server.transport.resume_reading()
    assert server.data == b""  # never from inside the call
    assert await server.received(4) == b"held"
    assert server.callbacks.count("data_received") == 1


@contract
async def test_resume_then_pause_at_once_reads_nothing(net):
    client, server = await net.pair(server=PausedReader)
    client.transport.write(b"held")
    await net.quiet()
    server.transport.resume_reading()
    server.transport.pause_reading()
    await net.quiet()
    assert server.data == b""
    server.transport.resume_reading()
    assert await server.received(4) == b"held"


@contract
async def test_pause_in_connection_made(net):
    client, server = await net.pair(server=PausedReader)
    client.transport.write(b"early")
    await net.quiet()
    assert server.data == b""
    assert not server.transport.is_reading()
    server.transport.resume_reading()
    assert await server.received(5) == b"early"


@contract
async def test_pause_in_data_received_stops_the_next_call(net):
    class OneAtATime(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()

    client, server = await net.pair(server=OneAtATime)
    client.transport.write(b"1")
    await server.received(1)
    client.transport.write(b"2")
    client.transport.write_eof()
    await net.quiet()
    assert server.callbacks == ["connection_made", "data_received"]
    server.transport.resume_reading()
    await server.received(2)
    await net.quiet()
    assert "eof_received" not in server.callbacks
    server.transport.resume_reading()
    await server.called("eof_received")


@contract
async def test_eof_waits_for_a_paused_reader(net):
    client, server = await net.pair(server=PausedReader)
    client.transport.write_eof()
    await net.quiet()
    assert server.callbacks == ["connection_made"]
    server.transport.resume_reading()
    await server.called("connection_lost")
    assert server.callbacks == ["connection_made", "eof_received", "connection_lost"]


@contract
async def test_data_before_a_pause_is_never_lost(net):
    """Pause after every piece, for as long as it takes."""

    class Slow(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self.transport.resume_reading)

    client, server = await net.pair(server=Slow)
    data = bytes(range(256)) * 12_000
    client.transport.write(data)
    client.transport.close()
    await server.called("connection_lost")
    assert server.data == data


# the protocol changes


@contract
async def test_set_protocol_takes_what_comes_after(net):
    client, server = await net.pair()
    client.transport.write(b"old")
    await server.received(3)
    other = Recorder()
    server.transport.set_protocol(other)
    assert server.transport.get_protocol() is other
    client.transport.write(b"new")
    assert await other.received(3) == b"new"
    assert server.data == b"old"
    client.transport.close()
    await other.called("connection_lost")
    assert other.callbacks == ["data_received", "eof_received", "connection_lost"]
    assert "connection_lost" not in server.callbacks


@contract
async def test_protocols_of_both_kinds_take_turns(net):
    """Each gets one piece, switches to the other kind and so on: nothing is lost or repeated."""
    pieces = []

    class Plain(asyncio.Protocol):
        def data_received(self, data):
            pieces.append(data)
            transport.set_protocol(Lending())

    class Lending(asyncio.BufferedProtocol):
        def get_buffer(self, sizehint):
            self.buffer = bytearray(1000)
            return self.buffer

        def buffer_updated(self, nbytes):
            pieces.append(bytes(self.buffer[:nbytes]))
            transport.set_protocol(Plain())

    client, server = await net.pair(server=PausedReader)
    transport = server.transport
    transport.set_protocol(Plain())
    transport.resume_reading()
    data = bytes(range(256)) * 4
    async with asyncio.timeout(10):
        for count in range(1, 6):
            client.transport.write(data)
            while sum(map(len, pieces)) < count * len(data):
                await asyncio.sleep(0.001)
    assert b"".join(pieces) == data * 5
    assert len(pieces) >= 5


@contract
async def test_a_protocol_set_while_paused_gets_all_that_waited(net):
    client, server = await net.pair(server=PausedReader)
    client.transport.write(b"x" * 5000)
    await net.quiet()
    other = Buffered()
    server.transport.set_protocol(other)
    server.transport.resume_reading()
    assert await other.received(5000) == b"x" * 5000
    assert server.data == b""


@contract
async def test_a_plain_protocol_after_a_paused_buffered_one_gets_the_rest_in_order(net):
    class OneAtATime(Buffered):
        size = 10

        def buffer_updated(self, nbytes):
            super().buffer_updated(nbytes)
            self.transport.pause_reading()

    client, server = await net.pair(server=OneAtATime)
    client.transport.write(b"0123456789ABCDEFGH")
    await server.called("buffer_updated")
    client.transport.write(b"IJKLM")
    await net.quiet()
    other = Recorder()
    server.transport.set_protocol(other)
    server.transport.resume_reading()
    assert await other.received(13) == b"ABCDEFGHIJKLM"
    assert server.data == b"0123456789"


# buffered protocols


@contract
@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 16, 1 << 20])
async def test_buffers_of_any_size(net, size):
    class Lending(Buffered):
        pass

    Lending.size = size
    client, server = await net.pair(server=Lending)
    data = bytes(range(256)) * (4 if size < 10 else 1000)
    client.transport.write(data)
    client.transport.write_eof()
    await server.called("connection_lost")
    assert server.data == data
    assert server.outline == ["connection_made", "buffer_updated", "eof_received", "connection_lost"]


@contract
async def test_pause_inside_buffer_updated(net):
    class OneAtATime(Buffered):
        size = 10

        def buffer_updated(self, nbytes):
            super().buffer_updated(nbytes)
            self.transport.pause_reading()

    client, server = await net.pair(server=OneAtATime)
    client.transport.write(b"0123456789" * 3)
    client.transport.close()
    for count in (1, 2, 3):
        await server.called("buffer_updated", count)
        await net.quiet()
        assert server.data == b"0123456789" * count
        assert "eof_received" not in server.callbacks
        server.transport.resume_reading()
    await server.called("connection_lost")


@contract
async def test_small_buffers_get_everything_before_a_reset(net):
    class OneAtATime(Buffered):
        size = 10

        def buffer_updated(self, nbytes):
            super().buffer_updated(nbytes)
            self.transport.pause_reading()

    client, server = await net.pair(client=PausedReader, server=OneAtATime)
    server.transport.write(b"never read")
    client.transport.write(b"0123456789" * 3)
    await net.quiet()
    client.transport.close()  # with unread data: RST
    for count in (1, 2, 3):
        await server.called("buffer_updated", count)
        await net.quiet()
        assert server.data == b"0123456789" * count
        assert "connection_lost" not in server.callbacks
        server.transport.resume_reading()
    await server.called("connection_lost")
    assert isinstance(server.lost, ConnectionResetError)


@contract
async def test_close_inside_buffer_updated(net):
    class Hasty(Buffered):
        size = 10

        def buffer_updated(self, nbytes):
            super().buffer_updated(nbytes)
            self.transport.close()

    client, server = await net.pair(server=Hasty)
    client.transport.write(b"0123456789" * 3)
    await server.called("connection_lost")
    assert server.data == b"0123456789"
    await client.called("connection_lost")


@contract
async def test_an_empty_buffer_is_an_error(net):
    class Empty(Buffered):
        size = 0

    client, server = await net.pair(server=Empty)
    client.transport.write(b"x")
    await server.called("connection_lost")
    (error,) = net.take_errors()
    assert isinstance(error, RuntimeError)
    assert "get_buffer() returned an empty buffer" in str(error)
    assert server.lost is error
    client.transport.abort()


@contract
@pytest.mark.parametrize("lent", [b"read-only", None, "text"])
async def test_a_buffer_that_can_not_be_written_is_an_error(net, lent):
    class Wrong(Buffered):
        def get_buffer(self, sizehint):
            return lent

    client, server = await net.pair(server=Wrong)
    client.transport.write(b"x")
    await server.called("connection_lost")
    (error,) = net.take_errors()
    assert isinstance(error, TypeError)
    assert server.lost is error


@contract
@pytest.mark.parametrize("method", ["get_buffer", "buffer_updated"])
async def test_errors_of_a_buffered_protocol_abort_its_transport(net, method):
    client, server = await net.pair(server=Buffered)
    error = ValueError(method)

    def fail(*_):
        raise error

    setattr(server, method, fail)
    client.transport.write(b"x" * 1000)
    await server.called("connection_lost")
    assert net.take_errors() == [error]
    assert server.lost is error
    await client.called("connection_lost")


@contract
async def test_a_buffered_protocol_may_keep_its_half_open(net):
    class Lending(Buffered, HalfOpen):
        pass

    client, server = await net.pair(server=Lending)
    client.transport.write(b"question")
    client.transport.write_eof()
    await server.called("eof_received")
    server.transport.write(b"answer")
    assert await client.received(6) == b"answer"
    assert not server.transport.is_closing()
