"""Where the addresses of an interface come from, if nobody has typed them: the words of `add_interface`.

A source is made for one interface of one stack, `Kind(stack, interface)`, and has `Source`'s four methods. It lives in
a module of its own, which is imported when the word is used.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface
    from asyncstack.stack import Stack

_KINDS: Final = {
    "dhcp4": ("asyncstack.application.dhcp.client", "Dhcp4Client"),
    "slaac": ("asyncstack.autoconf.slaac", "Slaac"),
    "dhcp6": ("asyncstack.application.dhcp6.client", "Dhcp6Client"),
    "link-local": ("asyncstack.autoconf.link_local", "LinkLocal"),  # IPv4's, RFC 3927
}


class Source(Protocol):
    """Gives an interface addresses, and what belongs to them: routes, nameservers; renews them and takes them away.

    It never ends the interface: what it can not get it goes on trying for until it is stopped.
    """

    async def start(self) -> None:
        """Return when there is a usable address, which is in the stack's table then. Cancelled, it may be stopped.

        Raises OSError or TimeoutError that says what was missing and how long it was waited for.
        """

    async def stop(self) -> None:
        """Give up what it has, and say so to who gave it. Safe to call twice, and before `start` has returned."""

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


def make_source(word: str, stack: Stack, interface: Interface) -> Source:
    """The source that `word` names, not started. Raises ValueError for a word that is none."""
    module, name = _KINDS[check_word(word)]
    kind = cast("Callable[[Stack, Interface], Source]", getattr(import_module(module), name))
    return kind(stack, interface)
