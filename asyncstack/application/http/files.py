"""Files below one folder: opened so that no path leads out of it, read in a thread."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from io import FileIO
from typing import Any

from aiofiles.threadpool import wrap

PIECE = 256 * 1024

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking: opening a FIFO that nobody writes to would hold a thread for ever.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class IsDirectory(Exception):
    """The path names a folder."""


def open_beneath(root: str, segments: list[str]) -> FileIO:
    """The regular file at `segments` below `root`, which is a real path. Blocks.

    Links are followed as long as they stay below `root`. The resolved path is then walked again, folder by folder
    and following nothing, so that a link that somebody puts there meanwhile leads nowhere.
    Raises FileNotFoundError, PermissionError, OSError, IsDirectory.
    """
    real = os.path.realpath(os.path.join(root, *segments))
    if real != root and os.path.commonpath((root, real)) != root:
        raise FileNotFoundError(real)
    parts = os.path.relpath(real, root).split(os.sep)
    folder = os.open(root, DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = inner
        descriptor = os.open(parts[-1], FILE, dir_fd=folder)
    finally:
        os.close(folder)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsDirectory(real)
        raise FileNotFoundError(real)
    return FileIO(descriptor, "rb")


class OpenFile:
    """An open file and its numbers. `close` is safe while a thread still reads."""

    __slots__ = ("_async", "_file", "_reading", "modified_ns", "size")

    def __init__(self, file: FileIO) -> None:
        numbers = os.fstat(file.fileno())
        self.size = numbers.st_size
        self.modified_ns = numbers.st_mtime_ns
        self._file = file
        self._async: Any = wrap(file, loop=None, executor=None)
        self._reading: asyncio.Future[bytes] | None = None

    @classmethod
    async def beneath(cls, root: str, segments: list[str]) -> OpenFile:
        """As `open_beneath`, in a thread."""
        job = asyncio.get_running_loop().run_in_executor(None, open_beneath, root, segments)
        try:
            return cls(await asyncio.shield(job))
        except asyncio.CancelledError:
            job.add_done_callback(_close_result)
            raise

    def seek(self, position: int) -> None:
        """Read from `position` next; of a regular file that does not block."""
        self._file.seek(position)

    async def read(self, size: int) -> bytes:
        """At most `size` bytes; b"" at the end."""
        self._reading = asyncio.ensure_future(self._async.read(size))
        data: bytes = await asyncio.shield(self._reading)
        self._reading = None
        return data

    def close(self) -> None:
        """Close, at once or when the thread is done with it: its number may belong to another file then."""
        if self._reading is None or self._reading.done():
            self._file.close()
        else:
            self._reading.add_done_callback(lambda reading: self._file.close())


def _close_result(job: asyncio.Future[FileIO]) -> None:
    if not job.cancelled() and job.exception() is None:
        job.result().close()


class FileBody:
    """Parts of a file as a response's body: each is (what stands before it, start, length); `end` comes last."""

    def __init__(self, file: OpenFile, parts: list[tuple[bytes, int, int]], end: bytes = b"") -> None:
        self._file = file
        self._parts = parts
        self._end = end
        self.length = sum(len(before) + length for before, _, length in parts) + len(end)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for before, start, length in self._parts:
            if before:
                yield before
            self._file.seek(start)
            left = length
            while left:
                data = await self._file.read(min(left, PIECE))
                if not data:
                    return  # the file has shrunk: the server sees that the length is not reached
                left -= len(data)
                yield data
        if self._end:
            yield self._end

    async def aclose(self) -> None:
        """Close the file."""
        self._file.close()
