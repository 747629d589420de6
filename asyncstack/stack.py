"""`Stack`: the composition root. Owns the layers, the interfaces and their end."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, aclosing
from functools import cached_property
from itertools import count
from socket import AF_INET, AF_INET6, AF_UNSPEC, SOCK_STREAM
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from asyncstack.addrinfo import AddressInfo, AddrInfo
from asyncstack.calls import Calls
from asyncstack.config import StackConfig
from asyncstack.counters import Counters
from asyncstack.events import Event
from asyncstack.interfaces import Interfaces
from asyncstack.link.interface import Interface
from asyncstack.link.loopback import LoopbackDevice
from asyncstack.loop.choosing import Stacks, standing_on
from asyncstack.names import Host, Hosts, Names
from asyncstack.nameservers import Nameservers
from asyncstack.network.addresses import AddressTable, is_of_a_link
from asyncstack.network.icmp import Icmp
from asyncstack.network.icmpv6 import Icmpv6
from asyncstack.network.ipv4 import Ipv4
from asyncstack.network.ipv6 import Ipv6
from asyncstack.network.membership import Membership
from asyncstack.network.ndp import Ndp
from asyncstack.network.redirects import Redirects
from asyncstack.network.routing import Path, RoutingTable
from asyncstack.sources import Configuration
from asyncstack.timing import clock_of
from asyncstack.transport.context import TransportContext
from asyncstack.transport.ping import Ping, PingReply
from asyncstack.transport.probes import Probes
from asyncstack.transport.sockets.base import StackSocket
from asyncstack.transport.sockets.datagrams import DatagramSocket
from asyncstack.transport.sockets.making import make_socket
from asyncstack.transport.sockets.stream import StreamSocket
from asyncstack.transport.tcp.congestion import CongestionControl
from asyncstack.transport.tcp.layer import TcpLayer
from asyncstack.transport.tcp.server import Server
from asyncstack.transport.udp.layer import UdpLayer
from asyncstack.wire.ipv4 import PROTOCOL_IGMP

if TYPE_CHECKING:
    from asyncstack.application.dns.resolver import Resolver
    from asyncstack.transport.tcp.info import TcpInfo
    from asyncstack.transport.traceroute import Hop, Method
    from asyncstack.watching import ConnectionWatch, EventStream

IpT = TypeVar("IpT", Ipv4, Ipv6)


class Stack(Interfaces, Calls):
    """A TCP/IP stack on the running event loop, with its own addresses.

    Made inside a coroutine; `async with` ends it: listeners close, connections end gracefully within
    `config.close_timeout` seconds and then by RST, devices are closed. `hosts` maps names to addresses.
    `seed` makes every random choice repeatable (simulation only; real stacks leave it None).

    `interfaces` is the list of them, loopback first; `addresses.of(interface, 4)` what one has of IPv4, 16: of IPv6
    (`str` of each is "10.0.0.2/24"); `routes.routes()` the routes; `counters` what was counted, by name.
    """

    def __init__(
        self,
        config: StackConfig | None = None,
        *,
        name: str = "",
        hosts: Hosts | None = None,
        seed: int | str | None = None,
    ) -> None:
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError("Stack() needs a running event loop: make it inside a coroutine") from None
        self.config = StackConfig() if config is None else config
        self.name = name
        self.counters = Counters()
        self.clock = clock = clock_of(self.loop)
        self._rng = rng = random.SystemRandom() if seed is None else random.Random(seed)
        own = os.urandom(16) if seed is None else f"{seed}".encode()
        self.secret = self.config.stable_secret or own  # see network/identifiers.py
        self.interfaces: list[Interface] = []
        self.servers: dict[Server, None] = {}
        self._sockets: dict[StackSocket, None] = {}
        self._subscribers: list[Callable[[Event], None]] = []
        self._closing: list[asyncio.Task[None]] = []  # of devices that died
        self._indices = count(1)  # none has that of one before it: a scope means one link
        self._configurations: dict[Interface, Configuration] = {}
        self._rechecks: dict[Interface, asyncio.Task[None]] = {}
        self._end: asyncio.Future[None] | None = None  # since close() was called
        self.addresses = AddressTable(clock)
        groups = self.addresses.groups
        groups.on_join = lambda group, interface: interface.link.join(group)
        groups.on_leave = lambda group, interface: interface.link.leave(group)
        self.routes = RoutingTable(self.addresses)
        self.routes.hop_limit = self.config.ttl
        self.names = Names(hosts, self.routes.by_preference)
        self._address_info = AddressInfo(self.names, self.addresses, self.interfaces)
        self.ipv4 = self._ip(Ipv4)
        self.ipv6 = self._ip(Ipv6)
        self.ipv6.flow_labels.automatic = self.config.auto_flow_labels
        self.redirects = Redirects(self.routes, self.counters)
        heeded = self.redirects if self.config.accept_redirects else None
        self.icmp = Icmp(self.ipv4, errors_per_second=self.config.icmp_errors_per_second, redirects=heeded)
        self.icmpv6 = Icmpv6(self.ipv6, errors_per_second=self.config.icmp_errors_per_second)
        self.ndp = self.icmpv6.ndp = Ndp(clock=clock, counters=self.counters, redirects=heeded)
        membership = Membership(self.addresses, loop=self.loop, clock=clock, counters=self.counters)
        self.ipv4.register(PROTOCOL_IGMP, membership)
        self.icmpv6.mld = membership
        self._probes = Probes(clock)
        context = TransportContext(
            self.loop,
            clock,
            self.config,
            self.counters,
            rng,
            self.addresses,
            self.routes,
            self.ipv4,
            self.ipv6,
            self.interfaces,
            self._probes,
        )
        self.udp = UdpLayer(context)
        self.tcp = TcpLayer(context)
        self._nameservers = Nameservers()
        self._dns_changed()
        self._ping = Ping(context, self.icmp, self.icmpv6)
        self.routes.loopback = self.attach(LoopbackDevice(), ["127.0.0.1/8", "::1/128"], name="lo")
        self._neighbors: Stacks | None = getattr(self.loop, "stacks", None)  # on a loop that routes
        if self._neighbors is not None:
            self._neighbors.add(self)

    def _ip(self, family: type[IpT]) -> IpT:
        config = self.config
        return family(
            self.addresses,
            self.routes,
            loop=self.loop,
            clock=self.clock,
            counters=self.counters,
            rng=self._rng,
            ttl=config.ttl,
            fragment_datagrams=config.fragment_datagrams,
            fragment_bytes=config.fragment_bytes,
        )

    def __repr__(self) -> str:
        return f"<Stack {self.name or hex(id(self))} {self.interfaces}>"

    async def __aenter__(self) -> Stack:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # what happens

    @cached_property
    def _watch(self) -> ConnectionWatch:
        from asyncstack.watching import ConnectionWatch

        return ConnectionWatch(self.tcp)

    def events(self, limit: int = 1000) -> EventStream:
        """What happens to TCP connections from now on, for `async for`: see `ConnectionEvent` and what derives from it.

        At most `limit` events wait to be read, then the oldest are dropped (and counted, `dropped`). It costs nothing
        while nobody holds a stream, and ends with the stack.
        """
        self._check_open()
        return self._watch.open(limit)

    def connections(self) -> list[TcpInfo]:
        """The numbers and addresses of every TCP connection, in the order they were made."""
        return [endpoint.info() for endpoint in self.tcp.connections.values()]

    def register_congestion(self, kind: type[CongestionControl]) -> None:
        """Let TCP connections of this stack choose `kind`, a class of your own, by its `name`: as
        `TcpConfig.congestion` or by TCP_CONGESTION.

        Raises TypeError for a class that is no controller or lacks a method, ValueError for a name that is missing
        or taken.
        """
        self.tcp.controllers.register(kind)

    # calls beyond asyncio's

    def current(self) -> AbstractContextManager[None]:
        """For `with`: calls of the event loop, one of asyncstack's, are made from this stack where there are more.
        Tasks made inside keep to it."""
        return standing_on(self)

    def socket(
        self, family: int = AF_INET, type: int = SOCK_STREAM, proto: int = 0
    ) -> StreamSocket | DatagramSocket:
        """A socket of this stack with BSD's calls: AF_INET or AF_INET6; SOCK_STREAM (TCP) or SOCK_DGRAM (UDP), with
        SOCK_NONBLOCK if wanted. It ends with `close`, or with the stack.

        Raises OSError EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT.
        """
        self._check_open()
        return make_socket(self.tcp, self.udp, self._sockets, self.names, family, type, proto)

    @cached_property
    def resolver(self) -> Resolver:
        """DNS on this stack, as `StackConfig.dns` says. Made when it is first asked for: most stacks never do."""
        from asyncstack.application.dns.resolver import Resolver

        return Resolver(
            self.socket,
            loop=self.loop,
            clock=self.clock,
            rng=self._rng,
            counters=self.counters,
            config=self._nameservers.merged(self.config.dns),
        )

    def learn_nameservers(
        self,
        source: object,
        servers: Sequence[bytes],
        search: Sequence[str] = (),
        interface: Interface | None = None,
    ) -> None:
        """Ask `servers` (4 or 16 bytes each), and search in the domains `search`, after those of `StackConfig.dns`.

        It takes the place of what `source` has said before. `interface` is where link-local servers are.
        """
        if self._nameservers.learn(source, servers, search, interface):
            self._dns_changed()

    def forget_nameservers(self, source: object) -> None:
        """What `source` has said counts no longer."""
        if self._nameservers.forget(source):
            self._dns_changed()

    def _dns_changed(self) -> None:
        """What was heard from others may be wrong now: another network has other names."""
        config = self._nameservers.merged(self.config.dns)
        self.names.dns = (lambda: self.resolver) if config.nameservers else None
        self._address_info.domains = config.search
        if "resolver" in vars(self):
            self.resolver.config = config
            self.resolver.cache.clear()

    async def getaddrinfo(
        self,
        host: str | bytes | None,
        port: str | bytes | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddrInfo]:
        """The loop's call of this name, with the arguments, results, order and errors of `socket.getaddrinfo`, from
        literals, the hosts table and DNS. Raises socket.gaierror; EAI_AGAIN if no nameserver answered."""
        self._check_open()
        return await self._address_info.getaddrinfo(host, port, family, type, proto, flags)

    async def getnameinfo(self, sockaddr: tuple[Any, ...], flags: int = 0) -> tuple[str, str]:
        """(host, service) of (host, port[, flowinfo, scope_id]): the loop's call of this name, as
        `socket.getnameinfo`. Raises socket.gaierror."""
        self._check_open()
        return await self._address_info.getnameinfo(sockaddr, flags)

    async def ping(
        self,
        host: Host,
        *,
        source: Host = None,
        sequence: int | None = None,
        timeout: float = 1.0,
        size: int = 56,
        ttl: int = 0,
    ) -> PingReply:
        """One ICMP echo of `size` bytes to `host`, with a `ttl` if it is not 0. Raises TimeoutError after `timeout`
        seconds, or UnreachableError, an OSError, for what came back instead; ValueError for numbers that no packet has.
        """
        path = await self._path_to(host, source)
        return await self._ping.ping(path, sequence=sequence, timeout=timeout, size=size, ttl=ttl)

    async def traceroute(
        self,
        host: Host,
        *,
        source: Host = None,
        method: Method = "udp",
        port: int = 0,
        first_ttl: int = 1,
        max_hops: int = 30,
        queries: int = 3,
        timeout: float = 5.0,
    ) -> AsyncIterator[Hop]:
        """The routers on the way to `host`, for `async for`: a `Hop` for each TTL, the last one's `last` is true unless
        `max_hops` was too few. `queries` probes each, 1 to 10; an answer later than `timeout` seconds is None.

        method: "udp" (to `port`, 33434, and on), "icmp" (echo requests) or "tcp" (SYNs to `port`, 80). Up to 16 probes
        are out at a time. Raises OSError without a way there, ValueError.
        """
        from asyncstack.transport.traceroute import Traceroute

        path = await self._path_to(host, source)
        hops = Traceroute(self.tcp.context, self._ping, self.udp, self.tcp).trace(
            path,
            method=method,
            port=port,
            first_ttl=first_ttl,
            max_hops=max_hops,
            queries=queries,
            timeout=timeout,
        )
        async with aclosing(hops):
            async for hop in hops:
                yield hop

    async def _path_to(self, host: Host, source: Host) -> Path:
        self._check_open()
        local = b"" if source is None else (await self.names.lookup(source))[0]
        family = {0: AF_UNSPEC, 4: AF_INET, 16: AF_INET6}[len(local)]
        remote = (await self.names.lookup(host, family))[0]
        self._check_open()  # it may have been closed while a name was asked for
        scope = self.tcp.context.scope(host)
        return self.routes.lookup(remote, local, scope if is_of_a_link(remote) else None)

    # the end

    def _check_open(self) -> None:
        if self._end is not None:
            raise RuntimeError(f"{self!r} is closed")

    async def close(self) -> None:
        """Close listeners and connections, in order within `config.close_timeout` seconds, then by RST; then all.
        What DHCP has lent is given back in between, within as many seconds again.

        Cancelled, it waits no longer but gives back everything all the same. Whoever else calls it waits for the end.
        """
        if self._end is not None:
            await asyncio.shield(self._end)
            return
        self._end = self.loop.create_future()
        if self._neighbors is not None:
            self._neighbors.remove(self)
        try:
            for server in list(self.servers):
                server.close()
            if "resolver" in vars(self):
                await self.resolver.close()
            for sock in list(self._sockets):
                sock.close()
            await self.tcp.drain(self.config.close_timeout)
            if self._configurations:
                await asyncio.gather(*(self._end_sources(one) for one in list(self._configurations)))
        finally:
            await self._release()

    async def _release(self) -> None:
        """End all that is left. What can be done without waiting is done before the first wait."""
        self.udp.close()
        self.tcp.close()
        closing: list[asyncio.Future[None]] = [*self._closing]
        for interface in list(self.interfaces):
            self._interface_down(interface, None)
            closing.append(self.loop.create_task(self._end_interface(interface)))
        self.icmp.close()
        self.ipv4.close()
        self.ipv6.close()
        try:
            await asyncio.sleep(0)  # connection_lost() and events come by call_soon
        finally:
            failures = await asyncio.gather(*closing, return_exceptions=True)
            if "_watch" in vars(self):
                self._watch.close()
            if self._end is not None and not self._end.done():
                self._end.set_result(None)
        for failure in failures:
            if failure is not None:
                raise failure
