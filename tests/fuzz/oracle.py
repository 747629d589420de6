"""What a received segment may do to a connection, by the RFCs: read beside the code that it judges, not from it.

RFC 9293 3.10.7 (the order of the checks), RFC 5961 (a RST only at RCV.NXT; SYNs and odd ACKs are challenged), RFC 7323
(PAWS), RFC 5927 and 5461 (ICMP), RFC 1337 and 6191 (TIME-WAIT). Where Linux is more generous than the letter and nobody
can profit, so is the oracle: a segment without length is taken at the right edge of the window, a FIN in a closed one.

`judge` looks at the connection before the segment arrives. It says what may happen; `watch` compares.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from tests.fuzz.dissect import ACK, FIN, RST, SYN, Error, Tcp

MASK = 0xFFFFFFFF
DAYS_24 = 24 * 86400
SYNCHRONIZED = {
    "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT", "CLOSING", "LAST_ACK", "TIME_WAIT",
}  # fmt: skip
RECEIVING = {"ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2"}

# RFC 1122 3.2.2.1, RFC 4443 and Linux: the errors that may end a connection that is not open yet
HARD4 = {(3, code) for code in (2, 3, 6, 7, 8, 9, 10, 13, 14, 15)} | {(12, 0), (12, 1), (12, 2)}
SOFT6 = {(1, code) for code in (0, 2, 3)}  # an unknown code, and any of type 4, is hard, as Linux has it


@dataclass(slots=True)
class Verdict:
    """effect: "none", "reset" (has to end it), "accept" (is taken for what it says), "hint" (path MTU, soft error)."""

    effect: str = "none"
    why: str = ""
    may_end: bool = False
    may_fin: bool = False  # the peer's stream may end by it
    may_ack_fin: bool = False
    data: tuple[int, bytes] | None = None  # position and bytes that the application may come to see


def judge(conn, segment: Tcp, now: float, earlier_fin: bool) -> Verdict:
    state = conn.state.name
    if state == "SYN_SENT":
        return _in_syn_sent(conn, segment)
    if state in ("CLOSED", "LISTEN"):
        return Verdict(why="closed")
    rcv = conn.receiver
    if state == "SYN_RECEIVED":
        early = _early(conn, segment)
        if early is not None:
            return early
    flags = segment.flags
    length = len(segment.payload) + (1 if flags & FIN else 0)
    nxt, window = rcv.nxt & MASK, rcv.edge - rcv.nxt
    if flags & RST:
        if segment.seq != nxt:
            return Verdict(why="RST beside RCV.NXT (RFC 5961 3)")
        if state == "TIME_WAIT":
            return Verdict(why="RST in TIME-WAIT (RFC 1337)")
        return Verdict("reset", "RST at RCV.NXT", may_end=True)
    if rcv.timestamps and not _fresh(rcv, segment, now):
        return Verdict(why="timestamp (RFC 7323 5.3)")
    if not _in_window(segment.seq, length, nxt, window):
        return Verdict(why="outside the window")
    if flags & SYN:
        return Verdict(why="SYN in a synchronized state (RFC 5961 4)")
    if not flags & ACK:
        return Verdict(why="no ACK")
    if not _acceptable_ack(conn, segment.ack):
        return Verdict(why="ACK of nothing (RFC 5961 5)")
    return _accepted(conn, segment, earlier_fin)


def _in_syn_sent(conn, segment: Tcp) -> Verdict:
    """RFC 9293 3.10.7.3."""
    snd, flags = conn.sender, segment.flags
    right = segment.ack == snd.nxt & MASK and snd.nxt > snd.una
    if flags & ACK and not right:
        return Verdict(why="ACK of no SYN of ours")
    if flags & RST:
        if flags & ACK:
            return Verdict("reset", "RST with the ACK of our SYN", may_end=True)
        return Verdict(why="RST without ACK in SYN-SENT")
    if flags & SYN:
        verdict = Verdict("accept", "SYN in SYN-SENT")
        if flags & ACK:  # 3.10.7.3: what a SYN-ACK brings is taken
            verdict.data = (segment.seq + 1, segment.payload)
            verdict.may_fin = bool(flags & FIN)
        return verdict
    return Verdict(why="neither SYN nor RST in SYN-SENT")


def _early(conn, segment: Tcp) -> Verdict | None:
    """SYN-RECEIVED: the SYN again, and the SYN-ACK of a simultaneous open."""
    if segment.flags & (SYN | RST) != SYN or (segment.seq + 1) & MASK != conn.receiver.nxt & MASK:
        return None
    if not segment.flags & ACK:
        return Verdict("accept", "the SYN again")
    if segment.ack == conn.sender.nxt & MASK:
        rcv = conn.receiver
        data = segment.payload[: rcv.edge - rcv.nxt]  # RFC 9293 3.10.7.2 lets a SYN carry some
        fin = bool(segment.flags & FIN)
        return Verdict("accept", "SYN-ACK of a simultaneous open", may_fin=fin, data=(rcv.nxt, data))
    return None


def _fresh(rcv, segment: Tcp, now: float) -> bool:
    if segment.ts_val < 0:
        return False
    old = (segment.ts_val - rcv.ts_recent) & MASK >= 0x80000000
    return not old or now - rcv.ts_recent_at >= DAYS_24


def _in_window(seq: int, length: int, nxt: int, window: int) -> bool:
    """RFC 9293 table 6; any overlap counts, as what lies outside is trimmed."""
    ahead = (seq - nxt) & MASK
    if length == 0:
        return ahead <= window
    if ahead == 0:
        return True  # also in a closed window, for its ACK
    return ahead < window or (nxt - seq) & MASK < length


def _acceptable_ack(conn, ack: int) -> bool:
    snd = conn.sender
    outstanding = snd.nxt - snd.una
    ahead = (ack - snd.una) & MASK
    if conn.state.name == "SYN_RECEIVED":
        return 0 < ahead <= outstanding
    return ahead <= outstanding or (snd.una - ack) & MASK <= snd.max_window


def _accepted(conn, segment: Tcp, earlier_fin: bool) -> Verdict:
    rcv, snd, state = conn.receiver, conn.sender, conn.state.name
    verdict = Verdict("accept", "acceptable")
    begin = rcv.nxt + ((segment.seq - rcv.nxt + 0x80000000) & MASK) - 0x80000000
    end = begin + len(segment.payload)
    first, last = max(begin, rcv.nxt), min(end, rcv.edge)
    if first < last and state in RECEIVING | {"SYN_RECEIVED"}:
        verdict.data = (first, segment.payload[first - begin : last - begin])
    verdict.may_fin = earlier_fin or bool(segment.flags & FIN)
    everything = segment.ack == snd.nxt & MASK and snd.nxt > snd.fin_at
    verdict.may_ack_fin = everything
    if state == "LAST_ACK" and everything:
        verdict.may_end = True
    if conn.orphan and end > rcv.nxt and segment.payload and state in RECEIVING:
        verdict.may_end = True  # RFC 9293 3.6.1: data that nobody will read
    return verdict


def judge_error(conn, error: Error) -> Verdict:
    """An ICMP error that quotes a segment of `conn`."""
    snd = conn.sender
    if (error.seq - snd.una) & MASK >= snd.nxt - snd.una:
        return Verdict(why="quotes nothing in flight (RFC 5927 4.1)")
    kind = error.type, error.code
    hard = kind in HARD4 if error.version == 4 else error.type in (1, 4) and kind not in SOFT6
    if hard and conn.state.name in ("SYN_SENT", "SYN_RECEIVED"):
        return Verdict("reset", "hard ICMP error before the connection is open", may_end=True)
    return Verdict("hint", "ICMP error")


def may_follow(old: str, new: str, verdict: Verdict) -> bool:
    """Whether a segment so judged may move a connection from state to state (RFC 9293 figure 5)."""
    if new == "CLOSED":
        return verdict.may_end
    if verdict.effect != "accept":
        return False
    if old == "SYN_SENT":
        return new in ("SYN_RECEIVED", "ESTABLISHED")
    if old == "SYN_RECEIVED":
        return new == "ESTABLISHED"
    if (old, new) in (("FIN_WAIT_1", "FIN_WAIT_2"), ("CLOSING", "TIME_WAIT")):
        return verdict.may_ack_fin
    by_fin = {("ESTABLISHED", "CLOSE_WAIT"), ("FIN_WAIT_1", "CLOSING"), ("FIN_WAIT_2", "TIME_WAIT")}
    return (old, new) in by_fin and verdict.may_fin


def may_start_anew(entry, segment: Tcp) -> bool:
    """Whether a SYN may take the place of a connection in TIME-WAIT (RFC 6191)."""
    if segment.flags & (SYN | ACK | RST) != SYN:
        return False
    later = 0 < (segment.seq - entry.rcv_nxt) & MASK < 0x80000000
    if entry.ts_recent >= 0 and segment.ts_val >= 0:
        return later or 0 < (segment.ts_val - entry.ts_recent) & MASK < 0x80000000
    return later


def fingerprint(conn) -> tuple:
    """Everything that a segment without effect must leave alone."""
    rcv, snd, board = conn.receiver, conn.sender, conn.sender.board
    held = [(r.start, r.end) for r in rcv.held._ranges] if rcv.held is not None else None
    return (
        conn.state, conn.error, rcv.nxt, rcv.edge, rcv.fin_at, rcv.unread, rcv.ts_recent, held,
        snd.una, snd.edge, snd.window_seq, snd.max_window, snd.fin_at, snd.phase, snd.dup_acks,
        board.sacked, board.lost, board.absent, snd.congestion.cwnd, snd.congestion.ssthresh,
        snd.rtt.srtt, snd.rtt.rto, conn.peer_mss, snd.queue.end,
    )  # fmt: skip


# why a connection that is not open yet may end without a segment: no answer, or no room for one more
UNOPENED = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EOPNOTSUPP, errno.ECONNABORTED)
