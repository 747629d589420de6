"""The interfaces of a stack: how they come and go, and with them the addresses; and who is told."""

from __future__ import annotations

import asyncio
import errno
import math
import random
from collections.abc import Callable, Iterable

from asyncstack.config import StackConfig
from asyncstack.counters import Counters
from asyncstack.errors import os_error
from asyncstack.events import AddressAdded, AddressRemoved, Event, InterfaceDown, InterfaceUp
from asyncstack.link.device import Device
from asyncstack.link.interface import Interface
from asyncstack.network.addresses import (
    AddressTable,
    InterfaceAddress,
    Origin,
    format_address,
    parse_address,
    parse_interface,
)
from asyncstack.network.ipv4 import Ipv4
from asyncstack.network.ipv6 import Ipv6
from asyncstack.network.ndp import Ndp
from asyncstack.network.routing import RoutingTable
from asyncstack.timing import Clock
from asyncstack.transport.ping import Ping
from asyncstack.transport.tcp.layer import TcpLayer
from asyncstack.transport.udp.layer import UdpLayer
from asyncstack.wire.ethernet import ETHERTYPE_IPV4, ETHERTYPE_IPV6


class Interfaces:
    """What a stack does for its interfaces. `Stack` provides the attributes."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    config: StackConfig
    counters: Counters
    interfaces: list[Interface]
    addresses: AddressTable
    routes: RoutingTable
    ipv4: Ipv4
    ipv6: Ipv6
    ndp: Ndp
    tcp: TcpLayer
    udp: UdpLayer
    _rng: random.Random
    _ping: Ping
    _subscribers: list[Callable[[Event], None]]
    _closing: list[asyncio.Task[None]]

    def _check_open(self) -> None:
        raise NotImplementedError

    async def add_interface(
        self,
        device: Device,
        addresses: Iterable[str] = (),
        gateway: str | Iterable[str] | None = None,
        *,
        name: str | None = None,
    ) -> Interface:
        """Open `device` and give it `addresses` ("10.9.0.2/24", also IPv6), and a default route by `gateway`.

        Raises OSError with what is missing (a capability, /dev/net/tun), ValueError for what is no address.
        """
        self._check_open()
        parsed = [parse_interface(text) for text in addresses]  # complain before the device is open
        await device.open(self.loop)
        try:
            self._check_open()  # the stack may have been closed meanwhile
            return self._attach(device, parsed, gateway, name)
        except BaseException:
            await device.close()
            raise

    def attach(
        self,
        device: Device,
        addresses: Iterable[str] = (),
        gateway: str | Iterable[str] | None = None,
        *,
        name: str | None = None,
    ) -> Interface:
        """`add_interface` for a device that is open already, or needs no opening."""
        self._check_open()
        return self._attach(device, [parse_interface(text) for text in addresses], gateway, name)

    def _attach(
        self,
        device: Device,
        addresses: list[tuple[bytes, int]],
        gateway: str | Iterable[str] | None,
        name: str | None,
    ) -> Interface:
        index = 1 + max((interface.index for interface in self.interfaces), default=0)
        interface = Interface(
            name or device.name or f"if{index}",
            index,
            device,
            loop=self.loop,
            clock=self.clock,
            counters=self.counters,
            rng=self._rng,
            neighbor_limit=self.config.neighbor_limit,
        )
        interface.handlers[ETHERTYPE_IPV4] = self.ipv4.receive
        interface.handlers[ETHERTYPE_IPV6] = self.ipv6.receive
        interface.on_unsent = self._report_unsent
        interface.link.is_broadcast = lambda address: self.addresses.is_broadcast(address, interface)
        self.ndp.attach(interface)
        device.on_down = lambda error: self._device_down(interface, error)
        self.interfaces.append(interface)
        interface.start()  # before the addresses, which the link announces
        try:
            entries = [self._add(interface, address, length) for address, length in addresses]
            for one in [gateway] if isinstance(gateway, str) else gateway or ():
                hop = parse_address(one)
                self.routes.add(bytes(len(hop)), 0, interface, hop)
        except BaseException:
            self._forget(interface)
            raise
        self._tell(InterfaceUp(interface))
        for entry in entries:
            self._tell(AddressAdded(entry))
        return interface

    def _report_unsent(self, packet: memoryview, interface: Interface) -> None:
        (self.ipv4 if packet[0] >> 4 == 4 else self.ipv6).report_unsent(packet, interface)

    async def remove_interface(self, interface: Interface) -> None:
        """Take `interface` down and close its device. Its connections end with ENETDOWN."""
        self._interface_down(interface, None)
        await interface.device.close()

    def _device_down(self, interface: Interface, error: OSError) -> None:
        closing = self.loop.create_task(interface.device.close())
        self._closing.append(closing)
        closing.add_done_callback(self._closing.remove)
        self._interface_down(interface, error)

    def _interface_down(self, interface: Interface, error: OSError | None) -> None:
        if interface not in self.interfaces:
            return
        self._forget(interface)
        down = error or os_error(errno.ENETDOWN, f"interface {interface.name} was removed")
        self.tcp.interface_down(interface, down)
        self.udp.interface_down(interface, down)
        self._ping.interface_down(interface, down)
        self._tell(InterfaceDown(interface, error))

    def _forget(self, interface: Interface) -> None:
        self.interfaces.remove(interface)
        interface.stop()
        self.routes.remove_interface(interface)
        self.addresses.remove_interface(interface)

    # addresses

    def add_address(
        self,
        interface: Interface,
        address: bytes,
        prefix_length: int,
        *,
        origin: Origin = Origin.STATIC,
        preferred_until: float = math.inf,
        on_link: bool = True,
    ) -> InterfaceAddress:
        """Make `address` ours on `interface`, at once; `on_link`: with the route to its network.

        origin: who gave it. preferred_until: clock seconds, after which it is used for new connections only if there is
        no other (RFC 4862 5.5.4); who gave it removes it when its time is up. Raises ValueError, OSError EEXIST.
        """
        entry = self._add(interface, address, prefix_length, origin, preferred_until, on_link)
        self._tell(AddressAdded(entry))
        return entry

    def _add(
        self,
        interface: Interface,
        address: bytes,
        prefix_length: int,
        origin: Origin = Origin.STATIC,
        preferred_until: float = math.inf,
        on_link: bool = True,
    ) -> InterfaceAddress:
        entry = self.addresses.add(
            address, prefix_length, interface, origin=origin, preferred_until=preferred_until
        )
        if on_link and (interface.device.ethernet or prefix_length < 8 * len(address)):
            try:
                entry.route = self.routes.add(address, prefix_length, interface)
            except FileExistsError:
                pass  # another address of ours is on that network already
        interface.link.add_address(address, self.clock())
        return entry

    async def check_address(self, interface: Interface, address: bytes) -> None:
        """Return once nobody on the link of `interface` seems to have `address`, which is not ours yet: how often to
        ask, and thus how long it takes, is in `StackConfig` (dad_transmits, ipv4_conflict_probes).

        Raises OSError EADDRINUSE that names the MAC that has it.
        """
        if interface.device.ethernet:
            await (self._check_ipv4 if len(address) == 4 else self._check_ipv6)(interface, address)

    async def _check_ipv4(self, interface: Interface, address: bytes) -> None:
        """RFC 5227 2.1.1."""

    async def _check_ipv6(self, interface: Interface, address: bytes) -> None:
        """RFC 4862 5.4."""

    def remove_address(self, address: bytes, error: OSError | None = None) -> None:
        """Give `address` up. Its connections end with `error`, or EADDRNOTAVAIL.

        Raises OSError EADDRNOTAVAIL if it is not ours.
        """
        entry = self.addresses.remove(address)
        entry.interface.link.remove_address(address)
        if entry.route is not None:
            self._hand_on(entry)
        lost = error or os_error(errno.EADDRNOTAVAIL, f"{format_address(address)} was removed")
        self.tcp.address_removed(address, lost)
        self.udp.address_removed(address, lost)
        self._tell(AddressRemoved(entry, error))

    def _hand_on(self, entry: InterfaceAddress) -> None:
        """The route to the network of an address that is gone: another address there keeps it, or it goes too."""
        assert entry.route is not None
        for other in self.addresses.of(entry.interface, len(entry.address)):
            if other.prefix_length == entry.prefix_length and entry.covers(other.address):
                other.route = other.route or entry.route
                return
        if entry.route in self.routes.routes():
            self.routes.remove(entry.route)

    # what happens

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Have `callback(event)` called for what happens to interfaces and addresses. Returns what ends that."""
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe

    def _tell(self, event: Event) -> None:
        for callback in list(self._subscribers):
            self.loop.call_soon(callback, event)
