"""Path MTUs smaller than the interface's, as routers reported them (RFC 1191, RFC 8201)."""

from __future__ import annotations

import math
from typing import Final

MINIMUM_IPV4: Final = 552  # bytes; believing less would let one forged message cripple a path (as Linux)
MINIMUM_IPV6: Final = 1280  # RFC 8201 section 4
LIFETIME: Final = 600.0  # seconds until a larger packet is tried again (RFC 1191 section 6.3)

# RFC 1191 section 7.1: what to try when a router does not say its MTU.
_PLATEAUS: Final = (32000, 17914, 8166, 4352, 2002, 1492, 1006, 552)


class PathMtuTable:
    """Destination -> MTU. Bounded: the entry that expires first makes room."""

    __slots__ = ("_entries", "_lifetime", "_limit")

    def __init__(self, *, limit: int = 1024, lifetime: float = LIFETIME) -> None:
        self._limit = limit
        self._lifetime = lifetime
        # One lifetime for all, and an entry that is renewed moves to the end: the first one expires first.
        self._entries: dict[bytes, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, destination: bytes) -> int:
        """The path MTU in bytes; 0: nothing is known."""
        entry = self._entries.get(destination)
        return entry[0] if entry is not None else 0

    def update(self, destination: bytes, mtu: int, now: float) -> bool:
        """Note `mtu`, not below the family's minimum. Returns whether that changed anything."""
        mtu = max(mtu, minimum_mtu(destination))
        before = self._entries.pop(destination, None)
        if before is None and len(self._entries) >= self._limit:
            del self._entries[next(iter(self._entries))]
        self._entries[destination] = (mtu, now + self._lifetime)
        return before is None or before[0] != mtu

    @property
    def deadline(self) -> float:
        """When the first entry expires; `math.inf` when there is none."""
        for _, expires in self._entries.values():
            return expires
        return math.inf

    def timer_expired(self, now: float) -> bool:
        """Forget what has expired. Returns whether anything has."""
        expired = [destination for destination, (_, expires) in self._entries.items() if expires <= now]
        for destination in expired:
            del self._entries[destination]
        return bool(expired)


def minimum_mtu(destination: bytes) -> int:
    """The smallest path MTU that is believed, bytes."""
    return MINIMUM_IPV4 if len(destination) == 4 else MINIMUM_IPV6


def plateau_below(length: int) -> int:
    """The next smaller common MTU than a packet of `length` bytes that did not pass."""
    for mtu in _PLATEAUS:
        if mtu < length:
            return mtu
    return MINIMUM_IPV4
