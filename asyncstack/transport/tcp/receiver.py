"""The receiving half of a connection (RFC 9293 3.8.6, 3.10.7.4; RFC 5681 4.2; RFC 7323).

- the window: its right edge, once promised, never moves left, also where the field's scale rounds (RFC 7323 2.4);
  it moves right only by a worthwhile step (silly window avoidance, RFC 9293 3.8.6.2.2)
- ACKs are delayed until two full segments have come or `delayed_ack` seconds have passed; they are immediate for
  what is out of order or fills a hole (RFC 5681 4.2), for a super-segment, and at the start of a connection and after
  a silence, where the peer's slow start waits for them. Who answers is in a conversation: ACKs ride on the answers,
  until something is lost. (Linux adapts the delay between 40 and 200 ms to how often data comes; where that is less
  often than every 40 ms there is nothing to save, so ours stays 40 ms.)
- a reader that makes room in a window that was nearly used up is told to the peer at once
- small payloads of large frames are copied, so that an unread byte does not hold a 64 KiB frame in memory
- timestamps: TS.Recent follows segments that begin at or before the last ACK sent (RFC 7323 4.3)
"""

from __future__ import annotations

from typing import Final

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.buffers import TICK, ReceiveTuning, initial_receive_buffer, largest_window
from asyncstack.transport.tcp.memory import MemoryBudget
from asyncstack.transport.tcp.reassembly import CROWDED, SMALL, Reassembly, compact
from asyncstack.transport.tcp.sequence import NO_FIN
from asyncstack.transport.tcp.timers import DELAYED_ACK, NEVER, Timers

Buffer = bytes | memoryview

QUICK_ACKS: Final = 16  # Linux: TCP_MAX_QUICKACKS
RANGE_COST: Final = 256  # bytes of memory that a range out of order costs beside its data
QUIET: Final = 0.2  # seconds, and a round trip: no retransmission timeout is shorter
SMALLEST_FULL: Final = 536
LITTLE_SEGMENTS: Final = 4  # the window to offer when the stack's memory is short; Linux: the same
MAX_FIELD: Final = 0xFFFF
OLD_TIMESTAMP: Final = 24 * 86400.0  # TS.Recent says nothing after that long (RFC 7323 5.5)


class Receiver:
    """Owns what was received and not read, in order and out of it. Positions are unwrapped (see `sequence`)."""

    __slots__ = (
        "_chunks",
        "_counted",
        "_step",
        "_tuning",
        "ack_now",
        "acked",
        "buffer",
        "choked",
        "config",
        "dsack",
        "dup_acks",
        "edge",
        "fin_at",
        "full",
        "held",
        "last_data",
        "memory",
        "mss",
        "nxt",
        "out_of_order",
        "pending",
        "quick",
        "rare",
        "sack_ok",
        "scale",
        "start",
        "timers",
        "timestamps",
        "ts_recent",
        "ts_recent_at",
        "tune_at",
        "unread",
    )

    def __init__(
        self, config: TcpConfig, timers: Timers, mss: int, memory: MemoryBudget | None = None
    ) -> None:
        self.config = config
        self.memory = memory if memory is not None else MemoryBudget()
        self._counted = 0  # bytes of ours in memory.held
        self.choked = False  # the budget was used up, and the reader lags
        self.rare = False  # something is held out of order, the FIN came before its time, or we are choked
        self.timers = timers
        self.start = 0  # IRS + 1
        self.nxt = 0  # RCV.NXT
        self.edge = 0  # RCV.NXT + RCV.WND
        self.acked = 0  # RCV.NXT in the last segment sent (Last.ACK.sent)
        self.scale = 0  # Rcv.Wind.Shift
        self.buffer = initial_receive_buffer(config)  # bytes that may wait to be read
        self.tune_at = 0.0 if config.tune_receive_buffer else NEVER  # when to look at its size again
        self._tuning: ReceiveTuning | None = None
        self.last_data = 0.0
        self.unread = 0
        self._chunks: list[Buffer] = []
        self._step = min(mss, config.receive_buffer // 2)
        self.held: Reassembly | None = None
        self.fin_at = NO_FIN
        self.full = mss  # what a full segment of the peer's can carry
        self.mss = min(mss, SMALLEST_FULL)  # what it does carry, as seen
        self.pending = 0  # bytes received in order since the last ACK
        # segments to acknowledge at once; below 0: it is a conversation (Linux: pingpong)
        self.quick = QUICK_ACKS
        self.ack_now = False
        self.dup_acks = 0  # owed for segments out of order, where no SACK tells of them
        self.sack_ok = False
        self.dsack: tuple[int, int] | None = None  # RFC 2883: received twice, not told yet
        self.timestamps = False
        self.ts_recent = 0
        self.ts_recent_at = 0.0
        self.out_of_order = 0  # segments

    def open(self, irs: int, window: int) -> None:
        """The peer's SYN came with sequence number `irs`; ours offers `window` bytes."""
        self.start = self.nxt = self.acked = irs + 1
        self.edge = self.nxt + window

    def configure(self, config: TcpConfig) -> None:
        """Go by another size of the buffer from now on. What was promised stands."""
        self.config = config
        self._step = min(self.full, config.receive_buffer // 2)
        if config.tune_receive_buffer:
            self.buffer = min(self.buffer, largest_window(config))
            self.tune_at = min(self.tune_at, 0.0)
        else:
            self.buffer = largest_window(config)
            self.tune_at = NEVER

    def quickack(self, on: bool) -> None:
        """TCP_QUICKACK: acknowledge at once what is owed and what comes next; or delay, as in a conversation."""
        self.quick = QUICK_ACKS if on else -1
        if on and self.pending:
            self.ack_now = True

    @property
    def rtt(self) -> float:
        """The round trip as seen from here; 0.0 before it is known."""
        return 0.0 if self._tuning is None else self._tuning.rtt

    def may_grow(self, now: float) -> bool:
        """A round trip has passed: whether there is anything for `tune` to do. Not where less was read in it than in
        the fastest one, as in an exchange of small messages, for which it would cost a tenth of all the work."""
        tuning = self._tuning
        if tuning is None:
            return True
        rtt, position = tuning.rtt, self.nxt - self.unread
        if not rtt or now - self.tune_at > QUIET + rtt or position - tuning.start > tuning.fastest:
            return True
        tuning.start, tuning.since = position, now
        self.tune_at = now + (rtt if rtt > TICK else TICK)  # `tuning.due`, a call less
        return False

    def tune(self, sample: float, srtt: float, now: float) -> None:
        """A round trip has passed: the buffer grows if what was read in it asks for more.

        `sample`: a round trip that timestamps tell, below 0 if none; `srtt`: the sender's, 0.0 if it has none.
        """
        position = self.nxt - self.unread
        tuning = self._tuning
        if tuning is not None and now - self.tune_at > QUIET + tuning.rtt:
            self._begin_anew()
        if tuning is None:
            tuning = self._tuning = ReceiveTuning(position, self.buffer, self.mss, srtt, now)
        else:
            wanted = min(
                tuning.look(position, self.unread, self.full, sample, now), largest_window(self.config)
            )
            if wanted > self.buffer and self.memory.held < self.memory.no_growth:
                self.buffer = wanted
        self.tune_at = tuning.due(now)

    def _begin_anew(self) -> None:
        """The peer was silent for longer than its retransmission timeout: it may be in slow start, which waits for our
        ACKs, and may have learnt of a path that takes smaller segments."""
        if self.quick == 0:
            self.quick = QUICK_ACKS
        self.mss = min(self.mss, SMALLEST_FULL)

    # data

    def deliver(self, payload: Buffer, size: int, unit: int, now: float) -> None:
        """`payload`, `size` bytes that came in segments of `unit`, is the next in order and within the window."""
        if type(payload) is memoryview and 4 * size < len(payload.obj):  # type: ignore[arg-type]
            payload = compact(payload)
        self.nxt += size
        self.last_data = now
        self.unread += size
        chunks = self._chunks
        chunks.append(payload)
        if len(chunks) > CROWDED and self.unread < len(chunks) * SMALL:
            self._chunks = [b"".join(chunks)]
        if unit > self.mss:
            self.mss = unit if unit < self.full else self.full
        self.pending += size
        if self.quick > 0:
            self.quick -= 1
            self.ack_now = True
        elif self.pending >= 2 * self.mss:
            self.ack_now = True
        elif self.timers[DELAYED_ACK] == NEVER:
            self.timers[DELAYED_ACK] = now + self.config.delayed_ack

    def receive(self, seq: int, payload: Buffer, unit: int, now: float) -> None:
        """A payload that begins at `seq` and came in segments of `unit` bytes: any part of it may be new, old, ahead of
        a hole, or beyond the window."""
        nxt, end = self.nxt, seq + len(payload)
        if seq < nxt:
            self.dsack = (seq, min(end, nxt))
            self.ack_now = True
            payload = payload[nxt - seq :]
            seq = nxt
        limit = min(self.edge, self.fin_at)
        if end > limit:
            self.ack_now = True
            payload = payload[: max(limit - seq, 0)]
        if not payload:
            return
        if seq == nxt:
            if self.choked and self._still_choked():
                return
            self.dup_acks = 0  # they were about the hole that this fills
            self.deliver(payload, len(payload), unit, now)
            if self.held is not None:
                self._fill()
        else:
            self._hold(seq, payload, unit)

    def _fill(self) -> None:
        """The first hole may be gone."""
        held = self.held
        if held is None:
            return
        self.nxt, pieces, repeated = held.take(self.nxt)
        if repeated is not None:
            self.dsack = repeated
        self.unread += sum(map(len, pieces))
        self._chunks += pieces
        self.ack_now = True
        if not len(held):
            self.held = None
        self._look()

    def _hold(self, seq: int, payload: Buffer, unit: int) -> None:
        self.ack_now = True
        self.out_of_order += 1
        self.quick = QUICK_ACKS
        if self.held is None:
            # what was lost may have been too large for the path
            self.mss = min(self.mss, max(unit, SMALLEST_FULL))
        if not self.sack_ok:
            self.dup_acks += 1
        memory = self.memory
        if memory.held + len(payload) > memory.prune:
            self.held = None
        else:
            if self.held is None:
                self.held = Reassembly(self.config.max_out_of_order_ranges)
            repeated = self.held.insert(seq, compact(payload))
            if repeated is not None:
                self.dsack = repeated
            if not len(self.held):
                self.held = None
        self._count()
        self._look()

    def receive_fin(self, position: int) -> bool:
        """The peer's FIN stands at `position`. Returns whether it is next, which ends the stream."""
        if self.fin_at == NO_FIN and self.nxt <= position <= self.edge:
            self.fin_at = position
        if self.fin_at != self.nxt:
            self._look()
            return False
        self.nxt += 1
        self.edge = max(self.edge, self.nxt)
        self.held = None
        self.dsack = None  # Linux's choice: nothing is out of order any more
        self._count()
        self._look()
        return True

    def delay_ack(self, now: float) -> None:
        """What came is acknowledged within `delayed_ack` seconds, sooner if something else leaves."""
        self.quick = 0
        if self.timers[DELAYED_ACK] == NEVER:
            self.timers[DELAYED_ACK] = now + self.config.delayed_ack

    def read(self) -> list[Buffer]:
        """Everything in order that was not read before."""
        chunks = self._chunks
        self._chunks = []
        self.unread = 0
        if self._counted:
            self._count()
        left = self.edge - self.nxt
        if chunks and (2 * left <= self.buffer or left < 2 * self._step):
            self._made_room()
        return chunks

    def take(self, size: int) -> bytes:
        """The first `size` bytes of what `read` would return, or all there are; the rest stays."""
        if size >= self.unread:
            chunks = self.read()
            return bytes(chunks[0]) if len(chunks) == 1 else b"".join(chunks)
        data = self.peek(size)
        at, left = 0, size
        while left >= len(self._chunks[at]):
            left -= len(self._chunks[at])
            at += 1
        del self._chunks[:at]
        if left:
            self._chunks[0] = memoryview(self._chunks[0])[left:]
        self.unread -= size
        self._count()
        if size:
            self._made_room()
        return data

    def peek(self, size: int) -> bytes:
        """What `take` would return; it stays."""
        parts: list[Buffer] = []
        for chunk in self._chunks:
            if size <= 0:
                break
            parts.append(chunk if len(chunk) <= size else memoryview(chunk)[:size])
            size -= len(chunk)
        return b"".join(parts)

    def put_back(self, data: bytes) -> None:
        """`data`, just taken, was not wanted after all. What was promised to the peer for its room stands."""
        self._chunks.insert(0, data)
        self.unread += len(data)
        self._count()

    def _made_room(self) -> None:
        """The application has read: tell the peer at once if the window had nearly been used up.

        A peer that has sent its FIN needs no window, and may be gone for good.
        """
        left = self.edge - self.nxt
        most = min(self.buffer - self.unread, MAX_FIELD << self.scale)
        if (
            most - left >= self._step
            and (left < 2 * self._step or (self.acked > self.start and 2 * left <= most))
            and self.nxt <= self.fin_at
        ):
            self.ack_now = True

    def discard(self) -> None:
        """The application has gone: nobody will read what is here."""
        self._chunks = []
        self.unread = 0
        self.held = None
        self._count()

    def end(self) -> None:
        """Nothing more will come: what is held ahead of a hole can never be read."""
        if self.held is not None:
            self.held = None
            self._count()

    # the stack's memory

    def _count(self) -> None:
        """Tell the budget how much is here."""
        held = self.unread
        if self.held is not None:
            held += self.held.size + RANGE_COST * len(self.held)
        self.memory.held += held - self._counted
        self._counted = held

    def _look(self) -> None:
        self.rare = self.held is not None or self.fin_at != NO_FIN or self.choked

    def _still_choked(self) -> bool:
        """Whether in-order data has to be dropped: the peer still has it, and hears that it did not arrive."""
        self._count()
        self.choked = self.memory.held >= self.memory.limit and self.unread > LITTLE_SEGMENTS * self.full
        self._look()
        if self.choked:
            self.ack_now = True
        return self.choked

    def _spare(self, free: int) -> int:
        """What may be offered where something waits to be read: up to the position `free`, less under pressure.

        The buffer falls back to its first size, from where it grows anew later.
        """
        self._count()
        memory = self.memory
        little = LITTLE_SEGMENTS * self.full
        if memory.held < memory.shrink or self.unread <= little:
            return free
        config = self.config
        if config.tune_receive_buffer:
            self.buffer = min(self.buffer, max(self.unread, initial_receive_buffer(config)))
            self._tuning = None
        if memory.held >= memory.limit:
            self.choked = self.rare = True
        return min(free, self.nxt + little)

    # what segments sent say

    def window_field(self) -> int:
        """The window field of a segment that leaves now."""
        nxt, edge, scale = self.nxt, self.edge, self.scale
        unread = self.unread
        free = nxt + self.buffer - unread
        if unread or self._counted:
            free = self._spare(free)
        if free - edge >= self._step:
            edge = free
        field = -((nxt - edge) >> scale)  # rounded up
        if field > MAX_FIELD:
            field = MAX_FIELD
        edge = nxt + (field << scale)
        if edge > self.edge:
            mask = (1 << scale) - 1
            if edge > free + mask and edge - self.edge <= mask:
                return field - 1  # rounding would let the window creep beyond the buffer
            self.edge = edge
        return field

    def sack_room(self) -> int:
        """Bytes of options that `sack_blocks` would take in a segment with data."""
        count = (self.dsack is not None) + (0 if self.held is None else len(self.held))
        return 4 + 8 * min(count, 3 if self.timestamps else 4) if count else 0

    def acknowledged(self) -> None:
        """A segment that carries RCV.NXT is about to leave."""
        self.acked = self.nxt
        self.pending = 0
        self.ack_now = False
        self.timers[DELAYED_ACK] = NEVER

    def sack_blocks(self) -> tuple[tuple[int, int], ...]:
        """The SACK option (raw numbers) for a segment that leaves now (RFC 2018 4, RFC 2883 4)."""
        if self.dsack is None and self.held is None:
            return ()
        most = 3 if self.timestamps else 4
        blocks: list[tuple[int, int]] = []
        if self.dsack is not None:
            blocks.append(self.dsack)
            self.dsack = None
        if self.held is not None:
            blocks += self.held.blocks(most - len(blocks))
        return tuple((left & 0xFFFFFFFF, right & 0xFFFFFFFF) for left, right in blocks)
