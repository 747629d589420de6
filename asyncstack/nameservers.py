"""Whom a stack asks for names: those of its configuration first, then those that its interfaces have learned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from asyncstack.config import DnsConfig
from asyncstack.network.addresses import format_address, is_link_local

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface

# servers asked, and domains searched: each one costs a question, and its timeout, for a wrong name
MOST: Final = 8


@dataclass(frozen=True, slots=True)
class _Lesson:
    servers: tuple[str, ...]
    search: tuple[str, ...]


class Nameservers:
    """What the sources of an interface have learned, by source, in the order in which they came."""

    def __init__(self) -> None:
        self._lessons: dict[object, _Lesson] = {}

    def learn(
        self, source: object, servers: Sequence[bytes], search: Sequence[str], interface: Interface | None
    ) -> bool:
        """`source` says so from now on. Returns whether that changes anything."""
        lesson = _Lesson(tuple(_text(server, interface) for server in servers), tuple(search))
        if self._lessons.get(source) == lesson:
            return False
        self._lessons[source] = lesson
        return True

    def forget(self, source: object) -> bool:
        """What `source` said counts no longer. Returns whether it had said anything."""
        return self._lessons.pop(source, None) is not None

    def merged(self, config: DnsConfig) -> DnsConfig:
        """`config`, with what was learned behind what it has."""
        lessons = self._lessons.values()
        servers = _first(config.nameservers, *(lesson.servers for lesson in lessons))
        search = _first(config.search, *(lesson.search for lesson in lessons))
        return replace(config, nameservers=servers, search=search) if lessons else config


def _text(server: bytes, interface: Interface | None) -> str:
    scope = f"%{interface.index}" if interface is not None and is_link_local(server) else ""
    return format_address(server) + scope


def _first(configured: Sequence[str], *learned: Iterable[str]) -> list[str]:
    """All that is configured, filled up with what was learned, each once."""
    more = dict.fromkeys(one for some in learned for one in some if one not in configured)
    return [*configured, *list(more)[: max(MOST - len(configured), 0)]]
