"""Peers that refuse, reset, die or fall silent; half-close; and what our errors say."""

import asyncio
import errno

import pytest

import asyncstack
from asyncstack.config import TcpConfig
from tests.interop.applications import Exchange
from tests.interop.kernel import peer, run, until
from tests.interop.medium import OURS, OURS6, PEER, PEER6, PLAIN_TAP, TAP, TUN, TWO_OF_THEM, host
from tests.interop.peers import digest, pieces

pytestmark = pytest.mark.tun

MEDIA = pytest.mark.parametrize("medium", [TUN, TAP])
BOTH = pytest.mark.parametrize(("medium", "ours", "peer_address"), TWO_OF_THEM)


class Held(asyncio.Protocol):
    """Keeps a connection; what happens to it is in futures."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.came, self.lost = loop.create_future(), loop.create_future()

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if not self.came.done():
            self.came.set_result(data)

    def connection_lost(self, exc) -> None:
        self.lost.set_result(exc)


class Accepting:
    """A factory for `create_server` whose first connection can be waited for."""

    def __init__(self) -> None:
        self.first = asyncio.get_running_loop().create_future()

    def __call__(self) -> Held:
        held = Held()
        if not self.first.done():
            self.first.set_result(held)
        return held

    async def connection(self) -> Held:
        async with asyncio.timeout(10):
            held = await self.first
            await held.came
        return held


# refused


@BOTH
async def test_connect_to_a_closed_kernel_port(peered, ours, peer_address):
    with pytest.raises(ConnectionRefusedError, match=f"connect to {peer_address} port 9"):
        await peered.stack.open_connection(peer_address, 9)


@BOTH
async def test_kernel_connects_to_our_closed_port(peered, ours, peer_address):
    async with peer("refused", host=ours, port=9) as program:
        assert await program.ended() == {"errno": errno.ECONNREFUSED}


@MEDIA
async def test_kernel_connects_after_the_server_closed(peered):
    server = await peered.stack.create_server(Held, OURS, 7000)
    async with peer("refused", host=OURS, port=7000) as program:
        assert await program.ended() == {"errno": 0}
    server.close()
    async with peer("refused", host=OURS, port=7000) as program:
        assert await program.ended() == {"errno": errno.ECONNREFUSED}


# ended by the peer


@MEDIA
async def test_kernel_peer_closes(peered):
    accepting = Accepting()
    await peered.stack.create_server(accepting, OURS, 7000)
    async with peer("holder", host=OURS, port=7000) as program:
        held = await accepting.connection()
        program.tell()
        assert await held.lost is None


@MEDIA
async def test_kernel_peer_resets(peered):
    accepting = Accepting()
    await peered.stack.create_server(accepting, OURS, 7000)
    async with peer("holder", host=OURS, port=7000, linger=True) as program:
        held = await accepting.connection()
        program.tell()
        assert isinstance(await held.lost, ConnectionResetError)


@MEDIA
async def test_kernel_peer_is_killed_with_our_data_unread(peered):
    accepting = Accepting()
    await peered.stack.create_server(accepting, OURS, 7000)
    async with peer("holder", host=OURS, port=7000) as program:
        held = await accepting.connection()
        held.transport.write(b"nobody will read this")
        await until(lambda: peered.stack.connections()[0].bytes_acked == 21)
        await program.kill()
        assert isinstance(await held.lost, ConnectionResetError)
    assert not peered.stack.tcp.connections


@MEDIA
async def test_kernel_server_is_killed_during_an_upload(peered):
    async with peer("server", host=PEER, size=1 << 30) as program:
        port = (await program.said())["port"]
        _, protocol = await peered.stack.create_connection(lambda: Exchange(1 << 30), PEER, port)
        await until(lambda: peered.stack.connections()[0].bytes_acked > 100_000)
        await program.kill()
        with pytest.raises(ConnectionResetError):
            await protocol.result
    assert not peered.stack.tcp.connections


# half-close


@BOTH
async def test_kernel_half_closes_first(peered, ours, peer_address):
    size = 300_000

    async def answer(reader, writer):
        assert await reader.read() == b"question"
        await asyncio.sleep(0.05)  # in CLOSE-WAIT
        writer.write(bytes(size))
        await writer.drain()
        writer.close()

    await peered.stack.start_server(answer, ours, 7000)
    async with peer("half_closer", host=ours, port=7000) as program:
        assert (await program.ended())["size"] == size


@BOTH
async def test_we_half_close_first(peered, ours, peer_address):
    async with peer("half_open_server", host=peer_address, size=300_000, seed=4) as program:
        port = (await program.said())["port"]
        _, protocol = await peered.stack.create_connection(lambda: Exchange(1000, 3), peer_address, port)
        assert await program.ended() == {"size": 1000, "digest": digest(1000, 3)}
        assert await protocol.result == {"size": 300_000, "digest": digest(300_000, 4)}


# silence


async def silence(address: str) -> None:
    """The kernel answers `address` no more, and says nothing."""
    await run("ip", "route", "add", "blackhole", address)


QUICK = asyncstack.StackConfig(
    tcp=TcpConfig(user_timeout=1.0, syn_retries=1, initial_rto=0.2), close_timeout=0.1
)


@pytest.mark.parametrize("medium", [TUN, PLAIN_TAP])
async def test_peer_falls_silent_with_data_in_flight(medium):
    async with host(medium, QUICK) as here:
        accepting = Accepting()
        await here.stack.create_server(accepting, OURS, 7000)
        async with peer("holder", host=OURS, port=7000):
            held = await accepting.connection()
            await silence(OURS)
            loop = asyncio.get_running_loop()
            start = loop.time()
            held.transport.write(b"are you there?")
            async with asyncio.timeout(5):
                assert isinstance(await held.lost, TimeoutError)
            assert 0.9 < loop.time() - start < 2.5
            assert not here.stack.tcp.connections


@MEDIA
async def test_peer_falls_silent_while_the_window_is_closed(medium):
    async with host(medium, QUICK) as here:
        accepting = Accepting()
        await here.stack.create_server(accepting, OURS, 7000)
        async with peer("holder", host=OURS, port=7000, receive_buffer=8192):
            held = await accepting.connection()
            held.transport.write(bytes(500_000))
            await until(lambda: here.stack.connections()[0].probes > 0)
            await silence(OURS)
            async with asyncio.timeout(5):
                assert isinstance(await held.lost, TimeoutError)
            assert here.stack.tcp.memory.held == 0


@MEDIA
async def test_connect_to_a_silent_host(medium):
    async with host(medium, QUICK) as here:
        await silence(OURS)
        async with asyncio.timeout(5):
            with pytest.raises(TimeoutError, match=f"connect to {PEER} port 80"):
                await here.stack.open_connection(PEER, 80)
        await until(lambda: not here.stack.tcp.connections)


async def test_keepalive_finds_a_silent_peer():
    tcp = TcpConfig(keepalive=True, keepalive_idle=0.3, keepalive_interval=0.1, keepalive_count=3)
    async with host(TUN, asyncstack.StackConfig(tcp=tcp)) as here:
        accepting = Accepting()
        await here.stack.create_server(accepting, OURS, 7000)
        async with peer("holder", host=OURS, port=7000):
            held = await accepting.connection()
            await until(lambda: here.stack.connections()[0].segs_out >= 4)  # it is probed, and answers
            assert not held.lost.done()
            await silence(OURS)
            async with asyncio.timeout(5):
                assert isinstance(await held.lost, TimeoutError)


@MEDIA
async def test_silence_that_ends_is_survived(medium):
    data = b"".join(pieces(300_000, seed=1))
    async with host(medium) as here, peer("echo_server", host=PEER) as program:
        port = (await program.said())["port"]
        reader, writer = await here.stack.open_connection(PEER, port)
        await silence(OURS)
        writer.write(data)
        await until(lambda: here.stack.connections()[0].retransmits)
        await run("ip", "route", "del", "blackhole", OURS)
        async with asyncio.timeout(20):
            assert await reader.readexactly(len(data)) == data
        writer.close()


# unreachable


@pytest.mark.parametrize("medium", [TAP])
async def test_absent_neighbours(peered):
    async def fails(address: str) -> None:
        with pytest.raises(OSError, match=f"connect to {address} port 80") as caught:
            await peered.stack.open_connection(address, 80)
        assert caught.value.errno == errno.EHOSTUNREACH

    peered.interface.link.neighbors4.retrans = peered.interface.link.neighbors6.retrans = 0.2
    await asyncio.gather(fails("10.9.0.77"), fails("fd09::77"))
    await until(lambda: not peered.stack.tcp.connections)


@pytest.mark.parametrize("medium", [TUN, TAP])
async def test_kernel_router_says_unreachable(medium, checked_capture):
    """The kernel forwards for us, and has no route: the reason for what failed, where nothing else is known."""
    with open("/proc/sys/net/ipv4/ip_forward", "w") as switch:
        switch.write("1")
    async with host(medium, QUICK) as here:
        checked_capture.attach(here.interface)
        with pytest.raises(OSError, match=r"connect to 10\.99\.0\.1 port 80") as caught:
            await here.stack.open_connection("10.99.0.1", 80)
    assert caught.value.errno == errno.ENETUNREACH


async def test_no_route():
    async with asyncstack.Stack() as stack:
        await stack.add_interface(TUN.device(), [f"{OURS}/24"])
        with pytest.raises(OSError) as caught:
            await stack.open_connection("10.99.0.1", 80)
        assert caught.value.errno == errno.ENETUNREACH
        with pytest.raises(OSError) as caught:
            await stack.open_connection(PEER6, 80)
        assert caught.value.errno == errno.ENETUNREACH
        with pytest.raises(OSError) as caught:
            await stack.create_server(Held, OURS6, 80)
        assert caught.value.errno == errno.EADDRNOTAVAIL
