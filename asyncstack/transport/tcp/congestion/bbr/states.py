"""BBR's states and their gains (draft-ietf-ccwg-bbr 3.3, 5.6.1).

STARTUP -> DRAIN -> DOWN -> CRUISE -> REFILL -> UP -> DOWN ...
any state but itself, when no smaller round trip was seen for 5 s -> PROBE_RTT -> CRUISE, or STARTUP
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class State(Enum):
    """What a BBR flow is about."""

    STARTUP = "startup"  # double the rate each round trip, until that delivers no more
    DRAIN = "drain"  # let go of the queue that this made
    DOWN = "probe_bw_down"  # send slower than the path delivers
    CRUISE = "probe_bw_cruise"  # send as the path delivers
    REFILL = "probe_bw_refill"  # fill the pipe before probing
    UP = "probe_bw_up"  # send faster than the path delivered so far
    PROBE_RTT = "probe_rtt"  # keep little in flight, to see the propagation delay


# pacing gain, cwnd gain
GAINS: Final[dict[State, tuple[float, float]]] = {
    State.STARTUP: (2.77, 2.0),
    State.DRAIN: (0.5, 2.0),
    State.DOWN: (0.9, 2.0),
    State.CRUISE: (1.0, 2.0),
    State.REFILL: (1.0, 2.0),
    State.UP: (1.25, 2.25),
    State.PROBE_RTT: (1.0, 0.5),
}

PROBE_BW: Final = (State.DOWN, State.CRUISE, State.REFILL, State.UP)
ACCELERATING: Final = (State.STARTUP, State.REFILL, State.UP)
