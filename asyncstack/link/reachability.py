"""Whether a neighbour still answers: the state machine of RFC 4861 7.3 and its appendix C, as a table.

ARP uses it too, as Linux does: an ARP reply that was asked for counts as a solicited advertisement, any other ARP
packet as an unsolicited one. `neighbors` holds the entries and runs the machine.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class State(Enum):
    """RFC 4861 7.3.2. FAILED is an entry that RFC 4861 deletes: kept to take an answer that comes late."""

    INCOMPLETE = "incomplete"
    REACHABLE = "reachable"
    STALE = "stale"
    DELAY = "delay"
    PROBE = "probe"
    FAILED = "failed"


class Input(Enum):
    """What happens to an entry."""

    LOOKUP = "a packet is to be sent"
    TIMEOUT = "the time of the state is over"
    EXHAUSTED = "the last solicitation was not answered"
    CONFIRMED = "a solicited answer, or progress seen by an upper layer"
    LEARNED = "a link address, new or changed, that was not asked for"
    CONFLICT = "another link address, which must not override"


_S = State
_I = Input
# A pair that is absent changes nothing. None: there was no entry.
TRANSITIONS: Final[dict[tuple[State | None, Input], State]] = {
    (None, _I.LOOKUP): _S.INCOMPLETE,
    (None, _I.LEARNED): _S.STALE,
    (_S.INCOMPLETE, _I.EXHAUSTED): _S.FAILED,
    (_S.INCOMPLETE, _I.CONFIRMED): _S.REACHABLE,
    (_S.INCOMPLETE, _I.LEARNED): _S.STALE,
    (_S.REACHABLE, _I.TIMEOUT): _S.STALE,
    (_S.REACHABLE, _I.CONFIRMED): _S.REACHABLE,
    (_S.REACHABLE, _I.LEARNED): _S.STALE,
    (_S.REACHABLE, _I.CONFLICT): _S.STALE,
    (_S.STALE, _I.LOOKUP): _S.DELAY,
    (_S.STALE, _I.CONFIRMED): _S.REACHABLE,
    (_S.DELAY, _I.TIMEOUT): _S.PROBE,
    (_S.DELAY, _I.CONFIRMED): _S.REACHABLE,
    (_S.DELAY, _I.LEARNED): _S.STALE,
    (_S.PROBE, _I.EXHAUSTED): _S.FAILED,
    (_S.PROBE, _I.CONFIRMED): _S.REACHABLE,
    (_S.PROBE, _I.LEARNED): _S.STALE,
    (_S.FAILED, _I.LOOKUP): _S.INCOMPLETE,
    (_S.FAILED, _I.CONFIRMED): _S.REACHABLE,
    (_S.FAILED, _I.LEARNED): _S.STALE,
}
