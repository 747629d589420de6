"""SYN cookies (RFC 4987 3.6): a handshake that keeps no state until the client has shown that it can be reached.

    SYN ->      <- SYN ACK, its number is the cookie      ACK of that number ->      ESTABLISHED

- the cookie: F(4-tuple) + the client's number + the minute in the top 8 bits + (F'(4-tuple, the client's number,
  minute) + an index into a table of MSS values) in the low 24; F and F' are hashes keyed with two secrets. It is good
  for two minutes. The client's number is in F' so that a segment behind lost data does not pass for the first one,
  with another index
- what else the SYN offered goes into the low bits of our timestamp, which the client echoes, laid out as in Linux:
  4 bits window scale (15: none), 1 bit SACK, 1 bit ECN. Nothing is lost if the client has timestamps; without them
  there is neither window scaling nor SACK nor ECN
- an ACK that fits no cookie was acknowledging something else: it gets its reset. A guess is right once in 2**28

What the answer says is the business of the handshake: a SYN is cut down to what a cookie can hold (`holdable`), a
connection that nobody keeps answers it, and later an equal SYN is made out of the ACK (`syn_of`).
"""

from __future__ import annotations

import random
from bisect import bisect_right
from hashlib import blake2b
from typing import Final

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.handshake import DEFAULT_MSS
from asyncstack.transport.tcp.sequence import HALF, MASK
from asyncstack.wire.tcp import AE, CWR, ECE, SYN, Segment

# Values that peers have; a peer in between is taken to have the lower one.
MSS_TABLES: Final = {
    4: (88, 536, 1200, 1300, 1400, 1440, 1460, 8960),
    16: (88, 536, 1220, 1360, 1400, 1420, 1440, 8940),
}
LIFETIME: Final = 2  # minutes, the one it was made in included; Linux: MAX_SYNCOOKIE_AGE
LOW_BITS: Final = 24
LOW_MASK: Final = (1 << LOW_BITS) - 1

SCALE_MASK: Final = 0x0F
NO_SCALE: Final = 0x0F
SACK_BIT: Final = 0x10
ECN_BIT: Final = 0x20
OPTION_BITS: Final = 6
OPTION_MASK: Final = (1 << OPTION_BITS) - 1

Key = tuple[bytes, int, bytes, int]  # local address, local port, remote address, remote port


class SynCookies:
    """Makes and checks the cookies of one stack. `rng` gives the secrets."""

    __slots__ = ("_secrets",)

    def __init__(self, rng: random.Random) -> None:
        self._secrets = (rng.randbytes(32), rng.randbytes(32))

    def make(self, key: Key, syn: Segment, now: float) -> int:
        """The initial sequence number that answers `syn` at `now` (seconds)."""
        minute = int(now) // 60
        index = max(bisect_right(MSS_TABLES[len(key[0])], syn.mss or DEFAULT_MSS) - 1, 0)
        low = (self._hash(1, key, syn.seq, minute) + index) & LOW_MASK
        return (self._hash(0, key) + syn.seq + (minute << LOW_BITS) + low) & MASK

    def mss(self, key: Key, ack: Segment, now: float) -> int:
        """The peer's MSS if `ack` acknowledges a cookie of the last minutes, else 0.

        The secrets go into sums and nothing is compared byte by byte: the time taken tells a forger nothing.
        """
        minute = int(now) // 60
        seq = (ack.seq - 1) & MASK
        rest = (ack.ack - 1 - self._hash(0, key) - seq) & MASK
        age = (minute - (rest >> LOW_BITS)) & (MASK >> LOW_BITS)
        index = (rest - self._hash(1, key, seq, minute - age)) & LOW_MASK
        table = MSS_TABLES[len(key[0])]
        return table[index] if age < LIFETIME and index < len(table) else 0

    def _hash(self, which: int, key: Key, seq: int = 0, minute: int = 0) -> int:
        local, local_port, remote, remote_port = key
        data = b"%b%b%d %d %d %d" % (local, remote, local_port, remote_port, seq, minute)
        return int.from_bytes(blake2b(data, digest_size=4, key=self._secrets[which]).digest(), "big")


def holdable(syn: Segment, config: TcpConfig) -> Segment:
    """`syn` without what a cookie can not remember: everything but the MSS unless both sides have timestamps, and
    in any case Fast Open and the more accurate of the two feedbacks of ECN."""
    if config.timestamps and syn.ts_val >= 0:
        flags, ts_val, scale, sack = syn.flags & ~AE, syn.ts_val, syn.window_scale, syn.sack_permitted
    else:
        flags, ts_val, scale, sack = syn.flags & ~(AE | ECE | CWR), -1, -1, False
    return Segment(
        syn.src_port, syn.dst_port, syn.seq, 0, flags, syn.window, b"", ts_val, 0, (), syn.mss, scale, sack
    )


def options_in_timestamp(ts_val: int, syn: Segment) -> int:
    """`ts_val` with the offers of `syn` in its low bits; never later than it was (RFC 7323 5.4)."""
    options = NO_SCALE if syn.window_scale < 0 else min(syn.window_scale, NO_SCALE - 1)
    if syn.sack_permitted:
        options |= SACK_BIT
    if syn.flags & (ECE | CWR) == ECE | CWR:
        options |= ECN_BIT
    stamped = (ts_val & ~OPTION_MASK) | options
    if (ts_val - stamped) & MASK >= HALF:
        stamped -= 1 << OPTION_BITS
    return stamped & MASK


def syn_of(ack: Segment, mss: int) -> Segment:
    """The SYN that the sender of `ack`, the first segment after a cookie, must have sent."""
    syn = Segment(ack.src_port, ack.dst_port, (ack.seq - 1) & MASK, 0, SYN, 0, mss=mss)
    if ack.ts_val >= 0:
        options = ack.ts_ecr & OPTION_MASK
        scale = options & SCALE_MASK
        syn.ts_val = ack.ts_val
        syn.window_scale = -1 if scale == NO_SCALE else scale
        syn.sack_permitted = bool(options & SACK_BIT)
        if options & ECN_BIT:
            syn.flags |= ECE | CWR
    return syn
