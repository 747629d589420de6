"""Who waits for a socket to become ready, and a descriptor that shows it to select, poll and epoll."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from typing import Final

IN: Final = select.POLLIN
OUT: Final = select.POLLOUT
ALWAYS: Final = select.POLLERR | select.POLLHUP  # told whether asked for or not

SMALLEST_BUFFER: Final = 1  # the kernel makes it the least it has


class Readiness:
    """Wakes who waits. A waiter looks for itself whether there is something left for it, and if not waits again: so
    whoever is cancelled takes nothing away from the others."""

    __slots__ = ("_fd", "_loop", "_waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._fd: PollableFd | None = None

    @property
    def watched(self) -> bool:
        """Whether anybody would notice a change."""
        return bool(self._waiters) or self._fd is not None

    async def wait(self, bits: int) -> None:
        """Until the socket next shows one of `bits` (POLLIN, POLLOUT ...), an error or the end."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        entry = (bits | ALWAYS, waiter)
        self._waiters.append(entry)
        try:
            await waiter
        finally:
            with contextlib.suppress(ValueError):
                self._waiters.remove(entry)

    def show(self, mask: int) -> None:
        """The socket's state is `mask` now."""
        for bits, waiter in self._waiters:
            if bits & mask and not waiter.done():
                waiter.set_result(None)
        if self._fd is not None:
            self._fd.show(mask)

    def fileno(self, mask: int) -> int:
        """A descriptor that polls readable and writable as the socket does; its state is `mask` now."""
        if self._fd is None:
            self._fd = PollableFd()
        self._fd.show(mask)
        return self._fd.fileno()

    def close(self, error: OSError) -> None:
        """The socket is closed: everybody who waits gets `error`."""
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error)
        self._waiters.clear()
        if self._fd is not None:
            self._fd.close()
            self._fd = None


class PollableFd:
    """One end of a socket pair, kept readable by a byte from the other end and not writable by a full buffer."""

    __slots__ = ("_far", "_near", "_readable", "_writable")

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        for end in (self._near, self._far):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST_BUFFER)
        self._readable, self._writable = False, True

    def fileno(self) -> int:
        """The descriptor. Bytes read from it or written to it go nowhere, and spoil it."""
        return self._near.fileno()

    def show(self, mask: int) -> None:
        """Poll as `mask` says from now on; an error or a hang-up polls as both."""
        readable, writable = bool(mask & (IN | ALWAYS)), bool(mask & (OUT | ALWAYS))
        if readable != self._readable:
            self._readable = readable
            if readable:
                self._far.send(b"!")
            else:
                self._near.recv(1)
        if writable != self._writable:
            self._writable = writable
            with contextlib.suppress(BlockingIOError):
                while True:
                    if writable:
                        self._far.recv(1 << 16)
                    else:
                        self._near.send(bytes(1 << 12))

    def close(self) -> None:
        """Give both ends back."""
        self._near.close()
        self._far.close()
