"""What `loop.sendfile` and `loop.sock_sendfile` read where there is no descriptor to hand to the kernel."""

from __future__ import annotations

import os
import stat
from typing import Any


class PositionedFile:
    """A regular file, read from a position of our own as sendfile(2) does: several can send it at once, and where the
    file itself stands does not matter. It stands behind what was sent afterwards, as asyncio has it."""

    def __init__(self, file: Any, descriptor: int) -> None:
        self._file = file
        self._descriptor = descriptor
        self._position = 0

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as the file goes; the number of bytes."""
        count = os.preadv(self._descriptor, [buffer], self._position)
        self._position += count
        return count

    def seek(self, position: int) -> None:
        """Go on from `position`."""
        self._position = position
        self._file.seek(position)


def positioned(file: Any) -> Any:
    """`file`, or what reads it by position if the kernel could send it."""
    try:
        descriptor = file.fileno()
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    except (AttributeError, OSError):
        return file
    return PositionedFile(file, descriptor) if regular else file
