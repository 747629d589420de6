"""TCP_INFO as scripts know it: `tcpi_...` in Linux's units, and the constants that stand beside them."""

from __future__ import annotations

from typing import Any, Final

from asyncstack.transport.tcp.info import TcpInfo
from asyncstack.transport.tcp.linux_info import CA_STATES, OPTIONS, STATES
from asyncstack.transport.tcp.state import State

# our names of states that are not Linux's
_OTHER_NAMES: Final = {
    "SYN_RECEIVED": "SYN_RECV",
    "FIN_WAIT_1": "FIN_WAIT1",
    "FIN_WAIT_2": "FIN_WAIT2",
    "CLOSED": "CLOSE",
}

CONSTANTS: Final[dict[str, int]] = {
    **{f"TCPI_OPT_{name.upper()}": bit for name, bit in OPTIONS.items()},
    **{f"TCP_CA_{name.upper() if name == 'cwr' else name.title()}": at for at, name in enumerate(CA_STATES)},
    **{f"TCP_{_OTHER_NAMES.get(state.name, state.name)}": at + 1 for at, state in enumerate(STATES)},
}

_SECONDS: Final = {"rto": "rto", "rtt": "rtt", "rttvar": "rttvar", "min_rtt": "min_rtt", "ato": "ato"}
_MILLISECONDS: Final = ("last_data_sent", "last_ack_recv", "last_data_recv", "last_ack_sent")
_NO_LIMIT: Final = (1 << 64) - 1
_RATES: Final = ("delivery_rate", "pacing_rate", "max_pacing_rate")


def tcpi(info: TcpInfo) -> dict[str, Any]:
    """The variables of a script's code for one look at a connection. Times are microseconds, or milliseconds where
    Linux has those."""
    found: dict[str, Any] = {}
    for name in TcpInfo.__dataclass_fields__:
        value = getattr(info, name)
        if isinstance(value, bool | int):
            found[name] = int(value)
        elif name in _SECONDS:
            found[name] = round(value * 1e6)
        elif name in _MILLISECONDS:
            found[name] = round(value * 1e3)
        elif name in _RATES:
            found[name] = round(min(value, _NO_LIMIT))
        elif isinstance(value, float):
            found[name] = round(value * 1e6)
    opened = info.state not in (State.CLOSED, State.LISTEN, State.SYN_SENT, State.SYN_RECEIVED)
    # ours are bytes; Linux counts the SYN
    found["delivered"] = opened + -(-info.delivered // max(info.snd_mss, 1))
    found["state"] = STATES.index(info.state) + 1
    found["ca_state"] = CA_STATES.index(info.ca_state)
    found["options"] = sum(OPTIONS.get(name, 0) for name in info.options)
    return {f"tcpi_{name}": value for name, value in found.items()}
