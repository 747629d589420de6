"""A message's body as it arrives: read when somebody asks for it, so that the window closes when nobody does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from asyncstack.application.http.errors import HttpError, LimitExceeded
from asyncstack.application.http.framing import ChunkedDecoder, Decoder, FramingError
from asyncstack.application.http.source import ByteSource


@dataclass(slots=True)
class Pace:
    """How slowly a body may come: `gap` seconds between two pieces, `rate` bytes/s after `grace` s of waiting."""

    gap: float
    rate: float = 0.0
    grace: float = 0.0


class Body:
    """An async iterator over the pieces of one body.

    `limit` bytes at most, 0 for any number. `on_first_read` is awaited before the first wait for input
    (the server's 100 Continue). Raises BodyTruncated, TimeoutError, FramingError, LimitExceeded.
    """

    __slots__ = ("_decoder", "_on_first_read", "_pace", "_source", "_waited", "failed", "limit", "received")

    def __init__(
        self,
        source: ByteSource,
        decoder: Decoder,
        pace: Pace,
        limit: int = 0,
        on_first_read: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._source = source
        self._decoder = decoder
        self._pace = pace
        self.limit = limit
        self._on_first_read = on_first_read
        self._waited = 0.0
        self.failed = False
        self.received = 0

    @property
    def done(self) -> bool:
        """Whether the whole body has been taken from the connection."""
        return self._decoder.done

    @property
    def remaining(self) -> int:
        """Bytes certainly still to come; -1 if unknown."""
        return self._decoder.remaining()

    @property
    def awaits_continue(self) -> bool:
        """Whether the client was never told to go on (Expect: 100-continue), so that it may not send the body."""
        return self._on_first_read is not None

    @property
    def trailers(self) -> list[tuple[str, str]]:
        """The trailer fields of a chunked body, once it is done."""
        return self._decoder.trailers if isinstance(self._decoder, ChunkedDecoder) else []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self.read_piece()
        if not piece:
            raise StopAsyncIteration
        return piece

    async def read_piece(self) -> bytes:
        """The next bytes, at most 64 KiB; b"" once the body has ended."""
        try:
            return await self._read_piece()
        except BaseException:
            self.failed = True
            raise

    async def _read_piece(self) -> bytes:
        decoder, source = self._decoder, self._source
        if self._on_first_read is not None and not source.buffer:
            go_on, self._on_first_read = self._on_first_read, None
            await go_on()
        while not decoder.done:
            piece = decoder.decode(source.buffer)
            if piece:
                self.received += len(piece)
                if self.limit and self.received > self.limit:
                    raise LimitExceeded(f"the body is larger than {self.limit} bytes")
                return piece
            if not decoder.done and not await self._wait():
                decoder.eof()
        return b""

    async def _wait(self) -> bool:
        """More input, in the time that the pace leaves. Only waiting counts: a slow handler is no slow client."""
        pace = self._pace
        allowed = pace.gap
        if pace.rate:
            allowed = min(allowed, pace.grace + self.received / pace.rate - self._waited)
        clock = self._source.deadline.clock
        began = clock()
        try:
            return await self._source.fill(max(allowed, 0.0))
        finally:
            self._waited += clock() - began

    async def read(self) -> bytes:
        """All of it."""
        first = await self.read_piece()
        if self._decoder.done:
            return first
        pieces = [first]
        while piece := await self.read_piece():
            pieces.append(piece)
        return b"".join(pieces)

    async def discard(self, size: int) -> bool:
        """Read and forget what is left, at most `size` bytes; whether that was the end."""
        end = self.received + size
        while not self.done and self.received <= end:
            await self.read_piece()
        return self.done


class RequestBody(Body):
    """A request's body: what is wrong with it becomes the answer that the client gets."""

    __slots__ = ()

    async def read_piece(self) -> bytes:
        try:
            return await super().read_piece()
        except LimitExceeded:
            raise HttpError(413, f"at most {self.limit} bytes") from None
        except FramingError as exc:
            raise HttpError(400, str(exc)) from None
        except TimeoutError:
            raise HttpError(408, "the body came too slowly") from None
