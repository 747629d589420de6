"""The client process: always on the kernel's sockets. `python -m tests.bench.client`, then commands by line."""

from __future__ import annotations

import socket
import time

from . import loads
from .lines import open_many_files, serve_lines


class Held:
    """Connections that stay open between commands."""

    def __init__(self) -> None:
        self.connections: list[socket.socket] = []

    def hold(self, host: str, port: int, count: int, seconds: float) -> dict[str, float]:
        """Have `count` connections open, in at most `seconds`."""
        end = time.monotonic() + seconds
        while len(self.connections) < count:
            if time.monotonic() > end:
                raise TimeoutError(
                    f"{len(self.connections):,} of {count:,} connections open in {seconds:g} s"
                )
            self.connections.append(loads.connect(host, port, max(end - time.monotonic(), 0.1)))
        return {"open": len(self.connections)}

    def ping_pong(self, seconds: float) -> dict[str, float]:
        """Requests over all held connections in turn."""
        return loads.ping_pong(self.connections, seconds)


def main() -> None:
    open_many_files()
    held = Held()
    serve_lines(
        {
            "hold": held.hold,
            "ping_pong": held.ping_pong,
            "upload": loads.upload,
            "download": loads.download,
            "download_https": loads.download_https,
            "connect_and_close": loads.connect_and_close,
            "flood": loads.flood,
            "http": loads.http,
        }
    )


if __name__ == "__main__":
    main()
