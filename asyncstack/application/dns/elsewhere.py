"""What a server does not have itself: the application's coroutine, and other servers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.name import Name
from dns.rdatatype import RdataType
from dns.rrset import RRset

from asyncstack.application.dns.cache import FAILURES
from asyncstack.application.dns.errors import DnsError, NoData, NxDomain
from asyncstack.application.dns.messages import Question
from asyncstack.application.dns.queries import REFUSED, SERVFAIL, Asked
from asyncstack.application.dns.rdata import Entry, check_sendable, items, name_of, parse_item, rrsets_of
from asyncstack.application.dns.records import Record
from asyncstack.application.dns.resolver import Resolver
from asyncstack.application.dns.zone import ANY, CNAME, TTL, Found
from asyncstack.application.dns.zones import CHAIN_LIMIT, Zones

Answer = Callable[[Question], Awaitable[Entry | None]]


@dataclass(slots=True)
class Elsewhere:
    """Who is asked for what is in none of `zones`: first `answer`, for `answer_time` seconds, then the servers of
    `resolver`, which merges equal questions and remembers answers and failures."""

    answer: Answer | None
    resolver: Resolver | None
    zones: Zones
    answer_time: float

    def knows(self, asked: Asked) -> bool:
        """Whether there is somebody to ask."""
        return self.answer is not None or self._forwards(asked)

    def _forwards(self, asked: Asked) -> bool:
        return self.resolver is not None and asked.recursion_desired

    async def find(self, asked: Asked, found: Found | None) -> Found:
        """The whole answer; `found` is what the zones have of it, up to an alias that leads out of them. Raises what
        `answer` does, and ValueError for what it returned."""
        whole = found or Found(alias=asked.name, authoritative=False)
        seen: set[Name] = set()
        while whole.alias is not None and whole.alias not in seen and len(seen) < CHAIN_LIMIT:
            seen.add(whole.alias)
            more = await self._look(whole.alias, asked)
            if more is None:
                if not whole.answer:
                    return Found(REFUSED, authoritative=False)
                break
            if len(seen) == 1 and found is None:
                whole.authoritative = more.authoritative
            whole.answer = whole.answer + more.answer
            whole.authority, whole.rcode, whole.alias = more.authority, more.rcode, more.alias
        return whole

    async def _look(self, name: Name, asked: Asked) -> Found | None:
        """None: nobody knows."""
        found = self.zones.find(name, asked.kind)
        if found is not None:
            return found
        text = name.to_text(omit_final_dot=True).lower()
        question = Question(text, dns.rdatatype.to_text(asked.kind))
        if self.answer is not None:
            try:
                async with asyncio.timeout(self.answer_time):
                    entry = await self.answer(question)
            except NxDomain:
                return Found(dns.rcode.NXDOMAIN)
            except NoData:
                return Found()
            except DnsError:  # it asked somebody else
                return Found(SERVFAIL, authoritative=False)
            if entry is not None:
                return _said(name, asked.kind, entry)
        if not self._forwards(asked):
            return None
        assert self.resolver is not None
        if asked.kind == ANY:
            return _hinfo(name)
        return await self._forward(self.resolver, question)

    @staticmethod
    async def _forward(resolver: Resolver, question: Question) -> Found:
        try:
            outcome = await resolver.find(question)
        except OSError:  # it was closed
            return Found(SERVFAIL, authoritative=False)
        if outcome.error in FAILURES:
            return Found(SERVFAIL, authoritative=False)
        rcode = dns.rcode.NXDOMAIN if outcome.error is NxDomain else dns.rcode.NOERROR
        try:
            answer = rrsets_of([*outcome.chain, *outcome.records])
            authority = rrsets_of([outcome.soa]) if outcome.soa is not None else []
        except ValueError:  # it can not be said again
            return Found(SERVFAIL, authoritative=False)
        return Found(rcode, answer, authority, authoritative=False)


def _said(name: Name, kind: RdataType, entry: Entry) -> Found:
    """What the application's coroutine says of `name`, as an answer; of other names only what leads from there."""
    sets: dict[tuple[Name, RdataType], RRset] = {}
    for item in items(entry):
        owner = name_of(item.name) if isinstance(item, Record) else name
        rdata = parse_item(item)
        ttl = item.ttl if isinstance(item, Record) else TTL
        check_sendable(rdata, ttl)
        key = owner, rdata.rdtype
        if key in sets:
            sets[key].add(rdata, ttl)
        else:
            sets[key] = dns.rrset.from_rdata(owner, ttl, rdata)
    found = Found()
    while (name, CNAME) in sets and kind not in (CNAME, ANY):
        alias = sets.pop((name, CNAME))
        found.answer.append(alias)
        found.alias = name = alias[0].target
    wanted = [one for (owner, rdtype), one in sets.items() if owner == name and kind in (rdtype, ANY)]
    if wanted:
        found.answer.append(wanted[0])
        found.alias = None
    return found


def _hinfo(name: Name) -> Found:
    """There is no whole answer to ANY from others (RFC 8482 4.2)."""
    return Found(answer=[dns.rrset.from_text(name, TTL, "IN", "HINFO", '"RFC8482" ""')], authoritative=False)
