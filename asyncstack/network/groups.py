"""The multicast groups that a stack listens to, by interface, and from which senders (RFC 3376 3, RFC 4607).

Whoever wants to hear a group is a member: a socket, or an address that has a solicited-node group. Each member says of
which sources; what an interface lets in is what any of its members wants.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from asyncstack.wire.ipv4 import ALL_HOSTS
from asyncstack.wire.ndp import ALL_NODES

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface

ALL_NODES_HOST: Final = b"\xff\x01" + bytes(13) + b"\x01"  # ff01::1
EVERY_HOSTS: Final = frozenset((ALL_HOSTS, ALL_NODES, ALL_NODES_HOST))


class SourceFilter(NamedTuple):
    """All sources but these (EXCLUDE), or these alone (INCLUDE)."""

    exclude: bool
    sources: frozenset[bytes] = frozenset()

    def passes(self, source: bytes) -> bool:
        """Whether a packet from `source` is wanted."""
        return (source in self.sources) != self.exclude


ANY_SOURCE: Final = SourceFilter(True)
NO_SOURCE: Final = SourceFilter(False)  # the same as not to listen (RFC 3376 3.1)


def merge(filters: Iterable[SourceFilter]) -> SourceFilter:
    """What passes one of `filters` at least (RFC 3376 3.2)."""
    included: frozenset[bytes] = frozenset()
    excluded: frozenset[bytes] | None = None
    for one in filters:
        if not one.exclude:
            included |= one.sources
        else:
            excluded = one.sources if excluded is None else excluded & one.sources
    return SourceFilter(False, included) if excluded is None else SourceFilter(True, excluded - included)


class Groups:
    """The groups of one stack. `on_join(group, interface)` is called when a group gets its first member on an
    interface, `on_leave` when the last one has left: the link has to let it in. `on_change(group, interface, before,
    now)` is called when what an interface lets in of a group is another: routers want to be told (IGMP, MLD), and
    `on_gone(interface)` when it is about to go. `on_unheard(interface, size)`: routers there can not have heard what
    was told about groups whose addresses have `size` bytes, 0: about all.
    """

    __slots__ = ("_listening", "_members", "on_change", "on_gone", "on_join", "on_leave", "on_unheard")

    def __init__(self) -> None:
        self.on_join: Callable[[bytes, Interface], None] = lambda group, interface: None
        self.on_leave: Callable[[bytes, Interface], None] = lambda group, interface: None
        self.on_change: Callable[[bytes, Interface, SourceFilter, SourceFilter], None] = (
            lambda group, interface, before, now: None
        )
        self.on_unheard: Callable[[Interface, int], None] = lambda interface, size: None
        self.on_gone: Callable[[Interface], None] = lambda interface: None
        # by (group, interface index)
        self._members: dict[tuple[bytes, int], dict[Hashable, SourceFilter]] = {}
        self._listening: dict[tuple[bytes, int], SourceFilter] = {}

    def __len__(self) -> int:
        return len(self._listening)

    def join(
        self, group: bytes, interface: Interface, member: Hashable, wanted: SourceFilter = ANY_SOURCE
    ) -> None:
        """Accept packets to `group` that arrive on `interface` from the sources `wanted` by `member`; of one that is in
        the group already, from now on these."""
        key = (group, interface.index)
        members = self._members.setdefault(key, {})
        if not members:
            self.on_join(group, interface)
        members[member] = wanted
        self._update(key, group, interface)

    def leave(self, group: bytes, interface: Interface, member: Hashable) -> None:
        """`member` wants it no more; nothing happens if it is not in the group."""
        key = (group, interface.index)
        members = self._members.get(key, {})
        if members.pop(member, None) is None:
            return
        if not members:
            del self._members[key]
            self.on_leave(group, interface)
        self._update(key, group, interface)

    def _update(self, key: tuple[bytes, int], group: bytes, interface: Interface) -> None:
        before = self._listening.pop(key, NO_SOURCE)
        members = self._members.get(key)
        now = NO_SOURCE if members is None else merge(members.values())
        if members is not None:
            self._listening[key] = now
        if now != before:
            self.on_change(group, interface, before, now)

    def remove_interface(self, interface: Interface) -> None:
        """`interface` goes, and nobody is in a group there."""
        self.on_gone(interface)
        for table in (self._members, self._listening):
            for key in [key for key in table if key[1] == interface.index]:
                del table[key]

    def accepts(self, group: bytes, interface: Interface, source: bytes, queries: bool = False) -> bool:
        """Whether packets from `source` to `group` on `interface` are for us: every host's group, or one with a member
        who wants them. queries: they may be of IGMP or MLD, which no filter keeps out (RFC 3376 5)."""
        wanted = self._listening.get((group, interface.index))
        return group in EVERY_HOSTS if wanted is None else queries or wanted.passes(source)

    def of(self, interface: Interface) -> list[tuple[bytes, SourceFilter]]:
        """The groups that have members on `interface`, and what it lets in of each."""
        return [(key[0], wanted) for key, wanted in self._listening.items() if key[1] == interface.index]
