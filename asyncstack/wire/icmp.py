"""ICMP for IPv4 (RFC 792).

parse(data: memoryview, checksum_valid: bool = False) -> Message(type, code, rest, body)
build(type, code, rest=0, body=b"") -> bytes                       a whole message with its checksum
build_echo(ident, sequence, payload, *, reply=False) -> bytes
build_timestamp_reply(request: Message, milliseconds: int) -> bytes
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from asyncstack.errors import WireError
from asyncstack.wire.checksum import Buffer, checksum, verify

PROTOCOL: Final = 1
HEADER_SIZE: Final = 8

# types
ECHO_REPLY: Final = 0
UNREACHABLE: Final = 3
SOURCE_QUENCH: Final = 4
REDIRECT: Final = 5
ECHO_REQUEST: Final = 8
TIME_EXCEEDED: Final = 11
PARAMETER_PROBLEM: Final = 12
TIMESTAMP_REQUEST: Final = 13
TIMESTAMP_REPLY: Final = 14
ERRORS: Final = frozenset({UNREACHABLE, SOURCE_QUENCH, REDIRECT, TIME_EXCEEDED, PARAMETER_PROBLEM})

# codes of UNREACHABLE (RFC 792; RFC 1122 3.2.2.1; RFC 1812 5.2.7.1)
NET_UNREACHABLE: Final = 0
HOST_UNREACHABLE: Final = 1
PROTOCOL_UNREACHABLE: Final = 2
PORT_UNREACHABLE: Final = 3
FRAGMENTATION_NEEDED: Final = 4
SOURCE_ROUTE_FAILED: Final = 5
NET_UNKNOWN: Final = 6
HOST_UNKNOWN: Final = 7
NET_PROHIBITED: Final = 9
HOST_PROHIBITED: Final = 10
ADMINISTRATIVELY_PROHIBITED: Final = 13

# codes of TIME_EXCEEDED
TTL_EXCEEDED: Final = 0
REASSEMBLY_EXCEEDED: Final = 1

_HEADER = struct.Struct("!BBHI")


@dataclass(slots=True)
class Message:
    """A message: `rest` is the second word of the header, `body` what follows (an error's quoted packet)."""

    type: int
    code: int
    rest: int
    body: bytes | memoryview

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
        """Of FRAGMENTATION_NEEDED: the next hop's MTU, bytes; 0 from routers older than RFC 1191."""
        return self.rest & 0xFFFF

    @property
    def pointer(self) -> int:
        """Of PARAMETER_PROBLEM: the byte of the quoted packet at fault."""
        return self.rest >> 24


def parse(data: memoryview, checksum_valid: bool = False) -> Message:
    """The message that fills `data`; `checksum_valid` skips the checksum. Raises WireError."""
    if len(data) < HEADER_SIZE:
        raise WireError(f"ICMP: {len(data)} bytes, a header has 8")
    if not checksum_valid and not verify(data):
        raise WireError("ICMP: checksum")
    kind, code, _, rest = _HEADER.unpack_from(data)
    return Message(kind, code, rest, data[HEADER_SIZE:])


def build(type: int, code: int, rest: int = 0, body: Buffer = b"") -> bytes:
    """A message with its checksum."""
    value = checksum(_HEADER.pack(type, code, 0, rest), body)
    return b"".join((_HEADER.pack(type, code, value, rest), body))


def build_echo(ident: int, sequence: int, payload: Buffer, *, reply: bool = False) -> bytes:
    """An echo request, or the reply to one."""
    return build(ECHO_REPLY if reply else ECHO_REQUEST, 0, ident << 16 | sequence, payload)


def build_timestamp_reply(request: Message, milliseconds: int) -> bytes:
    """The reply to a timestamp request, received and answered so long after midnight UT. Raises WireError if the
    request is too short to be one."""
    if len(request.body) < 12:
        raise WireError(f"ICMP: {len(request.body)} bytes of timestamps, a request has 12")
    body = bytes(request.body[:4]) + 2 * milliseconds.to_bytes(4, "big")
    return build(TIMESTAMP_REPLY, 0, request.rest, body)
