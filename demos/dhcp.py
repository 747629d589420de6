"""DHCP: a server with a pool and a reservation, clients that come and go on one Ethernet, and what happens to leases.

python demos/dhcp.py
"""

import asyncio
import socket

import asyncstack
from asyncstack.application.dhcp import BindingAdded, DhcpServer, Pool


async def watch(server: DhcpServer) -> None:
    """Until the server ends."""
    async for event in server:
        lease = event.binding
        sign = "+" if isinstance(event, BindingAdded) else "-"
        print(sign, lease.hostname, socket.inet_ntoa(lease.address))


async def main() -> None:
    async with asyncstack.Network(seed=1) as net:
        router = net.host("router", "10.0.0.1/24")
        lan = net.lan("office", router, delay=0.001)
        ports = {name: lan.port(name) for name in ("laptop", "phone", "printer")}
        pool = Pool(
            network="10.0.0.0/24",
            first="10.0.0.100",
            last="10.0.0.199",
            routers=["10.0.0.1"],
            domain="example.test",
            reservations={ports["printer"].address.hex(":"): "10.0.0.7"},
        )
        async with DhcpServer(router, router.interfaces[-1], pool, check=0.05) as server:
            watching = asyncio.create_task(watch(server))
            for name, port in ports.items():
                host = net.host(name)
                await host.add_interface(port, ["dhcp4"])
                print(name, "has", *map(str, host.addresses.of(host.interfaces[-1], 4)))
            reply = await net.hosts["laptop"].ping("10.0.0.7")
            print("the printer answers:", reply.source)
            await net.hosts["phone"].close()
            await asyncio.sleep(0.01)
        await watching


if __name__ == "__main__":
    asyncio.run(main())
