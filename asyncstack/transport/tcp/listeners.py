"""Who listens where: a look-up by address and port, and what excludes what.

As on Linux one listener has an address and port to itself, and nobody listens on an address beside somebody who
listens on all of its family, unless all of them ask for SO_REUSEPORT: those share, each gets its part of the peers.
Who listens on one port comes before who listens on networks or ranges of ports (`reach`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from asyncstack.transport.ports import spread
from asyncstack.transport.reach import Reach, Reaches

if TYPE_CHECKING:
    from asyncstack.transport.tcp.listener import Listener

Place = tuple[bytes, int]  # address, all zeros for any of its family; port


class Listeners:
    """The listeners of one stack. `secret` keys the choice among those that share a port."""

    __slots__ = ("_places", "_secret", "reaches")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._places: dict[Place, tuple[Listener, ...]] = {}
        self.reaches: Reaches[Listener] = Reaches()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Listener]:
        for sharing in self._places.values():
            yield from sharing
        yield from self.reaches.all()

    def add(self, listener: Listener) -> None:
        """Find `listener` from now on. Ask `excludes` first."""
        if listener.reach is not None:
            self.reaches.add(listener.reach, listener)
            return
        place = (listener.address, listener.port)
        self._places[place] = (*self._places.get(place, ()), listener)

    def remove(self, listener: Listener) -> None:
        """Find it no more."""
        if listener.reach is not None:
            self.reaches.remove(listener.reach, listener)
            return
        place = (listener.address, listener.port)
        left = tuple(one for one in self._places.get(place, ()) if one is not listener)
        if left:
            self._places[place] = left
        else:
            self._places.pop(place, None)

    def find(
        self, address: bytes, port: int, remote: bytes, remote_port: int, local: bool = True
    ) -> Listener | None:
        """Who listens for `remote` on `address` itself, else on any address of its family, else on a network that it
        is in. `local`: it is one of our addresses."""
        places = self._places
        sharing: tuple[Listener, ...] | None = None
        if local:
            sharing = places.get((address, port)) or places.get((bytes(len(address)), port))
        if sharing is None:
            sharing = self.reaches.find(address, port, local)
            if not sharing:
                return None
        if len(sharing) == 1:
            return sharing[0]
        return sharing[spread(self._secret, address, port, remote, remote_port) % len(sharing)]

    def excludes(self, address: bytes, port: int, reuse_port: bool = False) -> bool:
        """Whether somebody listens who does not suffer another on `port` of `address`."""
        return any(not (reuse_port and one.reuse_port) for one in self._overlapping(address, port))

    def excludes_reach(self, reach: Reach, reuse_port: bool = False) -> bool:
        """Whether somebody listens on all of that, and does not share it."""
        clashing = self.reaches.clashing(reach)
        return any(not (reuse_port and one.reuse_port and one.reach == reach) for one in clashing)

    def _overlapping(self, address: bytes, port: int) -> Iterator[Listener]:
        if any(address):
            yield from self._places.get((address, port), ())
            yield from self._places.get((bytes(len(address)), port), ())
            return
        for (host, number), sharing in self._places.items():
            if number == port and len(host) == len(address):
                yield from sharing
