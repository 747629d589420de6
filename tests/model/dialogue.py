"""What happened in an example, as a dialogue: a line for each step and each packet, with its time and its fate."""

from __future__ import annotations

from dataclasses import dataclass, field

from asyncstack.errors import WireError
from asyncstack.wire import ipv4, ipv6, tcp
from asyncstack.wire.tcp import ACK, FIN, PSH, RST, SYN, URG, Segment

FLAGS = {"F": FIN, "S": SYN, "R": RST, "P": PSH, "U": URG, ".": ACK}
MASK = 0xFFFFFFFF
MOST_LINES = 150


@dataclass
class Record:
    """The lines, put into words only when somebody wants to read them."""

    happened: list[tuple[float, str, bytes | str, str]] = field(default_factory=list)

    def step(self, now: float, who: str, text: str) -> None:
        """An end did something."""
        self.happened.append((now, who, text, ""))

    def packet(self, now: float, sender: str, data: bytes, fate: str) -> None:
        """An end sent something."""
        self.happened.append((now, sender, data, fate))

    def __str__(self) -> str:
        first: dict[tuple[int, int], int] = {}
        numbers = {"client": 0, "server": 0}
        lines = []
        for now, who, what, fate in self.happened:
            if isinstance(what, str):
                lines.append(f"{now:11.4f}  {who} {what}")
                continue
            arrow = "-->" if who == "client" else "<--"
            numbers[who] += 1
            lines.append(f"{now:11.4f}      {arrow} #{numbers[who]} {in_words(what, first)} {fate}".rstrip())
        left_out = len(lines) - MOST_LINES
        if left_out > 0:
            lines[MOST_LINES // 2 : -MOST_LINES // 2] = [f"... {left_out} lines ..."]
        return "\n".join(lines)


def in_words(data: bytes, first: dict[tuple[int, int], int]) -> str:
    """A packet; numbers relative to the first seen of that stream."""
    try:
        parse = ipv4.parse if data[0] >> 4 == 4 else ipv6.parse
        segment = tcp.parse(parse(memoryview(data)).payload)
    except WireError as exc:
        return f"{len(data)} bytes: {exc}"
    there, back = (segment.src_port, segment.dst_port), (segment.dst_port, segment.src_port)
    seq = (segment.seq - first.setdefault(there, segment.seq)) & MASK
    flags = "".join(letter for letter, bit in FLAGS.items() if segment.flags & bit)
    text = f"{flags} {seq}:{(seq + len(segment.payload)) & MASK}({len(segment.payload)})"
    if segment.flags & ACK:
        text += f" ack {(segment.ack - first.get(back, 0)) & MASK}"
    return f"{text} win {segment.window}{options(segment, first.get(back, 0))}"


def options(segment: Segment, start: int) -> str:
    """The options that matter to a reader."""
    words = []
    if segment.mss:
        words.append(f"mss {segment.mss}")
    if segment.window_scale >= 0:
        words.append(f"wscale {segment.window_scale}")
    if segment.sack_permitted:
        words.append("sackOK")
    for left, right in segment.sack:
        words.append(f"sack {(left - start) & MASK}:{(right - start) & MASK}")
    return f" <{', '.join(words)}>" if words else ""
