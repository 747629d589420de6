"""A window that was not used says little about the path (RFC 2861, RFC 7661).

By default as Linux does it (tcp_slow_start_after_idle), which is RFC 2861:

- after a pause longer than the RTO the window is halved for each RTO, down to the initial one
- while the application uses less than the window it comes halfway down to what was used, once per RTO
- either way ssthresh remembers three quarters of it: slow start brings the window back quickly

RFC 7661, which made RFC 2861 historic, lets the window stand for five minutes, as that serves applications that send
in bursts, and takes its price at a loss: the window is then reduced from what was in use. With no pacing the first
burst after a pause is as large as the window was, so this is not the default: `TcpConfig.slow_start_after_idle =
False` chooses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncstack.transport.tcp.congestion.base import LossBased

VARIATION: Final = 0.2  # seconds: the RTO of a steady path is SRTT and this (see `rtt`)
UNVALIDATED: Final = 300.0  # seconds, RFC 7661 4.4.2: the non-validated period


def after_unused(control: LossBased, srtt: float, now: float) -> None:
    """An ACK came while the application sends less than the window allows, and `judge_at` has passed."""
    if control.full_at > control.unused_since or control.unused_since < 0.0:
        control.unused_since = control.full_at if control.full_at > 0.0 else now
    period = srtt + VARIATION if control.slow_start_after_idle else UNVALIDATED
    if now - control.unused_since < period:
        control.judge_at = control.unused_since + period
        return
    used = max(control.most_used, control.initial) if control.slow_start_after_idle else control.initial
    if used < control.cwnd:
        control.shrink(
            (control.cwnd + used) // 2 if control.slow_start_after_idle else max(control.cwnd // 2, used)
        )
    control.unused_since, control.most_used, control.judge_at = now, 0, now + period


def after_idle(control: LossBased, idle: float, rto: float) -> None:
    """Nothing was sent for `idle` seconds, which is longer than `rto`."""
    window, least = control.cwnd, min(control.initial, control.cwnd)
    if control.slow_start_after_idle:
        window >>= int(min(idle / rto, 64.0))
    elif idle >= UNVALIDATED:
        window >>= 1
    if window < control.cwnd:
        control.shrink(max(window, least))


def at_loss(control: LossBased, flight: int) -> int:
    """The window to reduce from: where it was kept unused (RFC 7661 4.4.1), what was in use."""
    if control.slow_start_after_idle or control.full_at > control.unused_since or not control.most_used:
        return control.cwnd
    return min(control.cwnd, max(control.most_used, flight))
