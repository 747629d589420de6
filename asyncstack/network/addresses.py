"""Our own addresses, and text to bytes and back.

`AddressTable.local` is looked into once per received packet, by the `bytes` of the destination. What else has
to be known about an address (is it a broadcast, no possible source) is in dicts of the same kind, kept up to date
when an address is added or removed.
"""

from __future__ import annotations

import errno
import ipaddress
import math
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from asyncstack.errors import os_error
from asyncstack.network.groups import Groups
from asyncstack.network.selection import select_source
from asyncstack.wire.ndp import solicited_node_multicast

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface
    from asyncstack.network.routing import Route

AddressLike = str | bytes | ipaddress.IPv4Address | ipaddress.IPv6Address
InterfaceLike = str | ipaddress.IPv4Interface | ipaddress.IPv6Interface

ANY_IPV4: Final = bytes(4)
ANY_IPV6: Final = bytes(16)
LOOPBACK_IPV4: Final = b"\x7f\x00\x00\x01"
LOOPBACK_IPV6: Final = bytes(15) + b"\x01"
LIMITED_BROADCAST: Final = b"\xff\xff\xff\xff"


def parse_address(address: AddressLike) -> bytes:
    """4 or 16 bytes of `address`: text, an `ipaddress` object, or such bytes already.

    The scope of a link-local IPv6 address ("fe80::1%eth0") is dropped: `scope_of` gives it. Raises ValueError.
    """
    if isinstance(address, bytes):
        if len(address) not in (4, 16):
            raise ValueError(f"an address has 4 or 16 bytes, not {len(address)}: {address!r}")
        return address
    if isinstance(address, str):
        parsed = ipaddress.ip_address(address)
        if parsed.version == 6 and parsed.scope_id is not None and not is_of_a_link(parsed.packed):
            raise ValueError(f"{address!r}: only a link-local address has a scope")
        return parsed.packed
    return address.packed


def scope_of(address: str) -> str:
    """What follows the % of an IPv6 address: the name of an interface; "" without one."""
    return address.partition("%")[2]


def format_address(address: bytes) -> str:
    """Text of 4 or 16 bytes, as RFC 5952 writes it."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def format_on(address: bytes, interface: Interface) -> str:
    """As `format_address`, with the link if the address says nothing without it (RFC 4007 11): "fe80::1%eth0"."""
    text = format_address(address)
    return f"{text}%{interface.name}" if len(address) == 16 and is_of_a_link(address) else text


def parse_interface(text: InterfaceLike) -> tuple[bytes, int]:
    """(address, prefix length) of "10.0.0.1/24"; without a length the prefix is the one address.

    Raises ValueError.
    """
    try:
        parsed = ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError(_what_is_wrong(str(text))) from None
    return parsed.packed, parsed.network.prefixlen


def _what_is_wrong(text: str) -> str:
    """Why `text` is no address with a prefix length."""
    address, _, length = text.partition("/")
    try:
        bits = ipaddress.ip_address(address).max_prefixlen
    except ValueError:
        return f"{text!r}: {address!r} is no IPv4 or IPv6 address"
    return f"{text!r}: {length!r} is no prefix length, which is 0 to {bits}"


def parse_own(text: str) -> tuple[bytes, int]:
    """As `parse_interface`, but the length has to be there: who leaves it out has forgotten it more often than not.

    Raises ValueError, also for what no host can have.
    """
    parsed = parse_interface(text)
    if is_multicast(parsed[0]) or not any(parsed[0]):
        raise ValueError(f"{text!r} can not be a host's own: give the address of one host")
    if "/" not in text:
        length = 24 if len(parsed[0]) == 4 else 64
        raise ValueError(f"{text!r} needs a prefix length, such as {text}/{length}")
    return parsed


def parse_network(text: str) -> tuple[bytes, int]:
    """(prefix, prefix length) of "10.0.0.0/8"; "default" is not one. Raises ValueError on host bits."""
    network = ipaddress.ip_network(text)
    return network.network_address.packed, network.prefixlen


def is_multicast(address: bytes) -> bool:
    """Whether `address` is a group (224.0.0.0/4, ff00::/8)."""
    return address[0] == 0xFF if len(address) == 16 else 0xE0 <= address[0] <= 0xEF


def is_link_local(address: bytes) -> bool:
    """Whether `address` is valid on one link only (169.254.0.0/16, fe80::/10)."""
    if len(address) == 16:
        return address[0] == 0xFE and address[1] & 0xC0 == 0x80
    return address[0] == 169 and address[1] == 254


def is_of_a_link(address: bytes) -> bool:
    """Whether `address` says only together with an interface who is meant: link-local, or a group of a link."""
    if len(address) == 4:
        return False
    return is_link_local(address) or (address[0] == 0xFF and address[1] & 0x0F in (1, 2))


def is_of_host(group: bytes) -> bool:
    """Whether packets to `group` never leave a host: an IPv6 one whose scope is one interface, or reserved (RFC 4291
    2.7 and its erratum 3480)."""
    return len(group) == 16 and group[0] == 0xFF and group[1] & 0x0F <= 1


def is_loopback(address: bytes) -> bool:
    """Whether `address` never leaves a host (127.0.0.0/8, ::1)."""
    return address[0] == 127 if len(address) == 4 else address == LOOPBACK_IPV6


def common_prefix(a: bytes, b: bytes) -> int:
    """The number of leading bits that two addresses of one family share."""
    bits = 8 * len(a)
    return bits - (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_length()


def prefix_mask(prefix_length: int, size: int) -> int:
    """The mask of `prefix_length` bits for an address of `size` bytes, as an int."""
    bits = 8 * size
    return ((1 << prefix_length) - 1) << (bits - prefix_length)


class Origin(Enum):
    """Who gave an address to an interface."""

    STATIC = "static"
    LINK_LOCAL = "link-local"  # RFC 3927; RFC 4862 5.3
    DHCP4 = "dhcp4"
    DHCP6 = "dhcp6"
    SLAAC = "slaac"
    TEMPORARY = "temporary"  # RFC 8981


@dataclass(slots=True, eq=False)
class InterfaceAddress:
    """One address of one interface. `broadcast` is b"" where there is none (IPv6, /31, /32).

    preferred_until: clock seconds; after that it is deprecated (RFC 4862 5.5.4). route: the one to its network, if it
    came with this address. router: who has advertised its prefix, b"" if nobody has. disputed: when the application was
    last told that another host has it, too.
    """

    address: bytes
    prefix_length: int
    interface: Interface
    broadcast: bytes = b""
    origin: Origin = Origin.STATIC
    preferred_until: float = math.inf
    route: Route | None = None
    router: bytes = b""
    disputed: float = -math.inf

    def __str__(self) -> str:
        return f"{format_address(self.address)}/{self.prefix_length}"

    def __repr__(self) -> str:
        return f"<InterfaceAddress {self.described}>"

    @property
    def described(self) -> str:
        """The address, where, and who gave it: "10.0.0.1/24 on eth0, dhcp4"."""
        return f"{self} on {self.interface.name}, {self.origin.value}"

    def covers(self, address: bytes) -> bool:
        """Whether `address` is on the network that this one is on."""
        return (
            len(address) == len(self.address) and common_prefix(address, self.address) >= self.prefix_length
        )

    def shared_bits(self, address: bytes) -> int:
        """The leading bits that `address` of the same family shares with the prefix of this one (RFC 6724 2.2)."""
        return min(common_prefix(address, self.address), self.prefix_length)

    @property
    def yields(self) -> bool:
        """Whether it is rather given up than fought for with another host: it was leased or chosen (RFC 5227 2.4)."""
        return self.origin in (Origin.DHCP4, Origin.LINK_LOCAL)

    @property
    def is_public(self) -> bool:
        """Whether it is not one that is given up soon, for nobody to know us by (RFC 8981)."""
        return self.origin is not Origin.TEMPORARY


class AddressTable:
    """The addresses of a stack, by interface, and its `groups`, where an IPv6 address has its own (RFC 4291 2.7.1).

    `local`: our unicast addresses. `no_source`: what no packet from outside may have as its source (RFC 1122
    3.2.1.3): our own addresses and our broadcasts, the unspecified and the loopback address. Both are read
    directly on the receive path. `on_change` is the routing table's. `clock` tells whether an address is deprecated.
    """

    __slots__ = ("_broadcasts", "clock", "groups", "local", "no_source", "on_change")

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.clock = clock
        self.local: dict[bytes, InterfaceAddress] = {}
        self.no_source: dict[bytes, bool] = {}
        self.on_change: Callable[[], None] = lambda: None  # a Path chosen before may be stale
        self.groups = Groups()
        self._broadcasts: dict[bytes, list[Interface]] = {}
        self._derive()

    def add(
        self,
        address: bytes,
        prefix_length: int,
        interface: Interface,
        *,
        origin: Origin = Origin.STATIC,
        preferred_until: float = math.inf,
    ) -> InterfaceAddress:
        """Make `address` ours. Raises ValueError for what can be no host's address, OSError EEXIST if it is ours."""
        text = f"{format_address(address)}/{prefix_length}"
        if not 0 <= prefix_length <= 8 * len(address):
            raise ValueError(f"{text}: the prefix length has to be 0 to {8 * len(address)}")
        if is_multicast(address) or not any(address) or address == LIMITED_BROADCAST:
            raise ValueError(f"{text} can not be the address of an interface")
        if address in self.local:
            owner = self.local[address].interface.name
            raise os_error(errno.EEXIST, f"{format_address(address)} is already an address of {owner}")
        entry = InterfaceAddress(address, prefix_length, interface, b"", origin, preferred_until)
        if len(address) == 4 and prefix_length <= 30:
            host_bits = ~prefix_mask(prefix_length, 4) & 0xFFFFFFFF
            entry.broadcast = (int.from_bytes(address, "big") | host_bits).to_bytes(4, "big")
            if address == entry.broadcast:
                raise ValueError(f"{text} is the broadcast address of its network")
        self.local[address] = entry
        if len(address) == 16:
            self.groups.join(solicited_node_multicast(address), interface, entry)
            if is_link_local(address):  # they hear MLD from no other
                self.groups.on_unheard(interface, 16)
        self._derive()
        return entry

    def prefer(self, entry: InterfaceAddress, until: float) -> None:
        """`entry` is deprecated from `until` on, clock seconds (RFC 4862 5.5.4)."""
        now = self.clock()
        was_deprecated, entry.preferred_until = entry.preferred_until <= now, until
        if was_deprecated != (until <= now):
            self.on_change()  # another one may be the better source now

    def remove(self, address: bytes) -> InterfaceAddress:
        """Give `address` up, and say what it was. Raises OSError EADDRNOTAVAIL if it is not ours."""
        entry = self.local.pop(address, None)
        if entry is None:
            raise os_error(errno.EADDRNOTAVAIL, f"{format_address(address)} is not an address of this stack")
        if len(address) == 16:
            self.groups.leave(solicited_node_multicast(address), entry.interface, entry)
        self._derive()
        return entry

    def remove_interface(self, interface: Interface) -> None:
        """Give up all that `interface` has."""
        self.groups.remove_interface(interface)
        for entry in self.of(interface):
            self.remove(entry.address)

    def of(self, interface: Interface, family_size: int = 0) -> list[InterfaceAddress]:
        """The addresses of `interface` in the order they were added; of one family if a size (4, 16) is given."""
        return [
            entry
            for entry in self.local.values()
            if entry.interface is interface and family_size in (0, len(entry.address))
        ]

    def is_local(self, address: bytes) -> bool:
        """Whether a packet to `address` stays on this host: our addresses and all of 127.0.0.0/8."""
        return address in self.local or (len(address) == 4 and address[0] == 127)

    def is_broadcast(self, address: bytes, interface: Interface | None = None) -> bool:
        """Whether `address` means every host: 255.255.255.255, or the broadcast address of a network of ours.

        With `interface`, only networks on that one count.
        """
        if address == LIMITED_BROADCAST:
            return True
        interfaces = self._broadcasts.get(address)
        return interfaces is not None and (interface is None or interface in interfaces)

    def select_source(
        self, destination: bytes, next_hop: bytes, interface: Interface
    ) -> InterfaceAddress | None:
        """Our address for packets that leave `interface` towards `next_hop`; None if there is none: see `selection`."""
        return select_source(self.local.values(), destination, next_hop, interface, self.clock())

    def _derive(self) -> None:
        # in place: the receive path holds on to this dict
        self.no_source.clear()
        self.no_source.update(dict.fromkeys((*self.local, ANY_IPV4, ANY_IPV6, LOOPBACK_IPV6), True))
        self._broadcasts = {}
        for entry in self.local.values():
            if entry.broadcast:
                self._broadcasts.setdefault(entry.broadcast, []).append(entry.interface)
                self.no_source[entry.broadcast] = True
        self.on_change()
