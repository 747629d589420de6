"""Ping a simulated host, an address that nobody has, and a network that nobody leads to.

python demos/ping.py
"""

import asyncio

import asyncstack


async def main() -> None:
    async with asyncstack.Network(seed=1) as net:
        a = net.host("a", "10.0.0.1/24", "fd00::1/64")
        b = net.host("b", "10.0.0.2/24", "fd00::2/64")
        net.link(a, b, delay=0.010, jitter=0.002, ethernet=True)
        for host in ("b", "fd00::2", "10.0.0.99", "192.0.2.1"):
            try:
                reply = await a.ping(host, timeout=4)
                print(f"{host}: {reply.size} bytes from {reply.source}, {reply.rtt * 1000:.1f} ms")
            except OSError as error:
                print(f"{host}: {error}")


if __name__ == "__main__":
    asyncio.run(main())
