"""One request and its response on one of the client's connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable

from asyncstack.application.http.body import Body, Pace
from asyncstack.application.http.deadline import Deadline
from asyncstack.application.http.errors import BadResponse, BodyTruncated
from asyncstack.application.http.framing import LAST_CHUNK, FramingError, decoder_for, encode_chunk
from asyncstack.application.http.head import ResponseHead
from asyncstack.application.http.headers import Headers, encode_fields
from asyncstack.application.http.limits import ClientLimits
from asyncstack.application.http.parser import parse_response
from asyncstack.application.http.pool import ClientConnection
from asyncstack.application.http.source import HeadTooLarge, HopelessHead

RequestBody = bytes | AsyncIterable[bytes]

# 1xx answers before the final one; more than that is no server but a tap left open.
INTERIM = 16

# A body up to that size is sent before the response is looked for; a larger one at the same time.
AT_ONCE = 32 * 1024


class NoResponse(ConnectionError):
    """The connection ended before the first byte of a response; on a reused one that is nothing unusual."""


class ResponseBody(Body):
    """A response's body: what is malformed is a BadResponse."""

    __slots__ = ()

    async def read_piece(self) -> bytes:
        try:
            return await super().read_piece()
        except FramingError as exc:
            raise BadResponse(str(exc)) from None
        except TimeoutError:
            raise TimeoutError("the body of the response came too slowly") from None


class Exchange:
    """Sends a request on `connection` and receives the response to it.

    After `start` there are `head` and `body`; after the body's end, `finish` tells whether the connection can be
    used again. A request body that is still on its way then is given up.
    """

    def __init__(self, connection: ClientConnection, limits: ClientLimits) -> None:
        self.connection = connection
        self._limits = limits
        self._upload: asyncio.Task[None] | None = None
        self._upload_error: Exception | None = None
        self.head = ResponseHead()
        self.body: ResponseBody | None = None

    async def start(self, method: str, target: str, headers: Headers, body: RequestBody) -> None:
        """Until the response's head is there. Raises NoResponse, BadResponse, OSError, and what `body` raises."""
        head = _serialize(method, target, headers)
        writer = self.connection.writer
        if isinstance(body, bytes) and len(body) <= AT_ONCE:
            writer.write(head + body)
        else:
            writer.write(head)
            self._upload = asyncio.create_task(self._send(body, headers), name="HTTP upload")
        try:
            self.head = await self._receive_head(method)
        except BaseException:
            await self._stop_upload()
            if self._upload_error is not None:
                raise self._upload_error from None
            raise
        if self.head.status >= 400:
            # A server that refuses has no use for the rest.
            await self._stop_upload()
        self.body = ResponseBody(
            self.connection.source,
            decoder_for(self.head.length, self._limits.chunk_line, self._limits.trailer_size),
            Pace(self._limits.body_time),
        )

    async def _send(self, body: RequestBody, headers: Headers) -> None:
        writer = self.connection.writer
        deadline = Deadline(asyncio.get_running_loop())
        try:
            if isinstance(body, bytes):
                writer.write(body)
                with deadline.within(self._limits.write_time):
                    await writer.drain()
                return
            length = int(headers.get("content-length") or -1)
            async for piece in body:
                if not piece:
                    continue
                if length < 0:
                    writer.writelines(encode_chunk(piece))
                else:
                    length -= len(piece)
                    if length < 0:
                        raise ValueError("the body is longer than its Content-Length")
                    writer.write(piece)
                with deadline.within(self._limits.write_time):
                    await writer.drain()
            if length > 0:
                raise ValueError(f"the body is {length} bytes shorter than its Content-Length")
            if length < 0:
                writer.write(LAST_CHUNK)
        except ConnectionError:
            pass  # the server may have answered before it closed
        except Exception as exc:
            self._upload_error = exc
            writer.transport.abort()
        finally:
            deadline.cancel()

    async def _receive_head(self, method: str) -> ResponseHead:
        for _ in range(INTERIM):
            raw = await self._take_head()
            head = parse_response(raw, method, header_count=self._limits.header_count)
            if head.status == 101:
                raise BadResponse("the server changes to a protocol that nobody asked for")
            if head.status >= 200:
                return head
        raise BadResponse("no end of interim responses")

    async def _take_head(self) -> bytes:
        source = self.connection.source
        try:
            raw = await source.take_head(self._limits.head_size, self._limits.response_time)
        except HeadTooLarge:
            raise BadResponse("the head of the response is too large") from None
        except HopelessHead:
            raise BadResponse("this is no HTTP response") from None
        except TimeoutError:
            raise TimeoutError(f"no response in {self._limits.response_time} s") from None
        except ConnectionError as exc:
            if source.buffer:
                raise
            raise NoResponse(str(exc)) from exc
        if raw is not None:
            return raw
        if source.buffer:
            raise BodyTruncated("the connection ended in the head of the response")
        raise NoResponse("the server closed without a response")

    async def _stop_upload(self) -> None:
        upload = self._upload
        if upload is not None and not upload.done():
            upload.cancel()
            await asyncio.wait([upload])
            self.head.keep_alive = False

    async def finish(self) -> bool:
        """Whether the connection may carry another request."""
        uploading = self._upload is not None and not self._upload.done()
        await self._stop_upload()
        if self._upload_error is not None or uploading or self.body is None:
            return False
        return self.head.keep_alive and self.body.done


def _serialize(method: str, target: str, headers: Headers) -> bytes:
    fields = encode_fields([f"{name}: {value}\r\n" for name, value in headers])
    return f"{method} {target} HTTP/1.1\r\n".encode("ascii") + fields + b"\r\n"
