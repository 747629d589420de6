"""Kernel sockets that programs make themselves, used on addresses of a stack: the same program, word for word."""

import asyncio
import errno
import os
import select
import socket
import ssl
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from asyncstack import SelectorEventLoop, Stack
from asyncstack.loop.relaying import _relay
from asyncstack.transport.sockets.stream import StreamSocket
from asyncstack.transport.tcp.state import ESTABLISHED
from asyncstack.transport.tcp.transport import TcpTransport
from tests.loop.where import everywhere, until
from tests.transport.asyncio_contract.recorders import Recorder


def stream():
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock


def listener():
    sock = stream()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(5)
    return sock


async def pair():
    loop = asyncio.get_running_loop()
    listening, client = listener(), stream()
    _, (server, _) = await asyncio.gather(
        loop.sock_connect(client, listening.getsockname()), loop.sock_accept(listening)
    )
    listening.close()
    return client, server


# programs


@everywhere
async def test_an_echo_server_and_its_client(stack):
    """As in the documentation of `loop.sock_accept`."""
    loop = asyncio.get_running_loop()

    async def echo(conn):
        with conn:
            while data := await loop.sock_recv(conn, 1000):
                await loop.sock_sendall(conn, data)

    async def serve(listening):
        while True:
            conn, address = await loop.sock_accept(listening)
            assert conn.gettimeout() == 0
            assert conn.getpeername() == address
            assert conn.getsockname() == listening.getsockname()
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tasks.append(asyncio.ensure_future(echo(conn)))

    tasks = []
    with listener() as listening:
        serving = asyncio.ensure_future(serve(listening))
        address = listening.getsockname()
        for number in range(3):
            with stream() as client:
                await loop.sock_connect(client, address)
                assert client.getpeername() == address
                await loop.sock_sendall(client, b"hello %d" % number)
                buffer = bytearray(100)
                assert await loop.sock_recv_into(client, buffer) == 7
                assert buffer[:7] == b"hello %d" % number
        await asyncio.gather(*tasks)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    if stack is not None:
        assert stack.counters["tcp.handshake_failed"] == 0


@everywhere
async def test_much_data_and_files(stack):
    loop = asyncio.get_running_loop()
    client, server = await pair()
    data = bytes(range(256)) * 8000

    async def receive():
        got = bytearray()
        while part := await loop.sock_recv(server, 65536):
            got += part
        return got

    receiving = asyncio.ensure_future(receive())
    await loop.sock_sendall(client, data)
    with tempfile.TemporaryFile() as file:
        file.write(data[:1000])
        file.flush()
        assert await loop.sock_sendfile(client, file, 10, 500) == 500
        assert file.tell() == 510
    client.close()
    assert await receiving == data + data[10:510]
    server.close()


@everywhere
async def test_datagrams(stack):
    loop = asyncio.get_running_loop()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for sock in (server, client):
        sock.setblocking(False)
    server.bind(("127.0.0.1", 0))
    waiting = asyncio.ensure_future(loop.sock_recvfrom(server, 100))
    await asyncio.sleep(0)
    assert await loop.sock_sendto(client, b"question", server.getsockname()) == 8
    data, address = await waiting
    assert data == b"question"
    assert address[1] == client.getsockname()[1]
    await loop.sock_sendto(server, b"answer", address)
    buffer = bytearray(10)
    assert await loop.sock_recvfrom_into(client, buffer) == (6, server.getsockname())
    await loop.sock_connect(client, server.getsockname())
    assert client.getpeername() == server.getsockname()
    await loop.sock_sendall(client, b"again")
    assert await loop.sock_recv(server, 100) == b"again"
    server.close()
    client.close()


@everywhere
async def test_calls_that_do_not_wait(stack):
    """What a program does with the socket itself, and how it hears when there is something to do."""
    loop = asyncio.get_running_loop()
    client, server = await pair()
    with pytest.raises(BlockingIOError):
        client.recv(10)
    readable = loop.create_future()
    loop.add_reader(client, lambda: readable.done() or readable.set_result(client.recv(10)))
    assert server.send(b"hello") == 5
    assert await readable == b"hello"
    loop.remove_reader(client)
    writable = loop.create_future()
    loop.add_writer(client.fileno(), lambda: writable.done() or writable.set_result(client.send(b"answer")))
    assert await writable == 6
    loop.remove_writer(client.fileno())
    await until(lambda: select.select([server], [], [], 0)[0])
    assert server.recv(10, socket.MSG_PEEK) == b"answer"
    view = bytearray(6)
    assert server.recv_into(view) == 6
    assert server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    assert (client.family, client.type) == (socket.AF_INET, socket.SOCK_STREAM)
    client.shutdown(socket.SHUT_WR)
    await until(lambda: select.select([server], [], [], 0)[0])
    assert server.recv(10) == b""
    with pytest.raises(BrokenPipeError):
        client.send(b"too late")
    for sock in (client, server):
        sock.close()
        assert sock.fileno() == -1
        with pytest.raises(OSError, match="Bad file descriptor"):
            sock.getpeername()
        sock.close()


@everywhere
async def test_errors_of_connecting(stack):
    loop = asyncio.get_running_loop()
    with stream() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()
    with stream() as client:
        with pytest.raises(ConnectionRefusedError):
            await loop.sock_connect(client, free)
        with pytest.raises(OSError) as caught:
            client.getpeername()
        assert caught.value.errno == errno.ENOTCONN
    client, server = await pair()
    with pytest.raises(OSError) as caught:
        for _ in range(2):  # the kernel lets the first pass that follows an EINPROGRESS
            await loop.sock_connect(client, server.getsockname())
    assert caught.value.errno == errno.EISCONN
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    server.close()
    with pytest.raises(ConnectionResetError):
        await loop.sock_recv(client, 10)
    client.close()


@everywhere
async def test_debug_mode_wants_sockets_that_do_not_block(stack):
    loop = asyncio.get_running_loop()
    listening = listener()
    with socket.socket() as client:
        loop.set_debug(True)
        with pytest.raises(ValueError, match="the socket must be non-blocking"):
            await loop.sock_connect(client, listening.getsockname())
    loop.set_debug(False)
    listening.close()


@everywhere
async def test_a_cancelled_call_takes_nothing(stack):
    loop = asyncio.get_running_loop()
    client, server = await pair()
    waiting = asyncio.ensure_future(loop.sock_recv(client, 10))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await loop.sock_sendall(server, b"kept")
    assert await loop.sock_recv(client, 10) == b"kept"
    client.close()
    server.close()


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


# the end


@everywhere
async def test_a_cancelled_connect(stack):
    loop = asyncio.get_running_loop()
    listening, client = listener(), stream()
    connecting = asyncio.ensure_future(loop.sock_connect(client, listening.getsockname()))
    await asyncio.sleep(0)
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)
    client.close()
    listening.close()


@everywhere
async def test_many_connections_that_end_in_every_way(stack):
    """`everywhere` looks for what they leave."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Recorder, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    with stream() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = probe.getsockname()

    async def closed():
        with stream() as sock:
            await loop.sock_connect(sock, address)

    async def detached_by_a_transport():
        sock = stream()
        await loop.sock_connect(sock, address)
        transport, protocol = await loop.create_connection(Recorder, sock=sock)
        transport.abort()
        await protocol.called("connection_lost")
        sock.close()

    async def refused():
        with stream() as sock, pytest.raises(ConnectionRefusedError):
            await loop.sock_connect(sock, nobody)

    async def cancelled():
        with stream() as sock, pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await loop.sock_connect(sock, address)
                await loop.sock_recv(sock, 1)

    async def not_tls():
        with stream() as sock:
            await loop.sock_connect(sock, address)
            with pytest.raises((ssl.SSLError, ConnectionError, TimeoutError)):
                async with asyncio.timeout(0.02):
                    await loop.create_connection(
                        Recorder, sock=sock, ssl=ssl.create_default_context(), server_hostname="x"
                    )

    async def polled():
        with stream() as sock:
            await loop.sock_connect(sock, address)
            assert sock.fileno() >= 0

    kinds = [closed, detached_by_a_transport, refused, cancelled, not_tls, polled]
    await asyncio.gather(*(kind() for kind in kinds * 20))
    server.close()


@everywhere(kernel=False)
async def test_a_socket_that_is_closed_while_a_transport_takes_it_over(stack):
    client, server = await pair()

    class Closing(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            client.close()

    transport, protocol = await asyncio.get_running_loop().create_connection(Closing, sock=client)
    transport.write(b"still there")
    assert await asyncio.get_running_loop().sock_recv(server, 100) == b"still there"
    transport.close()
    await protocol.called("connection_lost")
    server.close()


@everywhere(kernel=False)
async def test_a_server_that_can_not_listen(stack):
    loop = asyncio.get_running_loop()
    first, second = stack.socket(), stack.socket()
    for sock in (first, second):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 7))
    first.listen()
    with pytest.raises(OSError) as caught:
        await loop.create_server(Recorder, sock=second)
    assert caught.value.errno == errno.EADDRINUSE
    assert not stack.servers
    first.close()


@everywhere(kernel=False)
async def test_a_stack_that_closes_first(stack):
    loop = asyncio.get_running_loop()
    async with Stack() as other:
        with other.current():
            client, server = await pair()
            waiting = asyncio.ensure_future(loop.sock_recv(client, 10))
            await asyncio.sleep(0.01)
    with pytest.raises(OSError, match="Bad file descriptor"):
        await waiting
    with pytest.raises(OSError, match="Bad file descriptor"):
        await loop.sock_sendall(server, b"x")
    assert client.fileno() == -1
    client.close()
    server.close()


@everywhere(kernel=False)
@pytest.mark.parametrize("turns", range(10))
async def test_a_stack_that_closes_in_a_handshake(stack, certificate, turns):
    loop, trust = asyncio.get_running_loop(), ssl.create_default_context(cafile=certificate[0])
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(*certificate)
    async with Stack() as other:
        with other.current():
            server = await loop.create_server(Recorder, "127.0.0.1", 0, ssl=serving)
            port = server.sockets[0].getsockname()[1]
            call = loop.create_connection(Recorder, "127.0.0.1", port, ssl=trust, server_hostname="server")
            connecting = asyncio.ensure_future(call)
            for _ in range(turns):
                await asyncio.sleep(0)
    try:
        transport, protocol = await connecting
    except (OSError, RuntimeError):  # RuntimeError: it was closed before the call began
        return
    assert transport.is_closing()
    await protocol.called("connection_lost")


@everywhere
async def test_a_protocol_that_aborts_as_soon_as_it_is_secured(stack, certificate):
    loop, trust = asyncio.get_running_loop(), ssl.create_default_context(cafile=certificate[0])
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(*certificate)

    class Aborting(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.abort()

    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=serving)
    port = server.sockets[0].getsockname()[1]
    made, protocol = await loop.create_connection(
        Aborting, "127.0.0.1", port, ssl=trust, server_hostname="server"
    )
    assert made is protocol.transport
    await protocol.called("connection_lost")
    server.close()
    await asyncio.sleep(0.05)


@everywhere(kernel=False)
@pytest.mark.parametrize("turns", range(1, 12))
async def test_a_connection_for_a_thread_that_gives_up(stack, turns):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 7)
    ours, theirs = socket.socketpair()
    relaying = asyncio.ensure_future(_relay(loop, theirs, ("127.0.0.1", 7), None))
    for _ in range(turns):
        await asyncio.sleep(0)
    relaying.cancel()
    await asyncio.gather(relaying, return_exceptions=True)
    ours.close()
    server.close()
    await until(lambda: not [one for one in stack.connections() if one.state is ESTABLISHED])


@everywhere(kernel=False)
async def test_a_socket_that_is_dropped(stack):
    loop = asyncio.get_running_loop()
    client, server = await pair()
    assert len(loop.adoptions) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # who records the warning holds the socket
        del client
    await until(lambda: len(loop.adoptions) == 1)
    assert await loop.sock_recv(server, 10) == b""
    server.close()
    assert not loop.adoptions


@everywhere(kernel=False)
async def test_a_call_that_would_wait_on_a_blocking_socket(stack):
    client, server = await pair()
    client.setblocking(True)
    with pytest.raises(RuntimeError, match=r"recv\(\) would wait"):
        client.recv(10)
    for call in (client.dup, client.detach):
        with pytest.raises(OSError, match="belongs to a stack"):
            call()
    client.close()
    server.close()


@everywhere(kernel=False)
async def test_no_descriptor_until_asked(stack):
    client, server = await pair()
    _, protocol = await asyncio.get_running_loop().create_connection(Recorder, sock=client)
    before = len(os.listdir("/proc/self/fd"))
    assert client.fileno() > 0
    assert len(os.listdir("/proc/self/fd")) == before + 2
    assert client.fileno() == protocol.transport.get_extra_info("socket").fileno()
    server.close()
    await protocol.called("connection_lost")
    assert len(os.listdir("/proc/self/fd")) == before
    assert client.fileno() == -1
    client.close()
