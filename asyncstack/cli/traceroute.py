"""`asyncstack traceroute`: the way from a stack on a TUN or TAP to a host, with the output of traceroute(8)."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from asyncstack.cli.destination import find
from asyncstack.cli.interface import InterfaceOptions
from asyncstack.network.errors import Unreachable

if TYPE_CHECKING:
    from asyncstack.stack import Stack
    from asyncstack.transport.traceroute import Hop, Method, ProbeReply

MARKS: Final = {
    Unreachable.NET: " !N",
    Unreachable.HOST: " !H",
    Unreachable.PROTOCOL: " !P",
    Unreachable.TOO_BIG: " !F",
    Unreachable.SOURCE_ROUTE: " !S",
    Unreachable.ADMIN: " !X",
}
SYN_SIZE: Final = 24  # with its header, as the next
DATA_SIZE: Final = 40  # of UDP and ICMP
NAME_SECONDS: Final = 2.0  # for a name; without one the address stands alone


@dataclass(slots=True)
class TracerouteOptions:
    """What was asked for: see `Stack.traceroute`. `wait` is seconds for an answer."""

    method: Method
    port: int
    first: int
    max_hops: int
    queries: int
    wait: float
    source: str | None
    numeric: bool
    family: str


async def trace(interface: InterfaceOptions, host: str, options: TracerouteOptions) -> None:
    """Show the way to `host`. Ends with status 1 when it was not reached."""
    async with interface.stack() as stack:
        address = await find(stack, host, options.source, options.family)
        size = SYN_SIZE if options.method == "tcp" else DATA_SIZE
        size += 40 if ":" in address else 20
        click.echo(f"traceroute to {host} ({address}), {options.max_hops} hops max, {size} byte packets")
        hop = None
        async for hop in stack.traceroute(
            address,
            source=options.source,
            method=options.method,
            port=options.port,
            first_ttl=options.first,
            max_hops=options.max_hops,
            queries=options.queries,
            timeout=options.wait,
        ):
            click.echo(f"{hop.ttl:2}  {await _describe(stack, hop, options.numeric)}")
    if hop is None or not hop.last:
        raise SystemExit(1)


async def _describe(stack: Stack, hop: Hop, numeric: bool) -> str:
    """`name (address)  1.234 ms  1.250 ms *`: who answered is told again only when it is another."""
    words, before = "", ""
    for reply in hop.replies:
        if reply is None:
            words += " *"
            continue
        if reply.source != before:
            before = reply.source
            words += f" {before if numeric else await _name(stack, reply)}"
        words += f"  {reply.rtt * 1000:.3f} ms"
        if reply.error is not None:
            words += MARKS.get(reply.error, "")
    return words.strip()


async def _name(stack: Stack, reply: ProbeReply) -> str:
    name = reply.source
    try:
        async with asyncio.timeout(NAME_SECONDS):
            name, _ = await stack.getnameinfo((reply.source, 0), socket.NI_NUMERICSERV)
    except (OSError, TimeoutError):
        pass
    return f"{name} ({reply.source})"
