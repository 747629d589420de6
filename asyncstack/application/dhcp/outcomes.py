"""What a client's machine wants done, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass

from asyncstack.application.dhcp.lease import Lease, Parameters
from asyncstack.wire.dhcp import Message


@dataclass(slots=True)
class Outgoing:
    """A message to send."""

    message: Message
    source: bytes
    destination: bytes


@dataclass(slots=True)
class Check:
    """Somebody has to look whether the address of `lease` is used by another host, and say so to `checked`."""

    lease: Lease


@dataclass(slots=True)
class Bound:
    """`lease` counts from now on: another time, perhaps other parameters, but the address that was checked."""

    lease: Lease


@dataclass(slots=True)
class Lost:
    """The address of `lease` is not ours any more."""

    lease: Lease
    reason: str


@dataclass(slots=True)
class Informed:
    """The answer to `inform`; None: there is none."""

    parameters: Parameters | None


Event = Check | Bound | Lost | Informed
