"""A site on one simulated segment: a router that runs DHCP, router advertisements and DNS, and many hosts that know
nothing but their name. They get addresses of both families, find each other by DNS, and ask each other over HTTP.

Names come to the nameserver as at a real site: those of IPv4 addresses by the DHCP server's leases, those of IPv6 by
the hosts themselves.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from asyncstack import AddressAdded, AddressRemoved, Network, Stack
from asyncstack.application.dhcp.pool import Pool
from asyncstack.application.dhcp.server import DhcpServer
from asyncstack.application.dhcp.serving import BindingAdded
from asyncstack.application.dns import DnsServer
from asyncstack.application.http import Application, HttpClient, Request, Response
from asyncstack.application.radv import RouterAdvertiser
from asyncstack.events import Event
from asyncstack.network.addresses import Origin, format_address
from asyncstack.testing.lan import Lan

DOMAIN = "office.example"
ROUTER, ROUTER6 = "10.1.0.1", "fd01::1"
SPREAD = 10.0  # seconds in which all hosts are switched on


@dataclass(slots=True)
class Office:
    """What `office` has made. `hosts` are without the router."""

    net: Network
    lan: Lan
    dhcp: DhcpServer
    dns: DnsServer
    hosts: list[Stack]


@asynccontextmanager
async def office(count: int, seed: int = 1) -> AsyncIterator[Office]:
    """The site with its router, and `count` hosts on no segment yet."""
    async with AsyncExitStack() as stack:
        net = await stack.enter_async_context(Network(seed))
        router = net.host("router", f"{ROUTER}/16", f"{ROUTER6}/64")
        lan = net.lan("office", router, delay=0.0002)
        interface = router.interfaces[-1]
        pool = Pool(network="10.1.0.0/16", routers=[ROUTER], nameservers=[ROUTER], domain=DOMAIN)
        dns = await stack.enter_async_context(DnsServer(router))
        dhcp = await stack.enter_async_context(DhcpServer(router, interface, pool))
        await stack.enter_async_context(
            RouterAdvertiser(router, interface, ["fd01::/64"], dns=[ROUTER6], search=[DOMAIN])
        )
        naming = asyncio.create_task(name_leases(dhcp, dns))
        stack.callback(naming.cancel)
        hosts = [net.host(f"pc{number}") for number in range(1, count + 1)]
        yield Office(net, lan, dhcp, dns, hosts)


async def name_leases(dhcp: DhcpServer, dns: DnsServer) -> None:
    """Have the nameserver know who has a lease."""
    async for event in dhcp:
        change = dns.register if isinstance(event, BindingAdded) else dns.unregister
        change(f"{event.binding.hostname}.{DOMAIN}", format_address(event.binding.address))


def name_own(host: Stack, dns: DnsServer) -> None:
    """Have the nameserver know the addresses that `host` makes for itself."""

    def told(event: Event) -> None:
        if isinstance(event, (AddressAdded, AddressRemoved)) and event.address.origin is Origin.SLAAC:
            change = dns.register if isinstance(event, AddressAdded) else dns.unregister
            change(f"{host.name}.{DOMAIN}", format_address(event.address.address))

    host.subscribe(told)


def application() -> Application:
    """What every host serves."""
    app = Application()

    @app.get("/hello/{name}")
    async def hello(request: Request) -> Response:
        return Response.json({"hello": request.params["name"], "to": request.peer[0]})

    return app


async def switch_on(site: Office) -> None:
    """All hosts get their addresses, one after the other within `SPREAD` seconds, and serve."""
    app = application()

    async def configure(number: int, host: Stack) -> None:
        await asyncio.sleep(SPREAD * number / len(site.hosts))
        name_own(host, site.dns)
        await host.add_interface(site.lan.port(host.name), ["dhcp4", "slaac"])
        await host.start_server(app.handle, None, 80)

    await asyncio.gather(*(configure(number, host) for number, host in enumerate(site.hosts)))


def pairs(hosts: list[Stack], rounds: int) -> Iterator[tuple[Stack, Stack]]:
    """Who asks whom: each one `rounds` others, near and far."""
    for number in range(rounds):
        for at, host in enumerate(hosts):
            yield host, hosts[(at + 1 + number * 7) % len(hosts)]


async def exchange(site: Office, rounds: int) -> list[dict[str, str]]:
    """Each host asks `rounds` others by name, over IPv6 and IPv4 in turn. What they answered."""

    async def ask(number: int, host: Stack, other: Stack) -> dict[str, str]:
        async def connect(name, port, **options):
            family = (socket.AF_INET6, socket.AF_INET)[number % 2]
            return await host.open_connection(name, port, family=family, **options)

        async with HttpClient(connect) as http:
            response = await http.get(f"http://{other.name}.{DOMAIN}/hello/{host.name}")
            found: dict[str, str] = await response.json()
            return found

    asked = pairs(site.hosts, rounds)
    return await asyncio.gather(*(ask(number, *pair) for number, pair in enumerate(asked)))
