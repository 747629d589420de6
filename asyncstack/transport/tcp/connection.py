"""One TCP connection, sans-I/O (RFC 9293): inputs, commands and outputs; no socket, no loop, no clock.

    inputs     receive_segment  receive_error  receive_unreachable  held_up  timer_expired  set_path_mss
    commands   open  accept  write  read  shutdown  close  abort  configure
    outputs    segment_to_send  events  deadline

After any input or command a shell asks `events()`, sends until `segment_to_send()` gives None, and calls
`timer_expired` at `deadline`. `now` is in seconds and never goes back, sizes are bytes.

The connection composes a `Sender` and a `Receiver`, which do not know it; what moves it from state to state is in
`handshake`, `arrival` and `timeouts`; segments without data are made in `output`. The usual segments of an open
connection are handled here, in few steps.
"""

from __future__ import annotations

import errno as errors
from collections.abc import Callable
from typing import TYPE_CHECKING

from asyncstack.config import TcpConfig
from asyncstack.network.rate_limit import TokenBucket
from asyncstack.transport.tcp import arrival, black_hole, echo, fast_open, handshake, output, timeouts, urgent
from asyncstack.transport.tcp.buffers import send_buffer_limit
from asyncstack.transport.tcp.congestion import CongestionControl
from asyncstack.transport.tcp.ecn import CE, LOOKED_AT, Ecn
from asyncstack.transport.tcp.fast_open import FastOpen
from asyncstack.transport.tcp.memory import MemoryBudget
from asyncstack.transport.tcp.phase import OPEN
from asyncstack.transport.tcp.receiver import Receiver
from asyncstack.transport.tcp.sender import Sender
from asyncstack.transport.tcp.sequence import HALF, MASK, NO_FIN
from asyncstack.transport.tcp.state import (
    CLOSE_WAIT,
    CLOSED,
    CLOSED_BIT,
    ESTABLISHED,
    EVENTS,
    FIN_WAIT_2,
    READABLE_BIT,
    SYN_RECEIVED,
    SYN_SENT,
    SYNCHRONIZED,
    TIME_WAIT,
    TRANSITIONS,
    WRITABLE_BIT,
    Event,
    State,
    Trigger,
)
from asyncstack.transport.tcp.timers import DELAYED_ACK, FIN_WAIT, NEVER, PERSIST, RETRANSMIT, no_timers
from asyncstack.wire.tcp import ACK, FIN, PSH, RST, Segment

if TYPE_CHECKING:
    from asyncstack.transport.tcp.info import TcpInfo


class Connection:
    """One TCP connection.

    `mss` is the payload that the path carries without options, and what we advertise; `max_payload` (at least
    `mss`) is the most that one super-segment may carry. `iss` and `ts_offset` are raw 32-bit numbers (see `isn`).
    `congestion` is the controller's class; without one it is the built-in of the name that `config` has.
    `state` is CLOSED until `open` or `accept`; `error` is the errno why the connection ended, 0 while it has not
    or if it ended in order.
    """

    __slots__ = (
        "admits",
        "challenge_at",
        "challenges",
        "config",
        "data_segs_in",
        "data_segs_out",
        "deferred",
        "drained",
        "ecn",
        "error",
        "fast_open",
        "fin_asked",
        "happened",
        "heard_at",
        "keepalive_probes",
        "link_mss",
        "local_port",
        "max_payload",
        "orphan",
        "passive",
        "path_mss",
        "peer_mss",
        "probe_due",
        "probed_at",
        "receiver",
        "remote_port",
        "reply",
        "scaling",
        "segs_in",
        "segs_out",
        "sender",
        "soft_error",
        "soft_error_at",
        "state",
        "syn_due",
        "syn_sent_at",
        "syn_times",
        "synchronized",
        "timers",
        "ts_offset",
        "urgent_end",
        "usual",
    )

    def __init__(
        self,
        config: TcpConfig,
        *,
        local_port: int,
        remote_port: int,
        mss: int,
        max_payload: int,
        iss: int,
        ts_offset: int = 0,
        memory: MemoryBudget | None = None,
        congestion: type[CongestionControl] | None = None,
        challenges: TokenBucket | None = None,
    ) -> None:
        self.config = config
        self.local_port = local_port
        self.remote_port = remote_port
        self.link_mss = self.path_mss = mss
        self.max_payload = max(max_payload, mss)
        self.ts_offset = ts_offset
        self.state: State = CLOSED
        self.synchronized = False
        self.error = 0
        self.soft_error = 0  # what ICMP said, and when; the reason given if the connection times out
        self.soft_error_at = 0.0
        self.timers = no_timers()
        self.sender = Sender(config, self.timers, iss, congestion)
        self.receiver = Receiver(config, self.timers, mss, memory)
        self.happened = 0  # bits of events not yet told
        self.drained = False  # the last segment made was the last there is, surely: no need to ask again
        self.reply: Segment | None = None  # a reset, which belongs to no stream
        self.ecn: Ecn | None = None  # None: not agreed on
        self.usual = ACK  # flags of a segment that brings data or acknowledges, and says nothing else
        # handshake
        self.fast_open: FastOpen | None = None
        self.passive = False
        # asked whether an ACK may complete a passive open; None: yes
        self.admits: Callable[[], bool] | None = None
        self.deferred = False  # the ACK has come, but no data yet
        self.scaling = False
        self.peer_mss = handshake.DEFAULT_MSS
        self.syn_due = False
        self.syn_times = 0  # repetitions
        self.syn_sent_at = 0.0
        self.urgent_end = urgent.NOTHING  # position behind urgent data of ours
        # end
        self.fin_asked = False
        self.orphan = False  # the application has gone
        # keepalive and challenges
        self.heard_at = 0.0
        self.probed_at = 0.0
        self.keepalive_probes = 0
        self.probe_due = False
        self.challenge_at = 0.0
        self.challenges = challenges  # the limit of all connections together
        # counts of segments; a super-segment counts once
        self.segs_in = self.segs_out = self.data_segs_in = self.data_segs_out = 0

    # commands

    def open(self, now: float) -> None:
        """Active open: a SYN becomes ready to send."""
        handshake.open_active(self, now)

    def accept(self, syn: Segment, now: float) -> None:
        """Passive open by a listener that received `syn`: a SYN-ACK becomes ready to send."""
        handshake.accept(self, syn, now)

    def write(self, data: bytes | memoryview) -> None:
        """Append `data` to the send queue, uncopied: it must not change any more. How much may be queued is up to
        the caller (`queued`, `send_buffer_limit`). Raises RuntimeError after `shutdown` or `close`."""
        if self.fin_asked:
            raise RuntimeError("write() after shutdown(): the FIN stands behind the data written before")
        if self.state is not CLOSED and self.state is not TIME_WAIT:
            self.sender.queue.append(data if type(data) is bytes else memoryview(data).cast("B"))

    def read(self) -> list[bytes | memoryview]:
        """All in-order bytes received. This frees the window: a window update may be ready to send afterwards."""
        return self.receiver.read()

    def shutdown(self, now: float) -> None:
        """Send FIN after the data written so far (half-close); reading goes on."""
        if not self.fin_asked:
            self.fin_asked = True
            if self.state is ESTABLISHED or self.state is CLOSE_WAIT:
                self.send_fin()

    def close(self, now: float) -> None:
        """The application has gone: FIN after the data, and no waiting for ever for the peer's. Bytes that nobody
        will read, received before or later, make it a RST (RFC 9293 3.6.1, RFC 2525 2.17); so does SO_LINGER of 0."""
        unread = self.receiver.unread
        self.receiver.discard()
        if self.orphan or self.state is CLOSED or self.state is TIME_WAIT:
            return
        self.orphan = True
        if self.state is SYN_SENT and not (self.fast_open and self.fast_open.told and self.queued):
            self.end(0)
        elif unread or self.config.linger == 0.0:
            self.reset(0, now)
        else:
            self.shutdown(now)
            if self.state is FIN_WAIT_2:
                self.arm_fin_wait(now)

    def abort(self, now: float) -> None:
        """End at once; a RST tells the peer, unless it has not heard of us or has ended too."""
        self.receiver.discard()
        if self.state is CLOSED:
            return
        if self.state is SYN_SENT or self.state is TIME_WAIT:
            self.end(0)
        else:
            self.reset(0, now)

    def fail(self, errno: int) -> None:
        """End at once with `errno`, without a word to the peer: nothing can be sent any more."""
        if self.state is not CLOSED:
            self.end(errno)

    def configure(self, config: TcpConfig, now: float) -> None:
        """Go by other settings from now on. What the handshake agreed on stays, and so does
        the congestion controller: see `Sender.set_controller`."""
        kept_alive, self.config = self.config.keepalive, config
        self.sender.configure(config, now)
        self.receiver.configure(config)
        timeouts.start_keepalive(self, kept_alive, now)

    # inputs

    def receive_segment(self, segment: Segment, now: float) -> None:
        """A segment of this connection, its checksum verified. Never raises, whatever it says."""
        self.segs_in += 1
        rcv, snd = self.receiver, self.sender
        payload = segment.payload
        size = len(payload)
        if (
            (self.state is not ESTABLISHED and self._unusual(size))
            or segment.flags & LOOKED_AT != self.usual
            or (segment.seq - rcv.nxt) & MASK
            or size > rcv.edge - rcv.nxt
            or rcv.rare
        ):
            arrival.segment_arrives(self, segment, now)
            return
        acked = (segment.ack - snd.una) & MASK
        ts_val = segment.ts_val
        if (
            acked > snd.nxt - snd.una
            or (acked == 0 and not size)
            or segment.sack
            or (rcv.timestamps and (ts_val < 0 or (ts_val - rcv.ts_recent) & HALF))
        ):
            arrival.segment_arrives(self, segment, now)
            return
        if rcv.timestamps and rcv.acked == rcv.nxt:
            rcv.ts_recent = ts_val
            rcv.ts_recent_at = now
        self.heard_at = now
        if acked:
            if not snd.alert:
                snd.progress(acked, now)
                snd.set_window(segment.window, rcv.nxt)
                self.happened |= WRITABLE_BIT
            else:
                arrival.acknowledge(self, segment, rcv.nxt, acked, now)
        elif segment.window << snd.scale != snd.edge - snd.una:
            snd.set_window(segment.window, rcv.nxt)
        if size:
            if segment.ecn == CE and self.ecn is not None:
                self.ecn.receive(self, segment)
            self.data_segs_in += 1
            self.happened |= READABLE_BIT
            if now >= rcv.tune_at and rcv.may_grow(now):
                rcv.tune(echo.seconds_since(self, segment, now), snd.rtt.srtt, now)
            rcv.deliver(payload, size, segment.gso_size or size, now)

    def _unusual(self, size: int) -> bool:
        """Whether in this state, not ESTABLISHED, more is to be done for an in-order segment than to take it."""
        if self.state is CLOSE_WAIT:
            return size > 0
        return self.state is not FIN_WAIT_2 or self.orphan

    def timer_expired(self, now: float) -> None:
        """Run every timer that is due. Too early a call is harmless."""
        timeouts.run_due(self, now)

    def in_flight(self, seq: int) -> bool:
        """Whether the raw number `seq` is of something sent and not acknowledged (RFC 5927 4.1)."""
        return (seq - self.sender.una) & MASK < self.sender.nxt - self.sender.una

    def receive_error(self, errno: int, hard: bool, seq: int, now: float) -> None:
        """An ICMP error about a segment of ours that began at the raw number `seq`.

        A hard one ends a connection that is not open yet. Everything else is kept as the reason in case the
        connection times out (RFC 5461 4.1: anyone could have sent it).
        """
        if not self.in_flight(seq) or self.state is CLOSED:
            return
        if hard:
            self.receive_unreachable(errno, now)
        else:
            self.soft_error, self.soft_error_at = errno, now

    def receive_unreachable(self, errno: int, now: float) -> None:
        """The next hop does not answer: fatal while connecting, a hint afterwards (RFC 1122 4.2.3.9)."""
        if self.state is SYN_SENT or self.state is SYN_RECEIVED:
            self.end(errno)
        else:
            self.soft_error, self.soft_error_at = errno, now

    def held_up(self, now: float) -> None:
        """Nothing can be sent now, for a reason below us. Whoever says so asks again when the deadline has passed."""
        if self.synchronized:
            timeouts.held_up(self.sender, now)

    def set_path_mss(self, mss: int, now: float) -> None:
        """The path carries `mss` bytes of payload from now on, options included; the peer is not told. Larger segments
        in flight are sent again at once, cut to fit (RFC 1191 6.5)."""
        self.path_mss = max(mss, handshake.SMALLEST_PATH_MSS)
        black_hole.path_changed(self)
        if self.synchronized:
            handshake.fit_segments(self)
        else:
            fast_open.path_changed(self, now)

    # outputs

    def segment_to_send(self, now: float) -> Segment | None:
        """The next segment that may leave now; the connection takes it as sent. None: nothing more until the next
        input. A connection that has ended may have one last segment to send."""
        self.drained = False
        if not self.synchronized:
            return output.before_synchronized(self, now)
        if self.urgent_end >= 0:
            return urgent.segment_to_send(self, now)
        snd, rcv = self.sender, self.receiver
        unit = snd.mss
        telling = rcv.sack_ok and (rcv.held is not None or rcv.dsack is not None)
        if telling:
            unit -= rcv.sack_room()
            if unit <= 0:  # a path of tiny packets: data goes before SACK blocks
                unit, telling = snd.mss, False
        if snd.search is None or telling:
            record = snd.next_transmission(unit, now)
        elif (record := black_hole.probe_to_send(self, snd.search, now)) is not None:
            unit = record.unit
        else:
            record = snd.next_transmission(unit, now)
        if record is None:
            if rcv.ack_now:
                segment = output.acknowledgement(self, now)
                self.drained = not (telling or rcv.ack_now or self.probe_due)
                return segment
            return output.probe(self, now) if self.probe_due else None
        start, end, fin_at = record.start, record.end, snd.fin_at
        flags = ACK
        if end > fin_at:
            flags = ACK | FIN
            end = fin_at
        queue = snd.queue
        size = end - start
        if end == queue.end:
            if fin_at == NO_FIN or flags != ACK:
                self.drained = snd.phase is OPEN and not (snd.board.lost or self.probe_due)
            if size and end != snd.more_end:
                flags |= PSH
        if size:
            payload = queue.slice(start, end)
            if rcv.quick >= 0 and rcv.nxt != rcv.start:
                rcv.quick = -1  # it is a conversation: acknowledgements ride on the answers
            self.data_segs_out += 1
        else:
            payload = b""
        self.segs_out += 1
        segment = Segment(
            self.local_port,
            self.remote_port,
            start & MASK,
            rcv.nxt & MASK,
            flags,
            rcv.window_field(),
            payload,
            (int(now * 1000.0) + self.ts_offset) & MASK if rcv.timestamps else -1,
            rcv.ts_recent,
            rcv.sack_blocks() if telling else (),
        )
        if size > unit:
            segment.gso_size = unit
        if self.ecn is not None:
            self.ecn.mark(self, segment, size > 0 and record.times == 1)
        # `rcv.acknowledged()`, a call less
        rcv.acked = rcv.nxt
        rcv.pending = 0
        rcv.ack_now = False
        self.timers[DELAYED_ACK] = NEVER
        return segment

    def events(self) -> tuple[Event, ...]:
        """What happened since the last call, in the order in which `Event` has it."""
        happened, self.happened = self.happened, 0
        return EVENTS[happened]

    @property
    def deadline(self) -> float:
        """When `timer_expired` has something to do; `math.inf`: never. Any other call may move it."""
        return min(self.timers)

    # numbers

    @property
    def unread(self) -> int:
        """Bytes that `read` would return."""
        return self.receiver.unread

    @property
    def owing(self) -> bool:
        """Whether something is not acknowledged, or waits to be sent for the first time."""
        return self.timers[RETRANSMIT] != NEVER or self.timers[PERSIST] != NEVER

    @property
    def queued(self) -> int:
        """Bytes written and not acknowledged."""
        queue = self.sender.queue
        return max(queue.end - queue.una, 0)  # the ACK of a FIN lies beyond

    @property
    def send_buffer_limit(self) -> int:
        """How much a caller should keep `queued`: enough for two windows, so that one can be sent while the other
        is in flight."""
        return send_buffer_limit(self.config, self.sender.congestion.cwnd)

    @property
    def room(self) -> int:
        """Bytes a writer may still queue. TCP_NOTSENT_LOWAT leaves none while that much was never sent."""
        low = self.config.notsent_lowat
        if low and self.sender.unsent >= low:
            return 0
        return self.send_buffer_limit - self.queued

    def info(self, now: float) -> TcpInfo:
        """A look at everything."""
        from asyncstack.transport.tcp.info import describe

        return describe(self, now)

    # for the modules that move the connection from state to state

    def enter(self, trigger: Trigger) -> State:
        """Follow the transition that `trigger` makes (`state.TRANSITIONS`). The only place that assigns `state`."""
        state = self.state = TRANSITIONS[self.state, trigger]
        self.synchronized = state in SYNCHRONIZED
        if state is CLOSED or state is TIME_WAIT:
            self.timers[:] = no_timers()
            self.sender.queue.clear()
            self.receiver.end()
            self.happened |= CLOSED_BIT
        return state

    def end(self, errno: int) -> None:
        """CLOSED, now; `errno` says why, 0 for an orderly or a wanted end."""
        told = self.state is TIME_WAIT
        self.error = 0 if self.orphan else errno
        if self.fast_open is not None:
            self.fast_open.ended(errno)
        self.syn_due = self.probe_due = False
        self.enter(Trigger.END)
        if told:
            self.happened &= ~CLOSED_BIT

    def reset(self, errno: int, now: float) -> None:
        """Send RST, and end."""
        self.reply = output.bare(self, self.sender.nxt, RST | ACK, now)
        self.end(errno)

    def timed_out(self) -> None:
        """The peer does not answer: end with what ICMP has said since it last did, or with ETIMEDOUT."""
        heard = self.synchronized and self.soft_error_at < self.sender.progress_at
        self.end(errors.ETIMEDOUT if heard or not self.soft_error else self.soft_error)

    def send_fin(self) -> None:
        """Our half of the stream ends behind the last byte written."""
        if self.sender.fin_at == NO_FIN:
            self.sender.fin_at = self.sender.queue.end
            self.enter(Trigger.CLOSE)

    def arm_fin_wait(self, now: float) -> None:
        """In FIN-WAIT-2 without an application, the peer has this long to end too."""
        self.timers[FIN_WAIT] = now + self.config.fin_wait_2
