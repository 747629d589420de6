"""Sockets as programs make them, of the kernel at first."""

import asyncio
import socket


def stream():
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock


def listener():
    sock = stream()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(5)
    return sock


async def pair():
    loop = asyncio.get_running_loop()
    listening, client = listener(), stream()
    _, (server, _) = await asyncio.gather(
        loop.sock_connect(client, listening.getsockname()), loop.sock_accept(listening)
    )
    listening.close()
    return client, server
