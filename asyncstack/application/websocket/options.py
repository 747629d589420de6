"""What a WebSocket may cost and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Options:
    """Sizes in bytes, times in seconds. Both for `websocket.connect(...)` and `@app.websocket(path, ...)`."""

    max_size: int | None = 1024 * 1024  # of a message received; beyond: close with 1009
    queue_messages: int = 16  # received and not taken; then reading pauses
    queue_size: int = 1024 * 1024  # the same in bytes
    compression: str | None = "deflate"  # permessage-deflate if the peer has it too; None for never
    ping_interval: float | None = 20.0  # between our pings; None for none
    ping_timeout: float = 20.0  # for the pong; beyond: close with 1011
    close_timeout: float = 10.0  # for the peer's close frame and FIN; beyond: reset
    write_time: float = 60.0  # for the peer to make room in a full write buffer
    open_timeout: float = 10.0  # for the whole handshake (client)
    write_limit: int = 64 * 1024  # bytes in the write buffer at which `send` starts to wait

    def __post_init__(self) -> None:
        if self.compression not in (None, "deflate"):
            raise ValueError(f"compression {self.compression!r}: give 'deflate' or None")
