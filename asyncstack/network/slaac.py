"""The addresses that a host makes from advertised prefixes, and their lives (RFC 4862 5.5, RFC 8981).

    receive(router, prefixes, now)          an advertisement
    verdict(address, free, now)             what became of a check
    leave(now)                              the link is another network's now
    timer_expired(now)
    addresses_to_check(now), events()
    deadline

An address is TENTATIVE while it is checked, ASSIGNED until its valid lifetime is over, or until a check after the link
was away finds that somebody else has it. An advertisement of its prefix
renews it, or cuts what is left of it down to two hours, not less: one forged packet takes nobody's address away.

A temporary address has a shorter life, which no advertisement makes longer. Shortly before it is deprecated the next
one is made. It ends up to DESYNC earlier, so that a network's hosts do not change theirs all at the same time.

Bounded: prefixes and addresses that are there stay.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from asyncstack.counters import Counters
from asyncstack.network import identifiers
from asyncstack.network.addresses import is_link_local, is_multicast
from asyncstack.network.lifetimes import until
from asyncstack.wire.ndp import Prefix

PREFIX_LIMIT: Final = 8
ADDRESS_LIMIT: Final = 32
TWO_HOURS: Final = 7200  # RFC 4862 5.5.3 (e)
IDENTIFIER_BITS: Final = 64  # of Ethernet: RFC 2464 4


class State(Enum):
    """Of an address."""

    TENTATIVE = "being checked"
    ASSIGNED = "in use"
    GONE = "taken by somebody else, or its time is over"


class Input(Enum):
    """What happens to it."""

    FREE = "nobody else has it"
    TAKEN = "somebody else has it"
    EXPIRED = "its valid lifetime is over"


# A pair that is absent changes nothing.
TRANSITIONS: Final[dict[tuple[State, Input], State]] = {
    (State.TENTATIVE, Input.FREE): State.ASSIGNED,
    (State.TENTATIVE, Input.TAKEN): State.GONE,
    (State.TENTATIVE, Input.EXPIRED): State.GONE,
    (State.ASSIGNED, Input.EXPIRED): State.GONE,
    (State.ASSIGNED, Input.TAKEN): State.GONE,
}


@dataclass(frozen=True, slots=True)
class TemporaryLifetimes:
    """RFC 8981 3.8, in seconds. advance: how long before the end of one the next is made."""

    valid: float = 2 * 86400.0
    preferred: float = 86400.0
    advance: float = 5.0

    @property
    def desync(self) -> float:
        """The most that a life is shortened by."""
        return 0.4 * self.preferred


@dataclass(slots=True, eq=False)
class AutoAddress:
    """An address made from `prefix`, 8 bytes, which `router` has advertised. Times are clock seconds.

    tried: addresses that somebody else had. created, desync, replaced: of temporary ones; replaced by a newer one.
    """

    address: bytes
    prefix: bytes
    router: bytes
    valid_until: float
    preferred_until: float
    temporary: bool = False
    state: State = State.TENTATIVE
    tried: int = 0
    created: float = 0.0
    desync: float = 0.0
    replaced: bool = False


class Change(Enum):
    """What the stack has to do about an address."""

    ASSIGN = "use it"
    RENEW = "its preferred lifetime is another"
    REMOVE = "use it no longer"
    GIVE_UP = "somebody else has each that was tried"


class AutoAddresses:
    """The addresses that one interface has of its routers.

    own_address(prefix, counter): the stable one. temporary: their lifetimes, None for no temporary addresses.
    """

    def __init__(
        self,
        own_address: Callable[[bytes, int], bytes],
        rng: random.Random,
        counters: Counters,
        temporary: TemporaryLifetimes | None = None,
    ) -> None:
        self._own_address = own_address
        self._rng = rng
        self._counters = counters
        self._temporary = temporary
        self._addresses: dict[bytes, AutoAddress] = {}
        self._given_up: set[bytes] = set()  # prefixes of which somebody else has all that were tried
        self._to_check: list[AutoAddress] = []
        self._events: list[tuple[Change, AutoAddress]] = []

    # inputs

    def receive(self, router: bytes, prefixes: Iterable[Prefix], now: float) -> None:
        """`router` has advertised `prefixes` (RFC 4862 5.5.3)."""
        for one in prefixes:
            if not one.autonomous or one.preferred_lifetime > one.valid_lifetime:
                continue
            if is_link_local(one.prefix) or is_multicast(one.prefix) or not any(one.prefix[:8]):
                continue
            if one.length != IDENTIFIER_BITS:
                self._counters["ndp.prefix_length"] += 1
                continue
            self._receive_prefix(router, one, now)

    def _receive_prefix(self, router: bytes, told: Prefix, now: float) -> None:
        prefix = told.prefix[:8]
        known = self.of(prefix)
        for one in known:
            self._renew(one, told, now)
        if any(not one.temporary for one in known):
            self._have_temporary(prefix, now)
        elif told.valid_lifetime and prefix not in self._given_up:
            if len({one.prefix for one in self._addresses.values()}) >= PREFIX_LIMIT:
                self._counters["ndp.prefixes_refused"] += 1
                return
            ends = until(told.valid_lifetime, now), until(told.preferred_lifetime, now)
            if self._make(AutoAddress(self._own_address(prefix, 0), prefix, router, *ends)):
                self._have_temporary(prefix, now)

    def _renew(self, one: AutoAddress, told: Prefix, now: float) -> None:
        if told.valid_lifetime > min(TWO_HOURS, one.valid_until - now):
            one.valid_until = until(told.valid_lifetime, now)
        elif one.valid_until - now > TWO_HOURS:
            one.valid_until = now + TWO_HOURS
        preferred = until(told.preferred_lifetime, now)
        if one.temporary and self._temporary is not None:
            one.valid_until = min(one.valid_until, one.created + self._temporary.valid)
            preferred = min(preferred, one.created + self._temporary.preferred - one.desync)
        if preferred != one.preferred_until:
            one.preferred_until = preferred
            if one.state is State.ASSIGNED:
                self._events.append((Change.RENEW, one))

    def verdict(self, address: bytes, free: bool, now: float) -> None:
        """A check of `address` is over."""
        one = self._addresses.get(address)
        if one is None:
            return
        self._apply(one, Input.FREE if free else Input.TAKEN)
        if free:
            return
        del self._addresses[address]
        self._counters["ndp.duplicate_address"] += 1
        one.tried += 1
        if one.tried < identifiers.IDGEN_RETRIES:
            address = one.prefix + self._identifier(one.temporary, one.prefix, one.tried)
            self._make(replace(one, address=address, state=State.TENTATIVE))
        elif not one.temporary and len(self._given_up) < PREFIX_LIMIT:
            self._given_up.add(one.prefix)
            self._events.append((Change.GIVE_UP, one))

    def leave(self, now: float) -> None:
        """The link belongs to another network: make no new connections from what the old one's routers gave (RFC 4862
        5.5.4). Should they still be there, their next advertisement takes that back."""
        for one in self._addresses.values():
            one.preferred_until = min(one.preferred_until, now)
            if one.state is State.ASSIGNED:
                self._events.append((Change.RENEW, one))

    def timer_expired(self, now: float) -> None:
        """End what is over, and make the successors of temporary addresses."""
        for one in list(self._addresses.values()):
            if one.valid_until <= now:
                del self._addresses[one.address]
                self._apply(one, Input.EXPIRED)
            elif self._is_due(one) <= now:
                one.replaced = True
                self._have_temporary(one.prefix, now)

    # outputs

    def addresses_to_check(self, now: float) -> list[AutoAddress]:
        """Those made since the last call."""
        made, self._to_check = self._to_check, []
        return [one for one in made if one.state is State.TENTATIVE]

    def events(self) -> list[tuple[Change, AutoAddress]]:
        """What to do, since the last call."""
        events, self._events = self._events, []
        return events

    @property
    def deadline(self) -> float:
        """When to call `timer_expired`; `math.inf` for never."""
        ends = (min(one.valid_until, self._is_due(one)) for one in self._addresses.values())
        return min(ends, default=math.inf)

    def of(self, prefix: bytes) -> list[AutoAddress]:
        """The addresses with `prefix`, 8 bytes."""
        return [one for one in self._addresses.values() if one.prefix == prefix]

    def __iter__(self) -> Iterator[AutoAddress]:
        return iter(self._addresses.values())

    # the making

    def _have_temporary(self, prefix: bytes, now: float) -> None:
        """Make a temporary address if there is none that will last (RFC 8981 3.4)."""
        lives = self._temporary
        known = self.of(prefix)
        if lives is None or any(one.temporary and not one.replaced for one in known):
            return
        for public in known:
            if public.temporary or public.preferred_until - now <= lives.advance:
                continue
            desync = self._rng.uniform(0, lives.desync)
            preferred = min(public.preferred_until, now + lives.preferred - desync)
            if preferred - now > lives.advance:
                valid = min(public.valid_until, now + lives.valid)
                address = prefix + self._identifier(True, prefix, 0)
                self._make(
                    AutoAddress(
                        address, prefix, public.router, valid, preferred, True, created=now, desync=desync
                    )
                )
            return

    def _is_due(self, one: AutoAddress) -> float:
        """When the successor of a temporary address has to be made."""
        if not one.temporary or one.replaced or self._temporary is None:
            return math.inf
        return one.preferred_until - self._temporary.advance

    def _identifier(self, temporary: bool, prefix: bytes, tried: int) -> bytes:
        return identifiers.temporary(self._rng) if temporary else self._own_address(prefix, tried)[8:]

    def _make(self, one: AutoAddress) -> bool:
        if one.address in self._addresses or len(self._addresses) >= ADDRESS_LIMIT:
            self._counters["ndp.prefixes_refused"] += 1
            return False
        self._addresses[one.address] = one
        self._to_check.append(one)
        return True

    def _apply(self, one: AutoAddress, event: Input) -> None:
        before = one.state
        one.state = TRANSITIONS.get((before, event), before)
        if one.state is before:
            return
        if one.state is State.ASSIGNED:
            self._events.append((Change.ASSIGN, one))
        elif before is State.ASSIGNED:
            self._events.append((Change.REMOVE, one))
