"""`Resolver`: questions in, records out; the sockets and the time of `Lookup`, one cache, and one question at a time
for all who ask the same."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import random
import socket
from dataclasses import dataclass
from typing import Final

from asyncstack.application.dns.cache import Cache, Outcome
from asyncstack.application.dns.connections import PORT, Connections, MakeSocket, family_of
from asyncstack.application.dns.errors import DnsError, NoAnswer, NoData, NxDomain, ServerFailure
from asyncstack.application.dns.lookup import Lookup, Query
from asyncstack.application.dns.messages import Question, normalize
from asyncstack.application.dns.records import AAAA, PTR, SRV, TYPES, A, Record, in_order
from asyncstack.config import DnsConfig
from asyncstack.counters import Counters
from asyncstack.errors import os_error
from asyncstack.names import Found
from asyncstack.network.addresses import parse_address
from asyncstack.timing import Clock

LARGEST_DATAGRAM: Final = 65535

_KINDS: Final = {0: ("AAAA", "A"), socket.AF_INET: ("A",), socket.AF_INET6: ("AAAA",)}


@dataclass(slots=True, eq=False)
class _Flight:
    """A question that is being asked, and the number of those who wait for it."""

    result: asyncio.Future[Outcome]
    task: asyncio.Task[None]
    waiters: int = 0


class Resolver:
    """The DNS of one stack. Owned by `Stack`, as `Stack.resolver`.

    `make_socket(family, type)` makes a socket of the stack. `config` may change: what is asked from then on goes by it.
    """

    def __init__(
        self,
        make_socket: MakeSocket,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        rng: random.Random,
        counters: Counters,
        config: DnsConfig,
    ) -> None:
        self.config = config
        self.cache = Cache(config.cache_limit)
        self._make_socket = make_socket
        self._connections = Connections(make_socket, loop, clock)
        self._servers = tuple(config.nameservers)
        self._loop = loop
        self._clock = clock
        self._rng = rng
        self._counters = counters
        self._flights: dict[Question, _Flight] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(config.query_limit)
        self._closed = False

    def like(self, config: DnsConfig) -> Resolver:
        """Another one on the same stack, with a cache of its own, for who has to `close` it."""
        return Resolver(
            self._make_socket,
            loop=self._loop,
            clock=self._clock,
            rng=self._rng,
            counters=self._counters,
            config=config,
        )

    def __repr__(self) -> str:
        return f"<Resolver {', '.join(self.config.nameservers) or 'without nameservers'}>"

    # what is asked

    async def query(self, name: str, type: str = "A") -> list[Record]:
        """The records of `type` ("A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT") of `name`, which is not
        searched for. If `name` is an alias they are those of the name it stands for. SRV records are in the order in
        which to try them (RFC 2782), another one each time.

        Raises NxDomain, NoData, ServerFailure, NoAnswer, all of them socket.gaierror; ValueError for what is no name
        or no such type.
        """
        if type not in TYPES:
            raise ValueError(f"type {type!r}: the resolver knows {', '.join(TYPES)}")
        records = self._records(name, type, await self.find(Question(normalize(name), type)))
        if type == "SRV":
            return [*in_order((record for record in records if isinstance(record, SRV)), self._rng)]
        return list(records)

    async def addresses(self, name: str, family: int = 0) -> Found:
        """The addresses of `name` and its canonical name, IPv6 first, what no route leads to last. A name with fewer
        than `ndots` dots is searched for in the domains of `search` first, another one after that; one that ends in a
        dot is not. Raises `DnsError`."""
        failures: list[DnsError] = []
        for candidate in self._candidates(name):
            try:
                return await self._addresses(candidate, family)
            except (NxDomain, NoData, ServerFailure) as exc:
                failures.append(exc)
        try:
            for kind in (NoData, ServerFailure):
                for failure in failures:
                    if isinstance(failure, kind):
                        raise failure
            raise NxDomain.of(name, "", "there is no such name")
        finally:
            failures.clear()  # their tracebacks hold this frame

    def _candidates(self, name: str) -> list[str]:
        bare = name.rstrip(".")
        searched = [] if name.endswith(".") else [f"{bare}.{domain}" for domain in self.config.search]
        wanted = [bare, *searched] if bare.count(".") >= self.config.ndots else [*searched, bare]
        found: dict[str, None] = {}
        for one in wanted:
            try:
                found[normalize(one)] = None
            except ValueError:
                pass  # too long, with a domain behind it
        return list(found)

    async def _addresses(self, name: str, family: int) -> Found:
        """Both families are asked at once; one that is not answered does not matter if the other is."""
        kinds = _KINDS[family]
        outcomes = await asyncio.gather(*(self.find(Question(name, kind)) for kind in kinds))
        records = [record for outcome in outcomes for record in outcome.records]
        if not records:
            worst = max(outcomes, key=lambda outcome: _GRAVITY.index(outcome.error))
            self._records(name, "/".join(kinds), worst)
        found = [parse_address(one.address) for one in records if isinstance(one, (A, AAAA))]
        return Found(records[0].name, found)

    async def name_of(self, address: bytes) -> str:
        """The name that the zone of `address` has for it. Raises `DnsError`."""
        for record in await self.query(ipaddress.ip_address(address).reverse_pointer, "PTR"):
            if isinstance(record, PTR):
                return record.target
        raise NoData.of(str(ipaddress.ip_address(address)), "PTR", "no record")

    @staticmethod
    def _records(name: str, kind: str, outcome: Outcome) -> tuple[Record, ...]:
        if outcome.error is not None:
            raise outcome.error.of(name, kind, outcome.why)
        return outcome.records

    # one question for all who have it

    async def find(self, question: Question) -> Outcome:
        """From the cache, or from whoever asks it already, or by asking. `question` is of a normalized name and any
        type. Raises OSError(ENETDOWN) once the stack is closed."""
        if self._servers != (servers := tuple(self.config.nameservers)):
            self.cache.clear()  # others may know other names
            self._servers = servers
        known = self.cache.get(question, self._clock())
        if known is not None:
            self._counters["dns.cached"] += 1
            return known
        if self._closed:
            raise os_error(errno.ENETDOWN, "the stack is closed")
        flight = self._flights.get(question)
        if flight is None:
            result = self._loop.create_future()
            task = self._loop.create_task(self._fly(question, result))
            flight = self._flights[question] = _Flight(result, task)
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.result)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.result.done():
                self._land(question, flight)

    def _land(self, question: Question, flight: _Flight) -> None:
        """Nobody waits any more."""
        del self._flights[question]
        self._ending.add(flight.task)
        flight.task.add_done_callback(self._ending.discard)
        flight.task.cancel()

    async def _fly(self, question: Question, result: asyncio.Future[Outcome]) -> None:
        try:
            async with self._slots:
                outcome = await self._ask(question)
        except Exception as exc:
            if not result.done():
                result.set_exception(exc)
        else:
            self.cache.put(question, outcome, self._clock())
            if not result.done():
                result.set_result(outcome)
        self._flights.pop(question, None)

    async def _ask(self, question: Question) -> Outcome:
        lookup = Lookup(question, self.config, rng=self._rng, counters=self._counters)
        while (query := lookup.query_to_send(self._clock())) is not None:
            exchange = self._connections.exchange if query.stream else self._by_datagram
            try:
                async with asyncio.timeout(max(lookup.deadline - self._clock(), 0.0)):
                    await exchange(query, lookup)
            except TimeoutError as exc:
                if exc.errno is None:
                    lookup.timer_expired(max(self._clock(), lookup.deadline))  # uvloop's timers may be early
                else:
                    lookup.receive_error(exc, self._clock())
            except OSError as exc:
                lookup.receive_error(exc, self._clock())
        assert lookup.outcome is not None
        return lookup.outcome

    # queries on the wire

    async def _by_datagram(self, query: Query, lookup: Lookup) -> None:
        """From a port of its own, at random; connected, so that only the server's datagrams and errors arrive."""
        async with self._make_socket(family_of(query.server), socket.SOCK_DGRAM) as sock:
            await sock.connect((query.server, PORT))
            await sock.send(query.data)
            while lookup.waiting:
                lookup.receive_message(await sock.recv(LARGEST_DATAGRAM), self._clock())

    # the end

    async def close(self) -> None:
        """End all questions: who waits for one gets OSError(ENETDOWN)."""
        self._closed = True
        for question, flight in list(self._flights.items()):
            flight.result.set_exception(os_error(errno.ENETDOWN, "the stack was closed"))
            self._land(question, flight)
        self.cache.clear()
        self._connections.close()
        while self._ending:
            await asyncio.wait(list(self._ending))


# what to say if no family has an address: the last of these
_GRAVITY: Final = (NoData, NxDomain, ServerFailure, NoAnswer)
