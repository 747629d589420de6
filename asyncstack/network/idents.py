"""The identification of IPv4 datagrams that may be cut into fragments (RFC 6864)."""

from __future__ import annotations

import random
from array import array
from typing import Final

from asyncstack.network.routing import Path

_COUNTERS: Final = 1024


class Idents:
    """Counters that start at random and are shared by few flows: an ident does not repeat soon between two hosts
    (RFC 6864 4.3), and tells little about other traffic."""

    __slots__ = ("_counters", "_key")

    def __init__(self, rng: random.Random) -> None:
        self._counters = array("H", rng.randbytes(2 * _COUNTERS))
        self._key = rng.getrandbits(16)

    def next(self, path: Path, protocol: int) -> int:
        """The ident, 16 bits, for the next datagram of `protocol` along `path`."""
        slot = (path.address_sum * 31 + protocol + self._key) % _COUNTERS
        ident = self._counters[slot] = (self._counters[slot] + 1) & 0xFFFF
        return ident
