"""Two connections joined by a bad link, in virtual time: the test bed of transport/tcp."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field, replace

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.connection import Connection
from asyncstack.transport.tcp.output import silent
from asyncstack.transport.tcp.state import State
from asyncstack.wire.tcp import ACK, CWR, FIN, PSH, SYN, Segment, build, parse

MASK = 0xFFFFFFFF


def cut(segment: Segment) -> list[Segment]:
    """The wire segments of a super-segment."""
    unit = segment.gso_size
    if not unit or len(segment.payload) <= unit:
        return [segment]
    pieces = []
    for at in range(0, len(segment.payload), unit):
        last = at + unit >= len(segment.payload)
        flags = segment.flags if last else segment.flags & ~(FIN | PSH)
        if at:
            flags &= ~CWR
        payload = segment.payload[at : at + unit]
        seq = (segment.seq + at) & MASK
        pieces.append(replace(segment, seq=seq, flags=flags, payload=payload, gso_size=0))
    return pieces


def through_bytes(segment: Segment) -> Segment:
    """What the other side parses: the numbers as the wire has them, and the payload inside a frame."""
    return parse(memoryview(build(segment, 0) + bytes(segment.payload)))


@dataclass
class Link:
    """One direction. Rates are probabilities per wire segment, times seconds, `rate` bytes per second."""

    rng: random.Random
    delay: float = 0.01
    jitter: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    rate: float = math.inf
    cutting: bool = True
    largest: int = 1 << 16  # bytes of payload; what has more is dropped without a word
    drop: set[int] = field(default_factory=set)  # numbers of wire segments with payload, from 1
    data_segments: int = 0
    free_at: float = 0.0
    carried: list[tuple[float, Segment]] = field(default_factory=list)

    def carry(self, segment: Segment, now: float) -> list[tuple[float, Segment]]:
        """(arrival, segment) of what gets through."""
        arrivals = []
        for piece in cut(segment) if self.cutting else [segment]:
            self.carried.append((now, piece))
            if piece.payload:
                self.data_segments += 1
                if self.data_segments in self.drop or len(piece.payload) > self.largest:
                    continue
            self.free_at = max(self.free_at, now) + (len(piece.payload) + 52) / self.rate
            for _ in range(2 if self.rng.random() < self.duplicate else 1):
                if self.rng.random() < self.loss:
                    continue
                due = self.free_at + self.delay + self.rng.random() * self.jitter
                if self.rng.random() < self.reorder:
                    due += self.rng.random() * 3 * self.delay
                arrivals.append((due, through_bytes(piece)))
        return arrivals


@dataclass
class End:
    """A connection and its application."""

    connection: Connection
    link: Link
    to_send: bytes = b""
    chunk: int = 1 << 16
    read_at: float = 0.0  # does not read before
    read_every: float = 0.0
    close_after: bool = True  # shutdown after the last byte
    received: bytearray = field(default_factory=bytearray)
    events: list[str] = field(default_factory=list)
    written: int = 0
    finished: bool = False
    next_read: float = 0.0
    window_edges: list[int] = field(default_factory=list)

    def turn(self, now: float) -> None:
        connection = self.connection
        for event in connection.events():
            self.events.append(event.value)
        if now >= self.read_at and now >= self.next_read:
            if connection.unread:
                self.next_read = now + self.read_every
            self.received += b"".join(connection.read())
        self._write()
        if self.close_after and self.written == len(self.to_send) and not self.finished:
            self.finished = True
            connection.shutdown(now)

    def _write(self) -> None:
        connection = self.connection
        if connection.state not in (State.ESTABLISHED, State.CLOSE_WAIT):
            return
        while self.written < len(self.to_send) and connection.queued < connection.send_buffer_limit:
            piece = self.to_send[self.written : self.written + self.chunk]
            connection.write(piece)
            self.written += len(piece)

    @property
    def deadline(self) -> float:
        wake = self.connection.deadline
        if self.connection.unread:
            wake = min(wake, max(self.read_at, self.next_read))
        return wake


class Pair:
    """`a` opens, `b` accepts. `run` moves time from event to event."""

    def __init__(
        self,
        seed: int = 1,
        config_a: TcpConfig | None = None,
        config_b: TcpConfig | None = None,
        mss: int = 1460,
        most: int = 1460 * 16,
        **link: float,
    ) -> None:
        rng = random.Random(seed)
        self.now = 100.0
        self.heap: list[tuple[float, int, bool, Segment]] = []
        self.serial = 0
        sizes = {"mss": mss, "max_payload": most}
        iss_a, iss_b = rng.getrandbits(32), rng.getrandbits(32)
        offset_a, offset_b = rng.getrandbits(32), rng.getrandbits(32)
        self.a = End(
            Connection(
                config_a or TcpConfig(), local_port=1, remote_port=2, iss=iss_a, ts_offset=offset_a, **sizes
            ),
            Link(random.Random(rng.random()), **link),
        )
        self.b = End(
            Connection(
                config_b or TcpConfig(), local_port=2, remote_port=1, iss=iss_b, ts_offset=offset_b, **sizes
            ),
            Link(random.Random(rng.random()), **link),
        )

    def open(self) -> None:
        self.a.connection.open(self.now)

    def flush(self) -> None:
        for end in (self.a, self.b):
            end.turn(self.now)
            quiet = silent(end.connection)
            while (segment := end.connection.segment_to_send(self.now)) is not None:
                assert not quiet, "`silent` is sure that nothing is to be sent"
                self.check_offer(end, segment)
                for due, piece in end.link.carry(segment, self.now):
                    self.serial += 1
                    heapq.heappush(self.heap, (due, self.serial, end is self.a, piece))
            end.turn(self.now)

    def check_offer(self, end: End, segment: Segment) -> None:
        """What every segment has to obey."""
        rcv = end.connection.receiver
        if segment.flags & ACK and not segment.flags & SYN:
            edge = rcv.nxt + (segment.window << rcv.scale)
            if end.window_edges:
                assert edge >= end.window_edges[-1] - ((1 << rcv.scale) - 1), (
                    "the window's right edge moved left"
                )
                edge = max(edge, end.window_edges[-1])
            end.window_edges.append(edge)
        if segment.gso_size:
            assert len(segment.payload) > segment.gso_size

    def step(self, until: float = math.inf) -> bool:
        """Move to the next event. Returns False if there is none."""
        self.flush()
        due = min(self.heap[0][0] if self.heap else math.inf, self.a.deadline, self.b.deadline)
        if due > until or due == math.inf:
            return False
        self.now = max(self.now, due)
        while self.heap and self.heap[0][0] <= self.now:
            _, _, to_b, segment = heapq.heappop(self.heap)
            end = self.b if to_b else self.a
            if to_b and end.connection.state is State.CLOSED and not end.events and segment.flags & SYN:
                end.connection.accept(segment, self.now)
            else:
                end.connection.receive_segment(segment, self.now)
            end.turn(self.now)
        for end in (self.a, self.b):
            if end.connection.deadline <= self.now:
                end.connection.timer_expired(self.now)
        return True

    def run(self, limit: float = 600.0) -> None:
        """Until nothing can happen any more, or `limit` seconds have passed."""
        until = self.now + limit
        while self.step(until):
            pass

    def run_while(self, condition: object, limit: float = 600.0) -> None:
        until = self.now + limit
        while condition() and self.step(until):  # type: ignore[operator]
            pass
