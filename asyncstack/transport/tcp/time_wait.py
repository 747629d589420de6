"""Connections in TIME-WAIT, without the connections (RFC 9293 3.6.1, 3.10.7.4; RFC 6191; RFC 1337).

- what arrives for an ended connection is answered with an ACK, so that a peer that lost our last ACK can end too;
  a repeated FIN starts the 2 MSL anew
- a reset does not end the wait (RFC 1337, fix F1)
- a SYN that is certainly newer than the old connection starts a new one: its timestamp is later than the last
  one seen, or, without timestamps or with an equal one, its sequence number is higher (RFC 6191)

A connection hands over what the table needs as one tuple (`entry_of`) and is freed.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncstack.transport.tcp.sequence import HALF, MASK, newer, timestamp
from asyncstack.transport.tcp.state import TIME_WAIT
from asyncstack.wire.tcp import ACK, FIN, RST, SYN, Segment

if TYPE_CHECKING:
    from asyncstack.transport.tcp.connection import Connection

ISN_STEP = 65_537  # how far above the old connection's numbers its successor starts: one unscaled window


class TimeWaitEntry(NamedTuple):
    """What is left of a connection. Sequence numbers and timestamps are raw 32-bit numbers."""

    snd_nxt: int
    rcv_nxt: int
    window: int  # the field of its last segment
    ts_recent: int  # -1: the connection had no timestamps
    ts_offset: int


def entry_of(conn: Connection) -> TimeWaitEntry | None:
    """What `TimeWaitTable.add` needs if `conn` has come to TIME-WAIT, else None. The last segments, from
    `segment_to_send`, have to leave all the same."""
    if conn.state is not TIME_WAIT:
        return None
    rcv = conn.receiver
    return TimeWaitEntry(
        conn.sender.nxt & MASK,
        rcv.nxt & MASK,
        rcv.window_field(),
        rcv.ts_recent if rcv.timestamps else -1,
        conn.ts_offset,
    )


class TimeWaitTable:
    """The 4-tuples that may not be reused yet, each for `duration` seconds (2 MSL), at most `limit` of them.

    `key` is whatever the layer finds its connections by. When the table is full the oldest entry makes room:
    a flood of connections shortens TIME-WAIT, it takes no memory.
    """

    __slots__ = ("_duration", "_entries", "_limit")

    def __init__(self, limit: int, duration: float) -> None:
        self._limit = limit
        self._duration = duration
        self._entries: dict[Hashable, tuple[float, TimeWaitEntry]] = {}  # in the order in which they expire

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[Any]:
        return iter(self._entries)

    @property
    def deadline(self) -> float:
        """When the next entry expires; `math.inf` if there is none."""
        for expiry, _ in self._entries.values():
            return expiry
        return math.inf

    def add(self, key: Hashable, entry: TimeWaitEntry, now: float) -> None:
        """Hold `key` for 2 MSL from `now`."""
        self._entries.pop(key, None)
        if self._limit <= 0:
            return
        if len(self._entries) >= self._limit:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (now + self._duration, entry)

    def timer_expired(self, now: float) -> None:
        """Forget what has waited long enough."""
        over = []
        for key, (expiry, _) in self._entries.items():
            if expiry > now:
                break
            over.append(key)
        for key in over:
            del self._entries[key]

    def take_syn(self, key: Hashable, segment: Segment) -> int | None:
        """The initial sequence number for a new connection if `segment` is a SYN that may start one: its
        predecessor is forgotten, and the segment goes to the listener. Else None."""
        if segment.flags & (SYN | ACK | RST | FIN) != SYN or key not in self._entries:
            return None
        entry = self._entries[key][1]
        later = 0 < ((segment.seq - entry.rcv_nxt) & MASK) < HALF
        if entry.ts_recent >= 0 and segment.ts_val >= 0 and segment.ts_val != entry.ts_recent:
            later = newer(segment.ts_val, entry.ts_recent)
        if not later:
            return None
        del self._entries[key]
        return (entry.snd_nxt + ISN_STEP) & MASK

    def receive_segment(self, key: Hashable, segment: Segment, now: float) -> Segment | None:
        """The ACK that answers `segment`, if any. Ask `take_syn` first."""
        held = self._entries.get(key)
        if held is None or segment.flags & RST:
            return None
        entry = held[1]
        if segment.flags & (SYN | FIN) == FIN:
            self.add(key, entry, now)
        elif not segment.payload and not segment.flags & SYN and segment.seq == entry.rcv_nxt:
            return None  # a pure ACK of what we have: an answer could start a war of ACKs
        return Segment(
            segment.dst_port,
            segment.src_port,
            entry.snd_nxt,
            entry.rcv_nxt,
            ACK,
            entry.window,
            b"",
            timestamp(now, entry.ts_offset) if entry.ts_recent >= 0 else -1,
            max(entry.ts_recent, 0),
        )
