"""`connect`: a WebSocket to a server, over any stack's `open_connection`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import Any

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.typing import Origin, Subprotocol
from websockets.uri import parse_uri

from asyncstack.application.http.grammar import STATUS_LINE
from asyncstack.application.http.headers import Headers, HeaderSource
from asyncstack.application.websocket.connection import WebSocket
from asyncstack.application.websocket.errors import HandshakeError
from asyncstack.application.websocket.options import Options

OpenConnection = Callable[..., Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

HANDSHAKE_SIZE = 64 * 1024


class connect:
    """Open a WebSocket: `async with connect("ws://host:port/path") as ws`, or `ws = await connect(...)`.

    `open_connection` is a stack's (default: asyncio's, on the kernel). `subprotocols` in order of preference,
    `origin` and `headers` go with the handshake. `ssl` is an `ssl.SSLContext` for wss: (True: the default one).
    `options` as in `Options`: max_size, compression, ping_interval, open_timeout ...
    Raises HandshakeError, OSError, TimeoutError; ValueError for a malformed URI.
    """

    def __init__(
        self,
        uri: str,
        *,
        open_connection: OpenConnection | None = None,
        subprotocols: Iterable[str] = (),
        origin: str | None = None,
        headers: HeaderSource = (),
        ssl: Any = True,
        **options: Any,
    ) -> None:
        try:
            self._uri = parse_uri(uri)
        except InvalidURI as exc:
            raise ValueError(f"{exc}: give ws://host[:port]/path") from None
        self._open_connection = open_connection or asyncio.open_connection
        self._headers = Headers(headers)
        self._ssl = ssl
        self._options = Options(**options)
        self._protocol = ClientProtocol(
            self._uri,
            origin=None if origin is None else Origin(origin),
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            extensions=[_deflate()] if self._options.compression else None,
            max_size=self._options.max_size,
        )
        self._ws: WebSocket | None = None

    def __await__(self) -> Generator[Any, None, WebSocket]:
        return self._open().__await__()

    async def __aenter__(self) -> WebSocket:
        self._ws = await self._open()
        return self._ws

    async def __aexit__(self, kind: type[BaseException] | None, exc: object, traceback: object) -> None:
        assert self._ws is not None
        await self._ws.__aexit__(kind, exc, traceback)

    async def _open(self) -> WebSocket:
        async with asyncio.timeout(self._options.open_timeout):
            uri = self._uri
            extra = {"ssl": self._ssl, "server_hostname": uri.host} if uri.secure else {}
            reader, writer = await self._open_connection(uri.host, uri.port, **extra)
            try:
                received = await self._shake_hands(reader, writer)
            except BaseException:
                writer.transport.abort()
                raise
        ws = WebSocket(self._protocol, reader, writer, self._options)
        ws.start(received)
        return ws

    async def _shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """RFC 6455 section 4.1; the bytes that came after the response."""
        protocol = self._protocol
        request = protocol.connect()
        for name, value in self._headers:
            request.headers[name] = value
        protocol.send_request(request)
        writer.writelines(protocol.data_to_send())
        head = bytearray()
        while (end := head.find(b"\r\n\r\n")) < 0:
            if len(head) > HANDSHAKE_SIZE:
                raise HandshakeError(0, "the server's answer has no end")
            data = await reader.read(16 * 1024)
            if not data:
                raise HandshakeError(0, "the server closed during the handshake")
            head += data
        status = _status(head)
        if status != 101:
            raise HandshakeError(
                status, f"the server answered {status}" if status else "the server speaks no HTTP"
            )
        # Only the head: frames behind it wait until the WebSocket is there to take them.
        protocol.receive_data(bytes(head[: end + 4]))
        protocol.events_received()
        if protocol.handshake_exc is not None:
            raise HandshakeError(status, f"handshake failed: {protocol.handshake_exc}")
        return bytes(head[end + 4 :])


def _status(head: bytearray) -> int:
    """The status of an HTTP response; 0 if it is none."""
    match = STATUS_LINE.match(head)
    return int(match[3]) if match else 0


def _deflate() -> ClientPerMessageDeflateFactory:
    """permessage-deflate, with the client's window as the server likes it."""
    return ClientPerMessageDeflateFactory(client_max_window_bits=True, compress_settings={"memLevel": 5})
