"""What becomes of the addresses of an interface whose link is back, perhaps as another one.

Somebody there may have them: RFC 4862 5.3 and 5.4, RFC 3927 2.2 and RFC 5227 2.1 have them checked as if they were new.
Most often it is the same link, so they stay in use meanwhile, as RFC 6059 has it, and no connection notices.

What DHCPv4 has lent is not looked at here: its server is asked first (RFC 2131 3.7), by the client, which then checks.
"""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

from asyncstack.autoconf import conflicts
from asyncstack.autoconf.checking import MAX_DELAY, have_link_local
from asyncstack.network.addresses import InterfaceAddress, Origin, is_link_local

if TYPE_CHECKING:
    from asyncstack.interfaces import Interfaces
    from asyncstack.link.interface import Interface


async def recheck(stack: Interfaces, interface: Interface) -> None:
    """Announce each address of `interface` that nobody else on its link has, and remove the others, with EADDRINUSE
    that names the MAC; who gave them hears that (`AddressRemoved`)."""
    entries = [entry for entry in stack.addresses.of(interface) if entry.origin is not Origin.DHCP4]
    await asyncio.gather(*(_recheck(stack, entry) for entry in entries))


async def _recheck(stack: Interfaces, entry: InterfaceAddress) -> None:
    taken = None
    try:
        await _check(stack, entry)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            return  # the interface has gone down
        taken = exc
    if stack.addresses.local.get(entry.address) is not entry:
        return  # it was given up meanwhile
    if taken is None:
        link = entry.interface.link
        link.add_address(entry.address, stack.clock(), yielding=entry.yields)  # which announces it
        return
    stack.remove_address(entry.address, taken)
    if len(entry.address) == 16 and is_link_local(entry.address):
        await _replace(stack, entry.interface)


async def _check(stack: Interfaces, entry: InterfaceAddress) -> None:
    interface, address = entry.interface, entry.address
    if len(address) == 4 and entry.origin is Origin.LINK_LOCAL:
        await conflicts.check(interface, address)  # whatever is said of other ones
        return
    if len(address) == 16 and stack.config.dad_transmits:
        await asyncio.sleep(interface.rng.uniform(0, MAX_DELAY))
    await stack.check_address(interface, address)


async def _replace(stack: Interfaces, interface: Interface) -> None:
    try:
        await have_link_local(stack, interface)
    except OSError:
        interface.counters["ndp.no_link_local"] += 1
