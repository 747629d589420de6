"""Segments that belong to nobody: what someone off the path, or an old connection, may put on the wire.

Each function gets the end that the segment arrives at and the connection there, and gives the segment, addressed as if
the peer had sent it. None of them knows the exact numbers that let a segment in (RFC 5961, RFC 9293 3.10.7): a
connection has to come through all of them, with every byte.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from asyncstack.transport.tcp.connection import Connection
from asyncstack.transport.tcp.state import State
from asyncstack.wire.tcp import ACK, FIN, PSH, RST, SYN, Segment

MASK: Final = 0xFFFFFFFF
UNSENT: Final = 3_000_000  # beyond every window here

Stray = Callable[[Connection], Segment]


def _made(
    conn: Connection, flags: int, seq: int, ack: int, payload: bytes = b"", window: int = 500
) -> Segment:
    rcv = conn.receiver
    if conn.state is State.SYN_SENT:  # nothing but a guessed ACK protects it (RFC 9293 3.10.7.3)
        flags, ack = flags | ACK, conn.sender.nxt + UNSENT
    ts_val = rcv.ts_recent if rcv.timestamps else -1  # PAWS would throw all of them out
    source, target = conn.remote_port, conn.local_port
    return Segment(source, target, seq & MASK, ack & MASK, flags, window, payload, ts_val)


def reset_in_window(conn: Connection) -> Segment:
    """RFC 5961 3.2: inside the window but not at its start."""
    return _made(conn, RST, conn.receiver.nxt + 1, 0)


def reset_before_window(conn: Connection) -> Segment:
    return _made(conn, RST, conn.receiver.nxt - 1, conn.sender.nxt)


def reset_beyond_window(conn: Connection) -> Segment:
    return _made(conn, RST | ACK, conn.receiver.edge + UNSENT, conn.sender.nxt)


def syn_in_window(conn: Connection) -> Segment:
    """RFC 5961 4.2: a challenge, whatever the number."""
    return _made(conn, SYN, conn.receiver.nxt + 10, 0)


def syn_anywhere(conn: Connection) -> Segment:
    return _made(conn, SYN, conn.receiver.nxt + UNSENT, 0)


def ack_of_the_unsent(conn: Connection) -> Segment:
    return _made(conn, ACK, conn.receiver.nxt, conn.sender.nxt + UNSENT)


def ack_of_long_ago(conn: Connection) -> Segment:
    """RFC 5961 5.2: below SND.UNA - MAX.SND.WND."""
    return _made(conn, ACK, conn.receiver.nxt, conn.sender.una - UNSENT * 100)


def data_with_a_wrong_ack(conn: Connection) -> Segment:
    return _made(conn, ACK | PSH, conn.receiver.nxt, conn.sender.nxt + UNSENT, b"injected")


def data_without_an_ack(conn: Connection) -> Segment:
    """RFC 9293 3.10.7.4: dropped if the ACK bit is off."""
    return _made(conn, PSH, conn.receiver.nxt, conn.sender.nxt, b"injected")


def data_beyond_window(conn: Connection) -> Segment:
    return _made(conn, ACK | PSH, conn.receiver.edge + UNSENT, conn.sender.una, b"injected")


def end_beyond_window(conn: Connection) -> Segment:
    return _made(conn, ACK | FIN, conn.receiver.edge + UNSENT, conn.sender.una)


def end_with_a_wrong_ack(conn: Connection) -> Segment:
    return _made(conn, ACK | FIN, conn.receiver.nxt, conn.sender.nxt + UNSENT)


def everything_at_once(conn: Connection) -> Segment:
    """All flags, far off."""
    return _made(conn, 0xFF, conn.receiver.nxt + UNSENT, conn.sender.nxt + UNSENT, b"tree")


def from_another_port(conn: Connection) -> Segment:
    segment = _made(conn, RST | ACK, conn.receiver.nxt, conn.sender.nxt)
    segment.src_port ^= 1
    return segment


def syn_from_another_port(conn: Connection) -> Segment:
    segment = _made(conn, SYN, conn.receiver.nxt, 0)
    segment.src_port ^= 1
    return segment


def data_from_another_port(conn: Connection) -> Segment:
    segment = _made(conn, ACK | PSH, conn.receiver.nxt, conn.sender.nxt, b"injected")
    segment.src_port ^= 2
    return segment


def to_another_port(conn: Connection) -> Segment:
    segment = _made(conn, ACK | FIN, conn.receiver.nxt, conn.sender.nxt)
    segment.dst_port ^= 1
    return segment


def random_one(conn: Connection) -> Segment:
    """Any number anywhere, to this connection."""
    rng = random.Random(conn.receiver.nxt ^ conn.sender.nxt)
    far = rng.randrange(UNSENT, MASK - UNSENT)
    flags, payload = rng.getrandbits(8), rng.randbytes(rng.choice([0, 1, 100]))
    return _made(conn, flags, conn.receiver.nxt + far, rng.getrandbits(32), payload, rng.getrandbits(16))


STRAYS: Final[tuple[Stray, ...]] = (
    reset_in_window,
    reset_before_window,
    reset_beyond_window,
    syn_in_window,
    syn_anywhere,
    ack_of_the_unsent,
    ack_of_long_ago,
    data_with_a_wrong_ack,
    data_without_an_ack,
    data_beyond_window,
    end_beyond_window,
    end_with_a_wrong_ack,
    everything_at_once,
    from_another_port,
    syn_from_another_port,
    data_from_another_port,
    to_another_port,
    random_one,
)
