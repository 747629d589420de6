"""Visit the demo site over the kernel's TCP: the page, and the first news on its WebSocket. Says what it found.

python -m demos.site.visit http://10.9.0.2/ [URL...] [--route 10.9.0.0/24=ROUTER]...      (docker-compose.yml does)
"""

import argparse
import asyncio
import json
import socket
import time
import urllib.request

from asyncstack.application import websocket


def add_route(network: str, router: str) -> None:
    """Have the kernel send what is for `network` to `router`, a name or an address. Needs CAP_NET_ADMIN."""
    from pyroute2 import IPRoute

    found = socket.getaddrinfo(router, None, socket.AF_INET6 if ":" in network else socket.AF_INET)
    with IPRoute() as route:
        route.route("replace", dst=network, gateway=found[0][4][0])


async def goodput(url: str) -> float:
    """Of the watched transfer, bytes per second, as the site tells it now."""
    async with websocket.connect(url.replace("http", "ws", 1) + "live") as live:
        async for message in live:
            for sample in json.loads(message)["samples"]:
                if sample.get("goodput"):
                    return float(sample["goodput"])
    raise ValueError("the WebSocket closed without a word of the transfer")


def visit(url: str, seconds: float = 30.0) -> str:
    """What was found at `url`. Tries for `seconds`, as the site may be starting. Raises OSError, ValueError."""
    until, page = time.monotonic() + seconds, None
    while page is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                page = response.read().decode()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.25)
    if "<title>asyncstack" not in page:
        raise ValueError(f"{url} is another page: {page[:60]!r}")
    return f"OK: {len(page)} bytes of page, goodput {asyncio.run(goodput(url)) * 8e-6:.1f} Mbit/s"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("urls", metavar="URL", nargs="+")
    parser.add_argument("--route", metavar="NETWORK=ROUTER", action="append", default=[])
    arguments = parser.parse_args()
    for network, _, router in (route.partition("=") for route in arguments.route):
        add_route(network, router)
    for url in arguments.urls:
        print(visit(url))
