"""Endpoints of networks and ranges of ports, of other hosts' addresses too."""

import asyncio
import errno
import socket
import sys

import pytest

from asyncstack import ANY_PORT
from tests.transport.asyncio_contract.recorders import Datagrams
from tests.transport.sockets.conftest import raises

pytestmark = pytest.mark.virtual_time

IP, IPV6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6


class Answering(Datagrams):
    """Answers from where it was asked."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def message_received(self, data, ancillary, address):
        place = [one for one in ancillary if one[:2] in ((IP, 20), (IPV6, 74))]
        ((level, _, value),) = place
        port, host = int.from_bytes(value[2:4], "big"), value[4:8] if level == IP else value[8:24]
        family = socket.AF_INET if level == IP else socket.AF_INET6
        self.asked.append((data, socket.inet_ntop(family, host), port))
        self.transport.sendmsg([b"answer to ", data], place, 0, address)


async def routed(network):
    """A client whose default route is the host `middle`."""
    client = network.host("client", "10.0.0.1/24", "fd00::1/64")
    middle = network.host("middle", "10.0.0.2/24", "fd00::2/64")
    network.link(client, middle, delay=0.01)
    interface = next(each for each in client.interfaces if each.name != "lo")
    for gateway in ("10.0.0.2", "fd00::2"):
        hop = socket.inet_pton(socket.AF_INET6 if ":" in gateway else socket.AF_INET, gateway)
        client.routes.add(bytes(len(hop)), 0, interface, hop)
    return client, middle


async def wide(host, *local, **arguments):
    _, protocol = await host.create_datagram_endpoint(Answering, local, **arguments)
    return protocol


async def ask(client, host, port, data=b"x"):
    """The answer that a connected endpoint gets, or its errno."""
    transport, protocol = await client.create_datagram_endpoint(Datagrams, remote_addr=(host, port))
    transport.sendto(data)
    await protocol.until(lambda: protocol.datagrams or protocol.errors)
    transport.close()
    return protocol.datagrams[0][0] if protocol.datagrams else protocol.errors[0].errno


@pytest.mark.parametrize(
    ("network_", "place"),
    [("192.0.2.0/24", "192.0.2.77"), ("2001:db8::/32", "2001:db8::77"), ("0.0.0.0/0", "8.8.8.8")],
)
async def test_in_the_place_of_other_hosts(network, network_, place):
    client, middle = await routed(network)
    server = await wide(middle, network_, 5300)
    assert server.transport.get_extra_info("sockname")[:2] == (network_, 5300)
    assert await ask(client, place, 5300) == b"answer to x"
    assert server.asked == [(b"x", place, 5300)]
    large = bytes(5000)
    assert await ask(client, place, 5300, large) == b"answer to " + large  # in fragments
    client_side, protocol = await client.create_datagram_endpoint(Datagrams, remote_addr=(place, 5301))
    client_side.sendto(b"another port")
    await asyncio.sleep(1)
    assert protocol.datagrams == []
    assert len(server.asked) == 2
    server.transport.close()
    client_side.sendto(b"nobody")
    await asyncio.sleep(1)
    assert not middle.udp.reaches.all()


async def test_every_port_of_ours(network):
    client, middle = await routed(network)
    server = await wide(middle, "10.0.0.2", ANY_PORT)
    one = await wide(middle, "0.0.0.0/0", range(1000, 2000))
    _, bound = await middle.create_datagram_endpoint(Datagrams, ("10.0.0.2", 1500))
    assert await ask(client, "10.0.0.2", 999) == b"answer to x"
    assert await ask(client, "10.0.0.2", 60_000) == b"answer to x"
    client_side, _ = await client.create_datagram_endpoint(Datagrams, remote_addr=("10.0.0.2", 1500))
    client_side.sendto(b"to the endpoint of that port")
    await bound.received(1)
    assert [port for _, _, port in server.asked] == [999, 60_000]
    assert await ask(client, "10.9.9.9", 1500) == b"answer to x"
    assert one.asked == [(b"x", "10.9.9.9", 1500)]


async def test_who_is_not_asked_for_does_not_speak(network):
    client, middle = await routed(network)
    server = await wide(middle, "192.0.2.0/24", range(50, 60))
    where = ("10.0.0.1", 7)
    server.transport.sendto(b"from whom?", where)

    def place(host, port):
        family = socket.AF_INET.to_bytes(2, sys.byteorder)
        return (IP, 20, family + port.to_bytes(2, "big") + socket.inet_aton(host) + bytes(8))

    server.transport.sendmsg([b"x"], [place("192.0.3.1", 53)], 0, where)
    server.transport.sendmsg([b"x"], [place("192.0.2.1", 61)], 0, where)
    assert [error.errno for error in server.errors] == [errno.EADDRNOTAVAIL] * 3
    _, sink = await client.create_datagram_endpoint(Datagrams, ("10.0.0.1", 7))
    server.transport.sendmsg([b"x"], [place("192.0.2.9", 55)], 0, where)
    assert await sink.received(1) == [b"x"]
    assert sink.datagrams[0][1] == ("192.0.2.9", 55)
    # one endpoint of one place can not
    sink.transport.sendmsg([b"x"], [place("10.0.0.1", 55)], 0, ("10.0.0.2", 5))
    assert [error.errno for error in sink.errors] == [errno.EINVAL]


async def test_what_excludes_what(network):
    _, middle = await routed(network)
    first = await wide(middle, "192.0.2.0/24", range(50, 60), reuse_port=True)
    await wide(middle, "192.0.2.0/24", range(50, 60), reuse_port=True)
    await wide(middle, "192.0.2.0/25", range(50, 60))
    with raises(errno.EADDRINUSE):
        await wide(middle, "192.0.2.0/24", range(50, 60))
    with raises(errno.EADDRNOTAVAIL):
        await wide(middle, "10.0.0.77", ANY_PORT)
    with pytest.raises(ValueError, match="not connected"):
        await wide(middle, "192.0.2.0/24", 53, remote_addr=("10.0.0.1", 5))
    with pytest.raises(ValueError, match="port"):
        await wide(middle, "192.0.2.0/24", 0)
    first.transport.abort()
    await first.called("connection_lost")
    assert len(middle.udp.reaches.all()) == 2


async def test_a_broadcast_is_for_no_network(network):
    client, middle = await routed(network)
    server = await wide(middle, "0.0.0.0/0", 5300)
    _, source = await client.create_datagram_endpoint(Datagrams, ("0.0.0.0", 0), allow_broadcast=True)
    for host in ("255.255.255.255", "10.0.0.255", "224.0.0.1"):
        source.transport.sendto(b"x", (host, 5300))
    await asyncio.sleep(1)
    assert server.asked == []
