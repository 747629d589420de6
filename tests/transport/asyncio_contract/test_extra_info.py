"""get_extra_info(): addresses, the socket and its options."""

import errno
import socket

import pytest

from asyncstack import TcpInfo
from tests.transport.asyncio_contract.media import OURS, contract
from tests.transport.asyncio_contract.recorders import Datagrams


@contract
async def test_names_of_both_ends(net):
    client, server = await net.pair()
    near, far = client.transport.get_extra_info, server.transport.get_extra_info
    assert near("sockname") == far("peername")
    assert near("peername") == far("sockname")
    assert near("peername")[0] == net.host
    assert near("sockname")[0] == net.client_host
    assert 1024 <= near("sockname")[1] <= 65535
    assert near("no such thing") is None
    assert near("no such thing", "default") == "default"


@contract
async def test_names_stay_after_the_end(net):
    client, server = await net.pair()
    peer = client.transport.get_extra_info("peername")
    server.transport.abort()
    client.transport.abort()
    await client.called("connection_lost")
    await server.called("connection_lost")
    assert client.transport.get_extra_info("peername") == peer
    assert client.transport.get_extra_info("socket") is not None


@contract
async def test_the_socket(net):
    client, _ = await net.pair()
    sock = client.transport.get_extra_info("socket")
    assert sock.family == socket.AF_INET
    assert sock.type == socket.SOCK_STREAM
    assert sock.proto in (0, socket.IPPROTO_TCP)
    assert sock.getsockname() == client.transport.get_extra_info("sockname")
    assert sock.getpeername() == client.transport.get_extra_info("peername")
    assert sock.gettimeout() == 0
    sock.setblocking(False)
    sock.settimeout(0)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


OPTIONS = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 0),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


@contract
async def test_options(net):
    client, server = await net.pair()
    sock = client.transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # asyncio's default
    for level, option, value in OPTIONS:
        sock.setsockopt(level, option, value)
        assert client.transport.get_extra_info("socket").getsockopt(level, option) == value
        packed = sock.getsockopt(level, option, 4)
        assert int.from_bytes(packed, "little") == value
        sock.setsockopt(level, option, packed)
    other = server.transport.get_extra_info("socket")
    assert other.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0  # of this connection alone
    client.transport.write(b"fine")
    assert await server.received(4) == b"fine"


@contract
async def test_buffer_sizes_can_be_set(net):
    client, _ = await net.pair()
    sock = client.transport.get_extra_info("socket")
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, 50_000)
        assert sock.getsockopt(socket.SOL_SOCKET, option) >= 50_000


@contract
async def test_unknown_options_have_the_kernel_s_errno(net):
    client, _ = await net.pair()
    sock = client.transport.get_extra_info("socket")
    with pytest.raises(OSError) as caught:
        sock.getsockopt(socket.IPPROTO_TCP, 9999)
    assert caught.value.errno == errno.ENOPROTOOPT
    with pytest.raises(OSError) as caught:
        sock.setsockopt(socket.IPPROTO_TCP, 9999, 1)
    assert caught.value.errno == errno.ENOPROTOOPT


@contract
@pytest.mark.parametrize(
    ("option", "value"),
    [
        (socket.TCP_KEEPIDLE, 0),
        (socket.TCP_KEEPIDLE, -1),
        (socket.TCP_KEEPINTVL, 0),
        (socket.TCP_KEEPCNT, 0),
        (socket.TCP_KEEPCNT, 1000),
    ],
)
async def test_bad_values_are_refused(net, option, value):
    client, _ = await net.pair()
    with pytest.raises(OSError) as caught:
        client.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, option, value)
    assert caught.value.errno == errno.EINVAL


@contract(media=OURS)
async def test_bytes_go_through_the_transport_only(net):
    # (asyncio's TransportSocket has no such methods at all)
    client, _ = await net.pair()
    sock = client.transport.get_extra_info("socket")
    for name in ("recv", "send", "sendall", "accept", "connect", "bind", "listen", "detach", "dup"):
        with pytest.raises(OSError, match="use the transport") as caught:
            getattr(sock, name)(b"x")
        assert caught.value.errno == errno.EOPNOTSUPP


@contract(media=OURS)
async def test_tcp_info(net):
    client, _ = await net.pair()
    info = client.transport.get_extra_info("tcp_info")
    assert isinstance(info, TcpInfo)
    assert info.state.value == "ESTABLISHED"


@contract
async def test_sockets_of_a_server(net):
    server, port, _ = await net.serve()
    (sock,) = server.sockets
    assert sock.getsockname() == (net.host, port)
    assert sock.family == socket.AF_INET
    assert sock.type == socket.SOCK_STREAM
    with pytest.raises(OSError) as caught:
        sock.getpeername()
    assert caught.value.errno == errno.ENOTCONN


@contract
async def test_the_socket_of_a_datagram_endpoint(net):
    transport, _ = await net.server.create_datagram_endpoint(Datagrams, (net.host, 0))
    port = transport.get_extra_info("sockname")[1]
    connected, _ = await net.client.create_datagram_endpoint(Datagrams, remote_addr=(net.host, port))
    sock = transport.get_extra_info("socket")
    assert (sock.family, sock.type) == (socket.AF_INET, socket.SOCK_DGRAM)
    assert sock.getsockname() == (net.host, port)
    assert port
    assert transport.get_extra_info("peername") is None
    with pytest.raises(OSError) as caught:
        sock.getpeername()
    assert caught.value.errno == errno.ENOTCONN
    assert connected.get_extra_info("peername") == (net.host, port)
    assert connected.get_extra_info("socket").getpeername() == (net.host, port)
    assert connected.get_extra_info("sockname")[0] == net.client_host
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) == 0
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) == 1
    transport.abort()
    connected.abort()
    await net.quiet()
