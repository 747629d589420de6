"""The server's side of DNS over TCP (RFC 7766)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from asyncstack.timing import Clock, LoopTimer

PIPELINE: Final = 16  # queries of one client that wait for their answers; more are not read

Reply = Callable[[bytes], None]


class Stream(asyncio.Protocol):
    """One client. Each of its messages goes to `receive(data, reply)`; `reply` takes the answer, b"" for none, at any
    time and in any order. After `idle` seconds without a message it is closed."""

    def __init__(
        self,
        receive: Callable[[bytes, Reply], None],
        streams: dict[Stream, None],
        *,
        clock: Clock,
        idle: float,
    ) -> None:
        self.pending = 0
        self._receive = receive
        self._streams = streams
        self._clock = clock
        self._idle = idle
        self._buffer = bytearray()
        self._full = self._ended = self._paused = self._reading = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._streams[self] = None
        self._timer = LoopTimer(asyncio.get_running_loop(), self._clock, self._timer_expired)
        self._timer.arm(self._clock() + self._idle)

    def connection_lost(self, exc: Exception | None) -> None:
        self._streams.pop(self, None)
        self._timer.end()
        self._transport = None
        self._buffer.clear()

    # reading

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._read()

    def eof_received(self) -> bool:
        self._ended = True
        return self.pending > 0 or self._full  # answers are still to leave

    def _read(self) -> None:
        """Take messages from the buffer while the client takes its answers."""
        if self._reading:
            return  # an answer came at once: the loop below goes on
        self._reading = True
        while not self._blocked and len(self._buffer) >= 2:
            end = 2 + int.from_bytes(self._buffer[:2], "big")
            if len(self._buffer) < end:
                break
            message = bytes(self._buffer[2:end])
            del self._buffer[:end]
            self._take(message)
        self._reading = False
        if self._ended and not self.pending and not self._full:
            self.close()
        self._pause(self._blocked)

    def _take(self, message: bytes) -> None:
        self._timer.arm(self._clock() + self._idle)
        self._streams[self] = self._streams.pop(self, None)  # the one that was silent longest is in front
        self.pending += 1
        self._receive(message, self._reply)

    @property
    def _blocked(self) -> bool:
        transport = self._transport
        return transport is None or transport.is_closing() or self._full or self.pending >= PIPELINE

    def _pause(self, wanted: bool) -> None:
        if self._transport is None or self._transport.is_closing() or wanted == self._paused:
            return
        self._paused = wanted
        if wanted:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # writing

    def _reply(self, data: bytes) -> None:
        self.pending -= 1
        if self._transport is None:
            return
        if data:
            self._transport.write(len(data).to_bytes(2, "big") + data)
        self._read()

    def pause_writing(self) -> None:
        self._full = True
        self._pause(True)

    def resume_writing(self) -> None:
        self._full = False
        self._read()

    # the end

    def _timer_expired(self, now: float) -> None:
        if self.pending:
            self._timer.arm(now + self._idle)
        else:
            self.close()

    def close(self) -> None:
        """Close in order, or at once if the client does not read."""
        if self._transport is None:
            return
        if self._full:
            self._transport.abort()
        else:
            self._transport.close()

    def abort(self) -> None:
        """Close at once: another client needs the place."""
        self._streams.pop(self, None)
        if self._transport is not None:
            self._transport.abort()
