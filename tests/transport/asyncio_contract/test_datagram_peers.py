"""Datagram endpoints that share a port, speak to all, or may not."""

import errno
import socket

import pytest

from tests.transport.asyncio_contract.datagrams import bound, connected
from tests.transport.asyncio_contract.media import contract
from tests.transport.asyncio_contract.recorders import Datagrams


@contract
async def test_a_port_that_is_shared(net):
    """Each peer has its endpoint, and all have peers."""
    first, port = await bound(net, reuse_port=True)
    others = []
    for _ in range(2):
        _, other = await net.server.create_datagram_endpoint(
            lambda: net.recorder(Datagrams), (net.host, port), reuse_port=True
        )
        others.append(other)
    with pytest.raises(OSError, match="in use"):
        await net.server.create_datagram_endpoint(Datagrams, (net.host, port))
    sharing = [first, *others]
    clients = [await connected(net, port) for _ in range(40)]
    for client in clients * 2:
        client.transport.sendto(b"x")
    await net.until(lambda: sum(len(one.datagrams) for one in sharing) == 80)
    peers = [[address for _, address in one.datagrams] for one in sharing]
    assert all(peers)
    for own in peers:
        assert all(own.count(address) == 2 for address in own)


@contract
async def test_who_may_broadcast_is_not_connected(net):
    server, port = await bound(net)
    other, _ = await bound(net)
    client = await connected(net, port, allow_broadcast=True)
    assert client.transport.get_extra_info("peername") is None
    client.transport.sendto(b"1")
    client.transport.sendto(b"2", (net.host, port))
    assert await server.received(2) == [b"1", b"2"]
    other.transport.sendto(b"I too", server.datagrams[0][1])
    assert await client.received(1) == [b"I too"]
    with pytest.raises(ValueError, match="Invalid address"):
        client.transport.sendto(b"x", other.transport.get_extra_info("sockname"))


@contract
async def test_an_address_of_the_other_family(net):
    server, _ = await bound(net)
    server.transport.sendto(b"x", ("::1", 5))
    (error,) = server.errors
    assert isinstance(error, OSError)
    assert not server.transport.is_closing()


@contract
async def test_broadcast_needs_leave(net):
    broadcast = "10.0.0.255" if net.is_ours else "127.255.255.255"
    sender, _ = await bound(net)
    transport, receiver = await net.client.create_datagram_endpoint(
        lambda: net.recorder(Datagrams), ("0.0.0.0", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    sender.transport.sendto(b"to all", ("<broadcast>", port))
    assert isinstance(sender.errors.pop(), PermissionError)
    sender.transport.sendto(b"to all", (broadcast, port))
    (error,) = sender.errors
    assert isinstance(error, PermissionError)
    assert error.errno == errno.EACCES
    with pytest.raises(PermissionError):
        await net.server.create_datagram_endpoint(Datagrams, remote_addr=(broadcast, port))
    allowed, _ = await bound(net, allow_broadcast=True)
    allowed.transport.sendto(b"to all", (broadcast, port))
    assert await receiver.received(1) == [b"to all"]
    sender.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sender.transport.sendto(b"me too", (broadcast, port))
    assert await receiver.received(2) == [b"to all", b"me too"]
