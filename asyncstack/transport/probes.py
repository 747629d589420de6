"""Packets sent for their answer's sake, and who waits for it: what ping and traceroute stand on.

An answer is what the destination sends back (an echo reply, a datagram, SYN-ACK or RST), or an ICMP error about the
packet. Both name the probe: by (protocol, where it went, the 4 bytes of ports, or of identifier and sequence number).
The transports ask here about what belongs to none of their endpoints, so that no probe disturbs one.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from asyncstack.errors import os_error
from asyncstack.network.errors import IcmpError
from asyncstack.timing import Clock
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface

OUTSTANDING_LIMIT: Final = 65536

Key = tuple[int, bytes, bytes]  # protocol, destination, the four bytes


@dataclass(slots=True)
class Answer:
    """What came back after `rtt` seconds: `packet`, as it arrived here, or an `error`."""

    rtt: float
    packet: Packet | None = None
    error: IcmpError | None = None


@dataclass(slots=True, eq=False)
class _Probe:
    sent: float
    answer: asyncio.Future[Answer]
    interface: Interface
    accepts: Callable[[Packet], bool]


class Probes:
    """The probes of one stack that have no answer yet."""

    __slots__ = ("_clock", "_waiting")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[Key, _Probe] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, key: Key) -> bool:
        return key in self._waiting

    async def ask(
        self,
        key: Key,
        send: Callable[[], object],
        interface: Interface,
        timeout: float,
        accepts: Callable[[Packet], bool] = lambda packet: True,
    ) -> Answer:
        """Call `send` and wait `timeout` seconds for the answer; `accepts` says of a packet whether it is one.

        Raises TimeoutError; OSError ENOBUFS, what `send` raises, or why `interface` went down.
        """
        if len(self._waiting) >= OUTSTANDING_LIMIT:
            raise os_error(errno.ENOBUFS, f"{OUTSTANDING_LIMIT} probes wait for an answer")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[key] = _Probe(self._clock(), answer, interface, accepts)
        try:
            send()
            async with asyncio.timeout(timeout):
                return await answer
        finally:
            del self._waiting[key], answer  # which holds its exception, whose traceback holds this frame

    def answered(self, protocol: int, packet: Packet, name: bytes) -> bool:
        """`packet` came from where a probe may have gone, with these four bytes. Whether it is its answer."""
        probe = self._waiting.get((protocol, packet.src, name))
        if probe is None or not probe.accepts(packet):
            return False
        if not probe.answer.done():
            # what it holds is good only until the receive path returns; nobody reads more than the header
            probe.answer.set_result(Answer(self._clock() - probe.sent, packet))
        return True

    def failed(self, error: IcmpError, name: bytes) -> bool:
        """An ICMP error about a packet with these four bytes. Whether that was a probe."""
        probe = self._waiting.get((error.quoted.protocol, error.quoted.dst, name))
        if probe is None:
            return False
        if not probe.answer.done():
            probe.answer.set_result(Answer(self._clock() - probe.sent, error=error))
        return True

    def interface_down(self, interface: Interface, error: OSError) -> None:
        """Nothing comes over `interface` any more: tell who waits for it."""
        for probe in self._waiting.values():
            if probe.interface is interface and not probe.answer.done():
                probe.answer.set_exception(error)
