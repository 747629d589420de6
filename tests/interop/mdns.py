"""zeroconf on the kernel's sockets, in a process of its own: registers a service, or looks one up, on one address."""

import asyncio
import json
import socket
import sys

from zeroconf import IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

TYPE = "_http._tcp.local."


def on(address: str) -> AsyncZeroconf:
    family = IPVersion.V6Only if ":" in address else IPVersion.V4Only
    return AsyncZeroconf(interfaces=[address], ip_version=family)


def service(name: str, address: str) -> AsyncServiceInfo:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = [socket.inet_pton(family, address)]
    return AsyncServiceInfo(TYPE, f"{name}.{TYPE}", 80, addresses=packed, server=f"{name}.local.")


async def addresses_of(name: str, made: AsyncZeroconf, seconds: float = 5) -> list[str]:
    """What is told about a service; nothing if it is not there."""
    info = AsyncServiceInfo(TYPE, f"{name}.{TYPE}")
    return info.parsed_addresses() if await info.async_request(made.zeroconf, seconds * 1000) else []


async def main(address: str) -> None:
    """Be "kernel", and say what "stack" is."""
    made = on(address)
    await (await made.async_register_service(service("kernel", address)))
    print(json.dumps("registered"), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print(json.dumps(await addresses_of("stack", made)), flush=True)
    await made.async_close()


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[2])))
