"""The routing table: which interface, source address and next hop a destination has.

`lookup` runs when a connection is made or a datagram has a new destination, not per packet: its `Path` is kept
by the caller for as long as `path.generation == routes.generation`.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncstack.errors import os_error
from asyncstack.network.addresses import (
    ANY_IPV4,
    ANY_IPV6,
    LIMITED_BROADCAST,
    LOOPBACK_IPV4,
    LOOPBACK_IPV6,
    AddressTable,
    InterfaceAddress,
    format_address,
    is_link_local,
    is_loopback,
    is_multicast,
    prefix_mask,
)
from asyncstack.network.pmtu import PathMtuTable, minimum_mtu
from asyncstack.network.selection import sort_destinations
from asyncstack.wire.packet import LARGEST_PACKET

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface

HOP_LIMIT = 64  # of IPv6 packets, where neither the configuration nor a router has another one
KNOWN_PATHS = 1024  # kept for who asks again


class Path:
    """How packets from `source` get to `destination`: by `interface`, to the neighbour `next_hop`.

    mtu: largest packet, bytes. generation: of the routing table it came from. broadcast: `next_hop` is every
    host. fragile: the path takes less than the least we believe, so IPv4 may not set DF. address_sum: the sum
    of both addresses' 16-bit words, for headers and pseudo-headers. addresses: source and destination joined.
    foreign: `source` is another host's, in whose place we speak. chosen: our address that was found for who gave none.
    hop_limit: of IPv6 packets whose sender does not care.
    """

    __slots__ = (
        "address_sum",
        "addresses",
        "broadcast",
        "chosen",
        "destination",
        "foreign",
        "fragile",
        "generation",
        "hop_limit",
        "interface",
        "mtu",
        "next_hop",
        "source",
    )

    def __init__(
        self,
        interface: Interface,
        source: bytes,
        destination: bytes,
        next_hop: bytes,
        mtu: int,
        generation: int = 0,
    ) -> None:
        self.interface = interface
        self.source = source
        self.destination = destination
        self.next_hop = next_hop
        self.mtu = mtu
        self.generation = generation
        self.broadcast = self.foreign = False
        self.fragile = False
        self.chosen: InterfaceAddress | None = None
        self.hop_limit = HOP_LIMIT
        self.addresses = source + destination
        self.address_sum = int.from_bytes(self.addresses, "big") % 0xFFFF

    def __repr__(self) -> str:
        ends = f"{format_address(self.source)} -> {format_address(self.destination)}"
        return f"<Path {ends} via {format_address(self.next_hop)} on {self.interface.name} mtu {self.mtu}>"


@dataclass(slots=True)
class Route:
    """One line of the table. `gateway` None: the destinations are on the link itself."""

    prefix: bytes
    prefix_length: int
    interface: Interface
    gateway: bytes | None = None
    metric: int = 0

    def __str__(self) -> str:
        via = f" via {format_address(self.gateway)}" if self.gateway else ""
        return f"{format_address(self.prefix)}/{self.prefix_length}{via} dev {self.interface.name}"

    def __repr__(self) -> str:
        return f"<Route {self} metric {self.metric}>"


def _stays_on_link(destination: bytes, source: bytes) -> bool:
    """Whether no router may see a packet (RFC 3927 2.6): the neighbours are asked for the destination."""
    return len(destination) == 4 and (is_link_local(destination) or is_link_local(source))


class _Prefixes:
    """The routes of one family with one prefix length, by masked prefix; best metric first."""

    __slots__ = ("length", "mask", "routes")

    def __init__(self, length: int, size: int) -> None:
        self.length = length
        self.mask = prefix_mask(length, size)
        self.routes: dict[int, list[Route]] = {}


class RoutingTable:
    """Longest prefix first, then the smallest metric, then the order of `add`. Interfaces that are down do not count.

    `loopback` is set by the stack: packets to our own addresses go there. `generation` is bumped by every
    change that may alter a Path (addresses and path MTUs included): a Path with another generation is stale.
    """

    def __init__(self, addresses: AddressTable, pmtu: PathMtuTable | None = None) -> None:
        self.addresses = addresses
        self.pmtu = pmtu if pmtu is not None else PathMtuTable()
        self.loopback: Interface | None = None
        self.hop_limit = HOP_LIMIT  # set by the stack
        self.generation = 0
        self._families: dict[int, list[_Prefixes]] = {4: [], 16: []}  # longest first
        # what `lookup` has found in this generation: a server is asked for the same few paths by each connection
        self._known: dict[tuple[bytes, bytes, Interface | None, bool], Path] = {}
        self._known_at = 0
        addresses.on_change = self.changed

    def add(
        self,
        prefix: bytes,
        prefix_length: int,
        interface: Interface,
        gateway: bytes | None = None,
        metric: int = 0,
    ) -> Route:
        """Add a route; bits of `prefix` beyond its length are ignored.

        Raises ValueError for what is no route, OSError EEXIST if there is one with that metric already, and
        ENETUNREACH if the gateway is on no network of `interface`.
        """
        size = len(prefix)
        if size not in (4, 16) or not 0 <= prefix_length <= 8 * size:
            raise ValueError(f"no prefix: {prefix!r}/{prefix_length}")
        value = int.from_bytes(prefix, "big") & prefix_mask(prefix_length, size)
        route = Route(value.to_bytes(size, "big"), prefix_length, interface, gateway, metric)
        if gateway is not None:
            self._check_gateway(route, gateway)
        same = self._prefixes(size, prefix_length).routes.setdefault(value, [])
        if any(r.interface is interface and r.metric == metric for r in same):
            raise os_error(errno.EEXIST, f"route {route}")
        same.append(route)
        same.sort(key=lambda r: r.metric)
        self.generation += 1
        return route

    def remove(self, route: Route) -> None:
        """Take one route out. Raises OSError ESRCH if it is not there."""
        for prefixes in self._families[len(route.prefix)]:
            same = prefixes.routes.get(int.from_bytes(route.prefix, "big"), [])
            if prefixes.length == route.prefix_length and route in same:
                self._drop(prefixes, route)
                return
        raise os_error(errno.ESRCH, f"route {route}")

    def remove_interface(self, interface: Interface) -> None:
        """Take out every route over `interface`."""
        for route in self.routes():
            if route.interface is interface:
                self.remove(route)

    def changed(self) -> None:
        """Have every Path looked up again: addresses changed; an interface went up or down, or its MTU changed."""
        self.generation += 1

    def routes(self) -> list[Route]:
        """All routes, in the order that `lookup` tries them, IPv4 first."""
        return [
            route
            for family in self._families.values()
            for prefixes in family
            for same in prefixes.routes.values()
            for route in same
        ]

    def lookup(
        self,
        destination: bytes,
        source: bytes = b"",
        interface: Interface | None = None,
        *,
        foreign: bool = False,
    ) -> Path:
        """The path to `destination`, from `source` if given, by `interface` if given.

        Raises OSError: EADDRNOTAVAIL if `source` is not ours, unless it may be `foreign`, or there is none to
        choose; ENETUNREACH without a route; EINVAL for a loopback source towards another host.
        """
        key = (destination, source, interface, foreign)
        path = self._known.get(key)
        if path is not None and path.generation == self.generation and path.interface.up:
            chosen = path.chosen
            if chosen is None or chosen.preferred_until > self.addresses.clock():
                return path
        if self._known_at != self.generation or len(self._known) >= KNOWN_PATHS:
            self._known.clear()
            self._known_at = self.generation
        path = self._known[key] = self._lookup(destination, source, interface, foreign)
        return path

    def _lookup(self, destination: bytes, source: bytes, interface: Interface | None, foreign: bool) -> Path:
        if destination in (ANY_IPV4, ANY_IPV6):  # connect(0.0.0.0) means this host
            destination = LOOPBACK_IPV4 if len(destination) == 4 else LOOPBACK_IPV6
        if source in (ANY_IPV4, ANY_IPV6) and interface is None:
            source = b""
        foreign = foreign and not self.addresses.is_local(source)
        if source and any(source) and not foreign and not self.addresses.is_local(source):
            raise os_error(errno.EADDRNOTAVAIL, f"{format_address(source)} is not an address of this stack")
        if self.addresses.is_local(destination):
            return self._local_path(destination, source)
        if source and is_loopback(source) and not is_multicast(destination):
            raise os_error(
                errno.EINVAL, f"{format_address(source)} can not reach {format_address(destination)}"
            )
        path = self._path(destination, source, interface)
        path.foreign = foreign
        return path

    def reaches(self, destination: bytes) -> bool:
        """Whether `destination` is ours or a route leads to it."""
        return self.addresses.is_local(destination) or self._find(destination, b"", None) is not None

    def by_preference(self, destinations: list[bytes]) -> list[bytes]:
        """`destinations` with the one to try first in front: see `selection.sort_destinations`."""
        if len(destinations) < 2:
            return destinations
        return sort_destinations(destinations, self._source_towards, self.addresses.clock())

    def _source_towards(self, destination: bytes) -> InterfaceAddress | None:
        try:
            return self.addresses.local.get(self.lookup(destination).source)
        except OSError:
            return None

    def update_path_mtu(self, destination: bytes, mtu: int, now: float) -> bool:
        """A router takes no more than `mtu` bytes. Returns whether that changed anything."""
        changed = self.pmtu.update(destination, mtu, now)
        if changed:
            self.generation += 1
        return changed

    def timer_expired(self, now: float) -> None:
        """Forget path MTUs that are too old."""
        if self.pmtu.timer_expired(now):
            self.generation += 1

    def _local_path(self, destination: bytes, source: bytes) -> Path:
        loopback = self.loopback
        if loopback is None or not loopback.up:
            raise os_error(
                errno.ENETUNREACH, f"{format_address(destination)} is our own, and there is no loopback"
            )
        if not source:
            source = destination if destination in self.addresses.local else LOOPBACK_IPV4
        mtu = min(loopback.mtu, LARGEST_PACKET)
        path = Path(loopback, source, destination, destination, mtu, self.generation)
        path.broadcast = self.addresses.is_broadcast(destination)
        path.hop_limit = self.hop_limit
        return path

    def _path(self, destination: bytes, source: bytes, interface: Interface | None) -> Path:
        route = self._find(destination, source, interface)
        if route is None:
            raise os_error(errno.ENETUNREACH, f"no route to {format_address(destination)}")
        gateway = route.gateway
        chosen = None
        if not source:
            chosen = self.addresses.select_source(destination, gateway or destination, route.interface)
            source = b"" if chosen is None else chosen.address
        if not source:
            reason = f"no IPv{4 if len(destination) == 4 else 6} address to reach {format_address(destination)} from"
            raise os_error(errno.EADDRNOTAVAIL, reason)
        if gateway is not None and _stays_on_link(destination, source):
            gateway = None
        next_hop = gateway or destination
        broadcast = gateway is None and self.addresses.is_broadcast(destination, route.interface)
        if broadcast:
            next_hop = LIMITED_BROADCAST  # the one broadcast that the link knows
        mtu = min(route.interface.mtu, LARGEST_PACKET)
        if len(destination) == 16:
            mtu = min(mtu, route.interface.advertised_mtu)
        known = self.pmtu.get(destination)
        path = Path(route.interface, source, destination, next_hop, mtu, self.generation)
        path.broadcast, path.chosen = broadcast, chosen
        path.hop_limit = route.interface.advertised_hop_limit or self.hop_limit
        if known and known < mtu:
            path.mtu = known
            path.fragile = len(destination) == 4 and known <= minimum_mtu(destination)
        return path

    def _find(self, destination: bytes, source: bytes, interface: Interface | None) -> Route | None:
        if destination == LIMITED_BROADCAST or is_multicast(destination):
            route = self._link_wide(destination, source, interface)
            if route is not None:
                return route
        value = int.from_bytes(destination, "big")
        for prefixes in self._families[len(destination)]:
            same = prefixes.routes.get(value & prefixes.mask)
            if same is not None:
                route = self._best(same, source, interface)
                if route is not None:
                    return route
        if interface is not None and is_link_local(destination) and interface.up:
            return Route(destination, 8 * len(destination), interface)
        return None

    def _best(self, same: list[Route], source: bytes, interface: Interface | None) -> Route | None:
        """The first usable route; of those with its metric rather the one on the interface that has `source`."""
        usable = [r for r in same if r.interface.up and interface in (None, r.interface)]
        if len(usable) > 1 and source in self.addresses.local:
            home = self.addresses.local[source].interface
            for route in usable:
                if route.interface is home and route.metric == usable[0].metric:
                    return route
        return usable[0] if usable else None

    def _link_wide(self, destination: bytes, source: bytes, interface: Interface | None) -> Route | None:
        """Broadcasts and groups stay on a link: the one asked for, or that of the source."""
        if interface is None and source in self.addresses.local:
            interface = self.addresses.local[source].interface
        if interface is None:
            interface = self._default_link(destination)
        if interface is None or not interface.up:
            return None
        return Route(destination, 8 * len(destination), interface)

    def _default_link(self, destination: bytes) -> Interface | None:
        value, size = int.from_bytes(destination, "big"), len(destination)
        for prefixes in self._families[size]:
            route = self._best(prefixes.routes.get(value & prefixes.mask, []), b"", None)
            if route is not None:
                return route.interface
        for entry in self.addresses.local.values():
            if len(entry.address) == size and entry.interface is not self.loopback and entry.interface.up:
                return entry.interface
        return None

    def _check_gateway(self, route: Route, gateway: bytes) -> None:
        if len(gateway) != len(route.prefix):
            raise ValueError(f"route {route}: the gateway is of the other family")
        if self.addresses.is_local(gateway):
            raise os_error(errno.EINVAL, f"route {route}: the gateway is our own address")
        if not route.interface.device.ethernet or is_link_local(gateway):
            return  # a link of two ends has no wrong next hop
        on_link = self._find(gateway, b"", route.interface)
        if on_link is not None and on_link.gateway is None:
            return
        if not any(entry.covers(gateway) for entry in self.addresses.of(route.interface)):
            reason = f"route {route}: the gateway is on no network of {route.interface.name}"
            raise os_error(errno.ENETUNREACH, reason)

    def _prefixes(self, size: int, length: int) -> _Prefixes:
        family = self._families[size]
        for prefixes in family:
            if prefixes.length == length:
                return prefixes
        made = _Prefixes(length, size)
        family.append(made)
        family.sort(key=lambda prefixes: -prefixes.length)
        return made

    def _drop(self, prefixes: _Prefixes, route: Route) -> None:
        value = int.from_bytes(route.prefix, "big")
        prefixes.routes[value].remove(route)
        if not prefixes.routes[value]:
            del prefixes.routes[value]
        if not prefixes.routes:
            self._families[len(route.prefix)].remove(prefixes)
        self.generation += 1
