"""Datagram endpoints made of sockets."""

import errno
import socket

import pytest

from tests.transport.asyncio_contract.datagrams import bound, connected
from tests.transport.asyncio_contract.media import DIRECT, OURS, contract
from tests.transport.asyncio_contract.recorders import Datagrams


def datagram_socket(net, host=None, family=socket.AF_INET):
    """A socket of the client's host, bound to any free port of `host`."""
    make = net.client.socket if net.is_ours else socket.socket
    sock = make(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    if host is not None:
        sock.bind((host, 0))
    return sock


async def endpoint_of(net, sock, factory=Datagrams):
    _, protocol = await net.client.create_datagram_endpoint(lambda: net.recorder(factory), sock=sock)
    return protocol


@contract(media=DIRECT)
async def test_a_socket_becomes_an_endpoint(net):
    server, port = await bound(net)
    sock = datagram_socket(net, net.client_host)
    own = sock.getsockname()
    client = await endpoint_of(net, sock)
    assert client.transport.get_extra_info("sockname") == own
    assert client.transport.get_extra_info("peername") is None
    assert client.transport.get_extra_info("socket").getsockname() == own
    client.transport.sendto(b"question", (net.host, port))
    assert await server.received(1) == [b"question"]
    assert server.datagrams[0][1] == own
    server.transport.sendto(b"answer", own)
    assert await client.received(1) == [b"answer"]
    client.transport.close()
    await client.called("connection_lost")
    with pytest.raises(OSError) as caught:
        await sock.send(b"x") if net.is_ours else sock.send(b"x")
    assert caught.value.errno == errno.EBADF
    again, _ = await net.client.create_datagram_endpoint(lambda: net.recorder(Datagrams), own)
    assert again.get_extra_info("sockname") == own


@contract(media=DIRECT)
async def test_a_socket_that_is_not_bound(net):
    server, port = await bound(net)
    client = await endpoint_of(net, datagram_socket(net))
    client.transport.sendto(b"question", (net.host, port))
    await server.received(1)
    server.transport.sendto(b"answer", server.datagrams[0][1])
    assert await client.received(1) == [b"answer"]


@contract(media=DIRECT)
async def test_a_socket_that_is_connected(net):
    """Whatever address is given, it goes to the peer."""
    server, port = await bound(net)
    other, other_port = await bound(net)
    sock = datagram_socket(net)
    if net.is_ours:
        await sock.connect((net.host, port))
    else:
        sock.connect((net.host, port))
    client = await endpoint_of(net, sock)
    assert client.transport.get_extra_info("peername") == (net.host, port)
    client.transport.sendto(b"1")
    client.transport.sendto(b"2", (net.host, port))
    client.transport.sendto(b"3", (net.host, other_port))
    assert await server.received(3) == [b"1", b"2", b"3"]
    assert other.datagrams == []
    server.transport.close()
    await server.called("connection_lost")
    client.transport.sendto(b"anybody?")
    await client.called("error_received")
    assert isinstance(client.errors[0], ConnectionRefusedError)


@contract(media=DIRECT)
async def test_what_waited_at_the_socket_comes_first(net):
    server, _ = await bound(net)
    sock = datagram_socket(net, net.client_host)
    for number in range(3):
        server.transport.sendto(b"%d" % number, sock.getsockname())
    await net.quiet()
    client = await endpoint_of(net, sock)
    server.transport.sendto(b"3", sock.getsockname())
    assert await client.received(4) == [b"0", b"1", b"2", b"3"]
    assert client.callbacks[0] == "connection_made"
    assert {address for _, address in client.datagrams} == {server.transport.get_extra_info("sockname")}


@contract(media=DIRECT)
async def test_options_go_with_the_socket(net):
    sock = datagram_socket(net, net.client_host)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 9)
    client = await endpoint_of(net, sock)
    shown = client.transport.get_extra_info("socket")
    assert shown.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
    assert shown.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 9
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 8)  # the socket still has them
    assert shown.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 8


@contract(media=DIRECT)
async def test_a_socket_and_nothing_else(net):
    sock = datagram_socket(net)
    for name, value in [
        ("local_addr", (net.client_host, 0)),
        ("remote_addr", (net.host, 5)),
        ("family", socket.AF_INET),
        ("reuse_port", True),
        ("allow_broadcast", True),
    ]:
        with pytest.raises(ValueError, match=f"can not be used when sock is specified.*{name}"):
            await net.client.create_datagram_endpoint(Datagrams, sock=sock, **{name: value})
    sock.close()


@contract(media=OURS)
async def test_sockets_that_are_none_of_this_stack(net):
    streams = net.client.socket()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kernel:
        for sock in (object(), streams, kernel, datagram_socket(net, net.client_host)):
            with pytest.raises(ValueError, match="A UDP Socket was expected"):
                await net.server.create_datagram_endpoint(Datagrams, sock=sock)
    streams.close()


@contract(media=DIRECT)
async def test_one_socket_for_both_families(net):
    """As aioquic's client makes it."""
    server, port = await bound(net)
    sock = datagram_socket(net, family=socket.AF_INET6)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", 0, 0, 0))
    client = await endpoint_of(net, sock)
    assert client.transport.get_extra_info("sockname") == sock.getsockname()
    for count in (1, 2):
        client.transport.sendto(b"question", (f"::ffff:{net.host}", port, 0, 0))
        await server.received(count)
        assert server.datagrams[-1][1] == (net.client_host, sock.getsockname()[1])
        server.transport.sendto(b"answer", server.datagrams[-1][1])
        await client.received(count)
        assert client.datagrams[-1] == (b"answer", (f"::ffff:{net.host}", port, 0, 0))
    six, _ = await net.server.create_datagram_endpoint(lambda: net.recorder(Datagrams), ("::1", 0))
    host = "fd00::2" if net.is_ours else "::1"
    if net.is_ours:
        six, _ = await net.server.create_datagram_endpoint(lambda: net.recorder(Datagrams), (host, 0))
    client.transport.sendto(b"six", (host, six.get_extra_info("sockname")[1], 0, 0))
    assert await six.get_protocol().received(1) == [b"six"]


@contract
async def test_an_endpoint_of_all_ipv6_addresses_speaks_ipv4(net):
    """As aioquic's server makes it."""
    transport, server = await net.server.create_datagram_endpoint(lambda: net.recorder(Datagrams), ("::", 0))
    port = transport.get_extra_info("sockname")[1]
    client = await connected(net, port)
    client.transport.sendto(b"question")
    await server.received(1)
    (address,) = {address for _, address in server.datagrams}
    assert address == (f"::ffff:{net.client_host}", client.transport.get_extra_info("sockname")[1], 0, 0)
    transport.sendto(b"answer", address)
    assert await client.received(1) == [b"answer"]
    with pytest.raises(OSError, match="in use"):
        await net.server.create_datagram_endpoint(Datagrams, ("0.0.0.0", port))


@contract(media=DIRECT)
async def test_connected_to_a_mapped_address(net):
    server, port = await bound(net)
    sock = datagram_socket(net, family=socket.AF_INET6)
    if net.is_ours:
        await sock.connect((f"::ffff:{net.host}", port, 0, 0))
    else:
        sock.connect((f"::ffff:{net.host}", port, 0, 0))
    client = await endpoint_of(net, sock)
    assert client.transport.get_extra_info("sockname")[0] == f"::ffff:{net.client_host}"
    assert client.transport.get_extra_info("peername") == (f"::ffff:{net.host}", port, 0, 0)
    client.transport.sendto(b"question")
    await server.received(1)
    server.transport.sendto(b"answer", server.datagrams[0][1])
    assert await client.received(1) == [b"answer"]
