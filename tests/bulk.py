"""One direction full of data: what writes as much as it may, and what counts it."""

from __future__ import annotations

import asyncio
from typing import Final

CHUNK: Final = 256 << 10  # bytes in one write


class Source(asyncio.Protocol):
    """Writes whenever there is room."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.resume_writing()

    def pause_writing(self) -> None:
        self._room = False

    def resume_writing(self) -> None:
        self._room = True
        while self._room and not self._transport.is_closing():
            self._transport.write(bytes(CHUNK))


class Sink(asyncio.Protocol):
    """Counts what has come."""

    def __init__(self, opened: asyncio.Future[Sink]) -> None:
        self.received = 0
        self._opened = opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._opened.set_result(self)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
