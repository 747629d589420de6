"""A socket that is given to asyncio as `sock=`: its connection or port changes hands, and nothing is lost.

Each test runs on the kernel's sockets too: `make(stack)` gives one of either kind.
"""

import asyncio
import socket
import ssl

import pytest

from tests.loop.where import everywhere, until
from tests.transport.asyncio_contract.recorders import Recorder


def make(stack, kind=socket.SOCK_STREAM):
    if stack is None:
        sock = socket.socket(socket.AF_INET, kind)
        sock.setblocking(False)
        return sock
    return stack.socket(socket.AF_INET, kind)


async def accept(stack, listener):
    if stack is not None:
        return (await listener.accept())[0]
    return (await asyncio.get_running_loop().sock_accept(listener))[0]


async def connect(stack, sock, address):
    await (sock.connect(address) if stack else asyncio.get_running_loop().sock_connect(sock, address))


async def send(stack, sock, data):
    await (sock.sendall(data) if stack else asyncio.get_running_loop().sock_sendall(sock, data))


async def recv(stack, sock, size):
    return await (sock.recv(size) if stack else asyncio.get_running_loop().sock_recv(sock, size))


def listener(stack):
    sock = make(stack)
    sock.bind(("127.0.0.1", 0))
    sock.listen(5)
    return sock


async def pair(stack):
    """(client, server), connected."""
    listening = listener(stack)
    client = make(stack)
    await connect(stack, client, listening.getsockname())
    server = await accept(stack, listening)
    listening.close()
    return client, server


def calls(stack):
    """Whose `create_connection` and so on: the loop's in any case; it finds the stack of the socket."""
    return asyncio.get_running_loop()


@everywhere
async def test_a_connection_and_what_it_has_received(stack):
    client, server = await pair(stack)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    names = client.getsockname(), client.getpeername()
    await send(stack, server, b"before")
    await asyncio.sleep(0.01)
    transport, protocol = await calls(stack).create_connection(Recorder, sock=client)
    assert await protocol.received(6) == b"before"
    await send(stack, server, b"after")
    assert await protocol.received(11) == b"beforeafter"
    transport.write(b"answer")
    assert await recv(stack, server, 100) == b"answer"
    info = transport.get_extra_info
    assert (info("sockname"), info("peername")) == names
    assert info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    if stack is not None:  # asyncio does that where it has made the socket itself, uvloop always
        assert info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    server.close()
    await protocol.called("connection_lost")
    assert protocol.lost is None
    client.close()


@everywhere
async def test_the_end_of_the_stream_is_told(stack):
    """Data and FIN came before anybody gave the socket away."""
    client, server = await pair(stack)
    await send(stack, server, b"last words")
    server.shutdown(socket.SHUT_WR)
    await asyncio.sleep(0.01)
    _, protocol = await calls(stack).create_connection(Recorder, sock=client)
    await protocol.called("connection_lost")
    assert bytes(protocol.data) == b"last words"
    assert protocol.outline == ["connection_made", "data_received", "eof_received", "connection_lost"]
    server.close()


@everywhere
async def test_a_half_that_was_shut_stays_shut(stack):
    client, server = await pair(stack)
    client.shutdown(socket.SHUT_WR)
    await send(stack, server, b"data")
    server.close()
    await asyncio.sleep(0.01)
    _, protocol = await calls(stack).create_connection(Recorder, sock=client)
    await protocol.called("connection_lost")
    assert bytes(protocol.data) == b"data"
    assert protocol.lost is None


@everywhere
async def test_a_reset_that_nobody_was_told(stack):
    client, server = await pair(stack)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    server.close()
    await asyncio.sleep(0.01)
    _, protocol = await calls(stack).create_connection(Recorder, sock=client)
    await protocol.called("connection_lost")
    assert isinstance(protocol.lost, ConnectionResetError)


@everywhere
async def test_an_accepted_connection(stack):
    client, server = await pair(stack)
    await send(stack, client, b"hello")
    transport, protocol = await calls(stack).connect_accepted_socket(Recorder, sock=server)
    assert await protocol.received(5) == b"hello"
    transport.close()
    assert await recv(stack, client, 10) == b""
    await protocol.called("connection_lost")
    client.close()


@everywhere
async def test_tls_on_both_sides(stack, certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    trust = ssl.create_default_context(cafile=certificate[0])
    client, server = await pair(stack)
    (near, protocol), (far, other) = await asyncio.gather(
        calls(stack).create_connection(Recorder, sock=client, ssl=trust, server_hostname="server"),
        calls(stack).connect_accepted_socket(Recorder, sock=server, ssl=context),
    )
    near.write(b"secret")
    assert await other.received(6) == b"secret"
    far.write(b"answer")
    assert await protocol.received(6) == b"answer"
    near.close()
    await protocol.called("connection_lost")
    await other.called("connection_lost")


@everywhere
async def test_a_handshake_that_fails_closes_the_socket(stack, certificate):
    client, server = await pair(stack)
    await send(stack, server, b"this is not TLS\r\n")
    trust = ssl.create_default_context(cafile=certificate[0])
    with pytest.raises(ssl.SSLError):
        await calls(stack).create_connection(Recorder, sock=client, ssl=trust, server_hostname="server")
    with pytest.raises(ConnectionResetError):
        while await recv(stack, server, 1000):
            pass
        raise ConnectionResetError  # the kernel's close may come with FIN
    server.close()


@everywhere(kernel=False)
async def test_tls_that_can_not_begin_ends_the_connection(stack, certificate):
    client, server = await pair(stack)
    trust = ssl.create_default_context(cafile=certificate[0])
    with pytest.raises(ValueError, match="should be a positive number"):
        await calls(stack).create_connection(
            Recorder, sock=client, ssl=trust, server_hostname="server", ssl_handshake_timeout=0
        )
    with pytest.raises(ConnectionResetError):
        await recv(stack, server, 1000)
    server.close()
    assert not stack.tcp.connections


@everywhere(kernel=False)
@pytest.mark.parametrize("with_socket", [True, False])
async def test_a_server_whose_making_is_cancelled_listens_no_more(stack, with_socket):
    where = {"sock": listener(stack)} if with_socket else {"host": "127.0.0.1", "port": 7}
    making = asyncio.ensure_future(stack.create_server(Recorder, **where))
    while not stack.servers:
        await asyncio.sleep(0)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert not stack.servers


@everywhere
async def test_a_server_on_a_bound_socket(stack):
    sock = make(stack)
    sock.bind(("127.0.0.1", 0))
    address = sock.getsockname()
    made = []
    server = await calls(stack).create_server(lambda: made.append(Recorder()) or made[-1], sock=sock)
    assert server.sockets[0].getsockname() == address
    client = make(stack)
    await connect(stack, client, address)
    await send(stack, client, b"hello")
    await until(lambda: made)
    assert await made[0].received(5) == b"hello"
    if stack is not None:  # asyncio does it for the kernel's only if their protocol is named
        accepted = made[0].transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    client.close()
    await made[0].called("connection_lost")
    server.close()
    await server.wait_closed()
    other = make(stack)
    with pytest.raises(ConnectionRefusedError):
        await connect(stack, other, address)
    other.close()


@everywhere
async def test_a_server_takes_what_waits_to_be_accepted(stack):
    sock = listener(stack)
    clients = [make(stack) for _ in range(3)]
    for number, client in enumerate(clients):
        await connect(stack, client, sock.getsockname())
        await send(stack, client, b"%d" % number)
    clients[0].shutdown(socket.SHUT_WR)
    await asyncio.sleep(0.01)
    made = []
    server = await calls(stack).create_server(
        lambda: made.append(Recorder()) or made[-1], sock=sock, start_serving=False
    )
    await asyncio.sleep(0.01)
    assert made == []
    await server.start_serving()
    await until(lambda: len(made) == 3)
    for one in made:
        await one.received(1)
    assert [bytes(one.data) for one in made] == [b"0", b"1", b"2"]
    await made[0].called("eof_received")
    server.close()
    for client in clients:
        client.close()
    for one in made:
        await one.called("connection_lost")


@everywhere
async def test_sockets_of_the_wrong_kind(stack):
    loop, datagram = asyncio.get_running_loop(), make(stack, socket.SOCK_DGRAM)
    for call in (loop.create_connection, loop.create_server, loop.connect_accepted_socket):
        with pytest.raises(ValueError, match="A Stream Socket was expected"):
            await call(Recorder, sock=datagram)
    datagram.close()
    stream = make(stack)
    with pytest.raises(ValueError, match="host/port and sock can not be specified at the same time"):
        await loop.create_connection(Recorder, "127.0.0.1", 7, sock=stream)
    with pytest.raises(ValueError, match="host/port and sock can not be specified at the same time"):
        await loop.create_server(Recorder, "127.0.0.1", 7, sock=stream)
    for arguments in ({"server_hostname": "x"}, {"ssl_handshake_timeout": 1.0}):
        with pytest.raises(ValueError, match="only meaningful with ssl"):
            await loop.create_connection(Recorder, sock=stream, **arguments)
    with pytest.raises(ValueError, match="server_hostname when using ssl without a host"):
        await loop.create_connection(Recorder, sock=stream, ssl=True)
    stream.close()


@everywhere(kernel=False)
async def test_a_socket_that_is_not_connected(stack):
    """The kernel's is closed by the loop later, with no word to who called."""
    sock = make(stack)
    with pytest.raises(OSError, match="not connected"):
        await asyncio.get_running_loop().create_connection(Recorder, sock=sock)
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        await asyncio.get_running_loop().create_connection(Recorder, sock=sock)


@everywhere(kernel=False)
async def test_a_socket_of_another_stack(stack):
    from asyncstack import Stack

    async with Stack() as other:
        sock = other.socket()
        with pytest.raises(ValueError, match="another stack"):
            await stack.create_connection(Recorder, sock=sock)
        with pytest.raises(ValueError, match="another stack"):
            await stack.create_server(Recorder, sock=sock)
        sock.close()
