"""The device under the stack of a script: what is sent is kept with its time, what is injected is received at once."""

from __future__ import annotations

import asyncio
from collections import deque

from asyncstack.link.device import Device
from asyncstack.link.frame import Frame, OutgoingFrame
from asyncstack.testing.packetdrill.packets import LETTERS, TCP, Seen, read_packet


class ScriptDevice(Device):
    """A TUN without offload: super-segments are cut and checksums whole when they come here, as on a wire.

    `sent` holds the packets that no line of the script has asked for yet, oldest first. `mtu`: bytes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, mtu: int) -> None:
        super().__init__()
        self.name = "tun0"
        self.mtu = self.max_segment = mtu
        self.sent: deque[Seen] = deque()
        self._loop = loop
        self._arrival: asyncio.Future[None] | None = None

    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Stop."""
        self.stop()

    def send(self, frame: OutgoingFrame) -> bool:
        """Keep a packet."""
        self.sent.append(read_packet(b"".join(frame.parts), self._loop.time()))
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
        return True

    def inject(self, packet: bytes) -> None:
        """Have the stack receive `packet`. What it answers at once is in `sent` afterwards."""
        self.deliver([Frame(memoryview(packet))])

    async def wait(self, until: float) -> None:
        """Return when something is sent, or at the loop time `until`."""
        self._arrival = self._loop.create_future()
        handle = self._loop.call_at(until, _finish, self._arrival)
        try:
            await self._arrival
        finally:
            handle.cancel()
            self._arrival = None


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def continues(seen: Seen, piece: Seen, within: float) -> bool:
    """Whether `piece` is the next part of the super-segment that `seen` is the beginning of: sent `within` seconds."""
    if seen.ends != piece.ends or not seen.protocol == piece.protocol == TCP or not piece.length:
        return False
    follows = piece.seq == seen.seq + seen.length & 0xFFFFFFFF and piece.ack == seen.ack
    return follows and piece.time - seen.time <= within


def glue(seen: Seen, piece: Seen) -> None:
    """Append `piece`: flags as offload has them, FIN and PSH from the last, CWR from the first."""
    inner = LETTERS["F"] | LETTERS["P"]
    seen.flags = seen.flags & ~inner | piece.flags & (inner | LETTERS["E"])
    seen.payload += piece.payload
    seen.full = True
    seen.options = piece.options
    seen.window = piece.window
    seen.faults += piece.faults
