"""Errors of our own. Everything an application meets is an `OSError` with the kernel's errno instead."""

from __future__ import annotations

import errno
import os


class WireError(ValueError):
    """Bytes that are no valid header. Raised only by `wire`, caught and counted by the layer that parsed."""


def os_error(number: int, detail: str = "") -> OSError:
    """The exception that the kernel's sockets raise for `number`, e.g. ECONNREFUSED -> ConnectionRefusedError.

    `detail` says what and where; it follows the kernel's own words.
    """
    text = os.strerror(number)
    return OSError(number, f"{text}: {detail}" if detail else text)


def is_connection_loss(exc: BaseException | None) -> bool:
    """Whether `exc` is an ordinary end of a connection (reset, broken pipe, timeout, unreachable)."""
    if isinstance(exc, (ConnectionError, TimeoutError)):
        return True
    return isinstance(exc, OSError) and exc.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN)
