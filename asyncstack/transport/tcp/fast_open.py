"""TCP Fast Open on one connection (RFC 7413): data on the SYN, read before the handshake is complete. Sans-I/O.

    client                                        server
    SYN, asks for a cookie  ->
                            <-                    SYN-ACK with a cookie, made for the client's address
    SYN, cookie, data       ->                    the application reads, and may answer at once
                            <-                    SYN-ACK of SYN and data
                            <-                    data
    ACK                     ->

- the server takes data only with a valid cookie and while few such handshakes are incomplete (5.1); else it answers
  as to any SYN, with the right cookie, and the client sends its data after the handshake
- in SYN-RECEIVED such a connection sends and is read; what it sends is repeated only once the SYN is acknowledged,
  until then the SYN-ACK is (4.2.2)
- the client repeats its SYN without cookie and data (4.2.1), and sends at once what the SYN-ACK does not acknowledge
- as with Linux's TCP_FASTOPEN_CONNECT, an open with a known cookie succeeds at once: the SYN leaves with the first data
  written. For asyncio's transports it leaves after `WAIT` seconds in any case: the peer may be to speak first.

Cookies, and what is remembered of servers, are in `fast_open_cookies`.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp import handshake
from asyncstack.transport.tcp.sequence import MASK
from asyncstack.transport.tcp.state import OPENED_BIT, READABLE_BIT, SYN_SENT, WRITABLE_BIT
from asyncstack.wire.tcp import MAX_OPTIONS, SYN, Segment

if TYPE_CHECKING:
    from asyncstack.transport.tcp.connection import Connection
    from asyncstack.transport.tcp.fast_open_cookies import FastOpenQueue, Servers

WAIT: Final = 0.01  # seconds


class FastOpen:
    """One connection's part. `cookie` goes on our SYN or SYN-ACK: b"" asks for one, None: no option."""

    __slots__ = ("cookie", "experimental", "plain", "sent", "served", "syn_data", "told", "waiting")

    def __init__(self, cookie: bytes | None, experimental: bool) -> None:
        self.cookie = cookie
        self.experimental = experimental
        self.told = False  # the application knows of the connection before the handshake is complete
        self.served = False  # in SYN-RECEIVED, and open
        self.waiting = False  # the SYN waits for data
        self.plain = False  # the SYN goes without option and data from now on
        self.sent = 0  # bytes on the SYN
        self.syn_data = False  # the SYN's data arrived; Linux: TCPI_OPT_SYN_DATA

    def answered(self, conn: Connection, segment: Segment, repetitions: int) -> None:
        """A client's SYN was acknowledged, after so many repetitions."""

    def ended(self, error: int) -> None:
        """The handshake is over: complete, with `error` 0, or failed."""


class Opening(FastOpen):
    """The client's. `mss` is what the server said last, 0: unknown; `servers` learns from the answer; `patience` is for
    how many seconds the SYN waits for data, if a cookie is known."""

    __slots__ = ("_mss", "_remote", "_servers", "patience")

    def __init__(
        self,
        servers: Servers,
        remote: bytes,
        cookie: bytes | None,
        experimental: bool,
        mss: int,
        patience: float,
    ) -> None:
        super().__init__(cookie, experimental)
        self.patience = patience
        self.waiting = patience > 0.0 and cookie != b""
        self._servers = servers
        self._remote = remote
        self._mss = mss

    def put_data(self, conn: Connection, segment: Segment) -> None:
        """What fits of the data written so far rides on the SYN."""
        queue = conn.sender.queue
        size = min(queue.end - queue.una, self.room(conn))
        if size > 0:
            segment.payload = queue.slice(queue.una, queue.una + size)
            self.sent = size
            conn.data_segs_out += 1

    def room(self, conn: Connection) -> int:
        """Bytes of data that the SYN takes."""
        if self.cookie == b"":
            return 0
        return max(
            min(self._mss or handshake.DEFAULT_MSS, conn.path_mss, handshake.told_mss(conn)) - MAX_OPTIONS, 0
        )

    def answered(self, conn: Connection, segment: Segment, repetitions: int) -> None:
        """All, some or none of the data is acknowledged; the rest is new again. Where both ends opened at once it may
        be an ACK without SYN, which says nothing of cookies."""
        snd = conn.sender
        acked = (segment.ack - snd.una) & MASK
        if acked:
            snd.queue.release(snd.una + acked)
            snd.una += acked
            snd.nxt = snd.una
            snd.edge = snd.una + segment.window
            snd.board.delivered += acked
            conn.happened |= WRITABLE_BIT
        self.syn_data = acked > 0 and acked == self.sent
        if not segment.flags & SYN:
            return
        unanswered = segment.fast_open is None
        # the repeated SYN got through, and nothing shows that the first did
        lost = bool(repetitions and self.sent and unanswered and not acked)
        refused = not repetitions and not self.sent and self.cookie == b"" and unanswered
        self._servers.learn(self._remote, segment, lost, refused, self.experimental, conn.heard_at)


class Serving(FastOpen):
    """The server's. `valid`: the SYN's cookie is good; `queue` counts us until the handshake is over."""

    __slots__ = ("_queue", "valid")

    def __init__(self, cookie: bytes | None, experimental: bool, queue: FastOpenQueue, valid: bool) -> None:
        super().__init__(cookie, experimental)
        self.valid = valid
        self._queue: FastOpenQueue | None = queue if valid else None
        if valid:
            queue.pending += 1

    def ended(self, error: int) -> None:
        """Leave the queue; a reset counts on for a while (RFC 7413 5.1)."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.release(error == errno.ECONNRESET)


def announce(conn: Connection, segment: Segment) -> None:
    """Put option and data on our first SYN or SYN-ACK."""
    fast = conn.fast_open
    if fast is None or fast.plain or conn.syn_times:
        return
    if isinstance(fast, Opening) != (conn.state is SYN_SENT):
        return  # both ends opened at once
    segment.fast_open, segment.experimental = fast.cookie, fast.experimental
    if isinstance(fast, Opening):
        fast.put_data(conn, segment)


def path_changed(conn: Connection, now: float) -> None:
    """A router took no packet as large as our SYN with data: it goes again at once, without. It is as if the first had
    never left."""
    fast = conn.fast_open
    if conn.state is SYN_SENT and isinstance(fast, Opening) and fast.sent > fast.room(conn):
        fast.plain, fast.sent = True, 0
        conn.syn_due = True
        conn.syn_sent_at = now


def room_on_syn(conn: Connection) -> int:
    """Bytes of data that the SYN of an active open would take."""
    return conn.fast_open.room(conn) if isinstance(conn.fast_open, Opening) else 0


def begin(conn: Connection, now: float) -> float:
    """An active open. Returns for how many seconds the SYN waits for data."""
    fast = conn.fast_open
    if not isinstance(fast, Opening) or not fast.waiting:
        return 0.0
    fast.told = True
    conn.happened |= OPENED_BIT
    return fast.patience


def is_due(conn: Connection) -> bool:
    """Whether a SYN that has waited is due: there is data for it, or the end."""
    fast = conn.fast_open
    if fast is None or not fast.waiting or not (conn.queued or conn.fin_asked):
        return False
    fast.waiting = False
    return True


def serve(conn: Connection, syn: Segment, fast: Serving, now: float) -> None:
    """After `Connection.accept` of `syn`: open at once if its cookie is valid."""
    conn.fast_open = fast
    if not fast.valid:
        return
    snd, rcv = conn.sender, conn.receiver
    snd.una += 1
    snd.nxt = snd.una
    snd.edge = snd.una + syn.window
    snd.progress_at = snd.last_sent = conn.syn_sent_at = conn.heard_at = now
    snd.start(handshake.segment_mss(conn), conn.max_payload, conn.config.initial_window)
    fast.told = fast.served = True
    conn.happened |= OPENED_BIT
    if syn.payload:
        fast.syn_data = True
        rcv.receive(rcv.nxt, syn.payload, len(syn.payload), now)
        conn.happened |= READABLE_BIT
