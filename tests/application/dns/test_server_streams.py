"""DNS over TCP, the server's side (RFC 7766)."""

import asyncio
import random

import dns.flags
import dns.message
import dns.rcode
import pytest

from asyncstack.application.dns import ServerLimits
from asyncstack.application.dns.streams import PIPELINE
from tests.application.dns.serving import Site, Talk, summary

pytestmark = pytest.mark.virtual_time

MANY = [f"10.1.{i // 250}.{i % 250}" for i in range(4000)]  # 64,000 bytes


async def answer(question):
    """ "n7.test" after 0.7 s."""
    await asyncio.sleep(int(question.name.partition(".")[0][1:]) / 10)
    return "10.0.0.1"


@pytest.fixture
async def site(network):
    site = Site(network)
    limits = ServerLimits(clients=5)
    async with site.serve(
        {"www.test": "10.0.0.1", "many.test": MANY}, answer=answer, limits=limits
    ) as server:
        site.server = server
        yield site
    assert server._streams == {}


async def test_queries_one_after_the_other(site):
    async with site.connected() as talk:
        for ident in range(20):
            talk.send("www.test", ident=ident)
            found = await talk.receive()
            assert (found.id, summary(found)[2]) == (ident, ["www.test. 60 IN A 10.0.0.1"])
        talk.send("many.test")
        assert len((await talk.receive()).answer[0]) == len(MANY)


async def test_answers_come_as_they_are_ready(site):
    async with site.connected() as talk:
        for ident in (5, 1, 3):
            talk.send(f"n{ident}.test", ident=ident)
        talk.send("www.test", ident=0)
        assert [(await talk.receive()).id for _ in range(4)] == [0, 1, 3, 5]


async def test_many_queries_at_once(site):
    """More than may wait are read when there is room, from one chunk or in single bytes."""
    async with site.connected() as talk:
        for ident in range(100):
            talk.send("n1.test" if ident % 2 else "www.test", ident=ident)
        found = [(await talk.receive()).id for _ in range(100)]
        assert sorted(found) == list(range(100))
    async with site.connected() as talk:
        wire = dns.message.make_query("www.test", "A").to_wire()
        wire = (len(wire).to_bytes(2, "big") + wire) * 3000
        talk.writer.write(wire)
        for _ in range(3000):
            await talk.receive()
    async with site.connected() as talk:
        for byte in wire[: len(wire) // 1000]:
            talk.writer.write(bytes([byte]))
            await asyncio.sleep(0.001)
        for _ in range(3):
            await talk.receive()


async def test_so_many_wait_for_one_client(site):
    async with site.connected() as talk:
        for ident in range(PIPELINE * 3):
            talk.send("n5.test", ident=ident)
        await asyncio.sleep(0.3)
        assert len(site.server._tasks) == PIPELINE
        for _ in range(PIPELINE * 3):
            await talk.receive()


async def test_a_client_that_ends_its_side_gets_its_answers(site):
    async with site.connected() as talk:
        for ident in (3, 0):
            talk.send(f"n{ident}.test", ident=ident)
        for ident in range(100, 100 + 2 * PIPELINE):
            talk.send("n1.test", ident=ident)
        talk.writer.write_eof()
        found = [(await talk.receive()).id for _ in range(2 + 2 * PIPELINE)]
        assert set(found) == {0, 3, *range(100, 100 + 2 * PIPELINE)}
        assert await talk.reader.read() == b""


async def test_an_idle_client_is_closed(site):
    loop = asyncio.get_running_loop()
    async with site.connected() as talk:
        await asyncio.sleep(8)
        talk.send("www.test")
        await talk.receive()
        start = loop.time()
        assert await talk.reader.read() == b""
        assert loop.time() - start == pytest.approx(10, abs=0.1)
    async with site.connected() as talk:  # a byte now and then is no query
        await asyncio.sleep(0.01)
        start = loop.time()
        while site.server._streams and loop.time() - start < 100:
            talk.writer.write(b"\1")
            await asyncio.sleep(0.5)
        assert loop.time() - start == pytest.approx(10, abs=1)


async def test_a_client_that_waits_for_an_answer_is_not_idle(site):
    site.server._elsewhere.answer_time = 60.0
    async with site.connected() as talk:
        talk.send("n350.test")
        assert summary(await talk.receive())[0] == "NOERROR"


async def test_a_client_that_does_not_read(site):
    """What it asks for is not made: the server stops reading, and gives up after the idle time."""
    async with site.connected() as talk:
        talk.writer.transport.pause_reading()
        for _ in range(2000):
            talk.send("many.test")
        await asyncio.sleep(5)
        (stream,) = site.server._streams
        assert stream._transport.get_write_buffer_size() < 1 << 18
        assert site.host.counters["dns.server_queries"] < 200
        await asyncio.sleep(20)
        assert site.server._streams == {}


async def test_so_many_clients_and_the_one_that_was_silent_longest_goes(site):
    talks = [await site.client.open_connection("10.0.0.53", 53) for _ in range(5)]
    wire = dns.message.make_query("www.test", "A").to_wire()
    talks[0][1].write(len(wire).to_bytes(2, "big") + wire)
    await asyncio.sleep(0.1)
    talks.append(await site.client.open_connection("10.0.0.53", 53))
    await asyncio.sleep(0.1)
    assert len(site.server._streams) == 5
    ended = []
    for index, (reader, _) in enumerate(talks):
        try:
            async with asyncio.timeout(0.1):
                await reader.readexactly(1000)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            ended.append(index)
        except TimeoutError:
            pass
    assert ended == [1]
    for _, writer in talks:
        writer.close()
    await asyncio.sleep(1)


async def test_what_is_no_query(site):
    async with site.connected() as talk:
        talk.writer.write(b"\0\0" + b"\0\3abc" + b"\0\x0c" + bytes(12))
        assert (await talk.receive()).rcode() == dns.rcode.FORMERR
        talk.send("www.test")
        assert summary(await talk.receive())[0] == "NOERROR"


async def test_noise(site, caplog):
    rng = random.Random(8)
    for _ in range(50):
        async with site.connected() as talk:
            data = b"".join(
                len(piece).to_bytes(2, "big") + piece
                for piece in (rng.randbytes(rng.randrange(60)) for _ in range(20))
            )
            talk.writer.write(data if rng.random() < 0.5 else rng.randbytes(3000))
            await asyncio.sleep(0.1)
            if rng.random() < 0.5:
                talk.writer.transport.abort()
        assert len(site.server._streams) <= 5
    await asyncio.sleep(15)
    assert (site.server._streams, site.server._tasks, caplog.records) == ({}, set(), [])


async def test_close_takes_no_more_queries(network):
    """Those that wait end, and their places are not for those that were not read yet."""
    asked = []

    async def never(question):
        asked.append(question.name)
        await asyncio.sleep(1000)

    site = Site(network)
    server = await site.serve(answer=never).__aenter__()
    async with site.connected() as talk:
        for ident in range(3 * PIPELINE):
            talk.send(f"n{ident}.test")
        await asyncio.sleep(1)
        await server.close()
        assert len(asked) == PIPELINE
        assert not server._tasks


@pytest.mark.parametrize("host", [None, "::"])
async def test_all_addresses_are_of_both_families(network, host):
    """As with datagrams: what did not fit one of IPv4 is asked for again by TCP."""
    site = Site(network)
    async with site.serve({"many.test": MANY}, host=host):
        for server in ("10.0.0.53", "fd00::53"):
            assert (await site.ask("many.test", server=server)).flags & dns.flags.TC
            reader, writer = await site.client.open_connection(server, 53)
            talk = Talk(reader, writer)
            talk.send("many.test")
            assert len((await talk.receive()).answer[0]) == len(MANY)
            writer.close()


@pytest.mark.parametrize("port", [0, -1, 65536])
async def test_ports_that_nobody_would_find(network, port):
    with pytest.raises(ValueError, match=f"port={port}"):
        Site(network).serve(port=port)
