"""Who has which address of a server's pools, until when (RFC 2131 1.5: bindings). No I/O; clock seconds."""

from __future__ import annotations

import heapq
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from asyncstack.application.dhcp.pool import Pool
from asyncstack.network.addresses import format_address

STALE_TIMES: Final = 1024  # in the heap before it is made anew


class Phase(Enum):
    """Of a binding."""

    OFFERED = "offered"
    BOUND = "bound"
    ENDED = "ended"  # run out or given back; the client gets it again if nobody else needs it
    DECLINED = "declined"  # another host uses it: nobody gets it


@dataclass(slots=True)
class Binding:
    """`address` is for `client`: its identifier (option 61), or hardware type and address. `mac`: the latter alone.
    `hostname`: as the client calls itself, "" if it does not. `expires`: clock seconds."""

    address: bytes
    client: bytes
    mac: bytes
    hostname: str
    phase: Phase
    expires: float

    def __repr__(self) -> str:
        return f"<Binding {self} until {self.expires:g}>"

    def __str__(self) -> str:
        return (
            f"{format_address(self.address)} {self.phase.value} {self.mac.hex(':')} {self.hostname}".rstrip()
        )


@dataclass(slots=True)
class BindingAdded:
    """A client has a lease; or is called otherwise than before."""

    binding: Binding


@dataclass(slots=True)
class BindingRemoved:
    """It has it no more: `reason`."""

    binding: Binding
    reason: str


Event = BindingAdded | BindingRemoved


class Bindings:
    """The table, never larger than its `pools`."""

    def __init__(self, pools: Iterable[Pool]) -> None:
        self.by_address: dict[bytes, Binding] = {}
        self._by_client: dict[tuple[int, bytes], Binding] = {}  # (id of the pool, client)
        self._fresh = {id(pool): dict.fromkeys(pool.addresses()) for pool in pools}  # without a binding
        self._ended: dict[int, dict[bytes, None]] = {id(pool): {} for pool in pools}  # the oldest first
        self._times: list[tuple[float, bytes]] = []

    @property
    def deadline(self) -> float:
        """When the next one ends."""
        return self._times[0][0] if self._times else math.inf

    def of(self, pool: Pool, client: bytes) -> Binding | None:
        """What `client` has, or had, of `pool`."""
        return self._by_client.get((id(pool), client))

    def set(self, pool: Pool, binding: Binding) -> None:
        """Have `binding` instead of what there was for its address, and for its client."""
        there = self.by_address.get(binding.address)
        if there is not None:
            self.remove(pool, there)
        if binding.phase is not Phase.DECLINED:  # which says nothing of what its client has
            former = self.of(pool, binding.client)
            if former is not None:
                self.remove(pool, former)
            self._by_client[id(pool), binding.client] = binding
        self.by_address[binding.address] = binding
        self._fresh[id(pool)].pop(binding.address, None)
        self._place(pool, binding)

    def change(self, pool: Pool, binding: Binding, phase: Phase, expires: float) -> None:
        """`binding` has come so far."""
        binding.phase, binding.expires = phase, expires
        self._ended[id(pool)].pop(binding.address, None)
        if phase is Phase.DECLINED and self.of(pool, binding.client) is binding:
            del self._by_client[id(pool), binding.client]  # it needs another one
        self._place(pool, binding)

    def _place(self, pool: Pool, binding: Binding) -> None:
        if binding.phase is Phase.ENDED:
            self._ended[id(pool)][binding.address] = None
        elif binding.expires < math.inf:
            heapq.heappush(self._times, (binding.expires, binding.address))
            if len(self._times) > STALE_TIMES + 2 * len(self.by_address):
                alive = (one for one in self.by_address.values() if one.phase is not Phase.ENDED)
                self._times = [(one.expires, one.address) for one in alive if one.expires < math.inf]
                heapq.heapify(self._times)

    def remove(self, pool: Pool, binding: Binding) -> None:
        """Forget it."""
        del self.by_address[binding.address]
        if self.of(pool, binding.client) is binding:
            del self._by_client[id(pool), binding.client]
        self._ended[id(pool)].pop(binding.address, None)
        if pool.offers(binding.address):
            self._fresh[id(pool)][binding.address] = None

    def timer_expired(self, now: float) -> list[Binding]:
        """Those whose time is up; who calls says what becomes of them, with `change` or `remove`."""
        over: list[Binding] = []
        while self._times and self._times[0][0] <= now:
            _, address = heapq.heappop(self._times)
            binding = self.by_address.get(address)
            if binding is not None and binding.phase is not Phase.ENDED and binding.expires <= now:
                over.append(binding)
        return list({one.address: one for one in over}.values())

    def is_free(self, pool: Pool, address: bytes, client: bytes) -> bool:
        """Whether `client` may get `address`, as anybody might."""
        there = self.by_address.get(address)
        if there is None or there.phase is Phase.ENDED:
            return pool.offers(address)
        return there.client == client and there.phase is not Phase.DECLINED and pool.offers(address)

    def find(self, pool: Pool, client: bytes) -> bytes | None:
        """An address for `client`: one that nobody has had, the same for the same client where possible; else the one
        that has been free for longest. None: there is none."""
        fresh = self._fresh[id(pool)]
        for address in pool.favourites(zlib.crc32(client)):
            if address in fresh:
                return address
        if fresh:
            address, _ = fresh.popitem()
            fresh[address] = None
            return address
        return next(iter(self._ended[id(pool)]), None)
