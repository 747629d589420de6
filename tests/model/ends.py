"""The application at one end: does its steps, and keeps account of what it was told."""

from __future__ import annotations

import asyncio
import errno
import random
from typing import Final

from tests.model.script import MOST_WRITTEN

STREAM: Final = {name: random.Random(name).randbytes(16 * MOST_WRITTEN) for name in ("client", "server")}


class End(asyncio.Protocol):
    """`written` bytes of `STREAM[name]` were given to the transport; `received` is what came."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.transport: asyncio.Transport | None = None
        self.received = bytearray()
        self.written = 0
        self.ended = False  # the peer's half of the stream, as we were told
        self.rude = False  # aborted, or closed before the peer had ended
        self.aborted = False
        self.finishing = False
        self.paused = False  # from writing
        self.made = 0
        self.lost: list[BaseException | None] = []
        self.complaints: list[str] = []
        self._todo: list[tuple[str, int]] = []

    # told

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made += 1
        self.transport = transport  # type: ignore[assignment]
        todo, self._todo = self._todo, []
        for deed, number in todo:
            self.do(deed, number)

    def data_received(self, data: bytes) -> None:
        if self.ended or self.lost or self.made != 1:
            self.complaints.append("data_received() out of turn")
        self.received += data

    def eof_received(self) -> bool:
        if self.ended or self.lost:
            self.complaints.append("eof_received() out of turn")
        self.ended = True
        asyncio.get_running_loop().call_soon(self._close_if_done)
        return True

    def pause_writing(self) -> None:
        if self.paused:
            self.complaints.append("pause_writing() twice")
        self.paused = True

    def resume_writing(self) -> None:
        if not self.paused:
            self.complaints.append("resume_writing() without a pause")
        self.paused = False

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.append(exc)

    # deeds

    def do(self, deed: str, number: int = 0) -> None:
        """Do it now, or as soon as the connection is open; what comes too late is left out."""
        transport = self.transport
        if transport is None:
            self._todo.append((deed, number))
        elif self.lost:
            return
        elif deed == "writes":
            self._write(transport, number)
        elif deed == "pauses":
            transport.pause_reading()
        elif deed == "resumes":
            transport.resume_reading()
        elif deed == "half-closes":
            if not transport.is_closing():
                transport.write_eof()
        elif deed == "closes":
            self.rude |= not self.ended
            transport.close()
        elif deed == "aborts":
            self.rude = self.aborted = True
            transport.abort()
        elif deed == "finishes":
            self.finishing = True
            self._close_if_done()

    def _write(self, transport: asyncio.Transport, number: int) -> None:
        if transport.is_closing() or transport._eof_written:  # type: ignore[attr-defined]
            return
        data = STREAM[self.name][self.written : self.written + number]
        try:
            transport.write(data)
        except OSError as exc:  # the stack's memory is used up
            if exc.errno != errno.ENOBUFS:
                raise
        else:
            self.written += len(data)

    def _close_if_done(self) -> None:
        """Both halves have ended: that is an orderly close."""
        if self.finishing and self.ended and self.transport is not None:
            self.transport.close()
