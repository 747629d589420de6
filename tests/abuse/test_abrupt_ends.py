"""10,000 connections that end abruptly, in every way there is: no task, timer, transport, descriptor, byte is left."""

import asyncio
import gc
import os
import ssl
from collections import Counter

import pytest

from asyncstack import EventLoop, Network
from asyncstack.testing import VirtualTimeLoop
from asyncstack.transport.tcp.connection import Connection
from asyncstack.transport.tcp.endpoint import TcpEndpoint
from asyncstack.transport.tcp.transport import TcpTransport
from tests.transport.asyncio_contract.recorders import reset

KINDS = (
    TcpTransport,
    TcpEndpoint,
    Connection,
    asyncio.sslproto.SSLProtocol,
    asyncio.StreamReader,
    asyncio.StreamWriter,
)
ROUNDS = 50
AT_ONCE = 25  # of each of eight ends: 50 x 25 x 8 = 10,000
TIMES_OUT = 0.05
SERVERS = "10.0.0.2/24", "fd00::2/64"  # one family and the other in turns


class Peers:
    """Two hosts, servers on one, and a client's side of each end."""

    def __init__(self, host, server_tls, client_tls):
        self.host = host
        self.server_tls, self.client_tls = server_tls, client_tls
        self.seen = Counter()

    async def start(self):
        listening = {"silent": self.silent, "rude": self.rude, "talks": self.talks, "endless": self.endless}
        servers = {name: await asyncio.start_server(serve, self.host, 0) for name, serve in listening.items()}
        servers["tls"] = await asyncio.start_server(self.talks, self.host, 0, ssl=self.server_tls)
        self.ports = {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}
        return servers.values()

    # servers

    async def silent(self, reader, writer):
        self.seen["silent"] += 1
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()

    async def rude(self, reader, writer):
        self.seen["rude"] += 1
        await reader.read(1)
        writer.write(bytes(100_000))
        reset(writer.transport)

    async def talks(self, reader, writer):
        self.seen["talks"] += 1
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except (ConnectionError, ssl.SSLError):
            self.seen["talks, cut off"] += 1
        writer.close()

    async def endless(self, reader, writer):
        self.seen["endless"] += 1
        try:
            while True:
                writer.write(bytes(65536))
                await writer.drain()
        except ConnectionError:
            self.seen["endless, cut off"] += 1
            writer.close()

    # ends

    async def client_aborts(self):
        _, writer = await asyncio.open_connection(self.host, self.ports["silent"])
        writer.write(bytes(100_000))
        reset(writer.transport)

    async def server_aborts(self):
        reader, writer = await asyncio.open_connection(self.host, self.ports["rude"])
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            while await reader.read(65536):
                pass
        writer.close()

    async def client_leaves_in_full_flow(self):
        reader, writer = await asyncio.open_connection(self.host, self.ports["endless"])
        await reader.readexactly(10_000)
        writer.close()

    async def handler_cancelled(self):
        task = asyncio.create_task(self.waits_for_ever())
        await asyncio.sleep(TIMES_OUT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def waits_for_ever(self):
        reader, writer = await asyncio.open_connection(self.host, self.ports["talks"])
        try:
            await reader.read()
        finally:
            reset(writer.transport)

    async def connecting_cancelled(self):
        task = asyncio.create_task(asyncio.open_connection(self.host, self.ports["talks"]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def tls_fails(self):
        stranger = ssl.create_default_context()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(self.host, self.ports["tls"], ssl=stranger)

    async def tls_cut_off_in_mid_handshake(self):
        _, writer = await asyncio.open_connection(self.host, self.ports["tls"])
        writer.write(b"\x16\x03\x01\x02\x00\x01")  # the first bytes of a ClientHello
        await asyncio.sleep(TIMES_OUT)
        writer.transport.abort()

    async def tls_aborted(self):
        reader, writer = await asyncio.open_connection(self.host, self.ports["tls"], ssl=self.client_tls)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.transport.abort()

    @property
    def ends(self):
        return (
            self.client_aborts,
            self.server_aborts,
            self.client_leaves_in_full_flow,
            self.handler_cancelled,
            self.connecting_cancelled,
            self.tls_fails,
            self.tls_cut_off_in_mid_handshake,
            self.tls_aborted,
        )


@pytest.fixture
def contexts(server_tls, client_tls):
    return server_tls, client_tls


def census():
    """How many of our objects live, after everything collectable is gone."""
    gc.collect()
    return Counter(type(one).__name__ for one in gc.get_objects() if type(one) in KINDS)


def descriptors():
    return set(os.listdir("/proc/self/fd"))


async def hosts(net):
    client, server = net.host("client", "10.0.0.1/24", "fd00::1/64"), net.host("server", *SERVERS)
    net.link(client, server, delay=0.001)
    return client, server


def test_10_000_ends(contexts):
    """In virtual time, on the same two stacks, which then are as they were."""

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: errors.append(context))
        async with Network(seed=1) as net:
            client, server = await hosts(net)
            both = [Peers(address.partition("/")[0], *contexts) for address in SERVERS]
            servers = [server for peers in both for server in await peers.start()]
            timers = loop.timers
            for number in range(ROUNDS):
                ends = both[number % 2].ends
                await asyncio.gather(*(end() for end in ends for _ in range(AT_ONCE)))
            await asyncio.sleep(200)  # retransmissions, TIME-WAIT
            for name in ("silent", "rude", "endless", "endless, cut off", "talks, cut off"):
                for peers in both:
                    assert peers.seen[name] >= ROUNDS // 2 * AT_ONCE, peers.seen
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert loop.timers <= timers
            for stack in (client, server):
                assert not stack.tcp.connections
                assert not stack.tcp.lingering
                assert stack.tcp.memory.held == 0
            assert census() == others
            assert descriptors() == before
            for one in servers:
                one.close()

    errors = []
    others = census()  # of tests before this one
    before = None
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.get_loop()
        before = descriptors()
        runner.run(main())
    assert census() == others
    assert not errors, errors[0]


def test_the_loop_is_closed_on_them(contexts):
    """On uvloop, whose `asyncio.Runner` ends with hundreds of connections open, in every state."""
    EventLoop().close()  # libuv keeps some descriptors for the life of the process
    before, others = descriptors(), census()

    async def main(server):
        net = Network(seed=1)  # nobody closes it
        await hosts(net)
        peers = Peers(server.partition("/")[0], *contexts)
        await peers.start()
        tasks = [asyncio.create_task(end()) for end in peers.ends for _ in range(AT_ONCE)]
        await asyncio.wait(tasks, timeout=0.01)

    for number in range(5):
        with asyncio.Runner(loop_factory=EventLoop) as runner:
            runner.get_loop().set_exception_handler(lambda loop, context: None)
            runner.run(main(SERVERS[number % 2]))
    assert census() == others
    assert descriptors() == before
