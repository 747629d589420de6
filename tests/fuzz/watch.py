"""Stands around a live stack and holds every frame it receives against the oracle, honest frames as well.

Before a frame goes in it is dissected and judged; afterwards the connection it was aimed at, and one other, are
compared with what they were. Every change of state is looked at as it happens, whatever caused it.
"""

from __future__ import annotations

import random
from collections import Counter, deque

from asyncstack.transport.tcp.connection import Connection
from tests.fuzz import oracle
from tests.fuzz.dissect import ICMP, ICMPV6, TCP, UDP, Found, Fragment, Ip, dissect, transport
from tests.fuzz.oracle import Verdict, fingerprint, judge, judge_error, may_follow, may_start_anew

CANDIDATES = 512  # injected payloads remembered for a connection
FRAGMENTS = 4096
ANSWERED = 4096
LAST = 8  # frames shown beside a violation
HARMLESS = ("none", "hint")  # effects of what must change nothing

# what may end a connection without a segment: (state, error is one of these)
BY_TIME = {
    "SYN_SENT": oracle.UNOPENED,
    "SYN_RECEIVED": oracle.UNOPENED,
    "FIN_WAIT_2": (0,),
    "TIME_WAIT": (0,),
}


class Watch:
    """`mac`, `vnet`: how the frames of `interface` begin. `violations` has to stay empty."""

    def __init__(self, stack, interface, *, mac: bytes, vnet: bool) -> None:
        self.stack, self.interface = stack, interface
        self.mac, self.vnet = mac, vnet
        self.violations: list[str] = []
        self.counts: Counter[str] = Counter()
        self.injected: Counter[bytes] = Counter()  # not yet received
        self.tainted: dict[tuple, str] = {}  # keys of connections that an injected segment may have changed
        self.ended_by_us: set[Connection] = set()
        self.last: deque[tuple[str, bytes]] = deque(maxlen=LAST)
        self.captured: deque[bytes] = deque(maxlen=64)  # honest frames
        self.datagrams: deque[tuple[tuple, bytes]] = deque(maxlen=64)
        self._fins: dict[Connection, bool] = {}
        self._candidates: dict[Connection, list[tuple[int, bytes]]] = {}
        self._fragments: dict[tuple, list[Fragment]] = {}
        self._fragment_count = 0
        self._verdict: Verdict | None = None
        self._target: Connection | None = None
        self._answered: dict[tuple, int] = {}  # key -> number of the last SYN-ACK sent
        self._cookie = None  # the segment, if it acknowledges one
        self._in_frame = False
        self._expecting = False  # a fragment: the datagram it completes is judged when it is complete
        self._rng = random.Random(7)
        self._raw, self._hostile = b"", False
        self._enter = Connection.enter
        self._receive = interface.link.receive

    # around the stack

    def __enter__(self) -> Watch:
        watch, enter = self, self._enter

        def entered(conn, trigger):
            old = conn.state.name
            state = enter(conn, trigger)
            watch._entered(conn, old, state.name)
            return state

        Connection.enter = entered
        self.interface.link.receive = self.receive
        self.interface.taps.append(self._sent)
        for ip in (self.stack.ipv4, self.stack.ipv6):
            for protocol in (TCP, UDP, ICMP, ICMPV6):
                if protocol in ip.handlers:
                    ip.handlers[protocol] = _Handler(self, ip.handlers[protocol], protocol)
        return self

    def __exit__(self, *exc_info) -> None:
        Connection.enter = self._enter
        del self.interface.link.receive
        self.interface.taps.remove(self._sent)

    def _sent(self, interface, frame) -> None:
        parts = getattr(frame, "parts", ((),))
        if len(parts[-1]) >= 20 and parts[-1][13] & 0x17 == 0x12:  # SYN-ACKs
            segment = dissect(b"".join(parts), trusted=True).tcp
            if segment is not None:
                local, remote = segment.key[2:], segment.key[:2]
                self._answered[*local, *remote] = segment.seq
                if len(self._answered) > ANSWERED:
                    del self._answered[next(iter(self._answered))]

    def fail(self, what: str, frame: bytes = b"", shown: int = 3) -> None:
        if len(self.violations) < 5:
            before = "\n".join(f"    {note:10} {raw.hex()}" for note, raw in list(self.last)[-shown:])
            self.violations.append(f"{what}\n  frame {frame.hex()}\n  the last frames:\n{before}")

    # a frame

    async def receive(self, frame) -> None:
        raw = frame.data.obj if self.vnet else bytes(frame.data)
        hostile = self.injected[raw] > 0
        if hostile:
            self.injected[raw] -= 1
            if not self.injected[raw]:
                del self.injected[raw]
        elif len(raw) < 2000:
            self.captured.append(raw)
        self.last.append(("injected" if hostile else "honest", raw))
        found = self.find(raw, frame.checksum_valid)
        self._in_frame = True
        self._hostile, self._raw = hostile, raw
        self._expecting = found.fragment is not None
        if found.fragment is not None:
            self._keep_fragment(found.fragment)
        judged = self._judge(found)
        bystander = self._pick()
        aside = bystander is not None and bystander is not self._target
        before = fingerprint(bystander) if aside else None
        try:
            await self._receive(frame)
        finally:
            self._compare(judged)
            # a frame with a last fragment has found its target only now
            if aside and bystander is not self._target and bystander.state.name != "CLOSED":
                self._same(bystander, before, "a frame that is not for it")
            self._in_frame, self._verdict, self._target = False, None, None

    def find(self, raw: bytes, trusted: bool) -> Found:
        """What is in `raw`. With a virtio-net header that one says whether the checksum is trusted."""
        if not self.vnet:
            return dissect(raw, mac=self.mac, trusted=trusted)
        if len(raw) < 10:
            return Found()
        flags, start, offset = raw[0], int.from_bytes(raw[6:8], "little"), int.from_bytes(raw[8:10], "little")
        data = raw[10:]
        trusted = bool(flags & 2)
        if flags & 1:  # NEEDS_CSUM; one that does not fit vouches for nothing
            trusted = start > 0 and start + offset + 2 <= len(data)
        return dissect(data, mac=self.mac, trusted=trusted)

    def _pick(self) -> Connection | None:
        connections = self.stack.tcp.connections
        if not connections:
            return None
        keys = list(connections)[-64:] if len(connections) > 64 else list(connections)
        return connections[keys[self._rng.randrange(len(keys))]].connection

    def _judge(self, found: Found):
        """Sets what is allowed until the frame is done. Returns what `_compare` needs."""
        self._verdict, self._target, self._cookie = Verdict(why="no segment"), None, None
        now = self.stack.clock()
        connections = self.stack.tcp.connections
        if found.udp is not None:
            self.datagrams.append(found.udp)
        if found.error is not None and found.error.protocol == TCP:
            endpoint = connections.get(found.error.key)
            if endpoint is not None and endpoint.connection.state.name != "CLOSED":
                self._target = endpoint.connection
                self._verdict = judge_error(self._target, found.error)
                self.counts[f"icmp {self._verdict.effect}"] += 1
        segment = found.tcp
        if segment is None:
            return self._snapshot()
        endpoint = connections.get(segment.key)
        if endpoint is None:
            answered = self._answered.get(segment.key, -2)
            if segment.ack == (answered + 1) & 0xFFFFFFFF and segment.flags & 0x16 == 0x10:
                self._cookie = segment
            return self._snapshot(segment)
        conn = self._target = endpoint.connection
        verdict = self._verdict = judge(conn, segment, now, self._fins.get(conn, False))
        self.counts[verdict.effect] += 1
        if self._hostile and verdict.effect in ("accept", "reset"):
            self.tainted.setdefault(segment.key, verdict.why)
        if verdict.effect == "accept":
            if verdict.may_fin:
                self._fins[conn] = True
            if verdict.data is not None:
                candidates = self._candidates.setdefault(conn, [])
                candidates.append(verdict.data)
                if not len(candidates) % CANDIDATES:
                    done = conn.receiver.nxt - conn.receiver.unread
                    candidates[:] = [c for c in candidates if c[0] + len(c[1]) > done]
        return self._snapshot()

    def _snapshot(self, segment=None):
        conn = self._target
        waiting = None
        table = self.stack.tcp._time_wait
        if segment is not None and segment.key in table:
            waiting = segment, table._entries[segment.key][1]
        stays = conn is not None and self._verdict.effect in HARMLESS
        return conn, fingerprint(conn) if stays else None, waiting

    def _compare(self, judged) -> None:
        conn, before, waiting = judged
        verdict = self._verdict
        if conn is not None and conn is self._target:
            if verdict.effect in HARMLESS:
                self._same(conn, before, verdict.why)
            elif verdict.effect == "reset":
                if conn.state.name != "CLOSED":
                    self.fail(f"{conn.state} survives: {verdict.why}", self._raw)
                self.counts[f"death: {verdict.why}"] += 1
        if waiting is not None:
            segment, entry = waiting
            if segment.key not in self.stack.tcp._time_wait:
                listening = self.stack.tcp.listeners.find(*segment.key) is not None
                if not (listening and may_start_anew(entry, segment)):
                    self.fail(f"TIME-WAIT of {segment.key} ended by {segment}", self._raw)
                self.counts["TIME-WAIT taken over"] += 1

    def _same(self, conn: Connection, before: tuple, why: str) -> None:
        after = fingerprint(conn)
        if after != before:
            changes = [f"{b!r} -> {a!r}" for b, a in zip(before, after, strict=True) if a != b]
            self.fail(f"{conn.state} changed although: {why}\n  {'; '.join(changes)}", self._raw)

    # a change of state

    def _entered(self, conn: Connection, old: str, new: str) -> None:
        if not self._is_ours(conn):
            return
        self.counts[f"{old} -> {new}"] += 1
        if new == "CLOSED" and self._target is not conn and conn not in self.ended_by_us:
            self._ended_alone(conn, old)
            return
        if old in ("CLOSED", "LISTEN") or conn in self.ended_by_us:
            return
        by_us = conn.fin_asked and (old, new) in {("ESTABLISHED", "FIN_WAIT_1"), ("CLOSE_WAIT", "LAST_ACK")}
        if by_us:
            return
        if (
            self._cookie is not None
            and self._target is None
            and (old, new) == ("SYN_RECEIVED", "ESTABLISHED")
        ):
            self._target, self._verdict = conn, Verdict("accept", "a cookie", may_fin=True)
            self._fins[conn] = bool(self._cookie.flags & 1)
            self._candidates[conn] = [(conn.receiver.nxt, self._cookie.payload)]
            return
        verdict = self._verdict if self._target is conn else None
        if verdict is None or not may_follow(old, new, verdict):
            self.fail(f"{old} -> {new}, by {verdict or 'nothing that it received'}", self._raw)

    def _ended_alone(self, conn: Connection, old: str) -> None:
        """A connection ended that no segment was aimed at just now: by its timers, or for want of room."""
        error = conn.error
        silence = conn.orphan and old in ("FIN_WAIT_1", "CLOSING", "LAST_ACK") and conn.sender.timeouts >= 8
        if error not in BY_TIME.get(old, ()) and not (silence and error == 0):
            self.fail(f"{old} ended with error {error} by no segment", self._raw if self._in_frame else b"")
        self.counts[f"ended alone in {old} with {error}"] += 1

    def _is_ours(self, conn: Connection) -> bool:
        """Whether `conn` belongs to the stack that is watched (the peer's have the same class)."""
        return conn.config is self.stack.config.tcp

    def forget(self, alive: set[Connection]) -> None:
        """Connections that are neither `alive` nor known to an application need no memory."""
        for table in (self._fins, self._candidates):
            for conn in [conn for conn in table if conn not in alive and not conn.receiver.unread]:
                del table[conn]
        self.ended_by_us &= alive

    def forget_all(self) -> None:
        """Nothing is to be watched any more: only what the stack holds is in memory afterwards."""
        for notes in (
            self._fins,
            self._candidates,
            self._fragments,
            self.captured,
            self.last,
            self.datagrams,
        ):
            notes.clear()

    # fragments: what they complete is judged by itself

    def _keep_fragment(self, fragment: Fragment) -> None:
        self._fragment_count += 1
        if self._fragment_count > FRAGMENTS:
            held = {**self.stack.ipv4.reassembly._datagrams, **self.stack.ipv6.reassembly._datagrams}
            self._fragments = {flow: pieces for flow, pieces in self._fragments.items() if flow in held}
            self._fragment_count = sum(map(len, self._fragments.values()))
        self._fragments.setdefault(fragment.flow, []).append(fragment)

    def reassembled(self, packet, protocol: int):
        """A datagram is complete: every byte of it must have come, and it is judged as any other."""
        raw = bytes(packet.raw)
        flow = (packet.src, packet.dst, protocol if len(packet.src) == 4 else 0, packet.ident)
        header = (raw[0] & 15) * 4 if len(packet.src) == 4 else 40
        pieces = self._fragments.get(flow)
        self.counts["reassembled"] += 1
        if pieces is not None and len(packet.src) == 4:
            self._check_bytes(raw[header:], pieces)
        self._expecting = False
        return self._judge(transport(Ip(packet.src, packet.dst, protocol, bytes(packet.payload)), False))

    def _check_bytes(self, whole: bytes, pieces: list[Fragment]) -> None:
        at = 0
        while at < len(whole):
            for piece in pieces:
                end = piece.offset + len(piece.payload)
                if piece.offset <= at < end and whole[at:end] == piece.payload[at - piece.offset :]:
                    at = end
                    break
            else:
                self.fail(f"byte {at} of a reassembled datagram is of no fragment", self._raw)
                return

    # what the application sees

    def delivered(self, conn: Connection, position: int, data: bytes) -> None:
        """`data` reached the application: all of it must have come in segments that were acceptable."""
        at, end = position, position + len(data)
        candidates = self._candidates.get(conn, [])
        while at < end:
            for start, payload in candidates:
                skip = at - start
                if 0 <= skip < len(payload):
                    size = min(len(payload) - skip, end - at)
                    if payload[skip : skip + size] == data[at - position : at - position + size]:
                        at += size
                        break
                    same = _common(payload[skip : skip + size], data[at - position :])
                    if same:
                        at += same
                        break
            else:
                where = f"byte {at - conn.receiver.start}, in {data[at - position :][:20]!r}"
                self.fail(f"{where}, was in no acceptable segment", self._raw)
                return


def _common(a: bytes, b: bytes) -> int:
    size = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        size += 1
    return size


class _Handler:
    """Between IP and a protocol: tells the watch of what was reassembled."""

    def __init__(self, watch: Watch, handler, protocol: int) -> None:
        self._watch, self._handler, self._protocol = watch, handler, protocol

    def __getattr__(self, name: str):
        return getattr(self._handler, name)

    async def receive(self, packet) -> None:
        watch = self._watch
        if not watch._expecting:
            await self._handler.receive(packet)
            return
        judged = watch.reassembled(packet, self._protocol)
        await self._handler.receive(packet)
        watch._compare(judged)
