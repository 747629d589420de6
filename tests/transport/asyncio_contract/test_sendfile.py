"""loop.sendfile(): the file's bytes come through write(), with backpressure."""

import pytest

from tests.transport.asyncio_contract.media import contract
from tests.transport.asyncio_contract.recorders import PausedReader

STDLIB_LOOPS = ("kernel", "memory", "virtual")


@pytest.fixture
def big_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 20_000)
    with path.open("rb") as file:
        yield file


@contract(media=STDLIB_LOOPS)
@pytest.mark.parametrize(("offset", "count"), [(0, None), (1000, None), (5, 300_000), (0, 10_000_000)])
async def test_sends_a_file(net, big_file, offset, count):
    client, server = await net.pair()
    data = big_file.read()[offset : None if count is None else offset + count]
    big_file.seek(0)
    client.transport.write(b"head")
    assert await net.loop.sendfile(client.transport, big_file, offset, count) == len(data)
    client.transport.write(b"tail")
    assert await server.received(len(data) + 8) == b"head" + data + b"tail"
    assert client.transport.get_protocol() is client


@contract(media=STDLIB_LOOPS)
async def test_waits_for_a_slow_reader(net, big_file):
    client, server = await net.pair(server=PausedReader)
    client.transport.write(bytes(20_000_000))
    net.loop.call_later(0.02, server.transport.resume_reading)
    assert await net.loop.sendfile(client.transport, big_file) == 256 * 20_000
    await server.received(20_000_000 + 256 * 20_000)


@contract(media=STDLIB_LOOPS)
async def test_fallback_false_is_refused_without_a_descriptor(net, big_file):
    client, _ = await net.pair()
    if net.is_ours:
        with pytest.raises(RuntimeError, match="fallback is disabled"):
            await net.loop.sendfile(client.transport, big_file, fallback=False)
    else:
        assert await net.loop.sendfile(client.transport, big_file, fallback=False) == 256 * 20_000


@contract(media=STDLIB_LOOPS)
async def test_a_closing_transport_is_refused(net, big_file):
    client, _ = await net.pair()
    client.transport.close()
    with pytest.raises(RuntimeError, match="closing"):
        await net.loop.sendfile(client.transport, big_file)


@contract(media=STDLIB_LOOPS[1:])
async def test_the_peer_resets_in_the_middle(net, big_file):
    # (asyncio's own transport raises InvalidStateError into the loop besides)
    client, server = await net.pair(server=PausedReader)
    client.transport.write(bytes(20_000_000))
    net.loop.call_later(0.02, server.transport.abort)
    with pytest.raises(ConnectionError):
        await net.loop.sendfile(client.transport, big_file)
    await client.called("connection_lost")


@contract(media=("uvloop",))
async def test_uvloop_has_no_sendfile(net, big_file):
    client, _ = await net.pair()
    with pytest.raises(NotImplementedError):
        await net.loop.sendfile(client.transport, big_file)
