"""Host names to addresses: literal addresses, a hosts table, `localhost`, and then whoever answers for DNS.

A name of the table is never asked for. What has to be asked is asked of what `Names.dns` gives, which is handed in:
the resolver is an application of the stack (`asyncstack.application.dns`), above this module.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, Protocol

from asyncstack.network.addresses import LOOPBACK_IPV4, LOOPBACK_IPV6, parse_address, parse_network

Hosts = Mapping[str, list[str] | str]
Host = str | bytes | ipaddress.IPv4Address | ipaddress.IPv6Address | None

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Port = int | str | None
ANY_PORT: Final = range(1, 65536)

SIZES: Final[Mapping[int, tuple[int, ...]]] = {
    socket.AF_UNSPEC: (4, 16),
    socket.AF_INET: (4,),
    socket.AF_INET6: (16,),
}


class Found(NamedTuple):
    """The addresses of a name, 4 or 16 bytes each, the one to try first in front; and its canonical name."""

    name: str
    addresses: list[bytes]


class Dns(Protocol):
    """Who is asked for a name that is not known here."""

    async def addresses(self, name: str, family: int) -> Found:
        """The addresses of `name`, which ends in a dot if it is not to be searched for. Raises socket.gaierror."""

    async def name_of(self, address: bytes) -> str:
        """The name of `address`. Raises socket.gaierror."""


class Names:
    """The names one stack knows. `table` maps a name, in lower case, to its address or addresses; it may be shared by
    many stacks, and may change. `dns()` is asked for all others; None: there are no others. `order` puts the addresses
    of one name in the order in which to try them (RFC 6724 6)."""

    def __init__(
        self,
        table: Hosts | None = None,
        order: Callable[[list[bytes]], list[bytes]] = lambda addresses: addresses,
    ) -> None:
        self.table: Hosts = {} if table is None else table
        self.order = order
        self.dns: Callable[[], Dns] | None = None
        self._reverse = ReverseNames(self.table)

    # names to addresses

    async def lookup(self, host: Host, family: int = 0) -> list[bytes]:
        """The addresses of `host`, 4 or 16 bytes each, the one to try first in front. It waits only for DNS.

        Raises socket.gaierror: EAI_NONAME for a name that does not exist, EAI_NODATA for one without an address of
        `family`, EAI_AGAIN if nobody could be asked; EAI_ADDRFAMILY for a literal of the other family.
        """
        known = self.known(host)
        if known is None:
            known = await self.ask(host, family)
        return self.order(of_family(known.addresses, host, family))

    def resolve(self, host: Host, family: int = 0) -> list[bytes]:
        """`lookup` for who can not wait: DNS is not asked. Raises socket.gaierror."""
        known = self.known(host)
        if known is None:
            raise _unknown(host, "is no address and not in the stack's hosts table")
        return self.order(of_family(known.addresses, host, family))

    def known(self, host: Host) -> Found | None:
        """What is known without asking anybody: a literal, a name of the table, localhost (RFC 6761 6.3)."""
        if host is None:
            return None
        text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
        address = parse_literal(text)
        if address:
            return Found(text, [address])
        name = text.lower().rstrip(".")
        if name in self.table:
            found = self.table[name]
            return Found(name, [parse_address(one) for one in ([found] if isinstance(found, str) else found)])
        if name == "localhost" or name.endswith(".localhost"):
            return Found(name, [LOOPBACK_IPV4, LOOPBACK_IPV6])
        return None

    def answers(self, host: str | bytes) -> bool:
        """Whether `host` is a name that this table or DNS answers for; if not, only the system may know it."""
        text = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        if text.lower().rstrip(".") in self.table:
            return True
        return self.dns is not None and text != "" and self.known(text) is None

    async def ask(self, host: Host, family: int = 0) -> Found:
        """What DNS has for `host`. Raises socket.gaierror; UnicodeError for what can be no name, as `socket` does."""
        text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
        if not text or ":" in text or "%" in text or family not in SIZES:
            raise _unknown(host, "is neither an address nor a name")
        name = text.encode("idna").decode("ascii")
        if self.dns is None:
            raise _unknown(
                host, "is no address and not in the stack's hosts table, and it has no nameservers"
            )
        return await self.dns().addresses(name, family)

    async def lookup_local(self, host: Host | Iterable[Host], family: int = 0) -> list[bytes]:
        """The addresses to listen on: None or "" is any address of each family, a list is all of its members."""
        if host is None or host == "":
            return [bytes(size) for size in SIZES.get(family, ())]
        if isinstance(host, Host):
            return await self.lookup(host, family)
        found: dict[bytes, None] = {}
        for one in host:
            found.update(dict.fromkeys(await self.lookup_local(one, family)))
        return list(found)

    async def lookup_networks(
        self, host: Host | Network | Iterable[Host | Network], family: int = 0
    ) -> list[tuple[bytes, int]]:
        """(prefix, prefix length) for networks ("10.0.0.0/8", or of `ipaddress`) among what may be listened on, and
        (address, -1) for everything else, as `lookup_local` has it. Raises ValueError for what is no network."""
        if isinstance(host, Network) or (isinstance(host, str) and "/" in host):
            prefix, length = parse_network(str(host))
            if len(prefix) not in SIZES.get(family, ()):
                raise ValueError(f"{host} is a network of the other address family")
            return [(prefix, length)]
        if isinstance(host, Host):
            return [(address, -1) for address in await self.lookup_local(host, family)]
        found: dict[tuple[bytes, int], None] = {}
        for one in host:
            found.update(dict.fromkeys(await self.lookup_networks(one, family)))
        return list(found)

    # addresses to names

    async def name_of(self, address: bytes) -> str:
        """A name of `address`: one of the table that has it, localhost, or what DNS says.

        Raises socket.gaierror.
        """
        if self._reverse.table is not self.table:
            self._reverse = ReverseNames(self.table)
        name = self._reverse.name_of(address)
        if name is not None:
            return name
        if address in (LOOPBACK_IPV4, LOOPBACK_IPV6):
            return "localhost"
        if self.dns is None:
            raise _unknown(ipaddress.ip_address(address), "has no name in the stack's hosts table")
        return await self.dns().name_of(address)


class ReverseNames:
    """The way from addresses to names of `table`, which may change at any time; made when it is first asked for.

    What is known is looked up in the table before it is said, so that it is never stale. For what is not known the
    table is gone through, as somebody may have put it there meanwhile; only texts that are new are parsed for that,
    which is what takes the time.
    """

    def __init__(self, table: Hosts) -> None:
        self.table = table
        self._names: dict[bytes, str] = {}
        self._parsed: dict[str, bytes] = {}

    def name_of(self, address: bytes) -> str | None:
        """A name of `address` (4 or 16 bytes), the first of the table when it was last gone through."""
        name = self._names.get(address)
        if name is None or address not in self._addresses(name):
            self._read()
            name = self._names.get(address)
        return name

    def _addresses(self, name: str) -> list[bytes]:
        return [self._parse(text) for text in _texts(self.table.get(name, ()))]

    def _parse(self, text: str) -> bytes:
        known = self._parsed.get(text)
        if known is None:
            known = self._parsed[text] = parse_literal(text)
        return known

    def _read(self) -> None:
        self._names = {}
        count = 0
        for name, entry in self.table.items():
            for text in _texts(entry):
                self._names.setdefault(self._parse(text), name)
                count += 1
        self._names.pop(b"", None)  # what is no address
        if len(self._parsed) > 2 * count:
            self._parsed = {}  # most of it was of names that are gone


def _texts(entry: list[str] | tuple[str, ...] | str) -> list[str] | tuple[str, ...]:
    return [entry] if isinstance(entry, str) else entry


def parse_literal(text: str) -> bytes:
    """The address that `text` spells, also in the short and the hexadecimal forms of inet_aton(3), which
    `socket.getaddrinfo` takes; b"" if it spells none."""
    try:
        return parse_address(text)
    except ValueError:
        pass
    if text[:1].isdigit() and text.replace(".", "").isalnum():  # inet_aton stops at a space and is content
        try:
            return socket.inet_aton(text)
        except OSError:
            pass
    return b""


def of_family(addresses: list[bytes], host: Host, family: int) -> list[bytes]:
    """Those of the `addresses` of `host` that are of `family`. Raises socket.gaierror if there are none."""
    sizes = SIZES.get(family)
    if sizes is None:
        raise socket.gaierror(socket.EAI_FAMILY, f"ai_family not supported: {family!r}")
    found = [address for address in addresses if len(address) in sizes]
    if not found:
        name = socket.AddressFamily(family).name
        if host is not None and parse_literal(host.decode() if isinstance(host, bytes) else str(host)):
            text = f"Address family for hostname not supported: {host!r} is no address of {name}"
            raise socket.gaierror(socket.EAI_ADDRFAMILY, text)
        raise _unknown(host, f"has no address of {name}")
    return found


def _unknown(host: object, why: str) -> socket.gaierror:
    return socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {host!r} {why}")


def ports_of(port: Port | range) -> range:
    """The ports that `port` stands for. Raises ValueError if there are none, or all of them are not named."""
    ports = port if isinstance(port, range) else range(port_number(port), port_number(port) + 1)
    if not ports or ports.step != 1 or not 1 <= ports[0] <= ports[-1] <= 0xFFFF:
        raise ValueError(f"port {port!r}: a port, a range of them with step 1, or ANY_PORT")
    return ports


def port_number(port: Port, protocol: str = "tcp") -> int:
    """`port` as a number, None as 0 (any); the name of a service is looked up in the system's table of them.

    Raises socket.gaierror for a name of none.
    """
    if isinstance(port, str):
        if port.isdecimal():
            return int(port)
        try:
            return socket.getservbyname(port, protocol)
        except OSError:
            text = f"Servname not supported for ai_socktype: no {protocol} service is called {port!r}"
            raise socket.gaierror(socket.EAI_SERVICE, text) from None
    return 0 if port is None else port
