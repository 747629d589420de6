"""What was asked for on the command line, and the ways to the site from outside that follow from it."""

import errno
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from asyncstack.application.forwarder import Forwarder
from asyncstack.cli.interface import InterfaceOptions
from demos.site.world import World

ELSEWHERE: Final = "elsewhere: make demo DEMO='--publish 127.0.0.1:8081'"


@dataclass(slots=True)
class Options:
    """interface: a TUN or TAP that the server has as well; publish: where the kernel takes connections for it."""

    interface: InterfaceOptions | None
    publish: tuple[str, int] | None
    port: int
    seed: int | None
    capture: str | None
    version: int  # of IP, in the simulated network


async def open_ways(closing: AsyncExitStack, world: World, options: Options, port: int) -> list[str]:
    """Open them, to be closed with `closing`; their URLs. port: the site's, on the stack."""
    urls: list[str] = []
    interface = options.interface
    if interface is not None:
        await world.server.add_interface(interface.device(), interface.address, interface.gateways)
        urls += interface.urls(port)
    if options.publish is not None:
        forwarder = Forwarder(world.client, world.clean_address, port, *options.publish)
        try:
            urls.append((await closing.enter_async_context(forwarder)).url)
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                raise OSError(exc.errno, f"{exc.strerror}; {ELSEWHERE}") from None
            raise
    return urls
