"""The multicast groups that one endpoint has joined, and from which senders (RFC 1112, RFC 3376 2, RFC 3678).

Routers on the link are told by IGMP and MLD, see `network.groups`.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from asyncstack.errors import os_error
from asyncstack.network.addresses import format_address
from asyncstack.network.groups import ANY_SOURCE, NO_SOURCE, SourceFilter

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface
    from asyncstack.transport.udp.layer import UdpLayer

MOST: Final = {4: (20, errno.ENOBUFS), 16: (64, errno.ENOMEM)}  # of one endpoint; Linux: igmp_max_memberships

MOST_SOURCES: Final = {4: 10, 16: 64}  # of one group; Linux: igmp_max_msf, mld_max_msf


class Memberships:
    """The groups of one endpoint, each on one interface. Errors are Linux's."""

    __slots__ = ("_joined", "_layer")

    def __init__(self, layer: UdpLayer) -> None:
        self._layer = layer
        self._joined: dict[tuple[bytes, Interface], SourceFilter] = {}

    def wanted(self, group: bytes, interface: Interface) -> SourceFilter | None:
        """The sources that are heard; None: it has not joined `group` on `interface`."""
        return self._joined.get((group, interface))

    def has(self, group: bytes) -> bool:
        """Whether `group` is heard on any interface."""
        return any(one == group for one, _ in self._joined)

    def join(self, group: bytes, interface: Interface, wanted: SourceFilter = ANY_SOURCE) -> None:
        """Hear `group` on `interface`. Raises OSError EADDRINUSE if it is heard there, ENOBUFS, ENOMEM (too many)."""
        if (group, interface) in self._joined:
            where = f"{format_address(group)} on {interface.name}"
            raise os_error(errno.EADDRINUSE, f"{where} has been joined")
        most, number = MOST[len(group)]
        if sum(len(one) == len(group) for one, _ in self._joined) >= most:
            raise os_error(number, f"an endpoint can join {most} groups")
        self._hear(group, interface, wanted)

    def leave(self, group: bytes, interface: Interface | None) -> None:
        """Hear `group` no more on `interface`, None: on the first where it was joined. Raises OSError EADDRNOTAVAIL if
        it was not."""
        place = self._place(group, interface)
        if place is None:
            raise os_error(errno.EADDRNOTAVAIL, f"{format_address(group)} has not been joined")
        del self._joined[place]
        self._layer.addresses.groups.leave(*place, self)

    def choose(self, group: bytes, interface: Interface | None, wanted: SourceFilter) -> None:
        """Hear what passes `wanted`; nothing is to leave. Raises OSError EINVAL if `group` was not joined, ENOBUFS."""
        place = self._member(group, interface)
        if len(wanted.sources) > MOST_SOURCES[len(group)]:
            raise os_error(errno.ENOBUFS, f"a group can have {MOST_SOURCES[len(group)]} sources")
        if wanted == NO_SOURCE:
            self.leave(*place)
        else:
            self._hear(*place, wanted)

    def add_source(self, group: bytes, interface: Interface | None, source: bytes, *, exclude: bool) -> None:
        """Refuse `source` (`exclude`), or hear it too. Raises OSError EINVAL (not joined, or the other way round),
        EADDRNOTAVAIL (it is among them), ENOBUFS."""
        sources = self._sources(group, interface, exclude)
        if source in sources:
            raise os_error(errno.EADDRNOTAVAIL, f"{format_address(source)} is among the sources already")
        self.choose(group, interface, SourceFilter(exclude, sources | {source}))

    def remove_source(
        self, group: bytes, interface: Interface | None, source: bytes, *, exclude: bool
    ) -> None:
        """Undo `add_source`; with the last that is heard, leave. Raises OSError EINVAL, EADDRNOTAVAIL."""
        sources = self._sources(group, interface, exclude)
        if source not in sources:
            raise os_error(errno.EADDRNOTAVAIL, f"{format_address(source)} is not among the sources")
        self.choose(group, interface, SourceFilter(exclude, sources - {source}))

    def _sources(self, group: bytes, interface: Interface | None, exclude: bool) -> frozenset[bytes]:
        wanted = self._joined[self._member(group, interface)]
        if wanted.exclude != exclude and wanted.sources:
            raise os_error(errno.EINVAL, f"{format_address(group)}: sources are either refused or chosen")
        return wanted.sources

    def _member(self, group: bytes, interface: Interface | None) -> tuple[bytes, Interface]:
        place = self._place(group, interface)
        if place is None:
            raise os_error(errno.EINVAL, f"{format_address(group)} has not been joined")
        return place

    def _place(self, group: bytes, interface: Interface | None) -> tuple[bytes, Interface] | None:
        return next(
            (place for place in self._joined if place[0] == group and interface in (None, place[1])), None
        )

    def _hear(self, group: bytes, interface: Interface, wanted: SourceFilter) -> None:
        self._joined[group, interface] = wanted
        self._layer.addresses.groups.join(group, interface, self, wanted)

    def leave_all(self) -> None:
        """The endpoint is closed."""
        for place in self._joined:
            self._layer.addresses.groups.leave(*place, self)
        self._joined.clear()

    def interface_down(self, interface: object) -> None:
        """`interface` is gone, and its groups with it."""
        self._joined = {place: how for place, how in self._joined.items() if place[1] is not interface}
