"""The words of C that stand in system calls, as numbers."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import termios
from typing import Any, Final

from asyncstack.testing.packetdrill.polling import EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD
from asyncstack.testing.packetdrill.script import Either, ScriptError, UnsupportedError, Word

# of Linux, and not in the modules of Python 3.11
_MORE: Final = {
    "EPOLL_CTL_ADD": EPOLL_CTL_ADD,
    "EPOLL_CTL_DEL": EPOLL_CTL_DEL,
    "EPOLL_CTL_MOD": EPOLL_CTL_MOD,
    "SOL_MPTCP": 284,
    "SO_ZEROCOPY": 60,
    "SO_MAX_PACING_RATE": 47,
    "SO_TXTIME": 61,
    "SO_TIMESTAMPING": 37,
    "SO_TIMESTAMP": 29,
    "SO_TIMESTAMPNS": 35,
    "SO_MEMINFO": 55,
    "SO_INCOMING_CPU": 49,
    "SO_BUSY_POLL": 46,
    "MSG_ZEROCOPY": 0x4000000,
    "MSG_FASTOPEN": 0x20000000,
    "SIOCINQ": 0x541B,
    "SIOCOUTQ": 0x5411,
    "SIOCOUTQNSD": 0x894B,
    "TCP_THIN_LINEAR_TIMEOUTS": 16,
    "TCP_THIN_DUPACK": 17,
    "TCP_REPAIR": 19,
    "TCP_QUEUE_SEQ": 21,
    "TCP_FASTOPEN": 23,
    "TCP_TIMESTAMP": 24,
    "TCP_NOTSENT_LOWAT": 25,
    "TCP_CC_INFO": 26,
    "TCP_SAVE_SYN": 27,
    "TCP_SAVED_SYN": 28,
    "TCP_REPAIR_WINDOW": 29,
    "TCP_FASTOPEN_CONNECT": 30,
    "TCP_ULP": 31,
    "TCP_MD5SIG_EXT": 32,
    "TCP_FASTOPEN_KEY": 33,
    "TCP_FASTOPEN_NO_COOKIE": 34,
    "TCP_ZEROCOPY_RECEIVE": 35,
    "TCP_INQ": 36,
    "TCP_CM_INQ": 36,
    "TCP_TX_DELAY": 37,
    "TCP_RTO_MAX_MS": 44,
    "IPPROTO_MPTCP": 262,
}
_KERNEL_ONLY: Final = {
    "MSG_ZEROCOPY": "zerocopy",
    "SO_ZEROCOPY": "zerocopy",
    "TCP_ZEROCOPY_RECEIVE": "zerocopy",
    "MSG_ERRQUEUE": "the error queue",
    "SO_TIMESTAMPING": "timestamps by cmsg",
    "SO_TIMESTAMP": "timestamps by cmsg",
    "SO_TIMESTAMPNS": "timestamps by cmsg",
    "SO_TXTIME": "timestamps by cmsg",
    "IPPROTO_MPTCP": "MPTCP",
    "SOL_MPTCP": "MPTCP",
    "TCP_MD5SIG": "TCP-MD5",
    "TCP_MD5SIG_EXT": "TCP-MD5",
    "TCP_REPAIR": "TCP_REPAIR",
    "SO_MEMINFO": "SO_MEMINFO",
    "SOCK_RAW": "raw sockets",
    "TCP_TX_DELAY": "TCP_TX_DELAY",
    "TCP_ULP": "TLS in the kernel",
}


def constant(name: str) -> int:
    """The value of the constant `name`. Raises ScriptError for an unknown one, UnsupportedError for a kernel's."""
    if name in _KERNEL_ONLY:
        raise UnsupportedError(_KERNEL_ONLY[name])
    for module in (socket, select, os, fcntl, termios, errno):
        value = getattr(module, name, None)
        if isinstance(value, int):
            return int(value)
    if name not in _MORE:
        raise ScriptError(f"{name} is no constant that we know")
    return _MORE[name]


def number(value: Any) -> int:
    """The number that an argument stands for: itself, a constant, or constants joined by `|`."""
    if isinstance(value, int):
        return value
    if isinstance(value, Word):
        return constant(value.name)
    if isinstance(value, Either):
        total = 0
        for part in value.parts:
            total |= number(part)
        return total
    if isinstance(value, list) and len(value) == 1:
        return number(value[0])
    raise ScriptError(f"{value!r} is no number")


def errno_name(code: int | None) -> str:
    """EAGAIN for 11."""
    return errno.errorcode.get(code or 0, str(code))
