"""The server's side of DNS over UDP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

from asyncstack.application.dns.streams import Reply
from asyncstack.transport.options import IP_PKTINFO

# where the interface stands in what says who was asked: the answer leaves by whichever leads back
_INTERFACE: Final = {
    (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO): slice(16, 20),
    (socket.IPPROTO_IP, IP_PKTINFO): slice(0, 4),
}


class Datagrams(asyncio.DatagramProtocol):
    """Hands each query to `receive(data, reply)`. The answer leaves from the address that was asked (RFC 2181 4)."""

    def __init__(self, receive: Callable[[bytes, Reply], None]) -> None:
        self._receive = receive

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)

    def message_received(
        self, data: bytes, ancillary: Iterable[tuple[int, int, bytes]], address: Any
    ) -> None:
        """asyncstack's call, with who was asked."""
        source = []
        for level, kind, info in ancillary:
            interface = _INTERFACE.get((level, kind))
            if interface is not None:
                source.append((level, kind, info[: interface.start] + bytes(4) + info[interface.stop :]))

        def reply(answer: bytes) -> None:
            if answer:
                self._transport.sendmsg([answer], source, 0, address)

        self._receive(data, reply)
