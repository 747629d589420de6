"""Host names to addresses: literal addresses, a hosts table, `localhost`. DNS is asked by nobody here."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from typing import Final

from asyncstack.network.addresses import LOOPBACK_IPV4, LOOPBACK_IPV6, parse_address, parse_network

Hosts = Mapping[str, list[str] | str]
Host = str | ipaddress.IPv4Address | ipaddress.IPv6Address | None

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Port = int | str | None
ANY_PORT: Final = range(1, 65536)

_SIZES = {socket.AF_UNSPEC: (4, 16), socket.AF_INET: (4,), socket.AF_INET6: (16,)}


class Names:
    """A hosts table. `table` maps a name, in lower case, to its address or addresses; it may be shared by many stacks,
    and may change."""

    def __init__(self, table: Hosts | None = None) -> None:
        self.table: Hosts = {} if table is None else table

    def resolve(self, host: Host, family: int = 0) -> list[bytes]:
        """The addresses of `host`, 4 or 16 bytes each, in the order of the table.

        Raises socket.gaierror for a name that is not in the table or has no address of `family`.
        """
        sizes = _SIZES.get(socket.AddressFamily(family), ())
        found = [address for address in self._find(host) if len(address) in sizes]
        if not found:
            detail = f"Name or service not known: {host!r} is no address and not in the stack's hosts table"
            raise socket.gaierror(socket.EAI_NONAME, detail)
        return found

    def _find(self, host: Host) -> list[bytes]:
        if not isinstance(host, str):
            return [] if host is None else [host.packed]
        try:
            return [parse_address(host)]
        except ValueError:
            pass
        name = host.lower().rstrip(".")
        if name in self.table:
            found = self.table[name]
            return [parse_address(address) for address in ([found] if isinstance(found, str) else found)]
        return [LOOPBACK_IPV4, LOOPBACK_IPV6] if name == "localhost" else []

    def resolve_local(self, host: Host | Iterable[Host], family: int = 0) -> list[bytes]:
        """The addresses to listen on: None or "" is any address of each family, a list is all of its members."""
        if host is None or host == "":
            return [bytes(size) for size in _SIZES.get(socket.AddressFamily(family), ())]
        if isinstance(host, (str, ipaddress.IPv4Address, ipaddress.IPv6Address)):
            return self.resolve(host, family)
        found: dict[bytes, None] = {}
        for one in host:
            found.update(dict.fromkeys(self.resolve_local(one, family)))
        return list(found)

    def resolve_networks(
        self, host: Host | Network | Iterable[Host | Network], family: int = 0
    ) -> list[tuple[bytes, int]]:
        """(prefix, prefix length) for networks ("10.0.0.0/8", or of `ipaddress`) among what may be listened on, and
        (address, -1) for everything else, as `resolve_local` has it. Raises ValueError for what is no network."""
        if isinstance(host, (ipaddress.IPv4Network, ipaddress.IPv6Network)) or (
            isinstance(host, str) and "/" in host
        ):
            prefix, length = parse_network(str(host))
            if len(prefix) not in _SIZES.get(socket.AddressFamily(family), ()):
                raise ValueError(f"{host} is a network of the other address family")
            return [(prefix, length)]
        if host is None or isinstance(host, (str, ipaddress.IPv4Address, ipaddress.IPv6Address)):
            return [(address, -1) for address in self.resolve_local(host, family)]
        return list(dict.fromkeys(found for one in host for found in self.resolve_networks(one, family)))


def ports_of(port: Port | range) -> range:
    """The ports that `port` stands for. Raises ValueError if there are none, or all of them are not named."""
    ports = port if isinstance(port, range) else range(port_number(port), port_number(port) + 1)
    if not ports or ports.step != 1 or not 1 <= ports[0] <= ports[-1] <= 0xFFFF:
        raise ValueError(f"port {port!r}: a port, a range of them with step 1, or ANY_PORT")
    return ports


def port_number(port: Port) -> int:
    """`port` as a number, None as 0 (any). Raises socket.gaierror for a text that is no number."""
    if isinstance(port, str):
        if not port.isdecimal():
            raise socket.gaierror(
                socket.EAI_SERVICE, f"{port!r} is no port number; a stack knows no service names"
            )
        return int(port)
    return 0 if port is None else port
