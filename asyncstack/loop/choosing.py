"""Which stack of a loop an address belongs to, or none: then it is the kernel's.

An address belongs to a stack if the stack has it, or has a route to it: a default route takes everything. The loopback
addresses (127/8 and ::1) stay the kernel's, which every library's helpers rely on, unless `Stacks.loopback` says that
they are the current stack's. Several stacks on one loop are hosts of a simulated network, as a rule: then who calls
stands on the current one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from asyncstack.network.addresses import is_loopback

if TYPE_CHECKING:
    from asyncstack.stack import Stack

_MAPPED: Final = bytes(10) + b"\xff\xff"  # RFC 4291 2.5.5.2

_current: ContextVar[Stack | None] = ContextVar("asyncstack.current", default=None)


@contextmanager
def standing_on(stack: Stack) -> Iterator[None]:
    """Make `stack` the current one, for this context and for the tasks made in it."""
    token = _current.set(stack)
    try:
        yield
    finally:
        _current.reset(token)


class Stacks:
    """The open stacks of one loop, in the order they were made. `loopback`: 127/8 and ::1 are theirs."""

    def __init__(self) -> None:
        self._open: dict[Stack, None] = {}
        self.loopback = False

    def __iter__(self) -> Iterator[Stack]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)

    def add(self, stack: Stack) -> None:
        """`stack` was made."""
        self._open[stack] = None

    def remove(self, stack: Stack) -> None:
        """`stack` is closed."""
        self._open.pop(stack, None)

    @property
    def current(self) -> Stack | None:
        """The one that `Stack.current()` says, else the first."""
        stack = _current.get()
        return stack if stack in self._open else next(iter(self._open), None)

    def of_local(self, address: bytes) -> Stack | None:
        """Whose address `address` is; any (all zeros) is the current stack's."""
        if not any(address):
            return self.current
        address = plain(address)
        if is_loopback(address):
            return self.current if self.loopback else None
        return next((stack for stack in self._in_turn() if stack.addresses.is_local(address)), None)

    def of_remote(self, address: bytes, scope: str = "") -> Stack | None:
        """Who has a route to `address`, by the interface called `scope` if one is given: the current stack rather than
        another."""
        address = plain(address)
        if is_loopback(address) or not any(address):
            return self.current if self.loopback else None
        return next(
            (
                stack
                for stack in self._in_turn()
                if stack.routes.reaches(address) and (not scope or _has_interface(stack, scope))
            ),
            None,
        )

    def _in_turn(self) -> list[Stack]:
        first = self.current
        return [] if first is None else [first, *(stack for stack in self._open if stack is not first)]


def _has_interface(stack: Stack, scope: str) -> bool:
    return any(scope in (interface.name, str(interface.index)) for interface in stack.interfaces)


def plain(address: bytes) -> bytes:
    """The IPv4 address that an IPv6 one maps, or `address`."""
    return address[12:] if len(address) == 16 and address.startswith(_MAPPED) else address
