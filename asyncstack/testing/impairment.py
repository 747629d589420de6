"""What can go wrong on a link: its parameters, models of loss, and rules that look at each packet."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from asyncstack.errors import WireError
from asyncstack.wire import ipv4, ipv6, tcp, udp

if TYPE_CHECKING:
    from asyncstack.wire.packet import Packet
    from asyncstack.wire.tcp import Segment
    from asyncstack.wire.udp import Datagram


class LossModel(Protocol):
    """Decides about one packet after the other. Each direction of a link works with a copy of its own."""

    def lost(self, rng: random.Random) -> bool:
        """Whether the next packet is lost."""


@dataclass(slots=True)
class GilbertElliott:
    """Loss in bursts: a chain of a good and a bad state that may change at each packet.

    good_to_bad, bad_to_good: probability of a change, per packet. loss_good, loss_bad: probability of loss in that
    state. The mean burst has 1 / bad_to_good packets, however far apart they are: lone retransmissions seconds apart
    still fall into one burst.
    """

    good_to_bad: float
    bad_to_good: float
    loss_good: float = 0.0
    loss_bad: float = 1.0
    bad: bool = False

    def __post_init__(self) -> None:
        for name in ("good_to_bad", "bad_to_good", "loss_good", "loss_bad"):
            check_probability(name, getattr(self, name))

    @classmethod
    def with_mean(cls, loss: float, burst: float) -> GilbertElliott:
        """The chain that loses `loss` of all packets (0 to 1), in bursts of `burst` packets on average (>= 1)."""
        if burst < 1.0 or not 0.0 <= loss < 1.0:
            raise ValueError(
                f"a mean loss of {loss!r} in bursts of {burst!r}: loss is 0 to 1, burst at least 1"
            )
        leave = 1.0 / burst
        return cls(good_to_bad=min(leave * loss / (1.0 - loss), 1.0), bad_to_good=leave)

    def lost(self, rng: random.Random) -> bool:
        """Whether the next packet is lost."""
        if rng.random() < (self.bad_to_good if self.bad else self.good_to_bad):
            self.bad = not self.bad
        probability = self.loss_bad if self.bad else self.loss_good
        return probability >= 1.0 or (probability > 0.0 and rng.random() < probability)


class Verdict(Enum):
    """What a rule says about a packet; a number instead holds the packet back for so many seconds."""

    PASS = "pass"
    DROP = "drop"
    MARK = "mark"  # pass, with CE set if the sender knows ECN


@dataclass
class Passing:
    """A packet as a rule sees it. `ip`, `tcp` and `udp` are parsed at the first look; None if it is no such thing.

    `number` counts the packets of this direction from 1. `data` starts at the Ethernet header, if the link has one; the
    transport checksum in it may be partial.
    """

    data: memoryview
    ethernet: bool
    number: int
    now: float

    @cached_property
    def ip(self) -> Packet | None:
        """The IP packet, of either family."""
        data = self.data[14:] if self.ethernet else self.data
        try:
            return ipv6.parse(data) if data and data[0] >> 4 == 6 else ipv4.parse(data)
        except WireError:
            return None

    @cached_property
    def tcp(self) -> Segment | None:
        """The TCP segment."""
        ip = self.ip
        try:
            return tcp.parse(ip.payload) if ip is not None and ip.protocol == tcp.PROTOCOL else None
        except WireError:
            return None

    @cached_property
    def udp(self) -> Datagram | None:
        """The UDP datagram."""
        ip = self.ip
        try:
            return udp.parse(ip.payload) if ip is not None and ip.protocol == udp.PROTOCOL else None
        except WireError:
            return None


Rule = Callable[[Passing], "Verdict | float"]


@dataclass(slots=True)
class Impairments:
    """The parameters of one direction of a link. Probabilities are 0 to 1, each per packet.

    delay: seconds on the way. jitter: up to so many seconds more, evenly spread; packets stay in order. loss: a
    probability or a `LossModel`; a lost packet still takes its time on the wire. rate: bits per second of frames, None
    for no limit. queue: bytes that may wait for the wire; what finds no room is dropped (drop-tail). None: what the
    link holds in `rate` times the delay there and back, at least 256 KiB. mark: while more bytes than that wait for the
    wire, packets of senders that know ECN get CE (RFC 3168); None: never. duplicate, corrupt (one bit flipped):
    probabilities. reorder: the probability that a packet is held back for up to `reorder_delay` seconds while others
    pass. rule: sees each packet before all that.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float | LossModel = 0.0
    rate: float | None = None
    queue: int | None = None
    mark: int | None = None
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_delay: float = 0.001
    corrupt: float = 0.0
    rule: Rule | None = None

    def __post_init__(self) -> None:
        for name in ("delay", "jitter", "reorder_delay"):
            value = getattr(self, name)
            if not (0.0 <= value < math.inf):
                raise ValueError(f"{name}={value!r}: give seconds, 0 or more")
        for name in ("duplicate", "reorder", "corrupt"):
            check_probability(name, getattr(self, name))
        if isinstance(self.loss, (int, float)):
            check_probability("loss", self.loss)
        if self.rate is not None and not (0.0 < self.rate < math.inf):
            raise ValueError(f"rate={self.rate!r}: give bits per second above 0, or None for no limit")
        if self.queue is not None and self.queue < 0:
            raise ValueError(f"queue={self.queue!r}: give bytes, 0 or more, or None")
        if self.mark is not None and self.mark < 0:
            raise ValueError(f"mark={self.mark!r}: give bytes, 0 or more, or None")

    @property
    def none(self) -> bool:
        """Whether frames pass untouched."""
        return not (
            self.delay
            or self.jitter
            or self.loss
            or self.rate
            or self.duplicate
            or self.reorder
            or self.corrupt
            or self.rule
        )

    def loss_decider(self, rng: random.Random) -> Callable[[], bool] | None:
        """A function that decides about the next packet; None if no packet is ever lost."""
        loss = self.loss
        if isinstance(loss, (int, float)):
            probability, draw = float(loss), rng.random
            return (lambda: draw() < probability) if probability else None
        model = copy.copy(loss)
        return lambda: model.lost(rng)


def check_probability(name: str, value: float) -> None:
    """Raise ValueError unless `value` is a probability."""
    if not (0.0 <= value <= 1.0):
        raise ValueError(f"{name}={value!r}: give a probability, 0 to 1 (0.01 is one percent)")
