"""One direction of a link with impairments: a wire that takes time, a queue before it, and what befalls a packet.

A packet first waits for the wire (`rate`): there is no event for its departure, the wire only knows when it will
be free again, and how much waits follows from that. On its way it may be lost, damaged, doubled, delayed. One heap of
(due, serial, frame) and one timer serve all packets; those that are due at once arrive as one batch, in order.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from asyncstack.link.device import BATCH_BYTES, BATCH_FRAMES
from asyncstack.link.frame import Frame, OutgoingFrame
from asyncstack.link.segmentation import segment
from asyncstack.testing.impairment import Impairments, Passing, Verdict
from asyncstack.testing.marking import marked
from asyncstack.timing import LoopTimer, clock_of
from asyncstack.wire import checksum

SMALLEST_QUEUE: Final = 256 << 10  # bytes
# most that is on its way at once: a flood into a long delay must not eat the memory
PIPE_BYTES: Final = 64 << 20
ETHERNET_HEADER: Final = 14

Tap = Callable[[Any, Frame | OutgoingFrame], None]
_Entry = tuple[float, int, Frame, float]  # due, serial, frame, when its last bit leaves


@dataclass(slots=True)
class DirectionStats:
    """What happened to the packets of one direction. `bytes` are those of `sent`.

    While the direction had no impairment only these two count, a super-segment as one.
    """

    sent: int = 0
    bytes: int = 0
    delivered: int = 0
    lost: int = 0  # by the loss model
    overflowed: int = 0  # no room in the queue
    refused: int = 0  # by a rule, or larger than the MTU
    cut: int = 0  # the link was down
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0
    marked: int = 0  # CE was set

    @property
    def dropped(self) -> int:
        """Packets that did not arrive, for whatever reason."""
        return self.lost + self.overflowed + self.refused + self.cut


class Direction:
    """One way of a link: from one end to the other. Made by `Link`.

    `impairments` is replaced by `set`, at any time; packets on their way keep their time of arrival, those that
    still wait for the wire leave at the new rate. `deliver` takes a batch.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        rng: random.Random,
        *,
        mtu: int,
        ethernet: bool,
        deliver: Callable[[list[Frame]], None],
    ) -> None:
        self.stats = DirectionStats()
        self.impairments = Impairments()
        self.queue_limit = SMALLEST_QUEUE  # bytes that may wait for the wire
        self.clear = True  # nothing befalls a packet, and none is on its way
        self.is_down = False
        self.reverse: Direction | None = None
        self.taps: list[Tap] = []  # called with each packet as it enters
        self._clock = clock_of(loop)
        self._rng = rng
        self._link_header = ETHERNET_HEADER if ethernet else 0
        self._mtu = mtu
        self._deliver = deliver
        self._timer = LoopTimer(loop, self._clock, self._arrive)
        self._heap: list[_Entry] = []
        self._serial = 0
        self._in_flight = 0  # bytes
        self._wire_free = 0.0  # when the last bit that was accepted leaves
        self._last_due = 0.0  # arrivals keep their order unless held back on purpose
        self._lost = self.impairments.loss_decider(rng)
        self._harmless = True

    # parameters

    def set(self, **changes: Any) -> None:
        """Change some impairments from now on, e.g. `set(loss=0.2, delay=0.05)`. Raises ValueError."""
        old = self.impairments
        self.impairments = new = replace(old, **changes)
        if "loss" in changes:
            self._lost = new.loss_decider(self._rng)
        if new.rate != old.rate and old.rate is not None:
            self._change_rate(old.rate / new.rate if new.rate else 0.0)
        self._harmless = new.none
        self._update()
        for direction in (self, self.reverse):
            if direction is not None:
                direction._set_queue_limit()

    def _set_queue_limit(self) -> None:
        impairments = self.impairments
        back = self.reverse.impairments.delay if self.reverse is not None else 0.0
        product = int((impairments.rate or 0.0) * (impairments.delay + back) / 8)
        self.queue_limit = max(SMALLEST_QUEUE, product) if impairments.queue is None else impairments.queue

    def set_down(self, down: bool) -> None:
        """Cut the wire, or mend it. What is on its way is lost."""
        self.is_down = down
        if down:
            self.stats.cut += len(self._heap)
            self.clear_pipe()
        self._update()

    def clear_pipe(self) -> None:
        """Forget the packets on their way."""
        self._heap.clear()
        self._in_flight = 0
        self._wire_free = self._last_due = 0.0
        self._timer.cancel()

    def _update(self) -> None:
        self.clear = self._harmless and not self._heap and not self.is_down

    def _change_rate(self, factor: float) -> None:
        """What still waits for the wire leaves in `factor` times the time that it would have taken."""
        now = self._clock()
        for i, (due, serial, frame, leaves) in enumerate(self._heap):
            if leaves > now:
                sooner = (leaves - now) * (1.0 - factor)
                self._heap[i] = (due - sooner, serial, frame, leaves - sooner)
        heapq.heapify(self._heap)
        self._wire_free = now + max(self._wire_free - now, 0.0) * factor
        if self._heap:
            self._last_due = max(entry[0] for entry in self._heap)
            self._timer.arm(self._heap[0][0])

    # numbers

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for the wire now, the frame that is leaving included."""
        return round(max(self._wire_free - self._clock(), 0.0) * (self.impairments.rate or 0.0) / 8)

    @property
    def queued(self) -> int:
        """Packets that wait for the wire now, apart from those that will be lost."""
        now = self._clock()
        return sum(leaves > now for _, _, _, leaves in self._heap)

    @property
    def in_flight(self) -> int:
        """Packets accepted and not yet arrived."""
        return len(self._heap)

    # packets

    def send(self, frame: OutgoingFrame) -> bool:
        """Take `frame`, a super-segment in pieces. Checksums stay partial: nothing will damage them."""
        if frame.gso_size:
            for piece in segment(frame, self._link_header, partial=True):
                self._enter(b"".join(piece.parts), piece.checksum_start, piece.checksum_offset)
        else:
            self._enter(b"".join(frame.parts), frame.checksum_start, frame.checksum_offset)
        return True

    def _enter(self, data: bytes, checksum_start: int, checksum_offset: int) -> None:
        stats, impairments, now = self.stats, self.impairments, self._clock()
        size = len(data)
        stats.sent += 1
        stats.bytes += size
        for tap in self.taps:
            tap(self, OutgoingFrame((data,), checksum_start, checksum_offset))
        if self.is_down:
            stats.cut += 1
            return
        delay = impairments.delay
        if impairments.rule is not None or size > self._mtu + self._link_header:
            verdict = self._ask(data, now)
            if verdict is Verdict.DROP:
                stats.refused += 1
                return
            if verdict is Verdict.MARK:
                data = self._mark(data)
            if not isinstance(verdict, Verdict):
                delay += verdict
        leaves = now
        if impairments.rate is not None:
            leaves = max(self._wire_free, now)
            waiting = (leaves - now) * impairments.rate / 8
            if waiting and round(waiting) + size > self.queue_limit:
                stats.overflowed += 1
                return
            if impairments.mark is not None and waiting > impairments.mark:
                data = self._mark(data)
            self._wire_free = leaves = leaves + size * 8 / impairments.rate
        if self._lost is not None and self._lost():
            stats.lost += 1
            return
        frame = Frame(memoryview(data), checksum_start != 0, 0, checksum_start, checksum_offset)
        if impairments.corrupt and self._rng.random() < impairments.corrupt:
            stats.corrupted += 1
            frame = self._damage(frame)
        self._push(self._due(leaves + delay), frame, leaves)
        if impairments.duplicate and self._rng.random() < impairments.duplicate:
            stats.duplicated += 1
            self._push(self._due(leaves + delay), frame, leaves)

    def _mark(self, data: bytes) -> bytes:
        after = marked(data, self._link_header)
        self.stats.marked += after is not data
        return after

    def _ask(self, data: bytes, now: float) -> Verdict | float:
        rule = self.impairments.rule
        if len(data) > self._mtu + self._link_header:
            return Verdict.DROP
        if rule is None:
            return Verdict.PASS
        verdict = rule(Passing(memoryview(data), self._link_header != 0, self.stats.sent, now))
        if isinstance(verdict, Verdict) or (isinstance(verdict, (int, float)) and verdict >= 0):
            return verdict
        raise TypeError(
            f"the rule of a link returned {verdict!r}: return Verdict.PASS, DROP, MARK or seconds"
        )

    def _due(self, due: float) -> float:
        """When a packet arrives that would take until `due`."""
        impairments, rng = self.impairments, self._rng
        if impairments.jitter:
            due += impairments.jitter * rng.random()
        if due < self._last_due:
            due = self._last_due
        if impairments.reorder and rng.random() < impairments.reorder:
            self.stats.reordered += 1
            return due + impairments.reorder_delay * rng.random()
        self._last_due = due
        return due

    def _damage(self, frame: Frame) -> Frame:
        """A copy with one bit flipped behind the link header, where a checksum finds it."""
        data = bytearray(frame.data)
        if frame.checksum_start:
            checksum.complete(data, frame.checksum_start, frame.checksum_offset)
        bit = self._rng.randrange(self._link_header * 8, len(data) * 8)
        data[bit >> 3] ^= 1 << (bit & 7)
        return Frame(memoryview(data))

    def _push(self, due: float, frame: Frame, leaves: float) -> None:
        if self._in_flight > PIPE_BYTES:
            self.stats.overflowed += 1
            return
        self._in_flight += len(frame.data)
        self._serial += 1
        entry = (due, self._serial, frame, leaves)
        heapq.heappush(self._heap, entry)
        self.clear = False
        if self._heap[0] is entry:
            self._timer.arm(due)

    def _arrive(self, now: float) -> None:
        heap = self._heap
        batch: list[Frame] = []
        size = 0
        while heap and heap[0][0] <= now and len(batch) < BATCH_FRAMES and size < BATCH_BYTES:
            frame = heapq.heappop(heap)[2]
            size += len(frame.data)
            batch.append(frame)
        self._in_flight -= size
        self.stats.delivered += len(batch)
        if heap:
            self._timer.arm(heap[0][0])
        else:
            self._update()
        self._deliver(batch)
