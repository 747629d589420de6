"""Files below one folder: opened, or made, so that no path leads out of it; read and written in a thread."""

from __future__ import annotations

import asyncio
import os
import stat
from io import FileIO
from typing import Any

from aiofiles.threadpool import wrap

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking: opening a FIFO that nobody writes to would hold a thread for ever.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class IsDirectory(Exception):
    """The path names a folder."""


def open_beneath(root: str, segments: list[str]) -> FileIO:
    """The regular file at `segments` below `root`, which is a real path. Blocks.

    Links are followed as long as they stay below `root`. The resolved path is then walked again, folder by folder
    and following nothing, so that a link that somebody puts there meanwhile leads nowhere.
    Raises FileNotFoundError, PermissionError, OSError, IsDirectory.
    """
    real, descriptor = _open_beneath(root, segments, FILE)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsDirectory(real)
        raise FileNotFoundError(real)
    return FileIO(descriptor, "rb")


def create_beneath(root: str, segments: list[str]) -> FileIO:
    """A new file at `segments` below `root`, in a folder that is there, open for writing; else as `open_beneath`.

    Raises FileExistsError too.
    """
    return FileIO(_open_beneath(root, segments, NEW_FILE)[1], "wb")


def remove_beneath(root: str, segments: list[str], file: FileIO) -> None:
    """Remove `file`, which `create_beneath` made, if it is still there. Blocks. Raises OSError."""
    real = os.path.realpath(os.path.join(root, *segments))
    if os.path.samestat(os.lstat(real), os.fstat(file.fileno())):
        os.unlink(real)


def _open_beneath(root: str, segments: list[str], flags: int) -> tuple[str, int]:
    """(the real path, a descriptor)."""
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
        return real, os.open(parts[-1], flags, 0o644, dir_fd=folder)
    finally:
        os.close(folder)


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
