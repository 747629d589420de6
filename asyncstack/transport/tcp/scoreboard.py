"""What was sent and not acknowledged: where it is believed to be (RFC 6675 3, 4).

One `Transmission` stands for one (super-)segment, in the order of the stream. It is in the network for the first time
(FLYING) or once more (RESENT), with the peer out of order (SACKED), or presumed dropped and not sent again yet (LOST).
So

    pipe = outstanding - absent        absent: bytes SACKED or LOST

is RFC 6675's SetPipe(), and equals the flight size as long as nothing is missing. A record is cut where a SACK block
or a retransmission ends inside; cuts fall on segment boundaries, so a peer can not crumble the board.

Each record notes when it left, by which `rack` finds what is lost, and what had been delivered and lost then, for
samples of the delivery rate (see `delivery_rate`) and of the loss rate.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable
from copy import copy
from operator import attrgetter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncstack.transport.tcp.rack import Rack

FLYING: Final = 0
LOST: Final = 1
SACKED: Final = 2
RESENT: Final = 3

Lost = Callable[[int, int, int, int, bool], None]  # `CongestionControl.on_lost`

_start = attrgetter("start")


class Transmission:
    """One (super-)segment sent: the stream positions [start, end) with SYN and FIN counted, cut by `unit` bytes."""

    __slots__ = (
        "app_limited",
        "delivered",
        "delivered_at",
        "end",
        "first_sent",
        "given_up",
        "in_flight",
        "sent_at",
        "start",
        "state",
        "times",
        "unit",
    )

    def __init__(
        self, board: Scoreboard, start: int, end: int, unit: int, sent_at: float, in_flight: int
    ) -> None:
        self.start = start
        self.end = end
        self.unit = unit
        self.sent_at = sent_at
        self.state = FLYING
        self.times = 1  # transmissions so far
        self.in_flight = in_flight  # bytes in the network when this had left, itself included
        # what the board had when this left
        self.first_sent = board.first_sent
        self.delivered = delivered = board.delivered
        self.delivered_at = board.delivered_at
        self.app_limited = delivered <= board.app_limited_until
        self.given_up = board.given_up

    def split(self, position: int) -> Transmission:
        """Cut at `position`: this record keeps the front, the result is the rest."""
        rest = copy(self)
        rest.start = position
        self.in_flight -= self.end - position
        self.end = position
        return rest


class Scoreboard:
    """The records between SND.UNA and SND.NXT, and their sums in bytes."""

    __slots__ = (
        "_next_lost",
        "_reported",
        "absent",
        "app_limited_until",
        "delivered",
        "delivered_at",
        "first_sent",
        "given_up",
        "highest_sacked",
        "judged",
        "lost",
        "newest",
        "on_lost",
        "records",
        "resent",
        "resent_bytes",
        "sacked",
        "sacked_segments",
        "unlooked",
    )

    def __init__(self) -> None:
        self.records: list[Transmission] = []
        self.absent = 0
        self.sacked = 0
        self.sacked_segments = 0  # as many as the peer may have counted
        self.lost = 0
        self.given_up = 0  # bytes found lost, on the whole connection
        self.highest_sacked = 0  # position behind the last byte SACKED
        self._reported: tuple[tuple[int, int], ...] = ()  # the blocks of the last ACK
        self._next_lost = 0  # no record that starts below it is LOST
        self.judged = 0  # no record that starts below it is FLYING
        # retransmissions in order: when, what [start, end); made by the first, as an empty deque has 760 bytes
        self.resent: deque[tuple[float, int, int]] | None = None
        self.resent_bytes = 0  # RESENT
        self.delivered = 0  # bytes, on the whole connection
        self.delivered_at = 0.0  # when the last of these were
        self.first_sent = 0.0  # when the present sample of the delivery rate began to be sent
        self.newest: Transmission | None = None  # of what the present ACK delivers, the one sent last
        # a sample of the rate that nobody has asked for: of what, delivered by then, when
        self.unlooked: tuple[Transmission, int, float] | None = None
        self.app_limited_until = 0  # until so much is delivered, samples of the rate are of the application's
        self.on_lost: Lost | None = None  # hears of each record given up

    # sending

    def sent(self, start: int, end: int, unit: int, now: float, in_flight: int) -> Transmission:
        """New data has left; `in_flight` bytes are in the network with it."""
        records = self.records
        if not records:
            self.first_sent = self.delivered_at = now
        record = Transmission(self, start, end, unit, now, in_flight)
        records.append(record)
        return record

    def sent_again(
        self, record: Transmission, size: int, unit: int, now: float, snd_una: int, snd_nxt: int
    ) -> None:
        """The first `size` bytes of `record`, which is not SACKED, have left once more."""
        if size < record.end - record.start:
            self.cut(record, record.start + size)
        if record.state == LOST:
            self.lost -= size
            self.absent -= size
        elif record.state == RESENT:
            self.resent_bytes -= size
        record.state = RESENT
        self.resent_bytes += size
        record.times += 1
        record.unit = unit
        record.sent_at = now
        record.first_sent = self.first_sent
        record.delivered = self.delivered
        record.delivered_at = self.delivered_at
        record.app_limited = self.delivered <= self.app_limited_until
        record.in_flight = snd_nxt - snd_una - self.absent
        record.given_up = self.given_up
        self.oldest_resent()  # keeps the queue short where nobody looks for losses by time
        if self.resent is None:
            self.resent = deque()
        self.resent.append((now, record.start, record.end))

    def cut(self, record: Transmission, position: int) -> Transmission:
        """Cut `record` in two at `position`; returns the second."""
        rest = record.split(position)
        self.records.insert(bisect_left(self.records, record.start, key=_start) + 1, rest)
        return rest

    def next_lost(self) -> Transmission | None:
        """The first record that is LOST (RFC 6675 NextSeg rule 1)."""
        if not self.lost:
            return None
        records = self.records
        at = max(bisect_right(records, self._next_lost, key=_start) - 1, 0)
        while records[at].state != LOST:
            at += 1
        self._next_lost = records[at].start
        return records[at]

    def gather(self, record: Transmission, most: int) -> int:
        """Join to `record`, which is LOST, what is LOST right behind it, up to `most` bytes in all; returns how many it
        then has. So what was written in small pieces is sent again in full segments."""
        records = self.records
        first = stop = bisect_left(records, record.start, key=_start) + 1
        most += record.start
        while stop < len(records) and records[stop].state == LOST and records[stop].end <= most:
            stop += 1
        record.end, record.in_flight = records[stop - 1].end, records[stop - 1].in_flight
        del records[first:stop]
        return record.end - record.start

    # acknowledgements

    def acknowledge(self, una: int) -> Transmission:
        """Everything before `una` has arrived: drop it. Returns the oldest record that this touched.

        That record tells the round-trip time if it was sent only once.
        """
        records = self.records
        first = records[0]
        if first.end == una and first.state == FLYING:  # one flying segment, whole: mostly it is that
            self.delivered += una - first.start
            self.newest = first
            del records[0]
            if not records:
                self._reported = ()
            return first
        newest, newest_at = None, -1.0
        gone = 0
        for record in records:
            end = record.end
            if end <= una:
                gone += 1
            else:
                end = una
                if record.start >= una:
                    break
            size = end - record.start
            if record.state == FLYING:
                self.delivered += size
                if record.sent_at >= newest_at:
                    newest, newest_at = record, record.sent_at
            else:
                if record.state != SACKED and record.sent_at >= newest_at:
                    newest, newest_at = record, record.sent_at
                self._settle(record, size)
            if end == una:
                record.start = una  # the rest of a record that is acknowledged in part
                break
        self.newest = newest
        if gone:
            del records[:gone]
            if not records:
                self._reported = ()
        return first

    def _settle(self, record: Transmission, size: int) -> None:
        """The first `size` bytes of `record`, not FLYING, are acknowledged."""
        if record.state == SACKED:
            self.absent -= size
            self.sacked -= size
            self.sacked_segments = (
                max(self.sacked_segments - -(-size // record.unit), 0) if self.sacked else 0
            )
            return
        self.delivered += size
        if record.state == LOST:  # yet it arrived
            self.absent -= size
            self.lost -= size
        else:
            self.resent_bytes -= size

    def receive_sack(
        self, blocks: list[tuple[int, int]], una: int, fin_at: int, rack: Rack, now: float
    ) -> int:
        """Mark what the blocks (positions) cover, and tell `rack`. Returns the bytes that are newly SACKED."""
        before = self.sacked
        fresh = tuple(block for block in blocks if una <= block[0] < block[1] <= self._end())
        for left, right in fresh:
            for known_left, known_right in self._reported:
                # what was walked for the last ACK need not be again; one unit back, as cuts are rounded
                if known_left <= left and left < known_right:
                    left = max(left, min(known_right, right) - self.records[-1].unit)
            if left < right:
                self._mark_sacked(left, right, fin_at, rack, now)
        self._reported = fresh
        return self.sacked - before

    def _end(self) -> int:
        return self.records[-1].end if self.records else 0

    def _mark_sacked(self, left: int, right: int, fin_at: int, rack: Rack, now: float) -> None:
        records = self.records
        at = max(bisect_right(records, left, key=_start) - 1, 0)
        while at < len(records) and records[at].start < right:
            record = records[at]
            at += 1
            if record.state == SACKED:
                continue
            if record.start < left:
                into = -(-(left - record.start) // record.unit) * record.unit
                if into < record.end - record.start:
                    records.insert(at, record.split(record.start + into))
                continue
            # a FIN arrives with the byte before it, which not every peer shows in its SACKs
            if record.end > right and right != fin_at:
                into = (right - record.start) // record.unit * record.unit
                if not into:
                    return
                records.insert(at, record.split(record.start + into))
            rack.delivered(record, False, now)
            self._sack(record)

    def _sack(self, record: Transmission) -> None:
        size = record.end - record.start
        if record.state == LOST:
            self.lost -= size
        else:
            self.absent += size
            if record.state == RESENT:
                self.resent_bytes -= size
        self.sacked += size
        self.sacked_segments += -(-size // record.unit)
        self.delivered += size
        record.state = SACKED
        if record.end > self.highest_sacked:
            self.highest_sacked = record.end
        if self.newest is None or record.sent_at >= self.newest.sent_at:
            self.newest = record

    def survey(self, una: int, rack: Rack, now: float) -> None:
        """Tell `rack` of everything before `una` that arrives only now; `acknowledge` follows."""
        for record in self.records:
            if record.start >= una:
                return
            if record.state != SACKED:
                rack.delivered(record, True, now)

    # loss

    def first_unjudged(self) -> int:
        """Index of the first record that `Rack` has not judged."""
        return bisect_left(self.records, self.judged, key=_start)

    def oldest_resent(self) -> list[Transmission]:
        """What still flies of the retransmission that left first, as records; empty: none does."""
        resent, records = self.resent, self.records
        while resent:
            sent_at, start, end = resent[0]
            at = max(bisect_right(records, start, key=_start) - 1, 0)
            pieces = []
            while at < len(records) and records[at].start < end:
                record = records[at]
                if record.state == RESENT and record.sent_at == sent_at and record.end > start:
                    pieces.append(record)
                at += 1
            if pieces:
                return pieces
            resent.popleft()
        return []

    def mark_lost(self, record: Transmission) -> None:
        """Give `record`, FLYING or RESENT, up."""
        size = record.end - record.start
        if record.state == RESENT:
            self.resent_bytes -= size
        record.state = LOST
        self.lost += size
        self.given_up += size
        self.absent += size
        if record.start < self._next_lost:
            self._next_lost = record.start
        if self.on_lost is not None:
            lost = self.given_up - record.given_up
            self.on_lost(size, record.in_flight, lost, self.delivered, record.app_limited)

    def mark_all_lost(self, latest: float) -> None:
        """Give up what is not SACKED and left at `latest` or before, and the first record in any case.

        A peer that reneged (its cumulative ACK stops at data it had SACKED, RFC 2018 8) loses what it had SACKED.
        """
        records = self.records
        if records and records[0].state == SACKED:
            for record in records:
                if record.state == SACKED:
                    record.state = FLYING
            self.absent -= self.sacked
            self.sacked = self.sacked_segments = self.highest_sacked = 0
            self._reported = ()
            self.judged = 0
        for record in records:
            if record.state in (FLYING, RESENT) and (record is records[0] or record.sent_at <= latest):
                self.mark_lost(record)

    def unmark_lost(self) -> None:
        """What was given up is in the network after all."""
        resent = list(self.resent or ())
        for record in self.records:
            if record.state == LOST:
                size = record.end - record.start
                self.lost -= size
                self.absent -= size
                if record.times == 1:
                    record.state = FLYING
                else:
                    record.state = RESENT
                    self.resent_bytes += size
                    resent.append((record.sent_at, record.start, record.end))
        self.resent = deque(sorted(resent))
        self.judged = 0
