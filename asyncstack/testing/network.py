"""A simulated network: hosts that are whole stacks, and links between them with delay, loss and the like.

    async with Network(seed=1) as net:
        a, b = net.host("a", "10.0.0.1/24"), net.host("b", "10.0.0.2/24")
        link = net.link(a, b, delay=0.010, loss=0.01, rate=100e6)
        reader, writer = await a.open_connection("b", 80)

        lan = net.lan("office", c, delay=0.0005)  # a switch, for as many hosts as there are
        await net.host("pc").add_interface(lan.port(), ["dhcp4", "slaac"])  # if c runs the servers

It needs no privileges, and runs in real time or, on a `VirtualTimeLoop`, in virtual time; there the same seed gives the
same run, packet for packet.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import Iterable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from asyncstack.config import StackConfig
from asyncstack.events import AddressAdded, AddressRemoved, Event
from asyncstack.network.addresses import format_address, is_link_local, is_loopback, parse_own
from asyncstack.sources import is_word
from asyncstack.stack import Stack
from asyncstack.testing.impairment import LossModel, Rule
from asyncstack.testing.lan import MAC_LIMIT, Lan
from asyncstack.testing.links import Link

if TYPE_CHECKING:
    import os

    from asyncstack.link.capture import Capture

Addresses = str | Iterable[str]


class Network:
    """Hosts and links. Leaving the `async with` closes all of them.

    seed: makes every random choice, of the links and of the stacks, repeatable. Without one it is the loop's (if that
    has one), or random; `seed` tells which. config: for hosts that are not given their own.
    """

    def __init__(self, seed: int | None = None, *, config: StackConfig | None = None) -> None:
        if seed is None:
            seed = getattr(asyncio.get_running_loop(), "seed", None)
        self.seed: int = random.SystemRandom().getrandbits(32) if seed is None else seed
        self.hosts: dict[str, Stack] = {}
        self.links: list[Link] = []
        self._config = config
        self.lans: dict[str, Lan] = {}
        self._table: dict[str, list[str]] = {}  # names to addresses, shared by all hosts
        self._unused: dict[str, list[str]] = {}  # addresses of a host that are on no link yet
        self._addressed: dict[str, bool] = {}  # whether it was made with addresses
        self._captures: list[Capture] = []

    def __repr__(self) -> str:
        links = [link.name for link in self.links]
        return f"<Network seed={self.seed} hosts={list(self.hosts)} links={links} lans={list(self.lans)}>"

    async def __aenter__(self) -> Network:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all hosts at once, each as `Stack.close` does, then the links."""
        results = await asyncio.gather(
            *(host.close() for host in self.hosts.values()), return_exceptions=True
        )
        for link in self.links:
            await link.close()
        for lan in self.lans.values():
            await lan.close()
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def host(self, name: str, *addresses: str, config: StackConfig | None = None) -> Stack:
        """A host: a `Stack` that can be used at once. Every host knows the others by name.

        `addresses` ("10.0.0.1/24", also IPv6) come into use with the link to a host on the same network, or with a
        LAN; its name also stands for those that it is given there by DHCP or a router. Raises ValueError for a name
        that is taken or what is no address.
        """
        key = name.lower()
        if key in self._table:
            raise ValueError(f"the network has a host {name!r} already")
        for address in addresses:
            if is_word(address):
                raise ValueError(
                    f"{address!r} is no address: where one comes from is said with the interface, "
                    f'`await host.add_interface(lan.port(), ["{address}"])`'
                )
            parse_own(address)
        stack = Stack(config or self._config, name=name, hosts=self._table, seed=f"{self.seed}/{name}/stack")
        self.hosts[name] = stack
        self._table[key] = [address.partition("/")[0] for address in addresses]
        self._unused[name] = list(addresses)
        self._addressed[name] = bool(addresses)
        stack.subscribe(partial(self._name_address, self._table[key]))
        return stack

    @staticmethod
    def _name_address(known: list[str], event: Event) -> None:
        """Have the name of a host stand for the addresses that it is given while it runs."""
        if isinstance(event, (AddressAdded, AddressRemoved)):
            address = event.address.address
            text = format_address(address)
            if isinstance(event, AddressRemoved):
                if text in known:
                    known.remove(text)
            elif text not in known and not is_loopback(address) and not is_link_local(address):
                known.append(text)

    def link(
        self,
        a: Stack,
        b: Stack,
        *,
        delay: float = 0.0,
        jitter: float = 0.0,
        loss: float | LossModel = 0.0,
        rate: float | None = None,
        queue: int | None = None,
        mark: int | None = None,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        reorder_delay: float = 0.001,
        corrupt: float = 0.0,
        rule: Rule | None = None,
        mtu: int = 1500,
        ethernet: bool = False,
        addresses: tuple[Addresses, Addresses] | None = None,
    ) -> Link:
        """Join two hosts. The impairments are those of `Impairments`, for each direction, and can be changed later.

        addresses: for `a` and for `b`; if not given, those of theirs that share a network and are on no link yet.
        mtu: bytes of an IP packet. ethernet: with Ethernet headers and ARP. Raises ValueError.
        """
        name = self._name_link(a, b)
        link = Link(name, loop=a.loop, seed=self.seed, device_names=(name, name), mtu=mtu, ethernet=ethernet)
        link.set(
            delay=delay,
            jitter=jitter,
            loss=loss,
            rate=rate,
            queue=queue,
            mark=mark,
            duplicate=duplicate,
            reorder=reorder,
            reorder_delay=reorder_delay,
            corrupt=corrupt,
            rule=rule,
        )
        if addresses is None:
            ours, theirs = self._common_addresses(a, b)
        else:
            ours, theirs = map(_as_list, addresses)
            self._table[a.name.lower()] += [address.partition("/")[0] for address in ours]
            self._table[b.name.lower()] += [address.partition("/")[0] for address in theirs]
        a.attach(link.ends[0], ours)
        b.attach(link.ends[1], theirs)
        self.links.append(link)
        for capture in self._captures:
            capture.attach(link.ends[0])
        return link

    def lan(
        self,
        name: str,
        *hosts: Stack,
        delay: float = 0.0,
        jitter: float = 0.0,
        loss: float | LossModel = 0.0,
        rate: float | None = None,
        queue: int | None = None,
        mark: int | None = None,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        reorder_delay: float = 0.001,
        corrupt: float = 0.0,
        rule: Rule | None = None,
        mtu: int = 1500,
        mac_limit: int = MAC_LIMIT,
    ) -> Lan:
        """An Ethernet segment for many hosts, with a switch in its middle. `hosts` are on it from the start, with all
        of their addresses that are on no link yet; others come by `host.add_interface(lan.port(), ["dhcp4", …])`.

        The impairments are those of each cable, in each direction; from host to host they are met twice. mtu: bytes of
        an IP packet. mac_limit: MACs that the switch remembers. Raises ValueError.
        """
        if name in self.lans:
            raise ValueError(f"the network has a LAN {name!r} already")
        for host in hosts:
            self._check_host(host)
            if self._addressed[host.name] and not self._unused[host.name]:
                raise ValueError(
                    f"{host.name} has no address left for the LAN {name!r}, all are in use: join it by "
                    f'{host.name}.attach({name}.port(), ["10.0.1.1/24"])'
                )
        lan = Lan(name, loop=asyncio.get_running_loop(), seed=self.seed, mtu=mtu, mac_limit=mac_limit)
        lan.set(
            delay=delay,
            jitter=jitter,
            loss=loss,
            rate=rate,
            queue=queue,
            mark=mark,
            duplicate=duplicate,
            reorder=reorder,
            reorder_delay=reorder_delay,
            corrupt=corrupt,
            rule=rule,
        )
        self.lans[name] = lan
        for capture in self._captures:
            capture.attach(lan)
        for host in hosts:
            addresses, self._unused[host.name] = self._unused[host.name], []
            host.attach(lan.port(host.name), addresses)
        return lan

    def capture(self, path: str | os.PathLike[str]) -> Capture:
        """A capture, for `async with`, of all links and LANs, also later ones: what the first host of a link sends and
        gets, and what the switch of a LAN receives."""
        from asyncstack.link.capture import Capture

        capture = Capture(path)
        for link in self.links:
            capture.attach(link.ends[0])
        for lan in self.lans.values():
            capture.attach(lan)
        self._captures.append(capture)
        return capture

    def _check_host(self, host: Stack) -> None:
        if self.hosts.get(host.name) is not host:
            raise ValueError(f"{host!r} is no host of this network: make it with net.host()")

    def _name_link(self, a: Stack, b: Stack) -> str:
        self._check_host(a)
        self._check_host(b)
        name = f"{a.name}-{b.name}"
        number = sum(link.name.partition("#")[0] == name for link in self.links) + 1
        return name if number == 1 else f"{name}#{number}"

    def _common_addresses(self, a: Stack, b: Stack) -> tuple[list[str], list[str]]:
        """The unused addresses of the two that are on a network of both."""
        ours, theirs = self._unused[a.name], self._unused[b.name]
        common = {network(address) for address in ours} & {network(address) for address in theirs}
        found = tuple([address for address in free if network(address) in common] for free in (ours, theirs))
        if not common:
            raise ValueError(
                f"{a.name} ({', '.join(ours) or 'no address'}) and {b.name} ({', '.join(theirs) or 'no address'}) have "
                'no network in common that is on no link yet: give addresses=("10.0.0.1/24", "10.0.0.2/24")'
            )
        for free, used in zip((ours, theirs), found, strict=True):
            free[:] = [address for address in free if address not in used]
        return found[0], found[1]


def network(address: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The network that "10.0.0.1/24" is on."""
    return ipaddress.ip_interface(address).network


def _as_list(addresses: Addresses) -> list[str]:
    return [addresses] if isinstance(addresses, str) else list(addresses)
