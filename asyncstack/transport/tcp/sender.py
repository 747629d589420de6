"""The sending half of a connection: what may leave now (RFC 9293 3.8).

- the peer's window bounds new data (3.8.6): up to `edge`, which follows the peer also when it shrinks
- the congestion window bounds what is in the network: pipe + size <= cwnd (RFC 5681 3.1, RFC 6675 5)
- silly window avoidance (3.8.6.2.1): a full segment, or all there is, or half the largest window ever offered; else
  wait for ACKs or for the persist timer
- Nagle (RFC 896, 3.7.4) unless nodelay: the part behind the last full segment waits until nothing is outstanding
- a segment takes as many whole MSS as it may (`limit`), to be cut by the device below (`unit` bytes each). A
  window that has opened only a little waits for more ACKs while enough is in flight, so that segments stay large.
- before all that, what recovery wants to send again; and nothing at all while pacing holds it (see `pacing`)

The sender decides; `Connection` makes the segment. Positions are unwrapped (see `sequence`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp import pacing, portion, recovery, spurious, tail_loss
from asyncstack.transport.tcp.congestion import AckSample, CongestionControl, Controllers, LossBased
from asyncstack.transport.tcp.delivery_rate import look, puts_off, take_sample
from asyncstack.transport.tcp.history import History
from asyncstack.transport.tcp.phase import OPEN, Phase
from asyncstack.transport.tcp.portion import CORK, NAGLE, NODELAY
from asyncstack.transport.tcp.rack import Rack
from asyncstack.transport.tcp.rtt import RttEstimator
from asyncstack.transport.tcp.scoreboard import Scoreboard, Transmission
from asyncstack.transport.tcp.send_queue import SendQueue
from asyncstack.transport.tcp.sequence import NO_FIN
from asyncstack.transport.tcp.spurious import Spurious
from asyncstack.transport.tcp.timers import NEVER, PACE, PERSIST, PROBE, RETRANSMIT, Timers

if TYPE_CHECKING:
    from asyncstack.transport.tcp.accecn import AccurateEcn
    from asyncstack.transport.tcp.black_hole import MtuSearch

TICK: Final = 0.002  # of two timestamp clocks, seconds
Traced = tuple[str, float, int, int]  # "retransmit", "recovery" or "rto"; time, position, bytes


class Sender:
    """Owns the send queue, the scoreboard, the congestion controller and the RTT estimator."""

    __slots__ = (
        "_history",
        "_rack",
        "_sample",
        "_spurious",
        "accecn",
        "alert",
        "board",
        "busy",
        "busy_since",
        "bytes_sent_again",
        "config",
        "congestion",
        "dup_acks",
        "edge",
        "fin_at",
        "held_at",
        "largest",
        "last_sent",
        "limit",
        "limited_until",
        "loss_based",
        "max_window",
        "more_end",
        "most_used",
        "mss",
        "must_resend",
        "nxt",
        "overdue",
        "pacer",
        "patience",
        "phase",
        "presumed",
        "probe_end",
        "probe_from",
        "probe_repeats",
        "probes",
        "probes_tails",
        "progress_at",
        "queue",
        "queue_start",
        "recover",
        "rtt",
        "sack_ok",
        "scale",
        "search",
        "segments_sent_again",
        "shut_at",
        "timeouts",
        "timers",
        "trace",
        "una",
        "used_until",
        "window_limited",
        "window_limited_since",
        "window_seq",
    )

    def __init__(
        self, config: TcpConfig, timers: Timers, iss: int, congestion: type[CongestionControl] | None = None
    ) -> None:
        self.config = config
        self.timers = timers
        self.una = iss  # SND.UNA
        self.nxt = iss  # SND.NXT
        self.edge = iss  # SND.UNA + SND.WND
        # SND.WL1; SND.WL2 needs no keeping, as ACKs below SND.UNA never update the window
        self.window_seq = 0
        self.max_window = 0
        self.shut_at = -1  # SND.UNA when the peer closed its window
        self.scale = 0  # Snd.Wind.Shift
        self.mss = 536  # payload bytes in a full segment, options taken off
        self.largest = 536  # payload bytes in the largest super-segment, a multiple of mss
        self.limit = 536  # the same as far as one may be large now: pacing has smaller ones
        self.queue = SendQueue(iss + 1)
        self.queue_start = iss + 1
        self.fin_at = NO_FIN
        self.board = Scoreboard()
        self.rtt = RttEstimator(config.initial_rto, config.min_rto, config.max_rto)
        self.congestion = self._make(congestion or Controllers().find(config.congestion), iss)
        self.sack_ok = False
        self.accecn: AccurateEcn | None = None  # counts the marks that ACKs tell of
        # recovery's
        self.phase: Phase = OPEN
        self.alert = False  # an ACK may mean more than that data has arrived in order
        self.probe_end = -1  # TLP.end_seq of the probe that is out (RFC 8985 7.3), below 0: none is
        self.probe_from = -1  # a probe is owed while SND.NXT stands here
        self.probe_repeats = False  # TLP.is_retrans
        self.probes_tails = False  # whether there are probes at all
        self.recover = iss  # RFC 6582, RecoveryPoint of RFC 6675
        self.dup_acks = 0
        self.presumed = 0  # bytes that duplicate ACKs without SACK say have left the network
        self.must_resend = False  # one retransmission may leave whatever the pipe (RFC 6675 5 step 4.3)
        self.search: MtuSearch | None = None  # since a black hole was found
        self.timeouts = 0  # expiries of the retransmission timer since SND.UNA moved
        self.bytes_sent_again = 0
        self.segments_sent_again = 0
        # pace
        self.held_at = iss
        self.patience = NODELAY
        self.pacer: pacing.Pacer | None = None
        self.limited_until = iss  # what is outstanding below was sent with the congestion window full
        self.more_end = -1  # behind what was last written with MSG_MORE: it is not pushed
        # the most in flight with this window's data; the next window counts from `used_until`
        self.most_used = 0
        self.used_until = iss
        self.last_sent = 0.0
        self.progress_at = 0.0  # since when the peer owes us an answer: the user timeout counts from here
        self.probes = 0
        # what has been, for TCP_INFO
        self.busy = 0.0  # seconds in which something was sent and not acknowledged, or waited to be sent
        self.busy_since = -1.0  # below 0.0: it is not
        self.window_limited = 0.0  # ... and it was the peer's window that did not let it go
        self.window_limited_since = -1.0
        # made by the first that needs them, which is nobody on many connections
        self._sample: AckSample | None = None
        self._rack: Rack | None = None
        self._spurious: Spurious | None = None
        self._history: History | None = None
        self.trace: list[Traced] | None = None  # what an observer wants to hear of
        self.overdue = False  # the persist timer expired on a small window: silly or not, use it

    @property
    def sample(self) -> AckSample:
        """What the controller hears of an ACK."""
        if self._sample is None:
            self._sample = AckSample()
        if self.board.unlooked is not None:
            look(self.board, self._sample)
        return self._sample

    @property
    def rack(self) -> Rack:
        """What ACKs have told about times and order, since there was reason to look."""
        if self._rack is None:
            self._rack = Rack(self.config.reordering)
        return self._rack

    @property
    def spurious(self) -> Spurious:
        """Whether the last reduction was a mistake."""
        if self._spurious is None:
            self._spurious = Spurious()
        return self._spurious

    @property
    def history(self) -> History:
        """The accidents."""
        if self._history is None:
            self._history = History()
        return self._history

    @property
    def pipe(self) -> int:
        """Bytes believed to be in the network (RFC 6675)."""
        return self.nxt - self.una - self.board.absent

    @property
    def unsent(self) -> int:
        """Bytes written and never sent."""
        return max(self.queue.end - max(self.nxt, self.queue_start), 0)

    @property
    def using_half(self) -> bool:
        """Whether this is slow start, and more than half of the window was in use: it may still grow (RFC 7661 4.1)."""
        congestion = self.congestion
        return congestion.cwnd < congestion.ssthresh and congestion.cwnd < 2 * self.most_used

    @property
    def waiting(self) -> bool:
        """Whether there is data, or the FIN, that was never sent."""
        return self.nxt < self.queue.end or self.nxt == self.fin_at

    def start(self, mss: int, most: int, segments: int) -> None:
        """The handshake is over. `most`: payload bytes of the largest super-segment; `segments`: initial window."""
        self.mss = mss
        self.set_largest(most)
        # RFC 6928 2: the segments are counted as if they had 1,460 bytes, but at least two leave
        window = min(segments * mss, max(2 * mss, segments * 1460)) if segments > 1 else mss
        self.congestion.start(mss, window, self.rtt.srtt)
        self.pacer = None
        self.configure(self.config, self.last_sent)

    def set_controller(self, kind: type[CongestionControl], now: float) -> None:
        """Go on with a controller of another class, from the window that the present one has come to."""
        if type(self.congestion) is not kind:
            before = self.congestion
            self.congestion = self._make(kind, before.seed)
            self.congestion.take_over(before, self.rtt.srtt, now)
            self.configure(self.config, now)

    def _make(self, kind: type[CongestionControl], seed: int) -> CongestionControl:
        control = kind()
        control.seed = seed
        control.slow_start_after_idle = self.config.slow_start_after_idle
        listens = kind.on_lost is not CongestionControl.on_lost
        self.board.on_lost = control.on_lost if listens else None
        # the controller, if it hears of ACKs as all of its kind do
        self.loss_based = (
            control if isinstance(control, LossBased) and kind.on_ack is LossBased.on_ack else None
        )
        return control

    def configure(self, config: TcpConfig, now: float) -> None:
        """Go by `config` from now on. Pacing begins or ends as controller and settings ask for."""
        self.config = config
        self.probes_tails = self.sack_ok and config.tail_loss_probe
        self.hold(False)
        self.congestion.slow_start_after_idle = config.slow_start_after_idle
        if not pacing.wanted(self):
            self.pacer = None
            self.timers[PACE] = NEVER
            self.limit = self.largest
        elif self.pacer is None:
            self.pacer = pacing.Pacer(self, now)

    def next_transmission(self, unit: int, now: float) -> Transmission | None:
        """What leaves now, in segments of `unit` payload bytes (mss less what options take); None: nothing."""
        if self.pacer is not None and self.pacer.holds(self, now):
            return None
        board = self.board
        if board.lost and not (self.spurious.testing and spurious.new_data_first(self, unit)):
            record = recovery.next_retransmission(self, unit, now)
            if record is not None or board.lost:
                return record
        una, nxt = self.una, self.nxt
        size = self.queue.end - nxt
        if size <= 0:
            return self._fin_or_probe(unit, now)
        if nxt == una:
            self._leave_idle(now)
        pipe = nxt - una - board.absent
        cwnd = self.congestion.cwnd
        room = cwnd - pipe
        if self.edge - nxt < room:
            room = self.edge - nxt
        largest = self.limit if unit == self.mss else max(self.limit // unit, 1) * unit
        if size > largest:
            size = largest
        if size > room:
            size = portion.fitting(self, size, room, pipe, unit, now)
        elif size % unit and self.patience:
            size = portion.whole_segments(self, size, unit, now)
        if size <= 0:
            size = min(unit, self.queue.end - nxt, self.edge - nxt)
            if nxt != self.probe_from or size <= 0:
                return None
            self.probe_repeats = False
        end = nxt + size
        used = pipe + size
        limited = used + unit > cwnd
        if limited:
            self.limited_until = end
        elif used > self.most_used or una >= self.used_until:
            self.most_used, self.used_until = used, end
        if end == self.fin_at and self.edge > end:
            end += 1
        record = board.sent(nxt, end, unit, now, used)
        if not limited and end >= self.queue.end:
            # what leaves before all this is delivered leaves behind a bubble
            board.app_limited_until = board.delivered + used
            if self.window_limited_since >= 0.0:
                portion.limited_by_window(self, False, now)
        self.nxt = end
        self.last_sent = now
        if self.timers[RETRANSMIT] == NEVER:
            self._time_flight(nxt == una and end - nxt <= unit, now)
        elif nxt - una <= unit:
            self.arm_probe(now)  # the first is no longer alone
        return record

    def send_again(self, record: Transmission, size: int, unit: int, now: float) -> None:
        """The first `size` bytes of `record` leave once more."""
        self.board.sent_again(record, size, unit, now, self.una, self.nxt)
        self.bytes_sent_again += size
        self.segments_sent_again += -(-min(size, max(self.fin_at - record.start, 1)) // unit)
        self.last_sent = now
        if self.trace is not None:
            self.trace.append(("retransmit", now, record.start, size))
        if self.phase is not OPEN:
            self.spurious.sent_again(size, now)
        if record.start == self.una:
            self.arm_retransmit(now)

    def hold(self, more: bool) -> None:
        """Whether `more` data is about to follow (MSG_MORE): what does not fill a segment waits for it, until an ACK
        comes (Linux's choice)."""
        config = self.config
        self.held_at = self.una
        self.patience = CORK if more or config.cork else NODELAY if config.nodelay else NAGLE

    def push(self) -> None:
        """What is there leaves, corked or not."""
        if self.patience == CORK and self.waiting:
            self.overdue = True

    def _leave_idle(self, now: float) -> None:
        """Nothing is outstanding, and something would leave."""
        if self.busy_since < 0.0:
            self.busy_since = now
        if self.timers[PERSIST] == NEVER:
            self.progress_at = now
            self.timers[RETRANSMIT] = NEVER  # of `timeouts.held_up`
        idle, rto = now - self.last_sent, self.rtt.rto
        if idle > rto and self.edge > self.nxt:
            self.congestion.on_idle(idle, rto, now)
            self.last_sent = now

    def _fin_or_probe(self, unit: int, now: float) -> Transmission | None:
        """All data has been sent: the FIN, or a probe."""
        nxt = self.nxt
        if nxt == self.fin_at:
            if nxt == self.una:
                self._leave_idle(now)
            if self.edge > nxt:
                self.nxt = nxt + 1
                self.last_sent = now
                if self.timers[RETRANSMIT] == NEVER:
                    self.arm_retransmit(now)
                    self.arm_probe(now)
                return self.board.sent(nxt, nxt + 1, unit, now, self.pipe)
            if nxt == self.una:
                self.arm_persist(now)
        if nxt == self.probe_from and self.probe_repeats:
            return tail_loss.next_transmission(self, unit, now)
        return None

    # timers

    def arm_retransmit(self, now: float) -> None:
        """RFC 6298 5.1, 5.3; no later than the user timeout."""
        due = now + self.rtt.rto
        last = self.progress_at + self.config.user_timeout
        self.timers[RETRANSMIT] = due if due < last or last <= now else last

    def _time_flight(self, alone: bool, now: float) -> None:
        """`arm_retransmit` and `arm_probe`, spelled out for a segment that is `alone`, as most answers to requests."""
        rtt, timers = self.rtt, self.timers
        rto, srtt = rtt.rto, rtt.srtt
        due = now + rto
        last = self.progress_at + self.config.user_timeout
        timers[RETRANSMIT] = due if due < last or last <= now else last
        if self.probes_tails:
            pto = 2.0 * srtt + self.config.min_rto if alone and srtt else tail_loss.timeout(self)
            timers[PROBE] = now + pto if pto < rto else due

    def arm_probe(self, now: float) -> None:
        """RFC 8985 7.2: see `tail_loss`, which moves the timer to where it has to be.

        Not simply early, for it to move: where one segment is out, the answer to a request say, that would let a timer
        go off in vain every few milliseconds on each of many connections.
        """
        if self.probes_tails:
            pto, rto = tail_loss.timeout(self), self.rtt.rto
            self.timers[PROBE] = now + (pto if pto < rto else rto)

    def arm_persist(self, now: float) -> None:
        """Ask for the window once the retransmission timeout has passed, then ever less often (RFC 9293 3.8.6.1)."""
        timers = self.timers
        if timers[PERSIST] == NEVER:
            interval = min(self.rtt.rto * (1 << min(self.probes, 16)), self.config.max_rto)
            last = self.progress_at + self.config.user_timeout
            timers[PERSIST] = min(now + interval, last if last > now else NEVER)

    # the peer's window and acknowledgements

    def set_window(self, field: int, seq: int) -> None:
        """The window field of an acceptable segment whose ACK is SND.UNA; `seq` is its position."""
        self.window_seq = seq
        window = field << self.scale
        before = self.edge
        self.edge = self.una + window
        if window > self.max_window:
            self.max_window = window
        if self.timers[PERSIST] != NEVER and before <= self.nxt < self.edge:
            self.probes = 0
            self.timers[PERSIST] = NEVER
        if not window:
            self.shut_at = self.una
        elif before <= self.una == self.shut_at and self.una != self.nxt:
            recovery.window_regained(self)

    def advance(self, acked: int, ts_rtt: float, now: float) -> None:
        """SND.UNA moves by `acked` > 0. `ts_rtt` is the round trip that timestamps show, below 0 if they do not.

        The echo of an earlier transmission may have waited for the timer with an ACK that was lost: it counts only if
        the ACK came too soon to answer the last one.
        """
        una = self.una = self.una + acked
        first = self.board.acknowledge(una)
        since, rtt = now - first.sent_at, self.rtt
        if first.times == 1:
            rtt.update(since)
        elif ts_rtt >= 0.0 and (ts_rtt <= since + TICK or since < rtt.min_rtt):
            rtt.update(ts_rtt)
        elif rtt.backoff and rtt.expects(since):
            rtt.confirmed()
        self.queue.release(una)
        self.progress_at = now
        self.timeouts = 0
        timers = self.timers
        if una == self.nxt:
            timers[RETRANSMIT] = timers[PROBE] = NEVER
            if self.busy_since >= 0.0:
                self.busy += now - self.busy_since
                self.busy_since = -1.0
            if self.window_limited_since >= 0.0:
                portion.limited_by_window(self, False, now)
        else:
            due = now + rtt.rto
            last = now + self.config.user_timeout
            timers[RETRANSMIT] = due if due < last else last

    def progress(self, acked: int, now: float) -> None:
        """An ACK for `acked` > 0 more bytes while there is nothing to be alert for."""
        # the first comparison answers for an exchange of small messages, and costs no call
        limited = self.una < self.limited_until or (
            self.congestion.cwnd < 2 * self.most_used and self.using_half
        )
        self.advance(acked, -1.0, now)
        self.dup_acks = 0
        control, board = self.loss_based, self.board
        newest = board.newest
        if limited or control is None or newest is None or not puts_off(board, newest, self.una, now):
            self.tell(acked, acked, limited, now)
        else:  # this is all that `tell` would come to, and what most ACKs of an exchange of messages do
            control.on_unused(self.nxt - self.una - board.absent + acked, self.rtt.srtt, now)

    def tell(self, acked: int, delivered: int, limited: bool, now: float) -> None:
        """The controller hears what an ACK brought; see `AckSample`."""
        sample, board, rtt = self._sample, self.board, self.rtt
        if sample is None or board.unlooked is not None:
            sample = self.sample
        sample.acked = acked
        sample.delivered_now = delivered
        sample.limited = limited
        sample.pipe = self.nxt - self.una - board.absent
        sample.rtt = rtt.latest
        sample.srtt = rtt.srtt
        take_sample(board, sample, rtt.min_rtt, now, limited or self.loss_based is None)
        self.congestion.on_ack(sample, now)

    def set_mss(self, mss: int, most: int) -> None:
        """Segments carry `mss` bytes from now on; if that is less than before, what is in flight did not get through
        (RFC 1191 6.5): it is sent again at once, and that is no sign of congestion."""
        smaller = mss < self.mss
        self.mss = mss
        self.set_largest(most)
        self.congestion.on_mss(mss)
        if smaller and self.nxt != self.una:
            recovery.path_changed(self)

    def set_largest(self, most: int) -> None:
        """A super-segment carries at most `most` bytes from now on, and one segment in any case."""
        self.limit = self.largest = max(most // self.mss, 1) * self.mss
