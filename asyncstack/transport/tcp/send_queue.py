"""The bytes that the application wrote and the peer has not acknowledged.

The queue keeps the application's own immutable buffers and frees each when its last byte is acknowledged. A
segment's payload is one buffer: a slice of a chunk without a copy, or, where it spans chunks, their join. So
100,000 small writes leave in full segments, and one large write is never copied.
"""

from __future__ import annotations

from bisect import bisect_right

Buffer = bytes | memoryview

COMPACT_AT = 64  # freed slots at the front of the lists, from where on they may be cut off


class SendQueue:
    """Chunks by stream position: `una` is that of the first byte not acknowledged, `end` that behind the last."""

    __slots__ = ("_chunks", "_cursor", "_head", "_starts", "end", "una")

    def __init__(self, start: int) -> None:
        self.una = start
        self.end = start
        self._chunks: list[Buffer] = []
        self._starts: list[int] = []
        self._head = 0  # chunks before this one are freed
        self._cursor = 0  # the chunk in which the last slice ended: where the next one mostly begins

    def append(self, data: Buffer) -> None:
        """Add `data`, which must not change any more."""
        size = len(data)
        if size:
            self._chunks.append(data)
            self._starts.append(self.end)
            self.end += size

    def slice(self, start: int, stop: int) -> Buffer:
        """The bytes from `start` up to `stop`, which are in the queue."""
        starts, at = self._starts, self._cursor
        if at < len(starts) and starts[at] == start:  # the next piece as it was written
            chunk = self._chunks[at]
            if len(chunk) == stop - start:
                return chunk
        else:
            at = self._find(start)
            chunk = self._chunks[at]
        offset = start - starts[at]
        stop -= starts[at]
        if stop <= len(chunk):
            self._cursor = at
            if offset == 0 and stop == len(chunk):
                return chunk
            return memoryview(chunk)[offset:stop]
        return self._join(at, offset, stop)

    def _find(self, start: int) -> int:
        starts = self._starts
        at = self._cursor
        if at < len(starts) and starts[at] <= start:
            if start < starts[at] + len(self._chunks[at]):
                return at
            if at + 1 < len(starts) and start < starts[at + 1] + len(self._chunks[at + 1]):
                return at + 1
        return bisect_right(starts, start, self._head) - 1

    def _join(self, at: int, offset: int, stop: int) -> bytes:
        """`stop` counts from the start of chunk `at`."""
        chunks = self._chunks
        parts: list[Buffer] = [memoryview(chunks[at])[offset:]]
        stop -= len(chunks[at])
        while stop > 0:
            at += 1
            chunk = chunks[at]
            parts.append(chunk if stop >= len(chunk) else memoryview(chunk)[:stop])
            stop -= len(chunk)
        self._cursor = at
        return b"".join(parts)

    def release(self, position: int) -> None:
        """Everything before `position` is acknowledged."""
        self.una = position
        chunks, starts = self._chunks, self._starts
        if not chunks:
            return
        if position >= self.end:
            chunks.clear()
            starts.clear()
            self._head = self._cursor = 0
            return
        head, count = self._head, len(starts)
        while starts[head] + len(chunks[head]) <= position:
            chunks[head] = b""
            head += 1
        if head >= COMPACT_AT and 2 * head >= count:
            del chunks[:head]
            del starts[:head]
            self._cursor = max(self._cursor - head, 0)
            head = 0
        self._head = head

    def clear(self) -> None:
        """Free everything: the connection has ended."""
        self.una = self.end
        self._chunks.clear()
        self._starts.clear()
        self._head = self._cursor = 0
