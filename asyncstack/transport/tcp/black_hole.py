"""Paths that drop large packets and do not say so: packetization layer path MTU discovery (RFC 4821, RFC 8899).

Routers that send no ICMP message, or a firewall that drops it, turn RFC 1191 into a black hole: the handshake passes,
full segments never do. Found when the retransmission timer expires `TIMEOUTS` times in a row for a segment larger
than the base (RFC 4821 7.7; Linux: tcp_mtu_probing=1). Then

    low    what segments carry now: the base at first, half of that with every further expiry
    high   what may pass, as far as we know: at first what interface, routers and the peer's MSS allow

While data flows without loss a probe goes out now and then: one segment of new data, larger than `low`, with enough
behind it that its loss is found without a timer (RFC 4821 7.3). The first has `high`, so that an outage that looked
like a black hole is over at once; then it is the middle of both.

    it arrives            low = its size; all segments are as large from now on
    lost PROBES times     high = less than that (RFC 8899 5.1.2: MAX_PROBES)
    high - low < CLOSE    the search rests for `mtu_probe_interval`; then `high` is as at first: paths change

- the loss of a probe alone is no sign of congestion (RFC 4821 7.5): it is sent again, in small segments
- the connection keeps all this to itself: the path MTU table, which others use, is for what routers say
- a router's word still counts, downwards (`set_path_mss`)

Sizes are those of `Connection.path_mss`: bytes of payload with options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp import handshake
from asyncstack.transport.tcp.phase import OPEN
from asyncstack.transport.tcp.scoreboard import LOST, SACKED, Scoreboard, Transmission
from asyncstack.transport.tcp.timers import NEVER, RETRANSMIT

if TYPE_CHECKING:
    from asyncstack.transport.tcp.connection import Connection
    from asyncstack.transport.tcp.sender import Sender

TIMEOUTS: Final = 3  # in a row; Linux: tcp_retries1
FLOOR: Final = 216  # no search below: IPv4 packets of 256 bytes
PROBES: Final = 3
CLOSE: Final = 8  # bytes; Linux: tcp_probe_threshold
BEHIND: Final = 4  # segments that have to wait behind a probe
SMALLEST_WINDOW: Final = 11  # segments; Linux: no probe with a congestion window below


class MtuSearch:
    """What a connection that met a black hole knows of its path. Made when that is found."""

    __slots__ = ("end", "failures", "high", "low", "outstanding", "rests_until", "size", "start")

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high
        self.size = high  # of the next probe
        self.failures = 0  # in a row, of this size
        self.outstanding: Transmission | None = None  # the probe that is out
        self.start = self.end = 0  # stream positions of the latest
        self.rests_until = 0.0

    def succeeded(self) -> None:
        """The probe has arrived."""
        self.outstanding = None
        self.low = self.size
        self._choose()

    def failed(self) -> None:
        """The probe was lost."""
        self.outstanding = None
        self.failures += 1
        if self.failures >= PROBES:
            self.high = self.size - 1
            self._choose()

    def limit(self, high: int) -> None:
        """The path carries no more than `high`, whatever the search finds."""
        self.outstanding = None  # it was not of the size to be tried now
        self.high = high
        self.low = min(self.low, high)
        self._choose()

    def _choose(self) -> None:
        self.failures = 0
        self.size = (self.low + self.high + 1) // 2

    def explains(self, board: Scoreboard) -> bool:
        """Whether all that is LOST is, or was part of, a probe: then there is nothing to do but to send it again."""
        lost = board.next_lost()
        return lost is not None and self.start <= lost.start and lost.start + board.lost <= self.end

    @property
    def close(self) -> bool:
        """Whether there is nothing left to find out."""
        return self.high - self.low < CLOSE


def receive_timeout(conn: Connection) -> None:
    """The retransmission timer has expired: if it was about a large segment once too often, segments get smaller."""
    snd = conn.sender
    records = snd.board.records
    if snd.timeouts + 1 < TIMEOUTS or not conn.config.mtu_probing or not records:
        return
    if records[0].end > snd.edge:
        return  # the peer has shrunk its window: it may not want it
    search, base = snd.search, conn.config.base_mss
    known = handshake.reach(conn) if search is None else search.low
    lost = min(records[0].unit, records[0].end - records[0].start) + handshake.option_room(conn)
    if known > base:
        low = max(base, FLOOR)
    else:  # a path that is small anyhow gets one try more
        low = known if search is None else max(known // 2, FLOOR)
    while lost <= low < known and low > FLOOR:
        low = max(low // 2, FLOOR)  # a segment this small would have been lost all the same
    if lost <= low < known:
        return
    if search is None:
        snd.search = MtuSearch(low, known)
    else:
        search.low = min(low, known)
        search.outstanding = None
    handshake.fit_segments(conn)


def path_changed(conn: Connection) -> None:
    """Interface or routers allow another size now."""
    search = conn.sender.search
    if search is not None:
        search.limit(handshake.reach(conn))


def probe_to_send(conn: Connection, search: MtuSearch, now: float) -> Transmission | None:
    """A probe, if one is due: one segment, larger than the others. Also notes what became of the last one."""
    snd = conn.sender
    probe = search.outstanding
    if probe is not None and not _judge(conn, search, probe):
        return None
    if search.close:
        if not search.rests_until:
            search.rests_until = now + conn.config.mtu_probe_interval
        if now < search.rests_until:
            return None
        path_changed(conn)
        search.size, search.rests_until = search.high, 0.0
        if search.close:
            snd.search = None  # nothing is larger
            return None
    return _send(snd, search, search.size - handshake.option_room(conn), now)


def _judge(conn: Connection, search: MtuSearch, probe: Transmission) -> bool:
    """Whether it is known what became of `probe`."""
    if conn.sender.una >= probe.end or probe.state == SACKED:
        if probe.times == 1:
            search.succeeded()
            handshake.fit_segments(conn)
        else:
            search.failed()
        return True
    if probe.state == LOST or probe.times > 1:
        search.failed()
        return True
    return False


def _send(snd: Sender, search: MtuSearch, size: int, now: float) -> Transmission | None:
    board, mss = snd.board, snd.mss
    start = snd.nxt
    end = start + size
    fits = (
        snd.phase is OPEN
        and not board.absent
        and (snd.sack_ok or snd.una > snd.recover)  # else only a timeout shows its loss (RFC 6582 3.2)
        and snd.congestion.cwnd >= SMALLEST_WINDOW * mss
        and snd.pipe + size <= snd.congestion.cwnd
        and end + BEHIND * mss <= min(snd.queue.end, snd.edge)
        and (snd.pacer is None or not snd.pacer.holds(snd, now))
    )
    if not fits:
        return None
    snd.nxt = end
    snd.last_sent = now
    search.outstanding = record = board.sent(start, end, size, now, snd.pipe)
    search.start, search.end = start, end
    if snd.timers[RETRANSMIT] == NEVER:
        snd.arm_retransmit(now)
        snd.arm_probe(now)
    return record
