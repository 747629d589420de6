"""Which congestion controllers there are: those built in, and those that a user has registered with a stack."""

from __future__ import annotations

from typing import Final

from asyncstack.transport.tcp.congestion.base import CongestionControl
from asyncstack.transport.tcp.congestion.bbr.control import Bbr
from asyncstack.transport.tcp.congestion.cubic import Cubic
from asyncstack.transport.tcp.congestion.reno import Reno

BUILT_IN: Final[tuple[type[CongestionControl], ...]] = (Bbr, Cubic, Reno)
NAME_LENGTH: Final = 15  # Linux: TCP_CA_NAME_MAX less the zero, so that TCP_CONGESTION can tell it


class Controllers:
    """The controllers of one stack, by name."""

    __slots__ = ("_classes",)

    def __init__(self) -> None:
        self._classes = {kind.name: kind for kind in BUILT_IN}

    @property
    def names(self) -> tuple[str, ...]:
        """What may be chosen, in alphabetical order."""
        return tuple(sorted(self._classes))

    def register(self, kind: type[CongestionControl]) -> None:
        """Put `kind` under its `name`. Again for the same class is harmless.

        Raises TypeError for what is no controller or lacks a method, ValueError for a name that is missing or taken.
        """
        check(kind)
        if self._classes.setdefault(kind.name, kind) is not kind:
            taken = self._classes[kind.name]
            raise ValueError(
                f"register_congestion({kind.__qualname__}): {taken.__qualname__} has the name {kind.name!r} already"
            )

    def find(self, wanted: object) -> type[CongestionControl]:
        """The class for a name, or for a class of the user's own. Raises ValueError, TypeError."""
        if isinstance(wanted, str):
            kind = self._classes.get(wanted)
            if kind is None:
                choice = ", ".join(repr(name) for name in self.names)
                raise ValueError(
                    f"congestion: no controller {wanted!r}; choose from {choice}, "
                    "or register a class by stack.register_congestion()"
                )
            return kind
        return check(wanted)


def check(kind: object) -> type[CongestionControl]:
    """`kind`, if connections can run on it. Raises TypeError or ValueError, which say what is missing."""
    if not isinstance(kind, type) or not issubclass(kind, CongestionControl):
        raise TypeError(f"congestion: {kind!r} is neither a name nor a class derived from CongestionControl")
    missing = sorted(getattr(kind, "__abstractmethods__", ()))
    if missing:
        raise TypeError(f"congestion: {kind.__qualname__} has no {', '.join(missing)}")
    name = kind.__dict__.get("name")
    if not isinstance(name, str) or not name.isascii() or not 0 < len(name) <= NAME_LENGTH:
        raise ValueError(
            f"congestion: {kind.__qualname__} needs a `name` of its own, 1 to {NAME_LENGTH} ASCII characters, "
            f"not {name!r}"
        )
    return kind
