"""Sequence numbers: 32 bits on the wire, plain ints inside (RFC 9293 3.4).

A stream position never wraps inside: `unwrap` turns a raw number into the position nearest to one that is
known (RCV.NXT for the peer's numbers, SND.UNA for ours), `position & MASK` is the raw number again. So
comparisons are those of ints. Positions before the start of a stream come out smaller, even negative.
"""

from __future__ import annotations

from typing import Final

MASK: Final = 0xFFFFFFFF
HALF: Final = 0x80000000
NO_FIN: Final = 1 << 62  # position of a FIN that nobody has sent or asked for


def unwrap(raw: int, near: int) -> int:
    """The position with the 32-bit number `raw` that is nearest to the position `near`."""
    return near - HALF + ((raw - near + HALF) & MASK)


def newer(a: int, b: int) -> bool:
    """Whether the raw 32-bit number `a` comes after `b` (timestamps, RFC 7323 5.2)."""
    return 0 < ((a - b) & MASK) < HALF


def timestamp(now: float, offset: int) -> int:
    """The value of the timestamp clock: one tick a millisecond (RFC 7323 5.4), moved by `offset`."""
    return (int(now * 1000.0) + offset) & MASK
