"""What the options of DHCP hold (RFC 2132, and the RFCs named below), to bytes and back.

Readers give None, or an empty list, for a value that is malformed: one bad option costs itself, not the message.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

SUBNET_MASK: Final = 1
ROUTER: Final = 3
NAMESERVERS: Final = 6
HOST_NAME: Final = 12
DOMAIN_NAME: Final = 15
MTU: Final = 26
BROADCAST_ADDRESS: Final = 28
NTP_SERVERS: Final = 42
REQUESTED_ADDRESS: Final = 50
LEASE_TIME: Final = 51
OVERLOAD: Final = 52
MESSAGE_TYPE: Final = 53
SERVER_ID: Final = 54
PARAMETERS: Final = 55
MESSAGE: Final = 56
MAX_MESSAGE_SIZE: Final = 57
RENEWAL_TIME: Final = 58  # T1
REBINDING_TIME: Final = 59  # T2
CLIENT_ID: Final = 61
RELAY_AGENT: Final = 82  # RFC 3046
SUBNET_SELECTION: Final = 118  # RFC 3011
DOMAIN_SEARCH: Final = 119  # RFC 3397
CLASSLESS_ROUTES: Final = 121  # RFC 3442

FOREVER: Final = 0xFFFFFFFF  # a lease time without end

DOMAINS: Final = 64  # read of a search list
POINTERS: Final = 16  # followed for one name: each is time that a message can cost, and none needs many

ClasslessRoute = tuple[bytes, int, bytes]  # prefix, prefix length, router; 0.0.0.0: on the link


def read_address(value: bytes | None) -> bytes | None:
    """One address."""
    return value if value is not None and len(value) == 4 else None


def read_addresses(value: bytes | None) -> list[bytes]:
    """A list of addresses, 0.0.0.0 left out."""
    if not value or len(value) % 4:
        return []
    return [part for at in range(0, len(value), 4) if any(part := value[at : at + 4])]


def read_number(value: bytes | None, size: int = 4) -> int | None:
    """A number of `size` bytes."""
    return int.from_bytes(value, "big") if value is not None and len(value) == size else None


def read_mask(value: bytes | None) -> int | None:
    """The prefix length of a mask whose ones are all in front."""
    if value is None or len(value) != 4:
        return None
    zeros = ~int.from_bytes(value, "big") & 0xFFFFFFFF
    return None if zeros & (zeros + 1) else 32 - zeros.bit_length()


def build_mask(prefix_length: int) -> bytes:
    """The mask of a prefix."""
    return (0xFFFFFFFF << (32 - prefix_length) & 0xFFFFFFFF).to_bytes(4, "big")


def read_text(value: bytes | None) -> str:
    """ASCII text without what some servers put behind it; "" if it is none."""
    text = (value or b"").rstrip(b"\0")
    return text.decode("ascii") if text.isascii() and text.decode("ascii").isprintable() else ""


def read_routes(value: bytes | None) -> list[ClasslessRoute]:
    """The routes of option 121 (RFC 3442): of each as many bytes of the prefix as count, and its router."""
    routes: list[ClasslessRoute] = []
    rest = value or b""
    while rest:
        length = rest[0]
        significant = (length + 7) // 8
        if length > 32 or len(rest) < 5 + significant:
            return []
        prefix = rest[1 : 1 + significant].ljust(4, b"\0")
        masked = int.from_bytes(prefix, "big") & int.from_bytes(build_mask(length), "big")
        routes.append((masked.to_bytes(4, "big"), length, rest[1 + significant : 5 + significant]))
        rest = rest[5 + significant :]
    return routes


def build_routes(routes: Iterable[ClasslessRoute]) -> bytes:
    """The value of option 121."""
    return b"".join(
        bytes([length]) + prefix[: (length + 7) // 8] + router for prefix, length, router in routes
    )


def read_domains(value: bytes | None) -> list[str]:
    """The names of option 119 (RFC 3397), which may point back into it as in DNS; the first `DOMAINS` of them."""
    names: list[str] = []
    data, at = value or b"", 0
    while at < len(data) and len(names) < DOMAINS:
        labels, at = _read_name(data, at)
        if labels is None:
            return []
        names.append(".".join(labels))
    return [name for name in names if name]


def _read_name(data: bytes, at: int) -> tuple[list[str] | None, int]:
    """The labels of the name at `at`, and where the next one is. Pointers lead backwards only, so it ends."""
    labels: list[str] = []
    after, bound, size, pointers = 0, at, 0, 0
    while at < len(data):
        length = data[at]
        if length >= 0xC0:
            target = int.from_bytes(data[at : at + 2], "big") & 0x3FFF
            pointers += 1
            if at + 1 >= len(data) or target >= bound or pointers > POINTERS:
                return None, 0
            after, at, bound = after or at + 2, target, target
            continue
        if length == 0:
            return labels, after or at + 1
        label = data[at + 1 : at + 1 + length]
        size += length + 1
        if length > 63 or len(label) < length or size > 254 or not _is_label(label):
            return None, 0
        labels.append(label.decode("ascii").lower())
        at += 1 + length
    return None, 0


def _is_label(label: bytes) -> bool:
    return label.isascii() and all(chr(byte).isalnum() or byte in b"-_" for byte in label)


def build_domains(names: Iterable[str]) -> bytes:
    """The value of option 119, without compression: what every client reads. Raises ValueError for what is no name."""
    built = bytearray()
    for name in names:
        for label in name.rstrip(".").encode("ascii").split(b"."):
            if not 1 <= len(label) <= 63:
                raise ValueError(f"{name!r} is no domain name")
            built += bytes([len(label)]) + label
        built.append(0)
    return bytes(built)
