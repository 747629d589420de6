"""What IGMP and MLD have in common beside their machine, `Reporter`: one of it and a timer for each interface, and how
its reports are cut to the size of packets."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

from asyncstack.link.ethernet import EthernetLink
from asyncstack.network.groups import SourceFilter
from asyncstack.network.membership import Membership
from asyncstack.network.reporting import Reporter, Told
from asyncstack.timing import LoopTimer
from asyncstack.wire.membership import Kind, Query, Record, Report, record_size

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface


class Listener:
    """One interface: its machine, its timer."""

    __slots__ = ("interface", "reporter", "timer")

    def __init__(self, interface: Interface, reporter: Reporter, timer: LoopTimer) -> None:
        self.interface = interface
        self.reporter = reporter
        self.timer = timer


class Listeners:
    """The interfaces of a stack, as one protocol speaks of them: a subclass says what a packet of it is."""

    name: str
    overhead: int  # bytes of a packet that are not records

    def __init__(self, shared: Membership) -> None:
        self.addresses = shared.addresses
        self.counters = shared.counters
        self._loop = shared.loop
        self._clock = shared.clock
        self._listeners: dict[int, Listener] = {}

    @staticmethod
    def is_told(group: bytes) -> bool:
        """Whether routers want to hear of `group`."""
        raise NotImplementedError

    def send(self, interface: Interface, link: EthernetLink, told: Told) -> None:
        """Send what fits a packet."""
        raise NotImplementedError

    # inputs

    def changed(self, group: bytes, interface: Interface, before: SourceFilter, after: SourceFilter) -> None:
        """`interface` listens to `group` differently."""
        listener = self._of(interface)
        listener.reporter.changed(group, before, after, self._clock())
        self._serve(listener)

    def heard_query(self, interface: Interface, query: Query) -> None:
        """A router asks."""
        self.counters[f"{self.name}.queries"] += 1
        listener = self._of(interface)
        listener.reporter.receive_query(query, self._clock())
        self._serve(listener)

    def heard_report(self, interface: Interface, group: bytes) -> None:
        """Another host has reported `group`."""
        listener = self._of(interface)
        listener.reporter.receive_report(group, self._clock())
        self._serve(listener)

    def restate(self, interface: Interface) -> None:
        """What was told on `interface` was told in vain: again."""
        listener = self._listeners.get(interface.index)
        if listener is not None:
            listener.reporter.restate(self._clock())
            self._serve(listener)

    def forget(self, interface: Interface) -> None:
        """`interface` goes; what could not be told yet is told now."""
        listener = self._listeners.get(interface.index)
        if listener is not None:
            listener.reporter.hurry(self._clock())
            self._serve(listener)
            del self._listeners[interface.index]
            listener.timer.end()

    def _of(self, interface: Interface) -> Listener:
        found = self._listeners.get(interface.index)
        if found is None:
            # of its own: what others draw does not depend on who asks us; by MAC, so that hosts differ
            rng = random.Random(interface.link.mac if isinstance(interface.link, EthernetLink) else b"")
            timer = LoopTimer(
                self._loop,
                self._clock,
                lambda now: self._timer_expired(interface.index, now),
                background=True,
            )
            found = Listener(interface, Reporter(rng, self.is_told), timer)
            self._listeners[interface.index] = found
        return found

    def _timer_expired(self, index: int, now: float) -> None:
        listener = self._listeners.get(index)
        if listener is not None:
            listener.reporter.timer_expired(now)
            self._serve(listener)

    # output

    def _serve(self, listener: Listener) -> None:
        interface, reporter = listener.interface, listener.reporter
        for whole in reporter.to_send():
            for told in fitting(whole, interface.mtu - self.overhead):
                self._send(listener, told)
        deadline = reporter.deadline
        if deadline < math.inf:
            listener.timer.arm(deadline)
        else:
            listener.timer.cancel()

    def _send(self, listener: Listener, told: Told) -> None:
        link = listener.interface.link
        assert isinstance(link, EthernetLink)
        self.counters[f"{self.name}.reports"] += 1
        self.send(listener.interface, link, told)


def fitting(told: Told, room: int) -> Iterator[Told]:
    """`told` in packets that have `room` bytes for records (RFC 3376 4.2.16)."""
    if not isinstance(told, Report):
        yield told
        return
    batch: list[Record] = []
    left = room
    for record in _cut(told.records, room):
        if batch and record_size(record) > left:
            yield Report(batch)
            batch, left = [], room
        batch.append(record)
        left -= record_size(record)
    yield Report(batch)


def _cut(records: list[Record], room: int) -> Iterator[Record]:
    """Records that fit each by itself: a list of sources that does not is cut in pieces, or short if it says who is
    excluded, as the rest would be."""
    for record in records:
        size = len(record.group)
        most = max((room - 4 - size) // size, 1)  # less than that no link may have room for
        yield Record(record.kind, record.group, record.sources[:most])
        if record.kind not in (Kind.IS_EXCLUDE, Kind.TO_EXCLUDE):
            for at in range(most, len(record.sources), most):
                yield Record(record.kind, record.group, record.sources[at : at + most])
