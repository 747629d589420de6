"""Accurate ECN (RFC 9768): the receiver counts marks, and tells the counts on every segment. Sans-I/O.

    r.cep            packets that came with CE; its lowest three bits are the ACE field (AE CWR ECE), from 5 on
    r.e0b ceb e1b    payload bytes that came with ECT(0), CE, ECT(1); 24 bits each in the AccECN option, from 1, 0, 1 on

- the codepoint of a SYN is told on the SYN-ACK, that of a SYN-ACK on the ACK that ends the handshake (table 3)
- a codepoint that the path can not have made of what was sent, or an ACE of 0 where none can be, means mangling: we
  go on telling, but send Not-ECT (3.2.2.3, 3.2.2.4)
- the ACE field wraps: an ACK for more than 7 packets is taken for the most that it can mean, unless the option says
  less (3.2.2.5.2), or ACKs are thinned out as a rule, where that would be far off (Linux)
- an ACK leaves at once where the codepoint of data changes, and for the second mark (3.2.2.5.1)
- the option is on every segment once the peer has shown that it knows it, as on Linux; where SACK blocks take its
  room, it shrinks to what has changed or takes the place of the third block
- the option goes when, at the start, data with it never arrives or what it acknowledged comes again (3.2.3.2)

As on Linux everything but SYNs is ECN-capable then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp import recovery
from asyncstack.transport.tcp.ecn import CE, ECT0, ECT1, NOT_ECT, Ecn
from asyncstack.transport.tcp.sequence import HALF, MASK
from asyncstack.wire.tcp import ACK, AE, CWR, ECE, MAX_OPTIONS, Segment

if TYPE_CHECKING:
    from asyncstack.transport.tcp.connection import Connection
    from asyncstack.transport.tcp.sender import Sender

ACE: Final = AE | CWR | ECE
FIRST: Final = 5  # of the ACE field
FLAGS: Final = tuple((AE if n & 4 else 0) | (CWR if n & 2 else 0) | (ECE if n & 1 else 0) for n in range(8))
REFLECTED: Final = (
    0b010,
    0b011,
    0b100,
    0b110,
)  # the ACE that tells of a codepoint in the handshake (table 3)
CODEPOINTS: Final = {ace: codepoint for codepoint, ace in enumerate(REFLECTED)}
WRAP: Final = 1 << 24
LARGEST_STEP: Final = 6  # marks, at most, that one ACK may tell of (3.2.2.5.1)
THINNED: Final = 4.0  # packets per ACK, on average; Linux: ACK_COMP_THRESH
OPTION: Final = 12  # bytes with padding
MAX_BLIND: Final = 10  # segments (RFC 6928): who has sent more has had an ACK of ours
# where a counter stands in the option that we send, order 1: how many fields tell of that codepoint
FIELDS: Final = {NOT_ECT: 0, ECT1: 1, CE: 2, ECT0: 3}


def ace_of(flags: int) -> int:
    """The ACE field, 0 to 7."""
    return (4 if flags & AE else 0) | (2 if flags & CWR else 0) | (1 if flags & ECE else 0)


def possible(sent: int, received: int) -> bool:
    """Whether a path may turn codepoint `sent` into `received`."""
    return sent == received or (sent != NOT_ECT and received == CE)


class AccurateEcn(Ecn):
    """Both directions of one connection, RFC 9768. Counters start at 0; the wire's offsets are added on the way out."""

    __slots__ = (
        "_ace",
        "_changed",
        "_checks",
        "_deaf",
        "_heard",
        "_last",
        "_marked",
        "_option",
        "_packets_per_ack",
        "_pending",
        "_progress",
        "_reflect",
        "_syn_codepoint",
        "_third",
        "_told_twice",
        "delivered_bytes",
        "delivered_ce",
        "distrusted",
        "mute",
        "received_bytes",
        "seen",
        "wanted",
    )

    accurate = True

    def __init__(self, config: TcpConfig, codepoint: int) -> None:
        """`codepoint`: of the peer's SYN or SYN-ACK."""
        super().__init__()
        self.wanted = config.accecn_option
        self._checks = config.ecn_fallback
        # what came
        self.received_bytes = [0, 0, 0, 0]  # payload, by codepoint
        self._pending = 0  # marks since the last segment sent
        self._last = NOT_ECT  # codepoint of the last data
        self._changed = 0  # fields that the next option needs at least
        # what the peer says that it got
        self.delivered_ce = 0  # packets
        self.delivered_bytes = [0, 0, 0, 0]
        self._packets_per_ack = 0.0
        self._ace = -1  # of the ACK being looked at; -1: it says nothing
        self._option: tuple[int, ...] | None = None
        self._progress = False
        self._marked = False
        self._heard = False  # a segment after the handshake
        # the handshake
        self._syn_codepoint = codepoint
        self._reflect = False  # the next segment without data tells it
        self._third = (-1, 0)  # ACE and timestamp echo of the ACK that ended the handshake
        # what does not get through
        self.distrusted = False  # marks may be mangled: send Not-ECT
        self.seen = False  # the peer knows the option
        self.mute = False  # our option does not get through
        self._deaf = False  # the peer's does not
        self._told_twice = -1  # start of data that came twice and was answered with an option

    @property
    def option_room(self) -> int:
        """Bytes of options that each segment leaves free for us."""
        return OPTION if self.wanted else 0

    # the handshake

    def mark_syn_ack(self, conn: Connection, segment: Segment) -> None:
        """Put flags and option on our SYN-ACK."""
        if conn.syn_times < 2:
            segment.flags |= FLAGS[REFLECTED[self._syn_codepoint]]
        if not conn.syn_times and self.wanted:
            segment.accecn = (1, 1, 0, 1)

    def answered(self, segment: Segment) -> None:
        """`segment` is the SYN-ACK that agrees."""
        self._reflect = True
        self._check_codepoint(ace_of(segment.flags))
        self._see_option(segment.accecn)
        if segment.ecn == CE:
            self.received_ce += 1

    def syn_again(self, conn: Connection, segment: Segment) -> None:
        """The peer's SYN or SYN-ACK came once more: it has not seen our answer, which tells the new codepoint."""
        self._syn_codepoint = segment.ecn
        if conn.synchronized:
            self._reflect = conn.receiver.ack_now and not conn.passive
        elif not segment.flags & ACE:
            # RFC 9768 3.1.4.1: the peer has given up on ECN, but not this one of its SYNs
            self.distrusted = True

    def established(self, conn: Connection, segment: Segment, third: bool) -> None:
        """`segment` completes the handshake; `third`: it acknowledges our SYN-ACK."""
        self.sizes_changed(conn)
        conn.sender.accecn = self
        if not third:
            return
        ace = ace_of(segment.flags)
        if not ace and conn.syn_times >= 2:
            # what it answers is the SYN-ACK without flags
            conn.ecn, conn.usual, conn.sender.accecn = None, ACK, None
            return
        self._third = (ace, segment.ts_ecr)
        self._see_option(segment.accecn)
        if not ace:
            self.distrusted = True
        elif not segment.payload and not segment.sack and self._check_codepoint(ace) == CE:
            self.delivered_ce += 1

    def _check_codepoint(self, ace: int) -> int:
        """The codepoint of our SYN or SYN-ACK, which was Not-ECT, as it arrived; -1: not to be told."""
        codepoint = CODEPOINTS.get(ace, -1)
        if codepoint >= 0 and self._checks and not possible(NOT_ECT, codepoint):
            self.distrusted = True
            return -1
        return codepoint

    def _see_option(self, option: tuple[int, ...] | None) -> None:
        if option is None or self.seen:
            return
        self.seen = True
        if 0 in option[1::2]:  # e0b and e1b start at 1: somebody has zeroed them (3.2.3.2.4)
            self._deaf = True

    # receive

    def receive(self, conn: Connection, segment: Segment) -> None:
        """An acceptable segment: count it."""
        self._heard = True
        self._count(conn, segment)

    def receive_duplicate(self, conn: Connection, segment: Segment, seq: int) -> None:
        """Data at `seq` that all had come before. It counts; and if the peer sends it again and again, the ACKs with
        our option may not get through."""
        self._count(conn, segment)
        rcv = conn.receiver
        if self._told_twice == seq and rcv.nxt - rcv.start <= MAX_BLIND * rcv.full:
            self.mute = True
        self._told_twice = seq if self.seen and self.wanted else -1

    def _count(self, conn: Connection, segment: Segment) -> None:
        codepoint, size = segment.ecn, len(segment.payload)
        rcv = conn.receiver
        if codepoint == CE:
            pieces = -(-size // segment.gso_size) if segment.gso_size else 1
            self.received_ce += pieces
            self._pending += pieces
            if self._pending >= (2 if size else LARGEST_STEP):
                rcv.ack_now = True
            self.sizes_changed(conn)
        if size:
            self.received_bytes[codepoint] += size
            self._changed = max(self._changed, FIELDS[codepoint])
            if codepoint != self._last:
                self._last = codepoint
                rcv.ack_now = True

    def sizes_changed(self, conn: Connection) -> None:
        """CWR leaves a super-segment on its first piece only (`link.segmentation`, and whatever cuts below the kernel).
        While it is a bit of our count, segments leave one by one."""
        conn.sender.set_largest(0 if self.received_ce + FIRST & 2 else conn.max_payload)

    # feedback

    def receive_feedback(self, conn: Connection, segment: Segment, now: float) -> None:
        """An acceptable ACK, before it is looked at for what it acknowledges."""
        rcv, snd = conn.receiver, conn.sender
        ace = ace_of(segment.flags)
        self._progress = bool(rcv.timestamps and 0 < (segment.ts_val - rcv.ts_recent) & MASK < HALF)
        self._ace, self._option = ace, segment.accecn
        if self._third == (ace, segment.ts_ecr) and snd.una == snd.queue_start and not segment.sack:
            self._ace = -1  # the end of the handshake, or the same again
        elif not self._heard and not ace:
            self.distrusted = True  # RFC 9768 3.2.2.4
        if segment.accecn is not None:
            self._see_option(segment.accecn)

    def count(self, snd: Sender, delivered: int) -> None:
        """The same ACK, once it is known that it delivers `delivered` bytes: what the controller is to hear."""
        if self._ace < 0 or not (delivered or self._progress):
            return
        ace, self._ace = self._ace, -1
        packets = -(-delivered // snd.mss)
        if packets:
            self._packets_per_ack += (packets - self._packets_per_ack) / (
                64.0 if self._packets_per_ack else 1.0
            )
        marked_bytes = self._read_option()
        marks = (ace - FIRST - self.delivered_ce) & 7
        if packets > 7:
            most = packets - ((packets - marks) & 7)
            marks = self._likely(marks, most, packets, delivered, marked_bytes, snd.mss)
        self.delivered_ce += marks
        if marks and not self.distrusted:
            snd.sample.ce += (
                marked_bytes if marked_bytes > 0 else min(marks * snd.mss, max(delivered, snd.mss))
            )
            self._marked = True

    def _likely(self, least: int, most: int, packets: int, delivered: int, marked: int, mss: int) -> int:
        """How many marks an ACK for more than 7 packets tells of: `least` or 8, 16 ... more, up to `most` (3.2.2.5.2).
        `marked` is what the option adds, -1 without one."""
        if marked < 0:
            return least if self._packets_per_ack > THINNED else most
        if not marked:
            return least
        if packets >= 16:
            share = packets if delivered <= marked else -(-marked * packets // delivered)
            return min(most, least + (share & ~7))
        if marked > least * mss:
            return most
        return least if marked < most * mss >> 1 else most

    def _read_option(self) -> int:
        """Take over the counters of the ACK's option. Returns the bytes that are newly marked, -1 without an option."""
        option, self._option = self._option, None
        if option is None or self._deaf or len(option) < 2:
            return -1
        order, *counters = option
        marked = -1
        for codepoint, counter in zip(
            (ECT1, CE, ECT0) if order else (ECT0, CE, ECT1), counters, strict=False
        ):
            known = self.delivered_bytes[codepoint]
            step = (counter - (codepoint != CE) - known) % WRAP
            if step < WRAP >> 1:  # else an older ACK that was overtaken
                self.delivered_bytes[codepoint] = known + step
                if codepoint == CE:
                    marked = step
        return marked

    def react(self, conn: Connection, segment: Segment, now: float) -> None:
        """The same ACK, afterwards: reduce the window once per window of data."""
        self.count(conn.sender, 0)
        if self._marked:
            self._marked = False
            recovery.enter_cwr(conn.sender, now)

    # send

    def mark(self, conn: Connection, segment: Segment, fresh: bool) -> None:
        """Put codepoint, count and option on a segment that leaves."""
        if self._reflect and not segment.payload:
            segment.flags |= FLAGS[REFLECTED[self._syn_codepoint]]
        else:
            segment.flags |= FLAGS[self.received_ce + FIRST & 7]
            self._pending = 0
        self._reflect = False
        if not self.distrusted:
            segment.ecn = ECT0
        if self.wanted and self.seen and not self.mute:
            self._put_option(conn, segment)

    def _put_option(self, conn: Connection, segment: Segment) -> None:
        snd = conn.sender
        if segment.payload and snd.timeouts and snd.una == snd.queue_start and not snd.board.sacked:
            self.mute = True  # no data with the option has arrived yet (3.2.3.2.2)
            return
        room = MAX_OPTIONS - (12 if segment.ts_val >= 0 else 0)
        sack = segment.sack
        fields = self._fitting(room, len(sack))
        if fields < 0 and self._changed and len(sack) > 2:
            fields = self._fitting(room, len(sack) - 1)
            if fields >= 0:
                segment.sack = sack[:-1]
        if fields < 0:
            return
        received = self.received_bytes
        counters = ((received[ECT1] + 1) % WRAP, received[CE] % WRAP, (received[ECT0] + 1) % WRAP)
        segment.accecn = (1, *counters[:fields])
        self._changed = 0

    def _fitting(self, room: int, blocks: int) -> int:
        """Fields of an option beside SACK blocks in `room` bytes; -1 if those that are needed do not fit."""
        left = room - (4 + 8 * blocks if blocks else 0)
        for fields in (3, 2, 1):
            if fields < self._changed:
                break
            if -(-(2 + 3 * fields) // 4) * 4 <= left:
                return fields
        return -1
