"""Ping: ICMP echo requests of our own (RFC 792, RFC 4443), and the replies to them."""

from __future__ import annotations

import asyncio
import errno
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from asyncstack.errors import os_error
from asyncstack.network.addresses import format_address, is_of_a_link
from asyncstack.network.errors import IcmpError
from asyncstack.network.icmp import Icmp
from asyncstack.network.icmpv6 import Icmpv6
from asyncstack.network.routing import RoutingTable
from asyncstack.timing import Clock
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface

OUTSTANDING_LIMIT: Final = 65536
LARGEST_ECHO: Final = 65507


@dataclass(slots=True)
class PingReply:
    """An echo reply. `rtt` in seconds; `size` is the payload in bytes; `ttl` as it arrived here."""

    source: str
    sequence: int
    size: int
    ttl: int
    rtt: float


class Ping:
    """Matches echo replies, and errors about our echo requests, with who waits for them."""

    def __init__(
        self, clock: Clock, routes: RoutingTable, icmp: Icmp, icmpv6: Icmpv6, rng: random.Random
    ) -> None:
        self._clock = clock
        self._routes = routes
        self._icmp, self._icmpv6 = icmp, icmpv6
        self._rng = rng
        self._sequence = rng.randrange(1 << 16)
        self._waiting: dict[tuple[bytes, int, int], tuple[asyncio.Future[Packet], bytes, object]] = {}
        for layer in (icmp, icmpv6):
            layer.on_echo_reply = self._reply_received
            layer.on_echo_error = self._error_received

    async def ping(
        self,
        remote: bytes,
        *,
        source: bytes = b"",
        scope: Interface | None = None,
        sequence: int | None = None,
        timeout: float = 1.0,
        size: int = 56,
    ) -> PingReply:
        """Send one echo request of `size` payload bytes and wait `timeout` seconds for its reply.

        Raises TimeoutError; or the OSError that came back instead (EHOSTUNREACH, ENETUNREACH), or ENETDOWN.
        """
        if not 0 <= size <= LARGEST_ECHO:
            raise ValueError(f"size is {size}; an echo request carries 0 to {LARGEST_ECHO} bytes")
        if len(self._waiting) >= OUTSTANDING_LIMIT:
            raise os_error(errno.ENOBUFS, f"{OUTSTANDING_LIMIT} echo requests wait for a reply")
        path = self._routes.lookup(remote, source, scope if is_of_a_link(remote) else None)
        if sequence is None:
            sequence = self._sequence = (self._sequence + 1) & 0xFFFF
        ident = self._rng.randrange(1 << 16)
        key = (path.destination, ident, sequence)
        reply: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        payload = self._rng.randbytes(size)
        self._waiting[key] = (reply, payload, path.interface)
        layer = self._icmp if len(remote) == 4 else self._icmpv6
        sent = self._clock()
        try:
            layer.send_echo(path, ident, sequence, payload)
            async with asyncio.timeout(timeout):
                packet = await reply
        except TimeoutError:
            raise TimeoutError(f"no echo reply from {format_address(remote)} within {timeout:g} s") from None
        finally:
            del self._waiting[key], reply  # which holds its exception, whose traceback holds this frame
        return PingReply(format_address(packet.src), sequence, size, packet.ttl, self._clock() - sent)

    def _reply_received(self, packet: Packet, ident: int, sequence: int, payload: bytes) -> None:
        waiting = self._waiting.get((packet.src, ident, sequence))
        if waiting is not None and not waiting[0].done() and payload == waiting[1]:
            waiting[0].set_result(packet)

    def _error_received(self, error: IcmpError, ident: int, sequence: int) -> bool:
        waiting = self._waiting.get((error.quoted.dst, ident, sequence))
        if waiting is None:
            return False
        if not waiting[0].done():
            where = format_address(error.quoted.dst)
            detail = f"{error.kind.value}, says {format_address(error.reporter)}, about {where}"
            waiting[0].set_exception(os_error(error.errno, detail))
        return True

    def interface_down(self, interface: object, error: OSError) -> None:
        """Nothing comes over `interface` any more: tell who waits for a reply."""
        for reply, _, way in self._waiting.values():
            if way is interface and not reply.done():
                reply.set_exception(error)
