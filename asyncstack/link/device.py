"""The contract of every device, and how a device drives the coroutine that receives from it.

A device never wakes a task. When frames are there it sends them straight into the suspended receive coroutine
(`coroutine.send(batch)`), so a batch costs one loop turn and the application's callbacks run with no current
task, as they do on the kernel's transports. `Device.receive` is the only place where that coroutine may
suspend; `deliver` holds it to this.
"""

from __future__ import annotations

import asyncio
import errno
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from functools import cache
from typing import Any, Final

from asyncstack.counters import Counters
from asyncstack.errors import os_error
from asyncstack.link.frame import Frame, OutgoingFrame

# A device hands over at most this much per loop turn, so that a flood does not stop the loop.
BATCH_FRAMES: Final = 64
BATCH_BYTES: Final = 1 << 20


@cache
def keep_freed_memory() -> None:
    """Have the C library keep the memory that one batch and its readers free for the next; once in a process.

    glibc gives what is free at the heap's end back to the kernel when it is more than twice the largest block that was
    ever mapped and freed, to begin with 128 KiB (mallopt(3), M_TRIM_THRESHOLD and M_MMAP_THRESHOLD). A batch is more,
    so it would be faulted in anew, page by page: a bulk transfer can lose half of its speed to that. Mapping a larger
    block and freeing it, untouched, is how a program says that it needs so much now and then. Who has set the limits
    by MALLOC_TRIM_THRESHOLD_ keeps them; other C libraries do not mind.
    """
    bytes(4 * BATCH_BYTES)


class _NextBatch:
    """Awaited by the receive coroutine; its value is the batch that `deliver` sends."""

    def __await__(self) -> Generator[_NextBatch, Sequence[Frame], Sequence[Frame]]:
        return (yield self)


_NEXT_BATCH: Final = _NextBatch()


class Device(ABC):
    """Sends and receives frames. Who owns it sets the callbacks: `on_writable`; `on_down(error)`, it is gone for good;
    `on_link(up)`, nothing passes for now, or again.

    mtu: largest IP packet, bytes. ethernet: frames begin with an Ethernet header. address: our MAC, b"" on a
    TUN. max_segment: largest IP packet taken as a TCP super-segment; equal to `mtu` where nothing below can
    cut one. checksum_offload: partial checksums are accepted.
    """

    name: str
    mtu: int = 1500
    ethernet: bool = False
    address: bytes = b""
    max_segment: int = 1500
    checksum_offload: bool = False

    def __init__(self) -> None:
        self.counters = Counters()  # the stack's, once the device is an interface of one
        self.writable = True
        self.on_writable: Callable[[], None] = lambda: None
        self.on_down: Callable[[OSError], None] = lambda error: None
        self.on_link: Callable[[bool], None] = lambda up: None
        self._receiver: Coroutine[Any, Sequence[Frame], None] | None = None

    def check_free(self) -> None:
        """Raises OSError EALREADY if it is an interface already, of this stack or of another one."""
        if self._receiver is not None:
            raise os_error(errno.EALREADY, f"{self.name} is open already")

    @abstractmethod
    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Get ready to send and receive. Raises OSError with what is missing and what to do."""

    @abstractmethod
    async def close(self) -> None:
        """Give everything back: fds, readers, what was set up in the kernel. Safe to call twice."""

    @abstractmethod
    def send(self, frame: OutgoingFrame) -> bool:
        """Take one frame; never waits. False: there was no room and the frame is dropped.

        Before it has no room a device sets `writable` to False; when it has again, it sets it to True and calls
        `on_writable`. A device may keep a frame it could not pass on, but only a bounded number.
        """

    def receive(self) -> Awaitable[Sequence[Frame]]:
        """The next batch of frames, to be awaited: never empty, bounded by BATCH_FRAMES and BATCH_BYTES."""
        return _NEXT_BATCH

    def start(self, receiver: Coroutine[Any, Sequence[Frame], None]) -> None:
        """Run `receiver` up to its first `receive()`. Frames may arrive from here on."""
        keep_freed_memory()
        self._receiver = receiver
        self._hold_to_contract(receiver.send(None))  # type: ignore[arg-type]

    def stop(self) -> None:
        """End the receive coroutine. Later frames are dropped."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            try:
                receiver.close()
            except ValueError:
                pass  # we are called from inside it, by a callback: forgotten, it ends at its next `receive()`

    def deliver(self, batch: Sequence[Frame]) -> None:
        """Hand `batch` to the receive coroutine, which processes all of it before this returns."""
        receiver = self._receiver
        if receiver is not None and (suspended_on := receiver.send(batch)) is not _NEXT_BATCH:
            self._hold_to_contract(suspended_on)

    def _hold_to_contract(self, suspended_on: object) -> None:
        if suspended_on is not _NEXT_BATCH:
            raise RuntimeError(
                f"the receive coroutine of {self.name} suspended on {suspended_on!r}; a layer's receive() may not "
                "wait for anything: start a task, or reply later"
            )
