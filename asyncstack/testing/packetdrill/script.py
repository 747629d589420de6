"""A script as records: what reader.py makes and the runner takes through."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class ScriptError(ValueError):
    """The script itself is wrong: no such grammar, or it asks for what can not be. A failure."""


class UnsupportedError(Exception):
    """The script needs what only a kernel has, or what this runner does not do. Its text is the reason."""


class Clock(Enum):
    """What the time in front of an event counts from."""

    ABSOLUTE = "absolute"  # the start of the script
    RELATIVE = "relative"  # the event before
    ANY = "any"  # `*`: whenever it happens


@dataclass(slots=True)
class When:
    """The time of an event, in seconds. `end` is that of a range `a~b`, else equal to `start`."""

    clock: Clock
    start: float = 0.0
    end: float = 0.0


@dataclass(slots=True)
class IpWords:
    """What a packet line says of the IP header: None where it says nothing. `ecn` may be "ect01" for either."""

    ecn: str | None = None
    tos: int | None = None
    ttl: int | None = None
    flow_label: int | None = None


@dataclass(slots=True)
class TcpLine:
    """A TCP segment in the numbers of the script. `flags` are its letters, `ace` the AccECN counter if given.

    `window` is (least, most), None for any. `options` are words of the script, one list each, or None for `<...>`.
    """

    flags: str
    ace: int | None
    seq: int
    length: int
    ack: int | None
    window: tuple[int, int] | None
    urgent: int
    options: list[list[str]] | None


@dataclass(slots=True)
class UdpLine:
    """A UDP datagram with `length` bytes of payload."""

    length: int


@dataclass(slots=True)
class IcmpLine:
    """An ICMP error, by the words of the script, and what it quotes: TCP at `seq`, or UDP, or nothing (None)."""

    kind: str
    code: str
    mtu: int
    quoted: str  # "tcp", "udp" or ""
    seq: int
    length: int


@dataclass(slots=True)
class PacketLine:
    """A packet that the script injects, or (`outbound`) expects."""

    outbound: bool
    ip: IpWords
    ports: tuple[int, int] | None
    body: TcpLine | UdpLine | IcmpLine


@dataclass(slots=True)
class Word:
    """A bare word in an argument: a constant, until calls.py looks it up."""

    name: str


@dataclass(slots=True)
class Either:
    """Constants joined by `|`."""

    parts: list[Any]


@dataclass(slots=True)
class Pair:
    """`name=value` inside braces; `name` without what stands in its parentheses."""

    name: str
    value: Any


@dataclass(slots=True)
class Struct:
    """Braces: `{fd=4, events=POLLIN}`, `{..., 1000}`."""

    items: list[Any]

    def get(self, name: str, default: Any = None) -> Any:
        """The value of the field `name`."""
        for item in self.items:
            if isinstance(item, Pair) and item.name == name:
                return item.value
        return default


@dataclass(slots=True)
class Applied:
    """`htons(8080)`, `inet_addr("192.0.2.1")`."""

    name: str
    arguments: list[Any]


class Dots:
    """`...`: whatever fits."""

    def __repr__(self) -> str:
        return "..."


DOTS = Dots()


@dataclass(slots=True)
class CallLine:
    """A system call. `end` is when a blocking one returns (on the clock of its event), None for one that returns
    at once. `result` is a value or `...`; `errno` the name behind a -1, "" if none."""

    name: str
    arguments: list[Any]
    result: Any
    errno: str
    end: float | None


@dataclass(slots=True)
class CommandLine:
    """What stands in back-ticks."""

    text: str


@dataclass(slots=True)
class CodeLine:
    """Python between `%{` and `}%`."""

    source: str


Action = PacketLine | CallLine | CommandLine | CodeLine


@dataclass(slots=True)
class Event:
    """One thing that happens, or is to happen; `text` is how the script has it."""

    line: int
    when: When
    action: Action
    text: str = ""


@dataclass(slots=True)
class Script:
    """A whole script. `options` are its `--name=value` lines in order."""

    options: list[tuple[str, str]] = field(default_factory=list)
    init: list[Event] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
