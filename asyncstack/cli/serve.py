"""`asyncstack serve`: a folder, a handler or an HTTP application on a stack."""

from __future__ import annotations

import click

from asyncstack.cli.interface import InterfaceOptions
from asyncstack.cli.running import Handler, forever


async def serve_on_interface(handler: Handler, interface: InterfaceOptions, port: int) -> None:
    """Serve on a TUN or TAP until cancelled."""
    async with interface.stack() as stack:
        await stack.start_server(handler, None, port)
        for url in interface.urls(port):
            click.echo(f"asyncstack: serving {url} (Ctrl-C ends it)")
        await forever()


async def serve_published(handler: Handler, publish: tuple[str, int], port: int) -> None:
    """Serve in a simulated network and publish it on a kernel socket, until cancelled. Needs no privileges."""
    from asyncstack.application.forwarder import Forwarder
    from asyncstack.testing.network import Network

    async with Network() as network:
        client, server = network.host("client", "10.9.0.1/24"), network.host("server", "10.9.0.2/24")
        network.link(client, server)
        await server.start_server(handler, "10.9.0.2", port)
        async with Forwarder(client, "10.9.0.2", port, *publish) as forwarder:
            click.echo(f"asyncstack: serving {forwarder.url} (Ctrl-C ends it)")
            await forever()
