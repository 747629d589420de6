"""The prefixes that routers say are on the link, for as long as they say (RFC 4861 6.3.4, RFC 5942).

receive(prefixes, now), timer_expired(now)
prefixes()          what the routing table has to hold: (prefix, length)
deadline
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from asyncstack.counters import Counters
from asyncstack.network.addresses import is_link_local, is_multicast, prefix_mask
from asyncstack.network.lifetimes import until
from asyncstack.wire.ndp import Prefix

LIMIT: Final = 32


def network_of(one: Prefix) -> bytes:
    """The prefix that `one` is about, 16 bytes, without what may stand behind its length."""
    value = int.from_bytes(one.prefix, "big") & prefix_mask(one.length, 16)
    return value.to_bytes(16, "big")


class OnLinkPrefixes:
    """The prefix list of one interface. Bounded: those that are there stay."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._expires: dict[tuple[bytes, int], float] = {}

    def receive(self, prefixes: Iterable[Prefix], now: float) -> None:
        """An advertisement holds `prefixes`. One that is not called on-link says nothing about that."""
        for one in prefixes:
            # everything on this link, ::/0, is what only an attacker says
            if not one.on_link or not one.length or is_link_local(one.prefix):
                continue
            key = network_of(one), one.length
            if one.valid_lifetime == 0 or is_multicast(key[0]):
                self._expires.pop(key, None)
            elif key in self._expires or len(self._expires) < LIMIT:
                self._expires[key] = until(one.valid_lifetime, now)
            else:
                self._counters["ndp.prefixes_refused"] += 1

    def timer_expired(self, now: float) -> None:
        """Forget what is over."""
        self._expires = {key: expires for key, expires in self._expires.items() if expires > now}

    def prefixes(self) -> list[tuple[bytes, int]]:
        """Those that hold."""
        return list(self._expires)

    @property
    def deadline(self) -> float:
        """When to call `timer_expired`; `math.inf` for never."""
        return min(self._expires.values(), default=math.inf)
