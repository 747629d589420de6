"""IPv4 link-local addresses (RFC 3927): a host picks one of 169.254.0.0/16 that nobody has.

A packet from or to such an address is sent to no router (`RoutingTable`), ARP packets about it are broadcast
(`ArpProtocol`), and its TTL is the usual one: the final RFC gives that no meaning (2.7).
"""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from asyncstack.autoconf.conflicts import check
from asyncstack.errors import os_error
from asyncstack.events import AddressRemoved, Event
from asyncstack.link.claims import MAX_CONFLICTS, RATE_LIMIT_INTERVAL
from asyncstack.network.addresses import InterfaceAddress, Origin

if TYPE_CHECKING:
    from asyncstack.interfaces import Interfaces
    from asyncstack.link.interface import Interface

PREFIX_LENGTH: Final = 16
_FIRST: Final = 0xA9FE0100  # 2.1: the first and the last 256 are reserved
_LAST: Final = 0xA9FEFEFF


def candidates(mac: bytes) -> Iterator[bytes]:
    """The addresses that the host with `mac` tries, in this order each time (RFC 3927 2.1)."""
    rng = random.Random(mac)
    while True:
        yield rng.randint(_FIRST, _LAST).to_bytes(4, "big")


class LinkLocal:
    """The source "link-local": has one such address on `interface`, and another one when that is lost to a host.

    Raises OSError EOPNOTSUPP if there is no Ethernet.
    """

    def __init__(self, stack: Interfaces, interface: Interface, *, timeout: float = 30.0) -> None:
        if not interface.device.ethernet:
            raise os_error(errno.EOPNOTSUPP, f"link-local on {interface.name}, which is no Ethernet")
        self._stack = stack
        self._interface = interface
        self._timeout = timeout
        self._candidates = candidates(interface.device.address)
        self._conflicts = 0
        self._task: asyncio.Task[None] | None = None
        self._entry: InterfaceAddress | None = None

    async def start(self) -> None:
        """Return with an address, after 4 to 7 seconds. Raises OSError ENETDOWN, TimeoutError."""
        found: asyncio.Future[None] = self._stack.loop.create_future()
        self._task = self._stack.loop.create_task(self._keep(found))
        try:
            async with asyncio.timeout(self._timeout):
                await found
        except TimeoutError:
            reason = (
                f"no address of 169.254.0.0/16 was free on {self._interface.name} within {self._timeout:g} s"
            )
            raise TimeoutError(f"{reason}: {self._conflicts} were taken") from None

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        entry, self._entry = self._entry, None
        if entry is not None and self._has(entry):
            self._stack.remove_address(entry.address)

    def link_down(self) -> None:
        pass

    def link_up(self) -> None:
        pass  # the address is checked anew, as all are; if it is taken, that is an event

    async def _claim(self) -> None:
        """Make an address ours that nobody else has."""
        while True:
            if self._conflicts >= MAX_CONFLICTS:
                # 2.2.1: something is wrong here, or somebody attacks
                await asyncio.sleep(RATE_LIMIT_INTERVAL)
            address = next(self._candidates)
            try:
                await check(self._interface, address)
                self._entry = self._stack.add_address(
                    self._interface, address, PREFIX_LENGTH, origin=Origin.LINK_LOCAL
                )
                return
            except OSError as exc:
                if exc.errno not in (errno.EADDRINUSE, errno.EEXIST):
                    raise
                self._conflicts += 1

    async def _keep(self, found: asyncio.Future[None]) -> None:
        """Claim an address, and another one each time that the last was lost. Sets `found` with the first."""
        lost = asyncio.Event()

        def notice(event: Event) -> None:
            if isinstance(event, AddressRemoved) and event.address is self._entry and event.error is not None:
                lost.set()

        unsubscribe = self._stack.subscribe(notice)
        try:
            while True:
                await self._claim()
                if not found.done():
                    found.set_result(None)
                await lost.wait()
                lost.clear()
                self._conflicts += 1
        except OSError as exc:  # the interface went down
            if not found.done():
                found.set_exception(exc)
        finally:
            unsubscribe()

    def _has(self, entry: InterfaceAddress) -> bool:
        return self._stack.addresses.local.get(entry.address) is entry
