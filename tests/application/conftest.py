"""Where the application tests run: on the kernel's loopback, and on two stacks joined in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from asyncstack.application.http import Application
from asyncstack.link.memory import memory_pair
from asyncstack.stack import Stack

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class NetworkPair:
    """A place for servers and a way for clients to them; what a test leaves open is closed after it."""

    host: str
    start_server: Callable[..., Awaitable[Any]]
    open_connection: Callable[..., Awaitable[Streams]]
    servers: list[Any] = field(default_factory=list)
    applications: list[Application] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, app: Application) -> int:
        """The port at which `app` answers."""
        self.applications.append(app)
        return await self.serve_raw(app.handle)

    async def serve_raw(self, handler: Callable[..., Any]) -> int:
        """The port at which `handler(reader, writer)` is called."""
        server = await self.start_server(handler, self.host, 0)
        self.servers.append(server)
        return server.sockets[0].getsockname()[1]

    async def connect(self, port: int) -> Streams:
        """Raw streams to `port`."""
        reader, writer = await self.open_connection(self.host, port)
        self.writers.append(writer)
        return reader, writer

    async def talk(self, port: int, *parts: bytes, eof: bool = False) -> bytes:
        """Everything that comes back for `parts`, each sent as a write of its own, until the server closes."""
        reader, writer = await self.connect(port)
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0)
        if eof:
            writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()

    async def close(self) -> None:
        """Close everything, gracefully first."""
        for writer in self.writers:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass
        for server in self.servers:
            server.close()
        for app in self.applications:
            await app.shutdown(1.0)


@pytest.fixture(params=["kernel", "stack"])
async def network_pair(request) -> AsyncIterator[NetworkPair]:
    if request.param == "kernel":
        pair = NetworkPair("127.0.0.1", asyncio.start_server, asyncio.open_connection)
        yield pair
        await pair.close()
        return
    async with Stack(name="server") as server, Stack(name="client") as client:
        ends = memory_pair()
        server.attach(ends[0], ["10.0.0.1/24"])
        client.attach(ends[1], ["10.0.0.2/24"])
        pair = NetworkPair("10.0.0.1", server.start_server, client.open_connection)
        yield pair
        await pair.close()
