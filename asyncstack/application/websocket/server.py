"""The server's side of the opening handshake, and the life of an accepted WebSocket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from websockets.datastructures import Headers as WireHeaders
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request as WireRequest
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from asyncstack.application.http.errors import HttpError
from asyncstack.application.websocket.connection import WebSocket
from asyncstack.application.websocket.errors import ConnectionClosed
from asyncstack.application.websocket.options import Options
from asyncstack.errors import is_connection_loss

if TYPE_CHECKING:
    from asyncstack.application.http.connection import HttpConnection
    from asyncstack.application.http.request import Request
    from asyncstack.application.http.routing import WebSocketRoute

# What the handshake looks at; the rest of a request's fields may be larger than websockets accepts.
HANDSHAKE_FIELDS = frozenset(
    (
        "host",
        "origin",
        "upgrade",
        "connection",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-protocol",
        "sec-websocket-extensions",
    )
)


def accept(request: Request, route: WebSocketRoute, options: Options) -> tuple[ServerProtocol, bytes]:
    """The protocol of an accepted WebSocket and the bytes of 101 Switching Protocols (RFC 6455 section 4.2.2).

    Raises HttpError: 400 for a malformed handshake, 403 for an origin, 426 for another version.
    """
    if request.headers.get_all("sec-websocket-version") != ["13"]:
        raise HttpError(426, "WebSocket version 13", {"Sec-WebSocket-Version": "13", "Upgrade": "websocket"})
    origins = None
    if route.origins is not None:
        origins = [None if origin is None else Origin(origin) for origin in route.origins]
    protocol = ServerProtocol(
        origins=origins,
        select_subprotocol=lambda protocol, offered: _select(route.subprotocols, offered),
        extensions=[_deflate()] if options.compression else None,
        max_size=options.max_size,
    )
    fields = [(name, value) for name, value in request.headers if name.lower() in HANDSHAKE_FIELDS]
    # Through the parser, because it waits for a request before it takes frames.
    try:
        protocol.receive_data(WireRequest(request.target, WireHeaders(fields)).serialize())
        wire_request = cast(WireRequest, protocol.events_received()[0])
    except (IndexError, ValueError, RuntimeError):
        raise HttpError(400, "malformed WebSocket handshake") from None
    response = protocol.accept(wire_request)
    if response.status_code != 101:
        raise HttpError(response.status_code, str(protocol.handshake_exc or ""))
    protocol.send_response(response)
    return protocol, b"".join(protocol.data_to_send())


def _select(ours: tuple[str, ...], offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The first of ours that the client offers; None goes on without, and the client decides what it thinks of it."""
    return next((Subprotocol(name) for name in ours if name in offered), None)


def _deflate() -> ServerPerMessageDeflateFactory:
    """permessage-deflate with a 4 KiB window each way: 300 KiB less per connection than the default."""
    return ServerPerMessageDeflateFactory(
        server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5}
    )


async def serve(
    connection: HttpConnection,
    request: Request,
    route: WebSocketRoute,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    received: bytes,
    log: logging.Logger,
) -> None:
    """Shake hands and run the route's handler until it returns, then close. Raises HttpError before that."""
    options = Options(**route.options)
    protocol, response = accept(request, route, options)
    writer.write(response)
    ws = WebSocket(protocol, reader, writer, options, request)
    connection.websocket = ws
    ws.start(received)
    code = 1000
    try:
        await route.handler(ws)
    except ConnectionClosed:
        pass
    except asyncio.CancelledError:
        ws.abort()
        raise
    except Exception as exc:
        code = 1011
        if not is_connection_loss(exc):
            log.exception("the WebSocket handler of %s failed", request.target)
    await ws.close(code)
