"""The multicast groups that one endpoint has joined, and the options that join and leave (RFC 1112, RFC 3493 5.2).

Routers on the link are told by IGMP and MLD, see `network.groups`.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Any, Final

from asyncstack.errors import os_error
from asyncstack.network.addresses import format_address, is_multicast
from asyncstack.network.groups import ANY_SOURCE, SourceFilter

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface
    from asyncstack.transport.udp.layer import UdpLayer

MOST: Final = {4: (20, errno.ENOBUFS), 16: (64, errno.ENOMEM)}  # of one endpoint; Linux: igmp_max_memberships

_MREQ = struct.Struct("@4s4s")  # group, address of the interface
_MREQN = struct.Struct("@4s4si")  # and its index
_IPV6_MREQ = struct.Struct("@16si")


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

    def join(self, group: bytes, interface: Interface) -> None:
        """Hear `group` on `interface`. Raises OSError EADDRINUSE if it is heard there, ENOBUFS, ENOMEM (too many)."""
        if (group, interface) in self._joined:
            where = f"{format_address(group)} on {interface.name}"
            raise os_error(errno.EADDRINUSE, f"{where} has been joined")
        most, number = MOST[len(group)]
        if sum(len(one) == len(group) for one, _ in self._joined) >= most:
            raise os_error(number, f"an endpoint can join {most} groups")
        self._joined[group, interface] = ANY_SOURCE
        self._layer.addresses.groups.join(group, interface, self)

    def leave(self, group: bytes, interface: Interface | None) -> None:
        """Hear `group` no more on `interface`, None: on the first where it was joined. Raises OSError EADDRNOTAVAIL if
        it was not."""
        for place in self._joined:
            if place[0] == group and interface in (None, place[1]):
                del self._joined[place]
                self._layer.addresses.groups.leave(*place, self)
                return
        raise os_error(errno.EADDRNOTAVAIL, f"{format_address(group)} has not been joined")

    def leave_all(self) -> None:
        """The endpoint is closed."""
        for place in self._joined:
            self._layer.addresses.groups.leave(*place, self)
        self._joined.clear()

    def interface_down(self, interface: object) -> None:
        """`interface` is gone, and its groups with it."""
        self._joined = {place: how for place, how in self._joined.items() if place[1] is not interface}


def join_ipv4(holder: Any, value: bytes) -> None:
    """IP_ADD_MEMBERSHIP of a struct ip_mreq or ip_mreqn; an interface by index or by one of its addresses, 0.0.0.0: the
    one that the routing table says. Raises OSError EINVAL, ENODEV, EADDRINUSE, ENOBUFS."""
    group, address, index = _request(value)
    _check(group)
    interface = _interface(holder.endpoint.layer, group, address, index)
    if interface is None:
        raise os_error(errno.ENODEV, f"no interface to hear {format_address(group)} on")
    holder.endpoint.groups.join(group, interface)


def leave_ipv4(holder: Any, value: bytes) -> None:
    """IP_DROP_MEMBERSHIP. Raises OSError EINVAL, ENODEV, EADDRNOTAVAIL."""
    group, address, index = _request(value)
    interface = None
    if index or any(address):
        interface = _interface(holder.endpoint.layer, group, address, index)
        if interface is None:
            raise os_error(errno.EADDRNOTAVAIL, f"{format_address(group)} has not been joined there")
    holder.endpoint.groups.leave(group, interface)


def join_ipv6(holder: Any, value: bytes) -> None:
    """IPV6_JOIN_GROUP of a struct ipv6_mreq; interface 0: the one that the routing table says. Raises OSError EINVAL,
    ENODEV, EADDRINUSE, ENOMEM."""
    group, index = _request6(value)
    groups = holder.endpoint.groups
    if not index and groups.has(group):
        raise os_error(errno.EADDRINUSE, f"{format_address(group)} has been joined")
    interface = _interface(holder.endpoint.layer, group, b"", index)
    if interface is None:
        raise os_error(errno.ENODEV, f"no interface to hear {format_address(group)} on")
    groups.join(group, interface)


def leave_ipv6(holder: Any, value: bytes) -> None:
    """IPV6_LEAVE_GROUP. Raises OSError EINVAL, EADDRNOTAVAIL."""
    group, index = _request6(value)
    interface = holder.endpoint.layer.context.interface_at(index) if index else None
    if index and interface is None:
        raise os_error(errno.EADDRNOTAVAIL, f"{format_address(group)} has not been joined there")
    holder.endpoint.groups.leave(group, interface)


def _request(value: bytes) -> tuple[bytes, bytes, int]:
    """(group, address of the interface, its index)."""
    if len(value) < _MREQ.size:
        raise os_error(errno.EINVAL, f"a struct ip_mreq has {_MREQ.size} bytes, not {len(value)}")
    index = 0
    if len(value) >= _MREQN.size:
        group, address, index = _MREQN.unpack_from(value)
    else:
        group, address = _MREQ.unpack_from(value)
    return group, address, index


def _request6(value: bytes) -> tuple[bytes, int]:
    if len(value) < _IPV6_MREQ.size:
        raise os_error(errno.EINVAL, f"a struct ipv6_mreq has {_IPV6_MREQ.size} bytes, not {len(value)}")
    group, index = _IPV6_MREQ.unpack_from(value)
    _check(group)
    return group, index


def _check(group: bytes) -> None:
    if not is_multicast(group):
        raise os_error(errno.EINVAL, f"{format_address(group)} is no multicast group")


def _interface(layer: UdpLayer, group: bytes, address: bytes, index: int) -> Interface | None:
    if index:
        return layer.context.interface_at(index)
    if any(address):
        return layer.interface_of(address)
    try:
        return layer.routes.lookup(group).interface
    except OSError:
        return None
