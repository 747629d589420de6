"""`DnsServer`: a nameserver on a stack, over UDP and TCP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol

from asyncstack.application.datagrams import Asker, Datagrams
from asyncstack.application.dns.elsewhere import Answer, Elsewhere
from asyncstack.application.dns.queries import REFUSED, SERVFAIL, Asked, build_answer, parse_query
from asyncstack.application.dns.rdata import Entry
from asyncstack.application.dns.resolver import Resolver
from asyncstack.application.dns.streams import Reply, Stream
from asyncstack.application.dns.zone import TTL, Found, Zone
from asyncstack.application.dns.zones import Zones
from asyncstack.application.host import Host as StackHost
from asyncstack.config import DnsConfig, check_servers
from asyncstack.names import Host, Hosts

PORT: Final = 53


class DnsStack(StackHost, Protocol):
    """What a server needs of a `Stack`."""

    @property
    def resolver(self) -> Resolver:
        """See `Stack.resolver`."""

    async def create_server(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: Host = None, port: int | None = None
    ) -> Any:
        """See `Calls.create_server`."""


@dataclass(slots=True, kw_only=True)
class ServerLimits:
    """What a server's clients may cost it."""

    clients: int = 256  # connections; one more takes the place of the one that was silent longest
    idle_time: float = 10.0  # seconds without a query, then a connection is closed (RFC 7766 6.2.3)
    waiting: int = 256  # queries that wait for `answer` or an upstream; one more fails
    answer_time: float = 10.0  # seconds that `answer` may take, then the query fails
    payload: int = 1232  # bytes of a datagram, RFC 9715
    names: int = 65536  # registered at run time


class DnsServer:
    """A nameserver for the zones given, from `async with` until its end.

        async with DnsServer(stack, {"www.example.test": "10.0.0.1", "example.test": "MX 10 www.example.test"}):

    zones: a table as `Zone` has it, whose zones are of the last two labels of its names; or `Zone` objects, which may
    be of a zone file. hosts: names, in lower case, and their addresses, looked into at every question: what is put
    there later counts; `stack.names.table` of a simulated host has all hosts of its network. These, and names that are
    registered, are answered both ways: of an address too; a zone only with PTR records that it has.

    What is in no zone goes to `answer(question)`, a coroutine that returns what a table may have for the name, or None
    for what it does not know, or raises `DnsError`; then, if the client wants it, to the `upstreams`, addresses of
    nameservers; and is refused else. Answers of upstreams are remembered.

    host, port: where it listens, None or "::": on all addresses. An answer leaves from the address that was asked.
    """

    def __init__(
        self,
        stack: DnsStack,
        zones: Mapping[str, Entry] | Iterable[Zone] = (),
        *,
        hosts: Hosts | None = None,
        answer: Answer | None = None,
        upstreams: Sequence[str] = (),
        host: Host = None,
        port: int = PORT,
        limits: ServerLimits | None = None,
    ) -> None:
        self.limits = limits or ServerLimits()
        self.zones = Zones(zones, hosts, limit=self.limits.names)
        self._stack = stack
        check_servers("upstreams", upstreams)
        self._upstreams = DnsConfig(nameservers=upstreams)
        self._answer = answer
        if not 1 <= port <= 0xFFFF:
            raise ValueError(f"port={port}: clients go to one from 1 to 65535, by UDP and TCP")
        # asyncio takes "::" for both families with datagrams, and for IPv6 alone with connections
        self._where = None if str(host) == "::" else host, port
        self._streams: dict[Stream, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._resolver: Resolver | None = None
        self._ends: list[Any] = []

    def __repr__(self) -> str:
        return f"<DnsServer port {self._where[1]}>"

    # its life

    async def __aenter__(self) -> DnsServer:
        """Raises OSError EADDRINUSE, EADDRNOTAVAIL."""
        stack, (host, port) = self._stack, self._where
        if self._upstreams.nameservers:
            self._resolver = stack.resolver.like(self._upstreams)
        self._elsewhere = Elsewhere(self._answer, self._resolver, self.zones, self.limits.answer_time)
        try:
            transport, _ = await stack.create_datagram_endpoint(
                lambda: Datagrams(self._receive_datagram), ("::" if host is None else host, port)
            )
            self._ends.append(transport)
            self._ends.append(await stack.create_server(self._accept, host, port))
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Answer no more; what waits for others is given up."""
        for end in self._ends:
            end.close()
        self._ends.clear()
        for stream in list(self._streams):  # before its queries end, which would make room for more
            stream.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None
        await asyncio.sleep(0)

    # names that come and go

    def register(self, name: str, address: str, *, ttl: int = TTL) -> None:
        """Answer with `address` for `name`, and with `name` for the address; a name may have several. If it is in no
        zone yet, there is one of its last two labels from now on.

        Raises ValueError for what is no name or address; OSError EEXIST if a zone has records of that name, ENOSPC if
        `limits.names` are registered.
        """
        self.zones.register(name, address, ttl)

    def unregister(self, name: str, address: str) -> None:
        """Undo `register`; nothing happens if it was not done. Raises ValueError."""
        self.zones.unregister(name, address)

    # queries

    def _accept(self) -> Stream:
        self._stack.counters["dns.server_clients"] += 1
        if len(self._streams) >= self.limits.clients:
            next(iter(self._streams)).abort()
        return Stream(
            self._receive_message, self._streams, clock=self._stack.clock, idle=self.limits.idle_time
        )

    def _receive_datagram(self, data: bytes, asker: Asker) -> None:
        self._receive(data, asker.reply, stream=False)

    def _receive_message(self, data: bytes, reply: Reply) -> None:
        self._receive(data, reply, stream=True)

    def _receive(self, data: bytes, reply: Reply, *, stream: bool) -> None:
        """Each call leads to one of `reply`, with b"" where nothing is to be said."""
        asked = parse_query(data, stream=stream, payload=self.limits.payload)
        self._stack.counters["dns.server_queries"] += 1
        if not isinstance(asked, Asked):
            self._stack.counters["dns.server_malformed"] += 1
            reply(asked or b"")
            return
        if asked.foreign:
            reply(self._build(asked, Found(REFUSED, authoritative=False)))
            return
        found = self.zones.find(asked.name, asked.kind)
        if found is not None and found.alias is None:
            reply(self._build(asked, found))
        elif not self._elsewhere.knows(asked):
            reply(self._build(asked, found or Found(REFUSED, authoritative=False)))
        elif len(self._tasks) >= self.limits.waiting:
            self._stack.counters["dns.server_overload"] += 1
            reply(self._build(asked, Found(SERVFAIL, authoritative=False)))
        else:
            task = self._stack.loop.create_task(self._complete(asked, found, reply))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _complete(self, asked: Asked, found: Found | None, reply: Reply) -> None:
        """Answer with what others know."""
        try:
            answer = self._build(asked, await self._elsewhere.find(asked, found))
        except asyncio.CancelledError:
            reply(b"")
            raise
        except Exception as exc:
            self._stack.loop.call_exception_handler(
                {"message": f"{self!r}: the answer for {asked.question} failed", "exception": exc}
            )
            answer = self._build(asked, Found(SERVFAIL, authoritative=False))
        reply(answer)

    def _build(self, asked: Asked, found: Found) -> bytes:
        return build_answer(
            asked,
            found,
            self.zones.additional(found),
            payload=self.limits.payload,
            recursion=self._resolver is not None,
        )
