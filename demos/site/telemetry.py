"""What the page is told about the server's connections, four times a second.

A sample covers the seconds [t0, t1) of the clock that also stamps the packets of `--capture`: its numbers can be
computed again from the packets of `local` > `remote`, the connection watched at t1 (None: no connection). A(t) is the
highest acknowledgement number from `remote` captured before t, and before the first one the number after the
SYN; S(t) is the end of the highest data sent before t.

goodput        bytes per second: (A(t1) - A(t0)) / (t1 - t0)
retransmitted  segments sent in [t0, t1) that begin below S at their time
cwnd           bytes, at t1. The transfer always has more to send and the peer's window is larger, so the flight,
               S - A, comes within a segment of it several times per round trip: where nothing is sent again and
               no ACK carries SACK, the highest flight in [t0, t1) is cwnd, less a segment and its growth since.
ssthresh, rtt  of the connection at t1, bytes (None: no loss yet) and seconds; pipe: bytes in the network (RFC 6675)
"""

from collections import deque
from typing import Any

from asyncstack.timing import Clock
from demos.site.connections import connections, row, watched
from demos.site.world import World

SECONDS = 0.25
KEPT = 240  # samples: the minute that the charts show


class Telemetry:
    """Takes the samples and keeps those of the last minute; `count` numbers them."""

    def __init__(self, world: World, clock: Clock) -> None:
        self.world = world
        self.clock = clock
        self.samples: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.rows: list[dict[str, Any]] = []
        self.count = 0
        self._last = clock()
        self._before: tuple[object, int, int] = None, 0, 0  # bytes acknowledged, segments sent again

    def take(self) -> None:
        """Add the sample that ends now."""
        found = connections(self.world)
        t0, self._last = self._last, self.clock()
        self.rows = [row(self.world, one) for one in found]
        info = watched(self.world, found)
        link = self.world.faulty
        sample = {"t0": t0, "t1": self._last, "loss": link.loss, "delay": link.delay, "rate": link.rate}
        if info is not None:
            ends = info.local, info.remote
            acked, again = self._before[1:] if ends == self._before[0] else (0, 0)
            self._before = ends, info.bytes_acked, info.total_retrans
            sample |= row(self.world, info)
            sample["goodput"] = (info.bytes_acked - acked) / (self._last - t0)
            sample["retransmitted"] = info.total_retrans - again
        self.samples.append(sample)
        self.count += 1
