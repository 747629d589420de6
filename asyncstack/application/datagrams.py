"""A server's side of UDP: what it answers comes from the address that was asked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

from asyncstack.transport.options import IP_PKTINFO
from asyncstack.transport.sockets.addresses import MAPPED

Ancillary = tuple[int, int, bytes]

# where the interface stands in what says who was asked: the answer leaves by whichever leads back
_INTERFACE: Final = {
    (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO): slice(16, 20),
    (socket.IPPROTO_IP, IP_PKTINFO): slice(0, 4),
}


class Asker:
    """Who has sent a datagram: from `address`, as asyncio has it."""

    __slots__ = ("_info", "_transport", "address")

    def __init__(self, transport: Any, info: Iterable[Ancillary], address: Any) -> None:
        self._transport = transport
        self._info = info
        self.address = address

    @property
    def asked(self) -> bytes:
        """The address that it was sent to, 4 or 16 bytes; perhaps a group's, or everybody's."""
        for level, _, info in self._info:
            if level == socket.IPPROTO_IPV6:
                return info[:16].removeprefix(MAPPED)
            return info[8:12]
        return b""

    def reply(self, data: bytes) -> None:
        """Send `data`, b"" for nothing, from the address that was asked (RFC 1123 4.1.3.5, RFC 2181 4)."""
        if not data:
            return
        source = []
        for level, kind, info in self._info:
            interface = _INTERFACE.get((level, kind))
            if interface is not None:
                source.append((level, kind, info[: interface.start] + bytes(4) + info[interface.stop :]))
        self._transport.sendmsg([data], source, 0, self.address)


class Datagrams(asyncio.DatagramProtocol):
    """Hands each datagram to `receive(data, asker)`."""

    def __init__(self, receive: Callable[[bytes, Asker], None]) -> None:
        self._receive = receive

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)

    def message_received(self, data: bytes, ancillary: Iterable[Ancillary], address: Any) -> None:
        """asyncstack's call, with who was asked."""
        self._receive(data, Asker(self._transport, ancillary, address))
