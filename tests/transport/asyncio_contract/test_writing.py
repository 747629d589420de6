"""write() and writelines(): what they take, and that it arrives whole and in order."""

import hashlib
import random

import pytest

from tests.transport.asyncio_contract.media import OURS, contract
from tests.transport.asyncio_contract.recorders import HalfOpen


@contract
async def test_bytes_arrive_in_order_both_ways(net):
    client, server = await net.pair()
    client.transport.write(b"one ")
    client.transport.write(b"two")
    server.transport.write(b"three ")
    server.transport.write(b"four")
    assert await server.received(7) == b"one two"
    assert await client.received(10) == b"three four"


@contract
async def test_many_sizes_arrive_whole(net):
    rng = random.Random(3)
    client, server = await net.pair()
    digest, total = hashlib.sha256(), 0
    for size in [1, 2, 1447, 1448, 1449, 65535, 65536, 65537, 300_001] + [
        rng.randrange(1, 3000) for _ in range(200)
    ]:
        data = rng.randbytes(size)
        digest.update(data)
        total += size
        client.transport.write(data)
    assert hashlib.sha256(await server.received(total)).digest() == digest.digest()
    assert len(server.data) == total


@contract
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_takes_bytes_like_objects(net, kind):
    client, server = await net.pair()
    client.transport.write(kind(b"bytes-like"))
    assert await server.received(10) == b"bytes-like"


@contract
async def test_takes_memoryviews_of_any_shape(net):
    client, server = await net.pair()
    words = memoryview(bytes(range(16))).cast("I")
    client.transport.write(words)
    client.transport.write(memoryview(b"a-b-c-")[:])
    assert await server.received(22) == bytes(range(16)) + b"a-b-c-"


@contract
async def test_a_buffer_may_be_reused_at_once(net):
    client, server = await net.pair()
    buffer = bytearray(b"first" * 60_000)  # more than a kernel's send buffer takes at once
    client.transport.write(buffer)
    buffer[:] = b"later" * 60_000
    client.transport.write(memoryview(buffer)[:5])
    buffer[:5] = b"xxxxx"
    assert await server.received(300_005) == b"first" * 60_000 + b"later"


@contract
async def test_nothing_is_sent_for_empty_data(net):
    client, server = await net.pair()
    for empty in (b"", bytearray(), memoryview(b"")):
        client.transport.write(empty)
    client.transport.writelines([])
    client.transport.writelines([b"", b""])
    client.transport.write(b"x")
    assert await server.received(1) == b"x"
    assert server.callbacks.count("data_received") == 1


@contract
@pytest.mark.parametrize("data", ["text", None, 5, [b"list"]])
async def test_other_types_are_refused_and_nothing_breaks(net, data):
    client, server = await net.pair()
    with pytest.raises(TypeError, match="bytes-like"):
        client.transport.write(data)
    client.transport.write(b"fine")
    assert await server.received(4) == b"fine"


@contract
async def test_writelines_takes_any_iterable(net):
    client, server = await net.pair()
    client.transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
    client.transport.writelines(piece for piece in (b"d", b"e"))
    assert await server.received(5) == b"abcde"


@contract
async def test_write_after_write_eof_is_an_error(net):
    client, server = await net.pair(server=HalfOpen)
    client.transport.write(b"last")
    client.transport.write_eof()
    with pytest.raises(RuntimeError, match=r"Cannot call write\(\) after write_eof\(\)"):
        client.transport.write(b"more")
    with pytest.raises(RuntimeError, match=r"Cannot call write\(\) after write_eof\(\)"):
        client.transport.writelines([b"more"])
    await server.called("eof_received")
    assert server.data == b"last"


@contract
async def test_write_after_close_is_dropped(net):
    client, server = await net.pair()
    client.transport.write(b"before")
    client.transport.close()
    client.transport.write(b"after")
    client.transport.writelines([b"after"])
    await server.called("connection_lost")
    client.transport.write(b"long after")
    assert server.data == b"before"
    assert server.lost is None


@contract
async def test_write_after_abort_is_dropped(net):
    client, server = await net.pair()
    client.transport.abort()
    client.transport.write(b"after")
    await server.called("connection_lost")
    assert server.data == b""


@contract(media=OURS)
async def test_late_writes_are_warned_of(net, caplog):
    # (the kernel's transports log too, but only where the loop tells nobody, after as many writes)
    client, _ = await net.pair()
    client.transport.close()
    for _ in range(4):
        client.transport.write(b"x")
    assert not caplog.records
    client.transport.write(b"x")
    assert "closed" in caplog.text


@contract
async def test_write_eof_and_half_close(net):
    client, server = await net.pair(server=HalfOpen)
    assert client.transport.can_write_eof()
    client.transport.write(b"question")
    client.transport.write_eof()
    client.transport.write_eof()  # once more does nothing
    await server.called("eof_received")
    assert server.data == b"question"
    assert not server.transport.is_closing()
    assert not client.transport.is_closing()
    server.transport.write(b"answer" * 50_000)
    assert await client.received(300_000) == b"answer" * 50_000
    server.transport.close()
    await client.called("connection_lost")
    await server.called("connection_lost")
    assert client.outline[-2:] == ["eof_received", "connection_lost"]
    assert server.outline == ["connection_made", "data_received", "eof_received", "connection_lost"]
    assert (client.lost, server.lost) == (None, None)


@contract
async def test_write_eof_waits_for_the_buffer(net):
    client, server = await net.pair()
    data = bytes(8_000_000)
    client.transport.write(data)
    client.transport.write_eof()
    await server.called("eof_received")
    assert len(server.data) == len(data)


@contract
async def test_write_eof_in_connection_made(net):
    class Brief(HalfOpen):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.write(b"brief")
            transport.write_eof()

    client, server = await net.pair(client=Brief, server=HalfOpen)
    await server.called("eof_received")
    assert server.data == b"brief"
    server.transport.write(b"reply")
    assert await client.received(5) == b"reply"


@contract
async def test_write_eof_after_close_does_nothing(net):
    client, server = await net.pair()
    client.transport.close()
    client.transport.write_eof()
    await server.called("connection_lost")
    client.transport.write_eof()
    assert client.lost is None
