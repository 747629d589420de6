"""IPv4 address conflict detection (RFC 5227): asks whether an address is free, announces it, and defends it. No I/O.

    check, abandon                 before an address is ours: probes; Free or Taken says what came of them
    use, announce, give_up         while it is ours
    heard, conflict                what ARP packets of others say
    packets_to_send(now), events(), deadline, timer_expired(now)

An address that somebody else claims is defended once (2.4 b). One that was chosen or leased for us is given up if the
other insists; one that a person has configured is not, as others rely on it: it is defended for ever, once in
DEFEND_INTERVAL (2.4 c). An address in quiet use has no timer.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from enum import Enum
from typing import Final

# RFC 5227 1.1; seconds, but for the numbers of packets
PROBE_WAIT: Final = 1.0
PROBE_NUM: Final = 3
PROBE_MIN: Final = 1.0
PROBE_MAX: Final = 2.0
ANNOUNCE_WAIT: Final = 2.0
ANNOUNCE_INTERVAL: Final = 2.0
MAX_CONFLICTS: Final = 10
RATE_LIMIT_INTERVAL: Final = 60.0
DEFEND_INTERVAL: Final = 10.0


class State(Enum):
    """What is going on about an address."""

    WAITING = "waiting"  # at random, so that hosts that start together do not ask together
    PROBING = "probing"
    ANNOUNCED = "announced"  # once
    HELD = "held"
    DEFENDED = "defended"
    GONE = "gone"  # settled: there is no entry any more


class Input(Enum):
    """What happens to an address."""

    TIMEOUT = "timeout"
    DONE = "done"  # nothing came after the last probe
    CONFLICT = "conflict"
    INSISTED = "insisted"  # a conflict soon after the last


TRANSITIONS: Final[dict[tuple[State, Input], State]] = {
    (State.WAITING, Input.TIMEOUT): State.PROBING,
    (State.WAITING, Input.CONFLICT): State.GONE,
    (State.PROBING, Input.TIMEOUT): State.PROBING,
    (State.PROBING, Input.DONE): State.GONE,
    (State.PROBING, Input.CONFLICT): State.GONE,
    (State.ANNOUNCED, Input.TIMEOUT): State.HELD,
    (State.ANNOUNCED, Input.CONFLICT): State.DEFENDED,
    (State.HELD, Input.CONFLICT): State.DEFENDED,
    (State.DEFENDED, Input.CONFLICT): State.DEFENDED,
    (State.DEFENDED, Input.INSISTED): State.GONE,
}


@dataclass(slots=True)
class Free:
    """Nobody seems to have `address`."""

    address: bytes


@dataclass(slots=True)
class Taken:
    """`address` is in use by `mac`, or wanted by it at the same time."""

    address: bytes
    mac: bytes


@dataclass(slots=True)
class Conflict:
    """`mac` uses `address`, which is ours; `lost`: it insists, and it is to be given up."""

    address: bytes
    mac: bytes
    lost: bool


Event = Free | Taken | Conflict


@dataclass(slots=True, eq=False)
class _Claim:
    address: bytes
    state: State
    due: float = math.inf
    left: int = 0  # probes still to send
    yielding: bool = False
    defended: float = -math.inf


class Claims:
    """The addresses on one Ethernet that are asked for, announced or disputed. Owned by `ArpProtocol`."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._claims: dict[bytes, _Claim] = {}
        self._packets: list[tuple[bytes, bool]] = []
        self._events: list[Event] = []

    def __len__(self) -> int:
        return len(self._claims)

    # commands

    def check(self, address: bytes, now: float, probes: int = PROBE_NUM) -> None:
        """Find out whether `address` is free, by so many probes. An event will tell."""
        claim = self._claims[address] = _Claim(address, State.WAITING, left=probes)
        claim.due = now + self._rng.uniform(0.0, PROBE_WAIT)

    def is_checking(self, address: bytes) -> bool:
        """Whether an event about `address` is still to come."""
        claim = self._claims.get(address)
        return claim is not None and claim.state in (State.WAITING, State.PROBING)

    def abandon(self, address: bytes) -> None:
        """Nobody wants to know whether `address` is free any more."""
        if self.is_checking(address):
            del self._claims[address]

    def use(self, address: bytes, now: float, *, yielding: bool) -> None:
        """`address` is ours, and `announce` says so. yielding: it was chosen or leased, so say it once more later, and
        rather give it up than fight for it."""
        self._claims.pop(address, None)
        if yielding:
            self._claims[address] = _Claim(address, State.ANNOUNCED, now + ANNOUNCE_INTERVAL, yielding=True)

    def announce(self, address: bytes) -> None:
        """Tell all on the link that we are at `address` (2.3)."""
        self._packets.append((address, False))

    def give_up(self, address: bytes) -> None:
        """`address` is ours no longer."""
        if not self.is_checking(address):
            self._claims.pop(address, None)

    # inputs

    def heard(self, sender: bytes, target: bytes, mac: bytes, now: float) -> bool:
        """An ARP packet of `mac`, another host, from `sender`; a probe, from nobody, is about `target`. Returns whether
        that has settled a check."""
        address = sender if any(sender) else target
        if not self.is_checking(address):
            return False
        self._conflict(self._claims[address], mac, now)
        return True

    def conflict(self, address: bytes, mac: bytes, now: float) -> None:
        """`mac` says to be at `address`, which is ours."""
        claim = self._claims.get(address)
        if claim is None:
            claim = self._claims[address] = _Claim(address, State.HELD)
        self._conflict(claim, mac, now)

    def timer_expired(self, now: float) -> None:
        """Send the next probe or announcement, or be done. Early calls do nothing."""
        for claim in [claim for claim in self._claims.values() if claim.due <= now]:
            done = claim.state is State.PROBING and not claim.left
            self._apply(claim, Input.DONE if done else Input.TIMEOUT, now)

    # outputs

    @property
    def deadline(self) -> float:
        """When to call `timer_expired`; `math.inf` for never."""
        return min((claim.due for claim in self._claims.values()), default=math.inf)

    def packets_to_send(self, now: float) -> list[tuple[bytes, bool]]:
        """(address, whether it is a probe, else an announcement) since the last call."""
        packets, self._packets = self._packets, []
        return packets

    def events(self) -> list[Event]:
        """What was found out, and who disputes what, since the last call."""
        events, self._events = self._events, []
        return events

    # the machine

    def _conflict(self, claim: _Claim, mac: bytes, now: float) -> None:
        address = claim.address
        if self.is_checking(address):
            self._apply(claim, Input.CONFLICT, now)
            self._events.append(Taken(address, mac))
            return
        insists = claim.state is State.DEFENDED and now - claim.defended < DEFEND_INTERVAL
        if claim.yielding or not insists:
            self._apply(claim, Input.INSISTED if insists else Input.CONFLICT, now)
            self._events.append(Conflict(address, mac, insists))

    def _apply(self, claim: _Claim, event: Input, now: float) -> None:
        """The one place that assigns `state`."""
        claim.state = state = TRANSITIONS[claim.state, event]
        claim.due = math.inf
        if state is State.PROBING:
            self._packets.append((claim.address, True))
            claim.left -= 1
            claim.due = now + (self._rng.uniform(PROBE_MIN, PROBE_MAX) if claim.left else ANNOUNCE_WAIT)
        elif state is State.HELD:
            self._packets.append((claim.address, False))
        elif state is State.DEFENDED:
            self._packets.append((claim.address, False))
            claim.defended = now
        elif state is State.GONE:
            del self._claims[claim.address]
            if event is Input.DONE:
                self._events.append(Free(claim.address))
