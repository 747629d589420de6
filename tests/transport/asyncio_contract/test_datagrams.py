"""Datagram endpoints: what they send and hear, and what errors they are told."""

import errno
import socket

import pytest

from tests.transport.asyncio_contract.datagrams import bound, connected
from tests.transport.asyncio_contract.media import DIRECT, KERNEL, OURS, contract
from tests.transport.asyncio_contract.recorders import Datagrams


@contract
async def test_datagrams_both_ways(net):
    server, port = await bound(net)
    client = await connected(net, port)
    assert client.callbacks == server.callbacks == ["connection_made"]
    client.transport.sendto(b"one")
    client.transport.sendto(b"two", None)
    client.transport.sendto(b"three", (net.host, port))
    assert await server.received(3) == [b"one", b"two", b"three"]
    address = server.datagrams[0][1]
    assert address == client.transport.get_extra_info("sockname")
    server.transport.sendto(b"answer", address)
    assert await client.received(1) == [b"answer"]
    assert client.datagrams[0][1] == (net.host, port)


@contract
async def test_an_endpoint_talks_to_many(net):
    server, port = await bound(net)
    clients = [await connected(net, port) for _ in range(5)]
    for number, client in enumerate(clients):
        client.transport.sendto(b"%d" % number)
    await server.received(5)
    for data, address in server.datagrams:
        server.transport.sendto(data * 2, address)
    for number, client in enumerate(clients):
        assert await client.received(1) == [b"%d%d" % (number, number)]


@contract
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_bytes_like_data(net, kind):
    server, port = await bound(net)
    client = await connected(net, port)
    client.transport.sendto(kind(b"data"))
    assert await server.received(1) == [b"data"]
    assert type(server.datagrams[0][0]) is bytes
    with pytest.raises(TypeError, match="bytes-like"):
        client.transport.sendto("text")


@contract(media=OURS)
async def test_empty_datagrams_are_sent(net):
    # Python 3.11 drops them, 3.13 and later send them
    server, port = await bound(net)
    client = await connected(net, port)
    client.transport.sendto(b"")
    assert await server.received(1) == [b""]


@contract
@pytest.mark.parametrize("size", [1, 1472, 1473, 9000, 65507])
async def test_sizes(net, size):
    server, port = await bound(net)
    client = await connected(net, port)
    data = bytes(index % 251 for index in range(size))
    client.transport.sendto(data)
    assert await server.received(1) == [data]


@contract
async def test_a_datagram_too_long(net):
    server, port = await bound(net)
    client = await connected(net, port)
    client.transport.sendto(bytes(65508))
    (error,) = client.errors  # at once
    assert error.errno == errno.EMSGSIZE
    server.transport.sendto(bytes(65508), client.transport.get_extra_info("sockname"))
    assert server.errors[0].errno == errno.EMSGSIZE
    client.transport.sendto(b"fine")
    assert await server.received(1) == [b"fine"]


@contract
async def test_nobody_listens(net):
    server, port = await bound(net)
    server.transport.close()
    await server.called("connection_lost")
    client = await connected(net, port)
    client.transport.sendto(b"anybody?")
    await client.called("error_received")
    assert isinstance(client.errors[0], ConnectionRefusedError)
    assert client.errors[0].errno == errno.ECONNREFUSED
    assert not client.transport.is_closing()


@contract
async def test_an_unconnected_endpoint_hears_nothing_of_it(net):
    """As on Linux without IP_RECVERR."""
    server, port = await bound(net)
    server.transport.close()
    await server.called("connection_lost")
    _, client = await net.client.create_datagram_endpoint(
        lambda: net.recorder(Datagrams), (net.client_host, 0)
    )
    client.transport.sendto(b"anybody?", (net.host, port))
    await net.quiet()
    assert client.errors == []


@contract
async def test_a_connected_endpoint_sends_to_and_hears_its_peer_only(net):
    server, port = await bound(net)
    other, other_port = await bound(net)
    client = await connected(net, port)
    for host in (net.host, "no.address"):
        with pytest.raises(ValueError, match="Invalid address"):
            client.transport.sendto(b"x", (host, other_port))
    other.transport.sendto(b"stranger", client.transport.get_extra_info("sockname"))
    server.transport.sendto(b"peer", client.transport.get_extra_info("sockname"))
    assert await client.received(1) == [b"peer"]
    await net.quiet()
    assert len(client.datagrams) == 1


@contract(media=OURS)
async def test_an_unconnected_endpoint_needs_an_address(net):
    # asyncio closes the transport, with a TypeError of the socket
    server, _ = await bound(net)
    for address in (None, ("no-literal", 5)):
        with pytest.raises(ValueError, match=r"address"):
            server.transport.sendto(b"x", address)
    assert not server.transport.is_closing()


@contract
async def test_bound_everywhere(net):
    """Answers come from the address that was asked."""
    transport, server = await net.server.create_datagram_endpoint(
        lambda: net.recorder(Datagrams), ("0.0.0.0", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    assert transport.get_extra_info("sockname") == ("0.0.0.0", port)
    client = await connected(net, port)
    client.transport.sendto(b"question")
    await server.received(1)
    server.transport.sendto(b"answer", server.datagrams[0][1])
    assert await client.received(1) == [b"answer"]


@contract
async def test_only_a_family(net):
    transport, client = await net.client.create_datagram_endpoint(
        lambda: net.recorder(Datagrams), family=socket.AF_INET
    )
    assert transport.get_extra_info("sockname")[0] == "0.0.0.0"
    server, port = await bound(net)
    client.transport.sendto(b"hello", (net.host, port))
    assert await server.received(1) == [b"hello"]


@contract
async def test_local_and_remote(net):
    server, port = await bound(net)
    client = await connected(net, port, local_addr=(net.client_host, 0))
    assert client.transport.get_extra_info("sockname")[0] == net.client_host
    client.transport.sendto(b"hello")
    await server.received(1)
    assert server.datagrams[0][1] == client.transport.get_extra_info("sockname")


@contract
async def test_by_name(net):
    server, port = await bound(net)
    _, client = await net.client.create_datagram_endpoint(
        lambda: net.recorder(Datagrams), remote_addr=("server", port), family=socket.AF_INET
    )
    client.transport.sendto(b"hello")
    assert await server.received(1) == [b"hello"]
    with pytest.raises(socket.gaierror):
        await net.client.create_datagram_endpoint(Datagrams, remote_addr=("no-such-host", 5))


@contract
async def test_address_in_use(net):
    server, port = await bound(net)
    for host in (net.host, "0.0.0.0"):
        with pytest.raises(OSError, match="in use") as caught:
            await net.server.create_datagram_endpoint(Datagrams, (host, port))
        assert caught.value.errno == errno.EADDRINUSE
    server.transport.close()
    await server.called("connection_lost")
    transport, _ = await net.server.create_datagram_endpoint(
        lambda: net.recorder(Datagrams), (net.host, port)
    )
    assert transport.get_extra_info("sockname") == (net.host, port)


@contract
async def test_a_connected_endpoint_keeps_its_port(net):
    _, port = await bound(net)
    client = await connected(net, port)
    own = client.transport.get_extra_info("sockname")
    with pytest.raises(OSError, match="in use") as caught:
        await net.client.create_datagram_endpoint(Datagrams, own, (net.host, 9))
    assert caught.value.errno == errno.EADDRINUSE


@contract(media=DIRECT)
async def test_errors_of_binding(net):
    with pytest.raises(OSError) as caught:
        await net.server.create_datagram_endpoint(Datagrams, ("192.0.2.1", 0))
    assert caught.value.errno == errno.EADDRNOTAVAIL
    with pytest.raises(OverflowError):
        await net.server.create_datagram_endpoint(Datagrams, (net.host, 65536))
    with pytest.raises(ValueError, match="unexpected address family"):
        await net.server.create_datagram_endpoint(Datagrams)
    with pytest.raises(ValueError, match="address"):
        await net.server.create_datagram_endpoint(Datagrams, ("127.0.0.1", 0), ("::1", 5))
    with pytest.raises(TypeError, match="2-tuple"):
        await net.server.create_datagram_endpoint(Datagrams, "127.0.0.1")


@contract(media=OURS)
async def test_no_route(net):
    with pytest.raises(OSError) as caught:
        await net.client.create_datagram_endpoint(Datagrams, remote_addr=("192.0.2.1", 5))
    assert caught.value.errno == errno.ENETUNREACH
    server, _ = await bound(net)
    server.transport.sendto(b"x", ("192.0.2.1", 5))
    assert [error.errno for error in server.errors] == [errno.ENETUNREACH]
    assert not server.transport.is_closing()


@contract(media=KERNEL)
async def test_the_reference_drops_empty_datagrams(net):
    server, port = await bound(net)
    client = await connected(net, port)
    client.transport.sendto(b"")
    client.transport.sendto(b"x")
    assert (await server.received(1))[-1] == b"x"
