"""RACK: loss detection by time (RFC 8985).

What was sent before something that has arrived, and has not arrived itself within the reordering window after that, is
lost. `Rack` remembers the transmission sent last of all that have arrived (6.2 step 2) and how wide the window is.

The window (6.2 steps 3, 4), as Linux has it:
- 0 while no reordering was ever seen, if recovery goes on or DupThresh segments are SACKed: then this does what the
  counting of duplicates did (RFC 6675), and finds lost retransmissions as well
- else a quarter of the least round trip, times a factor that grows by one in each round trip in which a DSACK tells of
  a needless retransmission, and that is forgotten after 16 recoveries without one; never more than SRTT

Cost: what was sent once is ordered by time as by position, so a position up to which all was judged is enough; what was
sent again stands in a queue by time (`Scoreboard.resent`). An ACK looks at what it newly judges, not at the board.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp.scoreboard import FLYING, RESENT, Scoreboard, Transmission

if TYPE_CHECKING:
    from asyncstack.transport.tcp.rtt import RttEstimator

PERSIST_RECOVERIES: Final = 16  # RFC 8985 6.2 step 4
MAX_MULTIPLIER: Final = 255
MAX_REORDERING: Final = 300  # segments; Linux: tcp_max_reordering
ROUNDING: Final = 1e-6  # seconds: sums of floats are equal if they differ by no more


class Rack:
    """What the ACKs have told about times and order. Times in seconds, positions unwrapped."""

    __slots__ = (
        "again",
        "dup_thresh",
        "echo",
        "end",
        "least_rtt",
        "lowest",
        "multiplier",
        "original",
        "persist",
        "recover",
        "reordering",
        "reordering_seen",
        "repeated",
        "round_end",
        "rtt",
        "sent_at",
    )

    def __init__(self, reordering: int) -> None:
        self.rtt = 0.0  # RACK.rtt
        self.sent_at = -1.0  # RACK.xmit_ts
        self.end = 0  # RACK.end_seq
        self.again = False  # that was a retransmission
        self.multiplier = 1  # RACK.reo_wnd_mult
        self.persist = 0  # RACK.reo_wnd_persist, recoveries
        self.round_end = -1  # RACK.dsack_round: SND.NXT at the last growth of the window
        self.dup_thresh = reordering  # segments
        self.reordering = reordering  # segments, the most seen
        self.reordering_seen = 0  # how often
        # of the present ACK
        self.least_rtt = 0.0
        # when the segment that its timestamp echoes left, whole milliseconds; below 0: unknown
        self.echo = -1
        self.recover = 0
        self.original = False  # it delivers something that was sent once, before `recover`
        self.repeated = False  # and something that was sent again
        self.lowest = -1  # position of the first original it delivers, below 0: none

    def begin(self, least_rtt: float, echo: int, recover: int) -> None:
        """An ACK is about to be looked at."""
        self.least_rtt = least_rtt
        self.echo = echo
        self.recover = recover
        self.original = self.repeated = False
        self.lowest = -1

    def delivered(self, record: Transmission, in_order: bool, now: float) -> None:
        """RFC 8985 6.2 steps 1 to 3: `record` is newly known to have arrived; `in_order`: acknowledged, not SACKED.

        Only an ACK in order echoes the timestamp of what it answers (RFC 7323 4.3).
        """
        rtt = now - record.sent_at
        if record.times > 1:
            self.repeated = True
            if rtt < self.least_rtt - ROUNDING:
                return  # it answers an earlier transmission
            if in_order and 0 <= self.echo < int(record.sent_at * 1000.0):
                return
        else:
            if record.end <= self.recover:
                self.original = True
            if self.lowest < 0 or record.start < self.lowest:
                self.lowest = record.start
        self.rtt = rtt
        if record.sent_at > self.sent_at or (record.sent_at == self.sent_at and record.end > self.end):
            self.sent_at = record.sent_at
            self.end = record.end
            self.again = record.times > 1

    def look_for_reordering(self, before: int, highest: int, mss: int) -> None:
        """RFC 8985 6.2 step 3: did an original arrive below `before`, the highest position SACKed until this ACK?
        `highest`: the same with it."""
        if 0 <= self.lowest < before:
            self.reordering_seen += 1
            segments = -(-(highest - self.lowest) // mss)
            if segments > self.reordering:
                self.reordering = min(segments, MAX_REORDERING)

    def needless(self, una: int, nxt: int) -> None:
        """A DSACK came: the window was too narrow (6.2 step 4). Once in a round trip, and only where reordering has
        been seen: nothing else could have been the cause."""
        if self.reordering_seen and una >= self.round_end:
            self.round_end = nxt
            self.multiplier = min(self.multiplier + 1, MAX_MULTIPLIER)
            self.persist = PERSIST_RECOVERIES

    def recovered(self) -> None:
        """A recovery has ended, and its retransmissions were needed."""
        if self.persist:
            self.persist -= 1
            if not self.persist:
                self.multiplier = 1

    def window(self, rtt: RttEstimator, sacked_segments: int, recovering: bool) -> float:
        """RACK.reo_wnd, seconds."""
        if not self.reordering_seen and (recovering or sacked_segments >= self.dup_thresh):
            return 0.0
        return min(rtt.min_rtt / 4 * self.multiplier, rtt.srtt)

    def find_lost(self, board: Scoreboard, window: float, now: float) -> float:
        """Mark what is LOST by now (6.2 step 5). Returns the seconds after which to look again; 0.0: no need to."""
        if self.sent_at < 0.0 or not board.records:
            return 0.0
        latest = now - self.rtt - window + ROUNDING  # what was sent by then should have arrived
        waiting = self._judge_originals(board, latest)
        waiting = self._judge_resent(board, latest) or waiting
        return max(self.sent_at - latest, ROUNDING) if waiting else 0.0

    def _before(self, record: Transmission) -> bool:
        """RACK_sent_after: whether `record` left before the last of what has arrived. At one time, only originals and
        only retransmissions are known to have left in the order of the stream."""
        if record.sent_at != self.sent_at:
            return record.sent_at < self.sent_at
        return record.end < self.end and (record.times > 1) is self.again

    def _judge_originals(self, board: Scoreboard, latest: float) -> bool:
        records = board.records
        at, waiting = board.first_unjudged(), False
        while at < len(records):
            record = records[at]
            if record.state == FLYING:
                if not self._before(record):
                    break
                if record.sent_at > latest:
                    waiting = True
                    break
                board.mark_lost(record)
            at += 1
        board.judged = records[at].start if at < len(records) else records[-1].end
        return waiting

    def _judge_resent(self, board: Scoreboard, latest: float) -> bool:
        while pieces := board.oldest_resent():
            for record in pieces:
                if not self._before(record):
                    return False
                if record.sent_at > latest:
                    return True
                if record.state == RESENT:
                    board.mark_lost(record)
        return False
