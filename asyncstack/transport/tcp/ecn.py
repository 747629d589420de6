"""Explicit Congestion Notification once it is agreed on (RFC 3168 6.1). Sans-I/O.

    sender -- data, ECT(0) --> router under load -- data, CE --> receiver
    sender <-- ACK, ECE, until CWR comes ---------------------- receiver
    sender -- new data, CWR ----------------------------------> receiver

- ECT(0) is on new data only: not on repetitions, on segments without data, on SYNs (6.1.4, 6.1.5, 6.1.1)
- the sender reduces its window once per window of data (6.1.2): an echo that acknowledges nothing sent after the
  reduction can not have seen its CWR
- CWR tells of any reduction, also one for loss, on the first new data after it (6.1.2)
- the receiver echoes on every segment from a CE until a CWR (6.1.3), at once, as Linux does

`Ecn` is one connection's; `AccurateEcn` (see `accecn`) takes its place where both ends speak RFC 9768. What the
SYNs say about it is in `ecn_setup`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp import recovery
from asyncstack.transport.tcp.phase import OPEN
from asyncstack.transport.tcp.sequence import unwrap
from asyncstack.wire.tcp import ACK, AE, CWR, ECE, FIN, RST, SYN, Segment

if TYPE_CHECKING:
    from asyncstack.transport.tcp.connection import Connection
    from asyncstack.transport.tcp.sender import Sender

# codepoints of the IP header (RFC 3168 5)
NOT_ECT: Final = 0
ECT1: Final = 1
ECT0: Final = 2
CE: Final = 3

# what `Connection.receive_segment` looks at: anything but `Ecn.usual` is for `arrival`
LOOKED_AT: Final = ACK | SYN | FIN | RST | ECE | CWR | AE
QUICK: Final = 2  # segments acknowledged at once after a mark; Linux


class Ecn:
    """Both directions of one connection, RFC 3168."""

    __slots__ = ("_cwr_due", "_reacted", "_told", "echo", "received_ce")

    accurate = False

    def __init__(self) -> None:
        self.echo = False  # ECE is on what we send
        self.received_ce = 0  # data segments that came marked
        self._cwr_due = False
        self._reacted = -1  # SND.NXT when an echo last reduced the window
        self._told = -1  # recovery point of the last reduction that a CWR told of

    @property
    def option_room(self) -> int:
        """Bytes of options that each segment leaves free for us."""
        return 0

    # receive

    def receive(self, conn: Connection, segment: Segment) -> None:
        """An acceptable segment, before its data is taken. CWR goes first: it answers earlier marks."""
        rcv = conn.receiver
        if segment.flags & CWR:
            self.echo = False
            if segment.payload:
                rcv.ack_now = True  # the peer's window may be down to a segment
        if segment.ecn == CE and segment.payload:
            self.received_ce += 1
            self.echo = True
            rcv.quick = max(rcv.quick, QUICK)

    def receive_duplicate(self, conn: Connection, segment: Segment, seq: int) -> None:
        """Data at `seq` that all had come before: its mark says nothing (RFC 3168 6.1.5)."""

    def receive_feedback(self, conn: Connection, segment: Segment, now: float) -> None:
        """An acceptable ACK, before it is looked at for what it acknowledges: where it asks for a smaller window it may
        not let it grow first (RFC 3168 6.1.2)."""
        if segment.flags & ECE:
            self._reduce(conn.sender, unwrap(segment.ack, conn.sender.una), now)

    def react(self, conn: Connection, segment: Segment, now: float) -> None:
        """The same ACK, afterwards: it may have ended the last reduction."""
        if segment.flags & ECE:
            self._reduce(conn.sender, conn.sender.una, now)

    def _reduce(self, snd: Sender, una: int, now: float) -> None:
        """Once for what was outstanding at the last time."""
        if una > self._reacted and snd.phase is OPEN and snd.nxt != snd.queue_start:
            recovery.enter_cwr(snd, now)
            self._reacted = snd.nxt
            self._cwr_due = True

    # send

    def mark(self, conn: Connection, segment: Segment, fresh: bool) -> None:
        """Put what is due on a segment that leaves, no SYN and no RST. `fresh`: it has data never sent before."""
        if self.echo:
            segment.flags |= ECE
        if fresh:
            segment.ecn = ECT0
            snd = conn.sender
            if self._cwr_due or (snd.phase is not OPEN and snd.recover != self._told):
                segment.flags |= CWR
                self._cwr_due = False
                self._told = snd.recover

    def sizes_changed(self, conn: Connection) -> None:
        """Segments have another size from now on."""

    # the handshake

    def syn_again(self, conn: Connection, segment: Segment) -> None:
        """The peer's SYN or SYN-ACK came once more."""

    def established(self, conn: Connection, segment: Segment, third: bool) -> None:
        """`segment` completes the handshake; `third`: it acknowledges our SYN-ACK."""
