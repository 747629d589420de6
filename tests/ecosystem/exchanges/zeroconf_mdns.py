"""zeroconf: a service that is registered by multicast DNS on one side, and browsed for and asked about on the other."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from zeroconf import IPVersion, ServiceStateChange
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from tests.ecosystem.site import Exchange, Site

TYPE, NAME = "_http._tcp.local.", "web._http._tcp.local."
PORT = 80


def on(address: str) -> AsyncZeroconf:
    return AsyncZeroconf(interfaces=[address], ip_version=IPVersion.V4Only)


@asynccontextmanager
async def serve(site: Site) -> AsyncIterator[None]:
    made = on(site.host)
    info = AsyncServiceInfo(
        TYPE,
        NAME,
        PORT,
        addresses=[socket.inet_aton(site.host)],
        properties={"path": "/index"},
        server="web.local.",
    )
    await (await made.async_register_service(info))
    try:
        yield
    finally:
        await made.async_close()


async def own_address(site: Site) -> str:
    """What the server sees of us."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=(site.host, 9), family=socket.AF_INET
    )
    address: str = transport.get_extra_info("sockname")[0]
    transport.close()
    return address


async def use(site: Site) -> None:
    address = await own_address(site)
    made = on(address)
    found: asyncio.Queue[tuple[str, ServiceStateChange]] = asyncio.Queue()

    def changed(zeroconf: object, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        found.put_nowait((name, state_change))

    browser = AsyncServiceBrowser(made.zeroconf, TYPE, handlers=[changed])
    assert await asyncio.wait_for(found.get(), 10) == (NAME, ServiceStateChange.Added)
    await browser.async_cancel()
    await made.async_close()
    another = on(address)  # one that has to ask
    info = AsyncServiceInfo(TYPE, NAME)
    assert await info.async_request(another.zeroconf, 5000)
    assert (info.port, info.parsed_addresses(), info.server) == (PORT, [site.host], "web.local.")
    assert info.properties == {b"path": b"/index"}
    assert not await AsyncServiceInfo(TYPE, f"nobody.{TYPE}").async_request(another.zeroconf, 500)
    await another.async_close()


browse = Exchange(serve, use)
