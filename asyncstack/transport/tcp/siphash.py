"""SipHash-2-4 (Aumasson and Bernstein, 2012): a short keyed hash.

Fast Open cookies are made with it, over the client's address and ours with a 16-byte key, as Linux makes them: servers
behind one address that have the same key accept each other's cookies, whichever of the two stacks they run
(RFC 7413 6.3.4).
"""

from __future__ import annotations

import struct
from typing import Final

MASK: Final = (1 << 64) - 1
# "somepseudorandomlygeneratedbytes"
INITIAL: Final = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


def _rotated(x: int, bits: int) -> int:
    return (x << bits | x >> 64 - bits) & MASK


def _rounds(count: int, v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    for _ in range(count):
        v0 = (v0 + v1) & MASK
        v1 = _rotated(v1, 13) ^ v0
        v0 = _rotated(v0, 32)
        v2 = (v2 + v3) & MASK
        v3 = _rotated(v3, 16) ^ v2
        v0 = (v0 + v3) & MASK
        v3 = _rotated(v3, 21) ^ v0
        v2 = (v2 + v1) & MASK
        v1 = _rotated(v1, 17) ^ v2
        v2 = _rotated(v2, 32)
    return v0, v1, v2, v3


def siphash(key: bytes, data: bytes) -> bytes:
    """The 8 bytes of the hash of `data`, little-endian as the algorithm has them; `key` has 16 bytes."""
    k0, k1 = struct.unpack("<QQ", key)
    v0, v1, v2, v3 = INITIAL[0] ^ k0, INITIAL[1] ^ k1, INITIAL[2] ^ k0, INITIAL[3] ^ k1
    padded = data + bytes(-(len(data) + 1) % 8) + bytes((len(data) & 0xFF,))
    for (word,) in struct.iter_unpack("<Q", padded):
        v0, v1, v2, v3 = _rounds(2, v0, v1, v2, v3 ^ word)
        v0 ^= word
    v0, v1, v2, v3 = _rounds(4, v0, v1, v2 ^ 0xFF, v3)
    return struct.pack("<Q", v0 ^ v1 ^ v2 ^ v3)
