"""An end: `python -m tests.bench.loss.end OPTIONS-AS-JSON`, the kernel's TCP or asyncstack's, sends or receives.

A receiver prints `{"bytes", "cpu"}` `seconds` after the handshake. A sender sends until it is ended.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import uvloop

from asyncstack import Stack, StackConfig, TcpConfig
from asyncstack.link.device import BATCH_FRAMES, Device
from asyncstack.link.frame import Frame, OutgoingFrame
from tests.bulk import CHUNK, Sink, Source

PORT: Final = 5001
PACKET: Final = 2048
PATIENCE: Final = 60.0  # seconds for the handshake


def report(received: int) -> None:
    print(json.dumps({"bytes": received, "cpu": time.process_time()}), flush=True)


# the kernel


def kernel_sends(options: dict[str, Any]) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, options["congestion"].encode())
        sock.settimeout(PATIENCE)
        sock.connect((options["peer"], PORT))
        sock.settimeout(None)
        data = bytes(CHUNK)
        while True:
            sock.sendall(data)


def kernel_receives(options: dict[str, Any]) -> None:
    with socket.create_server((options["own"], PORT)) as listener:
        print("ready", flush=True)
        listener.settimeout(PATIENCE)
        sock, _ = listener.accept()
        until = time.monotonic() + options["seconds"]
        buffer, received = bytearray(CHUNK), 0
        while (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                received += sock.recv_into(buffer)
            except TimeoutError:
                break
        report(received)


# asyncstack


class PacketDevice(Device):
    """A device on a packet socket: an IP packet per call, whole and summed, as on a plain TUN."""

    name = "packets"

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)

    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing to do but to know the loop."""
        self._loop = loop

    def start(self, receiver: Coroutine[Any, Sequence[Frame], None]) -> None:
        super().start(receiver)
        self._loop.add_reader(self._socket, self._read)

    async def close(self) -> None:
        self.stop()
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()

    def send(self, frame: OutgoingFrame) -> bool:
        try:
            self._socket.sendmsg(frame.parts)
        except BlockingIOError:
            self.counters["device.no_room"] += 1
            self.writable = False
            self._loop.add_writer(self._socket, self._has_room)
            return False
        except OSError:
            return False
        return True

    def _has_room(self) -> None:
        self._loop.remove_writer(self._socket)
        self.writable = True
        self.on_writable()

    def _read(self) -> None:
        batch = []
        while len(batch) < BATCH_FRAMES:
            try:
                data = self._socket.recv(PACKET)
            except BlockingIOError:
                break
            if not data:
                self._loop.remove_reader(self._socket)
                break
            batch.append(Frame(memoryview(data)))
        if batch:
            self.deliver(batch)


async def stack_end(options: dict[str, Any]) -> None:
    tcp = TcpConfig(congestion=options["congestion"])
    async with Stack(StackConfig(tcp=tcp, close_timeout=0.0)) as stack:
        await stack.add_interface(PacketDevice(options["fd"]), [f"{options['own']}/24"])
        if options["role"] == "sends":
            await stack.create_connection(Source, options["peer"], PORT)
            await asyncio.Future()
        opened: asyncio.Future[Sink] = asyncio.get_running_loop().create_future()
        await stack.create_server(lambda: Sink(opened), options["own"], PORT)
        print("ready", flush=True)
        async with asyncio.timeout(PATIENCE):
            sink = await opened
        await asyncio.sleep(options["seconds"])
        report(sink.received)


def main() -> None:
    options = json.loads(sys.argv[1])
    if options["kind"] == "asyncstack":
        uvloop.run(stack_end(options))
    elif options["role"] == "sends":
        kernel_sends(options)
    else:
        kernel_receives(options)


if __name__ == "__main__":
    main()
