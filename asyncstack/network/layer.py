"""What IPv4 and IPv6 share: the protocol table, the way down to the link, errors on their way up."""

from __future__ import annotations

import asyncio
import errno
import math
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from asyncstack.counters import Counters
from asyncstack.errors import WireError, os_error
from asyncstack.link.frame import Buffer, OutgoingFrame
from asyncstack.network.addresses import AddressTable, format_address, is_loopback, is_multicast
from asyncstack.network.errors import IcmpError, ProtocolHandler, Unreachable
from asyncstack.network.fragments import Reassembly
from asyncstack.network.routing import Path, RoutingTable
from asyncstack.timing import Clock, LoopTimer
from asyncstack.wire.checksum import complete
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface


class ErrorSender(Protocol):
    """The ICMP of a family, as its IP layer sees it."""

    def send_error(self, packet: Packet, kind: Unreachable, *, mtu: int = 0, pointer: int = 0) -> None:
        """Tell the sender of `packet` that it did not arrive."""


class NetworkLayer:
    """One IP family of one stack. `loop` is needed for timers alone: reassembly and path MTUs expire."""

    name: str
    ethertype: int
    fragment_timeout: float  # seconds that a datagram may stay incomplete

    def __init__(
        self,
        addresses: AddressTable,
        routes: RoutingTable,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        counters: Counters,
        rng: random.Random,
        ttl: int = 64,
        fragment_datagrams: int = 256,
        fragment_bytes: int = 4 << 20,
    ) -> None:
        self.addresses = addresses
        self.routes = routes
        self.loop = loop
        self.clock = clock
        self.counters = counters
        self.rng = rng
        self.ttl = ttl
        self.handlers: dict[int, ProtocolHandler] = {}
        self._wants: dict[int, Callable[[Packet], bool]] = {}
        self.icmp: ErrorSender | None = None  # set by Icmp or Icmpv6
        # asked for what was put together; True: it is taken, and nothing is left to do
        self.on_reassembled: Callable[[Packet], bool] = lambda packet: False
        self.reassembly = Reassembly(
            self.name,
            counters,
            timeout=self.fragment_timeout,
            datagrams=fragment_datagrams,
            max_bytes=fragment_bytes,
        )
        self._local = addresses.local
        self._no_source = addresses.no_source
        self._timer = LoopTimer(loop, clock, self._reassembly_expired)
        # nobody waits for a path MTU to be forgotten
        self._pmtu_timer = LoopTimer(loop, clock, self._path_mtu_expired, background=True)

    def register(
        self, protocol: int, handler: ProtocolHandler, wants: Callable[[Packet], bool] | None = None
    ) -> None:
        """Give packets of `protocol`, and errors about ours, to `handler`. `wants` is asked whether a packet for
        another host is to be taken all the same, as Linux's TPROXY does; of a fragment, which may have no ports,
        whether it might be."""
        self.handlers[protocol] = handler
        if wants is not None:
            self._wants[protocol] = wants

    def _wanted(self, packet: Packet) -> bool:
        """Whether a packet to another host is for us all the same. Never what means many, or nobody."""
        wants = self._wants.get(packet.protocol)
        dst = packet.dst
        return (
            wants is not None
            and dst != packet.src
            and any(dst)
            and not is_multicast(dst)
            and not (len(dst) == 4 and dst[0] >= 0xF0)
            and not self.addresses.is_broadcast(dst)
            and not is_loopback(dst)
            and wants(packet)
        )

    def wants_answer(self, quoted: Packet) -> bool:
        """Whether an answer to `quoted`, sent from an address of another host, would be taken: if so we sent it."""
        wants = self._wants.get(quoted.protocol)
        if wants is None:
            return False
        ports = bytes(quoted.payload[2:4]) + bytes(quoted.payload[:2])
        answer = memoryview(ports)
        return wants(
            Packet(src=quoted.dst, dst=quoted.src, protocol=quoted.protocol, payload=answer, raw=answer)
        )

    def close(self) -> None:
        """Forget what is incomplete and end the timer."""
        self.reassembly.clear()
        self._timer.cancel()
        self._pmtu_timer.cancel()

    def parse(self, data: memoryview) -> Packet:
        """The packet in `data`. Raises WireError."""
        raise NotImplementedError

    def send_error(self, packet: Packet, kind: Unreachable, *, mtu: int = 0, pointer: int = 0) -> None:
        """Tell the sender of `packet`, received here, why it did not arrive; rate limited, if it may be told."""
        if self.icmp is not None:
            self.icmp.send_error(packet, kind, mtu=mtu, pointer=pointer)

    # send

    def transmit(self, path: Path, frame: OutgoingFrame) -> bool:
        """Pass an IP packet to the neighbour, or leave it with the link until that one is resolved.

        False: it was dropped, there is no room.
        """
        interface = path.interface
        if interface.point_to_point:
            return interface.transmit(frame)
        link = interface.link
        now = self.clock()
        mac = link.resolve(path.next_hop, now)
        if mac is None:
            link.enqueue(path.next_hop, frame, self.ethertype)
            return True
        return link.send(frame, mac, self.ethertype)

    def joined(self, path: Path, parts: Sequence[Buffer], checksum_offset: int) -> memoryview:
        """The transport packet as one buffer with its checksum complete, to be cut into fragments."""
        payload = bytearray().join(parts)
        if checksum_offset >= 0:
            complete(payload, 0, checksum_offset)
        return memoryview(payload)

    def too_big(self, path: Path, length: int) -> OSError:
        """The error for a packet that may not be cut."""
        where = f"the path to {format_address(path.destination)} takes {path.mtu}"
        return os_error(errno.EMSGSIZE, f"a packet of {length} bytes, {where}")

    # errors on their way up

    def deliver_error(self, error: IcmpError) -> bool:
        """Hand `error` to the protocol concerned. Whether it is to be believed."""
        handler = self.handlers.get(error.quoted.protocol)
        if handler is None:
            self.counters[f"{self.name}.error_unknown_protocol"] += 1
            return False
        if handler.receive_error(error) is False:
            self.counters[f"{self.name}.error_unknown_endpoint"] += 1
            return False
        return True

    def report_unsent(self, data: memoryview, interface: Interface) -> None:
        """The neighbour of a packet of ours did not answer: tell the protocol that sent it."""
        self.counters[f"{self.name}.unsent"] += 1
        try:
            packet = self.parse(data)
        except WireError:
            return
        if packet.fragment_offset:
            return  # the first fragment speaks for all
        packet.interface = interface
        kind = Unreachable.HOST
        self.deliver_error(IcmpError(kind, errno.EHOSTUNREACH, False, 0, packet.src, packet, interface))

    def path_mtu_reported(self, destination: bytes, mtu: int) -> None:
        """A believable router says that the path takes `mtu` bytes."""
        known = self.routes.pmtu.get(destination)
        if known and known <= mtu:
            return
        self.routes.update_path_mtu(destination, mtu, self.clock())
        self._pmtu_timer.arm(self.routes.pmtu.deadline)

    def _path_mtu_expired(self, now: float) -> None:
        self.routes.timer_expired(now)
        self._pmtu_timer.arm(self.routes.pmtu.deadline)

    # reassembly

    def _reassemble(self, packet: Packet, interface: Interface) -> Packet | None:
        """The whole datagram once its last missing fragment is here."""
        whole = self.reassembly.receive_fragment(packet, self.clock())
        self._arm()
        if whole is None:
            return None
        try:
            packet = self._rebuild(*whole)
        except WireError:
            self.counters[f"{self.name}.malformed"] += 1
            return None
        packet.interface = interface
        self.counters[f"{self.name}.reassembled"] += 1
        return None if self.on_reassembled(packet) else packet

    def _rebuild(self, first: Packet, payload: bytes) -> Packet:
        """A packet that was never cut. Raises WireError."""
        raise NotImplementedError

    def _arm(self) -> None:
        if self.reassembly.deadline < math.inf:
            self._timer.arm(self.reassembly.deadline)
        else:
            self._timer.cancel()

    def _reassembly_expired(self, now: float) -> None:
        for first in self.reassembly.timer_expired(now):
            self.send_error(first, Unreachable.REASSEMBLY)
        self._arm()
