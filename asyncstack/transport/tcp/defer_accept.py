"""TCP_DEFER_ACCEPT: its seconds as time-outs of the SYN-ACK, and back, as Linux counts them.

1, 2, 4 ... seconds are waited after one SYN-ACK and the next; the option stands for as many as reach its time.
"""

from __future__ import annotations

from asyncstack.config import TcpConfig

MOST = 255


def timeouts(config: TcpConfig) -> int:
    """How many time-outs a connection without data is not accepted for."""
    return _reach(config)[0]


def seconds(config: TcpConfig) -> int:
    """How long that is, what `getsockopt` tells."""
    return int(_reach(config)[1])


def _reach(config: TcpConfig) -> tuple[int, float]:
    if config.defer_accept <= 0:
        return 0, 0.0
    times, period, reached = 1, config.initial_rto, config.initial_rto
    while reached < config.defer_accept and times < MOST:
        times += 1
        period = min(2 * period, config.max_rto)
        reached += period
    return times, reached
