"""The server process of the subject `pmd-pytcp`, run by the interpreter of its own environment.

Written against the public calls that its README and help() describe: awaitable socket methods on one stack per
process. It stands alone, but for lines.py; it says what server.py says.
"""

from __future__ import annotations

import asyncio
import os
import sys

import httptools
import uvloop
from pmd_net_addr import Ip4IfAddr
from pmd_pytcp import socket as pytcp_socket
from pmd_pytcp import stack

sys.path.insert(0, os.path.dirname(__file__))
from lines import open_many_files, serve_lines_async, usage

CHUNK = bytes(256 << 10)
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"
START = 8.0  # seconds until it owns its address


class Totals:
    open = 0
    requests = 0


async def echo(connection, totals):
    while data := await connection.recv(65536):
        totals.requests += 1
        await connection.send(data)


async def one_byte(connection, totals):
    if await connection.recv(1):
        totals.requests += 1
        await connection.send(b"!")


class Requests:
    """What httptools calls."""

    def __init__(self):
        self.complete = 0

    def on_message_complete(self):
        self.complete += 1


async def http(connection, totals):
    requests = Requests()
    parser = httptools.HttpRequestParser(requests)
    while data := await connection.recv(65536):
        parser.feed_data(data)
        if requests.complete:
            totals.requests += requests.complete
            await connection.send(RESPONSE * requests.complete)
            requests.complete = 0


async def sink(connection, totals):
    received = 0
    while data := await connection.recv(256 << 10):
        received += len(data)
    await connection.send(received.to_bytes(8, "big"))


async def source(connection, totals):
    # send() takes whatever it is given and returns at once, so what is buffered is bounded here.
    while True:
        await connection.send(CHUNK)
        while connection.status().tx_buffer_len > len(CHUNK):
            await asyncio.sleep(0.001)


APPLICATIONS = {"echo": echo, "one-byte": one_byte, "http": http, "sink": sink, "source": source}


class Commands:
    """What the benchmark may ask."""

    def __init__(self):
        self.totals = Totals()
        self.tasks = set()

    async def stats(self, collect=False):
        return {**usage(collect), "open": self.totals.open, "requests": self.totals.requests}

    async def serve(self, app, host, port):
        handler = APPLICATIONS[app.removesuffix("-streams").removesuffix("-buffered")]
        listener = pytcp_socket.socket(pytcp_socket.AF_INET4, pytcp_socket.SOCK_STREAM)
        listener.bind((host, port))
        listener.listen(backlog=8192)
        self._start(self._accept(listener, handler))

    def _start(self, coroutine):
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _accept(self, listener, handler):
        while True:
            connection, _ = await listener.accept()
            self._start(self._run(connection, handler))

    async def _run(self, connection, handler):
        self.totals.open += 1
        try:
            await handler(connection, self.totals)
        except OSError:
            pass
        finally:
            self.totals.open -= 1
            connection.close()


async def own_address(address):
    """The stack takes a moment after start() until its address may be bound to."""
    loop = asyncio.get_running_loop()
    end = loop.time() + START
    while True:
        probe = pytcp_socket.socket(pytcp_socket.AF_INET4, pytcp_socket.SOCK_STREAM)
        try:
            probe.bind((address, 9999))
        except OSError:
            if loop.time() > end:
                raise
            await asyncio.sleep(0.05)
        else:
            probe.close()
            return


async def main():
    open_many_files()
    device = stack.initialize_interface__tun("pt0")
    stack.init(**device, ip4_host=Ip4IfAddr("10.9.0.2/24"), ip4_dhcp=False, ip6_support=False)
    await stack.start()
    await own_address("10.9.0.2")
    commands = Commands()
    await serve_lines_async({"stats": commands.stats, "serve": commands.serve})
    os._exit(0)  # what it has to wind down is of no interest


if __name__ == "__main__":
    uvloop.run(main())
