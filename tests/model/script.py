"""What an example of the model check is made of: settings, what both ends do, and what befalls their packets.

A script is data. Its `repr` can be pasted into a test (`play(Script(...))`), and shrinks to few lines: without fates
the link passes everything, without steps both ends only connect and close in order.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

from hypothesis import strategies as st

from asyncstack import TcpConfig
from asyncstack.transport.tcp.congestion import Controllers
from tests.model.strays import STRAYS

CLIENT: Final = "client"
SERVER: Final = "server"
ENDS: Final = (CLIENT, SERVER)

DEEDS: Final = ("writes", "pauses", "resumes", "half-closes", "closes", "aborts")
LOST, TWICE, LATE, DAMAGED, CUT, MARKED = FATES = ("lost", "twice", "late", "damaged", "cut", "marked")
MOST_WRITTEN: Final = 60_000  # bytes, by one step
HELD_BACK: Final = 5.0  # seconds, at most


@dataclass(frozen=True)
class Step:
    """`after` seconds `who` does something: `deed` is one of `DEEDS`, with the number of bytes for "writes", or a
    segment of nobody's arrives there: "gets", of the kind `STRAYS[number]`."""

    who: str
    deed: str
    number: int = 0
    after: float = 0.0


@dataclass(frozen=True)
class Fate:
    """The packets from `first` on, `count` of them, that `sender` puts on the wire (counted from 1) are lost, come
    twice (the copy `seconds` late), come late, have one bit flipped, lose their tail, or are marked CE if they are
    ECN-capable. `share`, 0 to 1: where in the packet."""

    sender: str
    first: int
    fate: str
    count: int = 1
    seconds: float = 0.0
    share: float = 0.0


@dataclass(frozen=True)
class Script:
    """An example. `client` and `server` are settings of `TcpConfig`; `version` is IP's; `delay` is one way, in
    seconds; `memory` is what the connections of a stack may hold, in bytes."""

    steps: tuple[Step, ...] = ()
    fates: tuple[Fate, ...] = ()
    client: tuple[tuple[str, Any], ...] = ()
    server: tuple[tuple[str, Any], ...] = ()
    version: int = 4
    mtu: int = 1500
    delay: float = 0.01
    memory: int = 512 << 20

    def __repr__(self) -> str:
        lines = [
            f"client={self.client!r}, server={self.server!r},",
            f"version={self.version}, mtu={self.mtu}, delay={self.delay}, memory={self.memory},",
        ]
        for name, entries in (("steps", self.steps), ("fates", self.fates)):
            inside = "".join(f"        {entry!r},\n" for entry in entries)
            lines.append(f"{name}=(\n{inside}    )," if entries else f"{name}=(),")
        return "Script(\n    " + "\n    ".join(lines) + "\n)"


# those that are not there yet are left out
SETTINGS: Final[dict[str, list[Any]]] = {
    "congestion": list(Controllers().names),
    "initial_window": [1, 2, 4],
    "receive_buffer": [2500, 5000, 20_000, 1 << 20],
    "send_buffer": [5000, 50_000],
    "nodelay": [False],
    "timestamps": [False],
    "sack": [False],
    "window_scaling": [False],
    "delayed_ack": [0.001, 0.2],
    "max_out_of_order_ranges": [1, 4],
    "ecn": ["off", "passive", "on", "accecn"],
    "accecn_option": [False],
    "pacing": [True],
    "slow_start_after_idle": [False],
    "reordering": [1, 30],
    "tail_loss_probe": [False],
    "frto": [False],
    "syn_cookies": ["off"],  # with "always" a lost ACK followed by later data is a RST, on Linux too
    "fast_open": [3],
    "fast_open_without_cookie": [True],
    "tune_receive_buffer": [False],
    "tune_send_buffer": [False],
}


def _settings() -> st.SearchStrategy[tuple[tuple[str, Any], ...]]:
    known = {field.name for field in fields(TcpConfig)}
    choices = {name: st.sampled_from(values) for name, values in SETTINGS.items() if name in known}
    return st.fixed_dictionaries({}, optional=choices).map(lambda chosen: tuple(chosen.items()))


def _steps() -> st.SearchStrategy[tuple[Step, ...]]:
    """A talk, and after most of it how it ends: an early end leaves nothing to check."""
    # all steps together take less time than the eight time-outs after which the data of who has gone is given up
    after = st.sampled_from([0.0, 0.0, 0.001, 0.03, 0.3, 1.0])
    who = st.sampled_from(ENDS)
    large, any_size = st.sampled_from([5000, 20_000, MOST_WRITTEN]), st.integers(1, MOST_WRITTEN)
    writes = st.builds(Step, who, st.just("writes"), st.one_of(large, large, any_size), after)
    small = st.builds(Step, who, st.just("writes"), st.integers(1, 300), after)
    reads = st.builds(Step, who, st.sampled_from(["pauses", "resumes"]), st.just(0), after)
    ends = st.builds(Step, who, st.sampled_from(["half-closes", "closes", "aborts"]), st.just(0), after)
    stray = st.builds(Step, who, st.just("gets"), st.integers(0, len(STRAYS) - 1), after)
    talk = st.lists(st.one_of(writes, writes, small, reads, stray), min_size=1, max_size=10)
    end = st.lists(st.one_of(ends, ends, stray, small, reads), max_size=4)
    return st.builds(lambda talk, end: (*talk, *end), talk, end)


def _fates() -> st.SearchStrategy[Fate]:
    return st.builds(
        Fate,
        st.sampled_from(ENDS),
        st.one_of(st.integers(1, 5), st.integers(1, 15), st.integers(1, 60)),
        st.sampled_from(FATES),
        st.sampled_from([1, 1, 2, 5, 20]),
        st.sampled_from([0.0, 0.001, 0.03, 0.3, HELD_BACK]),
        st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9]),
    )


def scripts() -> st.SearchStrategy[Script]:
    """Any script."""
    return st.builds(
        Script,
        _steps(),
        st.lists(_fates(), max_size=16).map(tuple),
        _settings(),
        _settings(),
        st.sampled_from([4, 6]),
        st.sampled_from([1500, 1500, 576, 296, 9000]),
        st.sampled_from([0.01, 0.0, 0.0002, 0.2]),
        st.sampled_from([512 << 20, 512 << 20, 150_000, 40_000, 15_000]),
    )
