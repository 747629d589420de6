"""What can be learnt of a socket of the kernel: which one may be replaced, and how it differs from a new one."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
from typing import Any, Final

from asyncstack.errors import os_error
from asyncstack.network.addresses import parse_address
from asyncstack.transport.options import COMMON, Options, Table

DOUBLED: Final = ((socket.SOL_SOCKET, socket.SO_RCVBUF), (socket.SOL_SOCKET, socket.SO_SNDBUF))
OF_THE_KERNEL: Final = ((socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF),)  # the number of an interface
LARGEST_VALUE: Final = 64  # bytes of an option
# tcpi_unacked and tcpi_sacked of a socket that listens
_WAITING: Final = slice(24, 28)
_MOST_WAITING: Final = slice(28, 32)


def is_replaceable(sock: Any) -> bool:
    """Whether a stack could have a socket like `sock`, an open one of the kernel."""
    return (
        isinstance(sock, socket.socket)
        and not isinstance(sock, ssl.SSLSocket)
        and sock.family in (socket.AF_INET, socket.AF_INET6)
        and sock.type in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
        and sock.fileno() >= 0
    )


def local_name(sock: socket.socket) -> tuple[bytes, int]:
    """(address, port) that it is bound to; zeros if it is not."""
    name = sock.getsockname()
    return parse_address(name[0]), name[1]


def peer_name(sock: socket.socket) -> tuple[Any, ...] | None:
    """The address that it is connected to, None without one."""
    try:
        name: tuple[Any, ...] = sock.getpeername()
    except OSError:
        return None
    return name


def backlog(sock: socket.socket) -> int | None:
    """The backlog of a listening socket, None of another."""
    return _of_listening(sock, _MOST_WAITING)


def has_waiting(sock: socket.socket) -> bool:
    """Whether connections wait in the accept queue of a socket, if it listens."""
    return bool(_of_listening(sock, _WAITING))


def _of_listening(sock: socket.socket, field: slice) -> int | None:
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return None
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int.from_bytes(info[field], "little")


Values = dict[tuple[int, int], bytes]


class KernelOptions:
    """The options of the kernel's sockets that were set, which is told by comparing with a new socket."""

    def __init__(self) -> None:
        self._new: dict[tuple[int, int], Values] = {}

    def copy(self, sock: socket.socket, made: Options) -> None:
        """Set on `made` what was set on `sock`, as far as a stack has such an option."""
        table = COMMON | made.table
        usual = self._values_of_new(sock, table)
        for key, value in _values(sock, table).items():
            if value != usual.get(key) and key not in OF_THE_KERNEL:
                if key in DOUBLED:
                    value = (int.from_bytes(value, "little") // 2).to_bytes(4, "little")
                with contextlib.suppress(OSError):  # one that a stack has not, or not with this value
                    made.setsockopt(*key, value)

    def _values_of_new(self, sock: socket.socket, table: Table) -> Values:
        kind = (sock.family, sock.type)
        if kind not in self._new:
            with socket.socket(*kind) as new:
                self._new[kind] = _values(new, table)
        return self._new[kind]


def _values(sock: socket.socket, table: Table) -> Values:
    """What `sock` has of the options in `table` that can be set."""
    found: Values = {}
    for key, option in table.items():
        if option.set is not None or option.set_bytes is not None:
            with contextlib.suppress(OSError):
                found[key] = sock.getsockopt(*key, LARGEST_VALUE)
    return found


def refuse(call: str) -> OSError:
    """The error of a call that nothing in this process can answer."""
    return os_error(
        errno.EOPNOTSUPP, f"{call}: this socket belongs to a stack in this process, not to the kernel"
    )
