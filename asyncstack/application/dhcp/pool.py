"""What a server gives out: addresses of one network, and what its clients are told with them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

from asyncstack.link.address import parse_mac
from asyncstack.network.addresses import parse_address, parse_network
from asyncstack.wire import dhcp_options as options

POOL_LIMIT: Final = 65536  # addresses of one pool
FAVOURITES: Final = 8
_NOT_TO_GIVE: Final = frozenset(
    (options.OVERLOAD, options.MESSAGE_TYPE, options.SERVER_ID, options.RELAY_AGENT)
)


@dataclass(slots=True, kw_only=True)
class Pool:
    """Addresses of `network` ("10.0.0.0/24"): from `first` to `last`, those of the network if not given.

    Times are seconds. lease_time: how long an address is given for; a client may ask for less. t1, t2: when it renews,
    and asks any server; the half and seven eighths of its time if not given. routers, nameservers, ntp_servers:
    addresses. domain: the clients' own; search: domains they look for names in. routes: (network, router), RFC 3442, to
    which a default route by the first router is added. mtu: bytes. options: others, by code, for who asks for them.
    reservations: the address of a client, who is a MAC (text) or a client identifier (bytes), in `network` or not
    within `first` and `last`.

    Raises ValueError for what can not be.
    """

    network: str
    first: str = ""
    last: str = ""
    lease_time: int = 3600
    t1: int | None = None
    t2: int | None = None
    routers: Sequence[str] = ()
    nameservers: Sequence[str] = ()
    ntp_servers: Sequence[str] = ()
    domain: str = ""
    search: Sequence[str] = ()
    routes: Sequence[tuple[str, str]] = ()
    mtu: int = 0
    options: Mapping[int, bytes] = field(default_factory=dict)
    reservations: Mapping[str | bytes, str] = field(default_factory=dict)

    prefix: bytes = field(init=False)
    prefix_length: int = field(init=False)
    told: dict[int, bytes] = field(init=False)
    reserved: dict[bytes, bytes] = field(init=False)  # MAC or client identifier -> address
    keepers: dict[bytes, bytes] = field(init=False)  # the other way round
    _range: range = field(init=False)

    def __post_init__(self) -> None:
        self.prefix, self.prefix_length = parse_network(self.network)
        if len(self.prefix) != 4 or self.prefix_length > 30:
            raise ValueError(f"{self.network} is no IPv4 network that has addresses to give")
        base, size = int.from_bytes(self.prefix, "big"), 1 << (32 - self.prefix_length)
        first = _number(self.first) if self.first else base + 1
        last = _number(self.last) if self.last else base + size - 2
        if self.first and self.last and first > last:
            raise ValueError(
                f"{self.first or 'first'} to {self.last or 'last'}: the last is before the first"
            )
        if not base < first <= last < base + size - 1:
            raise ValueError(f"{self.first or 'first'} to {self.last or 'last'} is no part of {self.network}")
        if last - first >= POOL_LIMIT:
            raise ValueError(f"{last - first + 1} addresses: a pool has {POOL_LIMIT} at most")
        self._range = range(first, last + 1)
        if not 1 <= self.lease_time <= options.FOREVER:
            raise ValueError(f"lease_time={self.lease_time}: give seconds, {options.FOREVER} for no end")
        for name, seconds in (("t1", self.t1), ("t2", self.t2)):
            if seconds is not None and not 1 <= seconds <= options.FOREVER:
                raise ValueError(f"{name}={seconds}: give seconds, {options.FOREVER} at most")
        if self.mtu and not 68 <= self.mtu <= 65535:
            raise ValueError(f"mtu={self.mtu} is not between 68 and 65535 bytes")
        for name in ("routers", "nameservers", "ntp_servers", "search", "routes"):
            if isinstance(given := getattr(self, name), str):
                raise ValueError(f"{name}={given!r}: give a list")
        for code in self.options:
            if not 1 <= code <= 254 or code in _NOT_TO_GIVE:
                raise ValueError(f"option {code} is no option, or one that the server gives by itself")
        self.reserved = {_client(who): parse_address(text) for who, text in self.reservations.items()}
        self.keepers = {address: who for who, address in self.reserved.items()}
        for address in self.keepers:
            if address not in self or len(self.keepers) < len(self.reserved):
                raise ValueError(f"reservations={self.reservations}: not in {self.network}, or given twice")
        self.told = dict(self._told())

    def _told(self) -> Iterator[tuple[int, bytes]]:
        yield options.SUBNET_MASK, options.build_mask(self.prefix_length)
        yield options.BROADCAST_ADDRESS, self.broadcast
        for code, addresses in (
            (options.ROUTER, self.routers),
            (options.NAMESERVERS, self.nameservers),
            (options.NTP_SERVERS, self.ntp_servers),
        ):
            if addresses:
                yield code, b"".join(_ipv4(one) for one in addresses)
        if self.domain:
            yield options.DOMAIN_NAME, self.domain.encode("ascii")
        if self.search:
            yield options.DOMAIN_SEARCH, options.build_domains(self.search)
        if self.mtu:
            yield options.MTU, self.mtu.to_bytes(2, "big")
        if self.routes:
            routes = [(*parse_network(network), _ipv4(router)) for network, router in self.routes]
            routes += [(bytes(4), 0, _ipv4(router)) for router in self.routers[:1]]
            yield options.CLASSLESS_ROUTES, options.build_routes(routes)
        yield from self.options.items()

    def __contains__(self, address: bytes) -> bool:
        """Whether `address` is one of the network's hosts."""
        inside = int.from_bytes(address, "big") - int.from_bytes(self.prefix, "big")
        return 0 < inside < (1 << (32 - self.prefix_length)) - 1

    @property
    def broadcast(self) -> bytes:
        """The broadcast address of the network."""
        return ipaddress.IPv4Network((self.prefix, self.prefix_length)).broadcast_address.packed

    def offers(self, address: bytes) -> bool:
        """Whether `address` is given to anybody who asks."""
        return int.from_bytes(address, "big") in self._range and address not in self.keepers

    def addresses(self) -> Iterator[bytes]:
        """Every address that is given to anybody who asks."""
        for number in self._range:
            address = number.to_bytes(4, "big")
            if address not in self.keepers:
                yield address

    def favourites(self, start: int) -> Iterator[bytes]:
        """The few that are tried first, beginning at the place `start`, which may be any number."""
        for at in range(start, start + FAVOURITES):
            yield self._range[at % len(self._range)].to_bytes(4, "big")

    def times(self, wish: int | None) -> tuple[int, int, int]:
        """(lease time, T1, T2) for a client that wishes for so many seconds, None: for any."""
        lease = self.lease_time if not wish else min(max(wish, min(60, self.lease_time)), self.lease_time)
        if lease == options.FOREVER:
            return lease, lease, lease
        t2 = self.t2 if self.t2 is not None and self.t2 < lease else lease * 7 // 8
        t1 = self.t1 if self.t1 is not None and self.t1 <= t2 else min(lease // 2, t2)
        return lease, t1, t2


def check_apart(pools: Sequence[Pool]) -> None:
    """Raise ValueError if two have addresses in common: a client is given one by its network."""
    networks = [ipaddress.IPv4Network((pool.prefix, pool.prefix_length)) for pool in pools]
    for one, other in combinations(networks, 2):
        if one.overlaps(other):
            raise ValueError(f"{one} and {other} overlap: make one pool of them")


def _client(who: str | bytes) -> bytes:
    return who if isinstance(who, bytes) else parse_mac(who)


def _ipv4(text: str) -> bytes:
    address = parse_address(text)
    if len(address) != 4:
        raise ValueError(f"{text} is no IPv4 address")
    return address


def _number(text: str) -> int:
    return int.from_bytes(_ipv4(text), "big")
