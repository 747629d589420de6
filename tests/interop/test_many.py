"""A thousand connections at once."""

import asyncio

import pytest

from tests.interop.kernel import peer
from tests.interop.loops import on_uvloop
from tests.interop.medium import OURS, OURS6, PLAIN_TUN, TUN, host

pytestmark = pytest.mark.tun

COUNT = 1000


class Echo(asyncio.Protocol):
    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@pytest.mark.parametrize(("medium", "ours"), [(TUN, OURS6), (PLAIN_TUN, OURS)])
async def test_a_thousand_kernel_clients(medium, ours):
    async with host(medium) as here:
        server = await here.stack.create_server(Echo, None, 7000, backlog=COUNT)
        async with peer("many", host=ours, port=7000, count=COUNT, rounds=3) as program:
            assert await program.said() == {"done": COUNT}
            infos = here.stack.connections()
            assert len(infos) == COUNT
            assert {info.state.name for info in infos} == {"ESTABLISHED"}
            program.tell()
            assert await program.ended() == {"closed": COUNT, "eof": 0, "reset": 0}
        server.close()
        async with asyncio.timeout(10):
            await server.wait_closed()


@on_uvloop
async def test_a_thousand_connections_of_ours():
    """To an asyncio server of the kernel's side; each message comes back on its own connection."""
    async with host(TUN) as here, peer("echo_server", host="10.9.0.1") as program:
        port = (await program.said())["port"]
        everybody = asyncio.Barrier(COUNT)

        async def talk(number: int) -> None:
            reader, writer = await here.stack.open_connection("10.9.0.1", port)
            await everybody.wait()
            for turn in range(3):
                message = b"%d:%d;" % (number, turn) * 20
                writer.write(message)
                assert await reader.readexactly(len(message)) == message
            await everybody.wait()
            writer.close()
            await writer.wait_closed()

        async with asyncio.timeout(30):
            await asyncio.gather(*map(talk, range(COUNT)))
