"""A link inside the process: what one device sends, its peer receives, in order, on a later turn of the loop.

Each device owns a bounded inbox. A burst costs one `call_soon`; what is left after a batch waits for the next
turn, so two stacks that keep each other busy still let the loop run. The sender is told to wait when the peer's
inbox is full. Nothing here reads a clock or a random number on the way, so a run repeats exactly.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import random
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from asyncstack.errors import os_error
from asyncstack.link.address import parse_mac, random_mac
from asyncstack.link.device import BATCH_BYTES, BATCH_FRAMES, Device
from asyncstack.link.frame import Frame, OutgoingFrame

ETHERNET_HEADER: Final = 14
INBOX_FRAMES: Final = 1024
INBOX_BYTES: Final = 4 << 20


class MemoryDevice(Device):
    """One end of a link in memory; `memory_pair` makes both.

    mtu: bytes. offload: super-segments and partial checksums pass as they are, as between two hosts' virtual
    NICs; without it frames are cut and summed first, as on a wire. ethernet: frames have an Ethernet header and
    the device an `address` (given, or random from `rng`, or from the system).
    inbox_frames, inbox_bytes: what may wait here to be received; the peer is not `writable` beyond that.

    counters, of frames dropped instead of sent: `device.unplugged` (nobody receives at the other end),
    `device.too_long` (larger than the MTU, or a super-segment larger than `max_segment`), `device.no_room`.
    """

    def __init__(
        self,
        name: str = "memory",
        *,
        mtu: int = 1500,
        offload: bool = True,
        ethernet: bool = False,
        address: str | bytes | None = None,
        rng: random.Random | None = None,
        inbox_frames: int = INBOX_FRAMES,
        inbox_bytes: int = INBOX_BYTES,
    ) -> None:
        super().__init__()
        self.name = name
        self.mtu = mtu
        self.ethernet = ethernet
        if ethernet:
            self.address = random_mac(rng) if address is None else parse_mac(address)
        self.max_segment = 65535 if offload else mtu
        self.checksum_offload = offload
        self.inbox_frames = inbox_frames
        self.inbox_bytes = inbox_bytes
        self.peer: MemoryDevice | None = None
        self._inbox: deque[Frame] = deque()
        self._inbox_size = 0
        self._delivery: asyncio.Handle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: contextvars.Context | None = None
        self._plugged = False
        self._cable = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} mtu {self.mtu} {'up' if self._plugged else 'down'}>"

    # open and close

    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """As `attach`; there is nothing to wait for."""
        self.attach(loop)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use `loop`. Frames are received from `start` on."""
        self._loop = loop

    def start(self, receiver: Coroutine[Any, Sequence[Frame], None]) -> None:
        """Run `receiver` up to its first `receive()`; from here on the peer's frames arrive."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        # a delivery runs in this context, not in that of whoever happens to send
        self._context = contextvars.copy_context()
        self._plugged, self.writable = self._cable, True
        super().start(receiver)

    def stop(self) -> None:
        """End the receive coroutine; what waits in the inbox, and what comes later, is lost."""
        self._unplug()
        super().stop()

    async def close(self) -> None:
        """Stop. Safe to call twice."""
        self.stop()

    def set_down(self, error: OSError | None = None) -> None:
        """Let the device die, as a TUN that is deleted: nothing passes any more, and `on_down` is told."""
        if self._plugged and self._loop is not None:
            self._unplug()
            self._loop.call_soon(
                self.on_down, error or os_error(errno.ENETDOWN, f"interface {self.name} is gone")
            )

    def set_link(self, up: bool) -> None:
        """Pull the cable out at this end, and lose what is in it, or put it in again. `on_link` is told; the other end
        notices nothing, as behind a switch."""
        if up == self._cable:
            return
        self._cable = up
        if up:
            self._plugged = self._receiver is not None
        else:
            self._unplug()
        self.on_link(up)

    def _unplug(self) -> None:
        self._plugged = False
        if self._delivery is not None:
            self._delivery.cancel()
            self._delivery = None
        self._inbox.clear()
        self._inbox_size = 0
        self._tell_room()

    # send

    def send(self, frame: OutgoingFrame) -> bool:
        """Put `frame` into the peer's inbox. Its buffers are joined, or passed on if they can not change."""
        peer = self.peer
        if peer is None or not peer._plugged or not self._plugged:
            self.counters["device.unplugged"] += 1
            return False
        if not self.writable:
            self.counters["device.no_room"] += 1
            return False
        parts = frame.parts
        data = parts[0] if len(parts) == 1 and type(parts[0]) is bytes else b"".join(parts)
        limit = self.max_segment if frame.gso_size else self.mtu
        if len(data) > limit + (ETHERNET_HEADER if self.ethernet else 0):
            self.counters["device.too_long"] += 1
            return False
        start = frame.checksum_start
        peer._put(Frame(memoryview(data), start != 0, frame.gso_size, start, frame.checksum_offset))
        if len(peer._inbox) >= peer.inbox_frames or peer._inbox_size >= peer.inbox_bytes:
            self.writable = False
        return True

    def _tell_room(self) -> None:
        """The inbox has room: the peer, if it waits for that, may send."""
        peer = self.peer
        if peer is not None and peer._plugged and not peer.writable:
            peer.writable = True
            peer.on_writable()

    # receive

    def _put(self, frame: Frame) -> None:
        self._inbox.append(frame)
        self._inbox_size += len(frame.data)
        if self._delivery is None:
            self._schedule()

    def _schedule(self) -> None:
        assert self._loop is not None
        self._delivery = self._loop.call_soon(self._deliver_batch, context=self._context)

    def _deliver_batch(self) -> None:
        inbox = self._inbox
        batch: list[Frame] = []
        size = 0
        while inbox and len(batch) < BATCH_FRAMES and size < BATCH_BYTES:
            frame = inbox.popleft()
            size += len(frame.data)
            batch.append(frame)
        self._inbox_size -= size
        self._delivery = None
        if inbox:
            self._schedule()
        self._tell_room()
        self.deliver(batch)


def memory_pair(
    names: tuple[str, str] = ("memory0", "memory1"),
    *,
    mtu: int = 1500,
    offload: bool = True,
    ethernet: bool = False,
    addresses: tuple[str | bytes | None, str | bytes | None] = (None, None),
    rng: random.Random | None = None,
    inbox_frames: int = INBOX_FRAMES,
    inbox_bytes: int = INBOX_BYTES,
) -> tuple[MemoryDevice, MemoryDevice]:
    """Two devices joined by a cable; arguments as for `MemoryDevice`, for both ends alike.

    A simulation passes its `rng`, so that the Ethernet addresses repeat as well.
    """
    a, b = (
        MemoryDevice(
            name,
            mtu=mtu,
            offload=offload,
            ethernet=ethernet,
            address=address,
            rng=rng,
            inbox_frames=inbox_frames,
            inbox_bytes=inbox_bytes,
        )
        for name, address in zip(names, addresses, strict=True)
    )
    a.peer, b.peer = b, a
    return a, b
