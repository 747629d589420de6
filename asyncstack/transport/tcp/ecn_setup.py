"""What SYNs and SYN-ACKs say about ECN (RFC 3168 6.1.1, RFC 9768 3.1).

    TcpConfig.ecn   our SYN (AE CWR ECE)            we answer an ECN SYN    an AccECN SYN
    "off"           000                             000                     000
    "passive"       000                             001                     001
    "on"            011                             001                     001
    "accecn"        111                             001                     010 011 100 110: the SYN's codepoint
    "accecn-on"     011                             001                     the same
    "accecn-passive" 000                            001                     the same

    SYN-ACK for our 111: 000 and 111 no ECN; 001 and 101 RFC 3168; the others AccECN (RFC 9768 table 2)

- a repeated SYN may have been dropped for its flags: RFC 3168's go at the first repetition (6.1.1.1), those of AccECN
  at the second (RFC 9768 3.1.4.1). What a SYN-ACK says counts all the same: it may answer the first SYN.
- a repeated SYN-ACK goes without the AccECN option, then without flags too (3.1.4.2)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp.accecn import AccurateEcn, ace_of
from asyncstack.transport.tcp.ecn import NOT_ECT, Ecn
from asyncstack.transport.tcp.state import SYN_SENT
from asyncstack.wire.tcp import ACK, AE, CWR, ECE, Segment

if TYPE_CHECKING:
    from asyncstack.transport.tcp.connection import Connection

SETUP: Final = CWR | ECE
ASKING: Final = {"on": SETUP, "accecn-on": SETUP, "accecn": SETUP | AE}  # flags of our SYN


def announce(conn: Connection, segment: Segment) -> None:
    """Put flags and option on our SYN or SYN-ACK."""
    mode, ecn = conn.config.ecn, conn.ecn
    if conn.state is SYN_SENT:
        tries = 1 + (mode == "accecn") if conn.config.ecn_fallback else 1 << 30
        if conn.syn_times < tries:
            segment.flags |= ASKING.get(mode, 0)
    elif isinstance(ecn, AccurateEcn):
        ecn.mark_syn_ack(conn, segment)
    elif ecn is not None:
        segment.flags |= ECE


def receive_syn(conn: Connection, syn: Segment) -> None:
    """A SYN: of a peer that opens, or one that crossed ours."""
    mode, ace = conn.config.ecn, ace_of(syn.flags)
    if mode.startswith("accecn") and ace not in (0, 3):
        _agree(conn, AccurateEcn(conn.config, syn.ecn))
    elif mode != "off" and ace & 3 == 3 and (syn.ecn == NOT_ECT or ace == 7):
        # a codepoint on the SYN of a classic peer is a mistake of the path (Linux): it would mark everything
        _agree(conn, Ecn())


def receive_syn_ack(conn: Connection, segment: Segment) -> None:
    """The answer to our SYN."""
    mode, ace = conn.config.ecn, ace_of(segment.flags)
    if mode == "accecn" and ace not in (0, 1, 5, 7):
        ecn = AccurateEcn(conn.config, segment.ecn)
        _agree(conn, ecn)
        ecn.answered(segment)
    elif mode in ASKING and ace & 3 == 1:
        _agree(conn, Ecn())


def _agree(conn: Connection, ecn: Ecn) -> None:
    conn.ecn = ecn
    conn.usual = -1 if ecn.accurate else ACK
