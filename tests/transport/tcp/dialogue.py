"""One connection and a peer whose segments are made by hand. Numbers are relative: a SYN is 0, data begins at 1.

d = Dialogue.established()
d.connection.write(b"x" * 3000)
d.expect("A", seq=1, length=1448)
d.expect("A", seq=1449, length=1448)
d.inject("A", ack=2897)
d.quiet()
"""

from __future__ import annotations

import math
from collections.abc import Callable

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.connection import Connection
from asyncstack.transport.tcp.memory import MemoryBudget
from asyncstack.transport.tcp.output import silent
from asyncstack.transport.tcp.state import State
from asyncstack.wire.tcp import ACK, AE, CWR, ECE, FIN, PSH, RST, SYN, URG, Segment, build, parse

MASK = 0xFFFFFFFF
FLAGS = {"F": FIN, "S": SYN, "R": RST, "P": PSH, "A": ACK, "U": URG, "E": ECE, "C": CWR, "N": AE}
OUR_ISS = 0xFFFFF000  # the numbers wrap soon
PEER_ISS = 0xFFFFFF00


def bits(flags: str) -> int:
    return sum(FLAGS[letter] for letter in flags)


def names(flags: int) -> str:
    return "".join(letter for letter, bit in FLAGS.items() if flags & bit and letter != "P")


class Dialogue:
    """Time starts at 0.0 and moves by `wait`; everything the connection sends is kept until it is expected."""

    def __init__(
        self,
        config: TcpConfig | None = None,
        *,
        mss: int = 1460,
        most: int = 0,
        peer_mss: int = 1460,
        scale: int = 7,
        sack: bool = True,
        timestamps: bool = True,
        window: int = 65535,
        memory: MemoryBudget | None = None,
    ) -> None:
        self.connection = Connection(
            config or TcpConfig(),
            local_port=80,
            remote_port=4000,
            mss=mss,
            max_payload=most or mss,
            iss=OUR_ISS,
            ts_offset=0x7FFFFFF0,
            memory=memory,
        )
        self.now = 0.0
        self.options = {"mss": peer_mss, "window_scale": scale, "sack_permitted": sack}
        self.scale = scale
        self.timestamps = timestamps
        self.window = window  # bytes; the field is scaled outside of SYNs
        self.sent: list[tuple[float, Segment]] = []
        self.events: list[str] = []
        self.our_ts = 0
        self.peer_nxt = 1
        self.acked = 1
        self.listener: Callable[[Connection, Segment, float], None] | None = None  # has a say about a SYN

    @classmethod
    def established(cls, config: TcpConfig | None = None, rtt: float = 0.0, **options: int) -> Dialogue:
        """Past a passive open, at time `rtt`: so long took the handshake."""
        d = cls(config, **options)
        d.inject("S", seq=0, ack=None)
        d.expect("SA", seq=0, ack=1)
        d.wait(rtt)
        d.inject("A", seq=1, ack=1)
        assert d.connection.state is State.ESTABLISHED
        d.quiet()
        d.events.clear()
        return d

    def inject(
        self,
        flags: str = "A",
        *,
        seq: int | None = None,
        ack: int | None = -1,
        data: bytes = b"",
        window: int | None = None,
        sack: tuple[tuple[int, int], ...] = (),
        ts_val: int | None = None,
        ts_ecr: int | None = None,
        urgent: int = 0,
        ecn: int = 0,
        accecn: tuple[int, ...] | None = None,
        fast_open: bytes | None = None,
        gso_size: int = 0,
    ) -> None:
        """A segment from the peer. By default `seq` continues its stream and `ack` is the highest it has used."""
        sets = bits(flags)
        if seq is None:
            seq = self.peer_nxt
        if ack == -1:
            ack = self.acked
        if window is not None:
            self.window = window
        self.peer_nxt = max(self.peer_nxt, seq + len(data) + (1 if sets & FIN else 0))
        if ack is not None:
            self.acked = max(self.acked, ack)
        stamp = int(self.now * 1000) + 5000 if ts_val is None else ts_val
        segment = Segment(
            4000,
            80,
            (PEER_ISS + seq) & MASK,
            (OUR_ISS + ack) & MASK if ack is not None else 0,
            sets,
            min(self.window, 65535) if sets & SYN or self.scale < 0 else self.window >> self.scale,
            data,
            stamp & MASK if self.timestamps else -1,
            (self.our_ts if ts_ecr is None else ts_ecr) & MASK if self.timestamps else 0,
            tuple(((OUR_ISS + left) & MASK, (OUR_ISS + right) & MASK) for left, right in sack),
            urgent=urgent,
            accecn=accecn,
            fast_open=fast_open,
        )
        if sets & SYN:
            segment.mss = self.options["mss"]
            segment.window_scale = self.options["window_scale"]
            segment.sack_permitted = bool(self.options["sack_permitted"])
        segment = parse(memoryview(build(segment, 0) + data))
        segment.ecn, segment.gso_size = ecn, gso_size
        if sets & SYN and self.connection.state is State.CLOSED:
            self.connection.accept(segment, self.now)
            if self.listener is not None:
                self.listener(self.connection, segment, self.now)
        else:
            self.connection.receive_segment(segment, self.now)
        self.flush()

    def flush(self) -> None:
        """Collect what happened and what leaves now."""
        self.events += [event.value for event in self.connection.events()]
        quiet = silent(self.connection)
        while (segment := self.connection.segment_to_send(self.now)) is not None:
            assert not quiet, "`silent` is sure that nothing is to be sent"
            if segment.ts_val >= 0:
                self.our_ts = segment.ts_val
            self.sent.append((self.now, segment))
        self.events += [event.value for event in self.connection.events()]

    def wait(self, seconds: float) -> None:
        """Let time pass; timers run when they are due."""
        until = self.now + seconds
        self.flush()
        while (due := self.connection.deadline) <= until:
            self.now = max(self.now, due)
            self.connection.timer_expired(self.now)
            self.flush()
        self.now = until
        self.flush()

    def wait_for_segment(self, limit: float = 1000.0) -> float:
        """Let time pass until something is sent. Returns when."""
        self.flush()
        until = self.now + limit
        while not self.sent:
            due = self.connection.deadline
            assert due <= until, f"nothing was sent for {limit} s"
            self.now = max(self.now, due)
            self.connection.timer_expired(self.now)
            self.flush()
        return self.sent[0][0]

    def write(self, data: bytes | int) -> None:
        self.connection.write(data if isinstance(data, bytes) else bytes(data))
        self.flush()

    def read(self) -> bytes:
        data = b"".join(self.connection.read())
        self.flush()
        return data

    def expect(
        self,
        flags: str = "A",
        *,
        seq: int | None = None,
        ack: int | None = None,
        length: int = 0,
        data: bytes | None = None,
        sack: tuple[tuple[int, int], ...] | None = None,
        at: float | None = None,
        window: int | None = None,
        ecn: int | None = None,
        accecn: tuple[int, ...] | None = None,
    ) -> Segment:
        """The next segment sent; PSH is not compared."""
        self.flush()
        assert self.sent, f"expected {flags} seq={seq} ack={ack} length={length}, nothing was sent"
        time, segment = self.sent.pop(0)
        got = (
            names(segment.flags),
            (segment.seq - OUR_ISS) & MASK,
            (segment.ack - PEER_ISS) & MASK,
            len(segment.payload),
        )
        want = (
            names(bits(flags)),
            got[1] if seq is None else seq & MASK,
            got[2] if ack is None else ack,
            length if data is None else len(data),
        )
        assert got == want, f"sent (flags, seq, ack, length) {got}, expected {want}"
        if data is not None:
            assert segment.payload == data
        if ecn is not None:
            assert segment.ecn == ecn, f"codepoint {segment.ecn}, expected {ecn}"
        if accecn is not None:
            assert segment.accecn == accecn, f"AccECN option {segment.accecn}, expected {accecn}"
        if sack is not None:
            blocks = tuple(((l - PEER_ISS) & MASK, (r - PEER_ISS) & MASK) for l, r in segment.sack)  # noqa: E741
            assert blocks == sack, f"SACK blocks {blocks}, expected {sack}"
        if at is not None:
            assert math.isclose(time, at, abs_tol=1e-3), f"sent at {time}, expected at {at}"
        if window is not None:
            scale = 0 if segment.flags & SYN else self.connection.receiver.scale
            assert segment.window << scale == window, f"window {segment.window << scale}, expected {window}"
        return segment

    def expect_data(self, *ranges: tuple[int, int]) -> None:
        """Exactly these [start, end) ranges of our stream, in this order."""
        self.flush()
        sent = []
        for _, segment in self.sent:
            start = (segment.seq - OUR_ISS) & MASK
            sent.append((start, start + len(segment.payload)))
        self.sent.clear()
        assert sent == list(ranges), f"sent {sent}, expected {list(ranges)}"

    def quiet(self) -> None:
        """Nothing was sent that was not expected."""
        self.flush()
        described = [(t, names(s.flags), (s.seq - OUR_ISS) & MASK, len(s.payload)) for t, s in self.sent]
        assert not described, f"sent unexpectedly: {described}"

    @property
    def state(self) -> State:
        return self.connection.state
