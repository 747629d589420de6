"""The socket options of a TCP connection, by their names in `socket`: a getter and a setter each."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Final

from asyncstack.timing import Clock
from asyncstack.transport.endpoint_socket import Option
from asyncstack.transport.tcp.connection import Connection

SOL_SOCKET: Final = socket.SOL_SOCKET
IPPROTO_TCP: Final = socket.IPPROTO_TCP

# option -> (name in TcpConfig, units of the option per unit of the setting)
_SETTINGS: Final[dict[tuple[int, int], tuple[str, type]]] = {
    (IPPROTO_TCP, socket.TCP_NODELAY): ("nodelay", bool),
    (SOL_SOCKET, socket.SO_KEEPALIVE): ("keepalive", bool),
    (IPPROTO_TCP, socket.TCP_KEEPIDLE): ("keepalive_idle", float),
    (IPPROTO_TCP, socket.TCP_KEEPINTVL): ("keepalive_interval", float),
    (IPPROTO_TCP, socket.TCP_KEEPCNT): ("keepalive_count", int),
    (SOL_SOCKET, socket.SO_RCVBUF): ("receive_buffer", int),
    (SOL_SOCKET, socket.SO_SNDBUF): ("send_buffer", int),
}


def socket_options(connection: Connection, clock: Clock) -> dict[tuple[int, int], Option]:
    """(level, option) -> (getter, setter) for one connection. Times are whole seconds, as sockets have them."""
    return {key: _setting(connection, clock, name, kind) for key, (name, kind) in _SETTINGS.items()}


def _setting(connection: Connection, clock: Clock, name: str, kind: type) -> Option:
    def get() -> int:
        return int(getattr(connection.config, name))

    def change(value: int) -> None:
        connection.configure(replace(connection.config, **{name: kind(value)}), clock())

    return get, change
