"""Duplicate address detection for one IPv6 address: does somebody on the link have it (RFC 4862 5.4, RFC 7527)?

    start(now, delay)                     begin after `delay` seconds
    receive_solicitation(nonce)           somebody without an address asks for the same one
    receive_advertisement(mac)            somebody has it
    timer_expired(now)
    solicitations_to_send(now)            a nonce for each that is due
    state, owner, deadline

A solicitation that comes back with a nonce of ours was sent by us: the link has a loop, and nobody else is to blame. As
a loop may also hide others for a while, a few more solicitations follow then.
"""

from __future__ import annotations

import math
import random
from enum import Enum
from typing import Final

RETRANS_TIMER: Final = 1.0  # seconds, RFC 4861 10
NONCE_SIZE: Final = 6  # bytes; RFC 3971 5.3.2
MAX_MULTICAST_SOLICIT: Final = 3  # more, after a loop was seen: RFC 7527 4.1


class State(Enum):
    """Of the address."""

    NEW = "nobody was asked yet"
    TENTATIVE = "being asked for"
    UNIQUE = "nobody has it"
    DUPLICATE = "somebody else has it, or wants it"


class Input(Enum):
    """What happens to it."""

    START = "begin"
    TIMEOUT = "the last solicitation was not answered"
    CLAIM = "an advertisement of it, or somebody else's solicitation"


# A pair that is absent changes nothing.
TRANSITIONS: Final[dict[tuple[State, Input], State]] = {
    (State.NEW, Input.START): State.TENTATIVE,
    (State.TENTATIVE, Input.TIMEOUT): State.UNIQUE,
    (State.TENTATIVE, Input.CLAIM): State.DUPLICATE,
}


class DuplicateDetection:
    """Whether one address is free. `transmits`: solicitations; `retrans`: seconds between them and after the last.

    `owner` is the MAC that has a DUPLICATE, b"" for somebody who is about to take it. `looped`: own solicitations that
    came back.
    """

    def __init__(self, rng: random.Random, *, transmits: int = 1, retrans: float = RETRANS_TIMER) -> None:
        self.state = State.NEW
        self.owner = b""
        self.looped = 0
        self.deadline = math.inf
        self._rng = rng
        self._left = transmits
        self._retrans = retrans
        self._nonces: set[bytes] = set()
        self._to_send: list[bytes] = []

    def start(self, now: float, delay: float = 0.0) -> None:
        """Ask after `delay` seconds: a random one keeps hosts apart that begin together (RFC 4862 5.4.2)."""
        self._apply(Input.START)
        self.deadline = now + delay
        self.timer_expired(now)

    def receive_solicitation(self, nonce: bytes) -> None:
        """A solicitation from the unspecified address; `nonce` is b"" where it holds none."""
        if nonce not in self._nonces:
            self._apply(Input.CLAIM)
        elif self.state is State.TENTATIVE:
            if not self.looped:
                self._left += MAX_MULTICAST_SOLICIT
            self.looped += 1

    def receive_advertisement(self, mac: bytes) -> None:
        """An advertisement says that the address is at `mac`."""
        if self.state is State.TENTATIVE:
            self.owner = mac
        self._apply(Input.CLAIM)

    def timer_expired(self, now: float) -> None:
        """Ask once more, or be content with the silence. Early calls do nothing."""
        if now < self.deadline:
            return
        if self._left <= 0:
            self._apply(Input.TIMEOUT)
            return
        self._left -= 1
        nonce = self._rng.randbytes(NONCE_SIZE)
        self._nonces.add(nonce)
        self._to_send.append(nonce)
        self.deadline = now + self._retrans

    def solicitations_to_send(self, now: float) -> list[bytes]:
        """The nonces to ask with since the last call."""
        nonces, self._to_send = self._to_send, []
        return nonces

    def _apply(self, event: Input) -> None:
        """The one place that assigns `state`."""
        self.state = TRANSITIONS.get((self.state, event), self.state)
        if self.state is not State.TENTATIVE:
            self.deadline = math.inf
            self._to_send.clear()
