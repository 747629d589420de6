"""The states of a DHCP client, and what moves it from one to the next (RFC 2131 4.4, figure 5)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final


class State(Enum):
    """Where a client is. CHECKING, STOPPED and INFORMING are not in the RFC's figure, but in its text."""

    STOPPED = auto()
    INIT = auto()  # waits before it asks
    SELECTING = auto()  # has asked who offers an address
    REQUESTING = auto()  # has asked for the one offered
    INIT_REBOOT = auto()  # waits before it asks for the address that it knows
    REBOOTING = auto()  # has asked for it
    CHECKING = auto()  # has it, and looks whether somebody uses it
    BOUND = auto()
    RENEWING = auto()  # asks the server that gave it, since T1
    REBINDING = auto()  # asks any server, since T2
    INFORMING = auto()  # has an address from elsewhere, and asks for what belongs to it


class Input(Enum):
    """What can happen to it."""

    START = auto()
    START_KNOWN = auto()  # there is an address to ask for
    INFORM = auto()
    STOP = auto()
    BEGIN = auto()  # the wait is over
    OFFER = auto()
    ACK = auto()
    NAK = auto()
    FREE = auto()  # nobody uses the address
    TAKEN = auto()  # somebody does
    T1 = auto()
    T2 = auto()
    EXPIRED = auto()  # the lease
    GIVE_UP = auto()  # nobody has answered
    LINK_UP = auto()  # perhaps another link


TRANSITIONS: Final[Mapping[tuple[State, Input], State]] = {
    (State.STOPPED, Input.START): State.INIT,
    (State.STOPPED, Input.START_KNOWN): State.INIT_REBOOT,
    (State.STOPPED, Input.INFORM): State.INFORMING,
    (State.INIT, Input.BEGIN): State.SELECTING,
    (State.SELECTING, Input.OFFER): State.REQUESTING,
    (State.REQUESTING, Input.ACK): State.CHECKING,
    (State.REQUESTING, Input.NAK): State.INIT,
    (State.REQUESTING, Input.GIVE_UP): State.INIT,
    (State.REQUESTING, Input.LINK_UP): State.INIT,
    (State.INIT_REBOOT, Input.BEGIN): State.REBOOTING,
    (State.REBOOTING, Input.ACK): State.CHECKING,
    (State.REBOOTING, Input.NAK): State.INIT,
    (State.REBOOTING, Input.GIVE_UP): State.INIT,
    (State.REBOOTING, Input.T2): State.REBINDING,
    (State.CHECKING, Input.FREE): State.BOUND,
    (State.CHECKING, Input.TAKEN): State.INIT,
    (State.CHECKING, Input.LINK_UP): State.INIT_REBOOT,
    (State.BOUND, Input.T1): State.RENEWING,
    (State.BOUND, Input.LINK_UP): State.INIT_REBOOT,
    (State.RENEWING, Input.ACK): State.BOUND,
    (State.RENEWING, Input.NAK): State.INIT,
    (State.RENEWING, Input.T2): State.REBINDING,
    (State.RENEWING, Input.LINK_UP): State.INIT_REBOOT,
    (State.REBINDING, Input.ACK): State.BOUND,
    (State.REBINDING, Input.NAK): State.INIT,
    (State.REBINDING, Input.LINK_UP): State.INIT_REBOOT,
    (State.INFORMING, Input.ACK): State.STOPPED,
    (State.INFORMING, Input.GIVE_UP): State.STOPPED,
    **{
        (state, Input.TAKEN): State.INIT
        for state in (State.BOUND, State.RENEWING, State.REBINDING, State.INIT_REBOOT, State.REBOOTING)
    },
    **{
        (state, Input.EXPIRED): State.INIT
        for state in (State.BOUND, State.RENEWING, State.REBINDING, State.INIT_REBOOT, State.REBOOTING)
    },
    **{(state, Input.STOP): State.STOPPED for state in State},
}
