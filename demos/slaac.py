"""Hosts without a configuration: a router advertises a prefix and a nameserver, and each host makes its address of it.

python demos/slaac.py
"""

from itertools import pairwise

import asyncstack
from asyncstack.application.radv import RouterAdvertiser
from asyncstack.network.addresses import is_link_local
from asyncstack.testing import run


def show(host: asyncstack.Stack) -> None:
    for entry in host.addresses.of(host.interfaces[1], 16):
        scope = "link-local" if is_link_local(entry.address) else "global"
        print(f"{host.name}: {entry}, {scope}, by {entry.origin.value}")
    for route in host.routes.routes():
        if route.gateway is not None:
            print(f"{host.name}: {route}")
    print(f"{host.name}: names are asked of {', '.join(host.resolver.config.nameservers) or 'nobody'}")


async def main() -> None:
    async with asyncstack.Network(seed=1) as net:
        router = net.host("router", "fe80::1/64", "fd00:1::1/64")
        lan = net.lan("office", router, delay=0.0005)
        hosts = [net.host(name) for name in ("anna", "ben")]
        async with RouterAdvertiser(
            router, router.interfaces[1], ["fd00:1::/64"], dns=["fd00:1::53"], search=["example.org"]
        ):
            for host in hosts:
                await host.add_interface(lan.port(host.name), ["slaac"])
                show(host)
            for one, other in pairwise([router, *hosts]):
                reply = await one.ping(other.name)
                print(f"{one.name} pings {reply.source}: {reply.size} bytes")
        print("the router goes")
        await hosts[0].ping("ben")
        show(hosts[0])


if __name__ == "__main__":
    run(main())
