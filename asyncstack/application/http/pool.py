"""A client's connections: made when needed, kept for a while, thrown away at the first doubt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from asyncstack.application.http.limits import ClientLimits
from asyncstack.application.http.source import ByteSource
from asyncstack.application.http.url import Origin

OpenConnection = Callable[..., Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class ClientConnection:
    """One connection to one origin. While it is idle a task watches it: whatever comes then ends it."""

    def __init__(self, origin: Origin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.origin = origin
        self.writer = writer
        self.source = ByteSource(reader, asyncio.get_running_loop())
        self.used = False  # has answered a request before
        self.watcher: asyncio.Task[None] | None = None

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against another request."""
        return not (self.source.eof or self.source.buffer or self.writer.transport.is_closing())

    async def stop_watching(self) -> None:
        """Have the stream back from the watcher."""
        watcher, self.watcher = self.watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.wait([watcher])

    def abort(self) -> None:
        """Cut it off."""
        self.source.close()
        self.writer.transport.abort()

    async def close(self, seconds: float = 1.0) -> None:
        """Close it, within `seconds`."""
        await self.stop_watching()
        self.source.close()
        self.writer.close()
        try:
            async with asyncio.timeout(seconds):
                await self.writer.wait_closed()
        except OSError:
            self.writer.transport.abort()


class ConnectionPool:
    """Idle connections by origin, the youngest used first; all connections, so that `close` finds them."""

    def __init__(self, open_connection: OpenConnection, limits: ClientLimits, ssl: Any) -> None:
        self._open_connection = open_connection
        self._limits = limits
        self._ssl = ssl
        self._idle: dict[ClientConnection, None] = {}  # the oldest first
        self._open: dict[ClientConnection, None] = {}

    @property
    def idle(self) -> int:
        """How many connections wait for a request."""
        return len(self._idle)

    @property
    def size(self) -> int:
        """How many connections are open."""
        return len(self._open)

    async def acquire(self, origin: Origin, *, fresh: bool = False) -> ClientConnection:
        """A connection for one request; a new one if `fresh`. Raises OSError, TimeoutError."""
        while not fresh and (connection := self._youngest(origin)) is not None:
            del self._idle[connection]
            await connection.stop_watching()
            if connection.usable:
                return connection
            await self.discard(connection)
        return await self._connect(origin)

    def _youngest(self, origin: Origin) -> ClientConnection | None:
        return next((each for each in reversed(self._idle) if each.origin == origin), None)

    async def _connect(self, origin: Origin) -> ClientConnection:
        extra = {"ssl": self._ssl, "server_hostname": origin.host} if origin.scheme == "https" else {}
        try:
            async with asyncio.timeout(self._limits.connect_time):
                reader, writer = await self._open_connection(origin.host, origin.port, **extra)
        except TimeoutError:
            raise TimeoutError(
                f"no connection to {origin.authority} in {self._limits.connect_time} s"
            ) from None
        connection = ClientConnection(origin, reader, writer)
        self._open[connection] = None
        return connection

    async def release(self, connection: ClientConnection) -> None:
        """The request is answered and the connection good for another."""
        if not connection.usable or connection not in self._open:
            await self.discard(connection)
            return
        connection.used = True
        self._idle[connection] = None
        connection.watcher = asyncio.create_task(self._watch(connection), name="idle HTTP connection")
        # Taken out before anything is awaited, so that requests that end together do not all find room.
        surplus = self._surplus(connection.origin)
        for each in surplus:
            del self._idle[each]
        for each in surplus:
            await self.discard(each)

    def _surplus(self, origin: Origin) -> list[ClientConnection]:
        """The oldest idle connection of `origin`, or of all, if there is one too many."""
        same = [each for each in self._idle if each.origin == origin]
        if len(same) > self._limits.idle_per_origin:
            return same[:1]
        return list(self._idle)[: max(len(self._idle) - self._limits.idle_total, 0)]

    async def _watch(self, connection: ClientConnection) -> None:
        """Until something comes, which can only be wrong, or the time is over, or a request wants it."""
        with contextlib.suppress(OSError):
            await connection.source.fill(self._limits.idle_time)
        self._idle.pop(connection, None)
        self._open.pop(connection, None)
        connection.abort()

    async def discard(self, connection: ClientConnection) -> None:
        """Close it; not to be used again."""
        self._open.pop(connection, None)
        await connection.close()

    def abort(self, connection: ClientConnection) -> None:
        """Cut it off; not to be used again."""
        self._open.pop(connection, None)
        connection.abort()

    async def close(self) -> None:
        """Close all, also those in use."""
        self._idle.clear()
        connections = list(self._open)
        self._open.clear()
        await asyncio.gather(*(connection.close() for connection in connections))
