""" "fe80::9%a-b" and "fe80::9%a-c" are two hosts (RFC 4007): every call that takes an address takes a scope."""

import asyncio
import errno
import socket

import pytest

from tests.transport.asyncio_contract.recorders import Datagrams, Recorder

pytestmark = pytest.mark.virtual_time

THERE = "fe80::9"


@pytest.fixture
async def hosts(network):
    """`a`, and at the other ends of its two links `b` and `c`, which have the same link-local address."""
    a, b, c = (network.host(name) for name in "abc")
    network.link(a, b, addresses=("fe80::1/64", f"{THERE}/64"), ethernet=True)
    network.link(a, c, addresses=("fe80::2/64", f"{THERE}/64"), ethernet=True)
    return a, b, c


def index(stack, name):
    return next(one.index for one in stack.interfaces if one.name == name)


async def greet(host, name):
    async def greeting(reader, writer):
        writer.write(name.encode())
        writer.close()

    await host.start_server(greeting, None, 80)


@pytest.mark.parametrize("name", ["b", "c"])
async def test_streams(hosts, name):
    a, b, c = hosts
    await greet(b, "b")
    await greet(c, "c")
    number = index(a, f"a-{name}")
    for scope in (f"a-{name}", str(number)):
        reader, writer = await a.open_connection(f"{THERE}%{scope}", 80)
        assert await reader.read() == name.encode()
        assert writer.get_extra_info("peername") == (THERE, 80, 0, number)
        assert writer.get_extra_info("sockname")[3] == number
        writer.close()
    for address in ((f"{THERE}%a-{name}", 80), (THERE, 80, 0, number)):
        sock = a.socket(socket.AF_INET6)
        await sock.connect(address)
        assert await sock.recv(9) == name.encode()
        assert sock.getpeername() == (THERE, 80, 0, number)
        sock.close()


@pytest.mark.parametrize("name", ["b", "c"])
async def test_datagrams(hosts, name):
    a, b, c = hosts
    heard = {}
    for host, label in ((b, "b"), (c, "c")):
        _, heard[label] = await host.create_datagram_endpoint(Datagrams, ("::", 7))
    number = index(a, f"a-{name}")
    transport, _ = await a.create_datagram_endpoint(Datagrams, remote_addr=(f"{THERE}%a-{name}", 7))
    transport.sendto(b"connected")
    assert transport.get_extra_info("peername") == (THERE, 7, 0, number)
    transport, _ = await a.create_datagram_endpoint(Datagrams, ("::", 0))
    transport.sendto(b"by name", (f"{THERE}%a-{name}", 7))
    transport.sendto(b"by index", (THERE, 7, 0, number))
    assert await heard[name].received(3) == [b"connected", b"by name", b"by index"]


async def test_an_answer_goes_back_over_the_link_that_the_question_came_by(hosts):
    a, b, c = hosts
    server, _ = await a.create_datagram_endpoint(Datagrams, ("::", 7))
    server.get_protocol().datagram_received = lambda data, address: server.sendto(data.upper(), address)
    for host, target in ((b, "fe80::1"), (c, "fe80::2")):
        transport, heard = await host.create_datagram_endpoint(Datagrams, remote_addr=(target, 7))
        transport.sendto(host.name.encode())
        assert await heard.received(1) == [host.name.upper().encode()]


async def test_listening_on_one_link(hosts):
    """A link-local address of ours is on one link, so the scope says nothing new, but it has to be right."""
    a, b, _ = hosts
    await a.create_server(Recorder, "fe80::1%a-b", 80)
    transport, _ = await b.create_connection(Recorder, "fe80::1%a-b", 80)
    assert transport.get_extra_info("peername")[:2] == ("fe80::1", 80)
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for address in (("fe80::2%a-c", 90), ("fe80::2", 91, 0, index(a, "a-c"))):
            sock = a.socket(socket.AF_INET6, kind)
            sock.bind(address)
            assert sock.getsockname()[:2] == ("fe80::2", address[1])
        with pytest.raises(OSError) as caught:
            a.socket(socket.AF_INET6, kind).bind(("fe80::2%eth9", 92))
        assert caught.value.errno == errno.ENODEV


async def test_ping_and_names(hosts):
    a, b, c = hosts
    for name, host in (("b", b), ("c", c)):
        before = host.counters["icmpv6.echo_replies"]
        assert (await a.ping(f"{THERE}%a-{name}")).source == THERE
        assert host.counters["icmpv6.echo_replies"] == before + 1
        found = await a.getaddrinfo(f"{THERE}%a-{name}", 80, type=socket.SOCK_STREAM)
        assert found[0][4] == (THERE, 80, 0, index(a, f"a-{name}"))


@pytest.mark.parametrize(("scope", "link"), [("", "a-b"), ("%a-c", "a-c")])
async def test_an_error_says_which_link_it_was(hosts, scope, link):
    a, _, _ = hosts
    with pytest.raises(TimeoutError, match=f"^no echo reply from fe80::77%{link} within 1 s$"):
        await a.ping(f"fe80::77{scope}")
    with pytest.raises(OSError, match=f"connect to fe80::77%{link} port 80$"):
        await a.open_connection(f"fe80::77{scope}", 80)


async def test_an_interface_that_is_not_there(hosts):
    a, _, _ = hosts
    for call in (
        a.create_connection(Recorder, f"{THERE}%eth9", 80),
        a.create_datagram_endpoint(Datagrams, remote_addr=(f"{THERE}%eth9", 7)),
        a.ping(f"{THERE}%eth9"),
        a.socket(socket.AF_INET6).connect((THERE, 80, 0, 99)),
    ):
        with pytest.raises(OSError) as caught:
            await call
        assert caught.value.errno == errno.ENODEV


@pytest.mark.parametrize("name", ["b", "c"])
async def test_calls_of_the_loop(hosts, name):
    """The scope goes to the stack that has an interface of this name."""
    a, b, c = hosts
    await greet(b, "b")
    await greet(c, "c")
    where = f"{THERE}%a-{name}"
    with a.current():
        reader, writer = await asyncio.open_connection(where, 80)
        assert await reader.read() == name.encode()
        writer.close()
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET6) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, (where, 80))
            assert await loop.sock_recv(sock, 9) == name.encode()


async def test_a_group_of_one_link(hosts):
    a, b, c = hosts
    heard = {}
    for host in (b, c):
        transport, heard[host.name] = await host.create_datagram_endpoint(Datagrams, ("::", 7))
        transport.get_extra_info("socket").setsockopt(
            socket.IPPROTO_IPV6,
            socket.IPV6_JOIN_GROUP,
            socket.inet_pton(socket.AF_INET6, "ff02::77") + (2).to_bytes(4, "little"),
        )
    transport, _ = await a.create_datagram_endpoint(Datagrams, ("::", 0))
    transport.sendto(b"to c", ("ff02::77%a-c", 7))
    transport.sendto(b"to b", ("ff02::77%a-b", 7))
    assert await heard["b"].received(1) == [b"to b"]
    assert await heard["c"].received(1) == [b"to c"]
