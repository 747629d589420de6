"""The receiving side of a connection: a buffer in front of a StreamReader, heads and bodies taken from it."""

from __future__ import annotations

import asyncio

from asyncstack.application.http.deadline import Deadline
from asyncstack.application.http.grammar import HOPELESS

READ_SIZE = 64 * 1024


class HeadTooLarge(Exception):
    """No empty line within the limit; `line_ended` tells whether the first line was complete."""

    def __init__(self, line_ended: bool) -> None:
        super().__init__("the head is too large")
        self.line_ended = line_ended


class HopelessHead(ValueError):
    """Bytes that can not be the beginning of any head."""


class ByteSource:
    """Bytes from `reader`, of which the front is in `buffer`. `eof` is set once the reader has ended."""

    __slots__ = ("buffer", "deadline", "eof", "reader")

    def __init__(self, reader: asyncio.StreamReader, loop: asyncio.AbstractEventLoop) -> None:
        self.reader = reader
        self.buffer = bytearray()
        self.deadline = Deadline(loop)
        self.eof = False

    async def fill(self, seconds: float) -> bool:
        """Wait for more bytes; False at the end of the stream. Raises TimeoutError, ConnectionError."""
        if self.eof:
            return False
        with self.deadline.within(seconds):
            data = await self.reader.read(READ_SIZE)
        if not data:
            self.eof = True
            return False
        self.buffer += data
        return True

    async def take_head(self, limit: int, seconds: float) -> bytes | None:
        """A head with its empty line, removed; None if the stream ends first. All of it within `seconds`.

        Raises HeadTooLarge, HopelessHead, TimeoutError, ConnectionError.
        """
        buffer = self.buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            with self.deadline.within(seconds):
                end = await self._find_empty_line(limit)
            if end < 0:
                return None
        end += 4
        if end > limit:
            raise HeadTooLarge(0 <= buffer.find(b"\r\n") < limit)
        head = bytes(memoryview(buffer)[:end])
        del buffer[:end]
        return head

    async def _find_empty_line(self, limit: int) -> int:
        buffer = self.buffer
        searched = 0
        while True:
            end = buffer.find(b"\r\n\r\n", max(searched - 3, 0))
            if end >= 0:
                return end
            if HOPELESS.search(buffer, max(searched - 2, 0)) is not None:
                raise HopelessHead
            searched = len(buffer)
            if searched > limit:
                raise HeadTooLarge(b"\r\n" in buffer)
            data = await self.reader.read(READ_SIZE)
            if not data:
                self.eof = True
                return -1
            buffer += data

    def close(self) -> None:
        """Free the timer."""
        self.deadline.cancel()
