"""`asyncstack serve`: a folder, a handler or an application on a stack."""

from __future__ import annotations

import os
import signal
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from asyncstack.cli.interface import InterfaceOptions
from asyncstack.cli.running import forever, say
from asyncstack.cli.target import AsgiApplication, Handler
from asyncstack.events import Event, InterfaceDown

if TYPE_CHECKING:
    from asyncstack.stack import Stack


@dataclass(slots=True)
class Service:
    """What to serve on which port, and the files of its certificate."""

    target: Handler | AsgiApplication
    port: int
    certfile: str | None = None
    keyfile: str | None = None
    tls: ssl.SSLContext | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Raises click.UsageError for files that hold no certificate or not its key."""
        if self.certfile is None:
            return
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            self.tls.load_cert_chain(self.certfile, self.keyfile)
        except OSError as exc:  # SSLError is one
            raise click.UsageError(
                f"no certificate with its key (PEM) in {self.certfile} {self.keyfile or ''}: {exc.strerror}"
            ) from None

    @property
    def scheme(self) -> str:
        """Of the URLs."""
        return "https" if self.certfile else "http"

    async def serve(self, stack: Stack, listening: Callable[[int], Awaitable[None]]) -> None:
        """Serve on every address of `stack` until SIGINT or SIGTERM; `listening(port)` is awaited once it does.

        Raises SystemExit if the interface goes away.
        """
        gone: list[OSError] = []

        def told(event: Event) -> None:
            if isinstance(event, InterfaceDown) and event.error is not None:
                gone.append(event.error)
                os.kill(os.getpid(), signal.SIGTERM)

        unsubscribe = stack.subscribe(told)
        try:
            await self._serve(stack, listening)
        finally:
            unsubscribe()
            if gone:
                say(gone[0].strerror or str(gone[0]))
                raise SystemExit(1)

    async def _serve(self, stack: Stack, listening: Callable[[int], Awaitable[None]]) -> None:
        if isinstance(self.target, AsgiApplication):
            from asyncstack.cli.asgi import serve_asgi

            await serve_asgi(self.target, stack, self.port, self.certfile, self.keyfile, listening)
            return
        server = await stack.start_server(self.target, None, self.port, ssl=self.tls)
        await listening(server.sockets[0].getsockname()[1])
        await forever()


async def serve_on_interface(service: Service, interface: InterfaceOptions) -> None:
    """Serve on a TUN or TAP until cancelled."""
    async with interface.stack() as stack:

        async def listening(port: int) -> None:
            for url in interface.urls(port, service.scheme, stack):
                click.echo(f"asyncstack: serving {url} (Ctrl-C ends it)")

        await service.serve(stack, listening)


async def serve_published(service: Service, publish: tuple[str, int], options: InterfaceOptions) -> None:
    """Serve in a simulated network and publish it on a kernel socket, until cancelled; both are of one family. Needs no
    privileges."""
    from asyncstack.application.forwarder import Forwarder
    from asyncstack.testing.network import Network

    async with AsyncExitStack() as closing:
        network = await closing.enter_async_context(Network())
        prefix = "fd09::{}/64" if ":" in publish[0] else "10.9.0.{}/24"
        client, server = (network.host(name, prefix.format(n)) for n, name in ((1, "client"), (2, "server")))
        network.link(client, server, mtu=options.mtu)
        if options.capture is not None:
            await closing.enter_async_context(network.capture(options.capture))

        async def listening(port: int) -> None:
            forwarder = Forwarder(client, "server", port, *publish, scheme=service.scheme)
            await closing.enter_async_context(forwarder)
            click.echo(f"asyncstack: serving {forwarder.url} (Ctrl-C ends it)")

        await service.serve(server, listening)
