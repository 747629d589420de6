"""An interface: a device, the framing on it, and the queue of senders that wait to use it.

Receiving: one coroutine per interface takes a batch from the device, runs every frame through the layers to the
end, and then flushes what became ready meanwhile, so that one ACK, with the answer's data on it, goes out for
many segments in.

Sending is pull: a sender (a TCP transport, a datagram endpoint) puts itself on `ready`; `flush` lets one after
the other build what may leave now, a quantum each in turn (deficit round robin), while the device has room.
`flush` is the only place that drains the queue. It never suspends.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from asyncstack.counters import Counters
from asyncstack.link.device import Device
from asyncstack.link.ethernet import EthernetLink
from asyncstack.link.frame import Buffer, Frame, OutgoingFrame
from asyncstack.link.ip import IpLink
from asyncstack.link.segmentation import complete_checksum, segment
from asyncstack.timing import Clock, LoopTimer, interrupt
from asyncstack.wire.packet import LARGEST_PACKET

QUANTUM: Final = 128 << 10  # bytes one sender may send per turn
FLUSH_SECONDS: Final = 0.001  # after this long the rest of the senders wait for the next loop turn
LEAST_MTU: Final = 68  # RFC 791 3.2: less is no link of the Internet, and cutting would never end
BLOCKED_SECONDS: Final = 1.0  # after this long without room the senders that wait for their turn are told

Handler = Callable[[memoryview, Frame, "Interface"], Awaitable[None]]
Tap = Callable[["Interface", Frame | OutgoingFrame], None]


class Sender(Protocol):
    """Something that waits for its turn on an interface."""

    queued: bool

    def transmit(self, now: float, quantum: int) -> bool:
        """Send what may leave now, about `quantum` bytes at most. True: there is more, queue me again."""

    def unreachable(self, error: OSError) -> None:
        """The next hop did not answer."""

    def blocked(self, now: float) -> None:
        """The device has had no room for `BLOCKED_SECONDS`."""


def check_interface(given: object) -> None:
    """Raises TypeError for what is no interface, such as the name of one."""
    if not isinstance(given, Interface):
        raise TypeError(
            f"{given!r} is no interface: give what `add_interface` returned, or one of `stack.interfaces`"
        )


class Interface:
    """A device with its framing, neighbours and ready queue. Made by `Stack.add_interface`. Raises ValueError for an
    MTU below 68 bytes."""

    def __init__(
        self,
        name: str,
        index: int,
        device: Device,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        counters: Counters,
        rng: random.Random,
        neighbor_limit: int = 1024,
    ) -> None:
        if device.mtu < LEAST_MTU:
            raise ValueError(
                f"{name}: mtu {device.mtu} is less than {LEAST_MTU} bytes, which every link takes"
            )
        self.name = name
        self.index = index
        self.device = device
        self.loop = loop
        self.clock = clock
        self.counters = device.counters = counters
        self.rng = rng
        self.neighbor_limit = neighbor_limit
        self.mtu = device.mtu
        # what a router has told hosts to use for IPv6: the largest packet; the hop limit, 0: nothing was said
        self.advertised_mtu, self.advertised_hop_limit = LARGEST_PACKET, 0
        self.point_to_point = not device.ethernet  # no neighbours to resolve
        self.up = True
        self.running = True  # the link is there; without it nothing passes, but nothing ends
        self.handlers: dict[int, Handler] = {}
        self.taps: list[Tap] = []
        self.on_unsent: Callable[[memoryview, Interface], None] = lambda packet, interface: None
        self.link: EthernetLink | IpLink = EthernetLink(self) if device.ethernet else IpLink(self)
        self._ready: deque[Sender] = deque()
        self._backlog: list[OutgoingFrame] = []  # the rest of one super-segment that met a full device
        self._flush_handle: asyncio.Handle | None = None
        self._blocked = LoopTimer(loop, clock, self._tell_blocked)
        self._flushing = False
        self._receiving = False

    def __repr__(self) -> str:
        return f"<Interface {self.name} mtu {self.mtu} {'up' if self.up else 'down'}>"

    def start(self) -> None:
        """Begin to receive, and to serve the senders when the device becomes writable again."""
        self.device.on_writable = self._schedule_flush
        self.device.start(self._receive())

    def stop(self) -> None:
        """No frame goes in or out from here on. The device is closed by its owner."""
        self.up = False
        self.device.stop()
        self.link.close()
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        self._blocked.cancel()
        self._backlog.clear()
        while self._ready:
            self._ready.popleft().queued = False

    # receive

    async def _receive(self) -> None:
        while True:
            batch = await self.device.receive()
            receive, taps = self.link.receive, self.taps
            self._receiving = True
            for frame in batch:
                try:
                    for tap in taps:
                        tap(self, frame)
                    await receive(frame)
                except Exception as exc:
                    self._report(exc, frame)
                except (SystemExit, KeyboardInterrupt) as exc:
                    self.loop.call_soon(interrupt, exc)
            self._receiving = False
            self.flush()

    def _report(self, exc: Exception, frame: Frame) -> None:
        """A defect of ours must not stop the interface: say it, drop the frame, go on."""
        self.counters["interface.receive_error"] += 1
        context = {
            "message": f"receiving a frame on {self.name}",
            "exception": exc,
            "frame": bytes(frame.data[:128]),
        }
        self.loop.call_exception_handler(context)

    # send

    def transmit(self, frame: OutgoingFrame) -> bool:
        """Pass `frame` (link header included) to the device, doing in software what the device can not."""
        device = self.device
        if not self.up:
            return False
        for tap in self.taps:
            tap(self, frame)
        if frame.gso_size:
            link_header = 14 if device.ethernet else 0
            # a device that cuts none gets none: one that fits it may still be more than the path takes
            if device.max_segment <= device.mtu or len(frame) > device.max_segment + link_header:
                for piece in segment(frame, link_header, partial=device.checksum_offload):
                    if device.writable:
                        device.send(piece)
                    else:
                        self._backlog.append(piece)
                return True
        if frame.checksum_start and not device.checksum_offload:
            frame = complete_checksum(frame)
        return device.send(frame)

    def mark_ready(self, sender: Sender) -> None:
        """Queue `sender` for a turn: at the end of the batch now being received, else in the next loop turn."""
        if sender.queued or not self.up:
            return
        sender.queued = True
        self._ready.append(sender)
        if not self._receiving and not self._flushing:
            self._schedule_flush()

    def forget(self, sender: Sender) -> None:
        """Take `sender` off the queue."""
        if sender.queued:
            sender.queued = False
            self._ready.remove(sender)

    def flush(self) -> None:
        """Let the ready senders send while the device has room. Never suspends; not re-entrant."""
        if self._flushing or not (self._ready or self._backlog):
            return
        self._flushing = True
        ready, device = self._ready, self.device
        now = self.clock()
        until = now + FLUSH_SECONDS
        while self._backlog and device.writable:
            device.send(self._backlog.pop(0))
        try:
            while ready and device.writable and now < until:
                sender = ready.popleft()
                sender.queued = False
                try:
                    if sender.transmit(now, QUANTUM) and not sender.queued:
                        sender.queued = True
                        ready.append(sender)
                except Exception as exc:
                    self._report_sender(exc, sender)
                except (SystemExit, KeyboardInterrupt) as exc:
                    self.loop.call_soon(interrupt, exc)
                now = self.clock()
        finally:
            self._flushing = False
        if not ready:
            return
        if device.writable:
            self._schedule_flush()
        elif self.up and self._blocked.deadline == math.inf:
            self._blocked.arm(now + BLOCKED_SECONDS)

    def _tell_blocked(self, now: float) -> None:
        """Whoever became ready while there was room has not set a timer: that belongs to the turn to send."""
        if not self.device.writable:
            for sender in list(self._ready):
                sender.blocked(now)

    def _report_sender(self, exc: Exception, sender: Sender) -> None:
        """A defect of ours costs this sender its turn; the others, and the coroutine that receives, go on."""
        self.counters["interface.send_error"] += 1
        self.loop.call_exception_handler({"message": f"{sender!r} sending on {self.name}", "exception": exc})

    def _schedule_flush(self) -> None:
        if self._flush_handle is None and (self._ready or self._backlog) and self.up:
            self._flush_handle = self.loop.call_soon(self._flush_soon)

    def _flush_soon(self) -> None:
        self._flush_handle = None
        self.flush()

    def unreachable(self, senders: list[Sender], packets: list[list[Buffer]], error: OSError) -> None:
        """The link gave up on a next hop: tell who waited for it. `packets` are the IP packets not sent."""
        for sender in senders:
            sender.unreachable(error)
        for parts in packets:
            self.on_unsent(memoryview(b"".join(parts)), self)
