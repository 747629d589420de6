"""Initial sequence numbers and timestamp offsets (RFC 6528 3, RFC 7323 5.4).

ISN = M + F(local address, local port, remote address, remote port, secret), where M ticks every 4 us and F is
a keyed hash: no observer of one connection can guess the numbers of another, and a connection that reuses a
4-tuple starts above its predecessor.
"""

from __future__ import annotations

import random
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Final

from asyncstack.transport.tcp.sequence import MASK

TICKS_PER_SECOND: Final = 250_000
KNOWN_PAIRS: Final = 1024  # of hosts, whose timestamp offset is kept


class InitialNumbers:
    """The numbers that a connection starts with. `rng` gives the secret, so that a seed repeats a run."""

    __slots__ = ("_isn", "_secret", "_timestamp")

    def __init__(self, rng: random.Random) -> None:
        self._secret = rng.randbytes(32)
        # to be copied: that costs a third of setting a keyed hash up
        self._isn = blake2b(digest_size=4, key=self._secret, person=b"isn")
        timestamp = blake2b(digest_size=4, key=self._secret, person=b"timestamp")
        self._timestamp = lru_cache(KNOWN_PAIRS)(partial(_number, timestamp))

    def sequence(self, local: bytes, local_port: int, remote: bytes, remote_port: int, now: float) -> int:
        """The initial sequence number of a connection opened at `now` (seconds)."""
        four_tuple = b"%b%b%d %d" % (local, remote, local_port, remote_port)
        return (int(now * TICKS_PER_SECOND) + _number(self._isn, four_tuple)) & MASK

    def timestamp_offset(self, local: bytes, remote: bytes) -> int:
        """What to add to the timestamp clock. One value per pair of hosts, not per connection: so values go
        on rising over connections, as RFC 6191 and PAWS in a peer's TIME-WAIT ask."""
        return self._timestamp(local + remote)

    def key(self, purpose: bytes) -> bytes:
        """32 bytes that nobody else knows."""
        return blake2b(b"", digest_size=32, key=self._secret, person=purpose).digest()


def _number(keyed: blake2b, data: bytes) -> int:
    """32 bits that only who has the key can foretell."""
    made = keyed.copy()
    made.update(data)
    return int.from_bytes(made.digest(), "big")
