"""What the servers run: one code for the kernel's sockets and for asyncstack.

Bulk rows exist three times (streams, Protocol, BufferedProtocol), to compare like with like.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httptools

CHUNK = bytes(256 << 10)
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"


class Totals:
    """What a server has seen so far."""

    def __init__(self) -> None:
        self.open = 0
        self.requests = 0


class Application(asyncio.BaseProtocol):
    """Keeps the transport, and counts the connections that are open.

    Not an asyncio.Protocol itself: uvloop takes whatever is one for unbuffered, get_buffer or not.
    """

    transport: asyncio.Transport

    def __init__(self, totals: Totals) -> None:
        self.totals = totals

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.totals.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.totals.open -= 1


class Echo(Application, asyncio.Protocol):
    """Sends back what it gets. 64 bytes come as one piece."""

    def data_received(self, data: bytes) -> None:
        self.totals.requests += 1
        self.transport.write(data)


class OneByte(Application, asyncio.Protocol):
    """A byte comes, a byte goes, and the server closes."""

    def data_received(self, data: bytes) -> None:
        self.totals.requests += 1
        self.transport.write(b"!")
        self.transport.close()


class Http(Application, asyncio.Protocol):
    """Keep-alive HTTP/1.1 at its least: httptools parses, every request has the same answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.parser = None  # it holds this protocol: a cycle

    def data_received(self, data: bytes) -> None:
        if self.parser is not None:
            self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.totals.requests += 1
        self.transport.write(RESPONSE)


class Sink(Application, asyncio.Protocol):
    """Counts what arrives; at the end of it says how much that was (8 bytes) and closes."""

    received = 0

    def data_received(self, data: bytes) -> None:
        self.received += len(data)

    def eof_received(self) -> None:
        self.transport.write(self.received.to_bytes(8, "big"))


class BufferedSink(Application, asyncio.BufferedProtocol):
    """The sink on a buffer of its own."""

    received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.buffer = memoryview(bytearray(256 << 10))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += nbytes

    def eof_received(self) -> None:
        self.transport.write(self.received.to_bytes(8, "big"))


class Writing(Application):
    """Writes whenever it may, until the client goes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.paused = False
        self.resume_writing()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        while not self.paused and not self.transport.is_closing():
            self.transport.write(CHUNK)


class Source(Writing, asyncio.Protocol):
    """The source as a Protocol."""


class BufferedSource(Writing, asyncio.BufferedProtocol):
    """The source as a BufferedProtocol; it has nothing to receive."""

    def get_buffer(self, sizehint: int) -> bytearray:
        return bytearray(4096)

    def buffer_updated(self, nbytes: int) -> None:
        pass


async def stream_sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The sink on streams."""
    received = 0
    while data := await reader.read(256 << 10):
        received += len(data)
    writer.write(received.to_bytes(8, "big"))
    writer.close()


async def stream_source(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The source on streams."""
    try:
        while True:
            writer.write(CHUNK)
            await writer.drain()
    except ConnectionError:
        writer.close()


PROTOCOLS: dict[str, Callable[[Totals], Any]] = {
    "echo": Echo,
    "one-byte": OneByte,
    "http": Http,
    "sink": Sink,
    "sink-buffered": BufferedSink,
    "source": Source,
    "source-buffered": BufferedSource,
}
STREAMS = {"sink-streams": stream_sink, "source-streams": stream_source}
