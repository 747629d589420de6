"""`asyncstack ping`: echo requests from a stack on a TUN or TAP, with the output of ping(8)."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import click

from asyncstack.cli.destination import find
from asyncstack.cli.interface import InterfaceOptions
from asyncstack.network.errors import Unreachable
from asyncstack.transport.ping import UnreachableError

if TYPE_CHECKING:
    from asyncstack.stack import Stack

WORDS: Final = {  # for an IPv4 and an IPv6 destination
    Unreachable.NET: ("Destination Net Unreachable", "Destination unreachable: No route"),
    Unreachable.HOST: ("Destination Host Unreachable", "Destination unreachable: Address unreachable"),
    Unreachable.PROTOCOL: ("Destination Protocol Unreachable", "Parameter problem: Unknown header"),
    Unreachable.PORT: ("Destination Port Unreachable", "Destination unreachable: Port unreachable"),
    Unreachable.TOO_BIG: ("Frag needed and DF set (mtu = {})", "Packet too big: mtu={}"),
    Unreachable.SOURCE_ROUTE: ("Source Route Failed", "Destination unreachable: Source route failed"),
    Unreachable.ADMIN: ("Packet filtered", "Destination unreachable: Administratively prohibited"),
    Unreachable.TIME_EXCEEDED: ("Time to live exceeded", "Time exceeded: Hop limit"),
    Unreachable.REASSEMBLY: ("Frag reassembly time exceeded", "Time exceeded: Defragmentation failure"),
    Unreachable.PARAMETER: ("Parameter problem", "Parameter problem: Wrong header field"),
    Unreachable.OPTION: ("Parameter problem", "Parameter problem: Unknown option"),
    Unreachable.HEADERS: ("Parameter problem", "Parameter problem: Incomplete header chain"),
}

TIMEOUT: Final = 1.0  # seconds for a reply
LINGER: Final = 10.0  # for the last, while none has come: that nobody is there is known after three


@dataclass(slots=True)
class PingOptions:
    """What was asked for. `count` 0: until Ctrl-C. Times are seconds, `size` bytes, `ttl` 0 the stack's, `timeout` None
    `TIMEOUT` or `LINGER`."""

    count: int
    interval: float
    timeout: float | None
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
    received: int = 0
    least: float = math.inf  # seconds, as the others
    most: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def count(self, rtt: float) -> None:
        """A reply came after `rtt` seconds."""
        self.received += 1
        self.least, self.most = min(self.least, rtt), max(self.most, rtt)
        self.total += rtt
        self.squares += rtt * rtt

    def summary(self) -> str:
        """What ping(8) says at the end."""
        received, sent = self.received, self.sent
        lost = 100 * (sent - received) / sent if sent else 0.0
        errors = f", +{self.errors} errors" if self.errors else ""
        took = (time.monotonic() - self.begin) * 1000
        lines = [
            f"\n--- {self.host} ping statistics ---",
            f"{sent} packets transmitted, {received} received{errors}, {lost:g}% packet loss, time {took:.0f}ms",
        ]
        if received:
            mean = self.total / received
            deviation = max(self.squares / received - mean * mean, 0.0) ** 0.5
            numbers = "/".join(f"{one * 1000:.3f}" for one in (self.least, mean, self.most, deviation))
            lines.append(f"rtt min/avg/max/mdev = {numbers} ms")
        return "\n".join(lines)


async def ping(interface: InterfaceOptions, host: str, options: PingOptions) -> None:
    """Ping `host`. Ends with status 1 when no reply came."""
    async with interface.stack() as stack:
        address = await find(stack, host, options.source, options.family)
        size = f"{options.size} data bytes"
        if ":" not in address:
            size = f"{options.size}({options.size + 28}) bytes of data."
        click.echo(f"PING {host} ({address}) {size}")
        tally = _Tally(host)
        # Ctrl-C ends it, and does not take the summary away
        with contextlib.suppress(asyncio.CancelledError):
            while options.count == 0 or tally.sent < options.count:
                tally.sent += 1
                due = time.monotonic() + options.interval
                await _one(stack, address, options, tally)
                if options.count == 0 or tally.sent < options.count:
                    await asyncio.sleep(due - time.monotonic())
        click.echo(tally.summary())
    if not tally.received:
        raise SystemExit(1)


async def _one(stack: Stack, address: str, options: PingOptions, tally: _Tally) -> None:
    number = tally.sent
    timeout = options.timeout
    if timeout is None:
        timeout = LINGER if number == options.count and not tally.received else TIMEOUT
    try:
        reply = await stack.ping(
            address,
            source=options.source,
            sequence=number & 0xFFFF,
            timeout=timeout,
            size=options.size,
            ttl=options.ttl,
        )
    except TimeoutError:
        click.echo(f"no answer yet for icmp_seq={number}")
    except UnreachableError as exc:
        tally.errors += 1
        words = WORDS[exc.kind][":" in address].format(exc.mtu)
        click.echo(f"From {exc.reporter} icmp_seq={number} {words}")
    except OSError as exc:
        tally.errors += 1
        click.echo(f"icmp_seq={number} {exc.strerror or exc}")
    else:
        tally.count(reply.rtt)
        where = f"{reply.size + 8} bytes from {reply.source}"
        click.echo(f"{where}: icmp_seq={number} ttl={reply.ttl} time={_milliseconds(reply.rtt)} ms")


def _milliseconds(seconds: float) -> str:
    """In three digits or more, as ping(8) has it."""
    value = seconds * 1000
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2 if value >= 0.9995 else 3
    return f"{value:.{digits}f}"
