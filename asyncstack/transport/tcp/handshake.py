"""Opening a connection (RFC 9293 3.5, 3.10.7.2 to 3.10.7.4 as far as SYNs go; options RFC 6691, 7323, 2018).

    active:        SYN ->            <- SYN ACK       ACK ->
    passive:       <- SYN            SYN ACK ->       <- ACK
    simultaneous:  SYN ->  <- SYN    SYN ACK -> <- SYN ACK

- an option is in force if both SYNs carry it; a SYN-ACK offers only what the SYN offered
- the window in a SYN is never scaled; the shift offered is the smallest that lets the receive buffer fit
- an unanswered SYN goes out again after 1, 2, 4 ... seconds (RFC 6298 5); after `syn_retries` (`synack_retries`)
  times the connection ends with ETIMEDOUT, or with what an ICMP error said
- a lost SYN is a sign of congestion: the first window is one segment then, and the RTO 3 s unless timestamps give a
  sample (RFC 5681 3.1, RFC 6298 5.7)
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp import defer_accept, echo, ecn_setup, fast_open
from asyncstack.transport.tcp.reset import reset_for
from asyncstack.transport.tcp.sequence import MASK, timestamp
from asyncstack.transport.tcp.state import OPENED_BIT, SYN_RECEIVED, SYN_SENT, Trigger
from asyncstack.transport.tcp.timers import KEEPALIVE, NEVER, RETRANSMIT
from asyncstack.wire.tcp import ACK, FIN, RST, SYN, Segment

if TYPE_CHECKING:
    from asyncstack.transport.tcp.connection import Connection
    from asyncstack.transport.tcp.fast_open import FastOpen

DEFAULT_MSS: Final = 536  # RFC 9293 3.7.1: of a peer that does not say
SMALLEST_MSS: Final = 88  # Linux: TCP_MIN_MSS; less would let a peer make us send headers only
SMALLEST_PATH_MSS: Final = 20  # the smallest packet of IPv4 (RFC 791: 68 bytes) has room for 28
MAX_WINDOW: Final = 0xFFFF
MAX_SHIFT: Final = 14  # RFC 7323 2.3
TIMESTAMP_OPTION: Final = 12
FALLBACK_RTO: Final = 3.0


def window_shift(size: int) -> int:
    """The smallest shift with which a window of `size` bytes fits the field."""
    shift = size.bit_length() - 16
    return 0 if shift <= 0 else shift if shift < MAX_SHIFT else MAX_SHIFT


def open_active(conn: Connection, now: float) -> None:
    """CLOSED -> SYN-SENT."""
    conn.enter(Trigger.ACTIVE_OPEN)
    wait = fast_open.begin(conn, now)
    conn.syn_due = not wait
    conn.timers[RETRANSMIT] = now + (wait or conn.sender.rtt.rto)


def accept(conn: Connection, syn: Segment, now: float) -> None:
    """CLOSED -> LISTEN -> SYN-RECEIVED, by a SYN that a listener received."""
    conn.enter(Trigger.PASSIVE_OPEN)
    conn.passive = True
    _negotiate(conn, syn, now)
    ecn_setup.receive_syn(conn, syn)
    conn.enter(Trigger.SYN)
    conn.syn_due = True
    conn.timers[RETRANSMIT] = now + conn.sender.rtt.rto


def accept_cookie(conn: Connection, syn: Segment, now: float) -> None:
    """CLOSED -> LISTEN -> SYN-RECEIVED without sending anything: the answer to `syn` has left before (RFC 4987 3.6)."""
    accept(conn, syn, now)
    conn.syn_due = False
    conn.syn_sent_at = NEVER
    conn.sender.nxt += 1


def _negotiate(conn: Connection, syn: Segment, now: float) -> None:
    config, snd, rcv = conn.config, conn.sender, conn.receiver
    if config.timestamps and syn.ts_val >= 0:
        rcv.timestamps = True
        rcv.ts_recent, rcv.ts_recent_at = syn.ts_val, now
    if config.window_scaling and syn.window_scale >= 0:
        conn.scaling = True
        snd.scale = min(syn.window_scale, MAX_SHIFT)
        rcv.scale = window_shift(config.receive_buffer)
    snd.sack_ok = rcv.sack_ok = _sack(conn) and syn.sack_permitted
    most = config.max_segment or MASK  # as on Linux it counts now or never
    conn.peer_mss = max(min(syn.mss or DEFAULT_MSS, most), SMALLEST_MSS)
    if rcv.timestamps:
        rcv.full = conn.link_mss - TIMESTAMP_OPTION
    rcv.open(syn.seq, min(rcv.buffer, MAX_WINDOW))
    snd.edge = snd.una + syn.window
    snd.max_window = syn.window
    snd.window_seq = rcv.nxt


def _sack(conn: Connection) -> bool:
    """Whether we want SACK. On a path of very small packets the blocks would leave no room for data."""
    return conn.config.sack and conn.path_mss >= SMALLEST_MSS


def told_mss(conn: Connection) -> int:
    """The MSS that a SYN tells: what our link takes (RFC 6691 2: the way there may be narrower than the way back) and
    the user allows (TCP_MAXSEG); no more than the path takes where a router refused the first SYN (Linux's choice)."""
    refused = conn.fast_open is not None and conn.fast_open.plain
    mss = conn.path_mss if refused else conn.link_mss
    return min(mss, conn.config.max_segment or mss)


def reach(conn: Connection) -> int:
    """What path, user and peer take in a segment, bytes of payload with options (RFC 6691 2)."""
    return min(conn.path_mss, conn.peer_mss)


def segment_mss(conn: Connection) -> int:
    """Payload bytes of a full segment."""
    search = conn.sender.search
    mss = reach(conn)
    return (mss if search is None else min(mss, search.low)) - option_room(conn)


def option_room(conn: Connection) -> int:
    """Bytes of the options in every segment with data."""
    options = TIMESTAMP_OPTION if conn.receiver.timestamps else 0
    if conn.ecn is not None:
        options += conn.ecn.option_room
    return options


def fit_segments(conn: Connection) -> None:
    """What a segment carries has changed: the sender goes by it from now on."""
    conn.sender.set_mss(segment_mss(conn), conn.max_payload)
    if conn.ecn is not None:
        conn.ecn.sizes_changed(conn)


def syn_to_send(conn: Connection, now: float) -> Segment | None:
    """The SYN or SYN-ACK, if it is due."""
    if not conn.syn_due and not fast_open.is_due(conn):
        return None
    conn.syn_due = False
    config, snd, rcv = conn.config, conn.sender, conn.receiver
    served = conn.fast_open is not None and conn.fast_open.served
    if snd.nxt == snd.una and not served:
        snd.nxt += 1
        conn.syn_sent_at = now
        conn.timers[RETRANSMIT] = now + (
            snd.rtt.rto if conn.passive else min(snd.rtt.rto, config.user_timeout)
        )
    answer = conn.state is SYN_RECEIVED
    timestamps = rcv.timestamps if answer else config.timestamps
    scaling = conn.scaling if answer else config.window_scaling
    segment = Segment(
        conn.local_port,
        conn.remote_port,
        (snd.una - served) & MASK,
        rcv.nxt & MASK if answer else 0,
        SYN | ACK if answer else SYN,
        min(rcv.buffer, MAX_WINDOW),
        b"",
        timestamp(now, conn.ts_offset) if timestamps else -1,
        rcv.ts_recent,
        (),
        min(told_mss(conn), 0xFFFF),
        window_shift(config.receive_buffer) if scaling else -1,
        rcv.sack_ok if answer else _sack(conn),
    )
    ecn_setup.announce(conn, segment)
    fast_open.announce(conn, segment)
    if served:
        rcv.acknowledged()
        conn.synchronized = True  # data may follow
    return segment


def receive_in_syn_sent(conn: Connection, segment: Segment, now: float) -> None:
    """RFC 9293 3.10.7.3."""
    flags = segment.flags
    snd, fast = conn.sender, conn.fast_open
    acknowledges = flags & ACK and snd.nxt > snd.una and _within_syn(segment.ack - snd.nxt, fast)
    if flags & ACK and not acknowledges:
        conn.reply = reset_for(segment)
        return
    if flags & RST:
        if acknowledges:
            conn.end(errno.ECONNREFUSED)
        return
    if not flags & SYN:
        return
    _negotiate(conn, segment, now)
    if acknowledges:
        ecn_setup.receive_syn_ack(conn, segment)
        repetitions = conn.syn_times
        establish(conn, Trigger.SYN_ACK, segment, now)
        conn.receiver.ack_now = True
        if fast is not None:
            fast.answered(conn, segment, repetitions)
    else:
        ecn_setup.receive_syn(conn, segment)
        conn.enter(Trigger.SYN)
        conn.syn_due = True


def _within_syn(beyond: int, fast: FastOpen | None) -> bool:
    """Whether an ACK of our SYN and `beyond` bytes more acknowledges no more than the SYN brought."""
    return beyond & MASK <= (0 if fast is None else fast.sent)


def repeats_syn(conn: Connection, segment: Segment) -> bool:
    """In SYN-RECEIVED: whether `segment` is the SYN again. The peer has not seen our answer: it is due again.

    That neither puts our own repetitions off nor takes one: a SYN sent over and over keeps nothing half open.
    """
    if segment.flags & (SYN | ACK | RST) != SYN or (segment.seq + 1) & MASK != conn.receiver.start & MASK:
        return False
    conn.syn_due = True
    conn.synchronized = False  # the SYN-ACK goes first
    conn.syn_times = max(conn.syn_times, 1)
    if conn.receiver.timestamps and segment.ts_val >= 0:
        # so that the echo does not count the wait for this repetition
        conn.receiver.ts_recent = segment.ts_val
    if conn.ecn is not None:
        conn.ecn.syn_again(conn, segment)
    return True


def crosses(conn: Connection, segment: Segment) -> bool:
    """In SYN-RECEIVED after a simultaneous open: whether `segment` is the SYN-ACK that crossed ours (figure 8)."""
    return (
        segment.flags & (SYN | ACK | RST) == SYN | ACK
        and (segment.seq + 1) & MASK == conn.receiver.nxt & MASK
        and _within_syn(segment.ack - conn.sender.nxt, conn.fast_open)
    )


def establish(conn: Connection, trigger: Trigger, segment: Segment, now: float) -> None:
    """The peer has acknowledged our SYN."""
    snd, rcv, config = conn.sender, conn.receiver, conn.config
    fast = conn.fast_open
    served = fast is not None and fast.served
    if not served:
        snd.una += 1
        snd.edge = max(snd.edge, snd.una + snd.max_window)
    snd.progress_at = snd.last_sent = rcv.last_data = now
    if conn.syn_times == 0:
        if conn.syn_sent_at != NEVER:
            snd.rtt.update(now - conn.syn_sent_at)
    elif rcv.timestamps and 0.0 <= (elapsed := echo.seconds_since(conn, segment, now)) < config.initial_rto:
        snd.rtt.update(elapsed)  # more may be the time that the peer waited to repeat its SYN-ACK
    else:
        snd.rtt.restart(FALLBACK_RTO)
    if not served:
        snd.start(segment_mss(conn), conn.max_payload, 1 if conn.syn_times else config.initial_window)
    if conn.ecn is not None:
        conn.ecn.established(conn, segment, trigger is Trigger.ACK_OF_SYN)
    conn.timers[RETRANSMIT] = NEVER
    if snd.nxt != snd.una:
        snd.arm_retransmit(now)
    conn.syn_due = False
    conn.syn_times = 0
    conn.heard_at = now
    conn.enter(trigger)
    if fast is not None:
        fast.ended(0)
    if fast is None or not fast.told:
        conn.happened |= OPENED_BIT
    if config.keepalive:
        conn.timers[KEEPALIVE] = now + config.keepalive_idle
    if conn.fin_asked:
        conn.send_fin()


def completes(conn: Connection, segment: Segment) -> bool:
    """Whether the ACK in `segment` may end SYN-RECEIVED of a passive open. While the listener defers it has to bring
    data or the FIN; and the listener needs room for what is open. Else it is as if the segment had been lost."""
    bare = not segment.payload and not segment.flags & FIN
    if (
        conn.config.defer_accept
        and bare
        and conn.syn_sent_at != NEVER
        and conn.syn_times < defer_accept.timeouts(conn.config)
    ):
        conn.deferred = True
        return False
    if conn.admits is not None and not conn.admits():
        return False
    if conn.deferred:  # the SYN-ACK was not lost, and how long the peer thought is no round trip
        conn.syn_times = 0
        conn.syn_sent_at = NEVER
        conn.sender.rtt.restart(conn.config.initial_rto)
    return True


def receive_timeout(conn: Connection, now: float) -> None:
    """The SYN or SYN-ACK was not answered in time. A peer whose ACK is deferred is asked once more, at the end: its
    answer then opens the connection without data."""
    config, fast = conn.config, conn.fast_open
    if fast is not None and fast.waiting:
        fast.waiting = False
        conn.syn_due = True
        return
    deferrals = defer_accept.timeouts(config) if conn.deferred else 0
    most = config.syn_retries if conn.state is SYN_SENT else max(config.synack_retries, deferrals)
    sent = conn.sender.nxt != conn.sender.una  # it may be waiting for a neighbour
    last = conn.syn_sent_at + config.user_timeout if sent and not conn.passive else NEVER
    if conn.sender.rtt.backoff >= most or now >= last:  # time-outs; a repeated SYN counts for `syn_times` too
        conn.timed_out()
        return
    conn.syn_due = not conn.deferred or conn.syn_times >= deferrals - 1
    conn.synchronized = False  # the SYN-ACK goes first
    conn.syn_times += 1
    if conn.sender.trace is not None:
        conn.sender.trace.append(("rto", now, conn.sender.una, 0))
    conn.sender.rtt.back_off()
    conn.timers[RETRANSMIT] = min(now + conn.sender.rtt.rto, last)
