"""poll and epoll over sockets of a stack."""

from __future__ import annotations

import asyncio
import errno
import select
from typing import Any, Final

from asyncstack.errors import os_error

_ALWAYS: Final = select.POLLERR | select.POLLHUP
EPOLL_CTL_ADD: Final = 1
EPOLL_CTL_DEL: Final = 2
EPOLL_CTL_MOD: Final = 3
_NOT_OPEN: Final = select.POLLNVAL
# the same bit means the same to poll and epoll
_EDGE: Final = select.EPOLLET & 0xFFFFFFFF
_ONE_SHOT: Final = select.EPOLLONESHOT


async def poll_sockets(files: list[tuple[Any, int]], timeout: float | None) -> list[int]:
    """poll(2): the bits that each socket shows, as soon as one shows any or after `timeout` seconds."""
    shown = await _look(files)
    if any(shown) or timeout == 0:
        return shown
    waiting = [asyncio.ensure_future(file.poll(mask)) for file, mask in files]
    try:
        await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return await _look(files)


async def _look(files: list[tuple[Any, int]]) -> list[int]:
    return [_NOT_OPEN if file is None else await file.poll(mask, 0) for file, mask in files]


class _Interest:
    """What an epoll knows of one descriptor. `reported` are the bits an edge-triggered one has told already."""

    __slots__ = ("file", "mask", "reported")

    def __init__(self, file: Any, mask: int) -> None:
        self.file = file
        self.mask = mask
        self.reported = 0

    def shown(self) -> int:
        """The bits of the socket that are asked for."""
        return int(self.file._mask()) & (self.mask & 0xFFFF | _ALWAYS)


class Epoll:
    """epoll(7). Edges are seen between two events of a script, when `observe` is called."""

    def __init__(self) -> None:
        self._interests: dict[int, _Interest] = {}

    def control(self, operation: int, fd: int, file: Any, mask: int) -> None:
        """epoll_ctl. Raises OSError EBADF, EEXIST, ENOENT."""
        if file is None:
            raise os_error(errno.EBADF)
        known = fd in self._interests
        if operation == EPOLL_CTL_ADD and known:
            raise os_error(errno.EEXIST)
        if operation != EPOLL_CTL_ADD and not known:
            raise os_error(errno.ENOENT)
        if operation == EPOLL_CTL_DEL:
            del self._interests[fd]
        else:
            self._interests[fd] = _Interest(file, mask & 0xFFFFFFFF)

    def observe(self) -> None:
        """A bit that is not shown any more will be news when it comes again."""
        for interest in self._interests.values():
            interest.reported &= interest.shown()

    async def wait(self, most: int, timeout: float | None) -> list[tuple[int, int]]:
        """epoll_wait: (fd, bits) of at most `most` descriptors."""
        found = self._collect(most)
        if found or timeout == 0 or not self._interests:
            return found
        files = [(interest.file, interest.mask & 0xFFFF) for interest in self._interests.values()]
        await poll_sockets(files, timeout)
        return self._collect(most)

    def _collect(self, most: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for fd, interest in self._interests.items():
            shown = interest.shown()
            edge = interest.mask & _EDGE
            if not shown or (edge and not shown & ~interest.reported) or len(found) == most:
                continue
            found.append((fd, shown))
            if edge:
                interest.reported = shown
            if interest.mask & _ONE_SHOT:
                interest.mask = 0
        return found

    def close(self) -> None:
        """Forget all."""
        self._interests.clear()
