"""Listeners and endpoints of many addresses or many ports: networks and ranges, found by longest prefix.

Of those that cover an address and a port the one with the longest prefix has it; of equal prefixes the one for our own
addresses alone comes before the one for any, and then the narrowest range of ports. There are at most 33 or 129 prefix
lengths to look at, whatever the number of those who listen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from asyncstack.network.addresses import format_address, prefix_mask

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reach:
    """The addresses of a prefix, those of other hosts too if `foreign`, and a range of ports."""

    prefix: bytes
    prefix_length: int
    ports: range
    foreign: bool

    @classmethod
    def of(cls, address: bytes, prefix_length: int, ports: range) -> Reach:
        """Of a network; with a prefix length below 0 of our address, or, if it is all zeros, of all of ours."""
        if prefix_length >= 0:
            return cls(address, prefix_length, ports, True)
        return cls(address, 8 * len(address) if any(address) else 0, ports, False)

    def __str__(self) -> str:
        text = format_address(self.prefix)
        return f"{text}/{self.prefix_length}" if self.foreign else text

    @property
    def order(self) -> tuple[bool, int]:
        """Of equal prefixes the lowest comes first."""
        return self.foreign, len(self.ports)

    def clashes(self, other: Reach) -> bool:
        """Whether nothing would decide between this and another one of the same prefix."""
        first, last = max(self.ports[0], other.ports[0]), min(self.ports[-1], other.ports[-1])
        return self.order == other.order and first <= last


class _Prefixes(Generic[T]):
    """Everything of one prefix length: prefix as a number -> listeners that share a reach, in their order."""

    __slots__ = ("length", "mask", "places")

    def __init__(self, length: int, size: int) -> None:
        self.length = length
        self.mask = prefix_mask(length, size)
        self.places: dict[int, list[tuple[Reach, tuple[T, ...]]]] = {}


class Reaches(Generic[T]):
    """Those who have a reach."""

    __slots__ = ("_families",)

    def __init__(self) -> None:
        self._families: dict[int, list[_Prefixes[T]]] = {4: [], 16: []}  # longest first

    def all(self) -> list[T]:
        """Every one, the most specific first."""
        return [
            listener
            for family in self._families.values()
            for prefixes in family
            for place in prefixes.places.values()
            for _, sharing in place
            for listener in sharing
        ]

    def add(self, reach: Reach, listener: T) -> None:
        """Find `listener` from now on."""
        place = self._place(reach)
        for at, (other, sharing) in enumerate(place):
            if other == reach:
                place[at] = reach, (*sharing, listener)
                return
        place.append((reach, (listener,)))
        place.sort(key=lambda held: held[0].order)

    def remove(self, reach: Reach, listener: T) -> None:
        """Find it no more."""
        size = len(reach.prefix)
        value = int.from_bytes(reach.prefix, "big")
        for prefixes in self._families[size]:
            if prefixes.length == reach.prefix_length and value in prefixes.places:
                left = [
                    (one, tuple(other for other in sharing if other is not listener))
                    for one, sharing in prefixes.places[value]
                ]
                prefixes.places[value] = [held for held in left if held[1]]
                if not prefixes.places[value]:
                    del prefixes.places[value]
        self._families[size] = [prefixes for prefixes in self._families[size] if prefixes.places]

    def find(self, address: bytes, port: int, local: bool) -> tuple[T, ...]:
        """Who shares the most specific reach that covers `address` (one of ours if `local`) and `port`."""
        value = int.from_bytes(address, "big")
        for prefixes in self._families[len(address)]:
            for reach, sharing in prefixes.places.get(value & prefixes.mask, ()):
                if port in reach.ports and (local or reach.foreign):
                    return sharing
        return ()

    def covers(self, address: bytes) -> bool:
        """Whether some port of `address`, another host's, is listened to."""
        value = int.from_bytes(address, "big")
        return any(
            reach.foreign
            for prefixes in self._families[len(address)]
            for reach, _ in prefixes.places.get(value & prefixes.mask, ())
        )

    def clashing(self, reach: Reach) -> list[T]:
        """Those between whom and a listener of `reach` nothing would decide."""
        value = int.from_bytes(reach.prefix, "big")
        return [
            listener
            for prefixes in self._families[len(reach.prefix)]
            if prefixes.length == reach.prefix_length
            for other, sharing in prefixes.places.get(value, ())
            if reach.clashes(other)
            for listener in sharing
        ]

    def _place(self, reach: Reach) -> list[tuple[Reach, tuple[T, ...]]]:
        size = len(reach.prefix)
        value = int.from_bytes(reach.prefix, "big")
        family = self._families[size]
        for prefixes in family:
            if prefixes.length == reach.prefix_length:
                return prefixes.places.setdefault(value, [])
        made: _Prefixes[T] = _Prefixes(reach.prefix_length, size)
        family.append(made)
        family.sort(key=lambda prefixes: -prefixes.length)
        return made.places.setdefault(value, [])
