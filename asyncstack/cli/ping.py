"""`asyncstack ping`: echo requests from a stack on a TUN or TAP."""

from __future__ import annotations

import asyncio

import click

from asyncstack.cli.interface import InterfaceOptions
from asyncstack.network.addresses import format_address


async def ping(
    interface: InterfaceOptions, host: str, count: int, interval: float, timeout: float, size: int
) -> None:
    """Ping `host` and print what `ping` prints. Ends with status 1 when no reply came."""
    async with interface.stack() as stack:
        address = (await stack.names.lookup(host))[0]
        click.echo(f"PING {host} ({format_address(address)}) {size} bytes of data.")
        times: list[float] = []
        sent = 0
        try:
            while count == 0 or sent < count:
                sent += 1
                try:
                    reply = await stack.ping(
                        host if "%" in host else format_address(address),
                        sequence=sent & 0xFFFF,
                        timeout=timeout,
                        size=size,
                    )
                    times.append(reply.rtt)
                    where = f"{reply.size + 8} bytes from {reply.source}"
                    click.echo(f"{where}: icmp_seq={sent} ttl={reply.ttl} time={reply.rtt * 1000:.3f} ms")
                except OSError as exc:
                    click.echo(f"icmp_seq={sent} {exc.strerror or exc}")
                if count == 0 or sent < count:
                    await asyncio.sleep(interval)
        finally:
            _summary(host, sent, times)
    if not times:
        raise SystemExit(1)


def _summary(host: str, sent: int, times: list[float]) -> None:
    lost = (sent - len(times)) / sent if sent else 0.0
    click.echo(f"\n--- {host} ping statistics ---")
    click.echo(f"{sent} packets transmitted, {len(times)} received, {lost:.0%} packet loss")
    if times:
        mean = sum(times) / len(times)
        deviation = (sum((one - mean) ** 2 for one in times) / len(times)) ** 0.5
        numbers = "/".join(f"{one * 1000:.3f}" for one in (min(times), mean, max(times), deviation))
        click.echo(f"rtt min/avg/max/mdev = {numbers} ms")
