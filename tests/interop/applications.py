"""What the stack serves in these tests."""

import asyncio
import hashlib

from tests.interop.peers import pieces


class Exchange(asyncio.Protocol):
    """Sends `size` bytes and its FIN, obeying flow control, while it hashes what comes in.

    `result`: {"size", "digest"} of what came, once the peer's FIN came and all of ours is written; or the error.
    """

    def __init__(self, size: int = 0, seed: int = 0) -> None:
        self.result = asyncio.get_running_loop().create_future()
        self.most_queued = 0
        self._pieces = pieces(size, seed)
        self._state, self._size = hashlib.sha256(), 0
        self._ended = self._written = self._paused = False

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.write()

    def data_received(self, data: bytes) -> None:
        self._state.update(data)
        self._size += len(data)

    def eof_received(self) -> bool:
        self._ended = True
        self._finish()
        return True

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.write()

    def write(self) -> None:
        while not self._paused and not self._written:
            piece = next(self._pieces, None)
            if piece is None:
                self._written = True
                self.transport.write_eof()
            else:
                self.transport.write(piece)
                self.most_queued = max(self.most_queued, self.transport.get_write_buffer_size())
        self._finish()

    def _finish(self) -> None:
        if self._ended and self._written and not self.result.done():
            self.result.set_result({"size": self._size, "digest": self._state.hexdigest()})
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.result.done():
            self.result.set_exception(exc or ConnectionAbortedError("closed before the end"))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send everything back, up to the peer's end."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()
    except OSError:
        pass
