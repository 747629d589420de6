"""The connection's states and the events it tells its shell about.

RFC 9293 3.3.2, figure 5, as data: `TRANSITIONS[state, trigger]` is the next state. `Connection._enter` is the
only place that assigns a state, and it looks it up here.

    CLOSED  --ACTIVE_OPEN-->  SYN_SENT  --SYN_ACK-->  ESTABLISHED  --CLOSE-->  FIN_WAIT_1 ...
    CLOSED  --PASSIVE_OPEN-->  LISTEN  --SYN-->  SYN_RECEIVED  --ACK_OF_SYN-->  ESTABLISHED  --FIN-->  CLOSE_WAIT ...

END stands for everything that leads to CLOSED at once: a reset in either direction, a timeout, the end of
TIME-WAIT.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class State(Enum):
    """RFC 9293 3.3.2."""

    __hash__ = object.__hash__  # Enum's is a Python function over the name, and each transition looks two up

    CLOSED = "CLOSED"
    LISTEN = "LISTEN"
    SYN_SENT = "SYN-SENT"
    SYN_RECEIVED = "SYN-RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT_1 = "FIN-WAIT-1"
    FIN_WAIT_2 = "FIN-WAIT-2"
    CLOSE_WAIT = "CLOSE-WAIT"
    CLOSING = "CLOSING"
    LAST_ACK = "LAST-ACK"
    TIME_WAIT = "TIME-WAIT"


class Trigger(Enum):
    """What moves a connection from state to state. CLOSE is our FIN's, FIN the peer's."""

    __hash__ = object.__hash__

    ACTIVE_OPEN = "active open"
    PASSIVE_OPEN = "passive open"
    SYN = "SYN received"
    SYN_ACK = "SYN with the ACK of ours received"
    ACK_OF_SYN = "ACK of our SYN received"
    CLOSE = "close"
    FIN = "FIN received"
    ACK_OF_FIN = "ACK of our FIN received"
    END = "reset, timeout or abort"


class Event(Enum):
    """What a shell hears from `Connection.events()`, in this order."""

    OPENED = "opened"  # ESTABLISHED was reached
    READABLE = "readable"  # `read()` has bytes
    EOF = "eof"  # the peer's FIN: after what `read()` returns nothing follows
    WRITABLE = "writable"  # acknowledged bytes left the send queue
    CLOSED = "closed"  # CLOSED or TIME_WAIT was reached; `error` says why


# Plain names: a look-up on an Enum class costs more than a global, and these are read per segment.
CLOSED: Final = State.CLOSED
LISTEN: Final = State.LISTEN
SYN_SENT: Final = State.SYN_SENT
SYN_RECEIVED: Final = State.SYN_RECEIVED
ESTABLISHED: Final = State.ESTABLISHED
FIN_WAIT_1: Final = State.FIN_WAIT_1
FIN_WAIT_2: Final = State.FIN_WAIT_2
CLOSE_WAIT: Final = State.CLOSE_WAIT
CLOSING: Final = State.CLOSING
LAST_ACK: Final = State.LAST_ACK
TIME_WAIT: Final = State.TIME_WAIT

TRANSITIONS: Final[dict[tuple[State, Trigger], State]] = {
    (CLOSED, Trigger.ACTIVE_OPEN): SYN_SENT,
    (CLOSED, Trigger.PASSIVE_OPEN): LISTEN,
    (LISTEN, Trigger.SYN): SYN_RECEIVED,
    (SYN_SENT, Trigger.SYN): SYN_RECEIVED,  # simultaneous open
    (SYN_SENT, Trigger.SYN_ACK): ESTABLISHED,
    (SYN_RECEIVED, Trigger.ACK_OF_SYN): ESTABLISHED,
    (ESTABLISHED, Trigger.CLOSE): FIN_WAIT_1,
    (ESTABLISHED, Trigger.FIN): CLOSE_WAIT,
    (FIN_WAIT_1, Trigger.ACK_OF_FIN): FIN_WAIT_2,
    (FIN_WAIT_1, Trigger.FIN): CLOSING,
    (FIN_WAIT_2, Trigger.FIN): TIME_WAIT,
    (CLOSING, Trigger.ACK_OF_FIN): TIME_WAIT,
    (CLOSE_WAIT, Trigger.CLOSE): LAST_ACK,
    (LAST_ACK, Trigger.ACK_OF_FIN): CLOSED,
} | {(state, Trigger.END): CLOSED for state in State if state is not CLOSED}

SYNCHRONIZED: Final = (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT)

# Events are collected as bits; EVENTS[bits] is what the shell gets.
OPENED_BIT: Final = 1
READABLE_BIT: Final = 2
EOF_BIT: Final = 4
WRITABLE_BIT: Final = 8
CLOSED_BIT: Final = 16
EVENTS: Final = tuple(
    tuple(event for position, event in enumerate(Event) if bits >> position & 1) for bits in range(32)
)
