"""Loss: fast retransmit, fast recovery and the retransmission timeout (RFC 5681, 6582, 6675, 6298).

With SACK the scoreboard finds what is lost (RFC 6675); without it three duplicate ACKs mean that the oldest segment
is, and in recovery each partial ACK means the next one (RFC 6582). Both then send by one rule: while pipe < cwnd, what
is LOST first, then new data, then what may be lost. Duplicate ACKs without SACK take a segment each out of the pipe,
which is RFC 6582's inflation of the window, and before recovery RFC 3042's limited transmit.

    OPEN --loss found--> RECOVERY --everything sent before it acknowledged--> OPEN
    OPEN, RECOVERY --timer--> LOSS --the same--> OPEN

- one reaction per window: `recover` is what had been sent when loss was found; none again until it is acknowledged
- the first retransmission leaves whatever the pipe (RFC 6675 5 step 4.3), the others as the pipe drains
- a retransmission that is lost itself is found by what was SACKed after it (see `scoreboard`)
- where nothing else may be sent, the last segment is sent once more (rescue, RFC 6675 NextSeg rule 4)
- a timeout takes everything unSACKed for lost (RFC 5681 3.1); what is SACKed is not sent again
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp.scoreboard import DUP_THRESH, FLYING, SACKED, Transmission

if TYPE_CHECKING:
    from asyncstack.transport.tcp.sender import Sender


class Phase(Enum):
    """What the sender does about loss."""

    OPEN = "open"
    CWR = "cwr"  # the window goes down because of ECN
    RECOVERY = "recovery"  # fast recovery
    LOSS = "loss"  # after a timeout


OPEN: Final = Phase.OPEN
CWR: Final = Phase.CWR
RECOVERY: Final = Phase.RECOVERY
LOSS: Final = Phase.LOSS


def receive_ack(
    snd: Sender, acked: int, blocks: list[tuple[int, int]], duplicate: bool, ts_rtt: float, now: float
) -> None:
    """An ACK while something is missing, or that may say so.

    `acked`: bytes that SND.UNA moves by; `blocks`: SACKed positions; `duplicate`: by RFC 5681 2; `ts_rtt`: see
    `Sender.advance`.
    """
    board = snd.board
    delivered, lost, limited = board.delivered + snd.presumed, board.given_up, snd.una < snd.limited_until
    if acked:
        snd.advance(acked, ts_rtt, now)
        snd.dup_acks = 0
        if snd.presumed:
            _forget_presumed(snd, acked - snd.mss if snd.phase is RECOVERY else snd.presumed)
    sacked = board.receive_sack(blocks, snd.una) if blocks and snd.sack_ok else 0
    if not acked and (sacked or (duplicate and not snd.sack_ok)):
        _count_duplicate(snd)
    if snd.phase is not OPEN and snd.una >= snd.recover:
        _leave(snd, now)
    if snd.phase is OPEN or snd.phase is CWR:
        if _loss_found(snd):
            _enter(snd, now)
    elif snd.sack_ok:
        board.detect_losses(snd.mss)
    elif acked and snd.phase is RECOVERY and _mark_head_lost(snd):
        snd.must_resend = True  # RFC 6582 3.2 step 3: a partial ACK sends the next hole, whatever the pipe
    if snd.presumed:
        # what is lost has not left the network by arriving, however many duplicates come
        _forget_presumed(snd, snd.presumed + board.lost - (snd.nxt - snd.una))
    if snd.accecn is not None:
        snd.accecn.count(snd, board.delivered + snd.presumed - delivered)
    _tell(snd, acked, board.delivered + snd.presumed - delivered, board.given_up - lost, limited, now)


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
    growth = delivered if acked and not sample.recovering else 0
    snd.tell(growth, delivered, limited or phase is LOSS, now)
    sample.recovering = False
    sample.lost = sample.ce = 0


def enter_cwr(snd: Sender, now: float) -> None:
    """The path asks for less (RFC 3168 6.1.2: an ECN echo): one reduction per window, none while one goes on."""
    if snd.phase is OPEN:
        snd.phase = CWR
        snd.recover = snd.nxt
        snd.congestion.on_congestion_event(snd.nxt - snd.una, now)


def _count_duplicate(snd: Sender) -> None:
    snd.dup_acks += 1
    if not snd.sack_ok and snd.phase is not LOSS:
        left = min(snd.mss, snd.pipe)
        snd.presumed += left
        snd.board.absent += left


def _forget_presumed(snd: Sender, size: int) -> None:
    """What duplicate ACKs stood for has been acknowledged."""
    size = min(max(size, 0), snd.presumed)
    snd.presumed -= size
    snd.board.absent -= size


def _loss_found(snd: Sender) -> bool:
    board = snd.board
    if snd.sack_ok:
        if board.detect_losses(snd.mss) or board.lost:
            return True
        return snd.dup_acks >= DUP_THRESH and _mark_head_lost(snd)
    # RFC 6582 3.2 step 2: duplicates of what recovery itself sent twice are no new loss
    return snd.dup_acks >= DUP_THRESH and snd.una > snd.recover and _mark_head_lost(snd)


def _mark_head_lost(snd: Sender) -> bool:
    """Give up the first segment outstanding. Returns whether it was flying."""
    records = snd.board.records
    if not records or records[0].state != FLYING:
        return False
    head = records[0]
    if head.end - head.start > head.unit:
        records.insert(1, head.split(head.start + head.unit))
    snd.board.mark_lost(head)
    return True


def _enter(snd: Sender, now: float) -> None:
    reduced = snd.phase is CWR
    snd.phase = RECOVERY
    snd.recover = snd.nxt
    snd.must_resend = True
    snd.rescued = False
    if not reduced:
        snd.congestion.on_congestion_event(snd.nxt - snd.una, now)


def _leave(snd: Sender, now: float) -> None:
    if snd.phase is not LOSS:
        snd.congestion.on_recovery_exit(snd.nxt - snd.una, now)
    snd.phase = OPEN
    snd.dup_acks = 0
    snd.must_resend = False
    _forget_presumed(snd, snd.presumed)


def receive_timeout(snd: Sender, now: float) -> None:
    """The retransmission timer expired (RFC 6298 5.4 to 5.6, RFC 5681 3.1)."""
    reduce = snd.phase is OPEN or snd.phase is CWR or (snd.phase is LOSS and not snd.timeouts)
    snd.timeouts += 1
    snd.congestion.on_timeout(snd.nxt - snd.una, reduce, now)
    path_changed(snd)
    snd.rtt.back_off()
    snd.arm_retransmit(now)


def path_changed(snd: Sender) -> None:
    """What is outstanding will not arrive: send it again, as the window allows."""
    snd.phase = LOSS
    snd.recover = snd.nxt
    snd.dup_acks = snd.presumed = 0
    snd.must_resend = False
    snd.board.mark_all_lost()


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
    _send_again(snd, record, size, unit, now)
    return record


def next_resort(snd: Sender, unit: int, now: float) -> Transmission | None:
    """In recovery, when nothing is LOST and no new data may leave: what may be lost, then the last segment once
    (RFC 6675 NextSeg rules 3 and 4)."""
    board = snd.board
    if not snd.sack_ok or not board.sacked or snd.congestion.cwnd - snd.pipe < unit:
        return None
    record = board.next_doubtful(board.highest_sacked)
    if record is not None:
        _send_again(snd, record, min(record.end - record.start, unit), unit, now)
        return record
    record = board.records[-1]
    if snd.rescued or record.state == SACKED:
        return None
    snd.rescued = True
    if record.end - record.start > unit:
        record = record.split(record.end - unit)
        board.records.append(record)
    _send_again(snd, record, record.end - record.start, unit, now)
    return record


def _send_again(snd: Sender, record: Transmission, size: int, unit: int, now: float) -> None:
    snd.board.sent_again(record, size, unit, now, snd.una, snd.nxt)
    snd.bytes_sent_again += size
    snd.segments_sent_again += -(-size // unit)
    snd.last_sent = now
    if record.start == snd.una:
        snd.arm_retransmit(now)
