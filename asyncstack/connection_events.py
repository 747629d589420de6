"""What TCP connections do, as `Stack.events` tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class ConnectionEvent:
    """Something happened to a TCP connection at `time`, seconds of the loop's clock.

    `local` and `remote` are addresses as `getsockname()` has them. `cwnd` and `ssthresh` are bytes after the event
    (an `ssthresh` of 2**62: no loss yet), `srtt` is seconds, 0.0 before the first sample.
    """

    time: float
    local: tuple[Any, ...]
    remote: tuple[Any, ...]
    cwnd: int
    ssthresh: int
    srtt: float


@dataclass(slots=True)
class ConnectionOpened(ConnectionEvent):
    """A SYN was sent, or (`passive`) received by a listener."""

    passive: bool


@dataclass(slots=True)
class ConnectionEstablished(ConnectionEvent):
    """The handshake is complete."""


@dataclass(slots=True)
class SegmentRetransmitted(ConnectionEvent):
    """`size` bytes from the sequence number `seq` (as on the wire) left once more."""

    seq: int
    size: int


@dataclass(slots=True)
class RecoveryStarted(ConnectionEvent):
    """Loss was found by acknowledgements (RFC 6675, RFC 8985), with `flight` bytes outstanding from `seq` on."""

    seq: int
    flight: int


@dataclass(slots=True)
class RetransmissionTimeout(ConnectionEvent):
    """The retransmission timer expired (RFC 6298), with `flight` bytes outstanding from `seq` on."""

    seq: int
    flight: int


@dataclass(slots=True)
class CongestionWindowChanged(ConnectionEvent):
    """`cwnd`, which was `before`, or `ssthresh` is another one."""

    before: int


@dataclass(slots=True)
class ConnectionClosed(ConnectionEvent):
    """The connection is over. `errno` is 0 and `reason` empty if it ended in order or by our own wish; `sent` and
    `received` are the bytes of the streams."""

    errno: int
    reason: str
    sent: int
    received: int
