"""Runs the two sides of an exchange in a column, and sees that its packets crossed the stack.

A row that needs `asyncstack run` gets here what that makes around a program: `replaced`, and the stack that the loop
opens by itself. All others run on loops that route, with stacks that the test makes.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from asyncstack import Network, Stack, StackConfig, TunDevice
from asyncstack.config import DnsConfig
from asyncstack.link.frame import Frame
from asyncstack.link.interface import Interface
from asyncstack.loop.program import Program
from asyncstack.loop.replacing import replaced
from asyncstack.loop.settings import InterfaceSettings, LinkSettings, NetworkSettings, Settings
from tests.ecosystem.columns import PLAIN, ROUTING, Column, Medium
from tests.ecosystem.peers import Peers
from tests.ecosystem.rows import REPLACED, Row, load
from tests.ecosystem.site import Exchange, Site

# of RFC 5737, so that nothing answers should a packet leave the machine
CLIENT, SERVER = "192.0.2.1", "192.0.2.2"
OURS, PEER = "198.51.100.2", "198.51.100.1"
ADDRESSES = [SERVER, OURS, PEER]
DELAY = 0.001
SECONDS = 30


def run(row: Row, column: Column, folder: Path, peers: Peers | None = None, namespace: int = -1) -> None:
    """One cell. Raises whatever goes wrong, AssertionError for what the loop's exception handler was told."""
    complaints: list[dict[str, Any]] = []
    with ExitStack() as around:
        if row.way_in(column) == REPLACED:
            around.enter_context(replaced(Program(_settings(column.medium))))
        factory = (PLAIN if row.way_in(column) == REPLACED else ROUTING)[column.loop]
        runner = around.enter_context(asyncio.Runner(loop_factory=factory))
        runner.get_loop().set_exception_handler(lambda _, context: complaints.append(context))
        runner.run(asyncio.wait_for(_run(row, column, folder, peers, namespace), SECONDS))
    assert complaints == []


def _settings(medium: Medium) -> Settings:
    """For `asyncstack run`: the same as `_two_hosts` and `_on_tun` make."""
    if medium.kernel:
        return Settings([InterfaceSettings(tun="as0", addresses=[f"{OURS}/24"], peer=[f"{PEER}/24"])])
    hosts = {"server": [f"{SERVER}/24"], "client": [f"{CLIENT}/24"]}
    return Settings(network=NetworkSettings(hosts, [LinkSettings(["client", "server"], delay=DELAY)], seed=1))


async def _run(row: Row, column: Column, folder: Path, peers: Peers | None, namespace: int) -> None:
    exchange, medium = load(row.exchange), column.medium
    opening = _opened() if row.way_in(column) == REPLACED else _on_tun() if medium.kernel else _two_hosts()
    async with opening as stacks, _crossed(stacks[0]):
        if not medium.kernel:
            anywhere = "0.0.0.0" if row.way_in(column) != row.way else ""
            await _between(*stacks, exchange, Site(SERVER, folder, anywhere))
        elif medium is Medium.KERNEL_CLIENT:
            site = Site(OURS, folder)
            async with exchange.serve(site):
                await peers.client(row.exchange, site, column.loop, namespace)
        else:
            site = Site(PEER, folder)
            async with peers.server(row.exchange, site, column.loop, namespace):
                await exchange.use(site)


async def _between(server: Stack, client: Stack, exchange: Exchange, site: Site) -> None:
    with server.current():
        async with exchange.serve(site):
            with client.current():
                await exchange.use(site)


def _asking(nameserver: str) -> StackConfig:
    """For the rows that look up names, the server of their own."""
    return StackConfig(dns=DnsConfig(nameservers=[nameserver]))


@asynccontextmanager
async def _two_hosts() -> AsyncIterator[list[Stack]]:
    """Server and client."""
    async with Network(seed=1, config=_asking(SERVER)) as net:
        server, client = net.host("server", f"{SERVER}/24"), net.host("client", f"{CLIENT}/24")
        net.link(client, server, delay=DELAY)
        yield [server, client]


@asynccontextmanager
async def _on_tun() -> AsyncIterator[list[Stack]]:
    async with Stack(_asking(PEER)) as stack:
        await stack.add_interface(TunDevice("as0", peer=f"{PEER}/24"), [f"{OURS}/24"])
        yield [stack]


@asynccontextmanager
async def _opened() -> AsyncIterator[list[Stack]]:
    """What the loop opened by itself, and closes."""
    yield list(asyncio.get_running_loop().stacks)


@asynccontextmanager
async def _crossed(stack: Stack) -> AsyncIterator[None]:
    """Packets have to go both ways over the last interface meanwhile."""
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
