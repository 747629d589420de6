"""Pings: ours to find out whether the peer is still there, and the application's to measure the way to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from asyncstack.application.websocket.options import Options
from asyncstack.timing import clock_of


class Keepalive:
    """A ping every `ping_interval` seconds; `give_up()` if nothing is heard for `ping_timeout` after one.

    Any bytes count as a sign of life: a pong may stand behind a long message on a slow way.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: Options,
        send_ping: Callable[[bytes], None],
        give_up: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._clock = clock_of(loop)
        self._interval = options.ping_interval
        self._timeout = options.ping_timeout
        self._send_ping = send_ping
        self._give_up = give_up
        self._handle: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self._serial = 0
        # In order of sending: a pong answers its ping and all before it (RFC 6455 section 5.5.3).
        self._pings: dict[bytes, tuple[float, asyncio.Future[float | None]]] = {}
        self.latency = 0.0

    def start(self) -> None:
        """Begin to ping."""
        self._schedule(self._interval, self._probe)

    def pause(self) -> None:
        """The application does not take messages: nothing is heard because nothing is read."""
        self._cancel_timer()

    def resume(self) -> None:
        """Reading goes on."""
        self._schedule(self._interval, self._probe)

    def hear(self) -> None:
        """Bytes came."""
        self._heard = self._clock()

    def ping(self) -> asyncio.Future[float | None]:
        """Send a ping; the future becomes the latency in seconds, or None if the connection ends first."""
        self._serial += 1
        data = self._serial.to_bytes(4, "big")
        future: asyncio.Future[float | None] = self._loop.create_future()
        self._pings[data] = (self._clock(), future)
        self._send_ping(data)
        return future

    def receive_pong(self, data: bytes) -> None:
        """A pong; unsolicited ones are ignored."""
        if data not in self._pings:
            return
        now = self._clock()
        for key in list(self._pings):
            sent, future = self._pings.pop(key)
            if not future.done():
                future.set_result(now - sent)
            if key == data:
                self.latency = now - sent
                break

    def close(self) -> None:
        """The connection is gone."""
        self._cancel_timer()
        # They lead back to the WebSocket, which is to go without the garbage collector's help.
        self._send_ping = self._give_up = _nothing
        for _, future in self._pings.values():
            if not future.done():
                future.set_result(None)
        self._pings.clear()

    def _probe(self) -> None:
        self.ping()
        self._schedule(self._timeout, self._judge)

    def _judge(self) -> None:
        silence = self._clock() - self._heard
        if silence >= self._timeout:
            self._give_up()
        else:
            self._schedule(self._interval, self._probe)

    def _schedule(self, delay: float | None, callback: Callable[[], None]) -> None:
        self._cancel_timer()
        if delay is not None:
            self._handle = self._loop.call_later(delay, callback)

    def _cancel_timer(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


def _nothing(data: bytes = b"") -> None:
    pass
