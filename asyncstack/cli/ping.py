"""`asyncstack ping`: echo requests from a stack on a TUN or TAP, with the output of ping(8)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, AF_UNSPEC
from typing import TYPE_CHECKING, Final

import click

from asyncstack.cli.interface import InterfaceOptions
from asyncstack.network.addresses import format_address
from asyncstack.network.errors import Unreachable
from asyncstack.transport.ping import UnreachableError

if TYPE_CHECKING:
    from asyncstack.stack import Stack

FAMILIES: Final = {"4": AF_INET, "6": AF_INET6, "": AF_UNSPEC}
WORDS: Final = {
    Unreachable.NET: "Destination Net Unreachable",
    Unreachable.HOST: "Destination Host Unreachable",
    Unreachable.PROTOCOL: "Destination Protocol Unreachable",
    Unreachable.PORT: "Destination Port Unreachable",
    Unreachable.TOO_BIG: "Packet too big",
    Unreachable.SOURCE_ROUTE: "Source Route Failed",
    Unreachable.ADMIN: "Packet filtered",
    Unreachable.TIME_EXCEEDED: "Time to live exceeded",
    Unreachable.REASSEMBLY: "Frag reassembly time exceeded",
    Unreachable.PARAMETER: "Parameter problem",
}


@dataclass(slots=True)
class PingOptions:
    """What was asked for. `count` 0: until Ctrl-C. Times are seconds, `size` bytes, `ttl` 0 the stack's."""

    count: int
    interval: float
    timeout: float
    size: int
    ttl: int
    source: str | None
    family: str


@dataclass(slots=True)
class _Tally:
    host: str
    begin: float = field(default_factory=time.monotonic)
    sent: int = 0
    errors: int = 0
    times: list[float] = field(default_factory=list)

    def summary(self) -> str:
        """What ping(8) says at the end."""
        received, sent = len(self.times), self.sent
        lost = 100 * (sent - received) / sent if sent else 0.0
        errors = f", +{self.errors} errors" if self.errors else ""
        took = (time.monotonic() - self.begin) * 1000
        lines = [
            f"\n--- {self.host} ping statistics ---",
            f"{sent} packets transmitted, {received} received{errors}, {lost:.4g}% packet loss, time {took:.0f}ms",
        ]
        if self.times:
            mean = sum(self.times) / received
            deviation = (sum((one - mean) ** 2 for one in self.times) / received) ** 0.5
            numbers = "/".join(
                f"{one * 1000:.3f}" for one in (min(self.times), mean, max(self.times), deviation)
            )
            lines.append(f"rtt min/avg/max/mdev = {numbers} ms")
        return "\n".join(lines)


async def ping(interface: InterfaceOptions, host: str, options: PingOptions) -> None:
    """Ping `host`. Ends with status 1 when no reply came."""
    async with interface.stack() as stack:
        found = format_address((await stack.names.lookup(host, FAMILIES[options.family]))[0])
        address = host if "%" in host else found
        header = options.size + 8 + (40 if ":" in address else 20)
        click.echo(f"PING {host} ({address}) {options.size}({header}) bytes of data.")
        tally = _Tally(host)
        try:
            while options.count == 0 or tally.sent < options.count:
                tally.sent += 1
                due = time.monotonic() + options.interval
                await _one(stack, address, options, tally)
                if options.count == 0 or tally.sent < options.count:
                    await asyncio.sleep(due - time.monotonic())
        finally:
            click.echo(tally.summary())
    if not tally.times:
        raise SystemExit(1)


async def _one(stack: Stack, address: str, options: PingOptions, tally: _Tally) -> None:
    number = tally.sent
    try:
        reply = await stack.ping(
            address,
            source=options.source,
            sequence=number & 0xFFFF,
            timeout=options.timeout,
            size=options.size,
            ttl=options.ttl,
        )
    except TimeoutError:
        click.echo(f"no answer yet for icmp_seq={number}")
    except UnreachableError as exc:
        tally.errors += 1
        click.echo(f"From {exc.reporter} icmp_seq={number} {WORDS[exc.kind]}")
    except OSError as exc:
        tally.errors += 1
        click.echo(f"icmp_seq={number} {exc.strerror or exc}")
    else:
        tally.times.append(reply.rtt)
        where = f"{reply.size + 8} bytes from {reply.source}"
        click.echo(f"{where}: icmp_seq={number} ttl={reply.ttl} time={reply.rtt * 1000:.3f} ms")
