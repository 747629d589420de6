"""The options of an IPv4 header (RFC 791 3.1; router alert: RFC 2113).

parse(options: bytes) -> Options        raises BadOption
Options.stamp(...), Options.reply()     record route and timestamp, filled in; what an echo reply takes along
copied(options: bytes) -> bytes         what every fragment has to repeat
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from asyncstack.errors import WireError

END: Final = 0
NO_OPERATION: Final = 1
RECORD_ROUTE: Final = 7
TIMESTAMP: Final = 68
LOOSE_SOURCE_ROUTE: Final = 131
STRICT_SOURCE_ROUTE: Final = 137
ROUTER_ALERT_TYPE: Final = 148

ROUTER_ALERT: Final = bytes((ROUTER_ALERT_TYPE, 4, 0, 0))  # every router looks at the packet

# flags of a timestamp option
TIME_ONLY: Final = 0
TIME_AND_ADDRESS: Final = 1
PRESPECIFIED: Final = 3

_COPIED: Final = 0x80
_HEADER_SIZE: Final = 20


class BadOption(WireError):
    """An option that makes no sense; `pointer` is the byte of the packet at fault, for a Parameter Problem."""

    def __init__(self, at: int, why: str) -> None:
        self.pointer = _HEADER_SIZE + at
        super().__init__(f"IPv4 option: {why} at byte {self.pointer}")


@dataclass(slots=True)
class Options:
    """Where in `data` the options are that mean something to a host; -1: not there."""

    data: bytearray
    record_route: int = -1
    timestamp: int = -1
    source_route: int = -1
    router_alert: bool = False

    @property
    def asks_to_be_passed_on(self) -> bool:
        """Whether the source route names further hops."""
        at = self.source_route
        return at >= 0 and self.data[at + 2] <= self.data[at + 1]

    def stamp(
        self, address: bytes, milliseconds: int, is_ours: Callable[[bytes], bool], *, arriving: bool
    ) -> None:
        """Enter `address`, ours, and the time (RFC 791: since midnight UT) wherever the sender left room for it.

        arriving: a host without room is counted in the timestamp option's overflow field. `is_ours(address)` is asked
        about the hop that a prespecified timestamp names. Raises BadOption if more had no room than can be counted.
        """
        if self.record_route >= 0 and self._room(self.record_route):
            self._put(self.record_route, address)
        at = self.timestamp
        if at < 0:
            return
        data, flag = self.data, self.data[at + 3] & 0x0F
        time = milliseconds.to_bytes(4, "big")
        if not self._room(at):
            if arriving and flag != PRESPECIFIED:
                if data[at + 3] >> 4 == 15:
                    raise BadOption(at + 3, "more hosts without room than can be counted")
                data[at + 3] += 0x10
        elif flag == TIME_ONLY:
            self._put(at, time)
        elif flag == TIME_AND_ADDRESS:
            self._put(at, address + time)
        elif flag == PRESPECIFIED:
            hop = at + data[at + 2] - 1
            if is_ours(bytes(data[hop : hop + 4])):
                self._put(at, bytes(data[hop : hop + 4]) + time)

    def reply(self) -> Options:
        """What the reply to an echo takes along (RFC 1122 3.2.2.6): the route and the times so far."""
        made = Options(bytearray())
        for name in ("record_route", "timestamp"):
            at = getattr(self, name)
            if at >= 0:
                setattr(made, name, len(made.data))
                made.data += self.data[at : at + self.data[at + 1]]
        return made

    def _room(self, at: int) -> bool:
        pair = self.data[at] == TIMESTAMP and self.data[at + 3] & 0x0F in (TIME_AND_ADDRESS, PRESPECIFIED)
        return self.data[at + 2] + (7 if pair else 3) <= self.data[at + 1]

    def _put(self, at: int, entry: bytes) -> None:
        used = self.data[at + 2]
        self.data[at + used - 1 : at + used - 1 + len(entry)] = entry
        self.data[at + 2] = used + len(entry)


def parse(options: bytes) -> Options:
    """Find what matters in the options of a header, at most 40 bytes; what is unknown is skipped.

    Raises BadOption where Linux finds a Parameter Problem: for a length that does not fit, a pointer that points
    nowhere, a second option of a kind.
    """
    found = Options(bytearray(options))
    at, size = 0, len(options)
    while at < size and options[at] != END:
        kind = options[at]
        if kind == NO_OPERATION:
            at += 1
            continue
        if at + 1 >= size or not 2 <= options[at + 1] <= size - at:
            raise BadOption(at, "a wrong length")
        length = options[at + 1]
        if kind == RECORD_ROUTE:
            _check_pointer(options, at, 3)
            found.record_route = _only(found.record_route, at)
        elif kind == TIMESTAMP:
            _check_pointer(options, at, 4)
            _check_timestamp(options, at)
            found.timestamp = _only(found.timestamp, at)
        elif kind in (LOOSE_SOURCE_ROUTE, STRICT_SOURCE_ROUTE):
            _check_pointer(options, at, 3)
            found.source_route = _only(found.source_route, at)
        elif kind == ROUTER_ALERT_TYPE:
            if length < 4:
                raise BadOption(at + 1, "a router alert that is too short")
            found.router_alert |= options[at + 2 : at + 4] == b"\0\0"
        at += length
    return found


def copied(options: bytes) -> bytes:
    """The options that belong into every fragment, not into the first alone (RFC 791 3.1: the copied flag)."""
    kept = b""
    at, size = 0, len(options)
    while at < size and options[at] != END:
        length = 1 if options[at] == NO_OPERATION else options[at + 1]
        if options[at] & _COPIED:
            kept += options[at : at + length]
        at += length
    return kept


def _only(before: int, at: int) -> int:
    if before >= 0:
        raise BadOption(at, "a second one of its kind")
    return at


def _check_pointer(options: bytes, at: int, fixed: int) -> None:
    """The pointer of a list of entries behind `fixed` bytes: to a whole entry of 4 bytes, or behind the list."""
    length = options[at + 1]
    if length < fixed:
        raise BadOption(at + 1, "too short")
    pointer = options[at + 2] if length >= 3 else 0
    if pointer <= fixed:
        raise BadOption(at + 2, "a pointer before the first entry")
    if options[at] not in (LOOSE_SOURCE_ROUTE, STRICT_SOURCE_ROUTE) and length - 3 < pointer <= length:
        raise BadOption(at + 2, "a pointer to half an entry")


def _check_timestamp(options: bytes, at: int) -> None:
    length, pointer, flags = options[at + 1 : at + 4]
    if flags & 0x0F in (TIME_AND_ADDRESS, PRESPECIFIED) and length - 7 < pointer <= length:
        raise BadOption(at + 2, "a pointer to half an entry")
