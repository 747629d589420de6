"""ASGI applications: uvicorn, as it is, on an event loop that gives its listening to a stack."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from asyncstack.cli.running import fail, on_signal

if TYPE_CHECKING:
    import socket

    from asyncstack.cli.target import AsgiApplication
    from asyncstack.stack import Stack

GRACE_SECONDS: Final = 5  # for requests under way when the end is asked for


async def serve_asgi(
    target: AsgiApplication,
    stack: Stack,
    port: int,
    certfile: str | None,
    keyfile: str | None,
    listening: Callable[[int], Awaitable[None]],
) -> None:
    """Run an application on every address of `stack` until SIGINT or SIGTERM: then no new connection, the requests
    under way end within GRACE_SECONDS, and the lifespan ends. `listening(port)` is awaited once it listens.

    Raises SystemExit if the application fails to start, which uvicorn logs.
    """
    try:
        import uvicorn
        from uvicorn.config import LOGGING_CONFIG
    except ImportError:
        fail("an ASGI application needs uvicorn: pip install 'asyncstack[serve]'")

    class Server(uvicorn.Server):
        """uvicorn's, that tells when it listens."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            await listening(self.servers[0].sockets[0].getsockname()[1])

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """The signals are the command's, which has a stack to close when uvicorn is done."""
            yield

    logging = copy.deepcopy(LOGGING_CONFIG)
    logging["handlers"]["access"]["stream"] = "ext://sys.stderr"
    config = uvicorn.Config(
        target.app,
        interface=target.interface,
        host=None,  # type: ignore[arg-type]  # any address, of either family
        port=port,
        log_config=logging,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config)
    with stack.current(), on_signal(lambda number: server.handle_exit(number, None)):
        await server.serve()
