"""Bytes without end, as two asyncio protocols."""

import asyncio
from typing import cast

CHUNK = bytes(64 << 10)


class Source(asyncio.Protocol):
    """Writes for as long as the transport takes it and `wanted` is set; `stop` and `cut_off` end it sooner."""

    def __init__(self, wanted: asyncio.Event) -> None:
        self.wanted = wanted
        self.full = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.resume_writing()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        while self.transport and not self.full and not self.transport.is_closing():
            if self.wanted.is_set():
                self.transport.write(CHUNK)
            else:
                self.transport.close()

    def stop(self) -> None:
        """End in order: what is buffered still arrives."""
        if self.transport is not None:
            self.transport.close()

    def cut_off(self) -> None:
        """End with a reset."""
        if self.transport is not None:
            self.transport.abort()


class Sink(asyncio.Protocol):
    """Takes everything."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
