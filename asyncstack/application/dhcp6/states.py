"""The states of a DHCPv6 client, and what moves it from one to the next (RFC 8415 18.2)."""

from __future__ import annotations

from enum import Enum
from typing import Final

from asyncstack.wire import dhcp6


class State(Enum):
    """What the client is doing."""

    IDLE = "idle"  # not begun, or ended
    SOLICITING = "soliciting"
    REQUESTING = "requesting"
    BOUND = "bound"  # it has addresses, and nothing to do
    RENEWING = "renewing"
    REBINDING = "rebinding"
    CONFIRMING = "confirming"
    DECLINING = "declining"
    RELEASING = "releasing"
    INFORMING = "informing"  # without addresses: it asks for the rest
    INFORMED = "informed"


class Input(Enum):
    """What happens to it."""

    START = "start"
    INFORM = "inform"
    CHOSEN = "chosen"  # a server among those that offer
    LEASED = "leased"
    REFUSED = "refused"  # what was asked for can not be had: begin anew
    NO_BINDING = "no binding"  # the server has forgotten us
    T1 = "t1"
    T2 = "t2"
    EXPIRED = "expired"  # the last address
    LINK_UP = "link up"
    STILL_GOOD = "still good"
    TAKEN = "taken"  # somebody else has an address that we were given
    RELEASE = "release"
    TOLD = "told"
    REFRESH = "refresh"
    ENDED = "ended"  # of a message that need not be answered


_HOLDING: Final = (State.BOUND, State.RENEWING, State.REBINDING, State.CONFIRMING)
_WITHOUT: Final = (State.SOLICITING, State.REQUESTING, State.DECLINING, State.INFORMING, State.INFORMED)

# what is not here changes nothing; a state that is entered anew begins its exchange again
TRANSITIONS: Final = {
    (State.IDLE, Input.START): State.SOLICITING,
    (State.IDLE, Input.INFORM): State.INFORMING,
    (State.SOLICITING, Input.CHOSEN): State.REQUESTING,
    (State.SOLICITING, Input.LEASED): State.BOUND,
    (State.SOLICITING, Input.LINK_UP): State.SOLICITING,
    (State.REQUESTING, Input.LEASED): State.BOUND,
    (State.REQUESTING, Input.REFUSED): State.SOLICITING,
    (State.REQUESTING, Input.LINK_UP): State.SOLICITING,
    (State.BOUND, Input.T1): State.RENEWING,
    (State.BOUND, Input.T2): State.REBINDING,
    (State.RENEWING, Input.LEASED): State.BOUND,
    (State.RENEWING, Input.NO_BINDING): State.REQUESTING,
    (State.RENEWING, Input.T2): State.REBINDING,
    (State.REBINDING, Input.LEASED): State.BOUND,
    (State.REBINDING, Input.NO_BINDING): State.REQUESTING,
    (State.CONFIRMING, Input.STILL_GOOD): State.BOUND,
    (State.CONFIRMING, Input.REFUSED): State.SOLICITING,
    (State.DECLINING, Input.ENDED): State.SOLICITING,
    (State.DECLINING, Input.STILL_GOOD): State.BOUND,
    (State.RELEASING, Input.ENDED): State.IDLE,
    (State.INFORMING, Input.TOLD): State.INFORMED,
    (State.INFORMING, Input.LINK_UP): State.INFORMING,
    (State.INFORMED, Input.REFRESH): State.INFORMING,
    (State.INFORMED, Input.LINK_UP): State.INFORMING,
    **{(state, Input.LINK_UP): State.CONFIRMING for state in _HOLDING},
    **{(state, Input.TAKEN): State.DECLINING for state in (*_HOLDING, State.DECLINING)},
    **{(state, Input.EXPIRED): State.SOLICITING for state in _HOLDING},
    **{(state, Input.RELEASE): State.RELEASING for state in _HOLDING},
    **{(state, Input.RELEASE): State.IDLE for state in _WITHOUT},
}

# what is sent, again and again, in each state
SAYS: Final = {
    State.SOLICITING: dhcp6.SOLICIT,
    State.REQUESTING: dhcp6.REQUEST,
    State.RENEWING: dhcp6.RENEW,
    State.REBINDING: dhcp6.REBIND,
    State.CONFIRMING: dhcp6.CONFIRM,
    State.DECLINING: dhcp6.DECLINE,
    State.RELEASING: dhcp6.RELEASE,
    State.INFORMING: dhcp6.INFORMATION_REQUEST,
}
