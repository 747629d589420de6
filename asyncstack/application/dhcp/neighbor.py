"""Whether a neighbour is there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asyncstack.link.ethernet import EthernetLink
from asyncstack.network.addresses import format_address

if TYPE_CHECKING:
    from asyncstack.application.dhcp.host import Host
    from asyncstack.link.interface import Interface
    from asyncstack.link.neighbors import Entry


class _Found:
    """Waits for its turn to send (`Sender`): then the next hop is known."""

    def __init__(self, told: asyncio.Future[None]) -> None:
        self.queued = False
        self._told = told

    def transmit(self, now: float, quantum: int) -> bool:
        """The neighbour is found."""
        self._end()
        return False

    def unreachable(self, error: OSError) -> None:
        """It is not."""
        self._end()

    def blocked(self, now: float) -> None:
        """The device has no room; that is no answer."""

    def _end(self) -> None:
        if not self._told.done():
            self._told.set_result(None)


async def resolved(
    stack: Host, interface: Interface, destination: bytes, source: bytes, timeout: float
) -> None:
    """Return when the next hop towards `destination` is known: or is not, or no road leads there, or `timeout` seconds
    are over."""
    try:
        path = stack.routes.lookup(destination, source, interface)
    except OSError:
        return
    if not interface.up or interface.link.resolve(path.next_hop, stack.clock()) is not None:
        return
    found = _Found(stack.loop.create_future())
    interface.link.park(path.next_hop, found)
    try:
        async with asyncio.timeout(timeout):
            await found._told
    except TimeoutError:
        pass
    finally:
        interface.link.unpark(found)
        interface.forget(found)


async def is_used(stack: Host, interface: Interface, address: bytes, timeout: float) -> bool:
    """Whether a host is at `address`: within `timeout` seconds it answers a ping, or at least ARP, which no firewall
    keeps it from. A MAC that was known before proves nothing: the host may have gone."""
    known = _entry(interface, address)
    had_mac = known is not None and known.mac != b""
    try:
        await stack.ping(format_address(address), timeout=timeout)
    except OSError:
        entry = _entry(interface, address)
        return entry is not None and entry.mac != b"" and not had_mac
    return True


def _entry(interface: Interface, address: bytes) -> Entry | None:
    link = interface.link
    return link.neighbors4.entries.get(address) if isinstance(link, EthernetLink) else None
