"""TCP sockets: every assertion holds for the kernel's too."""

import asyncio
import errno
import select
import socket
import struct

import pytest

from tests.transport.sockets.conftest import raises

IN, OUT, HUP, ERR, RDHUP = (
    select.POLLIN,
    select.POLLOUT,
    select.POLLHUP,
    select.POLLERR,
    select.POLLRDHUP,
)
ALL = IN | OUT | RDHUP | select.POLLPRI
SO_ERROR = (socket.SOL_SOCKET, socket.SO_ERROR)


async def test_what_a_partial_recv_leaves_comes_next(net):
    client, server = await net.connected()
    assert await client.send(b"hello world") == 11
    assert await server.recv(5) == b"hello"
    assert await server.recv(1) == b" "
    assert await server.recv(100) == b"world"
    await client.sendall(b"x" * 10)
    await client.sendall(b"y" * 10)
    await net.settled()
    assert await server.recv(15) == b"x" * 10 + b"y" * 5
    assert await server.recv(15) == b"y" * 5


async def test_the_end_of_the_stream_is_told_for_ever(net):
    client, server = await net.connected()
    await client.send(b"last")
    client.shutdown(socket.SHUT_WR)
    assert await server.recv(100) == b"last"
    for _ in range(3):
        assert await server.recv(100) == b""
    await server.send(b"still open")
    assert await client.recv(100) == b"still open"
    with raises(errno.EPIPE):
        await client.send(b"no more")


async def test_recv_waits_for_data(net):
    client, server = await net.connected()
    waiting = asyncio.ensure_future(server.recv(100))
    await net.settled()
    assert not waiting.done()
    await client.send(b"now")
    assert await waiting == b"now"


async def test_a_cancelled_recv_loses_nothing(net):
    client, server = await net.connected()
    waiting = asyncio.ensure_future(server.recv(100))
    await asyncio.sleep(0)
    await client.send(b"data")
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    if waiting.cancelled():
        assert await server.recv(100) == b"data"
    else:
        assert waiting.result() == b"data"


async def test_without_waiting(net):
    client, _ = await net.connected()
    for flags in (socket.MSG_DONTWAIT, 0):
        client.setblocking(bool(flags))
        with pytest.raises(BlockingIOError) as caught:
            await client.recv(10, flags)
        assert caught.value.errno == errno.EAGAIN
    listener = net.listener()
    listener.setblocking(False)
    with raises(errno.EAGAIN):
        await listener.accept()


async def test_a_socket_that_does_not_wait_connects(net):
    listener = net.listener()
    client = net.socket()
    assert await client.poll(ALL, 0) == OUT | HUP
    client.setblocking(False)
    if not net.kernel:  # the kernel's loopback connects at once
        with raises(errno.EINPROGRESS):
            await client.connect(listener.getsockname())
        with raises(errno.EALREADY):
            await client.connect(listener.getsockname())
        assert await client.poll(ALL, 0) == 0
        with raises(errno.ENOTCONN):
            client.getpeername()
    else:
        with raises(errno.EINPROGRESS):
            await client.connect(listener.getsockname())
    assert await client.poll(OUT, 1) == OUT
    assert client.getsockopt(*SO_ERROR) == 0
    assert client.getpeername() == listener.getsockname()
    await client.connect(listener.getsockname())  # tells how it ended
    with raises(errno.EISCONN):
        await client.connect(listener.getsockname())


async def closed_port(net):
    listener = net.listener()
    address = listener.getsockname()
    listener.close()
    return address


async def test_a_refused_connection(net):
    client = net.socket()
    with raises(errno.ECONNREFUSED):
        await client.connect(await closed_port(net))
    listener = net.listener()
    await client.connect(listener.getsockname())  # the socket can be used again
    assert client.getpeername() == listener.getsockname()


async def test_a_refused_connection_by_poll(net):
    client = net.socket()
    client.setblocking(False)
    address = await closed_port(net)
    with raises(errno.EINPROGRESS):
        await client.connect(address)
    await net.settled()
    assert await client.poll(ALL, 1) == IN | OUT | ERR | HUP | RDHUP
    assert client.getsockopt(*SO_ERROR) == errno.ECONNREFUSED
    assert client.getsockopt(*SO_ERROR) == 0
    assert await client.poll(ALL, 1) == IN | OUT | HUP | RDHUP
    assert await client.recv(10) == b""
    with raises(errno.EPIPE):
        await client.send(b"x")


async def test_calls_on_what_is_not_connected(net):
    sock = net.socket()
    with raises(errno.ENOTCONN):
        await sock.recv(10)
    with raises(errno.EPIPE):
        await sock.send(b"x")
    with raises(errno.ENOTCONN):
        sock.getpeername()
    with raises(errno.EINVAL):
        await sock.accept()
    with raises(errno.ENOTCONN):
        sock.shutdown(socket.SHUT_RDWR)
    assert sock.getsockname() == ("0.0.0.0", 0)
    listener = net.listener()
    with raises(errno.ENOTCONN):
        await listener.recv(10)
    with raises(errno.EPIPE):
        await listener.send(b"x")
    with raises(errno.EISCONN):
        await listener.connect(("127.0.0.1", 1))
    with raises(errno.ENOTCONN):
        listener.getpeername()


async def test_a_connected_socket_does_not_listen_or_bind(net):
    client, _ = await net.connected()
    with raises(errno.EINVAL):
        client.listen()
    with raises(errno.EINVAL):
        client.bind(("127.0.0.1", 0))
    with raises(errno.EINVAL):
        client.shutdown(3)


async def test_peek_leaves_the_bytes(net):
    client, server = await net.connected()
    await client.send(b"hello")
    assert await server.recv(3, socket.MSG_PEEK) == b"hel"
    assert await server.recv(10, socket.MSG_PEEK) == b"hello"
    assert await server.recv(10) == b"hello"


async def test_waitall(net):
    client, server = await net.connected()
    if net.kernel:
        pytest.skip("the kernel does it only on sockets that block their thread")
    waiting = asyncio.ensure_future(server.recv(10, socket.MSG_WAITALL))
    await client.send(b"12345")
    await net.settled()
    assert not waiting.done()
    await client.send(b"67890abc")
    assert await waiting == b"1234567890"
    client.shutdown(socket.SHUT_WR)
    assert await server.recv(10, socket.MSG_WAITALL) == b"abc"


async def test_a_cancelled_waitall_puts_back_what_it_took(net):
    client, server = await net.connected()
    if net.kernel:
        pytest.skip("as above")
    waiting = asyncio.ensure_future(server.recv(10, socket.MSG_WAITALL))
    await client.send(b"12345")
    await net.settled()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await client.send(b"67")
    await net.settled()
    assert await server.recv(10) == b"1234567"


async def test_recv_into(net):
    client, server = await net.connected()
    await client.send(b"hello")
    buffer = bytearray(8)
    assert await server.recv_into(buffer, 2) == 2
    assert await server.recv_into(memoryview(buffer)[2:]) == 3
    assert bytes(buffer) == b"hello\0\0\0"


async def test_recvmsg_and_sendmsg(net):
    client, server = await net.connected()
    assert await client.sendmsg([b"a", b"bc", b"def"]) == 6
    data, ancillary, flags, address = await server.recvmsg(100)
    assert (data, ancillary, flags & ~socket.MSG_CMSG_CLOEXEC, address) == (b"abcdef", [], 0, None)
    assert await client.sendto(b"x", ("127.0.0.1", 9)) == 1 if net.kernel else True


async def test_recvmsg_tells_what_is_left(net):
    client, server = await net.connected()
    server.setsockopt(socket.IPPROTO_TCP, 36, 1)
    await client.send(b"hello")
    await net.settled()
    for size, left in ((2, 3), (3, 0)):
        _, ancillary, _, _ = await server.recvmsg(size, 100)
        assert ancillary == [(socket.IPPROTO_TCP, 36, struct.pack("i", left))]
    client.shutdown(socket.SHUT_WR)
    await net.settled()
    assert (await server.recvmsg(10, 100))[1] == [(socket.IPPROTO_TCP, 36, struct.pack("i", 1))]


async def test_more_is_coming(net):
    client, server = await net.connected()
    await client.send(b"one ", socket.MSG_MORE)
    await asyncio.sleep(0.05)
    assert not await server.poll(IN, 0)
    await client.send(b"two")
    assert await server.recv(100, 0) == b"one two"


async def test_cork(net):
    client, server = await net.connected()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    await client.send(b"one ")
    await client.send(b"two")
    await asyncio.sleep(0.05)
    assert not await server.poll(IN, 0)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    assert await server.recv(100) == b"one two"


async def test_flags_that_mean_nothing(net):
    client, _ = await net.connected()
    client.setblocking(False)
    with raises(errno.EINVAL if net.kernel else errno.EOPNOTSUPP):
        await client.recv(1, socket.MSG_OOB)


async def test_a_full_buffer(net):
    client, server = await net.connected()
    client.setblocking(False)
    sent = 0
    with pytest.raises(BlockingIOError):
        while True:
            sent += await client.send(bytes(1 << 16))
            await asyncio.sleep(0)
    assert not await client.poll(OUT, 0)
    received = 0
    while received < sent:
        received += len(await server.recv(1 << 20))
    assert received == sent
    assert await client.poll(OUT, 1) == OUT


async def test_much_data_both_ways(net):
    client, server = await net.connected()

    async def pump(sock, seed):
        await sock.sendall(bytes([seed]) * 3_000_000)
        sock.shutdown(socket.SHUT_WR)

    async def drain(sock):
        data = bytearray()
        while piece := await sock.recv(70_000):
            data += piece
        return bytes(data)

    results = await asyncio.gather(pump(client, 1), pump(server, 2), drain(client), drain(server))
    assert results[2] == b"\2" * 3_000_000
    assert results[3] == b"\1" * 3_000_000


async def test_poll_sees_a_connection_s_life(net):
    client, server = await net.connected()
    assert await server.poll(ALL, 0) == OUT
    await client.send(b"x")
    await net.settled()
    assert await server.poll(ALL, 0) == IN | OUT
    client.shutdown(socket.SHUT_WR)
    await net.settled()
    assert await server.poll(ALL, 0) == IN | OUT | RDHUP
    assert await client.poll(ALL, 0) == OUT
    await server.recv(10)
    assert await server.poll(ALL, 0) == IN | OUT | RDHUP
    server.shutdown(socket.SHUT_WR)
    await net.settled()
    assert await server.poll(ALL, 0) == IN | OUT | RDHUP | HUP
    assert await client.poll(ALL, 0) == IN | OUT | RDHUP | HUP


async def test_close_with_unread_data_resets(net):
    client, server = await net.connected()
    await client.send(b"never read")
    await net.settled()
    server.close()
    await net.settled()
    assert await client.poll(ALL, 0) == IN | OUT | RDHUP | HUP | ERR
    with raises(errno.ECONNRESET):
        await client.recv(10)
    assert await client.recv(10) == b""
    with raises(errno.EPIPE):
        await client.send(b"x")


async def test_linger_of_zero_resets(net):
    client, server = await net.connected()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    await net.settled()
    with raises(errno.ECONNRESET):
        await client.send(b"x")


async def test_what_came_before_a_reset_is_lost_or_read_first(net):
    client, server = await net.connected()
    await server.send(b"before")
    await net.settled()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    await net.settled()
    assert await client.recv(100) == b"before"
    with raises(errno.ECONNRESET):
        await client.recv(100)


async def test_an_orderly_close(net):
    client, server = await net.connected()
    await server.send(b"bye")
    server.close()
    assert await client.recv(100) == b"bye"
    assert await client.recv(100) == b""
    await client.send(b"to nobody")  # answered by RST
    await net.settled()
    with raises(errno.EPIPE):
        await client.send(b"x")


async def test_shutdown_of_reading(net):
    client, server = await net.connected()
    server.shutdown(socket.SHUT_RD)
    assert await server.recv(10) == b""
    await client.send(b"late")
    await net.settled()
    assert await server.recv(10) == b"late"
    assert await server.recv(10) == b""
    await server.send(b"answer")
    assert await client.recv(10) == b"answer"


async def test_data_for_a_socket_that_is_shut_down_is_refused(net):
    client, server = await net.connected()
    server.shutdown(socket.SHUT_RDWR)
    await net.settled()
    await client.send(b"to nobody")
    await net.settled()
    with raises(errno.EPIPE):
        await client.send(b"x")
    with raises(errno.ECONNRESET):
        await server.recv(10)
    assert await server.recv(10) == b""


async def test_the_accept_queue_is_bounded(net):
    listener = net.listener(backlog=1)
    clients = [net.socket() for _ in range(4)]
    for client in clients:
        client.setblocking(False)
        with raises(errno.EINPROGRESS):
            await client.connect(listener.getsockname())
    await asyncio.sleep(0.05)
    assert await listener.poll(ALL, 0) == IN
    accepted = []
    listener.setblocking(False)
    with raises(errno.EAGAIN):
        while True:
            accepted.append((await listener.accept())[0])
    assert len(accepted) == 2
    for sock in accepted:
        sock.close()


async def test_closing_a_listener_resets_what_waits(net):
    listener = net.listener()
    client = net.socket()
    await client.connect(listener.getsockname())
    await net.settled()
    listener.close()
    await net.settled()
    with raises(errno.ECONNRESET):
        await client.recv(10)


async def test_shutdown_ends_listening(net):
    listener = net.listener()
    client = net.socket()
    address = listener.getsockname()
    await client.connect(address)
    await net.settled()
    listener.shutdown(socket.SHUT_RD)
    with raises(errno.EINVAL):
        await listener.accept()
    await net.settled()
    with raises(errno.ECONNRESET):
        await client.recv(10)
    other = net.socket()
    with raises(errno.ECONNREFUSED):
        await other.connect(address)
    listener.listen(5)
    await other.connect(listener.getsockname())


async def test_options_are_inherited(net):
    listener = net.listener()
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 7))
    client = net.socket()
    await client.connect(listener.getsockname())
    server, peer = await listener.accept()
    assert peer == client.getsockname()
    assert server.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert server.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert server.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    assert server.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 7)
    assert not client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    server.close()
