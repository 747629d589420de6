"""What was sent and not acknowledged: where it is believed to be (RFC 6675 3, 4).

One `Transmission` stands for one (super-)segment, in the order of the stream. It is in the network (FLYING), with
the peer out of order (SACKED), or presumed dropped and not sent again yet (LOST). So

    pipe = outstanding - absent        absent: bytes SACKED or LOST

is RFC 6675's SetPipe(), and equals the flight size as long as nothing is missing. A record is cut where a SACK block
or a retransmission ends inside; cuts fall on segment boundaries, so a peer can not crumble the board.

What is lost (RFC 6675 IsLost, made for ranges): everything unSACKed below the highest position above which more than
two segments' worth of bytes, or three separate ranges, are SACKed. A retransmission is lost when that position has
passed what was next to send at the time: everything SACKed above was sent later.

Each record also notes what had been delivered and lost when it left, for samples of the delivery rate (see
`delivery_rate`) and of the loss rate, and when it left, which loss detection by time (RFC 8985) will use.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from operator import attrgetter
from typing import Final

FLYING: Final = 0
LOST: Final = 1
SACKED: Final = 2

DUP_THRESH: Final = 3  # RFC 6675 2
INFINITE: Final = 1 << 62

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
        "mark",
        "sent_at",
        "start",
        "state",
        "times",
        "unit",
    )

    def __init__(
        self,
        start: int,
        end: int,
        unit: int,
        sent_at: float,
        first_sent: float,
        delivered: int,
        delivered_at: float,
        app_limited: bool,
        in_flight: int,
        given_up: int,
    ) -> None:
        self.start = start
        self.end = end
        self.unit = unit
        self.sent_at = sent_at
        self.state = FLYING
        self.times = 1  # transmissions so far
        self.mark = 0  # SND.NXT when it was sent again
        self.first_sent = (
            first_sent  # when the sample of the delivery rate that this belongs to began to be sent
        )
        self.delivered = delivered  # bytes, on the whole connection, when this left
        self.delivered_at = delivered_at  # when the last of these were
        self.app_limited = app_limited
        self.in_flight = in_flight  # bytes in the network when this had left, itself included
        self.given_up = given_up  # bytes found lost, on the whole connection, when this left

    def split(self, position: int) -> Transmission:
        """Cut at `position`: this record keeps the front, the result is the rest."""
        rest = Transmission(
            position,
            self.end,
            self.unit,
            self.sent_at,
            self.first_sent,
            self.delivered,
            self.delivered_at,
            self.app_limited,
            self.in_flight,
            self.given_up,
        )
        self.in_flight -= self.end - position
        rest.state, rest.times, rest.mark = self.state, self.times, self.mark
        self.end = position
        return rest


class Scoreboard:
    """The records between SND.UNA and SND.NXT, and their sums in bytes."""

    __slots__ = (
        "_judged",
        "_lowest_mark",
        "_next_lost",
        "_reported",
        "absent",
        "app_limited_until",
        "delivered",
        "delivered_at",
        "first_sent",
        "given_up",
        "highest_sacked",
        "lost",
        "newest",
        "on_lost",
        "records",
        "sacked",
    )

    def __init__(self) -> None:
        self.records: list[Transmission] = []
        self.absent = 0
        self.sacked = 0
        self.lost = 0
        self.given_up = 0  # bytes found lost, ever
        self.highest_sacked = 0  # position behind the last byte SACKED
        self._reported: tuple[tuple[int, int], ...] = ()  # the blocks of the last ACK
        self._judged = 0  # below it every unSACKed record was found lost once
        self._next_lost = 0  # no record that starts below it is LOST
        self._lowest_mark = INFINITE  # of the retransmissions that fly
        self.delivered = 0
        self.delivered_at = 0.0
        self.first_sent = 0.0
        self.newest: Transmission | None = None  # of what the present ACK delivers, the one sent last
        self.app_limited_until = 0  # until so much is delivered, samples of the rate are of the application's
        self.on_lost: Callable[[Transmission, int], None] | None = (
            None  # told of each record given up: (it, bytes)
        )

    # sending

    def sent(self, start: int, end: int, unit: int, now: float, in_flight: int) -> Transmission:
        """New data has left; `in_flight` bytes are in the network with it."""
        records = self.records
        if not records:
            self.first_sent = self.delivered_at = now
        delivered = self.delivered
        record = Transmission(
            start,
            end,
            unit,
            now,
            self.first_sent,
            delivered,
            self.delivered_at,
            delivered <= self.app_limited_until,
            in_flight,
            self.given_up,
        )
        records.append(record)
        return record

    def sent_again(
        self, record: Transmission, size: int, unit: int, now: float, snd_una: int, snd_nxt: int
    ) -> None:
        """The first `size` bytes of `record`, LOST or FLYING, have left once more."""
        if size < record.end - record.start:
            self.records.insert(
                bisect_left(self.records, record.start, key=_start) + 1, record.split(record.start + size)
            )
        if record.state == LOST:
            self.lost -= size
            self.absent -= size
        record.state = FLYING
        record.times += 1
        record.mark = snd_nxt
        record.unit = unit
        record.sent_at = now
        record.first_sent = self.first_sent
        record.delivered = self.delivered
        record.delivered_at = self.delivered_at
        record.app_limited = self.delivered <= self.app_limited_until
        record.in_flight = snd_nxt - snd_una - self.absent
        record.given_up = self.given_up
        if snd_nxt < self._lowest_mark:
            self._lowest_mark = snd_nxt

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
        record.end = records[stop - 1].end
        del records[first:stop]
        return record.end - record.start

    def next_doubtful(self, below: int) -> Transmission | None:
        """The first record below position `below` that flies and was sent only once (RFC 6675 NextSeg rule 3)."""
        for record in self.records:
            if record.start >= below:
                return None
            if record.state == FLYING and record.times == 1:
                return record
        return None

    # acknowledgements

    def acknowledge(self, una: int) -> Transmission:
        """Everything before `una` has arrived: drop it. Returns the oldest record that this touched.

        That record tells the round-trip time if it was sent only once.
        """
        records = self.records
        first = records[0]
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
            state = record.state
            if state == FLYING:
                self.delivered += size
                if record.sent_at >= newest_at:
                    newest, newest_at = record, record.sent_at
            else:
                self.absent -= size
                if state == SACKED:
                    self.sacked -= size
                else:  # presumed lost, yet it arrived
                    self.lost -= size
                    self.delivered += size
                    if record.sent_at >= newest_at:
                        newest, newest_at = record, record.sent_at
            if end == una:
                record.start = una  # the rest of a record that is acknowledged in part
                break
        self.newest = newest
        if gone:
            del records[:gone]
            if not records:
                self._reported = ()
        return first

    def receive_sack(self, blocks: list[tuple[int, int]], una: int) -> int:
        """Mark what the blocks (positions) cover. Returns the bytes that are newly SACKED."""
        before = self.sacked
        fresh = tuple(block for block in blocks if una <= block[0] < block[1] <= self._end())
        for left, right in fresh:
            for known_left, known_right in self._reported:
                # what was walked for the last ACK need not be again; one unit back, as cuts are rounded
                if known_left <= left and left < known_right:
                    left = max(left, min(known_right, right) - self.records[-1].unit)
            if left < right:
                self._mark_sacked(left, right)
        self._reported = fresh
        return self.sacked - before

    def _end(self) -> int:
        return self.records[-1].end if self.records else 0

    def _mark_sacked(self, left: int, right: int) -> None:
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
            if record.end > right:
                into = (right - record.start) // record.unit * record.unit
                if not into:
                    return
                records.insert(at, record.split(record.start + into))
            self._sack(record)

    def _sack(self, record: Transmission) -> None:
        size = record.end - record.start
        if record.state == LOST:
            self.lost -= size
        else:
            self.absent += size
        self.sacked += size
        self.delivered += size
        record.state = SACKED
        if record.end > self.highest_sacked:
            self.highest_sacked = record.end
        if self.newest is None or record.sent_at >= self.newest.sent_at:
            self.newest = record

    # loss

    def detect_losses(self, mss: int) -> bool:
        """Mark what the SACKs show to be LOST (RFC 6675 IsLost). Returns whether anything is, newly."""
        if not self.sacked:
            return False
        threshold = self._threshold(mss)
        before = self.lost
        records = self.records
        if threshold > self._judged:
            at = max(bisect_right(records, self._judged, key=_start) - 1, 0)
            while at < len(records) and records[at].start < threshold:
                record = records[at]
                if record.state == FLYING and record.times == 1:
                    self.mark_lost(record)
                at += 1
            self._judged = threshold
        if threshold >= self._lowest_mark:
            self._find_lost_again(threshold)
        return self.lost > before

    def _threshold(self, mss: int) -> int:
        """The position above which enough is SACKED to give up what is not below it; 0 if there is none."""
        records = self.records
        at = bisect_left(records, self.highest_sacked, key=_start)
        enough, ranges, above, in_range = (DUP_THRESH - 1) * mss, 0, 0, False
        while at > 0:
            at -= 1
            record = records[at]
            if record.state != SACKED:
                in_range = False
                continue
            above += record.end - record.start
            ranges += not in_range
            in_range = True
            if above > enough or ranges >= DUP_THRESH:
                return record.start
        return 0

    def _find_lost_again(self, threshold: int) -> None:
        lowest = INFINITE
        for record in self.records:
            if record.start >= threshold:
                break
            if record.times > 1 and record.state == FLYING:
                if record.mark <= threshold:
                    self.mark_lost(record)
                elif record.mark < lowest:
                    lowest = record.mark
        self._lowest_mark = lowest

    def mark_lost(self, record: Transmission) -> None:
        """Give `record`, which flies, up."""
        size = record.end - record.start
        record.state = LOST
        self.lost += size
        self.given_up += size
        self.absent += size
        if record.start < self._next_lost:
            self._next_lost = record.start
        if self.on_lost is not None:
            self.on_lost(record, size)

    def mark_all_lost(self) -> None:
        """Give up everything that is not SACKED: the retransmission timer expired, or the path changed.

        A peer that reneged (its cumulative ACK stops at data it had SACKED, RFC 2018 8) loses what it had SACKED.
        """
        records = self.records
        if records and records[0].state == SACKED:
            for record in records:
                if record.state == SACKED:
                    record.state = FLYING
            self.sacked = self.highest_sacked = 0
            self._reported = ()
        self.absent = self.sacked
        self.lost = 0
        for record in records:
            if record.state != SACKED:
                self.mark_lost(record)
        self._next_lost = self._judged = 0
        self._lowest_mark = INFINITE
