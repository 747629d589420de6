"""Ports: who may have which, and how several share one.

python demos/ports.py
"""

import asyncio
from collections.abc import Awaitable, Callable

import asyncstack


def greeter(name: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = writer.get_extra_info("sockname")[:2]
        writer.write(f"{name}, to {host} port {port}".encode())
        writer.close()

    return greet


async def ask(stack: asyncstack.Stack, host: str, port: int) -> str:
    reader, writer = await stack.open_connection(host, port)
    said = await reader.read()
    writer.close()
    return said.decode()


async def main() -> None:
    async with asyncstack.Network(seed=1) as net:
        client, server = net.host("client", "10.0.0.1/24"), net.host("server", "10.0.0.2/24", "10.0.0.3/24")
        net.link(client, server)
        first = await server.start_server(greeter("one address"), "10.0.0.2", 80)
        await server.start_server(greeter("the other"), "10.0.0.3", 80)
        print("port 80 is there once for each address:", await ask(client, "10.0.0.3", 80))
        try:
            await server.start_server(greeter("a second"), "10.0.0.2", 80)
        except OSError as exc:
            print("but not twice:", exc.strerror)
        first.close()
        for name in ("left", "right"):
            await server.start_server(greeter(name), "10.0.0.2", 81, reuse_port=True)
        shares = {(await ask(client, "10.0.0.2", 81)).split(",")[0] for _ in range(20)}
        print("with reuse_port two servers share the clients:", ", ".join(sorted(shares)))
        anyone = await server.start_server(greeter("any free one"), "10.0.0.2", 0)
        print("port 0 is", anyone.sockets[0].getsockname()[1])
        await server.start_server(greeter("all the others"), "10.0.0.2", asyncstack.ANY_PORT)
        print("and what is left can go to one server:", await ask(client, "10.0.0.2", 4711))
        try:
            await ask(client, "10.0.0.3", 4711)
        except OSError as exc:
            print("a port that nobody has:", exc.strerror)


if __name__ == "__main__":
    asyncio.run(main())
