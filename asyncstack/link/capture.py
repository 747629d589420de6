"""The packets of interfaces, in a pcapng file for tshark and Wireshark.

    async with asyncstack.Capture("run.pcapng") as capture:
        capture.attach(interface)

A tap on the interface puts each frame into a buffer of bounded size; a task writes it to the file while there is
something to write. A partial checksum is completed in the file, where it would read as a bad one, and a
super-segment is one packet, as the stack saw it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol

from asyncstack.errors import WireError
from asyncstack.link import pcapng
from asyncstack.link.frame import Buffer, Frame, OutgoingFrame
from asyncstack.timing import Clock
from asyncstack.wire.checksum import complete

BUFFER_LIMIT: Final = 64 << 20


class Framed(Protocol):
    """What a capture needs of a device."""

    @property
    def ethernet(self) -> bool:
        """Whether frames begin with an Ethernet header."""


class Tapped(Protocol):
    """What a capture needs of an `Interface`."""

    name: str
    clock: Clock
    taps: list[Callable[[Any, Frame | OutgoingFrame], None]]

    @property
    def device(self) -> Framed:
        """What gives and takes the frames."""


class Capture:
    """A pcapng file that the packets of the attached interfaces are written to.

    clock: seconds; each interface's own if not given. A real clock is moved to the Unix epoch, by an offset
    taken once, when the interface is attached; any other clock (virtual time) is taken as it is, so that equal
    runs write equal files.
    limit: bytes that may wait to be written. Packets beyond are not captured, but counted in `dropped`.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, clock: Clock | None = None, limit: int = BUFFER_LIMIT
    ) -> None:
        self.path = Path(path)
        self.captured = 0
        self.dropped = 0
        self._clock = clock
        self._limit = limit
        self._taps: list[_InterfaceTap] = []
        self._interfaces = 0
        self._buffer: list[Buffer] = []
        self._waiting = 0  # bytes in the buffer or being written
        self._file: Any = None
        self._loop: asyncio.AbstractEventLoop
        self._writer: asyncio.Task[None] | None = None
        self._error: OSError | None = None

    async def start(self) -> None:
        """Make the file. Interfaces may be attached before or after. Raises OSError."""
        import aiofiles

        if self._file is not None:
            raise RuntimeError(f"the capture {self.path} has started already")
        self._loop = asyncio.get_running_loop()
        self._file = await aiofiles.open(self.path, "wb")
        self._buffer.insert(0, pcapng.section_header())
        self._wake_writer()

    async def flush(self) -> None:
        """Wait until everything captured so far is in the file."""
        while self._file is not None and (self._buffer or self._writer):
            self._wake_writer()
            if self._writer is not None:
                await asyncio.wait([self._writer])
        if self._file is not None and self._error is None:
            await self._file.flush()

    async def close(self) -> None:
        """Detach from every interface and write what is left. Raises OSError if not all could be written."""
        for tap in self._taps[:]:
            self.detach(tap.interface)
        if self._file is None:
            return
        try:
            await self.flush()
        finally:
            file, self._file = self._file, None
            await file.close()
        if self._error is not None:
            raise self._error

    async def __aenter__(self) -> Capture:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # interfaces

    def attach(self, interface: Tapped) -> None:
        """Capture what `interface` receives and sends from here on. Raises ValueError if it is attached."""
        if any(tap.interface is interface for tap in self._taps):
            raise ValueError(f"interface {interface.name} is captured already")
        ethernet = interface.device.ethernet
        link_type = pcapng.LINKTYPE_ETHERNET if ethernet else pcapng.LINKTYPE_RAW
        self._append(pcapng.interface_description(interface.name, link_type))
        clock = self._clock or interface.clock
        tap = _InterfaceTap(self, interface, self._interfaces, clock, epoch_of(clock))
        self._interfaces += 1
        self._taps.append(tap)
        interface.taps.append(tap)

    def detach(self, interface: Tapped) -> None:
        """Capture no more of `interface`. Nothing happens if it is not attached."""
        for tap in self._taps:
            if tap.interface is interface:
                self._taps.remove(tap)
                interface.taps.remove(tap)
                return

    # the buffer, and the task that empties it

    def record(self, interface: int, nanoseconds: int, frame: Frame | OutgoingFrame) -> None:
        """Add `frame` as a packet of the interface with that number, at that time since the epoch."""
        data = captured_bytes(frame)
        if self._error is not None or self._waiting + len(data) > self._limit:
            self.dropped += 1
            return
        self.captured += 1
        direction = pcapng.INBOUND if isinstance(frame, Frame) else pcapng.OUTBOUND
        head, tail = pcapng.packet(interface, nanoseconds, len(data), direction)
        self._append(head, data, tail)

    def _append(self, *blocks: Buffer) -> None:
        self._buffer += blocks
        self._waiting += sum(map(len, blocks))
        self._wake_writer()

    def _wake_writer(self) -> None:
        if self._writer is None and self._file is not None and self._buffer:
            self._writer = self._loop.create_task(self._write(), name=f"capture {self.path.name}")

    async def _write(self) -> None:
        """Empty the buffer, and end: a task that waits for packets would look like one that waits for ever."""
        try:
            while self._buffer:
                blocks, self._buffer = self._buffer, []
                size = sum(map(len, blocks))
                await self._file.writelines(blocks)
                self._waiting -= size
        except OSError as exc:
            self._error = exc
            self._buffer.clear()
        finally:
            self._writer = None


@dataclass(slots=True, eq=False)
class _InterfaceTap:
    """What an attached interface calls with each frame."""

    capture: Capture
    interface: Tapped
    number: int
    clock: Clock
    epoch: int  # nanoseconds to add to the clock

    def __call__(self, interface: Tapped, frame: Frame | OutgoingFrame) -> None:
        self.capture.record(self.number, self.epoch + round(self.clock() * 1e9), frame)


def epoch_of(clock: Clock) -> int:
    """What to add to `clock` for the time since 1970, nanoseconds; 0 if it does not run in real time."""
    if getattr(clock, "__func__", clock) in (time.monotonic, asyncio.BaseEventLoop.time):
        return time.time_ns() - round(clock() * 1e9)
    return 0


def captured_bytes(frame: Frame | OutgoingFrame) -> Buffer:
    """The bytes of `frame` as they would be on a wire that takes packets of any size: checksums complete."""
    if isinstance(frame, OutgoingFrame):
        data = bytearray().join(frame.parts)
    elif frame.checksum_start or not frame.data.readonly:
        data = bytearray(frame.data)
    else:
        return frame.data
    if frame.checksum_start:
        try:
            complete(data, frame.checksum_start, frame.checksum_offset)
        except WireError:
            pass  # the packet is as wrong as that; it belongs in the file all the same
    return data
