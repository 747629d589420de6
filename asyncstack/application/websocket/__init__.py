"""WebSocket (RFC 6455, RFC 7692) on asyncio streams, over any stack.

    async with websocket.connect("ws://10.9.0.2/live", open_connection=stack.open_connection) as ws:
        await ws.send("hello")
        async for message in ws: ...

The server's side is a route of an HTTP application: `@app.websocket("/live")`. The package websockets, whose
sans-I/O protocol does the framing, is imported with the first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncstack.application.websocket.errors import ConnectionClosed, HandshakeError
from asyncstack.application.websocket.options import Options

if TYPE_CHECKING:
    from asyncstack.application.websocket.client import connect
    from asyncstack.application.websocket.connection import WebSocket

__all__ = ["ConnectionClosed", "HandshakeError", "Options", "WebSocket", "connect"]


def __getattr__(name: str) -> Any:
    if name == "connect":
        from asyncstack.application.websocket.client import connect

        return connect
    if name == "WebSocket":
        from asyncstack.application.websocket.connection import WebSocket

        return WebSocket
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
