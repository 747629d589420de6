"""A connection's timers: a table of deadlines by kind.

The table is a list of floats; arming or disarming a timer assigns one item, and the connection's deadline is the
smallest. Nothing is ever cancelled in an event loop. What a timer does when it is due is in `timeouts.py`.

- RETRANSMIT    RFC 9293 3.8.1, RFC 6298: the oldest segment was not acknowledged in time; also a SYN
- DELAYED_ACK   RFC 9293 3.8.6.3: an acknowledgement has waited long enough for data to ride on
- PERSIST       RFC 9293 3.8.6.1: data waits for a window that may have opened unheard
- KEEPALIVE     RFC 9293 3.8.4
- PROBE         RFC 8985 7: nothing was heard for two round trips
- REORDER       RFC 8985 6.3: what was overtaken has not arrived within the reordering window
- FIN_WAIT      the peer of a closed connection may never send its FIN
- PACE          what has left is paid for: the next super-segment may leave (see `pacing`)

The user timeout (RFC 9293 3.8.3, RFC 5482) has no entry: it cuts short the deadlines of RETRANSMIT and PERSIST.
"""

from __future__ import annotations

import math
from typing import Final

RETRANSMIT: Final = 0
DELAYED_ACK: Final = 1
PERSIST: Final = 2
KEEPALIVE: Final = 3
FIN_WAIT: Final = 4
PACE: Final = 5
PROBE: Final = 6
REORDER: Final = 7
KINDS: Final = 8

NEVER: Final = math.inf

Timers = list[float]


def no_timers() -> Timers:
    """A table in which nothing is due."""
    return [NEVER] * KINDS
