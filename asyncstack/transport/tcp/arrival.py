"""SEGMENT ARRIVES (RFC 9293 3.10.7.4): the checks in their order, and what each segment then does.

1. timestamp (RFC 7323 5.3, PAWS) and sequence number: outside the window is answered by an ACK and dropped
2. RST: resets if it stands exactly at RCV.NXT, else it is challenged (RFC 5961 3)
3. SYN: challenged (RFC 5961 4)
4. ACK: in SYN-RECEIVED it completes the handshake; else it has to lie between SND.UNA - MAX.SND.WND and SND.NXT,
   or it is challenged (RFC 5961 5)
5. URG: urgent data is read in line (RFC 6093), so there is nothing to do (see `urgent`)
6. payload, 7. FIN

An answer to a segment that was not acceptable is limited to one per `CHALLENGE_INTERVAL` unless the segment occupied
sequence space: two peers that disagree must not fight with ACKs (RFC 5961 7). The stack's limit on all its challenges
is random in detail: their number tells nobody that some connection exists (CVE-2016-5696).

`Connection.receive_segment` handles what is usual in ESTABLISHED by itself; everything else comes here.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp import echo, ecn_setup, handshake, recovery
from asyncstack.transport.tcp.receiver import OLD_TIMESTAMP
from asyncstack.transport.tcp.reset import reset_for
from asyncstack.transport.tcp.sequence import HALF, MASK, unwrap
from asyncstack.transport.tcp.state import (
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    EOF_BIT,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    READABLE_BIT,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
    WRITABLE_BIT,
    Trigger,
)
from asyncstack.transport.tcp.timers import NEVER, PERSIST
from asyncstack.wire.tcp import ACK, FIN, RST, SYN, Segment

if TYPE_CHECKING:
    from asyncstack.transport.tcp.connection import Connection

CHALLENGE_INTERVAL: Final = 0.5  # seconds; Linux: tcp_invalid_ratelimit
RECEIVING: Final = (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2)  # the peer may still send data


def segment_arrives(conn: Connection, segment: Segment, now: float) -> None:
    """Any segment in any state."""
    state = conn.state
    if state is SYN_SENT:
        handshake.receive_in_syn_sent(conn, segment, now)
        if conn.state is ESTABLISHED:
            _receive_text(conn, segment, now)
        return
    if state is CLOSED:
        return
    if state is SYN_RECEIVED and handshake.repeats_syn(conn, segment):
        return
    rcv = conn.receiver
    flags, payload = segment.flags, segment.payload
    seq = unwrap(segment.seq, rcv.nxt)
    if state is SYN_RECEIVED and handshake.crosses(conn, segment):
        seq += 1
        flags &= ~SYN
        segment.window >>= conn.sender.scale  # that of a SYN is not scaled (RFC 7323 2.2)
        if conn.ecn is None:  # the peer's SYN did not ask, but ours did
            ecn_setup.receive_syn_ack(conn, segment)
    fin = 1 if flags & FIN else 0
    if not _acceptable(conn, segment, seq, seq + len(payload) + fin, now):
        if flags & SYN and conn.ecn is not None:
            conn.ecn.syn_again(conn, segment)
        return
    if flags & RST:
        _receive_reset(conn, seq, now)
    elif flags & SYN:
        challenge(conn, now)
    elif flags & ACK and _check_ack(conn, segment, seq, now):
        if rcv.timestamps and seq <= rcv.acked:
            rcv.ts_recent, rcv.ts_recent_at = segment.ts_val, now
        conn.heard_at = now
        if conn.ecn is not None:
            conn.ecn.receive(conn, segment)
        if payload:
            _receive_payload(conn, seq, payload, segment.gso_size or len(payload), now)
        if fin and conn.state is not CLOSED:
            _receive_fin(conn, seq + len(payload), now)
        elif rcv.fin_at == rcv.nxt:
            _receive_fin(conn, rcv.fin_at, now)


def _receive_text(conn: Connection, syn_ack: Segment, now: float) -> None:
    """Data and FIN on a SYN-ACK (RFC 9293 3.10.7.3)."""
    rcv, payload = conn.receiver, syn_ack.payload
    if payload:
        _receive_payload(conn, rcv.nxt, payload, len(payload), now)
    if syn_ack.flags & FIN and conn.state is ESTABLISHED:
        _receive_fin(conn, rcv.start + len(payload), now)


def challenge(conn: Connection, now: float) -> None:
    """Answer something doubtful with an ACK: a peer that meant it will say so exactly (RFC 5961)."""
    if now >= conn.challenge_at and (conn.challenges is None or conn.challenges.take(now)):
        conn.challenge_at = now + CHALLENGE_INTERVAL
        conn.receiver.ack_now = True


def _acceptable(conn: Connection, segment: Segment, seq: int, end: int, now: float) -> bool:
    """First check: timestamps and sequence number; `end` counts payload and FIN."""
    rcv, flags = conn.receiver, segment.flags
    if rcv.timestamps and not flags & RST:
        if segment.ts_val < 0:
            return False  # RFC 7323 3.2: without the option once agreed is dropped
        if (segment.ts_val - rcv.ts_recent) & MASK >= HALF and now - rcv.ts_recent_at < OLD_TIMESTAMP:
            _refuse(conn, end > seq, now)
            return False
    if end == seq:
        inside = rcv.nxt <= seq <= rcv.edge
    else:
        # with the window closed the next byte is still looked at, for its ACK and FIN (3.10.7.4: "special allowance")
        inside = end > rcv.nxt and (seq < rcv.edge or seq == rcv.nxt)
    if not inside and not flags & RST:
        if segment.payload and end <= rcv.nxt:
            if rcv.sack_ok:
                rcv.dsack = (seq, seq + len(segment.payload))
            if conn.ecn is not None:
                conn.ecn.receive_duplicate(conn, segment, seq)
        _refuse(conn, end > seq, now)
    return inside


def _refuse(conn: Connection, occupies: bool, now: float) -> None:
    if occupies:
        conn.receiver.ack_now = True
    else:
        challenge(conn, now)


def _receive_reset(conn: Connection, seq: int, now: float) -> None:
    if conn.state is TIME_WAIT:
        return  # RFC 1337, fix F1
    if seq != conn.receiver.nxt:
        challenge(conn, now)
    elif conn.state is SYN_RECEIVED:
        conn.end(errno.ECONNRESET if conn.passive else errno.ECONNREFUSED)
    elif conn.state in (CLOSING, LAST_ACK) and not conn.queued:
        conn.end(0)  # the peer had everything
    else:
        # the kernel's word where the peer had ended its half before: what we write goes nowhere
        conn.end(errno.EPIPE if conn.state is CLOSE_WAIT else errno.ECONNRESET)


def _check_ack(conn: Connection, segment: Segment, seq: int, now: float) -> bool:
    """Fifth check. Returns whether payload and FIN are to be looked at."""
    snd = conn.sender
    ack = unwrap(segment.ack, snd.una)
    if conn.state is SYN_RECEIVED:
        fast = conn.fast_open
        served = fast is not None and fast.served
        on_syn = 0 if fast is None else fast.sent
        if not snd.una + (not served) <= ack <= snd.nxt + on_syn:
            if served:
                challenge(conn, now)  # to its application it is open
            else:
                conn.reply = reset_for(segment)
            return False
        if conn.passive and not served and not handshake.completes(conn, segment):
            return False
        repetitions = conn.syn_times
        handshake.establish(conn, Trigger.ACK_OF_SYN, segment, now)
        if fast is not None:
            fast.answered(conn, segment, repetitions)
    elif ack > snd.nxt or ack < snd.una - snd.max_window:
        challenge(conn, now)
        return False
    if ack >= snd.una:
        acknowledge(conn, segment, seq, ack - snd.una, now)
        if snd.una > snd.fin_at and conn.state is not CLOSED:
            _fin_acknowledged(conn, now)
    elif segment.sack:  # overtaken by a later one, and still news
        recovery.receive_ack(snd, 0, _sacked(segment, snd.una, snd.una), False, -1, now)
    return conn.state is not CLOSED


def _sacked(segment: Segment, una: int, least: int) -> list[tuple[int, int]]:
    """The SACK blocks as positions, as far as they lie above `least`."""
    blocks = [(unwrap(left, una), unwrap(right, una)) for left, right in segment.sack]
    return [(max(left, least), right) for left, right in blocks if right > least]


def acknowledge(conn: Connection, segment: Segment, seq: int, acked: int, now: float) -> None:
    """An acceptable ACK that moves SND.UNA by `acked` >= 0: window, scoreboard, recovery."""
    snd = conn.sender
    if conn.ecn is not None:
        conn.ecn.receive_feedback(conn, segment, now)
    if acked and not (snd.alert or segment.sack or snd.accecn is not None):
        snd.progress(acked, now)
    else:
        same_window = snd.edge == snd.una + (segment.window << snd.scale)
        duplicate = not acked and same_window and not segment.payload and not segment.flags & FIN
        blocks = _sacked(segment, snd.una, snd.una - HALF) if segment.sack else []
        if acked or blocks or duplicate:
            recovery.receive_ack(snd, acked, blocks, duplicate, echo.ticks_since(conn, segment, now), now)
    if conn.ecn is not None:
        conn.ecn.react(conn, segment, now)
    if acked:
        conn.happened |= WRITABLE_BIT
    if seq >= snd.window_seq:
        snd.set_window(segment.window, seq)
    if not (conn.orphan or conn.config.user_timeout_is_set) and (
        snd.edge <= snd.una or conn.timers[PERSIST] != NEVER
    ):
        snd.progress_at = now  # the window is closed, but the peer lives


def _fin_acknowledged(conn: Connection, now: float) -> None:
    waiting = conn.state in (FIN_WAIT_1, CLOSING, LAST_ACK)
    if waiting and conn.enter(Trigger.ACK_OF_FIN) is FIN_WAIT_2 and conn.orphan:
        conn.arm_fin_wait(now)


def _receive_payload(conn: Connection, seq: int, payload: bytes | memoryview, unit: int, now: float) -> None:
    rcv = conn.receiver
    if conn.state not in RECEIVING:
        rcv.ack_now = True  # beyond the peer's FIN
        return
    if conn.orphan and seq + len(payload) > rcv.nxt:
        conn.reset(0, now)  # nobody is there to read it (RFC 9293 3.6.1, RFC 2525 2.17)
        return
    nxt = rcv.nxt
    if now >= rcv.tune_at:
        rcv.tune(-1.0, conn.sender.rtt.srtt, now)
    rcv.receive(seq, payload, unit, now)
    if rcv.nxt != nxt:
        conn.happened |= READABLE_BIT


def _receive_fin(conn: Connection, position: int, now: float) -> None:
    if conn.state not in RECEIVING:
        conn.receiver.ack_now = True
        return
    if conn.receiver.receive_fin(position):
        conn.happened |= EOF_BIT
        if conn.enter(Trigger.FIN) is CLOSE_WAIT and position > conn.receiver.start:
            conn.receiver.delay_ack(now)  # our FIN is likely to follow, and takes it along (Linux's choice)
        else:
            conn.receiver.ack_now = True
