"""What an ICMP error means: its kind, the errno an application sees, and whether it ends a connection.

The tables give the errno that Linux gives for each (type, code), so that programs meet what they know. "Hard"
follows Linux too; RFC 1122 4.2.3.9 and RFC 5461 leave it to TCP whether a hard error ends a connection.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface


class Unreachable(Enum):
    """Why a packet did not arrive. `send_error` takes one; a received error carries one."""

    NET = "network unreachable"
    HOST = "host unreachable"
    PROTOCOL = "protocol unreachable"
    PORT = "port unreachable"
    TOO_BIG = "packet too big"
    SOURCE_ROUTE = "source route failed"
    ADMIN = "administratively prohibited"
    TIME_EXCEEDED = "time to live exceeded"
    REASSEMBLY = "fragment reassembly time exceeded"
    PARAMETER = "parameter problem"
    OPTION = "unknown option"
    HEADERS = "incomplete header chain"


@dataclass(slots=True)
class IcmpError:
    """An error about a packet that we sent, given to `receive_error` of the protocol that sent it.

    errno: of the OSError for the application. hard: retrying is pointless. mtu: bytes, 0 unless kind is TOO_BIG.
    reporter: the address that says so (our own when the neighbour did not answer). quoted: the head of our
    packet; its `payload` holds at least 8 bytes of the transport header, and may hold no more.
    """

    kind: Unreachable
    errno: int
    hard: bool
    mtu: int
    reporter: bytes
    quoted: Packet
    interface: Interface | None = None
    type: int = -1  # as on the wire; -1: found here, no ICMP message came
    code: int = -1


class ProtocolHandler(Protocol):
    """A transport, as the network layer sees it."""

    async def receive(self, packet: Packet) -> None:
        """Process `packet` to the end; never suspends. `payload` is only valid until this returns."""

    def receive_error(self, error: IcmpError) -> bool | None:
        """Tell the endpoint concerned. False: none sent `error.quoted`, so the error is not to be believed."""


# (kind, errno, hard) by (type, code)
Meaning = tuple[Unreachable, int, bool]

ICMP_MEANING: Final[dict[tuple[int, int], Meaning]] = {
    (3, 0): (Unreachable.NET, errno.ENETUNREACH, False),
    (3, 1): (Unreachable.HOST, errno.EHOSTUNREACH, False),
    (3, 2): (Unreachable.PROTOCOL, errno.ENOPROTOOPT, True),
    (3, 3): (Unreachable.PORT, errno.ECONNREFUSED, True),
    (3, 4): (Unreachable.TOO_BIG, errno.EMSGSIZE, False),
    (3, 5): (Unreachable.SOURCE_ROUTE, errno.EOPNOTSUPP, False),
    (3, 6): (Unreachable.NET, errno.ENETUNREACH, True),
    (3, 7): (Unreachable.HOST, errno.EHOSTDOWN, True),
    (3, 8): (Unreachable.HOST, errno.ENONET, True),
    (3, 9): (Unreachable.ADMIN, errno.ENETUNREACH, True),
    (3, 10): (Unreachable.ADMIN, errno.EHOSTUNREACH, True),
    (3, 11): (Unreachable.NET, errno.ENETUNREACH, False),
    (3, 12): (Unreachable.HOST, errno.EHOSTUNREACH, False),
    (3, 13): (Unreachable.ADMIN, errno.EHOSTUNREACH, True),
    (3, 14): (Unreachable.ADMIN, errno.EHOSTUNREACH, True),
    (3, 15): (Unreachable.ADMIN, errno.EHOSTUNREACH, True),
    (11, 0): (Unreachable.TIME_EXCEEDED, errno.EHOSTUNREACH, False),
    (11, 1): (Unreachable.REASSEMBLY, errno.EHOSTUNREACH, False),
    (12, 0): (Unreachable.PARAMETER, errno.EPROTO, True),
    (12, 1): (Unreachable.PARAMETER, errno.EPROTO, True),
    (12, 2): (Unreachable.PARAMETER, errno.EPROTO, True),
}

ICMPV6_MEANING: Final[dict[tuple[int, int], Meaning]] = {
    (1, 0): (Unreachable.NET, errno.ENETUNREACH, False),
    (1, 1): (Unreachable.ADMIN, errno.EACCES, True),
    (1, 2): (Unreachable.HOST, errno.EHOSTUNREACH, False),
    (1, 3): (Unreachable.HOST, errno.EHOSTUNREACH, False),
    (1, 4): (Unreachable.PORT, errno.ECONNREFUSED, True),
    (1, 5): (Unreachable.ADMIN, errno.EACCES, True),
    (1, 6): (Unreachable.ADMIN, errno.EACCES, True),
    (2, 0): (Unreachable.TOO_BIG, errno.EMSGSIZE, False),
    (3, 0): (Unreachable.TIME_EXCEEDED, errno.EHOSTUNREACH, False),
    (3, 1): (Unreachable.REASSEMBLY, errno.EHOSTUNREACH, False),
    (4, 0): (Unreachable.PARAMETER, errno.EPROTO, True),
    (4, 1): (Unreachable.PROTOCOL, errno.EPROTO, True),
    (4, 2): (Unreachable.OPTION, errno.EPROTO, True),
    (4, 3): (Unreachable.HEADERS, errno.EPROTO, True),
}

# of a code that is not known, as Linux has it; the code of Packet Too Big is 0 and ignored (RFC 4443 3.2)
_ICMPV6_ANY_CODE: Final[dict[int, Meaning]] = {
    1: (Unreachable.NET, errno.EPROTO, True),
    2: ICMPV6_MEANING[2, 0],
    3: ICMPV6_MEANING[3, 0],
    4: ICMPV6_MEANING[4, 0],
}
# whoever has sent the packet is told of an error all the same (RFC 4443 2.4 a)
_ICMPV6_ANY_TYPE: Final = (Unreachable.NET, errno.EPROTO, False)


def icmpv6_meaning(type: int, code: int) -> Meaning:
    """What an ICMPv6 error, a message of a type below 128, says."""
    known = ICMPV6_MEANING.get((type, code))
    return known or _ICMPV6_ANY_CODE.get(type, _ICMPV6_ANY_TYPE)


# (type, code) of the message that `send_error` makes
ICMP_MESSAGE: Final[dict[Unreachable, tuple[int, int]]] = {
    Unreachable.NET: (3, 0),
    Unreachable.HOST: (3, 1),
    Unreachable.PROTOCOL: (3, 2),
    Unreachable.PORT: (3, 3),
    Unreachable.TOO_BIG: (3, 4),
    Unreachable.SOURCE_ROUTE: (3, 5),
    Unreachable.ADMIN: (3, 13),
    Unreachable.TIME_EXCEEDED: (11, 0),
    Unreachable.REASSEMBLY: (11, 1),
    Unreachable.PARAMETER: (12, 0),
    Unreachable.OPTION: (12, 0),
    Unreachable.HEADERS: (12, 0),
}

ICMPV6_MESSAGE: Final[dict[Unreachable, tuple[int, int]]] = {
    Unreachable.NET: (1, 0),
    Unreachable.HOST: (1, 3),
    Unreachable.PROTOCOL: (4, 1),
    Unreachable.PORT: (1, 4),
    Unreachable.TOO_BIG: (2, 0),
    Unreachable.SOURCE_ROUTE: (4, 0),
    Unreachable.ADMIN: (1, 1),
    Unreachable.TIME_EXCEEDED: (3, 0),
    Unreachable.REASSEMBLY: (3, 1),
    Unreachable.PARAMETER: (4, 0),
    Unreachable.OPTION: (4, 2),
    Unreachable.HEADERS: (4, 3),
}
