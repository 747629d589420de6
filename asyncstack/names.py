"""Host names to addresses: literal addresses, a hosts table, `localhost`. DNS is asked by nobody here."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping

from asyncstack.network.addresses import LOOPBACK_IPV4, LOOPBACK_IPV6, parse_address

Hosts = Mapping[str, list[str] | str]
Host = str | ipaddress.IPv4Address | ipaddress.IPv6Address | None

Port = int | str | None

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


def port_number(port: Port) -> int:
    """`port` as a number, None as 0 (any). Raises socket.gaierror for a text that is no number."""
    if isinstance(port, str):
        if not port.isdecimal():
            raise socket.gaierror(
                socket.EAI_SERVICE, f"{port!r} is no port number; a stack knows no service names"
            )
        return int(port)
    return 0 if port is None else port
