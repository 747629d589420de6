"""The routes that an interface has because routers said so: to the prefixes on the link, and by the routers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asyncstack.network.routing import Route

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface
    from asyncstack.network.routing import RoutingTable

ROUTER_METRIC: Final = 1024  # as Linux has it for what routers say
PREFIX_METRIC: Final = 256

_Destination = tuple[bytes, int]  # prefix, length
_Key = tuple[bytes, int, bytes | None]  # the same, gateway


class AdvertisedRoutes:
    """Those of `interface` in the stack's `table`."""

    def __init__(self, table: RoutingTable, interface: Interface) -> None:
        self._table = table
        self._interface = interface
        self._routes: dict[_Key, Route] = {}
        self._synced: tuple[list[_Destination], dict[_Destination, bytes]] = [], {}

    def sync(self, prefixes: list[_Destination], routers: dict[_Destination, bytes]) -> bool:
        """Have these in the table, and no others. Returns whether there were others. Cheap if `routers` is the very
        object of the last call, and `prefixes` are equal."""
        if prefixes == self._synced[0] and routers is self._synced[1]:
            return False
        before = list(self._routes)
        self._synced = prefixes, routers
        wanted: dict[_Key, int] = {(*prefix, None): PREFIX_METRIC for prefix in prefixes}
        for destination, router in routers.items():
            wanted[(*destination, router)] = ROUTER_METRIC
        for key in before:
            if key not in wanted:
                self._drop(key)
        for key, metric in wanted.items():
            if key not in self._routes and self._interface.up:
                self._add(key, metric)
        return list(self._routes) != before

    def _add(self, key: _Key, metric: int) -> None:
        prefix, length, gateway = key
        try:
            self._routes[key] = self._table.add(prefix, length, self._interface, gateway, metric)
        except OSError:  # somebody has typed it, with this metric
            self._interface.counters["ndp.routes_refused"] += 1
            self._synced = [], {}  # try again with the next advertisement

    def _drop(self, key: _Key) -> None:
        route = self._routes.pop(key)
        if route in self._table.routes():
            self._table.remove(route)
