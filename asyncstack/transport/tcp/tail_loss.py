"""TLP: a probe asks for an ACK before the retransmission timer has to (RFC 8985 7).

When nothing has come for two round trips (PTO), one segment leaves: new data if there is any, else the last one once
more. Its ACK tells RACK what is missing, and the window is not given up as it is by a timeout. If the probe itself
repaired the only loss, that is found out afterwards and answered as any loss is (7.4).

- PTO = 2 SRTT + 2 ms, and 200 ms more for the delayed ACK where one segment is outstanding; no later than the
  retransmission timer, which starts anew with the probe; all as in Linux
- one probe at a time (`probe_end`), with SACK only
- in fast recovery too, once everything has been sent again: what would end in a timeout there is the loss of the last
  retransmission or of the tail, for which RFC 6675 has its rescue. (Linux waits for the timeout.)

The timer is lazy: it starts with a flight and, when it expires, moves to where it should be by now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp.phase import CWR, LOSS, OPEN, RECOVERY
from asyncstack.transport.tcp.scoreboard import SACKED, Transmission
from asyncstack.transport.tcp.timers import NEVER, PROBE, REORDER, RETRANSMIT

if TYPE_CHECKING:
    from asyncstack.transport.tcp.sender import Sender

MIN_TIMEOUT: Final = 0.002  # seconds; Linux: TCP_TIMEOUT_MIN


def timeout(snd: Sender) -> float:
    """PTO, seconds from the last transmission or ACK on (RFC 8985 7.2)."""
    srtt = snd.rtt.srtt
    if not srtt:
        return snd.config.initial_rto
    records = snd.board.records
    if len(records) == 1 and records[0].end - records[0].start <= records[0].unit:
        return 2.0 * srtt + snd.config.min_rto
    return 2.0 * srtt + MIN_TIMEOUT


def allowed(snd: Sender) -> bool:
    """Whether a probe may be sent at all by now (7.2)."""
    if not snd.probes_tails or snd.probe_end >= 0 or snd.una == snd.nxt:
        return False
    if snd.phase is RECOVERY:
        return not snd.board.lost and snd.timers[REORDER] == NEVER
    return (snd.phase is OPEN or snd.phase is CWR) and not snd.board.sacked


def timer_expired(snd: Sender, now: float) -> None:
    """PROBE is due, or was when nothing had happened since."""
    if snd.una == snd.nxt or snd.probe_end >= 0 or not snd.probes_tails or snd.phase is LOSS:
        return
    if not allowed(snd):
        snd.timers[PROBE] = now + timeout(snd)  # something goes on that may yet end without a timeout
        return
    due = min(max(snd.last_sent, snd.progress_at) + timeout(snd), snd.timers[RETRANSMIT])
    if due > now:
        snd.timers[PROBE] = due
    else:
        probe(snd, now)


def probe(snd: Sender, now: float) -> None:
    """One segment leaves, whatever the congestion window (7.3)."""
    fresh = snd.nxt < snd.edge and snd.waiting
    snd.probe_from = snd.nxt
    snd.probe_repeats = not fresh
    snd.probe_end = snd.nxt + (min(snd.mss, max(snd.queue.end - snd.nxt, 1)) if fresh else 0)
    snd.alert = True
    snd.arm_retransmit(now)


def next_transmission(snd: Sender, unit: int, now: float) -> Transmission | None:
    """The last segment once more, if a probe is owed and there is no new data for it."""
    snd.probe_from = -1
    missing = [r for r in snd.board.records[-2:] if r.state != SACKED]
    if not missing:
        return None
    record = missing[-1]
    if record.start == snd.fin_at:
        record = missing[0]  # few peers SACK a FIN, so a bare one would teach nothing
    size = min(record.end, snd.fin_at) - record.start
    if size > unit:
        record = snd.board.cut(record, record.start + (size - 1) // unit * unit)
    snd.send_again(record, record.end - record.start, unit, now)
    return record


def receive_ack(snd: Sender, acked: int, sacked: int, dsack_end: int, duplicate: bool) -> bool:
    """RFC 8985 7.4.2. Returns whether the ACK shows that the probe repaired a loss."""
    end = snd.probe_end
    if snd.una < end:
        return False
    if not snd.probe_repeats or dsack_end == end:
        snd.probe_end = -1  # the original, or both, arrived
    elif snd.una > end:
        snd.probe_end = -1
        return True
    elif duplicate and not acked and not sacked:
        snd.probe_end = -1  # the ACK of the second of two
    return False
