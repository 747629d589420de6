"""TCP echo: a server and a client on two hosts of a simulated network, over the standard library's streams.

python demos/tcp_echo.py
"""

import asyncio

import asyncstack


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def main() -> None:
    async with asyncstack.Network(seed=1) as net:
        client = net.host("client", "10.0.0.1/24", "fd00::1/64")
        server = net.host("server", "10.0.0.2/24", "fd00::2/64")
        net.link(client, server, delay=0.010, loss=0.05)
        await server.start_server(echo, None, 7)

        reader, writer = await client.open_connection("server", 7)
        for line in (b"every byte arrives,\n", b"though the link loses\n", b"a packet in twenty\n"):
            writer.write(line)
            print((await reader.readexactly(len(line))).decode(), end="")
        writer.close()
        await writer.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())
