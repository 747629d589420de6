"""Where a body ends: decoders that take bytes from the front of a buffer and never one too many.

Each has `decode(buffer) -> bytes` (the next piece, removed from `buffer`; b"" means more input is needed, or
`done`), `done`, and `eof()` for the end of the connection.
"""

from __future__ import annotations

from typing import Protocol

from asyncstack.application.http.errors import BodyTruncated
from asyncstack.application.http.grammar import CHUNK_LINE, FIELDS
from asyncstack.application.http.head import CHUNKED, UNTIL_EOF

PIECE = 64 * 1024


class FramingError(ValueError):
    """The chunks of a body are malformed: nothing after this point can be trusted."""


class Decoder(Protocol):
    """What every body decoder does."""

    done: bool

    def decode(self, buffer: bytearray) -> bytes:
        """The next piece of the body, removed from `buffer`; raises FramingError."""

    def eof(self) -> None:
        """The connection ended; raises BodyTruncated unless that ends the body."""

    def remaining(self) -> int:
        """Bytes that are certainly still to come; -1 if unknown."""


def _take(buffer: bytearray, size: int) -> bytes:
    data = bytes(memoryview(buffer)[:size])
    del buffer[:size]
    return data


class LengthDecoder:
    """A body of a known length (Content-Length)."""

    __slots__ = ("_left", "done")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def decode(self, buffer: bytearray) -> bytes:
        data = _take(buffer, min(self._left, len(buffer), PIECE))
        self._left -= len(data)
        self.done = self._left == 0
        return data

    def eof(self) -> None:
        if not self.done:
            raise BodyTruncated(f"the connection ended {self._left} bytes before the body did")

    def remaining(self) -> int:
        return self._left


class EofDecoder:
    """A body that ends with the connection: responses of HTTP/1.0."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def decode(self, buffer: bytearray) -> bytes:
        return _take(buffer, min(len(buffer), PIECE))

    def eof(self) -> None:
        self.done = True

    def remaining(self) -> int:
        return -1


class ChunkedDecoder:
    """The chunked transfer coding (RFC 9112 section 7.1); extensions are ignored, trailers kept as raw lines.

    `chunk_line` bounds a size with its extensions, `trailer_size` the trailer section, both in bytes.
    """

    __slots__ = ("_chunk_line", "_left", "_step", "_trailer_size", "done", "trailers")

    def __init__(self, chunk_line: int = 1024, trailer_size: int = 8192) -> None:
        self._chunk_line = chunk_line
        self._trailer_size = trailer_size
        self._left = 0
        self._step = self._read_size
        self.done = False
        self.trailers: list[tuple[str, str]] = []

    def decode(self, buffer: bytearray) -> bytes:
        while not self.done:
            if self._left:
                data = _take(buffer, min(self._left, len(buffer), PIECE))
                self._left -= len(data)
                return data
            if not self._step(buffer):
                break
        return b""

    def eof(self) -> None:
        if not self.done:
            raise BodyTruncated("the connection ended before the last chunk")

    def remaining(self) -> int:
        return 0 if self.done else -1

    def _read_size(self, buffer: bytearray) -> bool:
        line = self._line(buffer, self._chunk_line, "chunk size")
        if line is None:
            return False
        match = CHUNK_LINE.fullmatch(line)
        if match is None:
            raise FramingError("malformed chunk size")
        self._left = int(match[1], 16)
        self._step = self._read_data_end if self._left else self._read_trailer
        return True

    def _read_data_end(self, buffer: bytearray) -> bool:
        if not b"\r\n".startswith(buffer[:2]):
            raise FramingError("a chunk is longer than its size")
        if len(buffer) < 2:
            return False
        del buffer[:2]
        self._step = self._read_size
        return True

    def _read_trailer(self, buffer: bytearray) -> bool:
        line = self._line(buffer, self._trailer_size, "trailer section")
        if line is None:
            return False
        if not line:
            self.done = True
            return True
        if FIELDS.fullmatch(line + b"\r\n") is None:
            raise FramingError("malformed trailer field")
        self._trailer_size -= len(line) + 2
        name, _, value = line.decode("latin-1").partition(":")
        self.trailers.append((name, value.strip(" \t")))
        return True

    def _line(self, buffer: bytearray, limit: int, what: str) -> bytes | None:
        """The next line without its CRLF, removed; None while it is incomplete. A bare LF ends no line."""
        end = buffer.find(b"\n", 0, limit + 2)
        if end < 0:
            if len(buffer) > limit:
                raise FramingError(f"{what} too long")
            return None
        if end == 0 or buffer[end - 1] != 0x0D:
            raise FramingError(f"bare LF in {what}")
        line = bytes(buffer[: end - 1])
        del buffer[: end + 1]
        return line


def decoder_for(length: int, chunk_line: int, trailer_size: int) -> Decoder:
    """The decoder for a head's `length`: bytes, CHUNKED or UNTIL_EOF."""
    if length >= 0:
        return LengthDecoder(length)
    if length == CHUNKED:
        return ChunkedDecoder(chunk_line, trailer_size)
    assert length == UNTIL_EOF
    return EofDecoder()


def encode_chunk(data: bytes | bytearray | memoryview) -> tuple[bytes, bytes | bytearray | memoryview, bytes]:
    """`data`, not empty, as one chunk in three parts for `writelines`."""
    return b"%x\r\n" % len(data), data, b"\r\n"


LAST_CHUNK = b"0\r\n\r\n"
