"""socket(2): which class answers for a family, type and protocol."""

from __future__ import annotations

import errno
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from asyncstack.errors import os_error
from asyncstack.transport.sockets.addresses import SocketNames
from asyncstack.transport.sockets.base import StackSocket
from asyncstack.transport.sockets.datagrams import DatagramSocket
from asyncstack.transport.sockets.stream import StreamSocket

if TYPE_CHECKING:
    from asyncstack.transport.tcp.layer import TcpLayer
    from asyncstack.transport.udp.layer import UdpLayer

FLAGS: Final = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


def make_socket(
    tcp: TcpLayer,
    udp: UdpLayer,
    registry: dict[StackSocket, None],
    names: SocketNames,
    family: int,
    kind: int,
    proto: int,
) -> StreamSocket | DatagramSocket:
    """A socket, held in `registry` until it is closed. Raises the OSError of what it can not be."""
    if family not in (socket.AF_INET, socket.AF_INET6):
        raise os_error(errno.EAFNOSUPPORT, f"family {family}: a stack has AF_INET and AF_INET6")
    flags, kind = kind & FLAGS, kind & ~FLAGS
    if kind not in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        raise os_error(errno.ESOCKTNOSUPPORT, f"type {kind}: a stack has SOCK_STREAM and SOCK_DGRAM")
    if proto not in (0, socket.IPPROTO_TCP if kind == socket.SOCK_STREAM else socket.IPPROTO_UDP):
        raise os_error(errno.EPROTONOSUPPORT, f"protocol {proto} of type {kind}")
    made: StreamSocket | DatagramSocket
    if kind == socket.SOCK_DGRAM:
        made = DatagramSocket(udp, registry, names, family)
    else:
        # asyncio sets TCP_NODELAY on its sockets; a plain one begins without
        made = StreamSocket(tcp, registry, names, family, replace(tcp.config.tcp, nodelay=False))
    made.default_ttl = tcp.config.ttl
    if flags & socket.SOCK_NONBLOCK:
        made.setblocking(False)
    return made
