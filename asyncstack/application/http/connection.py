"""One connection of an HTTP server: requests in, answers out, one after the other, and a decent end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING

from asyncstack.application.http.body import Pace, RequestBody
from asyncstack.application.http.errors import BodyTruncated, HttpError
from asyncstack.application.http.framing import decoder_for
from asyncstack.application.http.head import RequestHead
from asyncstack.application.http.parser import parse_request
from asyncstack.application.http.request import Request
from asyncstack.application.http.response import Response
from asyncstack.application.http.sending import BrokenResponse, Sender
from asyncstack.application.http.source import ByteSource, HeadTooLarge, HopelessHead
from asyncstack.errors import is_connection_loss

if TYPE_CHECKING:
    from asyncstack.application.http.routing import WebSocketRoute
    from asyncstack.application.http.server import Application
    from asyncstack.application.websocket.connection import WebSocket

# Requests that were already there are answered without a turn of the loop, but not more than these in a row.
BURST = 8
EMPTY_LINES = 16


class HttpConnection:
    """Serves one (reader, writer) pair for an Application until either side is done with it."""

    __slots__ = (
        "_app",
        "_local",
        "_pace",
        "_peer",
        "_sender",
        "_source",
        "_unread",
        "_writer",
        "answered",
        "idle",
        "task",
        "websocket",
    )

    def __init__(self, app: Application, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        self._app = app
        self._writer = writer
        self._source = ByteSource(reader, loop)
        self._sender = Sender(writer, loop, app.limits.write_time, app.server)
        self._pace = Pace(app.limits.body_time, app.limits.body_rate, app.limits.body_grace)
        self._peer = writer.get_extra_info("peername")
        self._local = writer.get_extra_info("sockname")
        self._unread = False  # the client may be sending something that nobody will read
        self.task = asyncio.current_task()
        self.idle = True
        self.answered = 0
        self.websocket: WebSocket | None = None

    async def run(self) -> None:
        """Until the connection is closed. Raises only CancelledError."""
        try:
            if await self._converse():
                await self._finish()
        except Exception as exc:
            if not is_connection_loss(exc):
                self._app.log.exception("a connection failed")
        finally:
            self._source.close()
            self._sender.close()
            # Closed already, if all went well.
            if not self._writer.transport.is_closing():
                _reset(self._writer)

    async def _converse(self) -> bool:
        """Request after request; whether the end may be a graceful one."""
        try:
            while await self._exchange():
                if self.answered % BURST == 0 and self._source.buffer:
                    await asyncio.sleep(0)
        except BrokenResponse as exc:
            self._app.log.error("a response broke off", exc_info=exc.__cause__)
            return exc.framed
        return True

    async def _exchange(self) -> bool:
        """One request and its answer; whether there may be another."""
        raw = b""
        try:
            received = await self._await_head()
            if received is None:
                return False
            raw = received
            limits = self._app.limits
            head = parse_request(raw, request_line=limits.request_line, header_count=limits.header_count)
        except HttpError as error:
            await self._refuse(error, "HEAD" if raw.startswith(b"HEAD ") else "GET")
            return False
        body = self._body_of(head)
        request = Request(head, body, self._peer, self._local)
        self._sender.head_sent = False
        try:
            response = await self._app.respond(request, body, head)
        except BodyTruncated:
            return False
        if not isinstance(response, Response):
            await self._upgrade(request, response)
            return False
        return await self._answer(response, head, body)

    async def _await_head(self) -> bytes | None:
        """The next head; None if the client is done, or took longer than idle_time to ask for something."""
        limits, source = self._app.limits, self._source
        if not await self._skip_empty_lines():
            return None
        try:
            return await source.take_head(limits.head_size, limits.head_time)
        except HeadTooLarge as exc:
            raise HttpError(431 if exc.line_ended else 414, "the head of the request is too long") from None
        except HopelessHead:
            raise HttpError(400, "this is no HTTP request") from None
        except TimeoutError:
            raise HttpError(408, "the head of the request came too slowly") from None

    async def _skip_empty_lines(self) -> bool:
        """Wait for a request to begin; empty lines before it are forgiven (RFC 9112 section 2.2)."""
        buffer = self._source.buffer
        for _ in range(EMPTY_LINES):
            if buffer.startswith(b"\r\n"):
                del buffer[:2]
            if buffer and buffer[:1] != b"\r":
                return True
            if len(buffer) >= 2 and buffer[:2] != b"\r\n":
                break
            if len(buffer) < 2 and not await self._wait_idle():
                return False
        raise HttpError(400, "this is no HTTP request")

    async def _wait_idle(self) -> bool:
        self.idle = True
        try:
            return not self._app.closing and await self._source.fill(self._app.limits.idle_time)
        except TimeoutError:
            return False
        finally:
            self.idle = False

    def _body_of(self, head: RequestHead) -> RequestBody:
        limits = self._app.limits
        return RequestBody(
            self._source,
            decoder_for(head.length, limits.chunk_line, limits.trailer_size),
            self._pace,
            limits.body_size,
            self._sender.send_continue if head.expect_continue else None,
        )

    async def _answer(self, response: Response, head: RequestHead, body: RequestBody) -> bool:
        self.answered += 1
        keep_alive = head.keep_alive and not self._app.closing and self.answered < self._app.limits.requests
        streamed = not isinstance(response.body, (bytes, bytearray, memoryview))
        keep_alive = keep_alive and (body.done or self._can_skip(body, streamed))
        # Before a client that waits for 100 Continue gets the final head, the body must have had its chance.
        first_piece = streamed and body.awaits_continue
        try:
            keep_alive = await self._sender.send(
                response,
                method=head.method,
                version=head.version,
                keep_alive=keep_alive,
                date=self._app.date(),
                first_piece=first_piece,
            )
        except Exception as exc:
            if self._sender.head_sent or is_connection_loss(exc):
                raise
            self._app.log.error("the response to %s %s failed", head.method, head.target, exc_info=exc)
            await self._refuse(exc if isinstance(exc, HttpError) else HttpError(500), head.method)
            return False
        return await self._skip_rest(body) and keep_alive

    def _can_skip(self, body: RequestBody, streamed: bool) -> bool:
        """Whether what is left of a request's body is worth reading for the sake of the connection."""
        if body.failed:
            return False
        if streamed:
            return True
        return not body.awaits_continue and body.remaining <= self._app.limits.discard_size

    async def _skip_rest(self, body: RequestBody) -> bool:
        if body.done:
            return True
        self._unread = True
        if body.failed or body.awaits_continue or body.remaining > self._app.limits.discard_size:
            return False
        try:
            self._unread = not await body.discard(self._app.limits.discard_size)
        except HttpError:
            pass
        return not self._unread

    async def _refuse(self, error: HttpError, method: str) -> None:
        """The last answer on this connection: what follows in the input is not to be trusted."""
        self._unread = True
        await self._sender.send(
            Response.error(error),
            method=method,
            version="1.1",
            keep_alive=False,
            date=self._app.date(),
            first_piece=False,
        )

    async def _upgrade(self, request: Request, route: WebSocketRoute) -> None:
        from asyncstack.application.websocket.server import serve

        buffer = self._source.buffer
        received = bytes(buffer)
        try:
            await serve(self, request, route, self._source.reader, self._writer, received, self._app.log)
        except HttpError as error:
            await self._refuse(error, "GET")
            return
        buffer.clear()

    async def _finish(self) -> None:
        """Close so that the last answer arrives: unread input would make the kernel send a reset after it."""
        writer, limits = self._writer, self._app.limits
        try:
            async with asyncio.timeout(limits.close_time):
                if self._unread or self._source.buffer:
                    await self._linger()
                writer.close()
                await writer.wait_closed()
        except TimeoutError:
            writer.transport.abort()

    async def _linger(self) -> None:
        """Send FIN and throw away what still comes, for a moment (RFC 9112 section 9.6)."""
        await self._writer.drain()
        if self._writer.can_write_eof():
            self._writer.write_eof()
        left = self._app.limits.linger_size
        try:
            async with asyncio.timeout(self._app.limits.linger_time):
                while left > 0 and (data := await self._source.reader.read(64 * 1024)):
                    left -= len(data)
        except TimeoutError:
            pass

    def stop(self) -> None:
        """The application is closing: an idle connection ends now, a busy one after its answer."""
        if self.websocket is not None:
            self.websocket.go_away()
        elif self.idle:
            self._writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End with RST: without lingering, `abort` lets what is in the send buffer out and says FIN."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
