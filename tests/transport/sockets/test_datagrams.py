"""UDP sockets: every assertion holds for the kernel's too."""

import asyncio
import errno
import select
import socket
import struct

import pytest

from tests.transport.sockets.conftest import raises

IN, OUT, HUP, ERR, RDHUP = select.POLLIN, select.POLLOUT, select.POLLHUP, select.POLLERR, select.POLLRDHUP
ALL = IN | OUT | RDHUP | select.POLLPRI
SO_ERROR = (socket.SOL_SOCKET, socket.SO_ERROR)


def bound(net, family=socket.AF_INET, host=None):
    sock = net.socket(family, socket.SOCK_DGRAM)
    sock.bind((host or ("127.0.0.1" if family == socket.AF_INET else "::1"), 0))
    return sock


async def test_datagrams_stay_whole_and_say_where_they_came_from(net):
    a, b = bound(net), bound(net)
    assert await a.sendto(b"one", b.getsockname()) == 3
    assert await a.sendto(b"", b.getsockname()) == 0
    assert await a.sendto(b"three", 0, b.getsockname()) == 5
    assert await b.recvfrom(100) == (b"one", a.getsockname())
    assert await b.recvfrom(100) == (b"", a.getsockname())
    assert await b.recv(3) == b"thr"  # the rest is lost
    await a.sendto(b"next", b.getsockname())
    assert await b.recv(100) == b"next"


async def test_what_does_not_fit_is_told(net):
    a, b = bound(net), bound(net)
    await a.sendto(b"12345", b.getsockname())
    data, _, flags, address = await b.recvmsg(3)
    assert (data, flags & socket.MSG_TRUNC, address) == (b"123", socket.MSG_TRUNC, a.getsockname())


async def test_peek(net):
    a, b = bound(net), bound(net)
    await a.sendto(b"12345", b.getsockname())
    assert await b.recv(3, socket.MSG_PEEK) == b"123"
    assert await b.recv(30) == b"12345"


async def test_an_unbound_socket_is_bound_by_sending(net):
    a, b = net.socket(kind=socket.SOCK_DGRAM), bound(net)
    assert a.getsockname() == ("0.0.0.0", 0)
    await a.sendto(b"x", b.getsockname())
    host, port = a.getsockname()
    assert (host, port != 0) == ("0.0.0.0", True)
    _, source = await b.recvfrom(10)
    assert source == ("127.0.0.1", port)
    await b.sendto(b"answer", source)
    assert await a.recv(10) == b"answer"


async def test_connected(net):
    a, b, stranger = bound(net), bound(net), bound(net)
    with raises(errno.EDESTADDRREQ):
        await a.send(b"to whom?")
    with raises(errno.ENOTCONN):
        a.getpeername()
    await a.connect(b.getsockname())
    assert a.getpeername() == b.getsockname()
    await stranger.sendto(b"not heard", a.getsockname())
    await b.sendto(b"heard", a.getsockname())
    assert await a.recv(100) == b"heard"
    assert await a.send(b"to b") == 4
    assert await b.recv(100) == b"to b"
    await a.sendto(b"to the stranger", stranger.getsockname())
    assert await stranger.recv(100) == b"to the stranger"


async def test_connecting_chooses_the_local_address(net):
    a, b = net.socket(kind=socket.SOCK_DGRAM), bound(net)
    await a.connect(b.getsockname())
    assert a.getsockname()[0] == "127.0.0.1"
    assert a.getsockname()[1] != 0


async def test_a_connected_socket_hears_that_nobody_is_there(net):
    a, nobody = bound(net), bound(net)
    address = nobody.getsockname()
    nobody.close()
    await a.sendto(b"x", address)
    await net.settled()
    assert await a.poll(ALL, 0) == OUT  # unconnected it hears nothing
    await a.connect(address)
    await a.send(b"x")
    await net.settled()
    assert await a.poll(ALL, 0) == OUT | ERR
    with raises(errno.ECONNREFUSED):
        await a.recv(10)
    await a.send(b"x")
    await net.settled()
    assert a.getsockopt(*SO_ERROR) == errno.ECONNREFUSED
    assert a.getsockopt(*SO_ERROR) == 0
    await a.send(b"x")
    await net.settled()
    with raises(errno.ECONNREFUSED):
        await a.send(b"x")


async def test_one_port_one_socket(net):
    a = bound(net)
    b = net.socket(kind=socket.SOCK_DGRAM)
    with raises(errno.EADDRINUSE):
        b.bind(a.getsockname())
    with raises(errno.EADDRINUSE):
        b.bind(("0.0.0.0", a.getsockname()[1]))
    with raises(errno.EADDRNOTAVAIL):
        b.bind(("192.0.2.77", 0))
    with raises(errno.EINVAL):
        a.bind(("127.0.0.1", 0))
    address = a.getsockname()
    a.close()
    b.bind(address)


async def test_a_shared_port_goes_to_the_last(net):
    a, b = net.socket(kind=socket.SOCK_DGRAM), net.socket(kind=socket.SOCK_DGRAM)
    for sock in (a, b):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    a.bind(("127.0.0.1", 0))
    b.bind(a.getsockname())
    c = bound(net)
    await c.sendto(b"x", a.getsockname())
    assert await b.recv(10) == b"x"
    assert await a.poll(IN, 0) == 0


async def test_too_large(net):
    a, b = bound(net), bound(net)
    with raises(errno.EMSGSIZE):
        await a.sendto(bytes(65508), b.getsockname())
    assert await a.sendto(bytes(65507), b.getsockname()) == 65507
    assert len(await b.recv(1 << 17)) == 65507


async def test_without_waiting(net):
    a = bound(net)
    with raises(errno.EAGAIN):
        await a.recv(10, socket.MSG_DONTWAIT)
    a.setblocking(False)
    with raises(errno.EAGAIN):
        await a.recvfrom(10)


async def test_shutdown(net):
    a, b = bound(net), bound(net)
    with raises(errno.ENOTCONN):
        a.shutdown(socket.SHUT_RD)
    await a.connect(b.getsockname())
    waiting = asyncio.ensure_future(a.recv(10))
    await asyncio.sleep(0)
    a.shutdown(socket.SHUT_RDWR)
    if not net.kernel:  # which wakes only who blocks his thread
        assert await waiting == b""
    waiting.cancel()
    with raises(errno.EAGAIN):
        await a.recv(10, socket.MSG_DONTWAIT)
    assert await a.poll(ALL, 0) == IN | OUT | RDHUP | HUP
    with raises(errno.EPIPE):
        await a.send(b"x")


async def test_ancillary_data(net):
    a, b = bound(net), bound(net)
    for option in (12, 13, 8):  # IP_RECVTTL, IP_RECVTOS, IP_PKTINFO
        b.setsockopt(socket.IPPROTO_IP, option, 1)
    a.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 7)
    a.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x28)
    await a.sendto(b"x", b.getsockname())
    data, ancillary, _, _ = await b.recvmsg(10, 200)
    found = {kind: value for level, kind, value in ancillary if level == socket.IPPROTO_IP}
    assert data == b"x"
    assert found[socket.IP_TTL] == struct.pack("@i", 7)
    assert found[socket.IP_TOS] == b"\x28"
    assert found[8][4:] == socket.inet_aton("127.0.0.1") * 2
    await a.sendto(b"x", b.getsockname())
    assert (await b.recvmsg(10))[1] == []


async def test_ipv6_and_ipv4_on_one_socket(net):
    six = net.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    six.bind(("::", 0))
    port = six.getsockname()[1]
    assert six.getsockname() == ("::", port, 0, 0)
    four = bound(net)
    await four.sendto(b"from four", ("127.0.0.1", port))
    data, source = await six.recvfrom(100)
    assert (data, source) == (b"from four", ("::ffff:127.0.0.1", four.getsockname()[1], 0, 0))
    await six.sendto(b"back", source)
    assert await four.recvfrom(100) == (b"back", ("127.0.0.1", port))
    other = bound(net, socket.AF_INET6)
    await other.sendto(b"six", ("::1", port))
    assert (await six.recvfrom(100))[1] == other.getsockname()


async def test_the_queue_is_bounded(net):
    a, b = bound(net), bound(net)
    b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4000)
    for _ in range(100):
        await a.sendto(bytes(1000), b.getsockname())
    await net.settled()
    received = 0
    with pytest.raises(BlockingIOError):
        while True:
            await b.recv(2000, socket.MSG_DONTWAIT)
            received += 1
    assert 1 <= received < 10
