"""What a sender does about loss; Linux's `tcp_ca_state`, where Disorder is an OPEN in which something is SACKED."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Phase(Enum):
    """See `recovery` for how one leads to the other."""

    OPEN = "open"
    CWR = "cwr"  # the window goes down because of ECN
    RECOVERY = "recovery"  # fast recovery
    LOSS = "loss"  # after a timeout


OPEN: Final = Phase.OPEN
CWR: Final = Phase.CWR
RECOVERY: Final = Phase.RECOVERY
LOSS: Final = Phase.LOSS
