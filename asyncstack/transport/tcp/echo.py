"""How long ago what the timestamp of a segment echoes left here (RFC 7323 4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncstack.transport.tcp.sequence import HALF, MASK, timestamp

if TYPE_CHECKING:
    from asyncstack.transport.tcp.connection import Connection
    from asyncstack.wire.tcp import Segment


def ticks_since(conn: Connection, segment: Segment, now: float) -> int:
    """In ticks of the timestamp clock, which are milliseconds; below 0 if it tells nothing."""
    if not conn.receiver.timestamps or not segment.ts_ecr:
        return -1
    ticks = (timestamp(now, conn.ts_offset) - segment.ts_ecr) & MASK
    return ticks if ticks < HALF else -1


def seconds_since(conn: Connection, segment: Segment, now: float) -> float:
    """The same in seconds, at least one tick."""
    ticks = ticks_since(conn, segment, now)
    return max(ticks, 1) / 1000.0 if ticks >= 0 else -1.0
