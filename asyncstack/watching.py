"""`Stack.events()`: what happens to the connections of a stack, as an async iterator of records (see `events`)."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final

from asyncstack.connection_events import (
    CongestionWindowChanged,
    ConnectionClosed,
    ConnectionEstablished,
    ConnectionEvent,
    ConnectionOpened,
    RecoveryStarted,
    RetransmissionTimeout,
    SegmentRetransmitted,
)
from asyncstack.transport.endpoint_socket import SocketAddress
from asyncstack.transport.tcp.endpoint import ENDED, TcpEndpoint
from asyncstack.transport.tcp.layer import TcpLayer
from asyncstack.transport.tcp.sequence import MASK

if TYPE_CHECKING:
    from collections.abc import Mapping

TRACED: Final[Mapping[str, type[SegmentRetransmitted | RecoveryStarted | RetransmissionTimeout]]] = {
    "retransmit": SegmentRetransmitted,
    "recovery": RecoveryStarted,
    "rto": RetransmissionTimeout,
}


class EventStream:
    """The events of a stack since this was made, in order. At most `limit` wait to be read: beyond that the oldest is
    dropped, and counted in `dropped`. It ends with its stack, or with `close`."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit is {limit}; at least one event has to fit")
        self.dropped = 0
        self._limit = limit
        self._waiting: deque[ConnectionEvent] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> ConnectionEvent:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()

    def put(self, event: ConnectionEvent) -> None:
        """Add `event`."""
        if self._closed:
            return
        if len(self._waiting) >= self._limit:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(event)
        self._changed.set()

    def close(self) -> None:
        """Add no more; what waits can still be read."""
        self._closed = True
        self._changed.set()

    async def aclose(self) -> None:
        """`close`, as an asynchronous generator has it."""
        self.close()

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._closed


class ConnectionWatch:
    """Makes the records for all streams of one stack (`Observer`). It watches while somebody holds a stream."""

    def __init__(self, layer: TcpLayer) -> None:
        self._layer = layer
        self._streams: weakref.WeakSet[EventStream] = weakref.WeakSet()
        self._windows: dict[TcpEndpoint, tuple[int, int]] = {}

    def open(self, limit: int) -> EventStream:
        """A stream of what happens from now on."""
        stream = EventStream(limit)
        self._streams.add(stream)
        if self._layer.observer is None:
            self._layer.observe(self)
            self._windows = {one: self._window(one) for one in self._layer.connections.values()}
        return stream

    def close(self) -> None:
        """The stack has ended."""
        for stream in list(self._streams):
            stream.close()
        self._stop()

    def _stop(self) -> None:
        self._windows.clear()
        self._layer.observe(None)

    def _tell(self, event: ConnectionEvent) -> None:
        heard = False
        for stream in list(self._streams):
            if stream.closed:
                self._streams.discard(stream)
            else:
                stream.put(event)
                heard = True
        if not heard:
            self._stop()

    def _facts(self, endpoint: TcpEndpoint, at: float | None = None) -> Facts:
        sender = endpoint.connection.sender
        return (
            self._layer.clock() if at is None else at,
            endpoint.sockname,
            endpoint.peername,
            sender.congestion.cwnd,
            sender.congestion.ssthresh,
            sender.rtt.srtt,
        )

    # what the endpoints tell

    def established(self, endpoint: TcpEndpoint) -> None:
        """The handshake is complete."""
        self.settled(endpoint)
        self._windows[endpoint] = self._window(endpoint)
        self._tell(ConnectionEstablished(*self._facts(endpoint)))

    def settled(self, endpoint: TcpEndpoint) -> None:
        """Tell what the sender traced, and whether its window is another one; of a connection not seen before, that it
        was opened."""
        if endpoint not in self._windows:
            if endpoint.connection.state in ENDED:
                return
            self._windows[endpoint] = self._window(endpoint)
            self._tell(ConnectionOpened(*self._facts(endpoint), endpoint.connection.passive))
        trace = endpoint.connection.sender.trace
        if trace:
            endpoint.connection.sender.trace = []
            for kind, at, position, size in trace:
                self._tell(TRACED[kind](*self._facts(endpoint, at), position & MASK, size))
        window = self._window(endpoint)
        before = self._windows.get(endpoint, window)
        if before != window:
            self._windows[endpoint] = window
            self._tell(CongestionWindowChanged(*self._facts(endpoint), before[0]))

    @staticmethod
    def _window(endpoint: TcpEndpoint) -> tuple[int, int]:
        control = endpoint.connection.sender.congestion
        return control.cwnd, control.ssthresh

    def closed(self, endpoint: TcpEndpoint) -> None:
        """The connection is over."""
        self._windows.pop(endpoint, None)
        connection = endpoint.connection
        info = endpoint.info()
        self._tell(
            ConnectionClosed(
                *self._facts(endpoint),
                connection.error,
                os.strerror(connection.error) if connection.error else "",
                info.bytes_sent - info.bytes_retrans,
                info.bytes_received,
            )
        )


Facts = tuple[float, SocketAddress, SocketAddress, int, int, float]
