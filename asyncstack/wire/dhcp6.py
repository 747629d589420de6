"""DHCPv6 between client and server (RFC 8415 8 and 21).

parse(data: Buffer) -> Message     raises WireError, also for what relays say to each other
build(message: Message) -> bytes

Lifetimes and times are seconds, 0xFFFFFFFF without end; addresses are 16 bytes. Of an option that may come once the
first counts; options that are not here are passed over. `domains` says what a search list is made of.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from asyncstack.errors import WireError
from asyncstack.wire import domains

CLIENT_PORT: Final = 546
SERVER_PORT: Final = 547
ALL_AGENTS: Final = bytes.fromhex("ff020000000000000000000000010002")  # relays and servers
INFINITY: Final = 0xFFFFFFFF

# messages
SOLICIT: Final = 1
ADVERTISE: Final = 2
REQUEST: Final = 3
CONFIRM: Final = 4
RENEW: Final = 5
REBIND: Final = 6
REPLY: Final = 7
RELEASE: Final = 8
DECLINE: Final = 9
RECONFIGURE: Final = 10
INFORMATION_REQUEST: Final = 11

# options
CLIENT_ID: Final = 1
SERVER_ID: Final = 2
IA_NA: Final = 3
IA_ADDRESS: Final = 5
OPTION_REQUEST: Final = 6
PREFERENCE: Final = 7
ELAPSED_TIME: Final = 8
STATUS_CODE: Final = 13
RAPID_COMMIT: Final = 14
DNS_SERVERS: Final = 23  # RFC 3646
DOMAIN_LIST: Final = 24
INFORMATION_REFRESH: Final = 32
SOL_MAX_RT: Final = 82
INF_MAX_RT: Final = 83

# status codes
SUCCESS: Final = 0
UNSPEC_FAIL: Final = 1
NO_ADDRS_AVAIL: Final = 2
NO_BINDING: Final = 3
NOT_ON_LINK: Final = 4
USE_MULTICAST: Final = 5
STATUS_NAMES: Final = (
    "Success",
    "UnspecFail",
    "NoAddrsAvail",
    "NoBinding",
    "NotOnLink",
    "UseMulticast",
)

DUID_LIMIT: Final = 130  # bytes: RFC 8415 11.1

_OPTION = struct.Struct("!HH")
_IA_NA = struct.Struct("!III")
_IA_ADDRESS = struct.Struct("!16sII")


@dataclass(slots=True)
class Status:
    """How it went, and words for people."""

    code: int
    text: str = ""

    def __str__(self) -> str:
        name = STATUS_NAMES[self.code] if self.code < len(STATUS_NAMES) else f"status {self.code}"
        return f"{name} ({self.text})" if self.text else name


@dataclass(slots=True)
class IaAddress:
    """An address of an identity association, with its lifetimes."""

    address: bytes
    preferred: int = 0
    valid: int = 0
    status: Status | None = None


@dataclass(slots=True)
class IaNa:
    """An identity association for non-temporary addresses. `t1` and `t2`: when to renew and to rebind, 0: unsaid."""

    iaid: int
    t1: int = 0
    t2: int = 0
    addresses: list[IaAddress] = field(default_factory=list)
    status: Status | None = None


@dataclass(slots=True)
class Message:
    """A message. b"" and None where the option is absent; `elapsed` in hundredths of a second."""

    type: int
    transaction: int
    client_id: bytes = b""
    server_id: bytes = b""
    ia_nas: list[IaNa] = field(default_factory=list)
    requested: list[int] = field(default_factory=list)
    preference: int | None = None
    elapsed: int | None = None
    status: Status | None = None
    rapid_commit: bool = False
    nameservers: list[bytes] = field(default_factory=list)
    search: list[str] = field(default_factory=list)
    refresh: int | None = None
    sol_max_rt: int | None = None
    inf_max_rt: int | None = None


# parse


def parse(data: bytes | memoryview) -> Message:
    """The message that fills `data`."""
    data = bytes(data)
    if len(data) < 4 or not SOLICIT <= data[0] <= INFORMATION_REQUEST:
        raise WireError(f"DHCPv6: no message of client or server: {data[:4].hex()}")
    message = Message(data[0], int.from_bytes(data[1:4], "big"))
    seen: set[int] = set()
    for kind, value in _options(data[4:]):
        reader = _READERS.get(kind)
        if reader is not None and (kind == IA_NA or kind not in seen):
            seen.add(kind)
            reader(message, value)
    return message


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise WireError("DHCPv6: half an option")
        kind, size = _OPTION.unpack_from(data, at)
        at += 4
        if at + size > len(data):
            raise WireError(f"DHCPv6: option {kind} of {size} bytes, {len(data) - at} are there")
        yield kind, data[at : at + size]
        at += size


def _sized(kind: int, value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise WireError(f"DHCPv6: option {kind} of {len(value)} bytes, not {size}")
    return value


def _duid(kind: int, value: bytes) -> bytes:
    if not 3 <= len(value) <= DUID_LIMIT:
        raise WireError(f"DHCPv6: a DUID of {len(value)} bytes")
    return value


def _status(value: bytes) -> Status:
    if len(value) < 2:
        raise WireError("DHCPv6: half a status code")
    return Status(int.from_bytes(value[:2], "big"), value[2:].decode("utf-8", "replace"))


def _ia_na(value: bytes) -> IaNa:
    if len(value) < 12:
        raise WireError(f"DHCPv6: an IA_NA of {len(value)} bytes")
    found = IaNa(*_IA_NA.unpack_from(value))
    for kind, inner in _options(value[12:]):
        if kind == IA_ADDRESS:
            found.addresses.append(_ia_address(inner))
        elif kind == STATUS_CODE and found.status is None:
            found.status = _status(inner)
    return found


def _ia_address(value: bytes) -> IaAddress:
    if len(value) < 24:
        raise WireError(f"DHCPv6: an address of {len(value)} bytes with its lifetimes")
    found = IaAddress(*_IA_ADDRESS.unpack_from(value))
    for kind, inner in _options(value[24:]):
        if kind == STATUS_CODE and found.status is None:
            found.status = _status(inner)
    return found


def _read_requested(message: Message, value: bytes) -> None:
    if len(value) % 2:
        raise WireError("DHCPv6: half an option code")
    message.requested = [int.from_bytes(value[at : at + 2], "big") for at in range(0, len(value), 2)]


def _read_nameservers(message: Message, value: bytes) -> None:
    if len(value) % 16:
        raise WireError(f"DHCPv6: nameservers of {len(value)} bytes")
    message.nameservers = [value[at : at + 16] for at in range(0, len(value), 16)]


def _number(name: str, kind: int, size: int) -> Callable[[Message, bytes], None]:
    def read(message: Message, value: bytes) -> None:
        setattr(message, name, int.from_bytes(_sized(kind, value, size), "big"))

    return read


# option: (attribute, bytes) of those that are one number
_NUMBERS: Final = {
    PREFERENCE: ("preference", 1),
    ELAPSED_TIME: ("elapsed", 2),
    INFORMATION_REFRESH: ("refresh", 4),
    SOL_MAX_RT: ("sol_max_rt", 4),
    INF_MAX_RT: ("inf_max_rt", 4),
}
_READERS: Final[dict[int, Callable[[Message, bytes], None]]] = {
    CLIENT_ID: lambda message, value: setattr(message, "client_id", _duid(CLIENT_ID, value)),
    SERVER_ID: lambda message, value: setattr(message, "server_id", _duid(SERVER_ID, value)),
    IA_NA: lambda message, value: message.ia_nas.append(_ia_na(value)),
    OPTION_REQUEST: _read_requested,
    STATUS_CODE: lambda message, value: setattr(message, "status", _status(value)),
    RAPID_COMMIT: lambda message, value: setattr(message, "rapid_commit", True),
    DNS_SERVERS: _read_nameservers,
    DOMAIN_LIST: lambda message, value: setattr(message, "search", domains.parse(value)),
} | {kind: _number(name, kind, size) for kind, (name, size) in _NUMBERS.items()}


# build


def build(message: Message) -> bytes:
    """The bytes of `message`."""
    parts = [bytes((message.type,)), message.transaction.to_bytes(3, "big")]
    if message.client_id:
        parts.append(_option(CLIENT_ID, message.client_id))
    if message.server_id:
        parts.append(_option(SERVER_ID, message.server_id))
    parts += [_option(IA_NA, _build_ia_na(ia_na)) for ia_na in message.ia_nas]
    if message.requested:
        codes = b"".join(code.to_bytes(2, "big") for code in message.requested)
        parts.append(_option(OPTION_REQUEST, codes))
    for kind, (name, size) in _NUMBERS.items():
        value: int | None = getattr(message, name)
        if value is not None:
            parts.append(_option(kind, value.to_bytes(size, "big")))
    if message.status is not None:
        parts.append(_build_status(message.status))
    if message.rapid_commit:
        parts.append(_option(RAPID_COMMIT, b""))
    if message.nameservers:
        parts.append(_option(DNS_SERVERS, b"".join(message.nameservers)))
    if message.search:
        parts.append(_option(DOMAIN_LIST, domains.build(message.search)))
    return b"".join(parts)


def _option(kind: int, value: bytes) -> bytes:
    return _OPTION.pack(kind, len(value)) + value


def _build_status(status: Status | None) -> bytes:
    if status is None:
        return b""
    return _option(STATUS_CODE, status.code.to_bytes(2, "big") + status.text.encode())


def _build_ia_na(ia_na: IaNa) -> bytes:
    value = _IA_NA.pack(ia_na.iaid, ia_na.t1, ia_na.t2)
    for one in ia_na.addresses:
        inner = _IA_ADDRESS.pack(one.address, one.preferred, one.valid) + _build_status(one.status)
        value += _option(IA_ADDRESS, inner)
    return value + _build_status(ia_na.status)
