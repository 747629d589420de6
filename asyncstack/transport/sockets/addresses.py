"""(host, port) as sockets have it, to the bytes and numbers of the layers below, and back.

An IPv6 socket speaks IPv4 too unless IPV6_V6ONLY is set (RFC 3493 3.7): the IPv4 address a.b.c.d is ::ffff:a.b.c.d
there, and the unspecified address stands for all addresses of both families.
"""

from __future__ import annotations

import errno
import socket
from typing import Any, Final, Protocol

from asyncstack.errors import os_error
from asyncstack.network.addresses import (
    ANY_IPV4,
    ANY_IPV6,
    LIMITED_BROADCAST,
    LOOPBACK_IPV4,
    LOOPBACK_IPV6,
    format_address,
)
from asyncstack.transport.endpoint_socket import SocketAddress, socket_address
from asyncstack.transport.ports import check_port

MAPPED: Final = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96


class KnownNames(Protocol):
    """Who knows the addresses of a host without asking anybody."""

    def resolve(self, host: Any, family: int) -> list[bytes]:
        """What is known at once. Raises socket.gaierror."""


class SocketNames(KnownNames, Protocol):
    """Who can also ask."""

    async def lookup(self, host: Any, family: int) -> list[bytes]:
        """What can be found out. Raises socket.gaierror."""


def split(address: Any, family: int, names: KnownNames) -> tuple[bytes, int]:
    """(address, port) of what an application gives for `family`; the address may be IPv4's for an IPv6 socket.

    "" is any address, "<broadcast>" 255.255.255.255. Raises socket.gaierror for a name that is not known at once: see
    `looked_up`; TypeError, OverflowError as the kernel's sockets do.
    """
    most = 2 if family == socket.AF_INET else 4
    if not isinstance(address, tuple) or not 2 <= len(address) <= most:
        shape = "(host, port)" if most == 2 else "(host, port[, flowinfo, scope_id])"
        raise TypeError(f"an address is a tuple {shape}, not {address!r}")
    host, port = address[:2]
    if not isinstance(port, int):
        raise TypeError(f"a port is an int, not {port!r}")
    check_port(port)
    if host == "":
        return (ANY_IPV4 if family == socket.AF_INET else ANY_IPV6), port
    if host == "<broadcast>" and family == socket.AF_INET:
        return LIMITED_BROADCAST, port
    return _best(names.resolve(host, _asked(family)), family), port


async def looked_up(address: tuple[Any, ...], family: int, names: SocketNames) -> tuple[Any, ...]:
    """`address` with a literal one for its name, which may take a question to DNS. Raises socket.gaierror."""
    found = await names.lookup(address[0], _asked(family))
    return (format_address(_best(found, family)), *address[1:])


def _asked(family: int) -> int:
    return family if family == socket.AF_INET else 0


def _best(found: list[bytes], family: int) -> bytes:
    """The one to use on a socket of `family`; without its ::ffff: if it is an IPv4 address."""
    if family == socket.AF_INET:
        return found[0]
    best = next((one for one in found if len(one) == 16), found[0])
    return best[12:] if best[:12] == MAPPED else best


def join(address: bytes, port: int, family: int, scope: int = 0) -> SocketAddress:
    """What `getsockname()` gives on a socket of `family`. scope: the index of the interface on whose link a link-local
    address is."""
    if family == socket.AF_INET:
        return format_address(address), port
    return socket_address(MAPPED + address if len(address) == 4 else address, port, scope)


def hosts_of(address: bytes, family: int, v6_only: bool) -> list[bytes]:
    """The addresses to bind for `address`: for any address of an IPv6 socket those of both families."""
    if len(address) == 4 and family == socket.AF_INET6 and v6_only:
        raise os_error(errno.EINVAL, f"IPV6_V6ONLY is set: {format_address(address)} is IPv4")
    if family == socket.AF_INET6 and address == ANY_IPV6 and not v6_only:
        return [ANY_IPV6, ANY_IPV4]
    return [address]


def flow_label(address: Any) -> int:
    """The flow label that (host, port, flowinfo, scope_id) asks for, 0: none in particular (RFC 3493 3.3)."""
    return address[2] & 0xFFFFF if len(address) > 2 else 0


def destination(address: bytes, family: int, v6_only: bool) -> bytes:
    """Where to connect or send to for `address`: the unspecified one is this host."""
    if len(address) == 4 and family == socket.AF_INET6 and v6_only:
        raise os_error(errno.ENETUNREACH, f"IPV6_V6ONLY is set: {format_address(address)} is IPv4")
    if not any(address):
        return LOOPBACK_IPV4 if len(address) == 4 else LOOPBACK_IPV6
    return address
