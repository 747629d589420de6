"""What a stack tells who calls `subscribe`: of its interfaces and addresses."""

from __future__ import annotations

from dataclasses import dataclass

from asyncstack.link.interface import Interface
from asyncstack.network.addresses import InterfaceAddress, format_address


def _because(error: OSError | None) -> str:
    return "" if error is None else f": {error.strerror or error}"


@dataclass(slots=True)
class InterfaceUp:
    """`interface` sends and receives."""

    interface: Interface

    def __repr__(self) -> str:
        return f"InterfaceUp({self.interface.name})"


@dataclass(slots=True)
class InterfaceDown:
    """`interface` is gone: removed, or its device died of `error`."""

    interface: Interface
    error: OSError | None

    def __repr__(self) -> str:
        return f"InterfaceDown({self.interface.name}{_because(self.error)})"


@dataclass(slots=True)
class LinkDown:
    """Nothing passes over `interface` for now: its cable was pulled, or the kernel's side of a TUN was set down.

    Addresses, routes and connections stay. A connection ends if it waits for longer than `TcpConfig.user_timeout`, an
    address when its lifetime is over.
    """

    interface: Interface

    def __repr__(self) -> str:
        return f"LinkDown({self.interface.name})"


@dataclass(slots=True)
class LinkUp:
    """`interface` sends and receives again, perhaps on another network. What DHCP gave is asked for anew, and removed
    if it no longer holds. IPv6 addresses, and IPv4 ones where conflicts are looked for before use, are checked, and
    removed if somebody else has them (`AddressRemoved`). What routers gave that are not there is used for no new
    connections."""

    interface: Interface

    def __repr__(self) -> str:
        return f"LinkUp({self.interface.name})"


@dataclass(slots=True)
class SourceFailed:
    """`word` ("dhcp4", or the addresses that were given) could not give `interface` an address, because of `error`.
    Told where nobody waits for it: `add_interface(wait=False)`."""

    interface: Interface
    word: str
    error: OSError

    def __repr__(self) -> str:
        return f"SourceFailed({self.word} on {self.interface.name}{_because(self.error)})"


@dataclass(slots=True)
class AddressAdded:
    """`address` is ours: packets to it are taken, and it may be bound."""

    address: InterfaceAddress

    def __repr__(self) -> str:
        return f"AddressAdded({self.address.described})"


@dataclass(slots=True)
class AddressRemoved:
    """`address` is ours no longer; because of `error`, if there is one. Its connections have ended."""

    address: InterfaceAddress
    error: OSError | None

    def __repr__(self) -> str:
        return f"AddressRemoved({self.address.described}{_because(self.error)})"


@dataclass(slots=True)
class AddressConflict:
    """Another host on the link of `interface`, at `mac`, uses `address`, which is ours. Of an IPv4 address it was
    told so (RFC 5227 2.4). As long as it goes on, this is said once in ten seconds.

    lost: it insists, and the address is given up, as it was only leased or chosen; one that was configured is kept.
    """

    interface: Interface
    address: bytes
    mac: bytes
    lost: bool

    def __repr__(self) -> str:
        what = f"{format_address(self.address)} on {self.interface.name}, {self.mac.hex(':')} has it"
        return f"AddressConflict({what}{', lost' if self.lost else ''})"


Event = (
    InterfaceUp
    | InterfaceDown
    | LinkUp
    | LinkDown
    | AddressAdded
    | AddressRemoved
    | AddressConflict
    | SourceFailed
)
