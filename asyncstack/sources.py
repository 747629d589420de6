"""Where the addresses of an interface come from, if nobody has typed them: the words of `add_interface`.

A source is made for one interface of one stack, `Kind(stack, interface, timeout=seconds)`, and has `Source`'s four
methods. It lives in a module of its own, which is imported when the word is used.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol, cast

from asyncstack.errors import os_error
from asyncstack.events import Event, SourceFailed
from asyncstack.network.addresses import parse_own

if TYPE_CHECKING:
    from asyncstack.interfaces import Interfaces
    from asyncstack.link.interface import Interface

_KINDS: Final = {
    "dhcp4": ("asyncstack.application.dhcp.client", "Dhcp4Client"),
    "slaac": ("asyncstack.autoconf.slaac", "Slaac"),
    "dhcp6": ("asyncstack.application.dhcp6.client", "Dhcp6Client"),
    "link-local": ("asyncstack.autoconf.link_local", "LinkLocal"),  # IPv4's, RFC 3927
}

GRACE: Final = 0.1  # seconds in which all those fail whose time is up together


class Source(Protocol):
    """Gives an interface addresses, and what belongs to them: routes, nameservers; renews them and takes them away.

    It never ends the interface: what it can not get it goes on trying for until it is stopped.
    """

    async def start(self) -> None:
        """Return when there is a usable address, which is in the stack's table then. It may be cancelled.

        Raises TimeoutError after `timeout` seconds that says what is missing, OSError for what waiting does not help
        against.
        """

    async def stop(self) -> None:
        """Give up what it has, and say so to who gave it. Safe to call twice, and before `start` has returned; the
        interface may be down."""

    def link_down(self) -> None:
        """The link is cut: nothing can be sent. What it has stays valid until its time is up."""

    def link_up(self) -> None:
        """The link is there again, perhaps another one: ask whether what it has is still good (RFC 2131 4.4.2)."""


def is_word(text: str) -> bool:
    """Whether `text` is meant as the name of a source, known or not, and not as an address."""
    return text[:1].isalpha() and not {":", "."} & set(text)


def check_word(word: str) -> str:
    """`word`, if there is such a source. Raises ValueError that lists them."""
    if word not in _KINDS:
        raise ValueError(
            f"{word!r} is no source of addresses: give an address, or one of {', '.join(_KINDS)}"
        )
    return word


def check_own(text: str, ethernet: bool) -> None:
    """Raises ValueError unless `text` is an address with its prefix length, or the word of a source that works on such
    an interface."""
    if not is_word(text):
        parse_own(text)
    elif not ethernet:
        raise ValueError(f"{check_word(text)} needs Ethernet: use a TAP instead of the TUN")
    else:
        check_word(text)


def parse_addresses(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """The words, and the addresses with their prefix lengths, of an `addresses=[...]`. Raises ValueError for what is
    neither, TypeError for what is no text."""
    if isinstance(texts, str):
        raise ValueError(f"addresses={texts!r}: give a list")
    words: dict[str, None] = {}
    addresses: list[str] = []
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"addresses=[{text!r}]: give text, such as '10.0.0.2/24' or 'dhcp4'")
        if is_word(text):
            words[check_word(text)] = None
        else:
            parse_own(text)
            addresses.append(text)
    return list(words), addresses


class Kind(Protocol):
    """What makes a source. `timeout`: seconds that `start` waits."""

    def __call__(self, stack: Interfaces, interface: Interface, *, timeout: float) -> Source: ...


def make_source(word: str, stack: Interfaces, interface: Interface, timeout: float) -> Source:
    """The source that `word` names, not started. Raises ValueError for a word that is none."""
    module, name = _KINDS[check_word(word)]
    kind = cast(Kind, getattr(import_module(module), name))
    return kind(stack, interface, timeout=timeout)


class Configuration:
    """The sources of one interface, by the words they were asked for with. `tell` is told which of them failed."""

    def __init__(
        self, interface: Interface, sources: Mapping[str, Source], tell: Callable[[Event], None]
    ) -> None:
        self._interface = interface
        self._sources = sources
        self._tell = tell
        self._starting: dict[asyncio.Task[None], str] = {}
        self._stopped = False
        self._ended = asyncio.Event()

    async def start(self) -> None:
        """Return when every one has given an address. Raises what the first raises that fails; TimeoutError that has
        the words of all that waited in vain."""
        self._start()
        tasks, began = dict(self._starting), self._interface.clock()
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if any(not task.cancelled() and isinstance(task.exception(), TimeoutError) for task in done):
            await asyncio.wait(tasks, timeout=GRACE)
        if self._stopped:
            raise os_error(errno.ENETDOWN, f"{self._interface.name} was removed while it was configured")
        errors = {tasks[task]: error for task in tasks if task.done() and (error := task.exception())}
        for word, error in errors.items():
            if not isinstance(error, OSError):
                raise error
            if not isinstance(error, TimeoutError):
                text = f"{self._interface.name}: {word}: {error.strerror or error}"
                raise OSError(error.errno, text) from error
        if errors:
            waited = self._interface.clock() - began
            why = "; ".join(f"{word}: {error.args[-1]}" for word, error in errors.items())
            raise os_error(errno.ETIMEDOUT, f"{self._interface.name} after {waited:.1f} s: {why}")
        self._starting.clear()

    def start_in_background(self) -> None:
        """Let all of them start, and tell of those that fail."""
        self._start()
        for task in self._starting:
            task.add_done_callback(self._started)

    def _start(self) -> None:
        loop = self._interface.loop
        for word, source in self._sources.items():
            self._starting[loop.create_task(source.start(), name=f"{self._interface.name} {word}")] = word

    def _started(self, task: asyncio.Task[None]) -> None:
        word = self._starting.pop(task, "")
        error = None if task.cancelled() else task.exception()
        if isinstance(error, OSError):
            self._tell(SourceFailed(self._interface, word, error))
        elif error is not None:
            self._report(word, "starting", error)

    def link_changed(self, up: bool) -> None:
        """Tell all of them."""
        if self._stopped:
            return
        for source in self._sources.values():
            (source.link_up if up else source.link_down)()

    async def stop(self, timeout: float) -> None:
        """End all of them, `timeout` seconds at most. Who calls it meanwhile waits for that too. Never raises."""
        if self._stopped:
            await self._ended.wait()
            return
        loop = self._interface.loop
        self._stopped = True
        for task in self._starting:
            task.cancel()
        tasks = {loop.create_task(source.stop()): word for word, source in self._sources.items()}
        try:
            await asyncio.wait([*tasks, *self._starting], timeout=timeout)
        finally:
            for task, word in tasks.items():
                if not task.cancel() and not task.cancelled() and (error := task.exception()) is not None:
                    self._report(word, "stopping", error)
            self._starting.clear()
            self._ended.set()

    def _report(self, word: str, doing: str, error: BaseException) -> None:
        message = f"{doing} {word} on {self._interface.name}"
        self._interface.loop.call_exception_handler({"message": message, "exception": error})
