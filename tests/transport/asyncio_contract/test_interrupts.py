"""SystemExit and KeyboardInterrupt from a callback stop the loop, as everywhere in asyncio, and break nothing."""

import asyncio

import pytest

from asyncstack import Stack, memory_pair
from tests.transport.asyncio_contract.media import KERNEL, LOOPS, OURS, KernelHost
from tests.transport.asyncio_contract.recorders import Echo, Recorder


class Interrupting(Echo):
    """Echoes, but stops the program once."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def data_received(self, data):
        error, self.error = self.error, None
        if error is not None:
            raise error
        super().data_received(data)


class Hosts:
    """Two hosts that outlive a run of the loop."""

    async def open(self, medium):
        self.stacks = []
        loop = asyncio.get_running_loop()
        if medium in KERNEL:
            self.client = self.server = KernelHost(loop)
            return "127.0.0.1"
        self.client, self.server = self.stacks = [Stack(), Stack()]
        near, far = memory_pair()
        self.client.attach(near, ["10.0.0.1/24"])
        self.server.attach(far, ["10.0.0.2/24"])
        return "10.0.0.2"

    async def close(self):
        for stack in self.stacks:
            await stack.close()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("medium", [*KERNEL, *OURS])
def test_the_loop_stops_and_the_connection_does_not(medium, error):
    hosts, client = Hosts(), None

    async def first():
        nonlocal client
        host = await hosts.open(medium)
        server = await hosts.server.create_server(lambda: Interrupting(error), host, 0)
        port = server.sockets[0].getsockname()[1]
        _, client = await hosts.client.create_connection(Recorder, host, port)
        client.server = server
        client.transport.write(b"stop")
        await asyncio.sleep(10)

    async def second():
        client.transport.write(b"go on")
        assert await client.received(5) == b"go on"
        client.server.close()
        client.transport.close()
        await client.called("connection_lost")
        await hosts.close()
        await asyncio.sleep(0.01)

    loop = LOOPS[medium]()
    try:
        running = loop.create_task(first())
        with pytest.raises(type(error)):
            loop.run_until_complete(running)
        running.cancel()
        loop.run_until_complete(asyncio.wait_for(second(), 5))
    finally:
        loop.close()
