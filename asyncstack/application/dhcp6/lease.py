"""What servers give, addresses with lifetimes, and when to ask again (RFC 8415 14.2, 18.2.10.1, 21.4); and what a
client tells of that."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from asyncstack.network.addresses import is_link_local, is_loopback, is_multicast
from asyncstack.wire.dhcp6 import INFINITY, SUCCESS, IaAddress, IaNa, Message

MOST_ADDRESSES: Final = 16  # taken of one server
LEAST_T1: Final = 1.0  # seconds: a server that says less would have us ask without end


@dataclass(frozen=True, slots=True)
class Leased:
    """An address that was given, with the ends of its lifetimes, clock seconds."""

    address: bytes
    preferred_until: float
    valid_until: float


@dataclass(frozen=True, slots=True)
class Bound:
    """These addresses are ours, or were renewed. Those that are new have to be checked: `decline` what is taken."""

    addresses: list[Leased]


@dataclass(frozen=True, slots=True)
class Lost:
    """These are ours no longer."""

    addresses: list[bytes]
    why: str


@dataclass(frozen=True, slots=True)
class Told:
    """The nameservers, 16 bytes each, and the search list, in the place of those before."""

    nameservers: list[bytes]
    search: list[str]


Event = Bound | Lost | Told


@dataclass(slots=True)
class Lease:
    """The addresses of one identity association. `t1` and `t2`: clock seconds."""

    server_id: bytes = b""
    addresses: dict[bytes, Leased] = field(default_factory=dict)
    t1: float = math.inf
    t2: float = math.inf

    @property
    def expires(self) -> float:
        """When the first address is valid no longer."""
        return min((one.valid_until for one in self.addresses.values()), default=math.inf)

    def take_expired(self, now: float) -> list[bytes]:
        """The addresses that are valid no longer; they are gone from here."""
        gone = [one.address for one in self.addresses.values() if one.valid_until <= now]
        for address in gone:
            del self.addresses[address]
        return gone

    def update(self, server_id: bytes, given: IaNa, now: float) -> list[bytes]:
        """Take what a reply says. Returns the addresses that it takes away (a valid lifetime of 0).

        Addresses that it does not name stay as they are.
        """
        self.server_id = server_id
        lost = []
        for one in usable(given):
            if not one.valid:
                if self.addresses.pop(one.address, None) is not None:
                    lost.append(one.address)
            elif one.address in self.addresses or len(self.addresses) < MOST_ADDRESSES:
                until = _end(now, one.preferred), _end(now, one.valid)
                self.addresses[one.address] = Leased(one.address, *until)
        self._set_times(given, now)
        return lost

    def _set_times(self, given: IaNa, now: float) -> None:
        """What the server leaves to us is half, and four fifths, of the shortest preferred lifetime."""
        lifetimes = [one.preferred or one.valid for one in usable(given) if one.valid]
        shortest = min(lifetimes, default=INFINITY)
        t1 = given.t1 or (shortest // 2 if shortest < INFINITY else INFINITY)
        t2 = given.t2 or (max(shortest * 4 // 5, t1) if shortest < INFINITY else INFINITY)
        self.t1 = max(_end(now, min(t1, t2)), now + LEAST_T1)
        self.t2 = max(_end(now, t2), self.t1)


def _end(now: float, seconds: int) -> float:
    return math.inf if seconds == INFINITY else now + seconds


def association(message: Message, iaid: int) -> IaNa | None:
    """The identity association `iaid` in `message`; one that contradicts itself is as good as none."""
    for found in message.ia_nas:
        if found.iaid == iaid and not 0 < found.t2 < found.t1:
            return found
    return None


def usable(given: IaNa) -> list[IaAddress]:
    """The addresses in it that a host can have, whose lifetimes and status make sense."""
    return [
        one
        for one in given.addresses
        if one.preferred <= one.valid
        and (one.status is None or one.status.code == SUCCESS)
        and any(one.address)
        and not (is_multicast(one.address) or is_loopback(one.address) or is_link_local(one.address))
    ]
