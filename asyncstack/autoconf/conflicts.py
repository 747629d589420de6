"""Whether an IPv4 address is free (RFC 5227), to be awaited."""

from __future__ import annotations

import asyncio
import errno

from asyncstack.errors import os_error
from asyncstack.link.claims import PROBE_NUM
from asyncstack.link.interface import Interface
from asyncstack.network.addresses import format_address


async def check(interface: Interface, address: bytes, probes: int = PROBE_NUM) -> None:
    """Return when nobody on the Ethernet of `interface` has answered to `probes` questions for `address`: with 3 after
    4 to 7 seconds.

    Raises OSError: EADDRINUSE that names the MAC that has it, or wants it, too; ENETDOWN; EALREADY.
    """
    found: asyncio.Future[bytes | None] = interface.loop.create_future()

    def done(mac: bytes | None) -> None:
        if not found.done():
            found.set_result(mac)

    interface.link.check_address(address, probes, interface.clock(), done)
    try:
        mac = await found
    finally:
        interface.link.abandon_check(address)
    if mac is None:
        raise os_error(
            errno.ENETDOWN,
            f"interface {interface.name} went down while {format_address(address)} was checked",
        )
    if mac:
        raise in_use(interface, address, mac)


def in_use(interface: Interface, address: bytes, mac: bytes) -> OSError:
    """That another host has `address`."""
    where = f"{mac.hex(':')} on {interface.name} has {format_address(address)}"
    return os_error(errno.EADDRINUSE, where)
