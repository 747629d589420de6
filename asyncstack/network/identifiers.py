"""The lower 64 bits of an IPv6 address that a host makes for itself.

stable(prefix, mac, key, counter) -> bytes     the same on each visit, another one on each network (RFC 7217)
eui64(mac) -> bytes                            the Ethernet address spread out (RFC 4291 appendix A)
temporary(rng) -> bytes                        random (RFC 8981 3.3.1)

Each is 8 bytes. Those of `stable` and `temporary` are never reserved ones (RFC 5453).
"""

from __future__ import annotations

import random
from hashlib import blake2b
from typing import Final

SIZE: Final = 8
IDGEN_RETRIES: Final = 3  # how often one that turns out to be taken is made anew: RFC 7217 7
LINK_LOCAL_PREFIX: Final = b"\xfe\x80" + bytes(6)

_ANYCAST_FIRST: Final = bytes.fromhex("fdffffffffffff80")  # to fdff:ffff:ffff:ffff, RFC 2526
_ANYCAST_LAST: Final = bytes.fromhex("fdffffffffffffff")
_IANA: Final = bytes.fromhex("02005efffe")  # 0200:5eff:fe00:0 and on, of IANA's Ethernet block


def stable(prefix: bytes, mac: bytes, key: bytes, counter: int = 0) -> bytes:
    """RFC 7217 5: for the first 8 bytes of `prefix` on the interface with `mac`. `key` is the host's secret, of any
    length; `counter` the duplicates that were met there."""
    secret = blake2b(key, digest_size=32).digest()
    while True:
        data = prefix[:SIZE] + mac + counter.to_bytes(4, "big")
        made = blake2b(data, key=secret, digest_size=SIZE, person=b"RFC 7217").digest()
        if not is_reserved(made):
            return made
        counter += 1


def eui64(mac: bytes) -> bytes:
    """Of an Ethernet address, 6 bytes."""
    return bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]


def temporary(rng: random.Random) -> bytes:
    """One that says nothing about who uses it."""
    while True:
        made = rng.randbytes(SIZE)
        if not is_reserved(made):
            return made


def is_reserved(identifier: bytes) -> bool:
    """Whether no host may take it: the routers' anycast address, subnet anycast, and IANA's (RFC 5453)."""
    return (
        not any(identifier) or _ANYCAST_FIRST <= identifier <= _ANYCAST_LAST or identifier.startswith(_IANA)
    )
