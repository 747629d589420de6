"""Much data over links of all kinds: it arrives whole."""

import asyncio

import pytest

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("nothing_left")]

MB = 1_000_000
LINKS = [
    pytest.param({}, 4, id="clear"),
    pytest.param({"ethernet": True}, 6, id="ethernet, IPv6"),
    pytest.param({"delay": 0.010, "rate": 1e9}, 4, id="wide", marks=pytest.mark.slow),
    pytest.param(
        {"delay": 0.010, "loss": 0.02, "reorder": 0.02, "duplicate": 0.02, "rate": 1e9},
        6,
        id="lossy, IPv6",
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("parameters", "pair"), LINKS, indirect=["pair"])
async def test_100_megabytes_up_and_down(pair, stream, digest_of, parameters):
    link = pair.link(**parameters)
    up, down = stream(100 * MB, seed=1), stream(100 * MB, seed=2)
    received = []

    async def serve(reader, writer):
        received.append(await digest_of(reader))
        await down.send(writer)
        writer.close()
        await writer.wait_closed()

    await pair.serve(serve)
    reader, writer = await pair.connect()
    await up.send(writer)
    writer.write_eof()
    assert await digest_of(reader) == (down.size, down.digest)
    assert received == [(up.size, up.digest)]
    if parameters.get("loss"):
        for stats in (link.forward.stats, link.backward.stats):
            assert min(stats.lost, stats.reordered, stats.duplicated) > 0.01 * stats.sent > 500
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("seed", "pair"), [(seed, 4 if seed % 2 else 6) for seed in range(8)], indirect=["pair"]
)
async def test_bad_links_at_many_seeds(pair, stream, digest_of, seed):
    """Both ways at once over a link that does everything wrong."""
    pair.network.seed = seed
    pair.link(delay=0.02, jitter=0.01, loss=0.05, reorder=0.1, duplicate=0.05, corrupt=0.02, rate=50e6)
    there, back = stream(MB, seed), stream(MB, seed + 100)
    received = []

    async def serve(reader, writer):
        _, result = await asyncio.gather(back.send(writer), digest_of(reader))
        received.append(result)
        writer.close()
        await writer.wait_closed()

    await pair.serve(serve)
    reader, writer = await pair.connect()

    async def send():
        await there.send(writer)
        writer.write_eof()

    _, result = await asyncio.gather(send(), digest_of(reader))
    assert result == (back.size, back.digest)
    assert received == [(there.size, there.digest)]
    writer.close()
    await writer.wait_closed()


async def test_thousand_connections_at_once(pair):
    pair.link(delay=0.005, rate=1e9)
    open_now, most = 0, 0

    async def serve(reader, writer):
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        data = await reader.readexactly(2000)
        await asyncio.sleep(1)
        writer.write(data[::-1])
        open_now -= 1
        writer.close()
        await writer.wait_closed()

    async def talk(number):
        data = number.to_bytes(4, "big") * 500
        reader, writer = await pair.connect()
        writer.write(data)
        answer = await reader.read(-1)
        writer.close()
        await writer.wait_closed()
        return answer == data[::-1]

    await pair.serve(serve, backlog=2000)
    assert await asyncio.gather(*map(talk, range(1000))) == [True] * 1000
    assert most == 1000


async def test_rate_of_the_link_is_used(pair, stream, digest_of):
    """One transfer fills a link with a queue: at least 90 % of it carries payload once it is under way."""
    pair.link(delay=0.01, rate=50e6)
    data = stream(20 * MB)

    async def serve(reader, writer):
        await data.send(writer)
        writer.close()
        await writer.wait_closed()

    await pair.serve(serve)
    reader, writer = await pair.connect()
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert (await digest_of(reader))[0] == data.size
    assert data.size * 8 / (loop.time() - started) > 0.9 * 50e6
    writer.close()
    await writer.wait_closed()


async def test_parameters_change_while_a_transfer_runs(pair, stream, digest_of):
    link = pair.link(delay=0.01, rate=100e6)
    data = stream(30 * MB)

    async def serve(reader, writer):
        await data.send(writer)
        writer.close()
        await writer.wait_closed()

    async def change():
        for parameters in (
            {"loss": 0.1},
            {"rate": 1e6},
            {"rate": 200e6, "loss": 0.0},
            {"rate": None},
            {"delay": 0.1},
            {"delay": 0.0},
            {"reorder": 0.2},
            {"reorder": 0.0, "rate": 100e6},
        ):
            await asyncio.sleep(0.2)
            link.set(**parameters)

    await pair.serve(serve)
    reader, writer = await pair.connect()
    _, result = await asyncio.gather(change(), digest_of(reader))
    assert result == (data.size, data.digest)
    writer.close()
    await writer.wait_closed()
