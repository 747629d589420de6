"""What is known from earlier answers, and for how long. Does no I/O and reads no clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeVar

from asyncstack.application.dns.errors import DnsError, NoAnswer, ServerFailure
from asyncstack.application.dns.messages import Question
from asyncstack.application.dns.records import CNAME, SOA, Record

LARGEST: Final = 4096  # characters of an answer written out; a larger one is not kept, to bound the memory
FAILURES: Final = (ServerFailure, NoAnswer)
FAILURE_TTL: Final = 30  # seconds at most, RFC 9520 3.2

_RecordT = TypeVar("_RecordT", bound=Record)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a question: its records, or the error that says there are none. `ttl`: seconds to remember it for.

    chain: the aliases on the way to them. soa: of the zone that says there are none.
    """

    records: tuple[Record, ...] = ()
    chain: tuple[CNAME, ...] = ()
    soa: SOA | None = None
    error: type[DnsError] | None = None
    why: str = ""
    ttl: int = 0


class Cache:
    """Outcomes by question, also negative ones (RFC 2308) and failures (RFC 9520): these for 1 s, and each time that
    the question fails again for twice as long. At most `limit`; the one used longest ago gives way."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[Question, tuple[float, Outcome]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, question: Question, now: float) -> Outcome | None:
        """What is known, its records with the rest of their time."""
        entry = self._entries.get(question)
        if entry is None:
            return None
        expires, outcome = entry
        if expires <= now:
            if outcome.error not in FAILURES:
                del self._entries[question]
            return None
        del self._entries[question]
        self._entries[question] = entry
        age = outcome.ttl - int(expires - now)
        return replace(
            outcome,
            records=tuple(_aged(record, age) for record in outcome.records),
            chain=tuple(_aged(record, age) for record in outcome.chain),
            soa=outcome.soa and _aged(outcome.soa, age),
        )

    def put(self, question: Question, outcome: Outcome, now: float) -> None:
        """Remember an outcome, unless it may not be."""
        before = self._entries.pop(question, None)
        if outcome.ttl <= 0 or self._limit <= 0 or len(repr(outcome)) > LARGEST:
            return
        if outcome.error in FAILURES and before is not None and before[1].error in FAILURES:
            outcome = replace(outcome, ttl=min(2 * before[1].ttl, FAILURE_TTL))
        if len(self._entries) >= self._limit:
            del self._entries[next(iter(self._entries))]
        self._entries[question] = now + outcome.ttl, outcome

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()


def _aged(record: _RecordT, age: int) -> _RecordT:
    return replace(record, ttl=max(record.ttl - age, 0))
