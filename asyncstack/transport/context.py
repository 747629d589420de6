"""What a transport layer stands on: the loop and its clock, and the network layers of one stack."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from asyncstack.config import StackConfig
from asyncstack.counters import Counters
from asyncstack.link.interface import Interface
from asyncstack.network.addresses import AddressTable
from asyncstack.network.ipv4 import Ipv4
from asyncstack.network.ipv6 import Ipv6
from asyncstack.network.routing import Path, RoutingTable
from asyncstack.timing import Clock


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

    def ip_for(self, address: bytes) -> Ipv4 | Ipv6:
        """The IP layer of the family of `address`."""
        return self.ipv4 if len(address) == 4 else self.ipv6

    def ip_of(self, path: Path) -> Ipv4 | Ipv6:
        """The IP layer that `path` belongs to."""
        return self.ipv4 if len(path.destination) == 4 else self.ipv6
