"""Waiting for a neighbour to be found."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncstack.application.dhcp.host import Host
    from asyncstack.link.interface import Interface


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
