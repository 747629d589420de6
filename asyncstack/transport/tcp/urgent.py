"""Urgent data (RFC 9293 3.8.5, RFC 6093): a mark in the stream, not a second channel.

- receiving: urgent data is read in line with all other, as if SO_OOBINLINE were always set (RFC 6093 4); URG and the
  urgent pointer of a peer change nothing, whatever they say
- sending (MSG_OOB): until the peer has acknowledged it, segments that begin before the end of the urgent data carry URG
  and the distance to the byte behind it (RFC 6093 3.1: what all systems do); 65,535 where it is farther off
- such segments leave one by one: what is cut up below us has one pointer for all pieces

New applications should not use it (RFC 6093 5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp.sequence import unwrap
from asyncstack.wire.tcp import RST, URG, Segment

if TYPE_CHECKING:
    from asyncstack.transport.tcp.connection import Connection

NOTHING: Final = -1
FARTHEST: Final = 0xFFFF


def mark(conn: Connection) -> None:
    """The last byte written is urgent, and with it all before."""
    if conn.queued:
        conn.urgent_end = conn.sender.queue.end


def segment_to_send(conn: Connection, now: float) -> Segment | None:
    """`Connection.segment_to_send` while urgent data is not acknowledged."""
    snd = conn.sender
    end, conn.urgent_end = conn.urgent_end, NOTHING
    if snd.una >= end:
        return conn.segment_to_send(now)
    sizes = snd.limit, snd.largest
    snd.limit = snd.largest = snd.mss
    try:
        segment = conn.segment_to_send(now)
    finally:
        snd.limit, snd.largest = sizes
        conn.urgent_end = end
    if segment is not None and not segment.flags & RST:
        ahead = end - unwrap(segment.seq, snd.una)
        if ahead > 0:
            segment.flags |= URG
            segment.urgent = min(ahead, FARTHEST)
    return segment
