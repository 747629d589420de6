"""What DHCP needs of a stack."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from asyncstack.counters import Counters
from asyncstack.link.interface import Interface
from asyncstack.network.addresses import AddressTable, InterfaceAddress, Origin
from asyncstack.network.routing import RoutingTable
from asyncstack.timing import Clock
from asyncstack.transport.udp.layer import UdpLayer


class Host(Protocol):
    """A stack, as `asyncstack.Stack` has it."""

    name: str
    loop: asyncio.AbstractEventLoop
    clock: Clock
    counters: Counters
    addresses: AddressTable
    routes: RoutingTable
    udp: UdpLayer

    def add_address(
        self, interface: Interface, address: bytes, prefix_length: int, *, origin: Origin = ...
    ) -> InterfaceAddress:
        """Make `address` ours. Raises ValueError, OSError EEXIST."""

    def remove_address(self, address: bytes, error: OSError | None = None) -> None:
        """Give `address` up; its connections end with `error`."""

    async def check_address(self, interface: Interface, address: bytes) -> None:
        """Return if no other host has `address`. Raises OSError EADDRINUSE."""

    async def ping(self, host: str, *, timeout: float = ...) -> object:
        """Return if `host` answers. Raises OSError."""

    def learn_nameservers(self, source: object, servers: Sequence[bytes], search: Sequence[str] = ()) -> None:
        """Use these, instead of what `source` said before."""

    def forget_nameservers(self, source: object) -> None:
        """Use them no longer."""
