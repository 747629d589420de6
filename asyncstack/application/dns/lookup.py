"""One question put to the nameservers, until it has an outcome. Does no I/O and reads no clock.

    query_to_send(now)     the message that is due, to whom and how; None: none is
    receive_message(data, now), receive_error(error, now), timer_expired(now)
    deadline, outcome

The servers are asked in order, all of them `attempts` times, each for `timeout` seconds, as resolv.conf(5) has it; one
that refuses, fails or can not be reached is left at once. One query is out at a time.

Forgers have to guess (RFC 5452): the ID and the source port are random for every query, letters are in random case
(0x20), and an answer counts only if all of them and the server's address match. What does not match is ignored, and
the wait goes on; many of those, or an answer right but for the case, and the question goes over TCP.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from typing import Final

from asyncstack.application.dns.cache import Outcome
from asyncstack.application.dns.errors import NoAnswer, NoData, NxDomain, ServerFailure
from asyncstack.application.dns.messages import (
    BADVERS,
    FORMERR,
    NOERROR,
    NOTIMP,
    NXDOMAIN,
    RCODES,
    Message,
    Question,
    build_query,
    mixed_case,
    parse,
)
from asyncstack.application.dns.records import CNAME, Record, kind_of
from asyncstack.config import DnsConfig
from asyncstack.counters import Counters
from asyncstack.errors import WireError

CHAIN_LIMIT: Final = 16  # aliases behind one another
FORGERIES: Final = 16  # answers that do not match, to one query
NEGATIVE_LIMIT: Final = 10800  # seconds; RFC 2308 5


@dataclass(frozen=True, slots=True)
class Query:
    """A message for `server` (an address in text), over TCP if `stream`."""

    server: str
    stream: bool
    data: bytes


class Lookup:
    """The search for the records of one question. `outcome` is None until it ends; `deadline` is on the clock of
    `now`."""

    def __init__(
        self, question: Question, config: DnsConfig, *, rng: random.Random, counters: Counters
    ) -> None:
        self.question = question
        self.outcome: Outcome | None = None
        self.deadline = math.inf
        self._config = config
        self._rng = rng
        self._counters = counters
        self._plain: set[str] = set()  # servers that know no EDNS
        self._chain: list[CNAME] = []
        self._why = ""
        self._begin(question)

    def _begin(self, question: Question) -> None:
        """Ask `question` from the first server on."""
        self._asked = question  # what the answer has to repeat but for the case
        self._servers = list(self._config.nameservers) * self._config.attempts
        self._failed = False
        self._next_server()

    def _next_server(self) -> None:
        self._stream = False
        if self._servers:
            self._server = self._servers.pop(0)
            self._due = True
            return
        error = ServerFailure if self._failed else NoAnswer
        ttl = 1 if self._why else 0  # there may be a nameserver the next time
        self._end(Outcome(error=error, why=self._why or "there is no nameserver", ttl=ttl))

    def _end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._due = False
        self.deadline = math.inf

    # outputs

    @property
    def waiting(self) -> bool:
        """Whether a query is out, and what came so far does not answer it."""
        return self.outcome is None and not self._due

    def query_to_send(self, now: float) -> Query | None:
        """The query that is due; it takes the place of the one before."""
        if not self._due:
            return None
        self._due = False
        self._forgeries = 0
        self._ident = self._rng.getrandbits(16)
        name = self._asked.name
        self._sent = Question(mixed_case(name, self._rng), self._asked.kind)
        self.deadline = now + self._config.timeout
        self._counters["dns.queries"] += 1
        payload = 0 if self._server in self._plain else self._config.edns_payload
        return Query(self._server, self._stream, build_query(self._sent, self._ident, payload))

    # inputs

    def timer_expired(self, now: float) -> None:
        """The server had its time."""
        if now >= self.deadline:
            self._counters["dns.timeouts"] += 1
            self._why = self._why or f"no answer from {self._server}"
            self._next_server()

    def receive_error(self, error: OSError, now: float) -> None:
        """The server can not be reached, or ended the stream."""
        self._why = f"{self._server}: {error.strerror or error}"
        self._next_server()

    def receive_message(self, data: bytes, now: float) -> None:
        """What came from the server's address and port."""
        if not self.waiting:
            return
        try:
            message = parse(data)
        except WireError as exc:
            self._counters["dns.malformed"] += 1
            if self._stream:
                self._fail(str(exc))
            else:
                self._suspect()
            return
        if self._matches(message):
            self._receive(message)

    def _matches(self, message: Message) -> bool:
        asked = message.question
        if message.response and message.ident == self._ident:
            if asked == self._sent:
                return True
            if asked is None and message.rcode in (FORMERR, NOTIMP):
                return True  # RFC 6891 7: it read no further than the header
            if asked is not None and (asked.name.lower(), asked.kind) == (self._asked.name, self._asked.kind):
                if self._stream:
                    return True  # it does not keep the case; nobody forges a stream
                self._use_stream()
                return False
        self._counters["dns.mismatched"] += 1
        self._suspect()
        return False

    def _suspect(self) -> None:
        """Somebody guesses: ask in a way that can not be guessed."""
        self._forgeries += 1
        if self._forgeries >= FORGERIES and not self._stream:
            self._use_stream()

    def _use_stream(self) -> None:
        self._counters["dns.over_tcp"] += 1
        self._stream = self._due = True

    def _receive(self, message: Message) -> None:
        rcode = message.rcode
        if message.truncated and not self._stream:
            self._use_stream()
        elif message.truncated:
            self._fail("a truncated answer over TCP")
        elif rcode in (FORMERR, NOTIMP, BADVERS) and self._server not in self._plain:
            self._plain.add(self._server)
            self._due = True
        elif rcode in (NOERROR, NXDOMAIN):
            self._conclude(message)
        else:
            self._fail(RCODES.get(rcode, f"response code {rcode}"))

    def _fail(self, why: str) -> None:
        self._failed = True
        self._why = f"{self._server}: {why}"
        self._next_server()

    # the answer

    def _conclude(self, message: Message) -> None:
        name, kind = self._asked.name, self._asked.kind
        aliases = {record.name: record for record in message.records if isinstance(record, CNAME)}
        while kind != "CNAME" and name in aliases:
            alias = aliases[name]
            self._chain.append(alias)
            name = alias.target
            if len(self._chain) > CHAIN_LIMIT:
                why = f"a chain of more than {CHAIN_LIMIT} aliases"
                self._end(Outcome(error=ServerFailure, why=why, ttl=1))
                return
        found = [one for one in message.records if one.name == name and kind_of(one) == kind]
        if found:
            self._end(Outcome(tuple(found), tuple(self._chain), ttl=self._ttl(found)))
        elif message.rcode == NXDOMAIN:
            self._end(self._nothing(NxDomain, f"{name} does not exist", message))
        elif name == self._asked.name or message.soa is not None:
            self._end(self._nothing(NoData, f"{name} has no such record", message))
        else:  # an alias into a zone that this server did not look into
            self._begin(Question(name, kind))

    def _nothing(self, error: type[NxDomain | NoData], why: str, message: Message) -> Outcome:
        """Without an SOA nothing says for how long (RFC 2308 5)."""
        soa = message.soa
        if soa is not None:
            soa = replace(soa, ttl=min(soa.ttl, soa.minimum, NEGATIVE_LIMIT))
        ttl = min([soa.ttl if soa else 0, *(alias.ttl for alias in self._chain)])
        return Outcome(error=error, why=why, chain=tuple(self._chain), soa=soa, ttl=ttl)

    def _ttl(self, found: list[Record]) -> int:
        return min(record.ttl for record in (*found, *self._chain))
