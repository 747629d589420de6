"""DNS: a nameserver with a zone, a wildcard, a coroutine and names that come and go, and a client that asks it.

python demos/dns_server.py
"""

import asyncio
import socket

import asyncstack
from asyncstack.application.dns import DnsServer, NxDomain, Question

ZONE = {
    "www.example.test": ["10.0.0.80", "fd00::80"],
    "shop.example.test": "CNAME www.example.test",
    "*.apps.example.test": "10.0.0.81",
    "_http._tcp.example.test": ["SRV 10 0 8080 www.example.test", "SRV 20 0 80 www.example.test"],
}


async def count(question: Question) -> str | None:
    """Names that are made up: "7.square" has the address 0.0.0.49."""
    number, _, domain = question.name.partition(".")
    return f"0.0.0.{int(number) ** 2}" if domain == "square" else None


async def main() -> None:
    settings = asyncstack.StackConfig(dns=asyncstack.DnsConfig(nameservers=["10.0.0.53"]))
    async with asyncstack.Network(seed=1) as net:
        client, host = net.host("client", "10.0.0.1/24", config=settings), net.host("ns", "10.0.0.53/24")
        net.link(client, host, delay=0.005)
        async with DnsServer(host, ZONE, answer=count) as server:
            server.register("printer.example.test", "10.0.0.9")
            for name in ("shop.example.test", "x.apps.example.test", "7.square"):
                found = await client.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
                print(name, *(sockaddr[0] for *_, sockaddr in found))
            for record in await client.resolver.query("_http._tcp.example.test", "SRV"):
                print(record)
            print("10.0.0.9 is", (await client.getnameinfo(("10.0.0.9", 80)))[0])
            server.unregister("printer.example.test", "10.0.0.9")
            try:
                await client.resolver.query("printer.example.test")
            except NxDomain as exc:
                print(exc)


if __name__ == "__main__":
    asyncio.run(main())
