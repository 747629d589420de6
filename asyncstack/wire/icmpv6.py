"""ICMPv6 (RFC 4443). The checksum covers the IPv6 pseudo-header.

parse(data: memoryview, src: bytes, dst: bytes, checksum_valid: bool = False) -> Message(type, code, rest, body)
build(src, dst, type, code, rest=0, body=b"") -> bytes             a whole message with its checksum
build_echo(src, dst, ident, sequence, payload, *, reply=False) -> bytes

Neighbour discovery reads its messages from a `Message`: see `wire.ndp`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from asyncstack.errors import WireError
from asyncstack.wire.checksum import Buffer, fold, pseudo_header_sum, sum16, verify

PROTOCOL: Final = 58
HEADER_SIZE: Final = 8

# types; those below 128 are errors (RFC 4443 2.1)
UNREACHABLE: Final = 1
PACKET_TOO_BIG: Final = 2
TIME_EXCEEDED: Final = 3
PARAMETER_PROBLEM: Final = 4
ECHO_REQUEST: Final = 128
ECHO_REPLY: Final = 129
LISTENER_QUERY: Final = 130
LISTENER_REPORT: Final = 131
LISTENER_DONE: Final = 132
ROUTER_SOLICITATION: Final = 133
ROUTER_ADVERTISEMENT: Final = 134
NEIGHBOR_SOLICITATION: Final = 135
NEIGHBOR_ADVERTISEMENT: Final = 136
REDIRECT: Final = 137
DISCOVERY: Final = range(ROUTER_SOLICITATION, REDIRECT + 1)
LISTENER_REPORT_2: Final = 143

# codes of UNREACHABLE
NO_ROUTE: Final = 0
ADMINISTRATIVELY_PROHIBITED: Final = 1
BEYOND_SCOPE: Final = 2
ADDRESS_UNREACHABLE: Final = 3
PORT_UNREACHABLE: Final = 4
POLICY_FAILED: Final = 5
ROUTE_REJECTED: Final = 6

# codes of TIME_EXCEEDED
HOP_LIMIT_EXCEEDED: Final = 0
REASSEMBLY_EXCEEDED: Final = 1

# codes of PARAMETER_PROBLEM
ERRONEOUS_FIELD: Final = 0
UNKNOWN_NEXT_HEADER: Final = 1
UNKNOWN_OPTION: Final = 2

_HEADER = struct.Struct("!BBHI")


@dataclass(slots=True)
class Message:
    """A message: `rest` is the second word of the header, `body` what follows (an error's quoted packet)."""

    type: int
    code: int
    rest: int
    body: bytes | memoryview

    @property
    def is_error(self) -> bool:
        """Errors must not be answered by errors (RFC 4443 2.4)."""
        return self.type < 128

    @property
    def ident(self) -> int:
        """Of an echo."""
        return self.rest >> 16

    @property
    def sequence(self) -> int:
        """Of an echo."""
        return self.rest & 0xFFFF

    @property
    def mtu(self) -> int:
        """Of PACKET_TOO_BIG: the next hop's MTU, bytes."""
        return self.rest

    @property
    def pointer(self) -> int:
        """Of PARAMETER_PROBLEM: the byte of the quoted packet at fault."""
        return self.rest


def parse(data: memoryview, src: bytes, dst: bytes, checksum_valid: bool = False) -> Message:
    """The message that fills `data`; `checksum_valid` skips the checksum. Raises WireError."""
    if len(data) < HEADER_SIZE:
        raise WireError(f"ICMPv6: {len(data)} bytes, a header has 8")
    if not checksum_valid and not verify(data, pseudo_header_sum(src, dst, PROTOCOL, len(data))):
        raise WireError("ICMPv6: checksum")
    kind, code, _, rest = _HEADER.unpack_from(data)
    return Message(kind, code, rest, data[HEADER_SIZE:])


def build(src: bytes, dst: bytes, type: int, code: int, rest: int = 0, body: Buffer = b"") -> bytes:
    """A message with its checksum, for a packet from `src` to `dst`."""
    pseudo = pseudo_header_sum(src, dst, PROTOCOL, HEADER_SIZE + len(body))
    value = 0xFFFF - fold(pseudo + sum16(_HEADER.pack(type, code, 0, rest), body))
    return b"".join((_HEADER.pack(type, code, value, rest), body))


def build_echo(
    src: bytes, dst: bytes, ident: int, sequence: int, payload: Buffer, *, reply: bool = False
) -> bytes:
    """An echo request, or the reply to one."""
    return build(src, dst, ECHO_REPLY if reply else ECHO_REQUEST, 0, ident << 16 | sequence, payload)
