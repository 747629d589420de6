"""DHCP messages (RFC 2131, RFC 2132): BOOTP's 236 bytes, a cookie, options.

parse(data: memoryview) -> Message
build(message, limit=576) -> bytes       at least 300 bytes, at most `limit` less the IP and UDP headers

`Message.options` maps a code to its whole value: what came in several parts, or in the fields `file` and `sname`, is
joined (RFC 3396), and what is not known is kept. `dhcp_options` has what the values mean.

Why this is not dpkt, which the project has anyway: of 20,000 mutated replies 175 let dpkt raise IndexError, which it
does not declare; it took 641 without the cookie, and 51 of 60 that end within an option, for whole. Values beyond 255
bytes it neither builds (struct.error) nor joins, and it does not read options in `file` and `sname`. It is the oracle
in the tests.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from asyncstack.errors import WireError
from asyncstack.wire.dhcp_options import MESSAGE_TYPE, OVERLOAD, RELAY_AGENT

SERVER_PORT: Final = 67
CLIENT_PORT: Final = 68

REQUEST: Final = 1  # `op`: to a server
REPLY: Final = 2
ETHERNET: Final = 1

HEADER_SIZE: Final = 240  # with the cookie
LEAST_SIZE: Final = 300  # RFC 1542 2.1: BOOTP's, which some relay agents and clients insist on
LEAST_LIMIT: Final = 576  # RFC 2131 2: bytes of IP packet that every host takes

_COOKIE: Final = b"\x63\x82\x53\x63"
_HEADER = struct.Struct("!4B4sHH4s4s4s4s16s64s128s4s")
_BROADCAST: Final = 0x8000
_IP_AND_UDP: Final = 28
_NO_ADDRESS: Final = bytes(4)

_PAD, _END = 0, 255
_IN_FILE, _IN_SNAME = 1, 2
_NEVER_SPLIT = 125  # bytes of a value that fits into `file`: not everybody joins parts


class Type(IntEnum):
    """What a message wants (RFC 2132 9.6)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


@dataclass(slots=True)
class Message:
    """A message. `op` REQUEST or REPLY; addresses are 4 bytes, all zeros: none; `chaddr` up to 16 bytes; `secs` seconds
    since the client began; `broadcast`: it wants its answer so. `sname` and `file` end before their first zero."""

    op: int
    xid: bytes
    chaddr: bytes
    options: dict[int, bytes] = field(default_factory=dict)
    ciaddr: bytes = _NO_ADDRESS
    yiaddr: bytes = _NO_ADDRESS
    siaddr: bytes = _NO_ADDRESS
    giaddr: bytes = _NO_ADDRESS
    broadcast: bool = False
    secs: int = 0
    hops: int = 0
    hardware: int = ETHERNET
    sname: bytes = b""
    file: bytes = b""

    @property
    def type(self) -> Type | None:
        """What it wants; None where that is not said, or unknown."""
        value = self.options.get(MESSAGE_TYPE, b"")
        return Type(value[0]) if len(value) == 1 and 1 <= value[0] <= 8 else None


def parse(data: memoryview) -> Message:
    """The message in `data`. A missing end mark is forgiven, and what follows it ignored.

    Raises WireError when it is too short, is no DHCP (BOOTP without the cookie), or ends within an option.
    """
    if len(data) < HEADER_SIZE:
        raise WireError(f"DHCP: {len(data)} bytes, a message has {HEADER_SIZE}")
    (
        op,
        hardware,
        size,
        hops,
        xid,
        secs,
        flags,
        ciaddr,
        yiaddr,
        siaddr,
        giaddr,
        chaddr,
        sname,
        file,
        cookie,
    ) = _HEADER.unpack_from(data)
    if op not in (REQUEST, REPLY) or size > 16 or cookie != _COOKIE:
        raise WireError(f"DHCP: op {op}, {size} bytes of hardware address, cookie {cookie.hex()}")
    options: dict[int, bytes] = {}
    _read(data[HEADER_SIZE:], options)
    overload = options.pop(OVERLOAD, b"\0")[:1]
    if overload and overload[0] & _IN_FILE:
        _read(memoryview(file), options)
        file = b""
    if overload and overload[0] & _IN_SNAME:
        _read(memoryview(sname), options)
        sname = b""
    return Message(
        op,
        xid,
        chaddr[:size],
        options,
        ciaddr,
        yiaddr,
        siaddr,
        giaddr,
        bool(flags & _BROADCAST),
        secs,
        hops,
        hardware,
        sname.partition(b"\0")[0],
        file.partition(b"\0")[0],
    )


def _read(area: memoryview, options: dict[int, bytes]) -> None:
    """Join what `area` has of each option to what is there."""
    at, end = 0, len(area)
    while at < end:
        code = area[at]
        at += 1
        if code == _END:
            return
        if code == _PAD:
            continue
        if at == end or at + 1 + area[at] > end:
            raise WireError(f"DHCP: it ends within option {code}")
        size = area[at]
        options[code] = options.get(code, b"") + bytes(area[at + 1 : at + 1 + size])
        at += 1 + size


def build(message: Message, limit: int = LEAST_LIMIT) -> bytes:
    """The message, for an IP packet of at most `limit` bytes. What does not fit behind the header goes into `file` and
    `sname`, if they are empty; the relay agent's option comes last (RFC 3046 2.1).

    Raises WireError if it does not fit, or has too long a field.
    """
    if len(message.chaddr) > 16 or len(message.sname) > 64 or len(message.file) > 128:
        raise WireError("DHCP: chaddr, sname and file hold 16, 64 and 128 bytes")
    room = limit - _IP_AND_UDP - HEADER_SIZE
    if not {_PAD, _END, OVERLOAD}.isdisjoint(message.options):
        raise WireError("DHCP: pad, end and overload are no options to give")
    overload, areas = _areas(message, room)
    main, file, sname = _fill(message.options, overload, areas)
    return _HEADER.pack(
        message.op,
        message.hardware,
        len(message.chaddr),
        message.hops,
        message.xid,
        min(message.secs, 0xFFFF),
        _BROADCAST if message.broadcast else 0,
        message.ciaddr,
        message.yiaddr,
        message.siaddr,
        message.giaddr,
        message.chaddr,
        sname or message.sname,
        file or message.file,
        _COOKIE,
    ) + main.ljust(LEAST_SIZE - HEADER_SIZE, b"\0")


def _areas(message: Message, room: int) -> tuple[int, list[int]]:
    """What option 52 has to say, and the bytes for options behind the header, in `file` and in `sname`."""
    needed = 1 + sum(len(value) + 2 * max(-(-len(value) // 255), 1) for value in message.options.values())
    if needed <= room:
        return 0, [room, 0, 0]
    overload = (0 if message.file else _IN_FILE) | (0 if message.sname else _IN_SNAME)
    return overload, [
        room - 3 if overload else room,
        128 if overload & _IN_FILE else 0,
        64 if overload & _IN_SNAME else 0,
    ]


def _fill(options: dict[int, bytes], overload: int, areas: list[int]) -> list[bytes]:
    """The options in parts of at most 255 bytes, area after area, each with its end mark."""
    filled = [bytearray() for _ in areas]
    at = 0
    for code in sorted(options, key=lambda code: (code == RELAY_AGENT, code != MESSAGE_TYPE)):
        rest = options[code]
        least = 1 if len(rest) > _NEVER_SPLIT else len(rest)
        while True:
            free = areas[at] - len(filled[at]) - 3  # less code, length and end mark
            if free < min(least, len(rest)):
                at += 1
                if at == len(areas):
                    raise WireError(f"DHCP: no room for option {code}")
                continue
            part, rest = rest[: min(255, free)], rest[min(255, free) :]
            filled[at] += bytes([code, len(part)]) + part
            if not rest:
                break
    if overload:
        behind = 3 if MESSAGE_TYPE in options else 0
        filled[0][behind:behind] = bytes([OVERLOAD, 1, overload])
    return [bytes(area) + b"\xff" if size else b"" for area, size in zip(filled, areas, strict=True)]
