"""What stands behind `get_extra_info("socket")`: addresses and options, in the shape of a socket.

Libraries ask it for `family`, `getsockname()` and `setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)`. It has no file
descriptor, and bytes go through the transport only.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from asyncstack.errors import os_error
from asyncstack.network.addresses import format_address

SocketAddress = tuple[Any, ...]
Option = tuple[Callable[[], int], Callable[[int], None] | None]


def socket_address(address: bytes, port: int) -> SocketAddress:
    """What `getsockname()` gives: (host, port), or (host, port, flowinfo, scope_id) for IPv6."""
    host = format_address(address)
    return (host, port) if len(address) == 4 else (host, port, 0, 0)


class EndpointSocket:
    """Reads and sets the options of one endpoint. `options` maps (level, name) to a getter and a setter."""

    __slots__ = ("_options", "_peer", "_sockname", "family", "proto", "type")

    def __init__(
        self,
        kind: int,
        proto: int,
        sockname: SocketAddress,
        peer: SocketAddress | None,
        options: dict[tuple[int, int], Option],
    ) -> None:
        self.family = socket.AF_INET6 if ":" in sockname[0] else socket.AF_INET
        self.type = kind
        self.proto = proto
        self._sockname = sockname
        self._peer = peer
        self._options = options

    def __repr__(self) -> str:
        return f"<EndpointSocket {self._sockname} -> {self._peer}>"

    def getsockname(self) -> SocketAddress:
        """(host, port), or (host, port, flowinfo, scope_id) for IPv6."""
        return self._sockname

    def getpeername(self) -> SocketAddress:
        """The other end. Raises OSError(ENOTCONN) on a listener or an unconnected datagram endpoint."""
        if self._peer is None:
            raise os_error(errno.ENOTCONN)
        return self._peer

    def fileno(self) -> int:
        """-1: the connection lives in this process, there is no descriptor to poll."""
        return -1

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> int | bytes:
        """The option's value; as `buflen` bytes if given. Raises OSError(ENOPROTOOPT) for one we do not have."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_TYPE):
            value = int(self.type)
        elif (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            value = 0
        else:
            value = self._find(level, option)[0]()
        return struct.pack("@i", value)[:buflen] if buflen else value

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """Set the option. Raises OSError(ENOPROTOOPT) for one we do not have or that can not be set."""
        setter = self._find(level, option)[1]
        if setter is None:
            raise os_error(errno.ENOPROTOOPT, f"socket option {option} of level {level} can only be read")
        setter(value if isinstance(value, int) else int.from_bytes(value, sys.byteorder, signed=True))

    def _find(self, level: int, option: int) -> Option:
        try:
            return self._options[level, option]
        except KeyError:
            detail = f"socket option {option} of level {level} is not one that asyncstack has"
            raise os_error(errno.ENOPROTOOPT, detail) from None

    def setblocking(self, flag: bool) -> None:
        """Accepted and ignored: there is nothing here that blocks."""

    def settimeout(self, value: float | None) -> None:
        """Accepted and ignored: there is nothing here that blocks."""

    def gettimeout(self) -> float:
        """0.0, as for every socket that asyncio owns."""
        return 0.0

    def _refuse(self, *args: object) -> Any:
        raise os_error(
            errno.EOPNOTSUPP, "use the transport: an asyncstack endpoint has no descriptor of its own"
        )

    recv = recv_into = send = sendall = accept = connect = bind = listen = detach = dup = _refuse
