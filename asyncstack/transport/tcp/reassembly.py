"""What arrived ahead of a hole (RFC 9293 3.10.7.4), and the SACK blocks that tell the peer (RFC 2018 4).

Ranges never touch or overlap; what arrives is cut to what is new, so that bytes once held are never changed. Their
number is bounded: a segment that would make one too many is dropped, which is better than dropping what was SACKED.
Bytes are bounded by the receive window. Small pieces are put together, so that memory stays near the bytes held.

The first block of an ACK is the range that changed last (RFC 2018 4 (1)), the others follow by the same order; what
no ACK has told yet comes first, so a burst that was received before anything was sent loses nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import Any

Buffer = bytes | memoryview

CROWDED = 64  # pieces in a range, from where on small ones are joined
SMALL = 256  # bytes in a piece, on average

_end = attrgetter("end")


def compact(payload: Buffer) -> Buffer:
    """`payload`, copied if it is a small part of the frame that it keeps in memory."""
    if type(payload) is memoryview:
        frame: Any = payload.obj
        if 4 * len(payload) < len(frame):
            return bytes(payload)
    return payload


class Range:
    """The positions [start, end), held in `pieces`. `told`: an ACK has said so."""

    __slots__ = ("end", "pieces", "start", "told")

    def __init__(self, start: int, end: int, pieces: list[Buffer]) -> None:
        self.start = start
        self.end = end
        self.pieces = pieces
        self.told = False


class Reassembly:
    """Made when the first segment comes out of order, dropped when the last hole is filled."""

    __slots__ = ("_limit", "_ranges", "_recent", "size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.size = 0  # bytes held
        self._ranges: list[Range] = []  # by position
        self._recent: list[Range] = []  # the range that changed last comes first

    def __len__(self) -> int:
        return len(self._ranges)

    @property
    def untold(self) -> bool:
        """Whether there is a range that no ACK has told yet."""
        return any(not held.told for held in self._recent)

    def insert(self, start: int, payload: Buffer) -> tuple[int, int] | None:
        """Hold `payload`, which begins at `start`. Returns the (left, right) of a part that was held before."""
        ranges = self._ranges
        end = start + len(payload)
        at = bisect_left(ranges, start, key=_end)
        if at == len(ranges) or ranges[at].start > end:
            if len(ranges) < self._limit:
                held = Range(start, end, [payload])
                self.size += end - start
                ranges.insert(at, held)
                self._recent.insert(0, held)
            return None
        held = ranges[at]
        repeated = (max(start, held.start), min(end, held.end))
        self._extend(at, held, start, end, payload)
        self._recent.remove(held)
        self._recent.insert(0, held)
        held.told = False
        if len(held.pieces) > CROWDED and held.end - held.start < len(held.pieces) * SMALL:
            held.pieces = [b"".join(held.pieces)]
        return repeated if repeated[0] < repeated[1] else None

    def _extend(self, at: int, held: Range, start: int, end: int, payload: Buffer) -> None:
        """Add to `held`, the range number `at`, what of `payload` is new; swallow the ranges it then touches."""
        ranges = self._ranges
        if start < held.start:
            held.pieces.insert(0, compact(payload[: held.start - start]))
            self.size += held.start - start
            held.start = start
        while True:
            following = ranges[at + 1] if at + 1 < len(ranges) else None
            stop = end if following is None else min(end, following.start)
            if held.end < stop:
                self.size += stop - held.end
                held.pieces.append(compact(payload[held.end - start : stop - start]))
                held.end = stop
            if following is None or following.start > held.end:
                return
            held.pieces += following.pieces
            held.end = following.end
            del ranges[at + 1]
            self._recent.remove(following)

    def take(self, position: int) -> tuple[int, list[Buffer], tuple[int, int] | None]:
        """Remove what continues the stream at `position`. Returns (where it ends, its buffers, the first part held
        that had come again below `position`)."""
        pieces: list[Buffer] = []
        repeated: tuple[int, int] | None = None
        while self._ranges and self._ranges[0].start <= position:
            held = self._ranges.pop(0)
            self._recent.remove(held)
            self.size -= held.end - held.start
            known = position - held.start  # bytes that came again, in order
            if known and repeated is None:
                repeated = held.start, min(held.end, position)
            for piece in held.pieces:
                if known < len(piece):
                    pieces.append(piece[known:] if known > 0 else piece)
                known -= len(piece)
            position = max(position, held.end)
        return position, pieces, repeated

    def blocks(self, most: int) -> list[tuple[int, int]]:
        """The SACK blocks (positions) for one ACK, at most `most`; they count as told."""
        chosen = [held for held in self._recent if not held.told][:most]
        if len(chosen) < most:
            chosen += [held for held in self._recent if held.told][: most - len(chosen)]
        for held in chosen:
            held.told = True
        return [(held.start, held.end) for held in chosen]
