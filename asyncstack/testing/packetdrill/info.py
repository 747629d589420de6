"""TCP_INFO as scripts know it: `tcpi_...` in Linux's units, and the constants that stand beside them."""

from __future__ import annotations

from typing import Any, Final

from asyncstack.transport.tcp.info import TcpInfo

_OPTIONS: Final = {"timestamps": 1, "sack": 2, "wscale": 4, "ecn": 8, "ecn_seen": 16, "syn_data": 32}
_CA_STATES: Final = ("open", "disorder", "cwr", "recovery", "loss")
# in the order of Linux's numbers, from 1
_STATES: Final = (
    "ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN CLOSING"
)
# our names of states that are not Linux's
_OTHER_NAMES: Final = {
    "SYN_RECEIVED": "SYN_RECV",
    "FIN_WAIT_1": "FIN_WAIT1",
    "FIN_WAIT_2": "FIN_WAIT2",
    "CLOSED": "CLOSE",
}

CONSTANTS: Final[dict[str, int]] = {
    **{f"TCPI_OPT_{name.upper()}": bit for name, bit in _OPTIONS.items()},
    **{f"TCP_CA_{name.upper() if name == 'cwr' else name.title()}": at for at, name in enumerate(_CA_STATES)},
    **{f"TCP_{name}": at + 1 for at, name in enumerate(_STATES.split())},
}

_SECONDS: Final = {"rto": "rto", "rtt": "rtt", "rttvar": "rttvar", "min_rtt": "min_rtt", "ato": "ato"}
_MILLISECONDS: Final = ("last_data_sent", "last_ack_recv", "last_data_recv", "last_ack_sent")
# where the numbers of one name have other units: ours are bytes
_IN_SEGMENTS: Final = frozenset({"delivered", "delivered_ce"})
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
            found[name] = round(value)
        elif isinstance(value, float):
            found[name] = round(value * 1e6)
    for name in _IN_SEGMENTS & found.keys():
        found[name] = -(-found[name] // max(info.snd_mss, 1))
    state = info.state.name
    found["state"] = _STATES.split().index(_OTHER_NAMES.get(state, state)) + 1
    found["ca_state"] = _CA_STATES.index(info.ca_state.lower())
    found["options"] = sum(_OPTIONS.get(name, 0) for name in info.options)
    return {f"tcpi_{name}": value for name, value in found.items()}
