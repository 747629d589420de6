"""The sending side of a server's connection: responses to bytes, piece by piece as the client takes them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterable, AsyncIterator
from typing import cast

from asyncstack.application.http.deadline import Deadline
from asyncstack.application.http.errors import reason_phrase
from asyncstack.application.http.framing import LAST_CHUNK, encode_chunk
from asyncstack.application.http.headers import encode_fields
from asyncstack.application.http.response import Response

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# Below that many unsent bytes a response does not wait: the next request is read meanwhile.
UNSENT = 16 * 1024

FRAMING = frozenset(("content-length", "transfer-encoding"))


class BrokenResponse(Exception):
    """The head is out and the body can not be completed: only the end of the connection tells the client.

    `framed`: the client notices by itself, because a length or the last chunk is missing; else it takes a reset.
    """

    def __init__(self, framed: bool) -> None:
        super().__init__("a response broke off")
        self.framed = framed


class Sender:
    """Writes responses to `writer`, waiting at most `write_time` seconds for room."""

    __slots__ = ("_deadline", "_server", "_write_time", "head_sent", "writer")

    def __init__(
        self, writer: asyncio.StreamWriter, loop: asyncio.AbstractEventLoop, write_time: float, server: str
    ) -> None:
        self.writer = writer
        self.head_sent = False
        self._write_time = write_time
        self._server = server
        self._deadline = Deadline(loop)

    async def send(
        self, response: Response, *, method: str, version: str, keep_alive: bool, date: str, first_piece: bool
    ) -> bool:
        """Send all of `response`; whether the connection may go on after it.

        `first_piece`: have the body's first piece before the head leaves. Raises ValueError if a handler's
        headers can not be sent (nothing is sent then), BrokenResponse, ConnectionError, TimeoutError.
        """
        if "connection" in response.headers and "close" in response.headers.tokens("connection"):
            keep_alive = False
        bodiless = method == "HEAD" or response.status in (204, 304)
        if isinstance(response.body, (bytes, bytearray, memoryview)):
            head = self._head(response, version, keep_alive, date, _length_of(response, method))
            self.head_sent = True
            # Joined: one write, one segment, and copying a small body costs less than a second call.
            self.writer.write(head if bodiless else head + response.body)
            await self.make_room()
            return keep_alive
        framing, keep_alive = _framing_of_stream(response, version, keep_alive, method)
        async with _closing(response.body) as iterator:
            head = self._head(response, version, keep_alive, date, framing)
            pieces = await _Primed.of(iterator) if first_piece and not bodiless else iterator
            self.head_sent = True
            self.writer.write(head)
            if not bodiless:
                await self._stream(pieces, response.length, version == "1.1")
        return keep_alive

    def _head(self, response: Response, version: str, keep_alive: bool, date: str, framing: str) -> bytes:
        lines = [f"Server: {self._server}\r\n", f"Date: {date}\r\n"]
        if framing:
            lines.append(framing)
        for name, value in response.headers:
            lower = name.lower()
            if lower in FRAMING:
                raise ValueError(f"{name} is the server's: a handler gives Response(..., length=) instead")
            if lower != "connection" or keep_alive:
                lines.append(f"{name}: {value}\r\n")
        if not keep_alive:
            lines.append("Connection: close\r\n")
        elif version == "1.0":
            lines.append("Connection: keep-alive\r\n")
        return status_line(response.status) + encode_fields(lines) + b"\r\n"

    async def _stream(self, pieces: AsyncIterator[bytes], length: int | None, chunks: bool) -> None:
        sent = 0
        framed = chunks or length is not None
        while (piece := await self._next(pieces, framed)) is not None:
            sent += len(piece)
            if length is not None and sent > length:
                raise BrokenResponse(framed) from ValueError(
                    f"the body is longer than the {length} bytes announced"
                )
            if length is None and chunks and piece:
                self.writer.writelines(encode_chunk(piece))
            else:
                self.writer.write(piece)
            await self.make_room()
        if length is None and chunks:
            self.writer.write(LAST_CHUNK)
        elif length is not None and sent < length:
            raise BrokenResponse(framed) from ValueError(
                f"the body ended after {sent} of the {length} bytes announced"
            )

    async def _next(self, pieces: AsyncIterator[bytes], framed: bool) -> bytes | None:
        try:
            return await anext(pieces)
        except StopAsyncIteration:
            return None
        except Exception as exc:
            if self.writer.transport.is_closing():
                raise ConnectionResetError("the client went away") from exc
            raise BrokenResponse(framed) from exc

    async def send_continue(self) -> None:
        """100 Continue, unless the answer is already under way (RFC 9110 section 10.1.1)."""
        if not self.head_sent:
            self.writer.write(CONTINUE)
            await self.make_room()

    async def make_room(self) -> None:
        """Wait until the write buffer is short. Raises TimeoutError, ConnectionError."""
        writer = self.writer
        if writer.transport.get_write_buffer_size() > UNSENT or writer.transport.is_closing():
            with self._deadline.within(self._write_time):
                await writer.drain()

    def close(self) -> None:
        """Free the timer."""
        self._deadline.cancel()


@functools.cache
def status_line(status: int) -> bytes:
    """The first line of a response with `status`, 200 to 599."""
    return f"HTTP/1.1 {status} {reason_phrase(status)}\r\n".encode("ascii")


def _length_of(response: Response, method: str) -> str:
    if response.status in (204, 304):
        return ""
    size = len(cast(bytes, response.body))
    if response.length is not None and response.length != size:
        if method != "HEAD":
            raise ValueError(f"the body has {size} bytes, not the {response.length} announced")
        size = response.length
    return f"Content-Length: {size}\r\n"


def _framing_of_stream(response: Response, version: str, keep_alive: bool, method: str) -> tuple[str, bool]:
    """RFC 9112 section 6: the framing field of a streamed body, and whether the connection outlives it."""
    if response.status in (204, 304):
        return "", keep_alive
    if response.length is not None:
        return f"Content-Length: {response.length}\r\n", keep_alive
    if method == "HEAD":
        return "", keep_alive
    if version == "1.0":
        return "", False
    return "Transfer-Encoding: chunked\r\n", keep_alive


@contextlib.asynccontextmanager
async def _closing(body: AsyncIterable[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """The body's iterator; a generator is closed at the end, so that its `finally` runs now, not some day."""
    iterator = aiter(body)
    try:
        yield iterator
    finally:
        for closable in (iterator, body):
            close = getattr(closable, "aclose", None)
            if close is not None:
                await close()


class _Primed:
    """An iterator whose first piece is already there."""

    def __init__(self, first: bytes, rest: AsyncIterator[bytes]) -> None:
        self._first = first
        self._rest = rest

    @classmethod
    async def of(cls, iterator: AsyncIterator[bytes]) -> _Primed:
        return cls(await anext(iterator, b""), iterator)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, b""
        return first or await anext(self._rest)
