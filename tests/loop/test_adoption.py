"""Sockets that programs make themselves and give to transports; and which are adopted by a stack."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from asyncstack import SelectorEventLoop, Stack
from asyncstack.transport.sockets.stream import StreamSocket
from asyncstack.transport.tcp.transport import TcpTransport
from tests.loop.sockets import listener, pair, stream
from tests.loop.where import everywhere, until
from tests.transport.asyncio_contract.recorders import Recorder

# given to a transport


@everywhere
async def test_connect_and_give_away(stack):
    """aiohttp's way (aiohappyeyeballs): `sock_connect`, then `create_connection(sock=)`."""
    loop = asyncio.get_running_loop()
    listening = listener()
    made = []
    server = await loop.create_server(lambda: made.append(Recorder()) or made[-1], sock=listening)
    assert listening.getsockname() == server.sockets[0].getsockname()
    client = stream()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77)
    await loop.sock_connect(client, listening.getsockname())
    transport, protocol = await loop.create_connection(Recorder, sock=client)
    assert isinstance(transport, TcpTransport) == (stack is not None)
    name = transport.get_extra_info("sockname")
    assert client.getsockname() == name
    assert client.getpeername() == transport.get_extra_info("peername") == listening.getsockname()
    for sock in (client, transport.get_extra_info("socket")):
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
    transport.write(b"hello")
    await until(lambda: made)
    assert await made[0].received(5) == b"hello"
    transport.close()
    await protocol.called("connection_lost")
    await made[0].called("connection_lost")
    server.close()
    await server.wait_closed()
    listening.close()
    client.close()


@everywhere
async def test_accept_and_give_away(stack):
    """anyio's way, and asyncssh's: `sock_accept`, then `connect_accepted_socket`."""
    loop = asyncio.get_running_loop()
    client, server = await pair()
    transport, protocol = await loop.connect_accepted_socket(Recorder, server)
    await loop.sock_sendall(client, b"hello")
    assert await protocol.received(5) == b"hello"
    transport.close()
    assert await loop.sock_recv(client, 5) == b""
    client.close()
    await protocol.called("connection_lost")


# which


@everywhere(kernel=False)
async def test_what_was_set_on_the_kernels_socket(stack):
    loop = asyncio.get_running_loop()
    listening = listener()
    client = stream()
    options = {
        (socket.IPPROTO_TCP, socket.TCP_NODELAY): 1,
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT): 12345,
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT): 3,
        (socket.SOL_SOCKET, socket.SO_REUSEPORT): 1,
        (socket.IPPROTO_IP, socket.IP_TTL): 9,
        (socket.IPPROTO_IP, socket.IP_TOS): 0x10,
    }
    for key, value in options.items():
        client.setsockopt(*key, value)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50000)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\5\0\0\0")
    accepting = asyncio.ensure_future(loop.sock_accept(listening))
    await loop.sock_connect(client, listening.getsockname())
    (await accepting)[0].close()
    ours = loop.adoptions.find(client)
    assert isinstance(ours, StreamSocket)
    for key, value in options.items():
        assert ours.getsockopt(*key) == value, key
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 100000
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == b"\1\0\0\0\5\0\0\0"
    assert ours.config.tune_send_buffer  # which nobody has set
    client.close()
    listening.close()


@everywhere(kernel=False)
async def test_a_bound_client_keeps_its_port(stack):
    loop = asyncio.get_running_loop()
    listening, client = listener(), stream()
    client.bind(("127.0.0.1", 0))
    name = client.getsockname()
    accepting = asyncio.ensure_future(loop.sock_accept(listening))
    await loop.sock_connect(client, listening.getsockname())
    conn, address = await accepting
    assert name == client.getsockname() == address
    for sock in (conn, client, listening):
        sock.close()


@everywhere
async def test_who_the_kernel_has_connected_before_is_accepted_first(stack):
    loop = asyncio.get_running_loop()
    with listener() as listening, socket.create_connection(listening.getsockname()) as early:
        early.sendall(b"early")
        conn, address = await loop.sock_accept(listening)
        with conn:
            assert (address, conn.gettimeout()) == (early.getsockname(), 0)
            assert await loop.sock_recv(conn, 100) == b"early"
        with stream() as late:
            (accepted, address), _ = await asyncio.gather(
                loop.sock_accept(listening), loop.sock_connect(late, listening.getsockname())
            )
            with accepted:
                assert address == late.getsockname()
                assert stack is None or isinstance(loop.adoptions.find(listening), StreamSocket)


@everywhere(kernel=False)
async def test_other_addresses_stay_the_kernels(stack):
    loop = asyncio.get_running_loop()
    loop.stacks.loopback = False
    client, server = await pair()
    assert type(client) is type(server) is socket.socket
    assert not loop.adoptions
    await loop.sock_sendall(client, b"hello")
    assert await loop.sock_recv(server, 5) == b"hello"
    client.close()
    server.close()


@everywhere(kernel=False)
async def test_any_address_is_the_current_stacks(stack):
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.bind(("", 0))
    port = sock.getsockname()[1]
    server = await loop.create_server(Recorder, sock=sock)
    assert len(stack.tcp.listeners) == 1
    transport, protocol = await loop.create_connection(Recorder, "127.0.0.1", port)
    transport.close()
    await protocol.called("connection_lost")
    server.close()
    await server.wait_closed()
    sock.close()


@everywhere(kernel=False, loops=("selector", "virtual"))  # uvloop has no sock_sendto
async def test_a_datagram_socket_that_spoke_to_the_kernel_stays_there(stack):
    loop = asyncio.get_running_loop()
    loop.stacks.loopback = False
    with socket.socket(type=socket.SOCK_DGRAM) as peer, socket.socket(type=socket.SOCK_DGRAM) as sock:
        peer.bind(("127.0.0.1", 0))
        peer.setblocking(False)
        sock.setblocking(False)
        await loop.sock_sendto(sock, b"question", peer.getsockname())
        _, address = await loop.sock_recvfrom(peer, 100)
        await loop.sock_sendto(peer, b"answer", address)
        assert (await loop.sock_recvfrom(sock, 100))[0] == b"answer"
    assert not loop.adoptions


@everywhere(kernel=False)
async def test_stacks_do_not_mix(stack):
    """Each of two stacks gets the sockets for its own address."""
    loop = asyncio.get_running_loop()
    async with Stack() as other:
        with stream() as client:
            with pytest.raises(ConnectionRefusedError):
                await loop.sock_connect(client, ("127.0.0.1", 9))
            assert loop.adoptions.stack_of(loop.adoptions.find(client)) is stack
        with other.current(), stream() as client:
            with pytest.raises(ConnectionRefusedError):
                await loop.sock_connect(client, ("127.0.0.1", 9))
            assert loop.adoptions.stack_of(loop.adoptions.find(client)) is other


@everywhere(kernel=False)
async def test_a_socket_of_another_loop(stack):
    client, server = await pair()

    async def use():
        loop = asyncio.get_running_loop()
        with pytest.raises(RuntimeError, match="another event loop"):
            await loop.sock_recv(client, 10)
        with pytest.raises(RuntimeError, match="another event loop"):
            await loop.create_connection(Recorder, sock=client)

    def another_loop():
        with asyncio.Runner(loop_factory=SelectorEventLoop) as runner:
            runner.run(use())

    with ThreadPoolExecutor(1) as thread:
        thread.submit(another_loop).result()
    client.close()
    server.close()


@everywhere(kernel=False)
async def test_a_class_of_the_librarys_own(stack):
    """Its objects stay what they are; the loop knows who stands in for them."""

    class Own(socket.socket):
        pass

    loop = asyncio.get_running_loop()
    listening, client = listener(), Own()
    client.setblocking(False)
    accepting = asyncio.ensure_future(loop.sock_accept(listening))
    await loop.sock_connect(client, listening.getsockname())
    conn, _ = await accepting
    assert type(client) is Own
    await loop.sock_sendall(conn, b"hello")
    assert await loop.sock_recv(client, 10) == b"hello"
    transport, protocol = await loop.create_connection(Recorder, sock=client)
    assert client.fileno() == -1
    transport.close()
    await protocol.called("connection_lost")
    conn.close()
    listening.close()
    del client


@everywhere(kernel=False)
async def test_sockets_of_the_stack_in_the_loops_calls(stack):
    loop = asyncio.get_running_loop()
    listening, client = stack.socket(), stack.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    for sock in (listening, client):
        sock.setblocking(False)
    accepting = asyncio.ensure_future(loop.sock_accept(listening))
    await loop.sock_connect(client, listening.getsockname())
    conn, address = await accepting
    assert isinstance(conn, StreamSocket)
    assert address == client.getsockname()
    waiting = asyncio.ensure_future(loop.sock_recv(conn, 10))
    await loop.sock_sendall(client, b"hello")
    assert await waiting == b"hello"
    datagrams = stack.socket(type=socket.SOCK_DGRAM), stack.socket(type=socket.SOCK_DGRAM)
    datagrams[0].bind(("127.0.0.1", 0))
    await loop.sock_sendto(datagrams[1], b"question", datagrams[0].getsockname())
    data, address = await loop.sock_recvfrom(datagrams[0], 100)
    assert (data, address[1]) == (b"question", datagrams[1].getsockname()[1])
    for sock in (listening, client, conn, *datagrams):
        sock.close()


@everywhere
async def test_a_datagram_socket_that_the_kernel_has_connected(stack):
    """To connect one sends nothing, so the loop can take it over afterwards."""
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(Echo, ("127.0.0.1", 0))
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.connect(server.get_extra_info("sockname"))
    transport, protocol = await loop.create_datagram_endpoint(Echo, sock=sock)
    transport.sendto(b"question")
    await until(lambda: protocol.received)
    assert protocol.received == [b"echo question"]
    assert transport.get_extra_info("peername") == server.get_extra_info("sockname")
    server.close()
    transport.close()
    await asyncio.sleep(0.01)
    sock.close()


class Echo(asyncio.DatagramProtocol):
    def __init__(self):
        self.received = []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.received.append(data)
        if not data.startswith(b"echo"):
            self.transport.sendto(b"echo " + data, addr)
