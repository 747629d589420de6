"""Better first hops that routers have told of, for single destinations (RFC 4861 8.3; RFC 1122 3.2.2.2).

Each is a route to one host, and lasts until the neighbour it leads to does not answer, or until others need the room;
IPv4's also end with their time, as nothing there tells that a router has changed its mind.
Only the router that a packet to the destination would go to now may say so, and only about the link that it is on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from asyncstack.counters import Counters
from asyncstack.network.addresses import is_loopback, is_multicast
from asyncstack.network.routing import Route, RoutingTable

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface

LIMIT: Final = 256  # destinations
LIFETIME_IPV4: Final = 300.0  # seconds; Linux: net.ipv4.route.gc_timeout
_BEFORE_ALL: Final = -1  # metric: a redirect is about the route that is there


class Redirects:
    """The redirects of one stack, of both families."""

    def __init__(self, routes: RoutingTable, counters: Counters) -> None:
        self._routes = routes
        self._counters = counters
        self._known: dict[bytes, Route] = {}  # by destination, the oldest first
        self._expires: dict[bytes, float] = {}  # of those that do

    def __len__(self) -> int:
        return len(self._known)

    def receive(
        self,
        source: bytes,
        destination: bytes,
        target: bytes,
        interface: Interface,
        expires: float = math.inf,
    ) -> bool:
        """`source`, on `interface`, says that `target` is the better first hop to `destination`; the same address for
        both says that it is on the link. Returns whether that is believed, until `expires`."""
        if not self._is_from_first_hop(source, destination, target, interface):
            self._counters["redirect.refused"] += 1
            return False
        self._forget(destination)
        while len(self._known) >= LIMIT:
            self._forget(next(iter(self._known)))
        gateway = None if target == destination else target
        try:
            route = self._routes.add(destination, 8 * len(destination), interface, gateway, _BEFORE_ALL)
        except OSError:  # on no network of the interface, or our own address
            self._counters["redirect.refused"] += 1
            return False
        self._known[destination] = route
        if expires < math.inf:
            self._expires[destination] = expires
        self._counters["redirect.accepted"] += 1
        return True

    @property
    def deadline(self) -> float:
        """When the first one ends; `math.inf` for never."""
        return min(self._expires.values(), default=math.inf)

    def timer_expired(self, now: float) -> None:
        """Forget those whose time is over."""
        for destination in [one for one, expires in self._expires.items() if expires <= now]:
            self._forget(destination)

    def neighbor_failed(self, address: bytes, interface: Interface) -> bool:
        """`address` does not answer: what was redirected there goes its old way. Returns whether anything was."""
        gone = [
            destination
            for destination, route in self._known.items()
            if route.interface is interface and address in (route.gateway, destination)
        ]
        for destination in gone:
            self._forget(destination)
        return bool(gone)

    def remove_interface(self, interface: Interface) -> None:
        """Forget all over `interface`."""
        for destination, route in list(self._known.items()):
            if route.interface is interface:
                self._forget(destination)

    def _is_from_first_hop(
        self, source: bytes, destination: bytes, target: bytes, interface: Interface
    ) -> bool:
        addresses = self._routes.addresses
        if is_multicast(destination) or is_loopback(destination) or addresses.is_local(destination):
            return False
        if is_multicast(target) or addresses.is_local(target):
            return False
        if addresses.is_broadcast(destination) or addresses.is_broadcast(target):
            return False
        try:
            path = self._routes.lookup(destination)
        except OSError:
            return False
        return path.interface is interface and path.next_hop == source and source != destination

    def _forget(self, destination: bytes) -> None:
        self._expires.pop(destination, None)
        route = self._known.pop(destination, None)
        if route is not None and route in self._routes.routes():
            self._routes.remove(route)
