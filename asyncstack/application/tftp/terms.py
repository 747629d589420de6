"""What the two ends of a TFTP transfer agree on (RFC 2347 to 2349, 7440), and how it may fail."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

from asyncstack.errors import os_error
from asyncstack.wire import tftp
from asyncstack.wire.tftp import BLOCK_SIZES, TIMEOUTS, WINDOW_SIZES, Options

_ERRNO: Final = {
    tftp.NOT_FOUND: errno.ENOENT,
    tftp.ACCESS: errno.EACCES,
    tftp.DISK_FULL: errno.ENOSPC,
    tftp.ILLEGAL: errno.EPROTO,
    tftp.UNKNOWN_TRANSFER: errno.EPROTO,
    tftp.EXISTS: errno.EEXIST,
    tftp.OPTIONS: errno.EPROTO,
}

LONGEST_TIMEOUT: Final = 10  # seconds of a client's: who falls silent holds its place for six times that


@dataclass(frozen=True, slots=True)
class Terms:
    """block: bytes; window: blocks that are sent before they have to be acknowledged; timeout: seconds until something
    is said again."""

    block: int = tftp.BLOCK_SIZE
    window: int = 1
    timeout: float = 1.0


def offer(terms: Terms, size: int) -> Options:
    """The options of a client that wants `terms` and writes `size` bytes, 0 if it reads."""
    options = {"tsize": str(size)}
    if terms.block != tftp.BLOCK_SIZE:
        options["blksize"] = str(terms.block)
    if terms.window != 1:
        options["windowsize"] = str(terms.window)
    return options


def number(value: str) -> int:
    """An option's value; -1 for what is none."""
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 20 else -1


def answer(asked: Options, most: Terms, size: int | None) -> tuple[Terms, Options]:
    """What a server makes of `asked`, at most `most`, and what it says of that; what it does not know, or makes no
    sense, it passes over. size: of the file, None: unknown."""
    block, window, timeout = tftp.BLOCK_SIZE, 1, most.timeout
    agreed: Options = {}
    for name, value in asked.items():
        given = number(value)
        if name == "blksize" and given in BLOCK_SIZES:
            block = min(given, most.block)
            agreed[name] = str(block)
        elif name == "windowsize" and given in WINDOW_SIZES:
            window = min(given, most.window)
            agreed[name] = str(window)
        elif name == "timeout" and given in TIMEOUTS and given <= LONGEST_TIMEOUT:
            timeout = float(given)
            agreed[name] = value
        elif name == "tsize" and given >= 0 and size is not None:
            agreed[name] = str(size)
    return Terms(block, window, timeout), agreed


def accept(agreed: Options, wanted: Terms) -> Terms:
    """What a client that wanted `wanted` makes of the answer. Raises ValueError for what it did not ask for."""
    block, window = tftp.BLOCK_SIZE, 1
    for name, value in agreed.items():
        given = number(value)
        if name == "blksize" and given in BLOCK_SIZES and given <= wanted.block:
            block = given
        elif name == "windowsize" and given in WINDOW_SIZES and given <= wanted.window:
            window = given
        elif not (name == "tsize" and given >= 0):
            raise ValueError(f"{name}={value}")
    return Terms(block, window, wanted.timeout)


def failure(error: tftp.Error, who: str) -> OSError:
    """What to raise for an error that `who` has sent."""
    number = _ERRNO.get(error.code, errno.EIO)
    return os_error(number, f"{who} says {error.text or f'error {error.code}'!r}")
