"""The interfaces of a stack: how they come and go, and with them the addresses; and who is told."""

from __future__ import annotations

import asyncio
import errno
import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from asyncstack.config import StackConfig
from asyncstack.counters import Counters
from asyncstack.errors import os_error
from asyncstack.events import (
    AddressAdded,
    AddressConflict,
    AddressRemoved,
    Event,
    InterfaceDown,
    InterfaceUp,
    LinkDown,
    LinkUp,
)
from asyncstack.link.claims import DEFEND_INTERVAL
from asyncstack.link.device import Device
from asyncstack.link.interface import Interface
from asyncstack.network.addresses import (
    AddressTable,
    InterfaceAddress,
    Origin,
    format_address,
    is_link_local,
    parse_address,
    parse_own,
)
from asyncstack.network.ipv4 import Ipv4
from asyncstack.network.ipv6 import Ipv6
from asyncstack.network.ndp import Ndp
from asyncstack.network.redirects import Redirects
from asyncstack.network.routing import RoutingTable
from asyncstack.sources import Configuration, Source, make_source, parse_addresses
from asyncstack.timing import Clock
from asyncstack.transport.probes import Probes
from asyncstack.transport.tcp.layer import TcpLayer
from asyncstack.transport.udp.layer import UdpLayer
from asyncstack.wire.ethernet import ETHERTYPE_IPV4, ETHERTYPE_IPV6

CONFIGURE_SECONDS: Final = 30.0  # DHCP alone may ask four times in that time


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
    redirects: Redirects
    secret: bytes
    tcp: TcpLayer
    udp: UdpLayer
    _rng: random.Random
    _probes: Probes
    _subscribers: list[Callable[[Event], None]]
    _closing: list[asyncio.Task[None]]
    _indices: Iterator[int]
    _configurations: dict[Interface, Configuration]
    _rechecks: dict[Interface, asyncio.Task[None]]  # of addresses, since a link is back

    def _check_open(self) -> None:
        raise NotImplementedError

    async def add_interface(
        self,
        device: Device,
        addresses: Iterable[str] = (),
        gateway: str | Iterable[str] | None = None,
        *,
        name: str | None = None,
        timeout: float = CONFIGURE_SECONDS,
        wait: bool = True,
    ) -> Interface:
        """Open `device`, give it `addresses`, and a default route by `gateway`; return when it has all of them.

        addresses: "10.9.0.2/24", also IPv6, and words for where more come from: "dhcp4", "slaac", "dhcp6", "link-local"
        (`asyncstack.sources`), all of them at once. An IPv6 address that somebody else on the link has is refused, an
        IPv4 one if `StackConfig.ipv4_conflict_probes` says to look; else `AddressConflict` tells of it.
        timeout: seconds until every word has given one.
        wait: False: return once the device is open; words that fail tell so (`SourceFailed`), and try on.

        Raises OSError with what is missing (a capability, /dev/net/tun), EADDRINUSE, EALREADY for a device that is an
        interface already, EOPNOTSUPP for a word that needs Ethernet, TimeoutError that says which source waited for
        what; ValueError for what is neither address nor word, for an address without its prefix length, and for a name
        that another interface has. The interface is gone then. Without a name it has its device's, numbered if that is
        taken: "lan", "lan#2".
        """
        self._check_open()
        _check_device(device)
        if timeout <= 0:
            raise ValueError(f"timeout={timeout}: give seconds, more than 0")
        words, own = parse_addresses(addresses)  # complain before the device is open
        hops = _parse_gateway(gateway)
        await device.open(self.loop)
        try:
            self._check_open()  # the stack may have been closed meanwhile
            interface = self._attach(device, name)
        except BaseException:
            await device.close()
            raise
        try:
            given: dict[str, Source] = {", ".join(own) or "gateway": _Given(self, interface, own, hops)}
            found = {word: make_source(word, self, interface, timeout) for word in words}
            configuration = self._configurations[interface] = Configuration(
                interface, given | found, self._tell
            )
            if wait:
                await configuration.start()
            else:
                configuration.start_in_background()
        except BaseException:
            await self.remove_interface(interface)
            raise
        return interface

    def attach(
        self,
        device: Device,
        addresses: Iterable[str] = (),
        gateway: str | Iterable[str] | None = None,
        *,
        name: str | None = None,
    ) -> Interface:
        """`add_interface` for a device that is open already, or needs no opening. It waits for nothing: addresses are
        used, and announced, unchecked. Raises ValueError as that does, and for a word, which needs waiting."""
        self._check_open()
        _check_device(device)
        words, own = parse_addresses(addresses)
        if words:
            raise ValueError(f"attach() can not wait for {', '.join(words)}: use `await add_interface()`")
        hops = _parse_gateway(gateway)
        interface = self._attach(device, name)
        try:
            self._give(interface, own, hops)
        except BaseException:
            self._interface_down(interface, None)
            raise
        return interface

    def _attach(self, device: Device, name: str | None) -> Interface:
        index = next(self._indices)
        interface = Interface(
            self._free_name(name, device.name or f"if{index}"),
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
        interface.link.on_conflict = lambda *conflict: self._tell_conflict(interface, *conflict)
        self.ndp.attach(interface)
        device.on_down = lambda error: self._device_down(interface, error)
        device.on_link = lambda up: self._link_changed(interface, up)
        self.interfaces.append(interface)
        interface.start()
        self._tell(InterfaceUp(interface))
        return interface

    def _free_name(self, wished: str | None, usual: str) -> str:
        """`wished`, or else `usual`, with a number behind it if there is an interface of that name."""
        taken = {interface.name for interface in self.interfaces}
        if wished in taken:
            raise ValueError(f"name={wished!r}: there is an interface of that name, {self!r}")
        numbered = (f"{usual}#{number}" for number in itertools.count(2))
        return wished or (usual if usual not in taken else next(one for one in numbered if one not in taken))

    def _give(self, interface: Interface, addresses: Iterable[str], hops: Iterable[bytes]) -> None:
        """Addresses that nobody else has, and default routes by `hops`, which may be on their network."""
        own = [parse_own(text) for text in addresses]
        # a link-local address first: then none has to be made
        for address, length in sorted(own, key=lambda one: not is_link_local(one[0])):
            self.add_address(interface, address, length)
        for hop in hops:
            self.routes.add(bytes(len(hop)), 0, interface, hop)

    def _report_unsent(self, packet: memoryview, interface: Interface) -> None:
        (self.ipv4 if packet[0] >> 4 == 4 else self.ipv6).report_unsent(packet, interface)

    async def remove_interface(self, interface: Interface) -> None:
        """Take `interface` down and close its device. Its connections end with ENETDOWN; what it was lent (DHCP) is
        given back, for at most `StackConfig.close_timeout` seconds."""
        try:
            if interface in self.interfaces:
                # not the ports that sources speak from
                self.tcp.interface_down(interface, _removed(interface))
                await self._end_sources(interface)
        finally:
            self._interface_down(interface, None)
            await interface.device.close()

    async def _end_sources(self, interface: Interface) -> None:
        configuration = self._configurations.get(interface)
        if configuration is not None:
            try:
                await configuration.stop(self.config.close_timeout)
            finally:
                self._configurations.pop(interface, None)

    def _device_down(self, interface: Interface, error: OSError) -> None:
        self._interface_down(interface, error)
        closing = self.loop.create_task(self._end_interface(interface))
        self._closing.append(closing)
        closing.add_done_callback(self._closing.remove)

    async def _end_interface(self, interface: Interface) -> None:
        """What is left of an interface that is down."""
        try:
            await self._end_sources(interface)
        finally:
            await interface.device.close()

    def _interface_down(self, interface: Interface, error: OSError | None) -> None:
        if interface not in self.interfaces:
            return
        self.interfaces.remove(interface)
        self._end_recheck(interface)
        self.addresses.remove_interface(interface)  # which tells routers, before the link is gone
        interface.stop()
        self.ndp.detach(interface)
        self.redirects.remove_interface(interface)
        self.routes.remove_interface(interface)
        self._end_connections(interface, error or _removed(interface))
        self._tell(InterfaceDown(interface, error))

    def _end_connections(self, interface: Interface, error: OSError) -> None:
        self.tcp.interface_down(interface, error)
        self.udp.interface_down(interface, error)
        self._probes.interface_down(interface, error)

    def _link_changed(self, interface: Interface, up: bool) -> None:
        """Nothing ends with the link: connections wait until they have waited too long (`TcpConfig.user_timeout`), or
        until their address goes, because its time is up or because a source finds another network than before."""
        if interface.running == up or interface not in self.interfaces:
            return
        interface.running = up
        self._tell(LinkUp(interface) if up else LinkDown(interface))
        self._end_recheck(interface)
        if up:
            from asyncstack.autoconf.rechecking import recheck

            interface.link.forget_neighbors()
            self._rechecks[interface] = self.loop.create_task(recheck(self, interface))
            self.addresses.groups.on_unheard(interface, 0)
        configuration = self._configurations.get(interface)
        if configuration is not None:
            configuration.link_changed(up)

    def _end_recheck(self, interface: Interface) -> None:
        recheck = self._rechecks.pop(interface, None)
        if recheck is not None:
            recheck.cancel()

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
        announce: bool = True,
    ) -> InterfaceAddress:
        """Make `address` ours on `interface`, at once; `on_link`: with the route to its network; `announce`: tell the
        link.

        origin: who gave it. preferred_until: clock seconds, after which it is used for new connections only if there is
        no other (RFC 4862 5.5.4); who gave it removes it when its time is up. Raises ValueError, OSError EEXIST, and
        ENETDOWN for an interface that is gone.
        """
        if not interface.up:
            text = f"{interface.name} is gone, and takes no {format_address(address)}"
            raise os_error(errno.ENETDOWN, text)
        entry = self.addresses.add(
            address, prefix_length, interface, origin=origin, preferred_until=preferred_until
        )
        if on_link and (interface.device.ethernet or prefix_length < 8 * len(address)):
            try:
                entry.route = self.routes.add(address, prefix_length, interface)
            except FileExistsError:
                pass  # another address of ours is on that network already
        interface.link.add_address(address, self.clock(), announce=announce, yielding=entry.yields)
        self._tell(AddressAdded(entry))
        if len(address) == 16 and interface.device.ethernet:
            self._have_link_local(interface)
        return entry

    def _have_link_local(self, interface: Interface) -> None:
        """Neighbours and routers are spoken to from a link-local address (RFC 4862 5.3). Nobody asks for one that is
        new, so nobody is told."""
        if not any(is_link_local(entry.address) for entry in self.addresses.of(interface, 16)):
            from asyncstack.network.identifiers import LINK_LOCAL_PREFIX

            own = self.own_address(interface, LINK_LOCAL_PREFIX)
            self.add_address(interface, own, 64, origin=Origin.LINK_LOCAL, announce=False)

    def own_address(self, interface: Interface, prefix: bytes, counter: int = 0) -> bytes:
        """The address that this host makes for itself on `interface`, an Ethernet one, in the network with the first 8
        bytes of `prefix`, after `counter` duplicates; as `StackConfig.address_generation` says."""
        from asyncstack.network import identifiers

        mac = bytes(interface.device.address)
        if self.config.address_generation == "eui64":
            return prefix[:8] + identifiers.eui64(mac)
        made = prefix[:8] + identifiers.stable(prefix, mac, self.secret, counter)
        owner = self.addresses.local.get(made)
        if owner is None or owner.interface is interface:
            return made
        return self.own_address(interface, prefix, counter + identifiers.IDGEN_RETRIES)  # it has the same MAC

    async def check_address(self, interface: Interface, address: bytes) -> None:
        """Return once nobody on the link of `interface` seems to have `address`, which is not ours yet: how often to
        ask, and thus how long it takes, is in `StackConfig` (dad_transmits, ipv4_conflict_probes).

        Raises OSError EADDRINUSE that names the MAC that has it.
        """
        if interface.device.ethernet:
            await (self._check_ipv4 if len(address) == 4 else self._check_ipv6)(interface, address)

    async def have_link_local(self, interface: Interface) -> None:
        """Return when `interface` has an IPv6 link-local address that nobody else has (RFC 4862 5.3, 5.4); at once
        where it needs none.

        Raises OSError EADDRINUSE.
        """
        if interface.device.ethernet:
            from asyncstack.autoconf.checking import have_link_local

            await have_link_local(self, interface)

    async def _check_ipv4(self, interface: Interface, address: bytes) -> None:
        if self.config.ipv4_conflict_probes:
            from asyncstack.autoconf.conflicts import check

            await check(interface, address, self.config.ipv4_conflict_probes)

    def _tell_conflict(self, interface: Interface, address: bytes, mac: bytes, lost: bool) -> None:
        entry = self.addresses.local.get(address)
        if entry is None:
            return
        now = self.clock()
        if lost or now - entry.disputed >= DEFEND_INTERVAL:
            entry.disputed = now
            self._tell(AddressConflict(interface, address, mac, lost))
        if lost:
            from asyncstack.autoconf.conflicts import in_use

            self.remove_address(address, in_use(interface, address, mac))

    async def _check_ipv6(self, interface: Interface, address: bytes) -> None:
        """RFC 4862 5.4."""
        from asyncstack.autoconf.checking import check

        await check(self, interface, address)

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


class _Given:
    """The source of those addresses that the caller has given."""

    def __init__(
        self, stack: Interfaces, interface: Interface, addresses: Sequence[str], hops: Sequence[bytes]
    ) -> None:
        self._stack, self._interface = stack, interface
        self._addresses, self._hops = addresses, hops

    async def start(self) -> None:
        stack, interface = self._stack, self._interface
        own = [parse_own(text)[0] for text in self._addresses]
        checks = [stack.check_address(interface, address) for address in own]
        if not any(map(is_link_local, own)) and any(len(address) == 16 for address in own):
            checks.append(stack.have_link_local(interface))
        tasks = [stack.loop.create_task(one) for one in checks]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:  # what one has found ends the others
                task.cancel()
        stack._give(interface, self._addresses, self._hops)

    async def stop(self) -> None:
        pass  # they go with the interface

    def link_down(self) -> None:
        pass

    def link_up(self) -> None:
        pass


def _parse_gateway(gateway: str | Iterable[str] | None) -> list[bytes]:
    return [parse_address(one) for one in ([gateway] if isinstance(gateway, str) else gateway or ())]


def _check_device(device: Device) -> None:
    if not isinstance(device, Device):
        raise TypeError(f"{device!r} is no device: give one, such as TunDevice({str(device)!r})")
    device.check_free()


def _removed(interface: Interface) -> OSError:
    return os_error(errno.ENETDOWN, f"interface {interface.name} was removed")
