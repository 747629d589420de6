"""Ping: ICMP echo requests of our own (RFC 792, RFC 4443), and the replies to them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from struct import Struct
from typing import TYPE_CHECKING, Final

from asyncstack.network.addresses import format_address, format_on
from asyncstack.network.errors import IcmpError, Unreachable
from asyncstack.network.icmp import Icmp
from asyncstack.network.icmpv6 import Icmpv6
from asyncstack.transport.context import TransportContext
from asyncstack.transport.ports import choose_ephemeral
from asyncstack.transport.probes import Answer, Key
from asyncstack.wire import icmp as wire_icmp
from asyncstack.wire import icmpv6 as wire_icmpv6
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.network.routing import Path

LARGEST_ECHO: Final = 65507

_NAME = Struct("!HH")  # identifier, sequence number


@dataclass(slots=True)
class PingReply:
    """An echo reply. `rtt` in seconds; `size` is the payload in bytes; `ttl` as it arrived here."""

    source: str
    sequence: int
    size: int
    ttl: int
    rtt: float


class UnreachableError(OSError):
    """An ICMP error came instead of an answer, from `reporter`, which is our own address if the neighbour is silent.

    `errno` is what Linux has for it; `kind` says it in ICMP's words. `mtu`: bytes, if that is what was too small.
    """

    def __init__(self, error: IcmpError) -> None:
        self.reporter = format_address(error.reporter)
        self.kind: Unreachable = error.kind
        self.mtu = error.mtu
        where = format_address(error.quoted.dst)
        said = f"{error.kind.value}, says {self.reporter}, about {where}"
        super().__init__(error.errno, f"{os.strerror(error.errno)}: {said}")


class Ping:
    """Sends echo requests, and tells `TransportContext.probes` what comes back."""

    def __init__(self, context: TransportContext, icmp: Icmp, icmpv6: Icmpv6) -> None:
        self._context = context
        self._icmp, self._icmpv6 = icmp, icmpv6
        self._sequence = context.rng.randrange(1 << 16)
        for layer, protocol in ((icmp, wire_icmp.PROTOCOL), (icmpv6, wire_icmpv6.PROTOCOL)):
            layer.on_echo_reply = partial(self._reply_received, protocol)
            layer.on_echo_error = self._error_received

    async def ping(
        self,
        path: Path,
        *,
        sequence: int | None = None,
        timeout: float = 1.0,
        size: int = 56,
        ttl: int = 0,
    ) -> PingReply:
        """Send one echo request of `size` payload bytes along `path` and wait `timeout` seconds for its reply.

        Raises TimeoutError; UnreachableError, ENETDOWN or what else an OSError says; ValueError.
        """
        if sequence is None:
            sequence = self._sequence = (self._sequence + 1) & 0xFFFF
        if not 0 <= sequence <= 0xFFFF:
            raise ValueError(f"sequence={sequence}: 0 to 65535")
        if not 0 <= ttl <= 255:
            raise ValueError(f"ttl={ttl}: 1 to 255, or 0 for the stack's")
        try:
            answer = await self.echo(path, sequence, size, ttl, timeout)
        except TimeoutError:
            where = format_on(path.destination, path.interface)
            raise TimeoutError(f"no echo reply from {where} within {timeout:g} s") from None
        if answer.error is not None:
            raise UnreachableError(answer.error)
        assert answer.packet is not None
        packet = answer.packet
        return PingReply(format_address(packet.src), sequence, size, packet.ttl, answer.rtt)

    async def echo(self, path: Path, sequence: int, size: int, ttl: int, timeout: float) -> Answer:
        """One request along `path` and what comes back. Raises TimeoutError, OSError, ValueError."""
        if not 0 <= size <= LARGEST_ECHO:
            raise ValueError(f"size is {size}; an echo request carries 0 to {LARGEST_ECHO} bytes")
        four = len(path.destination) == 4
        layer = self._icmp if four else self._icmpv6
        protocol = wire_icmp.PROTOCOL if four else wire_icmpv6.PROTOCOL
        probes = self._context.probes

        def key(ident: int) -> Key:
            return protocol, path.destination, _NAME.pack(ident, sequence)

        ident = choose_ephemeral(self._context.rng, (0, 0xFFFF), lambda ident: key(ident) in probes)
        payload = self._context.rng.randbytes(size)
        return await probes.ask(
            key(ident),
            lambda: layer.send_echo(path, ident, sequence, payload, ttl=ttl),
            path.interface,
            timeout,
            lambda packet: packet.payload[8:] == payload,
        )

    def _reply_received(
        self, protocol: int, packet: Packet, ident: int, sequence: int, payload: bytes
    ) -> None:
        self._context.probes.answered(protocol, packet, _NAME.pack(ident, sequence))

    def _error_received(self, error: IcmpError, ident: int, sequence: int) -> bool:
        return self._context.probes.failed(error, _NAME.pack(ident, sequence))
