"""How a client calls itself (RFC 8415 11)."""

from __future__ import annotations

import random

_LINK_LAYER, _UUID = b"\x00\x03", b"\x00\x04"
_ETHERNET = b"\x00\x01"


def make_duid(mac: bytes, rng: random.Random) -> bytes:
    """DUID-LL of the Ethernet address `mac` (RFC 8415 11.4); if that is b"", DUID-UUID of a random one (RFC 6355)."""
    if mac:
        return _LINK_LAYER + _ETHERNET + mac
    uuid = bytearray(rng.getrandbits(128).to_bytes(16, "big"))
    uuid[6] = uuid[6] & 0x0F | 0x40  # RFC 9562 5.4: version 4
    uuid[8] = uuid[8] & 0x3F | 0x80
    return _UUID + bytes(uuid)
