"""Publishes a port of a virtual network on a kernel socket: who connects there is relayed to the stack.

The relay is two protocols per connection that write into each other. A side that can not write pauses the
other's reading, so nothing is buffered beyond the two windows; each half-close is passed on.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, cast

from asyncstack.errors import os_error

if TYPE_CHECKING:
    from asyncstack.calls import Calls

RESET: Final = struct.pack("ii", 1, 0)  # of SO_LINGER: on, for no time


class Forwarder:
    """Listens on the kernel's `host` and `port` (0: any free one) and relays to `target_host`, reached from `stack`.

    sock: a kernel socket that is bound already, instead of `host` and `port`.
    """

    def __init__(
        self,
        stack: Calls,
        target_host: str,
        target_port: int,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        scheme: str = "http",
        sock: socket.socket | None = None,
    ) -> None:
        self._stack = stack
        self._target = target_host, target_port
        self._bind = host, port
        self._sock = sock
        self._server: asyncio.AbstractServer | None = None
        self._relays: dict[asyncio.Task[None], None] = {}
        self._sides: dict[Side, None] = {}
        self.host, self.port, self._scheme = host, port, scheme

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self._scheme}://{host}:{self.port}/"

    async def __aenter__(self) -> Forwarder:
        loop = asyncio.get_running_loop()
        loop = getattr(loop, "kernel", loop)  # of a loop that would give "0.0.0.0" to a stack
        host, port = self._bind
        try:
            if self._sock is not None:
                self._server = server = await loop.create_server(self._accept, sock=self._sock)
            else:
                self._server = server = await loop.create_server(self._accept, host, port)
        except socket.gaierror as exc:
            raise socket.gaierror(exc.errno, f"{host}: {exc.strerror}") from None
        except OSError as exc:
            raise os_error(exc.errno or 0, f"listen on {host} port {port}") from None
        self.port = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._relays):
            task.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)
        for side in list(self._sides):
            side.abort()
        await asyncio.sleep(0)

    def _accept(self) -> Side:
        near = Side(self._sides)
        near.on_made = lambda: self._connect(near)
        return near

    def _connect(self, near: Side) -> None:
        task = asyncio.get_running_loop().create_task(self._relay(near))
        self._relays[task] = None
        task.add_done_callback(self._relays.pop)

    async def _relay(self, near: Side) -> None:
        near.pause()
        try:
            _, far = await self._stack.create_connection(lambda: Side(self._sides), *self._target)
        except OSError:
            near.abort()  # the client sees a reset: nobody is behind this port
            return
        near.resume()
        near.join(far)  # may pause it again


class Side(asyncio.Protocol):
    """One end of a relay: what it reads, `other` writes. It is in `sides` while it is connected."""

    def __init__(self, sides: dict[Side, None]) -> None:
        self.other: Side | None = None
        self.ended = False
        self.on_made: Callable[[], None] = lambda: None
        self._sides = sides
        self._early: list[
            bytes
        ] = []  # read while there was no other side: a loop may read once before the pause
        self._error: Exception | None = None
        self._transport: asyncio.Transport | None = None

    def join(self, other: Side) -> None:
        """Be the one side, as `other` is the other; each is told what has happened on its peer so far."""
        self.other, other.other = other, self
        for one, peer in ((self, other), (other, self)):
            for data in one._early:
                peer.write(data)
            one._early.clear()
            if one.ended:
                peer.end()
            if one._transport is None:
                one._leave()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._sides[self] = None
        self.on_made()

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            self.other.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        if self.other is not None:
            self.other.end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._sides.pop(self, None)
        self._transport, self._error = None, exc
        self._leave()

    def _leave(self) -> None:
        """This side is gone: so is the other, after what it has still to write if this one ended in order."""
        other, self.other = self.other, None
        if other is not None:
            other.other = None
            if self._error is None:
                other.close()
            else:
                other.abort()

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.pause()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.resume()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def end(self) -> None:
        """Half-close; all the way once both sides have."""
        if self._transport is None:
            return
        if self.ended:
            self._transport.close()
        else:
            self._transport.write_eof()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End it with a RST."""
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
