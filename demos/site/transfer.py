"""The transfer that is watched: bytes without end from the server to the client, over the faulty link."""

import asyncio

from demos.site.endless import Sink, Source
from demos.site.world import World

PORT = 5001


class Transfer:
    """Runs while `wanted` is set; a connection that ends is followed by the next."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.wanted = asyncio.Event()
        self.wanted.set()
        self.source: Source | None = None

    @property
    def running(self) -> bool:
        """Whether it runs, or is about to."""
        return self.wanted.is_set()

    async def run(self) -> None:
        await self.world.server.create_server(self.new_source, self.world.address, PORT)
        while True:
            await self.wanted.wait()
            try:
                _, sink = await self.world.client.create_connection(Sink, self.world.address, PORT)
                await sink.gone.wait()
            except OSError:
                await asyncio.sleep(0.5)  # a link that loses everything: try for ever

    def new_source(self) -> Source:
        """For a connection that the server accepts."""
        self.source = Source(self.wanted)
        return self.source

    def stop(self) -> None:
        """End it; what is buffered still arrives."""
        self.wanted.clear()
        if self.source is not None:
            self.source.stop()

    def restart(self) -> None:
        """Start it; if it runs, cut it off and begin with a new connection, in slow start."""
        self.wanted.set()
        if self.source is not None:
            self.source.cut_off()
