"""Reassembly of fragmented datagrams, for both families (RFC 791 3.2, RFC 815, RFC 8200 4.5). No I/O.

The rules here:
- Fragments may come in any order and more than once; an exact duplicate is ignored.
- Fragments that overlap, or disagree about the end, are an attack or a mistake: the whole datagram is dropped,
  with what is still to come of it (RFC 5722, for IPv4 too).
- Datagrams and bytes are bounded, bookkeeping included, for each source and in all; the oldest makes room. A datagram
  has no more pieces than the smallest link of the Internet would make of it.
- A datagram that is not complete in time is dropped; its first fragment, if it came, is handed back so that its
  sender can be told.

RFC 815 keeps a list of holes, to be found by going through it. Here the pieces are sorted by where they start, and the
place of a new one is found by bisection: the neighbours there say whether it overlaps, and as nothing ever does, a
datagram is complete when the sizes add up to its end. Nothing of that takes longer because an attacker chose the order.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import Final

from asyncstack.counters import Counters
from asyncstack.network.addresses import is_of_a_link
from asyncstack.wire.packet import Packet

IPV4_TIMEOUT: Final = 30.0  # seconds; Linux. RFC 1122 3.3.2 allows up to 120
IPV6_TIMEOUT: Final = 60.0  # RFC 8200 4.5
LARGEST_DATAGRAM: Final = 65535

# Charged for the objects that hold a datagram or a piece, so that small fragments can not cost more than they say.
_DATAGRAM_COST: Final = 512
_PIECE_COST: Final = 128

# A first fragment has to hold the transport header: filters look for the ports there (RFC 1858, RFC 7112).
_TRANSPORT_HEADER: Final = {1: 8, 6: 20, 17: 8, 58: 8}

# RFC 791 3.2: every link takes 68 bytes, so what arrives in more pieces than that makes was cut to cost us time.
MOST_PIECES: Final = -(-LARGEST_DATAGRAM // 48)
# One source may hold at most this part of what all may hold, datagrams and bytes; but one large datagram it may.
_SHARE: Final = 4
_LARGE: Final = 128 << 10

_CE: Final = 0b11

_Key = tuple[bytes, bytes, int, int, int]


@dataclass(slots=True)
class _Datagram:
    """The pieces so far. They never overlap, so their sizes add up to `end` exactly when none is missing."""

    deadline: float
    starts: list[int] = field(default_factory=list)
    pieces: list[bytes | memoryview] = field(default_factory=list)
    received: int = 0
    end: int = -1  # bytes in all; -1 while the last fragment is missing
    first: Packet | None = None
    ecn: int = 0  # bit n: codepoint n was seen
    cost: int = 0
    refused: bool = False


@dataclass(slots=True)
class _Source:
    """What one sender holds. `keys`: of its datagrams, the oldest first."""

    keys: dict[_Key, None] = field(default_factory=dict)
    cost: int = 0


def _key(packet: Packet) -> _Key:
    """What the fragments of a datagram have in common. RFC 8200 4.5 leaves the next header out: only the one in the
    first fragment counts. Where an address says who is meant only together with a link, that belongs to it."""
    src, dst = packet.src, packet.dst
    protocol = packet.protocol if len(src) == 4 else 0
    link = packet.interface.index if is_of_a_link(src) or is_of_a_link(dst) else 0
    return src, dst, protocol, packet.ident, link


class Reassembly:
    """The incomplete datagrams of one IP family. `name` ("ipv4", "ipv6") begins the names of its counters."""

    def __init__(
        self, name: str, counters: Counters, *, timeout: float, datagrams: int = 256, max_bytes: int = 4 << 20
    ) -> None:
        self.bytes = 0  # held, bookkeeping included
        self._name = name
        self._counters = counters
        self._timeout = timeout
        self._limit = datagrams
        self._max_bytes = max_bytes
        self._source_limit = max(datagrams // _SHARE, 1)
        self._source_bytes = max(max_bytes // _SHARE, min(max_bytes, _LARGE))
        self._datagrams: dict[_Key, _Datagram] = {}  # one timeout for all: the first is the oldest
        self._sources: dict[bytes, _Source] = {}

    def __len__(self) -> int:
        return len(self._datagrams)

    def receive_fragment(self, packet: Packet, now: float) -> tuple[Packet, bytes] | None:
        """Take a fragment. Once the datagram is complete: its first fragment, and all of its payload.

        The first fragment's `tos` has the ECN field of the whole (RFC 3168 5.3).
        """
        if not self._is_sound(packet):
            return None
        key = _key(packet)
        datagram = self._datagrams.get(key)
        if datagram is None:
            datagram = self._begin(key, now)
        if datagram.refused:
            self._count("fragment_refused")
            return None
        if not self._insert(key, datagram, packet):
            return None
        if datagram.received != datagram.end:
            return None
        self._forget(key)
        return self._join(datagram)

    @property
    def deadline(self) -> float:
        """When `timer_expired` has something to do; `math.inf` for never."""
        for datagram in self._datagrams.values():
            return datagram.deadline
        return math.inf

    def timer_expired(self, now: float) -> list[Packet]:
        """Drop what is too old. The first fragments of those datagrams, where they had come."""
        late = [key for key, datagram in self._datagrams.items() if datagram.deadline <= now]
        firsts = []
        for key in late:
            datagram = self._forget(key)
            if not datagram.refused:
                self._count("reassembly_timeout")
                if datagram.first is not None:
                    firsts.append(datagram.first)
        return firsts

    def clear(self) -> None:
        """Drop everything."""
        self._datagrams.clear()
        self._sources.clear()
        self.bytes = 0

    def _is_sound(self, packet: Packet) -> bool:
        size, start = len(packet.payload), packet.fragment_offset
        if not size or (packet.more_fragments and size & 7):
            return self._count("fragment_malformed")
        if start + size > LARGEST_DATAGRAM:
            return self._count("fragment_oversized")
        if start == 0 and packet.more_fragments and size < _TRANSPORT_HEADER.get(packet.protocol, 0):
            return self._count("fragment_tiny")
        return True

    def _begin(self, key: _Key, now: float) -> _Datagram:
        while self._datagrams and (len(self._datagrams) >= self._limit or self.bytes > self._max_bytes):
            self._evict(next(iter(self._datagrams)))
        source = self._sources.get(key[0])
        while source and len(source.keys) >= self._source_limit:
            self._evict(next(iter(source.keys)))
        datagram = self._datagrams[key] = _Datagram(now + self._timeout)
        source = self._sources.setdefault(key[0], _Source())
        source.keys[key] = None
        self._charge(datagram, source, _DATAGRAM_COST)
        return datagram

    def _insert(self, key: _Key, datagram: _Datagram, packet: Packet) -> bool:
        """Put the piece in its place. False: it brought nothing, or the datagram is dropped."""
        start, size = packet.fragment_offset, len(packet.payload)
        end = start + size
        at = bisect_left(datagram.starts, start)
        if (
            at < len(datagram.starts)
            and datagram.starts[at] == start
            and datagram.pieces[at] == packet.payload
        ):
            if packet.more_fragments == (end != datagram.end):
                self._count("fragment_duplicate")
                return False
            return self._refuse(key, datagram)
        if self._overlaps(datagram, at, start, end) or not self._agrees_on_end(datagram, packet, end):
            return self._refuse(key, datagram)
        if len(datagram.starts) >= MOST_PIECES:
            self._count("fragment_too_many")
            self._drop_pieces(key, datagram)
            return False
        if not self._make_room(key, datagram, size + _PIECE_COST):
            return False
        piece: bytes | memoryview = bytes(packet.payload)
        if start == 0:
            piece = self._keep_first(datagram, packet)
        datagram.starts.insert(at, start)
        datagram.pieces.insert(at, piece)
        datagram.received += size
        datagram.ecn |= 1 << (packet.tos & 3)
        if not packet.more_fragments:
            datagram.end = end
        return True

    @staticmethod
    def _overlaps(datagram: _Datagram, at: int, start: int, end: int) -> bool:
        starts = datagram.starts
        if at < len(starts) and starts[at] < end:
            return True
        return at > 0 and starts[at - 1] + len(datagram.pieces[at - 1]) > start

    @staticmethod
    def _agrees_on_end(datagram: _Datagram, packet: Packet, end: int) -> bool:
        if packet.more_fragments:
            return datagram.end < 0 or end < datagram.end
        if datagram.end >= 0:
            return False  # a second last fragment, and not a duplicate
        return not datagram.starts or datagram.starts[-1] + len(datagram.pieces[-1]) <= end

    @staticmethod
    def _keep_first(datagram: _Datagram, packet: Packet) -> memoryview:
        """Copy the whole first fragment once: its headers are needed again, and the piece is a view of it."""
        raw = memoryview(bytes(packet.raw))
        piece = raw[len(raw) - len(packet.payload) :]
        datagram.first = replace(packet, raw=raw, payload=piece)
        return piece

    def _join(self, datagram: _Datagram) -> tuple[Packet, bytes] | None:
        first = datagram.first
        assert first is not None  # nothing is missing, so offset 0 is there
        if datagram.ecn >> _CE & 1:
            # congestion met by a sender that can not be told: drop, as RFC 3168 5.3 says
            if datagram.ecn & 1:
                self._count("fragment_ecn_mismatch")
                return None
            first.tos |= _CE
        return first, b"".join(datagram.pieces)

    def _make_room(self, key: _Key, datagram: _Datagram, cost: int) -> bool:
        """Have the oldest go, of this source and of all, until `cost` more fits. False: it was this datagram."""
        source = self._sources[key[0]]
        while (own := source.cost + cost > self._source_bytes) or self.bytes + cost > self._max_bytes:
            oldest = next(iter(source.keys if own else self._datagrams))
            if oldest == key:
                self._count("reassembly_evicted")
                self._drop_pieces(key, datagram)
                return False
            self._evict(oldest)
        self._charge(datagram, source, cost)
        return True

    def _evict(self, key: _Key) -> None:
        self._count("reassembly_evicted")
        self._forget(key)

    def _refuse(self, key: _Key, datagram: _Datagram) -> bool:
        self._count("fragment_overlap")
        self._drop_pieces(key, datagram)
        return False

    def _drop_pieces(self, key: _Key, datagram: _Datagram) -> None:
        """Free the memory, but remember that this datagram is not wanted until its time is over."""
        self._charge(datagram, self._sources[key[0]], _DATAGRAM_COST - datagram.cost)
        datagram.starts, datagram.pieces, datagram.first = [], [], None
        datagram.refused = True

    def _forget(self, key: _Key) -> _Datagram:
        datagram = self._datagrams.pop(key)
        source = self._sources[key[0]]
        del source.keys[key]
        self._charge(datagram, source, -datagram.cost)
        if not source.keys:
            del self._sources[key[0]]
        return datagram

    def _charge(self, datagram: _Datagram, source: _Source, cost: int) -> None:
        datagram.cost += cost
        source.cost += cost
        self.bytes += cost

    def _count(self, reason: str) -> bool:
        self._counters[f"{self._name}.{reason}"] += 1
        return False
