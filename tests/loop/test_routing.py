"""Calls of the event loop reach the stack that an address belongs to, or the kernel."""

import asyncio
import tempfile
from collections.abc import Callable

import pytest

from asyncstack import EventLoop, Network, SelectorEventLoop, Stack
from asyncstack.testing import VirtualTimeLoop
from asyncstack.transport.tcp.server import Server
from asyncstack.transport.tcp.transport import TcpTransport

LOOPS = {"uvloop": EventLoop, "selector": SelectorEventLoop, "virtual": VirtualTimeLoop}


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def ask(host: str, port: int, **kwds: object) -> tuple[bytes, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(host, port, **kwds)
    writer.write(b"hello")
    answer = await reader.readexactly(5)
    writer.close()
    await writer.wait_closed()
    return answer, writer


def on_every_loop(main: Callable[[Stack, Stack], object]) -> Callable[[str], None]:
    """A test that runs `main(client, server)` with two hosts of a simulated network, on each of the loops."""

    @pytest.mark.parametrize("kind", LOOPS)
    def test(kind: str) -> None:
        async def run() -> None:
            async with Network(seed=1) as net:
                a, b = (
                    net.host("a", "10.0.0.1/24", "2001:db8::1/64"),
                    net.host("b", "10.0.0.2/24", "2001:db8::2/64"),
                )
                net.link(a, b, delay=0.001)
                await asyncio.wait_for(main(a, b), 20)

        with asyncio.Runner(loop_factory=LOOPS[kind]) as runner:
            runner.run(run())

    test.__doc__ = main.__doc__
    return test


async def _streams(a: Stack, b: Stack) -> None:
    """asyncio's own streams, by literal address of either family."""
    for host in ("10.0.0.2", "2001:db8::2"):
        async with await asyncio.start_server(echo, host, 7) as server:
            assert isinstance(server, Server)
            answer, writer = await ask(host, 7)
            assert answer == b"hello"
            assert isinstance(writer.transport, TcpTransport)
            assert writer.get_extra_info("peername")[:2] == (host, 7)
            # from the first host over the link, not over the second one's loopback
            assert writer.get_extra_info("sockname")[0] == host[:-1] + "1"


test_streams = on_every_loop(_streams)


async def _kernel(a: Stack, b: Stack) -> None:
    """Loopback addresses stay the kernel's."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await echo(reader, writer)
        await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        assert not isinstance(server, Server)
        port = server.sockets[0].getsockname()[1]
        answer, writer = await ask("127.0.0.1", port)
        assert answer == b"hello"
        assert not isinstance(writer.transport, TcpTransport)
        await ended.wait()


test_kernel = on_every_loop(_kernel)


async def _loopback(a: Stack, b: Stack) -> None:
    """Unless a stack is told to have them."""
    asyncio.get_running_loop().stacks.loopback = True
    async with await asyncio.start_server(echo, "127.0.0.1", 7) as server:
        assert server.sockets[0].getsockname() == ("127.0.0.1", 7)
        answer, writer = await ask("127.0.0.1", 7)
        assert answer == b"hello"
        assert isinstance(writer.transport, TcpTransport)


test_loopback = on_every_loop(_loopback)


async def _wildcard(a: Stack, b: Stack) -> None:
    """A server on any address is the current stack's, and a task keeps to its stack."""

    async def serve() -> asyncio.AbstractServer:
        return await asyncio.start_server(echo, None, 7)

    with b.current():
        task = asyncio.create_task(serve())
    async with await task:
        assert [len(stack.servers) for stack in (a, b)] == [0, 1]
        assert (await ask("10.0.0.2", 7))[0] == b"hello"
        with a.current(), pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("10.0.0.1", 7)


test_wildcard = on_every_loop(_wildcard)


async def _datagrams(a: Stack, b: Stack) -> None:
    """Datagram endpoints, by the remote address and by the local one."""
    received: asyncio.Queue[bytes] = asyncio.Queue()

    class Receiver(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            received.put_nowait(data)

    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(Receiver, local_addr=("10.0.0.2", 5300))
    client, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("10.0.0.2", 5300))
    assert client.get_extra_info("sockname")[0] == "10.0.0.1"
    client.sendto(b"question")
    assert await received.get() == b"question"
    client.close()
    server.close()


test_datagrams = on_every_loop(_datagrams)


async def _several(a: Stack, b: Stack) -> None:
    """A server can not be on two networks at once, and says so."""
    with pytest.raises(ValueError, match="the kernel"):
        await asyncio.start_server(echo, ["10.0.0.2", "127.0.0.1"], 7)


test_several = on_every_loop(_several)


async def _sendfile(a: Stack, b: Stack) -> None:
    """`loop.sendfile` reads the file and writes it."""
    loop = asyncio.get_running_loop()
    async with await asyncio.start_server(echo, "10.0.0.2", 7):
        reader, writer = await asyncio.open_connection("10.0.0.2", 7)
        with tempfile.TemporaryFile() as file:
            file.write(b"0123456789")
            file.flush()
            assert await loop.sendfile(writer.transport, file, 2, 5) == 5
        assert await reader.readexactly(5) == b"23456"
        writer.close()
        await writer.wait_closed()


test_sendfile = on_every_loop(_sendfile)


def test_a_closed_stack_is_no_longer_asked() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        async with Stack() as stack:
            assert list(loop.stacks) == [stack]
        assert not loop.stacks
        async with await asyncio.start_server(echo, None, 0) as server:
            assert not isinstance(server, Server)

    with asyncio.Runner(loop_factory=SelectorEventLoop) as runner:
        runner.run(run())
