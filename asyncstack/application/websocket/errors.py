"""How a WebSocket ends, and how it fails to begin."""

from __future__ import annotations


class ConnectionClosed(ConnectionError):
    """The WebSocket is closed.

    `code` and `reason` are the peer's (RFC 6455 section 7.1.5); if it never said, those we sent, else 1006.
    `clean`: both sides said goodbye with 1000 or 1001.
    """

    def __init__(self, code: int, reason: str = "", clean: bool = False) -> None:
        super().__init__(f"WebSocket closed: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason
        self.clean = clean


class HandshakeError(ConnectionError):
    """The server did not agree to a WebSocket. `status` is its answer's, 0 if there was none to understand."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
