"""How a connection ends: close, abort, the peer's end; connection_lost comes exactly once."""

import asyncio
import errno

import pytest

from tests.transport.asyncio_contract.media import OURS, contract
from tests.transport.asyncio_contract.recorders import HalfOpen, PausedReader, Recorder, reset


@contract
async def test_close_flushes_then_ends_both_sides_once(net):
    client, server = await net.pair()
    data = bytes(range(256)) * 20_000
    client.transport.write(data)
    client.transport.close()
    assert client.transport.is_closing()
    assert client.callbacks[-1] != "connection_lost"  # it comes by call_soon
    client.transport.close()
    await server.called("connection_lost")
    await client.called("connection_lost")
    assert server.data == data
    assert (client.lost, server.lost) == (None, None)
    assert server.outline == ["connection_made", "data_received", "eof_received", "connection_lost"]
    await net.quiet()
    for one in (client, server):
        one.transport.close()
        if net.is_ours:  # asyncio's own abort() fails on a transport that closed after flushing
            one.transport.abort()
        assert one.transport.is_closing()
    await net.quiet()
    assert client.callbacks.count("connection_lost") == server.callbacks.count("connection_lost") == 1


@contract
async def test_connection_lost_comes_by_call_soon(net):
    client, _ = await net.pair()
    order = []
    client.connection_lost = lambda exc: order.append("connection_lost")
    client.transport.close()
    net.loop.call_soon(order.append, "next turn")
    order.append("after close()")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == ["after close()", "connection_lost", "next turn"]
    client.transport = None


@contract
async def test_close_in_connection_made(net):
    class Shy(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.write(b"bye")
            transport.close()

    client, _ = await net.pair(server=Shy)
    await client.called("connection_lost")
    assert client.data == b"bye"
    assert client.lost is None


@contract
async def test_close_in_data_received(net):
    class Hasty(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.write(b"enough")
            self.transport.close()

    client, server = await net.pair(server=Hasty)
    client.transport.write(b"x")
    await client.called("connection_lost")
    assert client.data == b"enough"
    assert server.callbacks == ["connection_made", "data_received", "connection_lost"]


@contract
async def test_close_in_data_received_with_the_end_behind_it(net):
    class Hasty(PausedReader):
        def data_received(self, data):
            super().data_received(data)
            self.transport.close()

    client, server = await net.pair(server=Hasty)
    client.transport.write(b"all")
    client.transport.write_eof()
    await net.quiet()
    server.transport.resume_reading()
    await server.called("connection_lost")
    assert server.callbacks == ["connection_made", "data_received", "connection_lost"]


@contract(media=OURS)
async def test_the_end_is_told_once(net):
    # asyncio's transports tell it again when reading is resumed
    client, server = await net.pair(server=HalfOpen)
    client.transport.write_eof()
    await server.called("eof_received")
    server.transport.pause_reading()
    server.transport.resume_reading()
    await net.quiet()
    assert server.callbacks == ["connection_made", "eof_received"]


@contract
async def test_nothing_is_received_after_close(net):
    client, server = await net.pair()
    server.transport.pause_reading()
    client.transport.write(b"x" * 100)
    await net.quiet()
    server.transport.close()
    server.transport.resume_reading()
    await server.called("connection_lost")
    assert server.outline == ["connection_made", "connection_lost"]
    await client.called("connection_lost")


@contract
async def test_nothing_is_received_while_the_buffer_is_flushed(net):
    client, server = await net.pair(client=PausedReader)
    server.transport.write(bytes(20_000_000))
    server.transport.close()
    client.transport.write(b"too late")
    await net.quiet()
    assert server.outline == ["connection_made"]
    client.transport.resume_reading()
    await server.called("connection_lost")
    assert server.outline == ["connection_made", "connection_lost"]


@contract
async def test_a_close_ends_when_the_buffer_is_flushed_whatever_the_peer_does(net):
    """The peer never ends its half; that is no concern of the application that has closed."""
    client, server = await net.pair(server=HalfOpen)
    server.transport.pause_reading()
    client.transport.write(bytes(20_000_000))
    client.transport.close()
    server.transport.resume_reading()
    await client.called("connection_lost")
    assert client.lost is None
    await server.called("eof_received")
    assert len(server.data) == 20_000_000
    assert not server.transport.is_closing()


@contract
async def test_a_reset_ends_a_close_that_waits(net):
    client, server = await net.pair(client=PausedReader)
    server.transport.write(bytes(20_000_000))
    server.transport.close()
    client.transport.write(b"too late")
    await net.quiet()
    client.transport.close()  # with unread data: RST
    await server.called("connection_lost")
    assert isinstance(server.lost, ConnectionResetError)
    assert server.outline == ["connection_made", "connection_lost"]


@contract
async def test_closing_with_unread_data_resets_the_peer(net):
    client, server = await net.pair(server=PausedReader)
    client.transport.write(b"never read")
    await net.quiet()
    server.transport.close()
    await client.called("connection_lost")
    assert isinstance(client.lost, ConnectionResetError)
    assert client.lost.errno == errno.ECONNRESET
    assert server.lost is None


@contract
async def test_writing_to_a_peer_that_has_closed_resets(net):
    client, server = await net.pair(client=HalfOpen)
    server.transport.close()
    await client.called("eof_received")
    client.transport.write(b"nobody reads this")  # answered by RST
    await net.quiet()
    client.transport.write(b"nor this")
    await client.called("connection_lost")
    assert isinstance(client.lost, BrokenPipeError)  # the kernel's word for a reset after the peer's end
    assert client.lost.errno == errno.EPIPE


@contract
async def test_abort_ends_at_once_without_the_buffer(net):
    client, server = await net.pair(server=PausedReader)
    client.transport.write(bytes(20_000_000))
    client.transport.abort()
    client.transport.abort()
    assert client.transport.is_closing()
    assert "connection_lost" not in client.callbacks
    await client.called("connection_lost")
    assert client.lost is None
    assert client.transport.get_write_buffer_size() == 0
    server.transport.resume_reading()
    await server.called("connection_lost")
    assert len(server.data) < 20_000_000


@contract
async def test_abort_sends_what_is_in_the_send_buffer(net):
    # anyio's streams, and so httpx's connections, end with abort(): what the kernel has taken still arrives
    client, server = await net.pair()
    client.transport.write(bytes(20_000))
    client.transport.abort()
    await client.called("connection_lost")
    await server.called("connection_lost")
    assert len(server.data) == 20_000
    assert (client.lost, server.lost) == (None, None)
    assert "eof_received" in server.callbacks


@contract(media=OURS)
async def test_abort_that_loses_something_resets_the_peer(net):
    # asyncio's transports end with FIN here too, and the peer takes what was sent so far for all of it; a TCP has a
    # word for an abort (RFC 9293 3.9.1), so ours says it
    client, server = await net.pair()
    client.transport.write(bytes(20_000_000))
    assert client.transport.get_write_buffer_size() > 0
    client.transport.abort()
    await server.called("connection_lost")
    assert isinstance(server.lost, ConnectionResetError)
    assert "eof_received" not in server.callbacks


@contract
async def test_abort_of_a_transport_with_unread_data_resets_the_peer(net):
    client, server = await net.pair(client=PausedReader)
    server.transport.write(b"not read")
    await net.quiet()
    client.transport.abort()
    await server.called("connection_lost")
    assert isinstance(server.lost, ConnectionResetError)


@contract
async def test_an_error_that_loses_nothing_ends_the_connection_in_order(net):
    # as TLS has it, whose handshake may take too long, and a protocol that raises: the peer is sent what was written
    error = ValueError("data_received")

    class Failing(Recorder):
        def data_received(self, data):
            self.transport.write(bytes(20_000))
            raise error

    client, server = await net.pair(server=Failing)
    client.transport.write(b"x")
    await client.called("connection_lost")
    await server.called("connection_lost")
    assert net.take_errors() == [error]
    assert (client.lost, server.lost) == (None, error)
    assert len(client.data) == 20_000
    assert "eof_received" in client.callbacks


@contract(media=OURS)
async def test_an_error_that_loses_something_resets_the_peer(net):
    error = ValueError("data_received")

    class Failing(Recorder):
        def data_received(self, data):
            self.transport.write(bytes(20_000_000))
            raise error

    client, _ = await net.pair(server=Failing)
    client.transport.write(b"x")
    await client.called("connection_lost")
    assert net.take_errors() == [error]
    assert isinstance(client.lost, ConnectionResetError)


@contract
async def test_abort_with_linger_resets_the_peer(net):
    client, server = await net.pair()
    reset(client.transport)
    await server.called("connection_lost")
    assert isinstance(server.lost, ConnectionResetError)


@contract
async def test_eof_without_keep_open_closes(net):
    client, server = await net.pair()
    client.transport.write_eof()
    await server.called("connection_lost")
    await client.called("connection_lost")
    assert server.callbacks == ["connection_made", "eof_received", "connection_lost"]
    assert client.callbacks == ["connection_made", "eof_received", "connection_lost"]


@contract
@pytest.mark.parametrize("answer", [None, False, 0])
async def test_a_false_answer_to_eof_closes(net, answer):
    client, server = await net.pair()
    server.keep_open = answer
    client.transport.write_eof()
    await server.called("connection_lost")


@contract
async def test_eof_with_keep_open_leaves_it_to_the_protocol(net):
    """Even when both halves have ended: the connection is over when the protocol says so."""
    client, server = await net.pair(client=HalfOpen, server=HalfOpen)
    client.transport.write_eof()
    await server.called("eof_received")
    server.transport.write_eof()
    await client.called("eof_received")
    await net.quiet()
    for one in (client, server):
        assert one.callbacks == ["connection_made", "eof_received"]
        assert not one.transport.is_closing()
        one.transport.close()
        await one.called("connection_lost")
        assert one.lost is None
    if net.is_ours:
        assert not net.client.tcp.lingering
        assert not net.server.tcp.lingering


@contract(media=OURS)
async def test_leaving_the_stack_ends_what_the_protocol_forgot_to_close(net):
    client, server = await net.pair(client=HalfOpen, server=HalfOpen)
    client.transport.write_eof()
    await server.called("eof_received")
    server.transport.write_eof()
    await client.called("eof_received")
    await net.quiet()
    await net.client.close()
    await net.server.close()
    assert client.callbacks == server.callbacks == ["connection_made", "eof_received", "connection_lost"]


@contract
async def test_a_paused_reader_gets_everything_before_the_end(net):
    client, server = await net.pair(server=PausedReader)
    client.transport.write(b"x" * 50_000)
    client.transport.close()
    await client.called("connection_lost")
    await net.quiet()
    assert server.callbacks == ["connection_made"]
    server.transport.resume_reading()
    await server.called("connection_lost")
    assert server.data == b"x" * 50_000
    assert server.outline == ["connection_made", "data_received", "eof_received", "connection_lost"]


@contract
async def test_a_paused_reader_gets_everything_before_a_reset(net):
    """What came before the reset is still there to be read, and then the error."""
    client, server = await net.pair(client=PausedReader, server=PausedReader)
    client.transport.write(b"never read")
    server.transport.write(b"y" * 50_000)
    await net.quiet()
    server.transport.close()  # with unread data: RST
    await net.quiet()
    client.transport.resume_reading()
    await client.called("connection_lost")
    assert client.data == b"y" * 50_000
    assert client.outline == ["connection_made", "data_received", "connection_lost"]
    assert isinstance(client.lost, ConnectionResetError)


@contract
async def test_a_write_finds_out_about_a_reset_while_paused(net):
    client, server = await net.pair(client=PausedReader, server=PausedReader)
    client.transport.write(b"never read")
    server.transport.write(b"y" * 1000)
    await net.quiet()
    server.transport.close()
    await net.quiet()
    client.transport.write(b"hello?")
    await client.called("connection_lost")
    assert isinstance(client.lost, ConnectionError)
    assert client.data == b""


@contract
async def test_a_waiting_writer_finds_out_about_a_reset_while_reading_is_paused(net):
    client, server = await net.pair(client=PausedReader, server=PausedReader)
    server.transport.write(b"y" * 1000)
    client.transport.write(bytes(30_000_000))
    assert client.callbacks[-1] == "pause_writing"
    await net.quiet()
    server.transport.close()
    await client.called("connection_lost")
    assert isinstance(client.lost, ConnectionResetError)


@contract
async def test_both_close_at_once(net):
    client, server = await net.pair()
    client.transport.close()
    server.transport.close()
    await client.called("connection_lost")
    await server.called("connection_lost")
    assert (client.lost, server.lost) == (None, None)
    assert client.outline == server.outline == ["connection_made", "connection_lost"]


@contract
async def test_abort_while_closing_ends_the_wait(net):
    client, server = await net.pair(server=PausedReader)
    client.transport.write(bytes(20_000_000))
    client.transport.close()
    await net.quiet()
    assert "connection_lost" not in client.callbacks
    client.transport.abort()
    await client.called("connection_lost")
    assert client.lost is None
    server.transport.abort()


@contract
async def test_the_protocol_is_let_go(net):
    client, _ = await net.pair()
    transport = client.transport
    assert transport.get_protocol() is client
    transport.abort()
    await client.called("connection_lost")
    assert transport.get_protocol() is None
    assert transport.is_closing()
    assert not transport.is_reading()
    transport.pause_reading()
    transport.resume_reading()
    transport.close()
    transport.write_eof()
    assert "closed" in repr(transport)
