"""An open WebSocket (RFC 6455): websockets' sans-I/O protocol between two asyncio streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from websockets.exceptions import InvalidState, ProtocolError
from websockets.frames import Opcode
from websockets.protocol import Protocol, State

from asyncstack.application.websocket.errors import ConnectionClosed
from asyncstack.application.websocket.fragments import Pieces, fragments
from asyncstack.application.websocket.keepalive import Keepalive
from asyncstack.application.websocket.messages import Assembler
from asyncstack.application.websocket.options import Options
from asyncstack.application.websocket.queue import Message, MessageQueue

if TYPE_CHECKING:
    from asyncstack.application.http.request import Request

READ_SIZE = 64 * 1024

# With permessage-deflate a byte can become a thousand: less is decoded between two looks at the queue.
DEFLATED_SLICE = 4 * 1024

# Pongs wait for room only beyond that many unsent bytes. Waiting at once, two peers that both send and both wait
# would stop reading each other's pings, and with them everything else.
PONG_BACKLOG = 1024 * 1024

CLEAN = (1000, 1001)


class WebSocket:
    """One side of an open WebSocket. Made by `connect` or by the server, never directly.

    `async for message in ws` ends when the peer closes cleanly. Messages are str (text) or bytes (binary). One
    task may receive while others send. `request` is the handshake's request (server side, else None).
    """

    def __init__(
        self,
        protocol: Protocol,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        options: Options,
        request: Request | None = None,
    ) -> None:
        self.request = request
        self.peer: Any = writer.get_extra_info("peername")
        self.local: Any = writer.get_extra_info("sockname")
        self._protocol = protocol
        self._reader = reader
        self._writer = writer
        self._options = options
        self._queue = MessageQueue(options.queue_messages, options.queue_size)
        self._assembler = Assembler()
        self._keepalive = Keepalive(asyncio.get_running_loop(), options, self._send_ping, self._give_up)
        self._sending = asyncio.Lock()
        self._closing = False
        self._expiry: asyncio.TimerHandle | None = None  # of the close handshake
        self._task: asyncio.Task[None] | None = None
        writer.transport.set_write_buffer_limits(high=options.write_limit)

    # Application

    @property
    def subprotocol(self) -> str | None:
        """What both sides agreed on, or None."""
        return self._protocol.subprotocol

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._protocol.state is not State.OPEN

    @property
    def latency(self) -> float:
        """Seconds of the last ping's round trip; 0.0 before the first pong."""
        return self._keepalive.latency

    async def recv(self) -> Message:
        """The next message. Raises ConnectionClosed once there is none left."""
        message = await self._queue.get()
        if message is None:
            raise self._closed_error()
        return message

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        message = await self._queue.get()
        if message is not None:
            return message
        error = self._closed_error()
        if error.clean:
            raise StopAsyncIteration
        raise error

    async def send(self, message: str | bytes | bytearray | memoryview | Pieces) -> None:
        """Send a message; an iterable of pieces, all str or all bytes, becomes one message in fragments.

        Returns when the write buffer has room again. Raises ConnectionClosed, TypeError.
        """
        async with self._sending:
            if isinstance(message, str):
                self._emit("send_text", message.encode())
            elif isinstance(message, (bytes, bytearray, memoryview)):
                self._emit("send_binary", bytes(message))
            else:
                await self._send_fragments(message)
            await self._drain()

    async def _send_fragments(self, pieces: Pieces) -> None:
        begun = False
        try:
            async for data, text, first, last in fragments(pieces):
                if first:
                    self._emit("send_text" if text else "send_binary", data, last)
                else:
                    self._emit("send_continuation", data, last)
                begun = not last
                await self._drain()
        except BaseException:
            # Half a message leaves no way to send another one.
            if begun:
                self._fail(1011, "a message broke off")
            raise

    def _emit(self, command: str, *arguments: Any) -> None:
        try:
            getattr(self._protocol, command)(*arguments)
        except InvalidState:
            raise self._closed_error() from None
        self._flush()

    async def ping(self, timeout: float | None = None) -> float:
        """Seconds until the pong. Raises ConnectionClosed, TimeoutError after `timeout` seconds."""
        if self.closed:
            raise self._closed_error()
        pong = self._keepalive.ping()
        await self._drain()
        async with asyncio.timeout(timeout):
            latency = await pong
        if latency is None:
            raise self._closed_error()
        return latency

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye and wait, at most `close_timeout` seconds, until the connection is gone. Messages not yet
        received are dropped. Harmless if it is closed already. Raises ValueError for a code that may not be sent."""
        self._closing = True
        self._queue.discard()
        self._fail_or_close(code, reason)
        await self.wait_closed()

    def abort(self) -> None:
        """Cut the connection off."""
        self._closing = True
        self._queue.discard()
        self._writer.transport.abort()

    def _send_close(self, code: int, reason: str) -> None:
        try:
            self._protocol.send_close(code, reason)
        except ProtocolError as exc:
            raise ValueError(f"close code {code}: {exc}") from None
        self._flush()

    def go_away(self) -> None:
        """Start to close with 1001 and return at once: the server is shutting down."""
        self._closing = True
        self._queue.discard()
        self._fail_or_close(1001, "going away")

    async def wait_closed(self) -> None:
        """Until the connection is gone."""
        if self._task is not None and self._task is not asyncio.current_task():
            await asyncio.wait([self._task])

    async def __aenter__(self) -> WebSocket:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: object, traceback: object) -> None:
        await self.close(1000 if kind is None or issubclass(kind, ConnectionClosed) else 1011)

    # Connection

    def start(self, received: bytes = b"") -> None:
        """Begin to receive; `received` came after the handshake's last byte."""
        self._task = asyncio.create_task(self._run(received), name="websocket")
        self._keepalive.start()

    async def _run(self, received: bytes) -> None:
        """Receive until the peer's FIN, then tear down. Never raises."""
        try:
            if received:
                await self._receive(received)
            while await self._read_once():
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._keepalive.close()
            if self._expiry is not None:
                self._expiry.cancel()
            if self._protocol.state is not State.CLOSED:
                self._protocol.receive_eof()
                self._protocol.data_to_send()
            self._queue.close()
            await self._close_transport()

    async def _read_once(self) -> bool:
        data = await self._reader.read(READ_SIZE)
        if not data:
            return False
        self._keepalive.hear()
        await self._receive(data)
        return self._protocol.state is not State.CLOSED

    async def _receive(self, data: bytes) -> None:
        step = DEFLATED_SLICE if self._protocol.extensions else len(data)
        for start in range(0, len(data), step):
            self._protocol.receive_data(data[start : start + step])
            for frame in self._protocol.events_received():
                self._take(frame)
            self._flush()
            if self._writer.transport.get_write_buffer_size() > PONG_BACKLOG:
                await self._drain()
            if self._queue.full and not self._closing:
                # A peer whose pong we do not read is not dead.
                self._keepalive.pause()
                await self._queue.wait_for_room()
                self._keepalive.resume()

    def _take(self, frame: Any) -> None:
        if frame.opcode is Opcode.PONG:
            self._keepalive.receive_pong(bytes(frame.data))
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            try:
                message = self._assembler.add(frame)
            except UnicodeDecodeError as exc:
                self._fail(1007, f"invalid UTF-8 at position {exc.start}")
                return
            if message is not None and not self._closing:
                self._queue.put(message)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)
            elif self._writer.can_write_eof():
                self._writer.write_eof()
        if self._expiry is None and self._protocol.close_expected():
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(self._options.close_timeout, self.abort)

    async def _drain(self) -> None:
        if self._writer.transport.get_write_buffer_size() <= self._options.write_limit // 4:
            return
        try:
            async with asyncio.timeout(self._options.write_time):
                await self._writer.drain()
        except OSError:
            # TimeoutError too: a peer that takes nothing gets a reset.
            self._writer.transport.abort()
            raise ConnectionClosed(1006, "the peer takes no data") from None

    def _send_ping(self, data: bytes) -> None:
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(data)
            self._flush()

    def _give_up(self) -> None:
        """No pong came within its time."""
        self._fail(1011, "keepalive ping timeout")

    def _fail_or_close(self, code: int, reason: str) -> None:
        if self._protocol.state is not State.OPEN:
            return
        if self._protocol.expect_continuation_frame:
            self._fail(1011, "closed in the middle of a message")
        else:
            self._send_close(code, reason)

    def _fail(self, code: int, reason: str) -> None:
        if self._protocol.state is State.OPEN:
            self._protocol.fail(code, reason)
            self._flush()

    async def _close_transport(self) -> None:
        writer = self._writer
        try:
            writer.close()
            async with asyncio.timeout(self._options.close_timeout):
                await writer.wait_closed()
        except OSError:
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()
            raise

    def _closed_error(self) -> ConnectionClosed:
        received, sent = self._protocol.close_rcvd, self._protocol.close_sent
        last = received or sent
        if last is None:
            return ConnectionClosed(1006)
        clean = received is not None and received.code in CLEAN and sent is not None and sent.code in CLEAN
        return ConnectionClosed(last.code, last.reason, clean)
