"""Addresses and ports of TCP sockets: every assertion holds for the kernel's too."""

import errno
import socket

import pytest

from tests.transport.sockets.conftest import raises

REUSE = (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
REUSE_PORT = (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


async def test_port_0_is_any_free_one(net):
    a, b = net.socket(), net.socket()
    a.bind(("127.0.0.1", 0))
    b.bind(("", 0))
    assert a.getsockname()[1] != 0
    assert a.getsockname()[1] != b.getsockname()[1]
    assert b.getsockname()[0] == "0.0.0.0"


async def test_a_bound_port_is_taken(net):
    a, b = net.socket(), net.socket()
    a.bind(("127.0.0.1", 0))
    with raises(errno.EADDRINUSE):
        b.bind(a.getsockname())
    with raises(errno.EADDRINUSE):
        b.bind(("0.0.0.0", a.getsockname()[1]))
    b.bind(("127.0.0.2", a.getsockname()[1]))
    with raises(errno.EADDRNOTAVAIL):
        net.socket().bind(("192.0.2.77", 0))
    with pytest.raises(OverflowError):
        net.socket().bind(("127.0.0.1", 65536))
    with pytest.raises(TypeError):
        net.socket().bind("127.0.0.1")
    with pytest.raises(socket.gaierror):
        net.socket().bind(("no.such.name.invalid", 0))


async def test_reuse_of_addresses(net):
    a, b, c = net.socket(), net.socket(), net.socket()
    a.setsockopt(*REUSE)
    a.bind(("127.0.0.1", 0))
    with raises(errno.EADDRINUSE):
        b.bind(a.getsockname())  # both have to say so
    b.setsockopt(*REUSE)
    b.bind(a.getsockname())
    a.listen()
    with raises(errno.EADDRINUSE):
        b.listen()
    c.setsockopt(*REUSE)
    with raises(errno.EADDRINUSE):
        c.bind(a.getsockname())
    a.close()
    b.listen()


async def test_reuse_of_ports(net):
    a, b, c = net.socket(), net.socket(), net.socket()
    for sock in (a, b):
        sock.setsockopt(*REUSE_PORT)
    a.bind(("127.0.0.1", 0))
    b.bind(a.getsockname())
    a.listen()
    b.listen()
    with raises(errno.EADDRINUSE):
        c.bind(a.getsockname())
    client = net.socket()
    await client.connect(a.getsockname())


async def test_a_listener_s_connections_and_its_port(net):
    listener = net.listener()
    client = net.socket()
    await client.connect(listener.getsockname())
    server, _ = await listener.accept()
    net.made.append(server)
    address = listener.getsockname()
    listener.close()
    again = net.socket()
    with raises(errno.EADDRINUSE):
        again.bind(address)
    again.setsockopt(*REUSE)
    again.bind(address)
    again.listen()


async def test_connect_from_a_bound_port(net):
    listener = net.listener()
    client = net.socket()
    client.bind(("127.0.0.1", 0))
    own = client.getsockname()
    await client.connect(listener.getsockname())
    assert client.getsockname() == own
    server, peer = await listener.accept()
    net.made.append(server)
    assert peer == own
    other = net.socket()
    other.setsockopt(*REUSE)
    with raises(errno.EADDRINUSE):
        other.bind(own)


async def test_the_unspecified_address_is_this_host(net):
    listener = net.socket()
    listener.bind(("", 0))
    listener.listen()
    client = net.socket()
    await client.connect(("0.0.0.0", listener.getsockname()[1]))
    assert client.getpeername() == ("127.0.0.1", listener.getsockname()[1])
    assert client.getsockname()[0] == "127.0.0.1"


async def test_listen_without_bind(net):
    listener = net.socket()
    listener.listen()
    assert listener.getsockname()[0] == "0.0.0.0"
    client = net.socket()
    await client.connect(("127.0.0.1", listener.getsockname()[1]))


async def test_ipv6(net):
    client, server = await net.connected(socket.AF_INET6)
    assert client.getsockname()[0] == "::1"
    assert server.getpeername() == client.getsockname()
    assert len(client.getsockname()) == 4
    await client.send(b"six")
    assert await server.recv(10) == b"six"


async def test_ipv4_on_an_ipv6_socket(net):
    listener = net.socket(socket.AF_INET6)
    listener.bind(("::", 0))
    listener.listen()
    port = listener.getsockname()[1]
    four, six = net.socket(), net.socket(socket.AF_INET6)
    await four.connect(("127.0.0.1", port))
    server, peer = await listener.accept()
    assert peer == ("::ffff:127.0.0.1", four.getsockname()[1], 0, 0)
    assert server.getsockname() == ("::ffff:127.0.0.1", port, 0, 0)
    server.close()
    await six.connect(("::ffff:127.0.0.1", port))
    server, peer = await listener.accept()
    assert peer == six.getsockname()
    assert peer[0] == "::ffff:127.0.0.1"
    server.close()
    other = net.socket()
    with raises(errno.EADDRINUSE):
        other.bind(("0.0.0.0", port))


async def test_ipv6_only(net):
    listener = net.socket(socket.AF_INET6)
    assert listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind(("::", 0))
    listener.listen()
    port = listener.getsockname()[1]
    other = net.socket()
    other.bind(("0.0.0.0", port))
    client = net.socket()
    with raises(errno.ECONNREFUSED):
        await client.connect(("127.0.0.1", port))
    client = net.socket(socket.AF_INET6)
    client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    with raises(errno.ENETUNREACH):
        await client.connect(("::ffff:127.0.0.1", port))
    with raises(errno.EINVAL):
        client.bind(("::ffff:127.0.0.1", 0))
    with raises(errno.ENOPROTOOPT):
        net.socket().setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        ((socket.AF_UNIX, socket.SOCK_STREAM, 17), errno.EPROTONOSUPPORT),
        ((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_UDP), errno.EPROTONOSUPPORT),
        ((socket.AF_INET, 77), None),
        ((99, socket.SOCK_STREAM), errno.EAFNOSUPPORT),
    ],
)
async def test_sockets_that_do_not_exist(net, arguments, number):
    with pytest.raises(OSError) as caught:
        net.socket(*arguments)
    if number is not None and arguments[0] != socket.AF_UNIX:
        assert caught.value.errno == number
