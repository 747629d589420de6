"""The neighbour table: which link address belongs to which next hop, and whether it still answers.

The states of an entry are in `reachability`; this is the table, its timers, its bound, and those who wait.

    lookup(address, now)           the MAC, or None while it is being asked for
    park, enqueue                  who and what waits for an address that is being asked for
    receive_reply, receive_request, confirm            what the network says
    solicitations_to_send(now), events(), deadline     what has to be done; `pending` says that there is some

An entry that nobody uses needs no timer: REACHABLE runs out when it is next looked up, STALE stays until it is used
or evicted. A timer runs only while a question is out, or is about to be asked (DELAY).

The table is bounded. Entries that have proven nothing (questions without an answer yet, or without any; neighbours that
asked for us but that we never sent to) are the first to go, so that a scan or a flood of forged requests does not
push out the neighbours in use. Among those in use the least recently used go, by second chance.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from asyncstack.counters import Counters
from asyncstack.link.frame import OutgoingFrame
from asyncstack.link.reachability import TRANSITIONS, Input, State

if TYPE_CHECKING:
    from asyncstack.link.interface import Sender

# RFC 4861 section 10; seconds
REACHABLE_TIME: Final = 30.0
DELAY_FIRST_PROBE_TIME: Final = 5.0
RETRANS_TIMER: Final = 1.0
MAX_SOLICITATIONS: Final = 3

QUEUE_FRAMES: Final = 64  # per entry: one datagram of 64 KiB may come as 45 fragments
QUEUE_BYTES: Final = 1 << 20  # all entries together

QueuedFrame = tuple[OutgoingFrame, int]  # without link header; its ethertype


@dataclass(slots=True)
class Resolved:
    """`address` is at `mac`: these frames and senders waited for it."""

    address: bytes
    mac: bytes
    frames: list[QueuedFrame]
    senders: list[Sender]


@dataclass(slots=True)
class Failed:
    """`address` did not answer, or its entry was `evicted` before it could."""

    address: bytes
    frames: list[QueuedFrame]
    senders: list[Sender]
    evicted: bool = False


Event = Resolved | Failed


@dataclass(slots=True, eq=False)
class Entry:
    """One neighbour. Times are clock seconds. `mac` is b"" while unknown."""

    address: bytes
    state: State | None = None
    mac: bytes = b""
    expires: float = 0.0  # REACHABLE until
    reachable_for: float = 0.0
    due: float = math.inf  # of the timer of INCOMPLETE, DELAY and PROBE
    asked: int = 0  # solicitations since the state was entered
    changed: float = -math.inf  # when `mac` was last set
    used: float = -math.inf  # last lookup
    ranked: float = -math.inf  # `used` when eviction last passed by
    frames: deque[QueuedFrame] = field(default_factory=deque)
    senders: dict[Sender, None] = field(default_factory=dict)


class NeighborTable:
    """The neighbours on one interface, of one family. Owned by `EthernetLink`; does no I/O.

    `name` begins the names of its counters. `limit`: entries. `lock_time`: seconds for which a fresh MAC is not
    replaced by an unsolicited one (ARP: the first of several replies wins).
    """

    def __init__(
        self,
        name: str,
        *,
        rng: random.Random,
        counters: Counters,
        limit: int = 1024,
        lock_time: float = 0.0,
        retrans: float = RETRANS_TIMER,
        solicitations: int = MAX_SOLICITATIONS,
    ) -> None:
        self.entries: dict[bytes, Entry] = {}  # to read only
        self.pending = False  # there may be solicitations or events, or the deadline moved
        self._name = name
        self._rng = rng
        self._counters = counters
        self._limit = max(limit, 1)
        self._lock_time = lock_time
        self.retrans = retrans  # seconds; routers may tell others (RFC 4861 6.3.4)
        self.reachable_time = REACHABLE_TIME
        self._max_solicitations = solicitations
        # every entry is in one of these, in the order of eviction
        self._unproven: dict[bytes, Entry] = {}
        self._in_use: dict[bytes, Entry] = {}
        self._timers: list[tuple[float, int, Entry]] = []
        self._serial = 0
        self._solicitations: list[tuple[bytes, bytes | None]] = []
        self._events: list[Event] = []
        self._parked: dict[Sender, Entry] = {}
        self._queued_bytes = 0

    # commands

    def lookup(self, address: bytes, now: float) -> bytes | None:
        """The MAC of `address`, None while it is unknown; starts to ask, or to check, where that is due."""
        entry = self.entries.get(address)
        if entry is not None and entry.state is State.REACHABLE and now < entry.expires:
            entry.used = now
            return entry.mac
        if entry is None:
            self._make_room()
            entry = Entry(address)
        elif entry.state is State.REACHABLE:
            self._apply(entry, Input.TIMEOUT, now)
        entry.used = now
        self._apply(entry, Input.LOOKUP, now)
        return entry.mac or None

    def enqueue(self, address: bytes, frame: OutgoingFrame, ethertype: int) -> bool:
        """Keep `frame` until `address` is resolved; the oldest give way. False: nobody is asking for it."""
        entry = self.entries.get(address)
        if entry is None or entry.state is not State.INCOMPLETE:
            return False
        size = len(frame)
        while entry.frames and (len(entry.frames) >= QUEUE_FRAMES or self._queued_bytes + size > QUEUE_BYTES):
            self._queued_bytes -= len(entry.frames.popleft()[0])
            self._count("queue_dropped")
        if self._queued_bytes + size > QUEUE_BYTES:
            self._count("queue_dropped")
            return True
        entry.frames.append((frame, ethertype))
        self._queued_bytes += size
        return True

    def park(self, address: bytes, sender: Sender) -> bool:
        """Let `sender` wait for `address`, and for no other. False: nobody is asking for `address`."""
        entry = self.entries.get(address)
        if entry is None or entry.state is not State.INCOMPLETE:
            return False
        self.unpark(sender)
        entry.senders[sender] = None
        self._parked[sender] = entry
        return True

    def unpark(self, sender: Sender) -> None:
        """`sender` waits no longer: it was closed."""
        entry = self._parked.pop(sender, None)
        if entry is not None:
            del entry.senders[sender]

    def forget(self) -> None:
        """Ask for everybody anew. Who is being asked for still is, and who waits for that still does."""
        for entry in [entry for entry in self.entries.values() if entry.state is not State.INCOMPLETE]:
            self._drop(entry)

    def clear(self) -> None:
        """Forget everything, also who waits."""
        for container in (self.entries, self._unproven, self._in_use, self._parked):
            container.clear()
        for queue in (self._timers, self._solicitations, self._events):
            queue.clear()
        self._queued_bytes = 0

    # inputs

    def receive_reply(
        self, address: bytes, mac: bytes, now: float, *, solicited: bool, override: bool = True
    ) -> bool:
        """An advertisement or an ARP packet says that `address` is at `mac` (RFC 4861 7.2.5).

        Changes existing entries only. `mac` may be b"" (an advertisement need not repeat it). `solicited`: it
        answers a question. `override`: it may replace another MAC. Returns whether it counts.
        """
        entry = self.entries.get(address)
        if entry is None:
            self._count("unexpected_reply")
            return False
        if not mac and not entry.mac:
            return False
        differs = bool(mac) and mac != entry.mac
        if differs and entry.mac and not (override and now - entry.changed >= self._lock_time):
            self._count("conflicting_reply")
            self._apply(entry, Input.CONFLICT, now)
            return False
        if differs:
            entry.mac = mac
            entry.changed = now
        if solicited:
            self._apply(entry, Input.CONFIRMED, now)
        elif differs:
            self._apply(entry, Input.LEARNED, now)
        return True

    def receive_request(self, address: bytes, mac: bytes, now: float) -> None:
        """`address`, at `mac`, asked for us: it will be answered, so keep it (RFC 826; RFC 4861 7.2.3)."""
        entry = self.entries.get(address)
        if entry is not None:
            self.receive_reply(address, mac, now, solicited=False)
        elif self._make_room(by_request=True):
            entry = Entry(address, mac=mac, changed=now)
            self._apply(entry, Input.LEARNED, now)
        else:
            self._count("request_not_kept")

    def confirm(self, address: bytes, now: float) -> None:
        """An upper layer saw progress (RFC 4861 7.3.1): new data was acknowledged by way of `address`."""
        entry = self.entries.get(address)
        if entry is None:
            return
        if entry.state is State.REACHABLE:
            entry.expires = now + entry.reachable_for
        elif entry.mac:
            self._apply(entry, Input.CONFIRMED, now)

    def timer_expired(self, now: float) -> None:
        """Ask again, begin to probe, or give up, wherever that is due. Early calls do nothing."""
        while self.deadline <= now:
            entry = heapq.heappop(self._timers)[2]
            entry.due = math.inf
            if entry.state is State.DELAY:
                self._apply(entry, Input.TIMEOUT, now)
            elif entry.asked < self._max_solicitations:
                self._solicit(entry, now)
            else:
                self._apply(entry, Input.EXHAUSTED, now)

    # outputs

    @property
    def deadline(self) -> float:
        """When to call `timer_expired`; `math.inf` for never."""
        timers = self._timers
        while timers and timers[0][0] != timers[0][2].due:
            heapq.heappop(timers)
        return timers[0][0] if timers else math.inf

    def solicitations_to_send(self, now: float) -> list[tuple[bytes, bytes | None]]:
        """The addresses to ask for since the last call, each with the MAC to ask, None for all on the link."""
        solicitations, self._solicitations = self._solicitations, []
        return solicitations

    def events(self) -> list[Event]:
        """What became of those who wait, since the last call."""
        events, self._events = self._events, []
        return events

    def __len__(self) -> int:
        return len(self.entries)

    def is_asking(self, address: bytes) -> bool:
        """Whether an answer from `address` would be no surprise."""
        entry = self.entries.get(address)
        return entry is not None and entry.state in (State.INCOMPLETE, State.PROBE, State.FAILED)

    # the machine

    def _apply(self, entry: Entry, event: Input, now: float) -> None:
        state = TRANSITIONS.get((entry.state, event))
        if state is State.REACHABLE:
            entry.reachable_for = self.reachable_time * self._rng.uniform(0.5, 1.5)
            entry.expires = now + entry.reachable_for
        if state is not None and state is not entry.state:
            self._enter(entry, state, now)

    def _enter(self, entry: Entry, state: State, now: float) -> None:
        """The one place that assigns `state`."""
        waiting = entry.state is State.INCOMPLETE
        entry.state = state
        entry.due = math.inf
        entry.asked = 0
        if state is State.INCOMPLETE or state is State.PROBE:
            self._solicit(entry, now)
        elif state is State.DELAY:
            self._set_timer(entry, now + DELAY_FIRST_PROBE_TIME)
        elif state is State.FAILED:
            entry.mac = b""
            self._count("failed")
            self._tell(Failed(entry.address, *self._release(entry)))
        elif waiting:
            self._tell(Resolved(entry.address, entry.mac, *self._release(entry)))
        self._rank(entry)

    def _solicit(self, entry: Entry, now: float) -> None:
        entry.asked += 1
        self._solicitations.append((entry.address, entry.mac or None))
        self._set_timer(entry, now + self.retrans)

    def _set_timer(self, entry: Entry, due: float) -> None:
        entry.due = due
        self._serial += 1
        if len(self._timers) > 2 * self._limit:
            self._timers = [timer for timer in self._timers if timer[0] == timer[2].due]
            heapq.heapify(self._timers)
        heapq.heappush(self._timers, (due, self._serial, entry))
        self.pending = True

    def _tell(self, event: Event) -> None:
        self._events.append(event)
        self.pending = True

    def _release(self, entry: Entry) -> tuple[list[QueuedFrame], list[Sender]]:
        """Take what waits for `entry` off it."""
        frames, senders = list(entry.frames), list(entry.senders)
        entry.frames.clear()
        entry.senders.clear()
        self._queued_bytes -= sum(len(frame) for frame, _ in frames)
        for sender in senders:
            del self._parked[sender]
        return frames, senders

    def _count(self, what: str) -> None:
        self._counters[f"{self._name}.{what}"] += 1

    # the bound

    def _rank(self, entry: Entry) -> None:
        """Put `entry` into the order of eviction that its state and use have earned."""
        address = entry.address
        self.entries[address] = entry
        proven = bool(entry.mac) and entry.used > -math.inf
        to, other = (self._in_use, self._unproven) if proven else (self._unproven, self._in_use)
        if address not in to:
            other.pop(address, None)
            to[address] = entry
            entry.ranked = entry.used

    def _make_room(self, by_request: bool = False) -> bool:
        """Evict until one more entry fits. A request may displace only what proved no more than it."""
        # the unproven may always hold this many, or lookups in a full table would displace each other
        share = max(self._limit // 8, 1)
        while len(self.entries) >= self._limit:
            if self._unproven and (len(self._unproven) >= share or not self._in_use or by_request):
                victim = next(iter(self._unproven.values()))
                if by_request and victim.state is State.INCOMPLETE:
                    return False
            elif by_request:
                return False
            else:
                victim = self._least_recently_used()
            self._evict(victim)
        return True

    def _least_recently_used(self) -> Entry:
        while True:
            entry = next(iter(self._in_use.values()))
            if entry.used <= entry.ranked:
                return entry
            entry.ranked = entry.used
            self._in_use[entry.address] = self._in_use.pop(entry.address)

    def _drop(self, entry: Entry) -> None:
        for container in (self.entries, self._unproven, self._in_use):
            container.pop(entry.address, None)
        entry.due = math.inf

    def _evict(self, entry: Entry) -> None:
        self._drop(entry)
        self._count("evicted")
        if entry.frames or entry.senders:
            self._tell(Failed(entry.address, *self._release(entry), evicted=True))
