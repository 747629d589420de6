"""What a stack tells who subscribed: its interfaces going up and down."""

from __future__ import annotations

from dataclasses import dataclass

from asyncstack.link.interface import Interface


@dataclass(slots=True)
class InterfaceUp:
    """`interface` sends and receives."""

    interface: Interface


@dataclass(slots=True)
class InterfaceDown:
    """`interface` is gone: removed, or its device died of `error`."""

    interface: Interface
    error: OSError | None


Event = InterfaceUp | InterfaceDown
