"""The nameservers and search domains that routers advertise, for as long as they say (RFC 8106).

receive(record, now), timer_expired(now)
servers(), domains()
deadline
"""

from __future__ import annotations

import math
from typing import Final, TypeVar

from asyncstack.counters import Counters
from asyncstack.network.addresses import is_multicast
from asyncstack.network.lifetimes import until
from asyncstack.wire.ndp import RouterAdvertisement

LIMIT: Final = 8  # of each

_Key = TypeVar("_Key", bytes, str)


class AdvertisedDns:
    """Of one interface. Bounded: those that are there stay (RFC 8106 6.2 would have the one that ends first go, and so
    a flood of false ones win)."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._servers: dict[bytes, float] = {}
        self._domains: dict[str, float] = {}

    def receive(self, record: RouterAdvertisement, now: float) -> None:
        """An advertisement came. A lifetime of 0 takes back what was said."""
        for servers in record.rdnss:
            for server in servers.servers:
                if any(server) and not is_multicast(server):
                    self._learn(self._servers, server, servers.lifetime, now)
        for search in record.dnssl:
            for domain in search.domains:
                self._learn(self._domains, domain.lower(), search.lifetime, now)

    def _learn(self, table: dict[_Key, float], key: _Key, lifetime: int, now: float) -> None:
        if lifetime == 0:
            table.pop(key, None)
        elif key in table or len(table) < LIMIT:
            table[key] = until(lifetime, now)
        else:
            self._counters["ndp.dns_refused"] += 1

    def timer_expired(self, now: float) -> None:
        """Forget what is over."""
        for table in (self._servers, self._domains):
            for key in [key for key, expires in table.items() if expires <= now]:
                del table[key]  # type: ignore[arg-type]

    def servers(self) -> list[bytes]:
        """In the order in which they came."""
        return list(self._servers)

    def domains(self) -> list[str]:
        """In the order in which they came."""
        return list(self._domains)

    @property
    def deadline(self) -> float:
        """When to call `timer_expired`; `math.inf` for never."""
        return min((*self._servers.values(), *self._domains.values()), default=math.inf)
