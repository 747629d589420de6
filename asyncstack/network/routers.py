"""The routers on one link, and which of them packets go to (RFC 4861 6.3.4 to 6.3.6, RFC 4191).

    receive_advertisement(source, record, now)
    neighbor_settled(address, answers, now)     neighbour discovery has found out whether somebody is there
    no_router(address)                          who was one is a host now
    timer_expired(now)
    routes()                                    what the routing table has to hold: (prefix, length) -> router
    probes_to_send(now)                         routers to look for, that did not answer but would be preferred
    deadline

A router offers to be the default router, and routes to single prefixes. Of several that offer the same, one that
answers comes first, then the one with the highest preference, then the one that was first. If none answers, they take
turns.

Both tables are bounded. Who is there stays: a flood of invented routers finds no room.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from asyncstack.counters import Counters
from asyncstack.network.addresses import is_link_local, is_multicast, prefix_mask
from asyncstack.network.lifetimes import until
from asyncstack.wire.ndp import RouteInformation, RouterAdvertisement

ROUTER_LIMIT: Final = 16
ROUTES_PER_ROUTER: Final = 17  # RFC 4191 3.2
PROBE_INTERVAL: Final = 60.0  # RFC 4191 3.5

DEFAULT: Final = (bytes(16), 0)
Destination = tuple[bytes, int]  # prefix, length


@dataclass(slots=True, eq=False)
class _Router:
    """`failed`: when it was last found not to answer; `math.inf` below zero: it answers, as far as is known."""

    address: bytes
    failed: float = -math.inf
    probe_at: float = math.inf


@dataclass(slots=True, eq=False)
class _Offer:
    router: _Router
    preference: int
    expires: float


class Routers:
    """The routers of one interface."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._routers: dict[bytes, _Router] = {}
        self._offers: dict[Destination, dict[bytes, _Offer]] = {}  # by destination and router
        # what follows from these, until they change: a flood that changes nothing costs little
        self._routes: dict[Destination, bytes] | None = None
        self._deadline: float | None = None

    def __len__(self) -> int:
        return len(self._routers)

    # inputs

    def receive_advertisement(self, source: bytes, record: RouterAdvertisement, now: float) -> None:
        """Remember, refresh or forget what `source` offers."""
        router = self._routers.get(source)
        if router is None:
            router = _Router(source)
        self._set_failed(router, -math.inf)  # it lives; if it does not hear us, that is found out again
        offers = {DEFAULT: RouteInformation(*DEFAULT, record.preference, record.lifetime)}
        for route in record.routes:
            # what is link-local, or a group, is behind no router
            if not route.length or not (is_link_local(route.prefix) or is_multicast(route.prefix)):
                offers[_masked(route)] = route
        for destination, offer in offers.items():
            self._offer(router, destination, offer, now)
        self._forget_idle(router)

    def _offer(self, router: _Router, destination: Destination, offer: RouteInformation, now: float) -> None:
        known = self._offers.get(destination, {})
        if offer.lifetime == 0:
            self._drop(destination, router)
        elif router.address in known:
            self._refresh(known[router.address], offer, now)
        elif self._has_room(router):
            self._routers[router.address] = router
            made = _Offer(router, offer.preference, until(offer.lifetime, now))
            self._offers.setdefault(destination, {})[router.address] = made
            self._changed()
        else:
            self._counters["ndp.routes_refused"] += 1

    def _refresh(self, known: _Offer, offer: RouteInformation, now: float) -> None:
        if known.preference != offer.preference:
            known.preference = offer.preference
            self._changed()
        known.expires = until(offer.lifetime, now)
        self._deadline = None

    def _changed(self) -> None:
        self._routes = self._deadline = None

    def _set_failed(self, router: _Router, failed: float) -> None:
        if router.failed != failed:
            router.failed = failed
            router.probe_at = failed + PROBE_INTERVAL if failed > -math.inf else math.inf
            self._changed()

    def _has_room(self, router: _Router) -> bool:
        if router.address not in self._routers:
            return len(self._routers) < ROUTER_LIMIT
        return sum(router.address in offers for offers in self._offers.values()) < ROUTES_PER_ROUTER

    def neighbor_settled(self, address: bytes, answers: bool, now: float) -> None:
        """`address`, perhaps a router, has answered or was given up."""
        router = self._routers.get(address)
        if router is not None:
            self._set_failed(router, -math.inf if answers else now)

    def no_router(self, address: bytes) -> None:
        """`address` has said that it is no router (RFC 4861 7.2.5)."""
        router = self._routers.get(address)
        if router is not None:
            for destination in list(self._offers):
                self._drop(destination, router)
            self._forget_idle(router)

    def timer_expired(self, now: float) -> None:
        """Forget what is over."""
        for destination, offers in list(self._offers.items()):
            for offer in list(offers.values()):
                if offer.expires <= now:
                    self._drop(destination, offer.router)
                    self._forget_idle(offer.router)

    # outputs

    def routes(self) -> dict[Destination, bytes]:
        """The router for each destination: the same object as before, if nothing has changed. A route whose routers do
        not answer is left to the default router if that does (RFC 4191 3.2)."""
        if self._routes is None:
            self._routes = self._choose()
        return self._routes

    def _choose(self) -> dict[Destination, bytes]:
        best = {destination: self._best(destination) for destination in self._offers}
        default = best.get(DEFAULT)
        spared = default is not None and default.failed == -math.inf
        return {
            destination: router.address
            for destination, router in best.items()
            if router.failed == -math.inf or destination == DEFAULT or not spared
        }

    def probes_to_send(self, now: float) -> list[bytes]:
        """Routers to be asked whether they are there again."""
        due = [router for router in self._missed() if router.probe_at <= now]
        for router in due:
            router.probe_at = now + PROBE_INTERVAL
            self._deadline = None
        return [router.address for router in due]

    @property
    def deadline(self) -> float:
        """When to call `timer_expired` and `probes_to_send`; `math.inf` for never."""
        if self._deadline is None:
            self._deadline = self._earliest()
        return self._deadline

    def _earliest(self) -> float:
        ends = [offer.expires for offers in self._offers.values() for offer in offers.values()]
        return min(*ends, *(router.probe_at for router in self._missed()), math.inf, math.inf)

    # the choice

    def _best(self, destination: Destination) -> _Router:
        offers = self._offers[destination].values()
        return min(offers, key=lambda offer: (offer.router.failed, -offer.preference)).router

    def _missed(self) -> list[_Router]:
        """Routers that do not answer, would be used if they did, and are not being used all the same."""
        missed: dict[bytes, _Router] = {}
        for destination, offers in self._offers.items():
            wanted = min(offers.values(), key=lambda offer: -offer.preference).router
            if wanted.failed > -math.inf and self._best(destination) is not wanted:
                missed[wanted.address] = wanted
        return list(missed.values())

    def _drop(self, destination: Destination, router: _Router) -> None:
        offers = self._offers.get(destination, {})
        if offers.pop(router.address, None) is not None:
            self._changed()
            if not offers:
                del self._offers[destination]

    def _forget_idle(self, router: _Router) -> None:
        if router.address in self._routers and not any(
            router.address in offers for offers in self._offers.values()
        ):
            self._routers.pop(router.address, None)


def _masked(route: RouteInformation) -> Destination:
    value = int.from_bytes(route.prefix, "big") & prefix_mask(route.length, 16)
    return value.to_bytes(16, "big"), route.length
