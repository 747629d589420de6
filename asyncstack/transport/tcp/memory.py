"""A budget for what all connections of a stack hold, and what happens as it is used up (Linux: tcp_mem).

Counted are bytes of payload: received and not read, received out of order (and what each range of it costs by itself),
written and not acknowledged. Each is
counted where it moves, so looking at the budget is one comparison. As it fills up, in this order:

    1/2   windows stop growing; a writer that ignores `pause_writing` meets OSError(ENOBUFS)
    5/8   connections whose reader lags offer less: four segments, but never less than they have promised
    3/4   what arrives out of order is dropped, and what was held so too, though it was SACKed: RFC 2018 8 allows it
    7/8   new connections are refused: SYNs are dropped and counted ("tcp.memory_limit"), connecting raises ENOBUFS
    1     a connection whose reader lags takes no more data, within its window or not (the peer sends it again);
          every write raises ENOBUFS

Each step ends as soon as enough has been read or acknowledged. A reader lags when more than four segments wait for
it: a connection whose reader keeps up goes on at full speed through all of this, and none starves.
"""

from __future__ import annotations

from typing import Final

UNLIMITED: Final = 1 << 62


class MemoryBudget:
    """One for each stack. `held`: bytes counted now; the others: from how many on a step is in force."""

    __slots__ = ("held", "limit", "no_growth", "no_newcomers", "prune", "shrink")

    def __init__(self, limit: int = UNLIMITED) -> None:
        self.held = 0
        self.limit = limit
        self.no_growth = limit // 2
        self.shrink = limit * 5 // 8
        self.prune = limit * 3 // 4
        self.no_newcomers = limit * 7 // 8
