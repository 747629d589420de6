"""What a lease changes in the stack, and how it is undone."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from asyncstack.application.dhcp.lease import Lease, Parameters
from asyncstack.errors import os_error
from asyncstack.network.addresses import Origin, common_prefix, format_address
from asyncstack.wire.dhcp_options import ClasslessRoute

if TYPE_CHECKING:
    from asyncstack.application.dhcp.host import Host
    from asyncstack.link.interface import Interface
    from asyncstack.network.addresses import InterfaceAddress
    from asyncstack.network.routing import Route

_ON_LINK = bytes(4)


class Installed:
    """The address, routes, MTU and nameservers that `source` has given to `interface`."""

    def __init__(self, stack: Host, interface: Interface, source: object) -> None:
        self._stack = stack
        self._interface = interface
        self._source = source
        self._entry: InterfaceAddress | None = None
        self._routes: list[Route] = []
        self._mtu = 0  # as it was told

    def has(self, address: bytes) -> bool:
        """Whether `address` is installed."""
        return self._entry is not None and self._entry.address == address

    def is_lost(self, entry: InterfaceAddress) -> bool:
        """Whether `entry`, which the stack has no more, was installed."""
        return entry is self._entry

    def take(self, lease: Lease, origin: Origin) -> None:
        """Give the interface the address of `lease`. Raises OSError EEXIST, ValueError."""
        self.remove(None)
        length = lease.parameters.prefix_length
        self._entry = self._stack.add_address(self._interface, lease.address, length, origin=origin)

    def announce(self) -> None:
        """Tell the link that the address is here (again)."""
        if (entry := self._entry) is not None:
            entry.interface.link.add_address(entry.address, self._stack.clock(), yielding=entry.yields)

    def update(self, parameters: Parameters) -> None:
        """Have in force what `parameters` say; what was there and stays is not touched."""
        wanted = dict.fromkeys(self._with_roads(parameters.routes))
        for route in list(self._routes):
            known = (route.prefix, route.prefix_length, route.gateway or _ON_LINK)
            if known in wanted:
                del wanted[known]
            else:
                self._remove_route(route)
        for prefix, length, router in wanted:
            self._add_route(prefix, length, router)
        self._set_mtu(parameters.mtu)
        self.learn(parameters)

    def learn(self, parameters: Parameters) -> None:
        """The nameservers alone."""
        if parameters.nameservers or parameters.search:
            servers, search = list(parameters.nameservers), list(parameters.search)
            self._stack.learn_nameservers(self._source, servers, search)
        else:
            self._stack.forget_nameservers(self._source)

    def remove(self, error: OSError | None) -> None:
        """Take everything back; connections from the address end with `error`."""
        for route in list(self._routes):
            self._remove_route(route)
        self._set_mtu(0)
        self._stack.forget_nameservers(self._source)
        entry, self._entry = self._entry, None
        if entry is not None and self._stack.addresses.local.get(entry.address) is entry:
            gone = error or os_error(
                errno.EADDRNOTAVAIL, f"{format_address(entry.address)} was given back to its DHCP server"
            )
            self._stack.remove_address(entry.address, gone)

    def _with_roads(self, routes: Iterable[ClasslessRoute]) -> Iterator[ClasslessRoute]:
        """`routes`, each behind a route to its router where that is on no network of ours: as clouds have it, which
        give an address with a mask of 32 bits."""
        networks = [] if self._entry is None else [(self._entry.address, self._entry.prefix_length)]
        for prefix, length, router in routes:
            if router == _ON_LINK:
                networks.append((prefix, length))
            elif not any(common_prefix(one, router) >= size for one, size in networks):
                networks.append((router, 32))
                yield router, 32, _ON_LINK
            yield prefix, length, router

    def _add_route(self, prefix: bytes, length: int, router: bytes) -> None:
        gateway = None if router == _ON_LINK else router
        try:
            self._routes.append(self._stack.routes.add(prefix, length, self._interface, gateway))
        except (OSError, ValueError):
            self._stack.counters["dhcp.route_refused"] += 1  # there is one, or the router is none

    def _remove_route(self, route: Route) -> None:
        self._routes.remove(route)
        try:
            self._stack.routes.remove(route)
        except ProcessLookupError:
            pass  # it went with the interface, or somebody took it out

    def _set_mtu(self, told: int) -> None:
        """Not if nothing is said now nor was before: a router's advertisement may have set it."""
        interface = self._interface
        if told or self._mtu:
            interface.mtu = min(told or interface.device.mtu, interface.device.mtu)
            if told != self._mtu:
                self._stack.routes.changed()
        self._mtu = told
