"""A simulated network: hosts that are whole stacks, and links between them with delay, loss and the like.

    async with Network(seed=1) as net:
        a, b = net.host("a", "10.0.0.1/24"), net.host("b", "10.0.0.2/24")
        link = net.link(a, b, delay=0.010, loss=0.01, rate=100e6)
        reader, writer = await a.open_connection("b", 80)

It needs no privileges, and runs in real time or, on a `VirtualTimeLoop`, in virtual time; there the same seed gives the
same run, packet for packet.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from asyncstack.config import StackConfig
from asyncstack.stack import Stack
from asyncstack.testing.impairment import LossModel, Rule
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
        self._table: dict[str, list[str]] = {}  # names to addresses, shared by all hosts
        self._unused: dict[str, list[str]] = {}  # addresses of a host that are on no link yet
        self._captures: list[Capture] = []

    def __repr__(self) -> str:
        return (
            f"<Network seed={self.seed} hosts={list(self.hosts)} links={[link.name for link in self.links]}>"
        )

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
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def host(self, name: str, *addresses: str, config: StackConfig | None = None) -> Stack:
        """A host: a `Stack` that can be used at once. Every host knows the others by name.

        `addresses` ("10.0.0.1/24", also IPv6) come into use with the link to a host on the same network.
        Raises ValueError for a name that is taken or what is no address.
        """
        key = name.lower()
        if key in self._table:
            raise ValueError(f"the network has a host {name!r} already")
        for address in addresses:
            ipaddress.ip_interface(address)
        stack = Stack(config or self._config, name=name, hosts=self._table, seed=f"{self.seed}/{name}/stack")
        self.hosts[name] = stack
        self._table[key] = [address.partition("/")[0] for address in addresses]
        self._unused[name] = list(addresses)
        return stack

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

    def capture(self, path: str | os.PathLike[str]) -> Capture:
        """A capture, for `async with`, of all links, also later ones: what the first host of each sends and gets."""
        from asyncstack.link.capture import Capture

        capture = Capture(path)
        for link in self.links:
            capture.attach(link.ends[0])
        self._captures.append(capture)
        return capture

    def _name_link(self, a: Stack, b: Stack) -> str:
        for host in (a, b):
            if self.hosts.get(host.name) is not host:
                raise ValueError(f"{host!r} is no host of this network: make it with net.host()")
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
