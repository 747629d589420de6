"""Loss: fast retransmit, fast recovery and the retransmission timeout (RFC 5681, 6582, 6675, 8985, 6298).

With SACK `rack` finds what is lost, by time; without it three duplicate ACKs mean that the oldest segment is, and in
recovery each partial ACK means the next one (RFC 6582). Both then send by one rule: while pipe < cwnd, what is LOST
first, then new data. Duplicate ACKs without SACK take a segment each out of the pipe, which is RFC 6582's inflation of
the window; with or without, what arrives out of order lets new data out before recovery begins (RFC 3042).

    OPEN --loss found--> RECOVERY --everything sent before it acknowledged--> OPEN
    OPEN, RECOVERY, CWR --timer--> LOSS --the same--> OPEN
    OPEN --ECN echo--> CWR --the same--> OPEN, or --loss found--> RECOVERY
    RECOVERY, LOSS --it was a mistake (see `spurious`)--> OPEN

- one reaction per window: `recover` is what had been sent when loss was found; none again until it is acknowledged
- the first retransmission leaves whatever the pipe (RFC 6675 5 step 4.3), the others as the controller's window allows
- RFC 6675's NextSeg rules 3 and 4 (send what may be lost, rescue the last segment) are left to RACK's timer and to TLP
- a timeout takes everything unSACKed for lost (RFC 5681 3.1), but not what left within the last round trip, as in
  Linux; what is SACKed is not sent again
- `Sender.alert` is False while none of this matters: then an ACK does not come here
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from asyncstack.transport.tcp import spurious, tail_loss
from asyncstack.transport.tcp.phase import CWR, LOSS, OPEN, RECOVERY
from asyncstack.transport.tcp.scoreboard import FLYING, SACKED, Transmission
from asyncstack.transport.tcp.timers import NEVER, REORDER, RETRANSMIT

if TYPE_CHECKING:
    from asyncstack.transport.tcp.sender import Sender


def receive_ack(
    snd: Sender, acked: int, blocks: list[tuple[int, int]], duplicate: bool, ticks: int, now: float
) -> None:
    """An ACK while something is missing, or that may say so.

    `acked`: bytes that SND.UNA moves by; `blocks`: SACKed positions; `duplicate`: nothing else in the segment is new;
    `ticks`: milliseconds since what its timestamp echoes left, below 0 if unknown.
    """
    board, rack = snd.board, snd.rack
    delivered, lost = board.delivered + snd.presumed, board.given_up
    limited = snd.una < snd.limited_until or snd.using_half
    limited = limited or snd.phase is LOSS  # slow start after a timeout, with its last ACK too
    reach = board.highest_sacked
    rack.begin(snd.rtt.min_rtt, int(now * 1000.0) - ticks if ticks >= 0 else -1, snd.recover)
    sack_blocks = blocks if snd.sack_ok else []
    dsack_end = _receive_dsack(snd, sack_blocks, snd.una + acked)
    if acked:
        _advance(snd, acked, sack_blocks[0][0] if dsack_end >= 0 else -1, ticks, now)
    elif duplicate and not snd.sack_ok and board.records:
        _count_duplicate(snd)
    sacked = board.receive_sack(sack_blocks, snd.una, snd.fin_at, rack, now) if sack_blocks else 0
    if sacked and not acked and not rack.repeated:
        snd.rtt.update(rack.rtt)
    if snd.sack_ok and (snd.phase is not LOSS or snd.spurious.marker >= 0):
        rack.look_for_reordering(reach, board.highest_sacked, snd.mss)
    if snd.probe_end >= 0:
        if tail_loss.receive_ack(snd, acked, sacked, dsack_end, duplicate):
            _answer_repaired_loss(snd, now)
        if snd.probe_end < 0 and snd.una != snd.nxt:
            snd.arm_probe(now)
    _react(snd, acked, sacked, duplicate, now)
    if snd.accecn is not None:
        snd.accecn.count(snd, board.delivered + snd.presumed - delivered)
    _tell(snd, acked, board.delivered + snd.presumed - delivered, board.given_up - lost, limited, now)
    if board.records and board.records[0].state == SACKED:
        # the peer reneged (RFC 2018 8): as in Linux the timer asks soon, unless it was a mistake
        snd.timers[RETRANSMIT] = min(snd.timers[RETRANSMIT], now + max(snd.rtt.srtt / 2, 0.01))
    snd.alert = snd.phase is not OPEN or board.absent > 0 or board.resent_bytes > 0 or snd.probe_end >= 0


def _receive_dsack(snd: Sender, blocks: list[tuple[int, int]], una: int) -> int:
    """RFC 2883 4: the first block may tell of what came twice. Returns where that ends, below 0: it does not."""
    if not blocks:
        return -1
    left, right = blocks[0]
    inner = len(blocks) > 1 and blocks[1][0] <= left and right <= blocks[1][1]
    if not left < right or not (right <= una or inner) or not snd.bytes_sent_again:
        return -1
    snd.history.dsack_dups += 1
    snd.spurious.receive_dsack(left, right)
    if right != snd.probe_end:
        snd.rack.needless(una, snd.nxt)
    return right


def _advance(snd: Sender, acked: int, dsack_start: int, ticks: int, now: float) -> None:
    board = snd.board
    board.survey(snd.una + acked, snd.rack, now)
    ts_rtt = max(ticks, 1) / 1000.0 if ticks >= 0 else -1.0
    head = board.records[0]
    if head.start <= dsack_start < head.end:
        # the ACK answers a repetition, but echoes the timestamp of the first arrival (RFC 7323 4.3), whose ACK was
        # lost: as a round trip that would count the whole wait for the timer
        ts_rtt = now - head.sent_at
    snd.advance(acked, ts_rtt, now)
    snd.dup_acks = 0
    if snd.presumed:
        _forget_presumed(snd, snd.presumed if snd.phase is OPEN else acked - snd.mss)


def _count_duplicate(snd: Sender) -> None:
    snd.dup_acks += 1
    if snd.phase is not LOSS or snd.nxt > snd.recover:
        left = min(snd.mss, snd.pipe)
        snd.presumed += left
        snd.board.absent += left


def _forget_presumed(snd: Sender, size: int) -> None:
    """What duplicate ACKs stood for has been acknowledged."""
    size = min(max(size, 0), snd.presumed)
    snd.presumed -= size
    snd.board.absent -= size


def _tell(snd: Sender, acked: int, delivered: int, lost: int, limited: bool, now: float) -> None:
    """The controller hears what an ACK brought."""
    if delivered <= 0 and not lost:
        return
    sample, phase = snd.sample, snd.phase
    sample.recovering = phase is RECOVERY or phase is CWR
    sample.advanced = acked > 0
    sample.lost = lost
    sample.sent = snd.nxt - snd.queue_start + snd.bytes_sent_again
    delivered = max(delivered, 0)
    # where reordering is usual SACKed data counts at once (Linux: tcp_may_raise_cwnd)
    rack = snd.rack
    grows = acked or rack.reordering > rack.dup_thresh
    snd.tell(delivered if grows and not sample.recovering else 0, delivered, limited, now)
    sample.recovering = False
    sample.lost = sample.ce = 0


# from phase to phase


def enter_cwr(snd: Sender, now: float) -> None:
    """The path asks for less (RFC 3168 6.1.2: an ECN echo): one reduction per window, none while one goes on."""
    if snd.phase is OPEN:
        snd.phase = CWR
        snd.recover = snd.nxt
        snd.alert = True
        snd.spurious.forget()
        snd.congestion.on_congestion_event(snd.nxt - snd.una, now)


def _react(snd: Sender, acked: int, sacked: int, duplicate: bool, now: float) -> None:
    board, phase = snd.board, snd.phase
    if phase is LOSS:
        _after_timeout(snd, acked, sacked, duplicate, now)
    elif phase is RECOVERY:
        _in_recovery(snd, acked, now)
    elif phase is CWR:
        if snd.una > snd.recover:  # Linux: held until the peer has had something with CWR
            _leave(snd, now)
    elif snd.spurious.marker >= 0 and not snd.spurious.unconfirmed:
        spurious.undo(snd, False, now)
    if snd.sack_ok:
        detect_losses(snd, now)
        if board.lost and (snd.phase is OPEN or snd.phase is CWR):
            _enter(snd, now)
    elif snd.phase is RECOVERY:
        if acked and _mark_head_lost(snd):
            snd.must_resend = True  # RFC 6582 3.2 step 3: a partial ACK sends the next hole whatever the pipe
    elif _duplicates_show_loss(snd) and _mark_head_lost(snd):
        _enter(snd, now)
    if snd.presumed:
        # what is lost has not left the network by arriving, however many duplicates come
        _forget_presumed(snd, snd.presumed + board.lost - (snd.nxt - snd.una))


def _duplicates_show_loss(snd: Sender) -> bool:
    """RFC 6582 3.2 steps 1, 2: duplicates of what recovery itself sent twice are no new loss."""
    return snd.phase is not LOSS and snd.dup_acks >= snd.rack.dup_thresh and snd.una > snd.recover


def _in_recovery(snd: Sender, acked: int, now: float) -> None:
    state, board = snd.spurious, snd.board
    over = snd.una >= snd.recover
    if over:
        needless = bool(acked) and state.proved(snd.rack.echo)
        if not needless:
            snd.rack.recovered()
    else:
        # repetitions still on their way will be reported: until then they keep their recovery
        needless = bool(acked) and state.delayed(snd.rack.echo) and not board.resent_bytes
        needless = needless or (state.marker >= 0 and not state.unconfirmed)
    if over or needless:
        _leave(snd, now)
    if needless:
        spurious.undo(snd, not over, now)


def _after_timeout(snd: Sender, acked: int, sacked: int, duplicate: bool, now: float) -> None:
    if spurious.judge_timeout(snd, acked, sacked, duplicate, now):
        _leave(snd, now)
        snd.timeouts = 0
        snd.rtt.surprised()
        spurious.undo(snd, True, now)
        if snd.una != snd.nxt:
            snd.arm_retransmit(now)
    elif snd.una >= snd.recover:
        _leave(snd, now)


def detect_losses(snd: Sender, now: float) -> None:
    """RACK_detect_loss and its timer (RFC 8985 6.2 step 5, 6.3)."""
    recovering = snd.phase is RECOVERY or snd.phase is LOSS
    rack, board = snd.rack, snd.board
    wait = rack.find_lost(board, rack.window(snd.rtt, board.sacked_segments, recovering), now)
    snd.timers[REORDER] = now + wait + tail_loss.MIN_TIMEOUT if wait else NEVER


def reordering_expired(snd: Sender, now: float) -> None:
    """REORDER is due: what has not come by now is lost (RFC 8985 6.3)."""
    lost = snd.board.given_up
    detect_losses(snd, now)
    if snd.board.given_up > lost:
        if snd.phase is OPEN or snd.phase is CWR:
            _enter(snd, now)
        _tell(snd, 0, 0, snd.board.given_up - lost, False, now)


def _mark_head_lost(snd: Sender) -> bool:
    """Give up the first segment outstanding. Returns whether it was flying."""
    records = snd.board.records
    if not records or records[0].state != FLYING:
        return False
    head = records[0]
    if head.end - head.start > head.unit:
        snd.board.cut(head, head.start + head.unit)
    snd.board.mark_lost(head)
    return True


def _answer_repaired_loss(snd: Sender, now: float) -> None:
    """A probe replaced the only segment that was lost: that is congestion all the same (RFC 8985 7.4.2)."""
    if snd.phase is OPEN:
        snd.spurious.forget()
        snd.congestion.on_congestion_event(snd.nxt - snd.una, now)
        snd.congestion.on_recovery_exit(snd.nxt - snd.una, now)


def _enter(snd: Sender, now: float) -> None:
    if snd.search is not None and snd.phase is OPEN and snd.search.explains(snd.board):
        snd.must_resend = True
        return
    reduce = snd.phase is not CWR
    snd.phase = RECOVERY
    snd.recover = snd.nxt
    snd.alert = snd.must_resend = True
    snd.probe_end = snd.probe_from = -1
    snd.spurious.begin(snd.una, snd.board.resent_bytes, reduce)
    if snd.trace is not None:
        snd.trace.append(("recovery", now, snd.una, snd.nxt - snd.una))
    if reduce:
        snd.congestion.on_congestion_event(snd.nxt - snd.una, now)


def _leave(snd: Sender, now: float) -> None:
    if snd.phase is not LOSS:
        snd.congestion.on_recovery_exit(snd.nxt - snd.una, now)
    else:
        snd.history.recovered(now)
    snd.phase = OPEN
    snd.dup_acks = 0
    snd.must_resend = False
    snd.spurious.frto = snd.spurious.testing = False
    snd.spurious.first_at = -1
    _forget_presumed(snd, snd.presumed)
    if snd.una != snd.nxt:
        snd.arm_probe(now)


def receive_timeout(snd: Sender, now: float) -> None:
    """The retransmission timer expired (RFC 6298 5.4 to 5.6, RFC 5681 3.1)."""
    fresh = snd.phase is OPEN or snd.phase is CWR
    reduce = snd.phase is OPEN or snd.una >= snd.recover or (snd.phase is LOSS and not snd.timeouts)
    if reduce:
        snd.spurious.begin(snd.una, snd.board.resent_bytes, True)
    snd.spurious.frto = snd.config.frto and (fresh or snd.timeouts > 0)
    snd.spurious.testing = False
    snd.timeouts += 1
    snd.history.timed_out(now)
    if snd.trace is not None:
        snd.trace.append(("rto", now, snd.una, snd.nxt - snd.una))
    snd.congestion.on_timeout(snd.nxt - snd.una, reduce, now)
    _give_up(snd, now - snd.rack.rtt)
    snd.must_resend = True
    snd.rtt.back_off()
    snd.arm_retransmit(now)


def path_changed(snd: Sender) -> None:
    """What is outstanding will not arrive: send it again, as the window allows."""
    snd.spurious.forget()
    _give_up(snd, math.inf)


def window_regained(snd: Sender) -> None:
    """The peer had closed its window though data was on its way into it, and opens it again without having taken any:
    it is sent again at once (RFC 9293 3.8.6). Neither congestion nor the timer's back-off mean anything."""
    path_changed(snd)
    if snd.rtt.backoff and snd.rtt.srtt:
        snd.rtt.confirmed()


def _give_up(snd: Sender, latest: float) -> None:
    """Everything that left at `latest` or before is lost."""
    snd.phase = LOSS
    snd.recover = snd.nxt
    snd.dup_acks = 0
    _forget_presumed(snd, snd.presumed)
    snd.must_resend = False
    snd.probe_end = snd.probe_from = -1
    snd.alert = True
    snd.timers[REORDER] = NEVER
    snd.board.mark_all_lost(latest)


# what leaves


def next_retransmission(snd: Sender, unit: int, now: float) -> Transmission | None:
    """The first LOST bytes, as far as the window allows (RFC 6675 NextSeg rule 1). None: not now."""
    record = snd.board.next_lost()
    if record is None:
        return None
    size = record.end - record.start
    if size < unit:
        size = snd.board.gather(record, unit)
    room = snd.congestion.cwnd - snd.pipe
    if record.start != snd.una:  # the head may always go: where the peer has shrunk its window it is a probe
        room = min(room, snd.edge - record.start)
    if room < min(unit, size):
        if not snd.must_resend:
            return None
        room = unit
    snd.must_resend = False
    size = min(size, max(snd.limit // unit, 1) * unit)
    if size > room:
        size = max(room - room % unit, min(size, unit))
    snd.send_again(record, size, unit, now)
    return record
