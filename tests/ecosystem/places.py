"""Runs the two sides of an exchange in a column, and sees that its packets crossed the stack."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from asyncstack import Network, Stack, TunDevice
from asyncstack.link.frame import Frame
from asyncstack.link.interface import Interface
from tests.ecosystem.columns import ROUTING, Column, Medium
from tests.ecosystem.peers import Peers
from tests.ecosystem.rows import Row, load
from tests.ecosystem.site import Site

# of RFC 5737, so that nothing answers should a packet leave the machine
CLIENT, SERVER = "192.0.2.1", "192.0.2.2"
OURS, PEER = "198.51.100.2", "198.51.100.1"
ADDRESSES = [SERVER, OURS, PEER]
SECONDS = 30


def run(row: Row, column: Column, folder: Path, peers: Peers | None = None, namespace: int = -1) -> None:
    """One cell. Raises whatever goes wrong, AssertionError for what the loop's exception handler was told."""
    complaints: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=ROUTING[column.loop]) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: complaints.append(context))
        runner.run(asyncio.wait_for(_run(row, column, folder, peers, namespace), SECONDS))
    assert complaints == []


async def _run(row: Row, column: Column, folder: Path, peers: Peers | None, namespace: int) -> None:
    if column.medium in (Medium.SIMULATED, Medium.VIRTUAL):
        await _between_stacks(row, folder)
    elif column.medium is Medium.KERNEL_CLIENT:
        async with _on_tun():
            site = Site(OURS, folder)
            async with load(row.exchange).serve(site):
                await peers.client(row.exchange, site, column.loop, namespace)
    else:
        async with _on_tun():
            site = Site(PEER, folder)
            async with peers.server(row.exchange, site, column.loop, namespace):
                await load(row.exchange).use(site)


async def _between_stacks(row: Row, folder: Path) -> None:
    exchange, site = load(row.exchange), Site(SERVER, folder)
    async with Network(seed=1) as net:
        client, server = net.host("client", f"{CLIENT}/24"), net.host("server", f"{SERVER}/24")
        net.link(client, server, delay=0.001)
        with server.current():
            async with _crossed(server), exchange.serve(site):
                with client.current():
                    await exchange.use(site)


@asynccontextmanager
async def _on_tun() -> AsyncIterator[None]:
    async with Stack() as stack:
        await stack.add_interface(TunDevice("as0", peer=f"{PEER}/24"), [f"{OURS}/24"])
        async with _crossed(stack):
            yield


@asynccontextmanager
async def _crossed(stack: Stack) -> AsyncIterator[None]:
    """Packets have to go both ways over the last interface meanwhile, and nothing is left of them at the end."""
    received = sent = 0

    def tap(interface: Interface, frame: object) -> None:
        nonlocal received, sent
        if isinstance(frame, Frame):
            received += 1
        else:
            sent += 1

    stack.interfaces[-1].taps.append(tap)
    yield
    assert received > 1 and sent > 1, "the exchange went past the stack"
