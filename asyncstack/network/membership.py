"""Tells the routers on Ethernet links which groups a stack listens to: by IGMP, by MLD.

It hears of changes from `Groups` and of queries from the IP layers, and imports a protocol when the first of these is
about it: many stacks need none.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asyncstack.network.addresses import AddressTable
from asyncstack.network.groups import SourceFilter
from asyncstack.timing import Clock
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.counters import Counters
    from asyncstack.link.interface import Interface
    from asyncstack.network.errors import IcmpError
    from asyncstack.network.igmp import Igmp
    from asyncstack.network.listeners import Listeners
    from asyncstack.network.mld import Mld
    from asyncstack.wire import icmpv6


class Membership:
    """What a stack tells routers of its groups. The handler of IGMP packets, and of MLD messages (`Icmpv6.mld`)."""

    def __init__(
        self, addresses: AddressTable, *, loop: asyncio.AbstractEventLoop, clock: Clock, counters: Counters
    ) -> None:
        self.addresses = addresses
        self.loop = loop
        self.clock = clock
        self.counters = counters
        self._igmp: Igmp | None = None
        self._mld: Mld | None = None
        addresses.groups.on_change = self._changed
        addresses.groups.on_unheard = self._unheard
        addresses.groups.on_gone = self._gone

    async def receive(self, packet: Packet) -> None:
        """An IGMP packet."""
        if packet.interface.device.ethernet:
            self._ipv4().receive(packet)

    def receive_error(self, error: IcmpError) -> bool:
        """Nobody answers what goes to a group of routers."""
        return False

    def receive_mld(self, packet: Packet, message: icmpv6.Message) -> None:
        """An MLD message; its checksum was right."""
        if packet.interface.device.ethernet:
            self._ipv6().receive(packet, message)

    def _changed(self, group: bytes, interface: Interface, before: SourceFilter, after: SourceFilter) -> None:
        if interface.device.ethernet:
            listeners: Listeners = self._ipv4() if len(group) == 4 else self._ipv6()
            listeners.changed(group, interface, before, after)

    def _unheard(self, interface: Interface, size: int) -> None:
        if self._igmp is not None and size != 16:
            self._igmp.restate(interface)
        if self._mld is not None and size != 4:
            self._mld.restate(interface)

    def _gone(self, interface: Interface) -> None:
        for listeners in (self._igmp, self._mld):
            if listeners is not None:
                listeners.forget(interface)

    def _ipv4(self) -> Igmp:
        if self._igmp is None:
            from asyncstack.network.igmp import Igmp

            self._igmp = Igmp(self)
        return self._igmp

    def _ipv6(self) -> Mld:
        if self._mld is None:
            from asyncstack.network.mld import Mld

            self._mld = Mld(self)
        return self._mld
