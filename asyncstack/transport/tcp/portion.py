"""How much leaves where not all of what waits may: when the window, or a last segment that is not full, is in the way.

- silly window avoidance (RFC 9293 3.8.6.2.1)
- Nagle (RFC 896) and corking
- a window that has opened only a little waits for more ACKs while enough is in flight
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp.phase import OPEN
from asyncstack.transport.tcp.sequence import NO_FIN
from asyncstack.transport.tcp.timers import NEVER, PERSIST

if TYPE_CHECKING:
    from asyncstack.transport.tcp.sender import Sender

BURST_SECONDS: Final = 0.001
CORK_SECONDS: Final = 0.2  # Linux: a corked segment waits so long, or the RTO if that is longer

NODELAY, NAGLE, CORK = range(3)  # patience with what does not fill a segment


def fitting(snd: Sender, size: int, room: int, pipe: int, unit: int, now: float) -> int:
    """How much of `size` bytes may leave where `room` does not hold all of it."""
    if room >= unit:
        limited_by_window(snd, False, now)
        return 0 if _worth_waiting(snd, size, room, pipe) else room - room % unit
    window = snd.edge - snd.nxt
    limited_by_window(snd, window < unit, now)
    if min(unit, size) > snd.congestion.cwnd - pipe:
        snd.limited_until = snd.nxt
        # whatever a controller says, a segment may leave where no ACK would come otherwise
        return min(unit, size) if not pipe and not snd.board.records and window >= min(unit, size) else 0
    if window >= snd.max_window // 2 > 0 or (snd.overdue and window > 0):
        snd.overdue = False
        return window
    if snd.nxt == snd.una:
        snd.arm_persist(now)
    return 0


def whole_segments(snd: Sender, size: int, unit: int, now: float) -> int:
    """How much of `size` bytes, which end in a part of a segment, leaves at once. Nagle (RFC 896): the part waits
    while anything is outstanding; corked: until it is full, or the time of a window probe has come."""
    if snd.una != snd.held_at:
        snd.hold(False)
    if snd.fin_at != NO_FIN or not snd.patience or (snd.patience == NAGLE and snd.nxt == snd.una):
        return size
    if snd.patience == CORK and snd.overdue:
        snd.overdue = False
        return size
    whole = size - size % unit
    if not whole and snd.nxt == snd.una and snd.timers[PERSIST] == NEVER:
        snd.timers[PERSIST] = now + max(CORK_SECONDS, snd.rtt.rto)
    return whole


def limited_by_window(snd: Sender, limited: bool, now: float) -> None:
    """Whether the peer's window is what keeps us from sending, from now on."""
    if limited:
        if snd.window_limited_since < 0.0:
            snd.window_limited_since = now
    elif snd.window_limited_since >= 0.0:
        snd.window_limited += now - snd.window_limited_since
        snd.window_limited_since = -1.0


def _worth_waiting(snd: Sender, size: int, room: int, pipe: int) -> bool:
    """Whether a larger super-segment is near: the congestion window is the limit and ACKs are on their way.

    Linux's rules for deferring (tcp_tso_should_defer, tcp_tso_autosize): not for more than a third of the
    window, nor for more than leaves in a millisecond at the present rate. A longer wait would leave the path idle.
    """
    cwnd = snd.congestion.cwnd
    if room != cwnd - pipe or 2 * pipe < cwnd or snd.phase is not OPEN:
        return False
    snd.limited_until = snd.nxt
    srtt = snd.rtt.srtt
    burst = cwnd if srtt <= BURST_SECONDS else int(cwnd * BURST_SECONDS / srtt)
    return room < min(snd.limit, cwnd // 3, size, burst)
