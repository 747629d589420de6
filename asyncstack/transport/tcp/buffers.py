"""Buffers that tune themselves: as large as the path needs, as small as the application lets them be.

Receive buffer (dynamic right-sizing; Linux: tcp_rcv_space_adjust). The window has to hold what the sender may have in
flight in a round trip from now. In slow start that is twice what arrives in this one, and twice again what may be lost
and sent once more. So once in a round trip:

    copied   what the application has read since the last look
    wanted   2 copied + 16 MSS, and twice as much more as `copied` has grown: in slow start, where it doubles, that
             makes room for the round trip after the next one, whose ACKs are about to leave, and for losses in it

- only what is read counts: a slow reader keeps a small window, however fast the peer sends
- the buffer never shrinks by itself; what was promised could not be taken back anyhow
- a sample of the round trip taken while bytes wait to be read tells how long the peer waited for our window: it
  does not lengthen the estimate
- the round trip is the receiver's own view: from timestamps (RFC 7323), between an ACK and the data it let go; where
  there are none, that of the handshake, or the time that a full window takes to arrive

Send buffer (Linux: tcp_sndbuf_expand): two congestion windows, one in flight and one that waits to follow.

A size set by the user (SO_RCVBUF, SO_SNDBUF) switches this off for that direction.
"""

from __future__ import annotations

from typing import Final

from asyncstack.config import TcpConfig

INITIAL_RECEIVE: Final = 1 << 16  # bytes; Linux: 65535, half of tcp_rmem[1]
INITIAL_SEND: Final = 128 << 10
TICK: Final = 0.001  # of the timestamp clock; no round trip is taken for shorter, as looking costs too
EXTRA_SEGMENTS: Final = 16
JUMP: Final = 4.0  # a round trip this much longer than those before was a pause of the sender


def largest_window(config: TcpConfig) -> int:
    """Bytes of the receive window at most: the buffer, or TCP_WINDOW_CLAMP."""
    size, clamp = config.receive_buffer, config.window_clamp
    return clamp if 0 < clamp < size else size


def initial_receive_buffer(config: TcpConfig) -> int:
    """Bytes that a new connection is ready to hold."""
    most = largest_window(config)
    return min(INITIAL_RECEIVE, most) if config.tune_receive_buffer else most


def send_buffer_limit(config: TcpConfig, cwnd: int) -> int:
    """Bytes a writer should keep queued, sent or not."""
    if config.tune_send_buffer and 2 * cwnd < config.send_buffer:
        return max(2 * cwnd, min(INITIAL_SEND, config.send_buffer))
    return config.send_buffer


class ReceiveTuning:
    """Made by the first data: an idle connection does without. Times in seconds, sizes and positions in bytes."""

    __slots__ = ("_window", "fastest", "rtt", "since", "start")

    def __init__(self, position: int, window: int, mss: int, rtt: float, now: float) -> None:
        """`position`: read so far; `rtt`: of the handshake, 0.0 if it gave none."""
        self.rtt = rtt
        self.start = position  # of this round trip
        self.since = now
        self._window = window
        self.fastest = min(window, 10 * mss)  # bytes read in one round trip

    def look(self, position: int, unread: int, mss: int, rtt: float, now: float) -> int:
        """How large the buffer should be, given that the application has read up to `position`; 0: as it is.

        `rtt` is a sample from timestamps, below 0 if there is none.
        """
        copied = position - self.start
        if not self._measure(copied, unread, rtt, now):
            return 0
        fastest = self.fastest
        self.start = position
        self.since = now
        if copied <= fastest:
            return 0
        self.fastest = copied
        wanted = 2 * copied + EXTRA_SEGMENTS * mss
        return wanted + 2 * (wanted * (copied - fastest) // fastest)

    def due(self, now: float) -> float:
        """When to look again."""
        return now + max(self.rtt, TICK) if self.rtt else now

    def _measure(self, copied: int, unread: int, sample: float, now: float) -> bool:
        """Take the sample in. False: the round-trip time is not known yet."""
        if sample > 0.0:
            known = self.rtt
            if not known or sample < known:
                self.rtt = sample
            elif not unread:
                self.rtt += (min(sample, JUMP * known) - known) / 8
        elif not self.rtt:
            if copied < self._window:
                return False
            self.rtt = max(now - self.since, TICK)
        return True
