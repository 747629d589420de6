"""Lists of domain names as options of NDP and DHCP carry them (RFC 1035 3.1, without compression).

parse(data: Buffer) -> list[str]     names in text without the last dot; raises WireError
build(names: Iterable[str]) -> bytes     raises ValueError for what is no domain
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from asyncstack.errors import WireError

NAME_LIMIT: Final = 255  # bytes as they are carried

_LABEL = re.compile(rb"[A-Za-z0-9_-]{1,63}").fullmatch


def parse(data: bytes | memoryview) -> list[str]:
    """The names in `data`. The root, a zero where a name begins, is passed over: NDP pads with it."""
    data = bytes(data)
    names: list[str] = []
    at = 0
    while at < len(data):
        labels, start = [], at
        while size := data[at]:
            label = data[at + 1 : at + 1 + size]
            at += 1 + size
            if at >= len(data) or not _LABEL(label):
                raise WireError(f"domain names: no label at {at - 1 - size} of {data.hex()}")
            labels.append(label.decode("ascii"))
        at += 1
        if at - start > NAME_LIMIT:
            raise WireError(f"domain names: one of {at - start} bytes")
        if labels:
            names.append(".".join(labels))
    return names


def build(names: Iterable[str]) -> bytes:
    """`names` one after the other."""
    return b"".join(map(_build, names))


def _build(name: str) -> bytes:
    labels = name.removesuffix(".").encode("ascii", "replace").split(b".")
    if not all(map(_LABEL, labels)) or sum(map(len, labels)) + len(labels) >= NAME_LIMIT:
        raise ValueError(f"{name!r} is no domain name")
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
