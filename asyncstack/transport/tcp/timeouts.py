"""What a connection does when one of its timers is due (RFC 9293 3.8.1, 3.8.3, 3.8.4, 3.8.6.1; RFC 5482).

- an active open that is not answered for `user_timeout` ends too, if that comes before the last repetition of the SYN
- data that stays unacknowledged for `user_timeout` ends the connection with ETIMEDOUT, or with what an ICMP error
  had said before; so does a peer that answers no window probe. A peer that keeps its window closed but answers may do
  so for ever (RFC 9293 3.8.6.1), unless the application has gone, or has set the user timeout itself (as in Linux).
- for an application that has gone, data is sent again no more than `ORPHAN_RETRIES` times in a row
- a probe, of the window or for keepalive, is a segment without data at SND.UNA - 1: outside the window, so the peer
  answers with an ACK (Linux's choice)
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp import black_hole, handshake, recovery, tail_loss
from asyncstack.transport.tcp.state import SYN_RECEIVED, SYN_SENT
from asyncstack.transport.tcp.timers import (
    DELAYED_ACK,
    FIN_WAIT,
    KEEPALIVE,
    NEVER,
    PACE,
    PERSIST,
    PROBE,
    REORDER,
    RETRANSMIT,
)

if TYPE_CHECKING:
    from asyncstack.transport.tcp.connection import Connection
    from asyncstack.transport.tcp.sender import Sender

ORPHAN_RETRIES: Final = 8  # Linux: tcp_orphan_retries


def run_due(conn: Connection, now: float) -> None:
    """Run every timer that is due at `now`."""
    timers = conn.timers
    for kind, run in _TIMEOUTS:
        if timers[kind] <= now:
            timers[kind] = NEVER
            run(conn, now)


def held_up(snd: Sender, now: float) -> None:
    """What waits can not leave: the link has no room, no neighbour, or there is no route. The timer runs all the
    same, to try again and for the user timeout."""
    timers = snd.timers
    if snd.una == snd.nxt and snd.waiting and timers[RETRANSMIT] == timers[PERSIST] == NEVER:
        snd.progress_at = now
        snd.arm_retransmit(now)


def _retransmit(conn: Connection, now: float) -> None:
    snd = conn.sender
    if conn.state in (SYN_SENT, SYN_RECEIVED):
        handshake.receive_timeout(conn, now)
    elif snd.una == snd.nxt and not snd.waiting:
        return
    elif now >= snd.progress_at + conn.config.user_timeout or (
        conn.orphan and snd.timeouts >= ORPHAN_RETRIES
    ):
        conn.timed_out()
    elif snd.una == snd.nxt:  # see `held_up`
        snd.timeouts += 1
        snd.rtt.back_off()
        snd.arm_retransmit(now)
    elif tail_loss.allowed(snd):
        # before a timeout there is always a probe (RFC 8985 7.2: PTO is no later than RTO)
        tail_loss.probe(snd, now)
    else:
        black_hole.receive_timeout(conn)
        recovery.receive_timeout(snd, now)


def _probe(conn: Connection, now: float) -> None:
    if conn.state is not SYN_RECEIVED:  # of a fast open: nothing but the SYN-ACK is repeated
        tail_loss.timer_expired(conn.sender, now)


def _reorder(conn: Connection, now: float) -> None:
    recovery.reordering_expired(conn.sender, now)


def _delayed_ack(conn: Connection, now: float) -> None:
    conn.receiver.ack_now = True


def _persist(conn: Connection, now: float) -> None:
    snd = conn.sender
    if snd.una != snd.nxt or not snd.waiting:
        return  # the retransmission timer is at work, or all was sent before the window closed
    if snd.edge > snd.nxt:
        snd.overdue = True
        snd.more_end = -1
    elif now >= snd.progress_at + conn.config.user_timeout:
        conn.timed_out()
    else:
        snd.probes += 1
        conn.probe_due = True
        snd.arm_persist(now)


def start_keepalive(conn: Connection, before: bool, now: float) -> None:
    """The settings have changed; `before`: whether the timer ran already. Then the silence so far counts."""
    config = conn.config
    due = NEVER
    if config.keepalive and conn.synchronized:
        due = max(conn.heard_at if before else now, now - config.keepalive_idle) + config.keepalive_idle
    conn.timers[KEEPALIVE] = due


def _given_up(conn: Connection, now: float) -> bool:
    """Whether enough probes of keepalive were not answered: that many, or for that long (Linux, RFC 5482 4.2)."""
    config = conn.config
    if config.user_timeout_is_set:
        return conn.keepalive_probes > 0 and now >= conn.heard_at + config.user_timeout
    return conn.keepalive_probes >= config.keepalive_count


def _keepalive(conn: Connection, now: float) -> None:
    config = conn.config
    if not config.keepalive:
        return
    if conn.heard_at >= conn.probed_at:
        conn.keepalive_probes = 0
    due = conn.heard_at + config.keepalive_idle
    if conn.sender.una != conn.sender.nxt:
        due = max(due, now + config.keepalive_idle)  # retransmissions find out by themselves
    if conn.keepalive_probes == 0 and due > now:
        conn.timers[KEEPALIVE] = due
    elif _given_up(conn, now):
        conn.reset(errno.ETIMEDOUT, now)
    else:
        conn.keepalive_probes += 1
        conn.probed_at = now
        conn.probe_due = True
        conn.timers[KEEPALIVE] = now + config.keepalive_interval


def _fin_wait(conn: Connection, now: float) -> None:
    conn.end(0)


def _pace(conn: Connection, now: float) -> None:
    """Whoever runs the timers asks for segments afterwards."""


_TIMEOUTS = (
    (REORDER, _reorder),  # it may find what makes a probe needless, and that a timeout
    (PROBE, _probe),
    (RETRANSMIT, _retransmit),
    (DELAYED_ACK, _delayed_ack),
    (PERSIST, _persist),
    (KEEPALIVE, _keepalive),
    (FIN_WAIT, _fin_wait),
    (PACE, _pace),
)
