"""Socket options of a live connection, in virtual time: what they change, when, and for whom."""

import asyncio
import errno
import socket

import pytest

from asyncstack import StackConfig, TcpConfig
from tests.transport.asyncio_contract.recorders import PausedReader, Recorder, reset

pytestmark = pytest.mark.virtual_time

TCP, SOCKET = socket.IPPROTO_TCP, socket.SOL_SOCKET


async def connect(network, server_protocol=Recorder, **settings):
    """(client, server, link): two protocols, connected."""
    config = StackConfig(tcp=TcpConfig(**settings))
    a = network.host("a", "10.0.0.1/24", config=config)
    b = network.host("b", "10.0.0.2/24", config=config)
    link = network.link(a, b, delay=0.1)
    accepted = []
    await b.create_server(lambda: accepted.append(server_protocol()) or accepted[-1], "b", 80)
    _, client = await a.create_connection(Recorder, "b", 80)
    await asyncio.sleep(1)
    return client, accepted[0], link


def socket_of(protocol):
    return protocol.transport.get_extra_info("socket")


async def test_defaults_are_the_stack_s(network):
    client, _, _ = await connect(network, keepalive=True, keepalive_idle=60.5, nodelay=False)
    sock = socket_of(client)
    assert sock.getsockopt(SOCKET, socket.SO_KEEPALIVE) == 1
    assert sock.getsockopt(TCP, socket.TCP_NODELAY) == 0
    assert sock.getsockopt(TCP, socket.TCP_KEEPIDLE) == 60
    assert sock.getsockopt(TCP, socket.TCP_KEEPINTVL) == 75
    assert sock.getsockopt(TCP, socket.TCP_KEEPCNT) == 9
    assert sock.getsockopt(SOCKET, socket.SO_RCVBUF) == 2 * TcpConfig().receive_buffer
    assert sock.getsockopt(SOCKET, socket.SO_SNDBUF) == 2 * TcpConfig().send_buffer


async def test_keepalive_finds_a_dead_peer(network):
    client, server, link = await connect(network)
    sock = socket_of(client)
    sock.setsockopt(SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(TCP, socket.TCP_KEEPIDLE, 30)
    sock.setsockopt(TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(TCP, socket.TCP_KEEPCNT, 3)
    await asyncio.sleep(300)
    assert client.callbacks == ["connection_made"]  # a peer that answers keeps it
    link.down()
    start = asyncio.get_running_loop().time()
    await until_lost(client)
    assert isinstance(client.lost, TimeoutError)
    assert client.lost.errno == errno.ETIMEDOUT
    assert 15 <= asyncio.get_running_loop().time() - start <= 30 + 15
    assert server.callbacks == ["connection_made"]  # whose own option is off


async def until_lost(protocol):
    while "connection_lost" not in protocol.callbacks:
        await asyncio.sleep(0.5)


async def test_without_keepalive_an_idle_connection_lasts(network):
    client, server, link = await connect(network)
    link.down()
    await asyncio.sleep(20_000)
    link.up()
    client.transport.write(b"still here")
    assert await server.received(10) == b"still here"


async def test_nodelay_off_is_nagle(network):
    client, server, _ = await connect(network)
    socket_of(client).setsockopt(TCP, socket.TCP_NODELAY, 0)
    for piece in (b"a", b"b", b"c"):
        client.transport.write(piece)
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert server.data == b"a"  # the others wait for its acknowledgement
    assert await server.received(3) == b"abc"


async def test_a_small_receive_buffer_holds_the_peer_back(network):
    client, server, _ = await connect(network, PausedReader)
    socket_of(server).setsockopt(SOCKET, socket.SO_RCVBUF, 20_000)
    before = server.transport._endpoint.connection.receiver.edge
    client.transport.write(bytes(3_000_000))
    await asyncio.sleep(10)
    receiver = server.transport._endpoint.connection.receiver
    # what was offered before is not taken back (RFC 9293 3.8.6)
    assert receiver.unread <= max(20_000, before - receiver.start)
    server.transport.resume_reading()
    await asyncio.sleep(1)
    before = len(server.data)
    await asyncio.sleep(1)
    assert 80_000 < len(server.data) - before <= 120_000  # a window each round trip of 0.2 s


async def test_a_small_send_buffer_pauses_the_writer_sooner(network):
    client, server, _ = await connect(network, PausedReader)
    socket_of(client).setsockopt(SOCKET, socket.SO_SNDBUF, 10_000)
    client.transport.set_write_buffer_limits(high=0)
    client.transport.write(bytes(20_000))
    assert client.callbacks[-1] == "pause_writing"
    assert client.transport.get_write_buffer_size() == 10_000
    server.transport.resume_reading()
    await client.called("resume_writing")


async def test_options_of_a_connection_that_has_ended(network):
    client, server, _ = await connect(network)
    reset(client.transport)
    await client.called("connection_lost")
    sock = socket_of(client)
    sock.setsockopt(TCP, socket.TCP_NODELAY, 0)
    assert sock.getsockopt(TCP, socket.TCP_NODELAY) == 0
    sock.setsockopt(SOCKET, socket.SO_KEEPALIVE, 1)
    await server.called("connection_lost")
    assert asyncio.get_running_loop().timers == 0
