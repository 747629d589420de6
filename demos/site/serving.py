"""Puts the site together and serves it, until cancelled."""

import asyncio
import time
from contextlib import AsyncExitStack

import click

import asyncstack
from demos.site.live import Live
from demos.site.pages import pages
from demos.site.telemetry import Telemetry
from demos.site.transfer import Transfer
from demos.site.ways import Options, open_ways
from demos.site.world import build


async def serve(options: Options) -> None:
    """Until cancelled."""
    async with AsyncExitStack() as closing:
        world = build(await closing.enter_async_context(asyncstack.Network(options.seed)), options.version)
        monotonic, epoch = world.server.clock, time.time() - world.server.clock()
        telemetry, transfer = Telemetry(world, lambda: epoch + monotonic()), Transfer(world)
        live = Live(telemetry, transfer)
        app = pages(live)
        listener = await world.server.start_server(app.handle, None, options.port)
        if options.capture is not None:
            capture = asyncstack.Capture(options.capture, clock=telemetry.clock)
            (await closing.enter_async_context(capture)).attach(world.faulty.ends[0])
        for url in await open_ways(closing, world, options, listener.sockets[0].getsockname()[1]):
            click.echo(f"asyncstack: the demo site is on {url} (Ctrl-C ends it)")
        closing.push_async_callback(app.shutdown, 1.0)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(transfer.run())
            tasks.create_task(live.sample())
