"""What of a stack the services need that configure it: `asyncstack.Stack` is one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from asyncstack.counters import Counters
from asyncstack.link.interface import Interface
from asyncstack.network.addresses import AddressTable, InterfaceAddress, Origin
from asyncstack.network.ndp import Ndp
from asyncstack.timing import Clock

if TYPE_CHECKING:
    from asyncstack.events import Event


class Host(Protocol):
    """A stack, as seen from `application`."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    counters: Counters
    addresses: AddressTable
    ndp: Ndp

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """See `Interfaces.subscribe`."""

    async def have_link_local(self, interface: Interface) -> None:
        """See `Interfaces.have_link_local`."""

    async def check_address(self, interface: Interface, address: bytes) -> None:
        """See `Interfaces.check_address`."""

    def add_address(
        self,
        interface: Interface,
        address: bytes,
        prefix_length: int,
        *,
        origin: Origin = ...,
        preferred_until: float = ...,
        on_link: bool = ...,
    ) -> InterfaceAddress:
        """See `Interfaces.add_address`."""

    def remove_address(self, address: bytes, error: OSError | None = None) -> None:
        """See `Interfaces.remove_address`."""

    def learn_nameservers(
        self,
        source: object,
        servers: Sequence[bytes],
        search: Sequence[str] = (),
        interface: Interface | None = None,
    ) -> None:
        """See `Stack.learn_nameservers`."""

    def forget_nameservers(self, source: object) -> None:
        """See `Stack.forget_nameservers`."""

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], Any],
        local_addr: tuple[Any, ...] | None = None,
        remote_addr: tuple[Any, ...] | None = None,
        *,
        family: int = 0,
    ) -> tuple[asyncio.DatagramTransport, Any]:
        """See `Calls.create_datagram_endpoint`."""
