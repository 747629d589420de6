"""Datagram endpoints."""

import asyncio
import errno
import socket

import pytest

from asyncstack import Stack, memory_pair
from tests.transport.asyncio_contract.media import DIRECT, KERNEL, OURS, contract
from tests.transport.asyncio_contract.recorders import Datagrams


async def bound(net, factory=Datagrams, **arguments):
    """An endpoint of the server, and its port."""
    transport, protocol = await net.server.create_datagram_endpoint(
        lambda: net.recorder(factory), (net.host, 0), **arguments
    )
    return protocol, transport.get_extra_info("sockname")[1]


async def connected(net, port, factory=Datagrams, **arguments):
    """An endpoint of the client, connected to `port` of the server."""
    _, protocol = await net.client.create_datagram_endpoint(
        lambda: net.recorder(factory), remote_addr=(net.host, port), **arguments
    )
    return protocol


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


# endpoints of sockets


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


@contract
async def test_close_and_abort(net):
    for method in ("close", "abort"):
        server, port = await bound(net)
        client = await connected(net, port)
        client.transport.sendto(b"last")
        getattr(client.transport, method)()
        assert client.transport.is_closing()
        assert client.callbacks == ["connection_made"]
        await client.called("connection_lost")
        assert client.lost is None
        assert await server.received(1) == [b"last"]
        client.transport.sendto(b"late")
        client.transport.close()
        await net.quiet()
        assert client.callbacks == ["connection_made", "connection_lost"]
        assert len(server.datagrams) == 1


@contract
async def test_nothing_is_received_after_close(net):
    server, port = await bound(net)
    client = await connected(net, port)
    server.transport.close()
    client.transport.sendto(b"late")
    await net.quiet()
    assert server.callbacks == ["connection_made", "connection_lost"]


@contract
@pytest.mark.parametrize("method", ["datagram_received", "error_received"])
async def test_an_error_in_a_callback_is_reported_and_no_more(net, method):
    """One bad datagram does not stop a server."""
    error = ValueError(method)

    class Failing(Datagrams):
        def fail(self):
            raise error

        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            if data == b"bad":
                self.fail()

        def error_received(self, exc):
            super().error_received(exc)
            self.fail()

    server, port = await bound(net, Failing)
    client = await connected(net, port, Failing)
    if method == "datagram_received":
        client.transport.sendto(b"bad")
        await server.received(1)
    else:
        server.transport.close()
        await server.called("connection_lost")
        client.transport.sendto(b"anybody?")
        await client.called("error_received")
        server, _ = await bound_again(net, port, Failing)
    assert net.take_errors() == [error]
    client.transport.sendto(b"good")
    await server.until(lambda: (b"good", client.transport.get_extra_info("sockname")) in server.datagrams)
    assert not client.transport.is_closing()


async def bound_again(net, port, factory):
    _transport, protocol = await net.server.create_datagram_endpoint(
        lambda: net.recorder(factory), (net.host, port)
    )
    return protocol, port


@contract
async def test_answers_from_inside_datagram_received(net):
    class Echo(Datagrams):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            self.transport.sendto(data, addr)
            if data == b"bye":
                self.transport.close()

    server, port = await bound(net, Echo)
    client = await connected(net, port)
    for number in range(10):
        client.transport.sendto(b"%d" % number)
    client.transport.sendto(b"bye")
    assert await client.received(11) == [*(b"%d" % number for number in range(10)), b"bye"]
    await server.called("connection_lost")


@contract
async def test_context_and_task_of_callbacks(net):
    seen = []

    class Contextual(Datagrams):
        def note(self, name):
            seen.append((name, asyncio.current_task()))
            super().note(name)

    server, port = await bound(net, Contextual)
    client = await connected(net, port)
    client.transport.sendto(b"x")
    await server.received(1)
    server.transport.close()
    await server.called("connection_lost")
    names = ("connection_made", "datagram_received", "connection_lost")
    assert seen == [(name, None) for name in names]


@contract
async def test_limits(net):
    server, _ = await bound(net)
    transport = server.transport
    assert transport.get_write_buffer_size() == 0
    transport.set_write_buffer_limits(high=1000)
    if net.is_ours:
        assert transport.get_write_buffer_limits() == (250, 1000)
    with pytest.raises(ValueError, match="must be >="):
        transport.set_write_buffer_limits(high=1, low=2)


@contract
async def test_the_protocol_can_be_changed_and_is_let_go(net):
    server, port = await bound(net)
    client = await connected(net, port)
    transport = server.transport
    assert transport.get_protocol() is server
    other = net.recorder(Datagrams)
    transport.set_protocol(other)
    client.transport.sendto(b"x")
    assert await other.received(1) == [b"x"]
    assert server.datagrams == []
    transport.close()
    await other.called("connection_lost")
    await asyncio.sleep(0)
    assert transport.get_protocol() is None


@contract(media=OURS)
async def test_the_factory_raises(net):
    # (asyncio forgets its socket in this case)
    def fail():
        raise ValueError("factory")

    with pytest.raises(ValueError, match="factory"):
        await net.server.create_datagram_endpoint(fail, (net.host, 0))


# a device without room


class Full:
    """Two stacks on a memory link whose inbox is tiny, with nobody emptying it before the next loop turn."""

    async def __aenter__(self):
        self.sender, self.receiver = Stack(), Stack()
        near, far = memory_pair(inbox_frames=4)
        self.sender.attach(near, ["10.1.0.1/24"])
        self.receiver.attach(far, ["10.1.0.2/24"])
        _, self.sink = await self.receiver.create_datagram_endpoint(Datagrams, ("10.1.0.2", 9))
        return self

    async def __aexit__(self, *_):
        await self.sender.close()
        await self.receiver.close()

    async def source(self, factory=Datagrams):
        _, protocol = await self.sender.create_datagram_endpoint(factory, remote_addr=("10.1.0.2", 9))
        return protocol


@contract(media=OURS)
async def test_backpressure_of_a_full_device(net):
    async with Full() as full:
        source = await full.source()
        for number in range(200):
            source.transport.sendto(number.to_bytes(2, "big") * 500)
        assert source.callbacks == ["connection_made", "pause_writing"]
        assert source.transport.get_write_buffer_size() == 196 * 1000
        received = await full.sink.received(200)
        assert [int.from_bytes(data[:2], "big") for data in received] == list(range(200))
        assert source.callbacks == ["connection_made", "pause_writing", "resume_writing"]
        assert source.transport.get_write_buffer_size() == 0


@contract(media=OURS)
async def test_the_queue_is_bounded(net):
    async with Full() as full:
        source = await full.source()
        for _ in range(1000):
            source.transport.sendto(bytes(1000))
        limit = full.sender.config.udp_queue
        assert limit - 1000 <= source.transport.get_write_buffer_size() <= limit
        assert full.sender.counters["udp.send_queue_full"] == 1000 - 4 - limit // 1000
        await full.sink.received(limit // 1000)


@contract(media=OURS)
async def test_close_sends_what_waits(net):
    async with Full() as full:
        source = await full.source()
        for _ in range(100):
            source.transport.sendto(bytes(100))
        source.transport.close()
        source.transport.sendto(b"late")
        assert source.callbacks == ["connection_made"]
        await source.called("connection_lost")
        await full.sink.received(100)
        await net.quiet()
        assert len(full.sink.datagrams) == 100


@contract(media=OURS)
async def test_abort_drops_what_waits(net):
    async with Full() as full:
        source = await full.source()
        for _ in range(100):
            source.transport.sendto(bytes(100))
        source.transport.abort()
        await source.called("connection_lost")
        await net.quiet()
        assert len(full.sink.datagrams) == 4


@contract(media=OURS)
async def test_pause_writing_inside_a_callback(net):
    """sendto() from datagram_received() until the device is full."""

    class Flooding(Datagrams):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            for _ in range(100):
                self.transport.sendto(bytes(1000), addr)

    async with Full() as full:
        source = await full.source(Flooding)
        full.sink.transport.sendto(b"go", source.transport.get_extra_info("sockname"))
        await full.sink.received(100)
        assert "pause_writing" in source.callbacks
        assert source.callbacks[-1] == "resume_writing"


@contract(media=OURS)
async def test_an_error_in_pause_writing_is_reported_and_no_more(net):
    error = ValueError("pause_writing")

    class Failing(Datagrams):
        def pause_writing(self):
            raise error

    async with Full() as full:
        source = await full.source(Failing)
        for _ in range(100):
            source.transport.sendto(bytes(1000))
        assert net.take_errors() == [error]
        await full.sink.received(100)


@contract(media=OURS)
async def test_lower_limits_pause_at_once(net):
    async with Full() as full:
        source = await full.source()
        for _ in range(20):
            source.transport.sendto(bytes(1000))
        assert source.callbacks == ["connection_made"]
        source.transport.set_write_buffer_limits(high=1000)
        assert source.callbacks == ["connection_made", "pause_writing"]
        await full.sink.received(20)
        assert source.callbacks[-1] == "resume_writing"


@contract(media=KERNEL)
async def test_the_reference_drops_empty_datagrams(net):
    server, port = await bound(net)
    client = await connected(net, port)
    client.transport.sendto(b"")
    client.transport.sendto(b"x")
    assert (await server.received(1))[-1] == b"x"
