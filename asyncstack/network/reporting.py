"""What a host tells routers of its groups on one link, and when: the half that IGMP and MLD share (RFC 3376 5, 3810 6).

    a change        is told at once, and again `robustness` - 1 times at random within `UNSOLICITED` seconds
    a query         is answered after a random time within what it allows; one timer for all groups, one for each
    an older router has everything told in its version, until it has been silent for long enough

In the older versions one report names one group, another host's report of the same group makes ours unnecessary, and
sources are not spoken of. No two batches of messages leave within `GAP`, whatever is asked or changed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from asyncstack.network.groups import NO_SOURCE, SourceFilter
from asyncstack.wire.membership import Kind, Membership, Query, Record, Report, Version

ROBUSTNESS: Final = 2
QUERY_INTERVAL: Final = 125.0  # seconds, unless the querier says
UNSOLICITED: Final = {Version.FIRST: 10.0, Version.SECOND: 10.0, Version.THIRD: 1.0}  # seconds
GAP: Final = 0.05  # seconds
MOST_SOURCES: Final = 64  # of one query that are kept; more are taken for all of the group

Told = Report | Membership


@dataclass(slots=True)
class _Change:
    """What has still to be told of one group, and how often: its mode, and sources."""

    mode: int = 0
    sources: dict[bytes, int] = field(default_factory=dict)

    def told(self) -> None:
        """Once more."""
        self.mode = max(self.mode - 1, 0)
        self.sources = {source: left - 1 for source, left in self.sources.items() if left > 1}

    @property
    def done(self) -> bool:
        """Whether all has been told."""
        return not self.mode and not self.sources


@dataclass(slots=True)
class _Answer:
    """Of one group, at `due`; about `sources`, empty: all."""

    due: float
    sources: frozenset[bytes]


class Reporter:
    """The groups of one interface, of one family. `is_told(group)`: whether routers want to hear of it at all.

    Inputs `changed`, `receive_query`, `receive_report`, `timer_expired`; then `to_send` has what leaves, and `deadline`
    is when it is to be looked at again.
    """

    def __init__(self, rng: random.Random, is_told: Callable[[bytes], bool]) -> None:
        self.version = Version.THIRD
        self.groups: dict[bytes, SourceFilter] = {}
        self._rng = rng
        self._is_told = is_told
        self._robustness = ROBUSTNESS
        self._interval = QUERY_INTERVAL
        self._older = {
            Version.FIRST: -math.inf,
            Version.SECOND: -math.inf,
        }  # until when such a router is there
        self._general = math.inf
        self._answers: dict[bytes, _Answer] = {}
        self._changes: dict[bytes, _Change] = {}
        self._change = math.inf
        self._ours: set[bytes] = set()  # groups that we were the last to report, before version 3
        self._quiet = -math.inf
        self._to_send: list[Told] = []

    @property
    def deadline(self) -> float:
        """Clock seconds; math.inf: never."""
        due = min((answer.due for answer in self._answers.values()), default=math.inf)
        due = min(due, self._general, self._change)
        return max(due, self._quiet) if due < math.inf else due

    def to_send(self) -> list[Told]:
        """What leaves now, once."""
        told, self._to_send = self._to_send, []
        return told

    # inputs

    def changed(self, group: bytes, before: SourceFilter, after: SourceFilter, now: float) -> None:
        """The interface listens to `group` differently."""
        self._settle(now)
        if not self._is_told(group):
            return
        if after == NO_SOURCE:
            self.groups.pop(group, None)
            self._answers.pop(group, None)
        else:
            self.groups[group] = after
        if self.version is not Version.THIRD:
            if (before == NO_SOURCE) == (after == NO_SOURCE):
                return
            self._changes[group] = _Change(1 if after == NO_SOURCE else self._robustness)
        else:
            change = self._changes.setdefault(group, _Change())
            if before.exclude != after.exclude:
                change.mode, change.sources = self._robustness, {}
            else:
                differing = sorted(before.sources ^ after.sources)
                change.sources |= dict.fromkeys(differing, self._robustness)
        self._change = now
        self.timer_expired(now)

    def restate(self, now: float) -> None:
        """Tell all of it as if it were new: nobody can have heard so far."""
        for group, wanted in list(self.groups.items()):
            self.changed(group, NO_SOURCE, wanted, now)

    def receive_query(self, query: Query, now: float) -> None:
        """A router asks (RFC 3376 5.2, 7.2.1; RFC 3810 6.2, 8.2.1)."""
        if query.version is Version.THIRD:
            self._robustness = query.robustness or ROBUSTNESS
            self._interval = float(query.interval) or QUERY_INTERVAL
        else:
            self._older[query.version] = now + self._robustness * self._interval + query.max_response
        self._settle(now)
        general = not any(query.group)
        if self.version is not Version.THIRD:
            for group in list(self.groups) if general else [query.group]:
                self._answer(group, query.max_response, frozenset(), now)
            return
        due = now + self._rng.uniform(0.0, query.max_response)
        if self._general <= due:
            return  # what is due before says it all
        if general:
            self._general = due
        else:
            self._answer_at(query.group, due, frozenset(query.sources))

    def receive_report(self, group: bytes, now: float) -> None:
        """Another host has reported `group`, in an older version: once is enough (RFC 2236 3, RFC 2710 4)."""
        self._settle(now)
        if self.version is Version.THIRD:
            return
        self._answers.pop(group, None)
        if group in self.groups:
            self._changes.pop(group, None)
            self._ours.discard(group)

    def timer_expired(self, now: float) -> None:
        """Tell what is due."""
        self._settle(now)
        if now < self._quiet:
            return
        third = self.version is Version.THIRD
        told: list[Told] = [*(self._due(now) if third else self._due_of_old(now))]
        if told:
            self._to_send += told
            self._quiet = now + GAP

    def hurry(self, now: float) -> None:
        """Tell now what only waits for `GAP`: the interface goes."""
        self._quiet = -math.inf
        self.timer_expired(now)

    # the version

    def _settle(self, now: float) -> None:
        """Speak as the oldest router there is understands."""
        wanted = next((version for version, until in self._older.items() if now < until), Version.THIRD)
        if wanted is not self.version:
            self.version = wanted
            self._answers.clear()
            self._changes.clear()
            self._ours.clear()
            self._general = self._change = math.inf

    # answers

    def _answer(self, group: bytes, within: float, sources: frozenset[bytes], now: float) -> None:
        """In an older version: a timer that runs is set anew only if it would be too late."""
        pending = self._answers.get(group)
        if pending is None or pending.due > now + within:
            self._answers.pop(group, None)
            self._answer_at(group, now + self._rng.uniform(0.0, within), sources)

    def _answer_at(self, group: bytes, due: float, sources: frozenset[bytes]) -> None:
        """RFC 3376 5.2, rules 3 to 5."""
        if group not in self.groups:
            return
        pending = self._answers.get(group)
        if pending is not None:
            due = min(due, pending.due)
            sources = sources | pending.sources if sources and pending.sources else frozenset()
        self._answers[group] = _Answer(due, sources if len(sources) <= MOST_SOURCES else frozenset())

    def _due_groups(self, now: float) -> list[tuple[bytes, frozenset[bytes]]]:
        due = [(group, answer.sources) for group, answer in self._answers.items() if answer.due <= now]
        for group, _ in due:
            del self._answers[group]
        return due

    # what is told

    def _due(self, now: float) -> Iterator[Report]:
        records = []
        if self._general <= now:
            self._general = math.inf
            records += [_state(group, wanted) for group, wanted in self.groups.items()]
        for group, sources in self._due_groups(now):
            records += _answer_about(group, self.groups[group], sources)
        if self._change <= now:
            for group, change in self._changes.items():
                records += _news(group, self.groups.get(group, NO_SOURCE), change)
            self._have_told(now)
        if records:
            yield Report(records)

    def _due_of_old(self, now: float) -> Iterator[Membership]:
        groups = dict.fromkeys(group for group, _ in self._due_groups(now))
        if self._change <= now:
            for group in self._changes:
                if group in self.groups:
                    groups[group] = None
                elif self.version is Version.SECOND and group in self._ours:
                    yield Membership(group, leave=True)
                    self._ours.discard(group)
            self._have_told(now)
        for group in groups:
            self._ours.add(group)
            yield Membership(group, version=self.version)

    def _have_told(self, now: float) -> None:
        for change in self._changes.values():
            change.told()
        self._changes = {group: change for group, change in self._changes.items() if not change.done}
        again = now + self._rng.uniform(0.0, UNSOLICITED[self.version])
        self._change = again if self._changes else math.inf


def _state(group: bytes, wanted: SourceFilter) -> Record:
    kind = Kind.IS_EXCLUDE if wanted.exclude else Kind.IS_INCLUDE
    return Record(kind, group, tuple(sorted(wanted.sources)))


def _answer_about(group: bytes, wanted: SourceFilter, sources: frozenset[bytes]) -> list[Record]:
    """The answer to a query about `sources` of `group`, empty: about all."""
    if not sources:
        return [_state(group, wanted)]
    heard = tuple(sorted(source for source in sources if wanted.passes(source)))
    return [Record(Kind.IS_INCLUDE, group, heard)] if heard else []


def _news(group: bytes, wanted: SourceFilter, change: _Change) -> list[Record]:
    """RFC 3376 5.1: the mode if that has changed, else the sources."""
    if change.mode:
        kind = Kind.TO_EXCLUDE if wanted.exclude else Kind.TO_INCLUDE
        return [Record(kind, group, tuple(sorted(wanted.sources)))]
    heard = tuple(source for source in change.sources if wanted.passes(source))
    refused = tuple(source for source in change.sources if not wanted.passes(source))
    both = (Record(Kind.ALLOW, group, heard), Record(Kind.BLOCK, group, refused))
    return [record for record in both if record.sources]
