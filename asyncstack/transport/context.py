"""What a transport layer stands on: the loop and its clock, and the network layers of one stack."""

from __future__ import annotations

import asyncio
import errno
import random
from dataclasses import dataclass

from asyncstack.config import StackConfig
from asyncstack.counters import Counters
from asyncstack.errors import os_error
from asyncstack.link.interface import Interface
from asyncstack.network.addresses import AddressTable, scope_of
from asyncstack.network.ipv4 import Ipv4
from asyncstack.network.ipv6 import Ipv6
from asyncstack.network.routing import Path, RoutingTable
from asyncstack.timing import Clock
from asyncstack.transport.probes import Probes


@dataclass(slots=True)
class TransportContext:
    """Shared by the transports of one stack; made by `Stack`."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    config: StackConfig
    counters: Counters
    rng: random.Random
    addresses: AddressTable
    routes: RoutingTable
    ipv4: Ipv4
    ipv6: Ipv6
    interfaces: list[Interface]
    probes: Probes

    def interface_at(self, which: int | str) -> Interface | None:
        """The interface with this index, or name."""
        for interface in self.interfaces:
            if which in (interface.index, interface.name):
                return interface
        return None

    def scope(self, host: object, index: int = 0) -> Interface | None:
        """The interface that an address says with its scope: "fe80::1%eth0", "fe80::1%2", or the scope_id `index`
        beside it; None if it says none. Raises OSError(ENODEV)."""
        name = scope_of(host) if isinstance(host, str) else ""
        if not index and not name:
            return None
        found = self.interface_at(index or (int(name) if name.isdecimal() else name))
        if found is None:
            raise os_error(errno.ENODEV, f"{host}: no interface {index or name}")
        return found

    def ip_for(self, address: bytes) -> Ipv4 | Ipv6:
        """The IP layer of the family of `address`."""
        return self.ipv4 if len(address) == 4 else self.ipv6

    def ip_of(self, path: Path) -> Ipv4 | Ipv6:
        """The IP layer that `path` belongs to."""
        return self.ipv4 if len(path.destination) == 4 else self.ipv6
