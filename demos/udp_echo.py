"""UDP echo: datagram endpoints as asyncio has them, and what happens to a datagram for a port nobody has.

python demos/udp_echo.py
"""

import asyncio
from typing import Any, cast

import asyncstack


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.transport.sendto(data, addr)


class Client(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answers: asyncio.Queue[object] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.answers.put_nowait(data.decode())

    def error_received(self, exc: Exception) -> None:
        self.answers.put_nowait(exc)


async def main() -> None:
    async with asyncstack.Network(seed=1) as net:
        client, server = net.host("client", "10.0.0.1/24"), net.host("server", "10.0.0.2/24")
        net.link(client, server, delay=0.005)
        await server.create_datagram_endpoint(Echo, ("10.0.0.2", 7))
        for port in (7, 8):
            transport, protocol = await client.create_datagram_endpoint(Client, remote_addr=("server", port))
            transport.sendto(b"is anybody there?")
            print(f"port {port}:", await protocol.answers.get())
            transport.close()


if __name__ == "__main__":
    asyncio.run(main())
