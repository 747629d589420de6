"""A TAP: the kernel's interface whose other end is a file descriptor, at the level of Ethernet frames."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Sequence
from typing import ClassVar

from asyncstack.link.address import parse_mac, random_mac
from asyncstack.link.attach import IFF_TAP
from asyncstack.link.kernel import interface_mac
from asyncstack.link.tuntap import TunTapDevice


class TapDevice(TunTapDevice):
    """Ethernet frames to and from the kernel. Arguments as for `TunDevice`, and:

    address: our Ethernet address, as text or 6 bytes; a random one if not given (from `rng`, else from the
    system). The kernel's side has another one of its own.
    """

    kind: ClassVar[int] = IFF_TAP
    ethernet = True

    def __init__(
        self,
        name: str = "",
        *,
        peer: str | Sequence[str] | None = None,
        mtu: int = 1500,
        offload: bool = True,
        fd: int | None = None,
        address: str | bytes | None = None,
        rng: random.Random | None = None,
    ) -> None:
        super().__init__(name, peer=peer, mtu=mtu, offload=offload, fd=fd)
        self.address = random_mac(rng) if address is None else parse_mac(address)

    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """As `TunDevice.open`; EADDRINUSE if `address` is the one of the kernel's side."""
        await super().open(loop)
        if interface_mac(self.name) == self.address:
            await self.close()
            raise OSError(
                errno.EADDRINUSE, f"{self.name}: the kernel's side has the address {self.address.hex(':')}"
            )
