"""Readers that are slow or do not read at all, on either side: the window closes, and memory stays bounded."""

import asyncio
import errno
import hashlib

import pytest

import asyncstack
from asyncstack.config import TcpConfig
from tests.interop.applications import Exchange
from tests.interop.kernel import peer, until
from tests.interop.medium import OURS, PLAIN_TAP, TUN, host
from tests.interop.peers import BLOCK, digest, pieces
from tests.traced import traced

pytestmark = pytest.mark.tun

MB = 1000 * 1000
MEDIA = pytest.mark.parametrize("medium", [TUN, PLAIN_TAP])


def stalled(stack: asyncstack.Stack) -> bool:
    """Whether the only connection has data to send, and a window that is closed (or as good as that)."""
    (info,) = stack.connections()
    return info.notsent_bytes > 0 and info.unacked == 0 and info.snd_wnd < info.snd_mss


@MEDIA
async def test_slow_kernel_reader(medium):
    size = 4 * MB
    made = []

    def factory():
        made.append(Exchange(size, seed=1))
        return made[-1]

    async with host(medium) as here:
        stack = here.stack
        await stack.create_server(factory, OURS, 7000)
        reading = peer("slow_reader", host=OURS, port=7000, receive_buffer=8192, piece=300_000, pause=0.001)
        async with reading as reader:
            with traced() as allocated:
                assert await reader.said() == {"connected": True}
                await until(lambda: made and stalled(stack))
                probes = stack.connections()[0].probes
                await until(lambda: stack.connections()[0].probes >= probes + 2)
                assert stalled(stack)
                assert stack.tcp.memory.held < 3 * MB
                assert allocated() < 8 * MB
            reader.tell()
            assert await reader.ended() == {"size": size, "digest": digest(size, 1)}
            await made[0].result
        assert made[0].most_queued < 2 * MB
        assert stack.tcp.memory.held == 0


@MEDIA
async def test_kernel_reader_that_never_reads(medium):
    """drain() waits; the end of the stack is bounded and by RST, and frees everything."""
    loop = asyncio.get_running_loop()
    failed = loop.create_future()
    written = 0

    async def serve(reader, writer):
        nonlocal written
        try:
            while True:
                writer.write(bytes(65536))
                written += 65536
                await writer.drain()
        except BaseException as exc:
            failed.set_result(exc)

    config = asyncstack.StackConfig(close_timeout=0.2)
    async with host(medium, config) as here:
        await here.stack.start_server(serve, OURS, 7000)
        async with peer("holder", host=OURS, port=7000, receive_buffer=8192) as program:
            with traced() as allocated:
                assert await program.said() == {"connected": True}
                await until(lambda: here.stack.connections() and stalled(here.stack))
                assert written < 3 * MB
                assert allocated() < 8 * MB
            closing = loop.time()
            await here.stack.close()
            assert 0.2 <= loop.time() - closing < 1.5
            assert isinstance(await failed, ConnectionError)


async def test_writer_that_ignores_flow_control_is_stopped():
    """Its memory grows up to the limit of the stack and no further."""
    limit = 5 * MB
    made = asyncio.get_running_loop().create_future()

    class Careless(asyncio.Protocol):
        def connection_made(self, transport) -> None:
            made.set_result(transport)

        def data_received(self, data: bytes) -> None:
            pass

    config = asyncstack.StackConfig(memory=2 * limit, close_timeout=0.1)
    async with host(TUN, config) as here:
        await here.stack.create_server(Careless, OURS, 7000)
        async with peer("holder", host=OURS, port=7000, receive_buffer=8192) as program:
            await program.said()
            transport = await made
            with pytest.raises(OSError, match="pause_writing") as caught:
                for _ in range(200):
                    transport.write(bytes(100_000))
            assert caught.value.errno == errno.ENOBUFS
            assert limit <= here.stack.tcp.memory.held <= limit + 100_000
            assert not transport.is_closing()
            transport.abort()
        assert here.stack.tcp.memory.held == 0


class Paused(Exchange):
    """Reads nothing before it is told to."""

    def connection_made(self, transport) -> None:
        transport.pause_reading()
        super().connection_made(transport)


class BufferedPaused(asyncio.BufferedProtocol):
    """The same with a buffer of its own."""

    def __init__(self) -> None:
        self.inner = Paused()
        self.result = self.inner.result
        self._buffer = bytearray(10_000)

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.inner.connection_made(transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, size: int) -> None:
        self.inner.data_received(bytes(self._buffer[:size]))

    def eof_received(self) -> bool:
        return self.inner.eof_received()

    def connection_lost(self, exc) -> None:
        self.inner.connection_lost(exc)


@MEDIA
@pytest.mark.parametrize("kind", [Paused, BufferedPaused])
async def test_paused_reader_of_ours(medium, kind):
    made = []

    def factory():
        made.append(kind())
        return made[-1]

    receive_buffer = 300_000
    config = asyncstack.StackConfig(tcp=TcpConfig(receive_buffer=receive_buffer))
    async with host(medium, config) as here:
        await here.stack.create_server(factory, OURS, 7000)
        async with peer("eager_writer", host=OURS, port=7000, seed=5) as writer:
            with traced() as allocated:
                sent = (await writer.said())["sent"]  # it could not go on: the window is closed
                (info,) = here.stack.connections()
                assert info.bytes_received <= receive_buffer
                assert info.rcv_wnd < 65536
                assert sent > info.bytes_received
                assert allocated() < 3 * receive_buffer + MB
            made[0].transport.resume_reading()
            writer.tell()
            total = (await writer.ended())["sent"]
            block = bytes(next(pieces(BLOCK, 5)))
            wanted = hashlib.sha256(block * (total // BLOCK)).hexdigest()
            assert await made[0].result == {"size": total, "digest": wanted}
