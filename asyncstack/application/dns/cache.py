"""What is known from earlier answers, and for how long. Does no I/O and reads no clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from asyncstack.application.dns.errors import DnsError
from asyncstack.application.dns.messages import Question
from asyncstack.application.dns.records import Record

LARGEST: Final = 64  # records; an answer of more is not kept, so that entries bound the memory


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a question: its records, or the error that says there are none. `ttl`: seconds to remember it for."""

    records: tuple[Record, ...] = ()
    error: type[DnsError] | None = None
    why: str = ""
    ttl: int = 0


class Cache:
    """Outcomes by question, also negative ones (RFC 2308). At most `limit`; the one used longest ago gives way."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[Question, tuple[float, Outcome]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, question: Question, now: float) -> Outcome | None:
        """What is known, its records with the rest of their time."""
        entry = self._entries.pop(question, None)
        if entry is None or entry[0] <= now:
            return None
        self._entries[question] = entry
        expires, outcome = entry
        age = outcome.ttl - int(expires - now)
        return replace(outcome, records=tuple(_aged(record, age) for record in outcome.records))

    def put(self, question: Question, outcome: Outcome, now: float) -> None:
        """Remember an outcome, unless it may not be."""
        if outcome.ttl <= 0 or self._limit <= 0 or len(outcome.records) > LARGEST:
            return
        self._entries.pop(question, None)
        if len(self._entries) >= self._limit:
            del self._entries[next(iter(self._entries))]
        self._entries[question] = now + outcome.ttl, outcome

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()


def _aged(record: Record, age: int) -> Record:
    return replace(record, ttl=max(record.ttl - age, 0))
