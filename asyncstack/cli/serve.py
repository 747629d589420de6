"""`asyncstack serve`: a folder, a handler or an HTTP application on a stack."""

from __future__ import annotations

from contextlib import AsyncExitStack

import click

from asyncstack.cli.interface import InterfaceOptions
from asyncstack.cli.running import Handler, forever


async def serve_on_interface(handler: Handler, interface: InterfaceOptions, port: int) -> None:
    """Serve on a TUN or TAP until cancelled."""
    async with interface.stack() as stack:
        server = await stack.start_server(handler, None, port)
        for url in interface.urls(server.sockets[0].getsockname()[1]):
            click.echo(f"asyncstack: serving {url} (Ctrl-C ends it)")
        await forever()


async def serve_published(
    handler: Handler, publish: tuple[str, int], port: int, options: InterfaceOptions
) -> None:
    """Serve in a simulated network and publish it on a kernel socket, until cancelled. Needs no privileges."""
    from asyncstack.application.forwarder import Forwarder
    from asyncstack.testing.network import Network

    async with AsyncExitStack() as closing:
        network = await closing.enter_async_context(Network())
        client, server = network.host("client", "10.9.0.1/24"), network.host("server", "10.9.0.2/24")
        network.link(client, server, mtu=options.mtu)
        if options.capture is not None:
            await closing.enter_async_context(network.capture(options.capture))
        listener = await server.start_server(handler, "10.9.0.2", port)
        port = listener.sockets[0].getsockname()[1]
        forwarder = await closing.enter_async_context(Forwarder(client, "10.9.0.2", port, *publish))
        click.echo(f"asyncstack: serving {forwarder.url} (Ctrl-C ends it)")
        await forever()
