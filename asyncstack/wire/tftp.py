"""TFTP's packets (RFC 1350, options by RFC 2347).

parse(data: Buffer) -> Packet     raises WireError
build(packet: Packet) -> bytes     raises ValueError for a name or an option with a zero in it
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from asyncstack.errors import WireError

PORT: Final = 69
BLOCK_SIZE: Final = 512
BLOCK_SIZES: Final = range(8, 65465)  # RFC 2348
WINDOW_SIZES: Final = range(1, 65536)  # RFC 7440
TIMEOUTS: Final = range(1, 256)  # seconds, RFC 2349
REQUEST_LIMIT: Final = 512  # bytes of a request, RFC 2347

# operations
READ: Final = 1
WRITE: Final = 2
_DATA: Final = 3
_ACK: Final = 4
_ERROR: Final = 5
_OACK: Final = 6

# error codes
UNDEFINED: Final = 0
NOT_FOUND: Final = 1
ACCESS: Final = 2
DISK_FULL: Final = 3
ILLEGAL: Final = 4
UNKNOWN_TRANSFER: Final = 5
EXISTS: Final = 6
OPTIONS: Final = 8

Options = dict[str, str]  # names in lower case


@dataclass(slots=True)
class Request:
    """READ or WRITE of the file `name`; `mode` is "octet" or "netascii", in lower case."""

    operation: int
    name: str
    mode: str = "octet"
    options: Options = field(default_factory=dict)


@dataclass(slots=True)
class Data:
    """A block; one that is not full is the last."""

    block: int
    data: bytes


@dataclass(slots=True)
class Ack:
    """All blocks up to this one are there."""

    block: int


@dataclass(slots=True)
class Error:
    """The transfer is over."""

    code: int
    text: str


@dataclass(slots=True)
class OptionAck:
    """What of the options goes."""

    options: Options


Packet = Request | Data | Ack | Error | OptionAck


def parse(data: bytes | memoryview) -> Packet:
    """The packet that fills `data`."""
    data = bytes(data)
    operation = int.from_bytes(data[:2], "big")
    if operation == _DATA and len(data) >= 4:
        return Data(int.from_bytes(data[2:4], "big"), data[4:])
    if operation == _ACK and len(data) == 4:
        return Ack(int.from_bytes(data[2:], "big"))
    if operation == _ERROR and len(data) >= 4:
        text = data[4:].partition(b"\0")[0]
        return Error(int.from_bytes(data[2:4], "big"), text.decode("utf-8", "replace"))
    if operation == _OACK:
        return OptionAck(_options(_strings(data[2:])))
    if operation in (READ, WRITE) and len(data) <= REQUEST_LIMIT:
        strings = _strings(data[2:])
        if len(strings) < 2:
            raise WireError("TFTP: a request without a mode")
        return Request(operation, strings[0], strings[1].lower(), _options(strings[2:]))
    raise WireError(f"TFTP: {len(data)} bytes of operation {operation}")


def _strings(data: bytes) -> list[str]:
    *strings, rest = data.split(b"\0")
    if rest:
        raise WireError("TFTP: a string without an end")
    return [string.decode("utf-8", "surrogateescape") for string in strings]


def _options(strings: list[str]) -> Options:
    if len(strings) % 2:
        raise WireError("TFTP: an option without a value")
    return {
        name.lower(): value for name, value in zip(strings[-2::-2], strings[::-2], strict=True)
    }  # of two with one name the first


def build(packet: Packet) -> bytes:
    """The bytes of `packet`."""
    if isinstance(packet, Data):
        return b"\0\3" + packet.block.to_bytes(2, "big") + packet.data
    if isinstance(packet, Ack):
        return b"\0\4" + packet.block.to_bytes(2, "big")
    if isinstance(packet, Error):
        return b"\0\5" + packet.code.to_bytes(2, "big") + _build_strings(packet.text)
    if isinstance(packet, OptionAck):
        return b"\0\6" + _build_options(packet.options)
    head = packet.operation.to_bytes(2, "big") + _build_strings(packet.name, packet.mode)
    return head + _build_options(packet.options)


def _build_options(options: Options) -> bytes:
    return b"".join(_build_strings(*option) for option in options.items())


def _build_strings(*strings: str) -> bytes:
    for string in strings:
        if "\0" in string:
            raise ValueError(f"{string!r} has a zero in it")
    return b"".join(string.encode("utf-8", "surrogateescape") + b"\0" for string in strings)
