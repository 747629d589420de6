"""Libraries that make sockets of the kernel themselves, unchanged, between two hosts of a simulated network."""

import asyncio
import socket

import pytest
from aiohttp import ClientSession, web
from zeroconf import IPVersion, ServiceInfo
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from asyncstack import Network
from tests.loop.where import LOOPS, PATIENCE, everywhere


def on_two_hosts(test):
    """Run `test(client, server)` on each of our loops; the client is the current stack."""

    async def main():
        async with Network(seed=1) as net:
            a, b = net.host("a", "10.0.0.1/24"), net.host("b", "10.0.0.2/24")
            net.link(a, b, delay=0.001)
            with a.current():
                await asyncio.wait_for(test(a, b), PATIENCE)
            assert not asyncio.get_running_loop().adoptions

    @pytest.mark.parametrize("loop", LOOPS)
    def run(loop):
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(main())

    return run


@on_two_hosts
async def test_aiohttp(a, b):
    """Its client connects by aiohappyeyeballs: `sock_connect` on a socket of its own, then `sock=`."""

    async def hello(request):
        return web.json_response({"from": request.remote, "body": await request.text()})

    app = web.Application()
    app.router.add_post("/", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "10.0.0.2", 80).start()
    async with ClientSession() as session:
        for _ in range(3):
            async with session.post("http://10.0.0.2/", data="x" * 100_000) as response:
                assert await response.json() == {"from": "10.0.0.1", "body": "x" * 100_000}
        assert len(a.connections()) == 1
    with pytest.raises(OSError, match="Cannot connect"):
        async with ClientSession() as session, session.get("http://10.0.0.2:81/"):
            pass
    await runner.cleanup()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self):
        self.received = asyncio.Queue()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.received.put_nowait((data, addr))


@on_two_hosts
async def test_a_client_in_the_shape_of_aioquics(a, b):
    """A socket of both families, bound to any address, which speaks to mapped addresses."""
    loop = asyncio.get_running_loop()
    server, echo = await loop.create_datagram_endpoint(Datagrams, local_addr=("10.0.0.2", 443))
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", 0, 0, 0))
    port = sock.getsockname()[1]
    transport, protocol = await loop.create_datagram_endpoint(Datagrams, sock=sock)
    transport.sendto(b"initial", ("::ffff:10.0.0.2", 443, 0, 0))
    assert await echo.received.get() == (b"initial", ("10.0.0.1", port))
    server.sendto(b"answer", ("10.0.0.1", port))
    assert await protocol.received.get() == (b"answer", ("::ffff:10.0.0.2", 443, 0, 0))
    assert transport.get_extra_info("sockname") == sock.getsockname() == ("::", port, 0, 0)
    assert sock.family == transport.get_extra_info("socket").family == socket.AF_INET6
    transport.close()
    server.close()
    await asyncio.sleep(0)
    sock.close()


@on_two_hosts
async def test_a_socket_in_the_shape_of_zeroconfs(a, b):
    """Bound to any address, and in a group before the loop sees it; the kernel let it, on one of its interfaces."""
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    sock.bind(("", 0))
    port = sock.getsockname()[1]
    groups = [socket.inet_aton(group) for group in ("224.0.0.251", "239.1.2.3")]
    for group in groups:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + socket.inet_aton("127.0.0.1"))
    with b.current():
        transport, protocol = await loop.create_datagram_endpoint(Datagrams, sock=sock)
    assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 255
    assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP) == 0
    other, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=("10.0.0.1", 0))
    for group in ("224.0.0.251", "239.1.2.3"):
        other.sendto(b"query", (group, port))
        data, address = await protocol.received.get()
        assert (data, address) == (b"query", other.get_extra_info("sockname"))
    other.sendto(b"nobody is in this", ("239.9.9.9", port))
    other.sendto(b"last", ("10.0.0.2", port))
    assert (await protocol.received.get())[0] == b"last"
    transport.close()
    other.close()
    await asyncio.sleep(0)
    sock.close()


@everywhere(kernel=False, loops=("uvloop", "selector"))  # its clock is not the loop's
async def test_zeroconf(stack):
    """Sockets of its own, with groups joined, options set and one port shared, before any loop sees them."""
    here = {"interfaces": ["127.0.0.1"], "ip_version": IPVersion.V4Only}
    one, other = AsyncZeroconf(**here), AsyncZeroconf(**here)
    address = socket.inet_aton("10.9.8.7")
    info = ServiceInfo(
        "_http._tcp.local.", "web._http._tcp.local.", 80, addresses=[address], server="web.local."
    )
    await (await one.async_register_service(info))
    found = AsyncServiceInfo("_http._tcp.local.", "web._http._tcp.local.")
    assert await found.async_request(other.zeroconf, 3000)
    assert (found.port, found.parsed_addresses()) == (80, ["10.9.8.7"])
    assert all(binding[1] == 5353 for binding in stack.udp.endpoints)
    assert len(stack.udp.claims._by_port[5353]) == 4
    await one.async_close()
    await other.async_close()
