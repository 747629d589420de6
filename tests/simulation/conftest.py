"""What the simulations share: two hosts on a link, streams of known bytes, and a look at what is left behind."""

import asyncio
import hashlib
import os
import random

import pytest

from asyncstack.testing.plugin import async_fixture

PORT = 8000
CHUNK = 256 << 10


@async_fixture
async def nothing_left():
    """The test ends with the tasks, timers and file descriptors that it began with."""
    loop = asyncio.get_running_loop()
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert loop.timers == 0
    assert set(os.listdir("/proc/self/fd")) == before


class Pair:
    """A client and a server host, and the link between them, with addresses of one family."""

    def __init__(self, network, family=4):
        prefix = "10.0.0.{}/24" if family == 4 else "fd00::{}/64"
        self.network = network
        self.client = network.host("client", prefix.format(1))
        self.server = network.host("server", prefix.format(2))

    def link(self, **parameters):
        return self.network.link(self.client, self.server, **parameters)

    async def serve(self, handler, **arguments):
        return await self.server.start_server(handler, "server", PORT, **arguments)

    async def connect(self, **arguments):
        return await self.client.open_connection("server", PORT, **arguments)


@async_fixture
async def pair(network, request):
    """`Pair`; a test is parametrised over its family with `indirect`."""
    return Pair(network, getattr(request, "param", 4))


class Stream:
    """`size` bytes that nobody can guess, sent in chunks and known by their hash."""

    def __init__(self, size, seed=0):
        self.size = size
        self._block = random.Random(seed).randbytes(CHUNK)

    def chunks(self):
        for start in range(0, self.size, CHUNK):
            number = start.to_bytes(8, "big")  # no two chunks are equal
            yield (number + self._block[8:])[: self.size - start]

    async def send(self, writer):
        for chunk in self.chunks():
            writer.write(chunk)
            await writer.drain()

    @property
    def digest(self):
        total = hashlib.sha256()
        for chunk in self.chunks():
            total.update(chunk)
        return total.hexdigest()


@pytest.fixture
def stream():
    return Stream


@pytest.fixture
def digest_of():
    async def digest_of(reader):
        """(bytes, SHA-256) of everything up to the end of the stream."""
        total, size = hashlib.sha256(), 0
        while data := await reader.read(CHUNK):
            total.update(data)
            size += len(data)
        return size, total.hexdigest()

    return digest_of
