"""Segments without data: acknowledgements, probes, resets, and what leaves before a connection is synchronized.

`Connection.segment_to_send` builds those with data itself, and asks here for all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncstack.transport.tcp import handshake
from asyncstack.transport.tcp.sequence import MASK, timestamp
from asyncstack.transport.tcp.state import ESTABLISHED, SYN_RECEIVED
from asyncstack.wire.tcp import ACK, RST, Segment

if TYPE_CHECKING:
    from asyncstack.transport.tcp.connection import Connection


def silent(conn: Connection) -> bool:
    """Whether it is plain that `segment_to_send` would give None: a turn to send is not worth asking for. False says
    nothing."""
    snd = conn.sender
    return not (
        conn.state is not ESTABLISHED
        or snd.nxt < snd.queue.end
        or conn.receiver.ack_now
        or snd.alert
        or snd.board.lost
        or conn.probe_due
        or conn.urgent_end >= 0
        or snd.search is not None
        or snd.pacer is not None
    )


def before_synchronized(conn: Connection, now: float) -> Segment | None:
    """The last segment of a connection that has ended, a SYN, or in SYN-RECEIVED an ACK; None: nothing is due."""
    reply, conn.reply = conn.reply, None
    if reply is None:
        reply = handshake.syn_to_send(conn, now)
        conn.drained = not (conn.synchronized or conn.receiver.ack_now)
    if reply is not None:
        conn.segs_out += 1
    elif conn.receiver.ack_now and conn.state is SYN_RECEIVED:
        return acknowledgement(conn, now)  # of something not acceptable, or a challenge
    return reply


def acknowledgement(conn: Connection, now: float) -> Segment:
    """A segment with nothing but the ACK. Its number is acceptable even where the peer has shrunk its window."""
    snd, rcv = conn.sender, conn.receiver
    seq = snd.nxt if snd.nxt <= snd.edge else max(snd.edge, snd.una)
    segment = bare(conn, seq, ACK, now)
    rcv.acknowledged()
    if rcv.dup_acks:
        rcv.dup_acks -= 1
    rcv.ack_now = rcv.dup_acks > 0 or (rcv.sack_ok and rcv.held is not None and rcv.held.untold)
    return segment


def probe(conn: Connection, now: float) -> Segment:
    """A segment that the peer has to answer."""
    conn.probe_due = False
    return bare(conn, conn.sender.una - 1, ACK, now)


def bare(conn: Connection, seq: int, flags: int, now: float) -> Segment:
    """A segment without data of a synchronized connection, with all options that are due."""
    rcv = conn.receiver
    conn.segs_out += 1
    segment = Segment(
        conn.local_port,
        conn.remote_port,
        seq & MASK,
        rcv.nxt & MASK,
        flags,
        rcv.window_field(),
        b"",
        timestamp(now, conn.ts_offset) if rcv.timestamps else -1,
        rcv.ts_recent,
        rcv.sack_blocks() if rcv.sack_ok and not flags & RST else (),
    )
    if conn.ecn is not None and not flags & RST:
        conn.ecn.mark(conn, segment, False)
    return segment
