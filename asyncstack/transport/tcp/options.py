"""The socket options of a TCP connection, by their names in `socket`: a getter and a setter each."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from asyncstack.errors import os_error
from asyncstack.transport.endpoint_socket import Option

if TYPE_CHECKING:
    from asyncstack.transport.tcp.endpoint import TcpEndpoint

SOL_SOCKET: Final = socket.SOL_SOCKET
IPPROTO_TCP: Final = socket.IPPROTO_TCP

SMALLEST_BUFFER: Final = 2304  # Linux: SOCK_MIN_RCVBUF; less is taken as this


def _buffer(value: int) -> int:
    return max(value, SMALLEST_BUFFER)


def _seconds(value: int) -> float:
    return float(_from_1_to(32767, value))


def _times(value: int) -> int:
    return _from_1_to(127, value)


def _from_1_to(most: int, value: int) -> int:
    if not 1 <= value <= most:
        raise os_error(errno.EINVAL, f"the value {value} of a socket option: 1 to {most}")
    return value


# option -> (name in TcpConfig, the setting for a value of the option)
_SETTINGS: Final[dict[tuple[int, int], tuple[str, Callable[[int], object]]]] = {
    (IPPROTO_TCP, socket.TCP_NODELAY): ("nodelay", bool),
    (SOL_SOCKET, socket.SO_KEEPALIVE): ("keepalive", bool),
    (IPPROTO_TCP, socket.TCP_KEEPIDLE): ("keepalive_idle", _seconds),
    (IPPROTO_TCP, socket.TCP_KEEPINTVL): ("keepalive_interval", _seconds),
    (IPPROTO_TCP, socket.TCP_KEEPCNT): ("keepalive_count", _times),
    (SOL_SOCKET, socket.SO_RCVBUF): ("receive_buffer", _buffer),
    (SOL_SOCKET, socket.SO_SNDBUF): ("send_buffer", _buffer),
}


def socket_options(endpoint: TcpEndpoint) -> dict[tuple[int, int], Option]:
    """(level, option) -> (getter, setter) for one connection. Times are whole seconds, as sockets have them."""
    return {key: _setting(endpoint, name, kind) for key, (name, kind) in _SETTINGS.items()}


def _setting(endpoint: TcpEndpoint, name: str, kind: Callable[[int], object]) -> Option:
    def get() -> int:
        return int(getattr(endpoint.connection.config, name))

    def change(value: int) -> None:
        endpoint.configure(replace(endpoint.connection.config, **{name: kind(value)}))  # type: ignore[arg-type]

    return get, change
