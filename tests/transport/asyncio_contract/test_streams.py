"""The standard library's streams on top: reading to a mark, limits, draining, and the errors they raise."""

import asyncio
import errno

import pytest

from tests.transport.asyncio_contract.media import contract


async def echo(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def finish(writer):
    writer.close()
    await writer.wait_closed()


@contract
async def test_lines_exact_sizes_and_marks(net):
    async def handler(reader, writer):
        writer.write(b"one line\n" + b"0123456789" + b"up to the|mark" + b"the rest")
        await finish(writer)

    reader, writer = await net.open_connection(await net.start_server(handler))
    assert isinstance(reader, asyncio.StreamReader)
    assert isinstance(writer, asyncio.StreamWriter)
    assert await reader.readline() == b"one line\n"
    assert await reader.readexactly(10) == b"0123456789"
    assert await reader.readuntil(b"|") == b"up to the|"
    assert await reader.read() == b"markthe rest"
    assert reader.at_eof()
    assert await reader.read() == b""
    assert await reader.readline() == b""
    await finish(writer)


@contract
async def test_the_end_inside_a_message(net):
    async def handler(reader, writer):
        writer.write(b"12345")
        await finish(writer)

    port = await net.start_server(handler)
    reader, writer = await net.open_connection(port)
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await reader.readexactly(10)
    assert (caught.value.partial, caught.value.expected) == (b"12345", 10)
    await finish(writer)
    reader, writer = await net.open_connection(port)
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await reader.readuntil(b"\n")
    assert caught.value.partial == b"12345"
    await finish(writer)


@contract
async def test_limit_overrun_and_on(net):
    async def handler(reader, writer):
        writer.write(b"x" * 5000 + b"\n" + b"short\n")
        await finish(writer)

    port = await net.start_server(handler)
    reader, writer = await net.open_connection(port, limit=1000)
    long = bytearray()
    while not long.endswith(b"\n"):
        try:
            long += await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as exc:
            long += await reader.readexactly(exc.consumed)
    assert long == b"x" * 5000 + b"\n"
    assert await reader.readline() == b"short\n"
    await finish(writer)
    reader, writer = await net.open_connection(port, limit=1000)
    with pytest.raises(ValueError, match="limit"):
        await reader.readline()
    await finish(writer)


@contract
async def test_a_megabyte_through_a_small_limit(net):
    """The reader pauses and resumes the transport all the time."""
    reader, writer = await net.open_connection(await net.start_server(echo, limit=1024), limit=1024)
    data = bytes(range(256)) * 4000

    async def send():
        writer.write(data)
        await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    assert await reader.readexactly(len(data)) == data
    assert await reader.read() == b""
    await sending
    await finish(writer)


@contract
async def test_write_eof_and_read_the_answer(net):
    async def handler(reader, writer):
        question = await reader.read()
        writer.write(question[::-1])
        await finish(writer)

    reader, writer = await net.open_connection(await net.start_server(handler))
    assert writer.can_write_eof()
    writer.writelines([b"abc", b"def"])
    writer.write_eof()
    assert await reader.read() == b"fedcba"
    await finish(writer)


@contract
async def test_wait_closed_and_is_closing(net):
    reader, writer = await net.open_connection(await net.start_server(echo))
    assert not writer.is_closing()
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    writer.close()
    assert writer.is_closing()
    await writer.wait_closed()
    await writer.wait_closed()
    assert await reader.read() == b""


@contract
async def test_a_writer_dropped_by_its_handler_stays_open(net):
    """The handler returns; the connection is the transport's, not the task's."""
    held = []

    async def handler(reader, writer):
        held.append(writer)
        writer.write(b"hello")

    reader, writer = await net.open_connection(await net.start_server(handler))
    assert await reader.readexactly(5) == b"hello"
    await net.quiet()
    assert not writer.is_closing()
    held.pop().close()
    assert await reader.read() == b""
    await finish(writer)


@contract
async def test_reading_from_a_peer_that_resets(net):
    async def handler(reader, writer):
        await reader.readexactly(1)
        reader._transport.pause_reading()  # so that data is unread when it closes
        writer.write(b"y")
        await net.quiet()
        await net.quiet()
        writer.transport.abort()

    reader, writer = await net.open_connection(await net.start_server(handler))
    writer.write(b"x")
    await reader.readexactly(1)
    writer.write(b"unread")
    with pytest.raises(ConnectionResetError) as caught:
        await reader.readexactly(1)
    assert caught.value.errno == errno.ECONNRESET
    with pytest.raises(ConnectionResetError):
        await writer.drain()
    with pytest.raises(ConnectionResetError):
        writer.write(b"x")
        await writer.drain()
    with pytest.raises(ConnectionResetError):
        await writer.wait_closed()


@contract
async def test_drain_after_the_peer_is_gone_raises(net):
    async def handler(reader, writer):
        await finish(writer)

    reader, writer = await net.open_connection(await net.start_server(handler))
    assert await reader.read() == b""
    with pytest.raises(ConnectionError):
        for _ in range(100):
            writer.write(b"x" * 100)
            await writer.drain()
            await asyncio.sleep(0.001)
    with pytest.raises(BrokenPipeError) as caught:  # the first may say "Connection lost" only
        await writer.drain()
    assert caught.value.errno == errno.EPIPE
    writer.close()
    with pytest.raises(BrokenPipeError):
        await writer.wait_closed()


@contract
async def test_a_drain_that_waits_is_woken_by_the_reset(net):
    async def handler(reader, writer):
        await net.quiet()
        writer.transport.pause_reading()
        await net.quiet()
        writer.transport.abort()

    _reader, writer = await net.open_connection(await net.start_server(handler, limit=1000))
    writer.write(bytes(30_000_000))
    with pytest.raises(ConnectionResetError):
        async with asyncio.timeout(5):
            await writer.drain()
    assert writer.is_closing()


@contract
async def test_a_handler_that_raises_is_reported(net):
    error = RuntimeError("handler")

    async def handler(reader, writer):
        try:
            await reader.read(1)
            raise error
        finally:
            writer.close()

    reader, writer = await net.open_connection(await net.start_server(handler))
    writer.write(b"x")
    assert await reader.read() == b""
    await finish(writer)
    await net.quiet()
    reported = net.take_errors()
    assert reported in ([error], [])  # by the streams, in Python 3.12 and later


@contract
async def test_a_plain_function_as_handler(net):
    tasks = []
    port = await net.start_server(lambda *streams: tasks.append(asyncio.create_task(echo(*streams))))
    reader, writer = await net.open_connection(port)
    writer.write(b"plain")
    assert await reader.readexactly(5) == b"plain"
    await finish(writer)
    await asyncio.gather(*tasks)


@contract
async def test_extra_info_of_a_writer(net):
    _reader, writer = await net.open_connection(await net.start_server(echo))
    assert writer.get_extra_info("peername")[0] == net.host
    assert writer.transport.get_extra_info("sockname")[0] == net.client_host
    assert writer.get_extra_info("nothing", 5) == 5
    await finish(writer)


@contract
async def test_two_megabytes_both_ways_at_once(net):
    data = bytes(range(256)) * 8000

    async def both(reader, writer):
        async def send():
            for start in range(0, len(data), 10_000):
                writer.write(data[start : start + 10_000])
                await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        received = await reader.read()
        await sending
        await finish(writer)
        return received

    results = []

    async def handler(reader, writer):
        results.append(await both(reader, writer))

    streams = await net.open_connection(await net.start_server(handler))
    assert await both(*streams) == data
    await net.quiet()
    assert results == [data]
