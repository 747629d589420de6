"""`getaddrinfo` and `getnameinfo` of a stack: what `socket`'s functions take and give, from the stack's own names.

The arguments (types, protocols, services, flags) are put to the C library together with an address in their place, so
that what they mean, the order of the results and the errors are the system's; it reads a file for the name of a service
and asks nobody (AI_NUMERICHOST). Addresses and names come from `Names`.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from asyncstack.names import Found, Names, of_family, parse_literal
from asyncstack.network.addresses import (
    LOOPBACK_IPV4,
    LOOPBACK_IPV6,
    AddressTable,
    format_address,
    is_link_local,
    is_loopback,
    scope_of,
)

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface

AddrInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]

MAPPED: Final = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96
PLACEHOLDERS: Final[Mapping[int, str]] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
# flags that the C library has no part in; an int, since ~ of an IntFlag drops what it has no name for
OURS: Final = int(socket.AI_CANONNAME | socket.AI_ADDRCONFIG)


class AddressInfo:
    """The calls of one stack. Owned by `Stack`. `interfaces` are those that a scope ("fe80::1%eth0") may name, and
    `domains` those that NI_NOFQDN takes away."""

    def __init__(
        self,
        names: Names,
        addresses: AddressTable,
        interfaces: Iterable[Interface],
        domains: Iterable[str] = (),
    ) -> None:
        self._names = names
        self._addresses = addresses
        self._interfaces = interfaces
        self.domains = domains

    async def getaddrinfo(
        self,
        host: str | bytes | None,
        port: str | bytes | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddrInfo]:
        """As `socket.getaddrinfo`."""
        if not isinstance(host, (str, bytes, None.__class__)):
            raise TypeError("getaddrinfo() argument 1 must be string or None")
        if flags & socket.AI_ADDRCONFIG:
            family = self._configured(family)
        shapes = _shapes(host is None, port, family, type, proto, flags)
        if isinstance(host, bytes):
            host = host.decode("ascii", "replace")
        scope = 0
        if host is None:
            found = Found("", _own_addresses(family, flags))
        elif parse_literal(host):
            found, scope = Found(host, [_literal(host, family, flags)]), self._scope(host)
        elif flags & socket.AI_NUMERICHOST or not host:
            raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {host!r}")
        else:
            found = await self._find(host, family, flags)
        name = found.name if flags & socket.AI_CANONNAME else ""
        return _combined(found.addresses, shapes, name, scope)

    async def _find(self, host: str, family: int, flags: int) -> Found:
        """The addresses of a name, of the families asked for."""
        mapped = family == socket.AF_INET6 and flags & socket.AI_V4MAPPED
        wanted = 0 if mapped else family
        found = self._names.known(host) or await self._names.ask(host, wanted)
        found = found._replace(addresses=self._names.order(found.addresses))
        if not mapped:
            return found._replace(addresses=of_family(found.addresses, host, family))
        six = [address for address in found.addresses if len(address) == 16]
        if not six or flags & socket.AI_ALL:
            six += [MAPPED + address for address in found.addresses if len(address) == 4]
        return found._replace(addresses=six)

    def _configured(self, family: int) -> int:
        """AI_ADDRCONFIG (RFC 3493 6.1): only families that the stack has an address of, loopback left out."""
        sizes = {len(address) for address in self._addresses.local if not is_loopback(address)}
        if len(sizes) != 1:
            return family
        only = socket.AF_INET if 4 in sizes else socket.AF_INET6
        if family not in (0, only):
            raise socket.gaierror(
                socket.EAI_NONAME, f"Name or service not known: the stack has no address of {family!r}"
            )
        return only

    def _scope(self, host: str) -> int:
        """The index of the interface that "fe80::1%eth0" or "fe80::1%3" names; 0: none is named."""
        scope = scope_of(host)
        if not scope or scope.isdecimal():
            return int(scope or 0)
        for interface in self._interfaces:
            if interface.name == scope:
                return interface.index
        raise socket.gaierror(
            socket.EAI_NONAME, f"Name or service not known: no interface is called {scope!r}"
        )

    async def getnameinfo(self, sockaddr: tuple[Any, ...], flags: int = 0) -> tuple[str, str]:
        """As `socket.getnameinfo`."""
        plain = sockaddr
        if isinstance(sockaddr, tuple) and len(sockaddr) == 4 and ":" in str(sockaddr[0]):
            plain = (*sockaddr[:3], 0)  # the scope is an interface of the stack's, not of the system's
        checked = flags & ~socket.NI_NAMEREQD | socket.NI_NUMERICHOST
        host, service = socket.getnameinfo(plain, checked)
        if not flags & socket.NI_NUMERICHOST:
            try:
                return self._shortened(await self._names.name_of(parse_literal(host)), flags), service
            except socket.gaierror as exc:
                if exc.errno == socket.EAI_AGAIN:
                    raise
        if flags & socket.NI_NAMEREQD:
            raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {host} has no name")
        if plain is not sockaddr and sockaddr[3] and is_link_local(parse_literal(host)):
            host += f"%{self._interface_name(sockaddr[3])}"
        return host, service

    def _interface_name(self, index: int) -> str:
        found = [interface.name for interface in self._interfaces if interface.index == index]
        return found[0] if found else str(index)

    def _shortened(self, name: str, flags: int) -> str:
        """`name`, for NI_NOFQDN without the domain of this host."""
        if flags & socket.NI_NOFQDN:
            for domain in self.domains:
                if name.lower().endswith("." + domain.lower().rstrip(".")):
                    return name[: -len(domain.rstrip(".")) - 1]
        return name


def _shapes(
    anywhere: bool, port: Any, family: int, type: int, proto: int, flags: int
) -> list[tuple[socket.SocketKind, int, int]]:
    """(type, protocol, port) of every result for one address. Raises what `socket.getaddrinfo` does."""
    asked = family or socket.AF_INET
    flags = flags & ~int(socket.AI_ADDRCONFIG) if anywhere else flags & ~OURS
    host = None if anywhere else PLACEHOLDERS.get(asked, "127.0.0.1")
    found = socket.getaddrinfo(host, port, asked, type, proto, flags | socket.AI_NUMERICHOST)
    return [(kind, protocol, int(address[1])) for _, kind, protocol, _, address in found]


def _own_addresses(family: int, flags: int) -> list[bytes]:
    """What stands for no host: with AI_PASSIVE any address, without it this host."""
    if flags & socket.AI_PASSIVE:
        own = [bytes(4), bytes(16)]
    else:
        own = [LOOPBACK_IPV6, LOOPBACK_IPV4]
    return of_family(own, None, family)


def _literal(host: str, family: int, flags: int) -> bytes:
    address = parse_literal(host)
    if len(address) == 4 and family == socket.AF_INET6 and flags & socket.AI_V4MAPPED:
        return MAPPED + address
    if address[:12] == MAPPED and family == socket.AF_INET:
        return address[12:]
    return of_family([address], host, family)[0]


def _combined(
    addresses: list[bytes], shapes: list[tuple[socket.SocketKind, int, int]], name: str, scope: int
) -> list[AddrInfo]:
    """Every address in every shape; the first result alone has the canonical name."""
    results: list[AddrInfo] = []
    for address in addresses:
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        rest = () if len(address) == 4 else (0, scope)
        for kind, protocol, port in shapes:
            results.append((family, kind, protocol, name, (format_address(address), port, *rest)))
            name = ""
    return results
