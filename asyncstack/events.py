"""What a stack tells who calls `subscribe`: of its interfaces and addresses."""

from __future__ import annotations

from dataclasses import dataclass

from asyncstack.link.interface import Interface
from asyncstack.network.addresses import InterfaceAddress


@dataclass(slots=True)
class InterfaceUp:
    """`interface` sends and receives."""

    interface: Interface


@dataclass(slots=True)
class InterfaceDown:
    """`interface` is gone: removed, or its device died of `error`."""

    interface: Interface
    error: OSError | None


@dataclass(slots=True)
class LinkDown:
    """Nothing passes over `interface` for now: its cable was pulled, or the kernel's side of a TUN was set down.

    Addresses, routes and connections stay. A connection ends if it waits for longer than `TcpConfig.user_timeout`, an
    address when its lifetime is over.
    """

    interface: Interface


@dataclass(slots=True)
class LinkUp:
    """`interface` sends and receives again. What DHCP and routers gave is asked for anew, and removed if it no longer
    holds (`AddressRemoved`)."""

    interface: Interface


@dataclass(slots=True)
class SourceFailed:
    """`word` ("dhcp4", or the addresses that were given) could not give `interface` an address, because of `error`.
    Told where nobody waits for it: `add_interface(wait=False)`."""

    interface: Interface
    word: str
    error: OSError


@dataclass(slots=True)
class AddressAdded:
    """`address` is ours: packets to it are taken, and it may be bound."""

    address: InterfaceAddress


@dataclass(slots=True)
class AddressRemoved:
    """`address` is ours no longer; because of `error`, if there is one. Its connections have ended."""

    address: InterfaceAddress
    error: OSError | None


@dataclass(slots=True)
class AddressConflict:
    """Another host on the link of `interface`, at `mac`, uses `address`, which is ours. It was told so (RFC 5227 2.4).

    lost: it insists, and the address is given up, as it was only leased or chosen; one that was configured is kept.
    """

    interface: Interface
    address: bytes
    mac: bytes
    lost: bool


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
