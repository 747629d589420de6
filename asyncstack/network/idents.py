"""The identification of IPv4 datagrams that may be cut into fragments (RFC 6864)."""

from __future__ import annotations

import random
from array import array
from hashlib import blake2s
from typing import Final

from asyncstack.network.routing import Path

_COUNTERS: Final = 1024
_KNOWN: Final = 1024  # flows whose keys are kept; any of them can be computed again


class Idents:
    """Counters, shared by few flows, behind a permutation for each flow: each pair of hosts.

    A counter takes all of the 65,536 values before it comes back to one, so an ident does not repeat soon between two
    hosts (RFC 6864 4.3). Who sees the idents of one flow can not foretell those of another (RFC 7739 4 has the
    attacks): the permutations, and which flows share a counter, come from a secret.
    """

    __slots__ = ("_counters", "_known", "_secret")

    def __init__(self, rng: random.Random) -> None:
        self._counters = array("H", rng.randbytes(2 * _COUNTERS))
        self._secret = rng.randbytes(16)
        self._known: dict[bytes, tuple[int, int, int]] = {}

    def next(self, path: Path) -> int:
        """The ident, 16 bits, for the next datagram along `path`."""
        flow = path.addresses
        slot, factor, shift = self._known.get(flow) or self._derive(flow)
        self._counters[slot] = value = (self._counters[slot] + 1) & 0xFFFF
        # the factor is odd, so no two values become one; nor do they below
        value = value * factor + shift & 0xFFFF
        return value ^ value >> 8

    def _derive(self, flow: bytes) -> tuple[int, int, int]:
        digest = blake2s(flow, digest_size=6, key=self._secret).digest()
        slot, factor, shift = (int.from_bytes(digest[at : at + 2], "big") for at in (0, 2, 4))
        if len(self._known) >= _KNOWN:
            self._known.clear()
        keys = self._known[flow] = (slot % _COUNTERS, factor | 1, shift)
        return keys
