"""Traceroute: which routers a packet passes, by the ICMP errors of those that it reaches with its last hop.

Probes are UDP datagrams to ports where nobody should be, ICMP echo requests, or TCP SYNs, as those of traceroute(8). A
SYN that is answered opens nothing: the answer belongs to no connection, and is reset.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final, Literal

from asyncstack.network.addresses import format_address
from asyncstack.network.errors import Unreachable
from asyncstack.transport.context import TransportContext
from asyncstack.transport.ping import Ping
from asyncstack.transport.ports import choose_ephemeral
from asyncstack.transport.probes import Answer
from asyncstack.wire import tcp, udp

if TYPE_CHECKING:
    from asyncstack.network.routing import Path
    from asyncstack.transport.tcp.layer import TcpLayer
    from asyncstack.transport.udp.layer import UdpLayer

Method = Literal["udp", "icmp", "tcp"]
METHODS: Final = ("udp", "icmp", "tcp")
FIRST_PORT: Final = 33434  # of UDP: each probe has the next one
AT_ONCE: Final = 16  # probes without an answer
MOST_QUERIES: Final = 10  # as traceroute(8)
DATA: Final = bytes(range(0x40, 0x60))  # of a datagram

_PORTS = Struct("!HH")


@dataclass(slots=True)
class ProbeReply:
    """Who answered a probe, after `rtt` seconds. error: what it said; None where the destination itself answered."""

    source: str
    rtt: float
    error: Unreachable | None


@dataclass(slots=True)
class Hop:
    """What the probes with this `ttl` brought; None is one without an answer in time."""

    ttl: int
    replies: list[ProbeReply | None]

    @property
    def last(self) -> bool:
        """Whether there is nothing beyond: the destination, or a router that knows no way."""
        return any(reply and reply.error is not Unreachable.TIME_EXCEEDED for reply in self.replies)


class Traceroute:
    """Sends the probes of one stack."""

    def __init__(self, context: TransportContext, ping: Ping, udp: UdpLayer, tcp: TcpLayer) -> None:
        self._context = context
        self._ping = ping
        self._udp = udp
        self._tcp = tcp

    async def trace(
        self,
        path: Path,
        *,
        method: Method = "udp",
        port: int = 0,
        first_ttl: int = 1,
        max_hops: int = 30,
        queries: int = 3,
        timeout: float = 5.0,
    ) -> AsyncGenerator[Hop, None]:
        """The hops in order, each once it is known, up to the last: `Stack.traceroute`."""
        _check(method, port, first_ttl, max_hops, queries)
        turns = asyncio.Semaphore(AT_ONCE)
        last = max_hops  # or less, once the end is known: later hops may answer before earlier ones

        async def probe(number: int, ttl: int) -> ProbeReply | None:
            nonlocal last
            async with turns:
                if ttl > last:
                    return None
                try:
                    reply = _reply(await self._probe(path, method, port, number, ttl, timeout))
                except TimeoutError:
                    return None
            if reply.error is not Unreachable.TIME_EXCEEDED:
                last = min(last, ttl)
            return reply

        hops = [
            [asyncio.create_task(probe((ttl - first_ttl) * queries + i, ttl)) for i in range(queries)]
            for ttl in range(first_ttl, max_hops + 1)
        ]
        try:
            for ttl, tasks in enumerate(hops, first_ttl):
                hop = Hop(ttl, list(await asyncio.gather(*tasks)))
                yield hop
                if hop.last:
                    return
        finally:
            every = [task for tasks in hops for task in tasks]
            for task in every:
                task.cancel()
            await asyncio.gather(*every, return_exceptions=True)  # takes what those that failed have to say

    async def _probe(
        self, path: Path, method: Method, port: int, number: int, ttl: int, timeout: float
    ) -> Answer:
        if method == "icmp":
            return await self._ping.echo(path, number & 0xFFFF, len(DATA), ttl, timeout)
        remote_port = port or 80 if method == "tcp" else (port or FIRST_PORT) + number
        protocol = tcp.PROTOCOL if method == "tcp" else udp.PROTOCOL
        local_port = self._unused_port(protocol, path, remote_port)
        send = self._send_syn if method == "tcp" else self._send_datagram
        key = (protocol, path.destination, _PORTS.pack(local_port, remote_port))
        return await self._context.probes.ask(
            key, lambda: send(path, local_port, remote_port, ttl), path.interface, timeout
        )

    def _send_datagram(self, path: Path, local_port: int, remote_port: int, ttl: int) -> None:
        self._udp.send(path, local_port, remote_port, DATA, ttl)

    def _send_syn(self, path: Path, local_port: int, remote_port: int, ttl: int) -> None:
        seq = self._context.rng.getrandbits(32)
        syn = tcp.Segment(local_port, remote_port, seq, 0, tcp.SYN, 0xFFFF, mss=path.mtu - 60)
        self._tcp.strays.reply(path, syn, ttl)

    def _unused_port(self, protocol: int, path: Path, remote_port: int) -> int:
        """A local port that no endpoint and no other probe has."""
        claims = (self._tcp if protocol == tcp.PROTOCOL else self._udp).claims

        def in_use(port: int) -> bool:
            return (
                claims.excludes(path.source, port)
                or (path.source, port, path.destination, remote_port) in self._tcp.connections
                or (protocol, path.destination, _PORTS.pack(port, remote_port)) in self._context.probes
            )

        return choose_ephemeral(self._context.rng, self._context.config.ephemeral_ports, in_use)


def _check(method: str, port: int, first_ttl: int, max_hops: int, queries: int) -> None:
    """Raises ValueError for what can not be."""
    if method not in METHODS:
        raise ValueError(f"method={method!r}: give one of {', '.join(METHODS)}")
    if not 1 <= first_ttl <= max_hops <= 255:
        raise ValueError(f"first_ttl={first_ttl}, max_hops={max_hops}: 1 to 255, in this order")
    if not 1 <= queries <= MOST_QUERIES:
        raise ValueError(f"queries={queries}: 1 to {MOST_QUERIES} probes for a hop")
    if not 0 <= port <= 0xFFFF:
        raise ValueError(f"port={port}: 1 to 65535, or 0 for the usual one")
    if method == "udp" and (port or FIRST_PORT) + queries * max_hops > 0xFFFF:
        raise ValueError(f"port={port}: each probe has the next one, and there is none beyond 65535")


def _reply(answer: Answer) -> ProbeReply:
    if answer.error is None:
        assert answer.packet is not None
        return ProbeReply(format_address(answer.packet.src), answer.rtt, None)
    error = answer.error
    # what UDP's probes are after
    arrived = error.kind is Unreachable.PORT and error.reporter == error.quoted.dst
    return ProbeReply(format_address(error.reporter), answer.rtt, None if arrived else error.kind)
