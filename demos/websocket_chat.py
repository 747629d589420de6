"""A WebSocket chat room on a stack, and three guests on other hosts.

python demos/websocket_chat.py
"""

import asyncio

import asyncstack
from asyncstack.application import websocket
from asyncstack.application.http import Application
from asyncstack.application.websocket import WebSocket

app = Application()
room: dict[WebSocket, None] = {}


@app.websocket("/chat")
async def chat(guest: WebSocket) -> None:
    room[guest] = None
    try:
        async for message in guest:
            for other in list(room):
                await other.send(message)
    finally:
        del room[guest]


async def visit(host: asyncstack.Stack, words: list[str], heard: int) -> None:
    async with websocket.connect("ws://server/chat", open_connection=host.open_connection) as ws:
        while len(room) < 3:
            await asyncio.sleep(0.01)
        for word in words:
            await ws.send(f"{host.name}: {word}")
        for _ in range(heard):
            print(f"{host.name:>5} hears ", await ws.recv())


async def main() -> None:
    async with asyncstack.Network(seed=1) as net:
        server = net.host("server")
        await server.start_server(app.handle, None, 80)
        guests = []
        for number, name in enumerate(("anna", "ben", "carol")):
            guests.append(net.host(name))
            prefix = f"10.0.{number}"
            net.link(guests[-1], server, delay=0.01, addresses=(f"{prefix}.1/24", f"{prefix}.2/24"))
        await asyncio.gather(*(visit(guest, ["hello", "bye"], 6) for guest in guests))


if __name__ == "__main__":
    asyncio.run(main())
