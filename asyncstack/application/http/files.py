"""Parts of a file as the body of a response."""

from __future__ import annotations

from collections.abc import AsyncIterator

from asyncstack.application.files import OpenFile

PIECE = 256 * 1024


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
