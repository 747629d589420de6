"""The connection a script talks about: which numbers on the wire stand for which in the script.

A script's sequence numbers are those of its own SYNs on SYNs, and count from the SYN (which is 0) on everything else.
Our initial sequence number is learnt from the SYN we send. Timestamps of ours are learnt line by line.
"""

from __future__ import annotations

from typing import Final

from asyncstack.testing.packetdrill.compare import ECN
from asyncstack.testing.packetdrill.icmp import quote_type
from asyncstack.testing.packetdrill.packets import (
    ICMP,
    LETTERS,
    TCP,
    UDP,
    Seen,
    Tuple4,
    build_icmp,
    build_ip,
    build_tcp,
    build_udp,
    flag_bits,
)
from asyncstack.testing.packetdrill.script import IcmpLine, PacketLine, ScriptError, TcpLine, UdpLine
from asyncstack.testing.packetdrill.tcp_options import Words, timestamps

_MASK: Final = 0xFFFFFFFF
_SYN: Final = LETTERS["S"]


class Flow:
    """One connection, or pair of UDP addresses. `ends` are as on what the stack sends; a port is 0 until known."""

    def __init__(self, ends: Tuple4, protocol: int, remote_isn: int = 0) -> None:
        self.ends = ends
        self.protocol = protocol
        self.remote_isn = remote_isn  # the same number on the wire as in the script
        self.local_isn: tuple[int, int] | None = None  # in the script, on the wire
        self._stamps: dict[int, int] = {}  # of ours: in the script -> on the wire
        self._first_stamp: tuple[int, int] | None = None
        self._flow_labels: tuple[int, int] | None = None

    def owns(self, seen: Seen) -> bool:
        """Whether `seen` is a packet of this flow; the first one tells which port is ours."""
        ours, theirs = self.ends, seen.ends
        if seen.protocol in ICMP.values():
            return ours.src == theirs.src and ours.dst == theirs.dst
        if (theirs.src, theirs.dst, theirs.dst_port) != (ours.src, ours.dst, ours.dst_port):
            return False
        if ours.src_port == 0 and (seen.protocol == UDP or seen.flags & _SYN):
            ours.src_port = theirs.src_port
        return seen.protocol == self.protocol and ours.src_port == theirs.src_port

    # inject

    def packet(self, line: PacketLine) -> bytes:
        """The packet on the wire for a line that injects one."""
        body, words = line.body, line.ip
        tos = words.tos if words.tos is not None else ECN.get(words.ecn or "noecn", 0)
        ends = self.ends.reverse()
        if line.ports:
            ends.src_port, ends.dst_port = line.ports[0] or ends.src_port, line.ports[1] or ends.dst_port
        if isinstance(body, TcpLine):
            protocol, payload = TCP, self._segment(body, ends)
        elif isinstance(body, UdpLine):
            protocol, payload = UDP, build_udp(ends, body.length)
        else:
            protocol = ICMP[4 if len(ends.src) == 4 else 6]
            kind, code, rest = quote_type(body, len(ends.src) == 16)
            payload = build_icmp(ends, kind, code, rest, self._quote(body))
        return build_ip(ends, protocol, payload, tos=tos, ttl=words.ttl or 255, flow=words.flow_label or 0)

    def _segment(self, line: TcpLine, ends: Tuple4) -> bytes:
        flags = flag_bits(line.flags, line.ace)
        syn = flags & _SYN
        if syn and (flags & LETTERS["."] or self.local_isn is None):
            self.remote_isn = line.seq
        script, live = self.local_isn or (0, 0)
        ack_offset = live - (script if syn else 0)
        options = self._live_stamps(line.options or [], bool(flags & LETTERS["."]))
        return build_tcp(
            ends,
            flags=flags,
            seq=line.seq if syn else line.seq + self.remote_isn,
            ack=(line.ack or 0) + ack_offset if flags & LETTERS["."] else 0,
            window=0 if line.window is None else line.window[0],
            urgent=line.urgent,
            options=options,
            sack_offset=ack_offset,
            length=line.length,
        )

    def _live_stamps(self, options: list[Words], echoes: bool) -> list[Words]:
        stamps = timestamps(options)
        if stamps is None or not echoes:
            return options
        val, ecr = stamps
        if ecr in self._stamps:
            live = self._stamps[ecr]
        elif self._first_stamp is not None:
            live = self._first_stamp[1] + ecr - self._first_stamp[0] & _MASK
        elif ecr == 0:
            live = 0
        else:
            raise ScriptError(f"TS ecr {ecr} echoes a timestamp, and we have sent none yet")
        return [["TS", "val", str(val), "ecr", str(live)] if o[0] == "TS" else o for o in options]

    def _quote(self, line: IcmpLine) -> bytes:
        """The beginning of the packet that an ICMP error is about."""
        if line.quoted == "udp":
            return build_ip(self.ends, UDP, build_udp(self.ends, line.length))
        live = (self.local_isn or (0, 0))[1]
        segment = build_tcp(
            self.ends, flags=LETTERS["."], seq=live + line.seq, ack=0, window=0, length=line.length
        )
        packet = build_ip(self.ends, TCP, segment)
        return packet[: len(packet) - len(segment) + 20]

    # expect

    def map_seen(self, seen: Seen, line: PacketLine) -> None:
        """Bring `seen`, that `line` is the expectation for, to the numbers of the script."""
        if seen.protocol != TCP or not isinstance(line.body, TcpLine):
            return
        syn = seen.flags & _SYN
        if syn and self.local_isn is None:
            self.local_isn = line.body.seq, seen.seq
        self.to_script(seen)
        self._map_stamps(seen, line.body)

    def to_script(self, seen: Seen) -> None:
        """Sequence numbers of `seen` as the script counts them."""
        if seen.protocol != TCP:
            return
        syn = seen.flags & _SYN
        script, live = self.local_isn or (0, 0)
        seen.seq = seen.seq - live + (script if syn else 0) & _MASK
        offset = (self.remote_isn if syn else 0) - self.remote_isn
        if seen.flags & LETTERS["."]:
            seen.ack = seen.ack + (-self.remote_isn if not syn else offset) & _MASK
        seen.options = [
            ["sack", *(_shift(block, -self.remote_isn) for block in o[1:])] if o[0] == "sack" else o
            for o in seen.options
        ]

    def _map_stamps(self, seen: Seen, line: TcpLine) -> None:
        wanted, actual = timestamps(line.options or []), timestamps(seen.options)
        if wanted is None or actual is None:
            return
        self._stamps[wanted[0]] = actual[0]
        if self._first_stamp is None:
            self._first_stamp = wanted[0], actual[0]
        script, live = self._first_stamp
        val = actual[0] - live + script & _MASK
        seen.options = [
            ["TS", "val", str(val), "ecr", str(actual[1])] if o[0] == "TS" else o for o in seen.options
        ]

    def flow_label_differs(self, wanted: int, seen: Seen) -> bool:
        """Whether equal labels of the script are equal ones on the wire, and others others."""
        last, self._flow_labels = self._flow_labels, (wanted, seen.flow_label)
        if seen.flow_label == 0:
            return True
        return last is not None and (last[0] == wanted) != (last[1] == seen.flow_label)


def _shift(block: str, offset: int) -> str:
    left, right = block.split(":")
    return f"{int(left) + offset & _MASK}:{int(right) + offset & _MASK}"
