"""The socket options that join groups and choose their sources: RFC 3493 5.2, RFC 3678, and Linux's structures.

    struct ip_mreq, ip_mreqn, ipv6_mreq        a group on an interface
    struct ip_mreq_source                      and a source of it
    struct group_req, group_source_req         the same for both families, with addresses as `struct sockaddr_storage`
    struct ip_msfilter, group_filter           all sources at once

An interface is given by index or by one of its addresses; 0 is the one that the routing table says. Errors are Linux's,
but what fails changes nothing.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from asyncstack.errors import os_error
from asyncstack.network.addresses import format_address, is_multicast
from asyncstack.network.groups import NO_SOURCE, SourceFilter
from asyncstack.transport.options import IPPROTO_IP, IPPROTO_IPV6, Option, Table
from asyncstack.transport.udp.groups import MOST_SOURCES

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface
    from asyncstack.transport.udp.groups import Memberships
    from asyncstack.transport.udp.layer import UdpLayer

# names that `socket` has not
IP_UNBLOCK_SOURCE, IP_BLOCK_SOURCE, IP_ADD_SOURCE_MEMBERSHIP, IP_DROP_SOURCE_MEMBERSHIP = 37, 38, 39, 40
IP_MSFILTER: Final = 41
MCAST_JOIN_GROUP, MCAST_BLOCK_SOURCE, MCAST_UNBLOCK_SOURCE, MCAST_LEAVE_GROUP = 42, 43, 44, 45
MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_SOURCE_GROUP, MCAST_MSFILTER = 46, 47, 48

_MREQ = struct.Struct("@4s4s")  # group, address of the interface
_MREQN = struct.Struct("@4s4si")  # and its index
_MREQ_SOURCE = struct.Struct("@4s4s4s")
_IPV6_MREQ = struct.Struct("@16si")
_GROUP_REQ = struct.Struct("@I4x128s")
_GROUP_SOURCE_REQ = struct.Struct("@I4x128s128s")
_MSFILTER = struct.Struct("@4s4sII")
_GROUP_FILTER = struct.Struct("@I4x128sII")
_SOCKADDR = 128
_FAMILY = struct.Struct("@H")

Act = Callable[["Memberships", bytes, "Interface", bytes], None]


def _join_ipv4(holder: Any, value: bytes) -> None:
    """IP_ADD_MEMBERSHIP. Raises OSError EINVAL, ENODEV, EADDRINUSE, ENOBUFS."""
    group, address, index = _request(value)
    holder.endpoint.groups.join(group, _found(holder, group, address, index))


def _leave_ipv4(holder: Any, value: bytes) -> None:
    """IP_DROP_MEMBERSHIP. Raises OSError EINVAL, EADDRNOTAVAIL."""
    group, address, index = _request(value)
    _leave(holder, group, address, index)


def _join_ipv6(holder: Any, value: bytes) -> None:
    """IPV6_JOIN_GROUP. Raises OSError EINVAL, ENODEV, EADDRINUSE, ENOMEM."""
    _join6(holder, *_request6(value))


def _leave_ipv6(holder: Any, value: bytes) -> None:
    """IPV6_LEAVE_GROUP. Raises OSError EINVAL, EADDRNOTAVAIL."""
    group, index = _request6(value)
    if not is_multicast(group):
        raise os_error(errno.EINVAL, f"{format_address(group)} is no group")
    _leave(holder, group, b"", index)


def _join_group(size: int, holder: Any, value: bytes) -> None:
    """MCAST_JOIN_GROUP. Raises as the older options do."""
    index, storage = _unpack(_GROUP_REQ, value, "struct group_req")
    group = _group(storage, size, errno.EINVAL if size == 4 else errno.EADDRNOTAVAIL)
    if size == 16:
        _join6(holder, group, index)
    else:
        holder.endpoint.groups.join(group, _found(holder, group, b"", index))


def _leave_group(size: int, holder: Any, value: bytes) -> None:
    """MCAST_LEAVE_GROUP."""
    index, storage = _unpack(_GROUP_REQ, value, "struct group_req")
    _leave(holder, _group(storage, size, errno.EINVAL if size == 4 else errno.EADDRNOTAVAIL), b"", index)


def _join6(holder: Any, group: bytes, index: int) -> None:
    if not index and holder.endpoint.groups.has(group):
        raise os_error(errno.EADDRINUSE, f"{format_address(group)} has been joined")
    holder.endpoint.groups.join(group, _found(holder, group, b"", index))


def _leave(holder: Any, group: bytes, address: bytes, index: int) -> None:
    interface = None
    if index or any(address):
        interface = _interface(holder.endpoint.layer, group, address, index)
        if interface is None:
            raise os_error(errno.EADDRNOTAVAIL, f"{format_address(group)} has not been joined there")
    holder.endpoint.groups.leave(group, interface)


# sources


def _hear(groups: Memberships, group: bytes, interface: Interface, source: bytes) -> None:
    """Join if need be, for this source alone."""
    if groups.wanted(group, interface) is None:
        groups.join(group, interface, NO_SOURCE)
    groups.add_source(group, interface, source, exclude=False)


def _hear_no_more(groups: Memberships, group: bytes, interface: Interface, source: bytes) -> None:
    groups.remove_source(group, interface, source, exclude=False)


def _block(groups: Memberships, group: bytes, interface: Interface, source: bytes) -> None:
    groups.add_source(group, interface, source, exclude=True)


def _unblock(groups: Memberships, group: bytes, interface: Interface, source: bytes) -> None:
    groups.remove_source(group, interface, source, exclude=True)


def _source_of_ipv4(act: Act, holder: Any, value: bytes) -> None:
    """An option that takes a struct ip_mreq_source. Raises OSError EINVAL, ENODEV, EADDRNOTAVAIL, ENOBUFS."""
    group, address, source = _unpack(_MREQ_SOURCE, value, "struct ip_mreq_source")
    act(holder.endpoint.groups, group, _found(holder, group, address, 0), source)


def _source_of_group(act: Act, size: int, holder: Any, value: bytes) -> None:
    """One that takes a struct group_source_req."""
    index, *storages = _unpack(_GROUP_SOURCE_REQ, value, "struct group_source_req")
    group, source = (_group(storage, size, errno.EADDRNOTAVAIL) for storage in storages)
    act(holder.endpoint.groups, group, _found(holder, group, b"", index), source)


def _filter_ipv4(holder: Any, value: bytes) -> None:
    """IP_MSFILTER: all sources of a struct ip_msfilter, which replace those before."""
    group, address, mode, number = _unpack(_MSFILTER, value, "struct ip_msfilter")
    listed = _listed(value, _MSFILTER.size, 4, number, 4)
    _choose(holder, group, _found(holder, group, address, 0), mode, listed)


def _filter_group(size: int, holder: Any, value: bytes) -> None:
    """MCAST_MSFILTER: a struct group_filter."""
    index, storage, mode, number = _unpack(_GROUP_FILTER, value, "struct group_filter")
    group = _group(storage, size, errno.EADDRNOTAVAIL)
    storages = _listed(value, _GROUP_FILTER.size, _SOCKADDR, number, size)
    sources = [_group(each, size, errno.EADDRNOTAVAIL) for each in storages]
    _choose(holder, group, _found(holder, group, b"", index), mode, sources)


def _choose(holder: Any, group: bytes, interface: Interface, mode: int, sources: list[bytes]) -> None:
    if mode not in (0, 1):  # MCAST_EXCLUDE, MCAST_INCLUDE
        raise os_error(errno.EINVAL, f"a source filter of mode {mode}")
    holder.endpoint.groups.choose(group, interface, SourceFilter(mode == 0, frozenset(sources)))


# structures


def _unpack(layout: struct.Struct, value: bytes, name: str) -> tuple[Any, ...]:
    if len(value) < layout.size:
        raise os_error(errno.EINVAL, f"a {name} has {layout.size} bytes, not {len(value)}")
    return layout.unpack_from(value)


def _request(value: bytes) -> tuple[bytes, bytes, int]:
    """(group, address of the interface, its index)."""
    if len(value) >= _MREQN.size:
        group, address, index = _MREQN.unpack_from(value)
        return group, address, index
    group, address = _unpack(_MREQ, value, "struct ip_mreq")
    return group, address, 0


def _request6(value: bytes) -> tuple[bytes, int]:
    group, index = _unpack(_IPV6_MREQ, value, "struct ipv6_mreq")
    return group, index


def _group(storage: bytes, size: int, number: int) -> bytes:
    """The address in a struct sockaddr_storage. Raises OSError `number` for one of another family."""
    family, at = (socket.AF_INET, 4) if size == 4 else (socket.AF_INET6, 8)
    if _FAMILY.unpack_from(storage)[0] != family:
        raise os_error(number, f"an address that is not of {family.name}")
    return storage[at : at + size]


def _listed(value: bytes, start: int, step: int, number: int, size: int) -> list[bytes]:
    """The sources behind the fixed part of a filter."""
    if number > MOST_SOURCES[size]:
        raise os_error(errno.ENOBUFS, f"a group can have {MOST_SOURCES[size]} sources")
    if len(value) < start + number * step:
        raise os_error(errno.EINVAL, f"{number} sources do not fit {len(value)} bytes")
    return [value[at : at + step] for at in range(start, start + number * step, step)]


def _found(holder: Any, group: bytes, address: bytes, index: int) -> Interface:
    """The interface. Raises OSError EINVAL, ENODEV."""
    if not is_multicast(group):
        raise os_error(errno.EINVAL, f"{format_address(group)} is no multicast group")
    interface = _interface(holder.endpoint.layer, group, address, index)
    if interface is None:
        raise os_error(errno.ENODEV, f"no interface to hear {format_address(group)} on")
    return interface


def _interface(layer: UdpLayer, group: bytes, address: bytes, index: int) -> Interface | None:
    if index:
        return layer.context.interface_at(index)
    if any(address):
        return layer.interface_of(address)
    try:
        return layer.routes.lookup(group).interface
    except OSError:
        return None


def _only_set(put: Callable[[Any, bytes], None]) -> Option:
    return Option(None, None, put)


_OF_SOURCES: Final[dict[int, Act]] = {
    MCAST_JOIN_SOURCE_GROUP: _hear,
    MCAST_LEAVE_SOURCE_GROUP: _hear_no_more,
    MCAST_BLOCK_SOURCE: _block,
    MCAST_UNBLOCK_SOURCE: _unblock,
}

GROUP_OPTIONS: Final[Table] = {
    (IPPROTO_IP, socket.IP_ADD_MEMBERSHIP): _only_set(_join_ipv4),
    (IPPROTO_IP, socket.IP_DROP_MEMBERSHIP): _only_set(_leave_ipv4),
    (IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP): _only_set(partial(_source_of_ipv4, _hear)),
    (IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP): _only_set(partial(_source_of_ipv4, _hear_no_more)),
    (IPPROTO_IP, IP_BLOCK_SOURCE): _only_set(partial(_source_of_ipv4, _block)),
    (IPPROTO_IP, IP_UNBLOCK_SOURCE): _only_set(partial(_source_of_ipv4, _unblock)),
    (IPPROTO_IP, IP_MSFILTER): _only_set(_filter_ipv4),
    (IPPROTO_IPV6, socket.IPV6_JOIN_GROUP): _only_set(_join_ipv6),
    (IPPROTO_IPV6, socket.IPV6_LEAVE_GROUP): _only_set(_leave_ipv6),
    **{
        (level, name): _only_set(partial(_source_of_group, act, size))
        for level, size in ((IPPROTO_IP, 4), (IPPROTO_IPV6, 16))
        for name, act in _OF_SOURCES.items()
    },
    **{
        (level, name): _only_set(partial(put, size))
        for level, size in ((IPPROTO_IP, 4), (IPPROTO_IPV6, 16))
        for name, put in (
            (MCAST_JOIN_GROUP, _join_group),
            (MCAST_LEAVE_GROUP, _leave_group),
            (MCAST_MSFILTER, _filter_group),
        )
    },
}
