"""Ethernet addresses of our own devices."""

from __future__ import annotations

import random


def random_mac(rng: random.Random | None = None) -> bytes:
    """A random unicast, locally administered address, 6 bytes. Without `rng` the system's randomness is used."""
    address = bytearray((rng or random.SystemRandom()).randbytes(6))
    address[0] = address[0] & 0xFC | 0x02
    return bytes(address)


def parse_mac(text: str | bytes) -> bytes:
    """`"02:00:5e:10:00:01"`, or its 6 bytes, as 6 bytes. Raises ValueError unless it is a unicast address."""
    try:
        address = text if isinstance(text, bytes) else bytes.fromhex(text.replace(":", "").replace("-", ""))
    except ValueError:
        address = b""
    if len(address) != 6 or address[0] & 1 or not any(address):
        raise ValueError(f"{text!r} is no unicast Ethernet address, such as 02:00:5e:10:00:01")
    return address
