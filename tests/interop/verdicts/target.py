"""Two hosts with the same addresses and services, to be asked the same: the Linux kernel, and a stack on a TAP."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncstack
from tests.interop.segment import Segment
from tests.netns import NetworkNamespace

ADDRESS, ADDRESS6, LINK_LOCAL = "10.9.0.2", "fd09::2", "fe80::2"
ADDRESSES = [f"{ADDRESS}/24", f"{ADDRESS6}/64", f"{LINK_LOCAL}/64"]
HTTP, ECHO = 80, 7
PAGE = b"<html><head><title>verdicts</title></head><body></body></html>\n"


@dataclass
class Target:
    """Who is asked. `attacker` is a host beside it on the segment."""

    attacker: NetworkNamespace
    stack: asyncstack.Stack | None = None  # None: it is Linux
    interface: Any = None
    complaints: list[dict] = field(default_factory=list)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A page for whoever sends a line."""
    try:
        line = await asyncio.wait_for(reader.readline(), 5)
        if line:
            head = f"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(PAGE)}\r\n\r\n"
            writer.write(head.encode() + PAGE)
    except (OSError, TimeoutError, ValueError):
        pass
    finally:
        writer.close()


class Echo(asyncio.DatagramProtocol):
    """UDP port 7."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.transport.sendto(data, address)


@asynccontextmanager
async def linux() -> AsyncIterator[Target]:
    """The kernel in a namespace of its own."""
    with ExitStack() as spaces:
        segment = Segment(spaces)
        space = segment.namespace(*ADDRESSES)
        target = Target(_attacker(segment))
        with space.entered():
            streams = [socket.socket(family) for family in (socket.AF_INET, socket.AF_INET6)]
            datagrams = [socket.socket(one.family, socket.SOCK_DGRAM) for one in streams]
        loop = asyncio.get_running_loop()
        ends: list[Any] = []
        try:
            for one, host in zip(streams, ("0.0.0.0", "::"), strict=True):
                if host == "::":
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind((host, HTTP))
                ends.append(await asyncio.start_server(serve, sock=one))
            for one, host in zip(datagrams, ("0.0.0.0", "::"), strict=True):
                if host == "::":
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind((host, ECHO))
                ends.append((await loop.create_datagram_endpoint(Echo, sock=one))[0])
            yield target
        finally:
            for end in ends:
                end.close()


@asynccontextmanager
async def ours(config: asyncstack.StackConfig | None = None) -> AsyncIterator[Target]:
    """A stack on a TAP."""
    with ExitStack() as spaces:
        segment = Segment(spaces)
        target = Target(_attacker(segment))
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: target.complaints.append(context))
        config = config or asyncstack.StackConfig(dad_transmits=0)
        async with asyncstack.Stack(config) as stack:
            target.stack = stack
            target.interface = await stack.add_interface(segment.tap(), ADDRESSES)
            await stack.start_server(serve, None, HTTP)
            await stack.create_datagram_endpoint(Echo, local_addr=("::", ECHO))
            yield target


def _attacker(segment: Segment) -> NetworkNamespace:
    return segment.namespace("10.9.0.1/24", "fd09::1/64", "fe80::1/64")


async def run(target: Target, *command: str, seconds: float) -> str:
    """What a program of the attacker prints. Raises TimeoutError."""
    with target.attacker.entered():
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return output.decode(errors="replace")
