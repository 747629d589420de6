"""Every option against the kernel's: the same value set gives the same value back, or the same error."""

import asyncio
import errno
import socket
import struct

import pytest

from asyncstack import Stack
from asyncstack.transport.options import COMMON
from asyncstack.transport.tcp.linux_info import LAYOUT, SIZE
from asyncstack.transport.tcp.options import TCP_OPTIONS
from asyncstack.transport.udp.options import UDP_OPTIONS
from tests.transport.sockets.conftest import Net

SOL, TCP, IP, IPV6 = socket.SOL_SOCKET, socket.IPPROTO_TCP, socket.IPPROTO_IP, socket.IPPROTO_IPV6
FLAG = [0, 1, 2, -1, struct.pack("i", 1), struct.pack("i", 0) + b"more", b"\1", b""]
INTS = [0, 1, 5, 88, 1000, 5000, 32767, 32768, 70000, -1]
LINGER = [struct.pack("ii", 1, 5), struct.pack("ii", 0, 5), struct.pack("ii", 7, 0), b"abc", 1]

# (level, name) -> values to set, one after the other
VALUES = {
    (SOL, socket.SO_REUSEADDR): FLAG,
    (SOL, socket.SO_REUSEPORT): FLAG,
    (SOL, socket.SO_BROADCAST): FLAG,
    (SOL, socket.SO_PRIORITY): [0, 3, 6],
    (SOL, socket.SO_RCVLOWAT): [0, 1, 100],
    (SOL, socket.SO_KEEPALIVE): FLAG,
    (SOL, socket.SO_LINGER): LINGER,
    (SOL, socket.SO_RCVBUF): [0, 1, 1000, 5000, 100_000],
    (SOL, socket.SO_SNDBUF): [0, 1, 1000, 5000, 100_000],
    (SOL, socket.SO_TYPE): [1],
    (SOL, socket.SO_PROTOCOL): [1],
    (SOL, socket.SO_DOMAIN): [1],
    (SOL, socket.SO_ACCEPTCONN): [1],
    (SOL, socket.SO_ERROR): [1],
    (TCP, socket.TCP_NODELAY): FLAG,
    (TCP, socket.TCP_CORK): FLAG,
    (TCP, socket.TCP_QUICKACK): [0, 1],
    (TCP, socket.TCP_USER_TIMEOUT): [0, 1, 5000, 123_456, -1],
    (TCP, socket.TCP_NOTSENT_LOWAT): [0, 1, 16384],
    (TCP, socket.TCP_MAXSEG): [0, 87, 88, 1000, 32767, 32768, -1],
    (TCP, socket.TCP_CONGESTION): [b"reno", b"cubic", b"no such", b"reno\0rest"],
    (TCP, socket.TCP_DEFER_ACCEPT): [0, 1, 2, 3, 5, 8, 60],
    (TCP, socket.TCP_SYNCNT): [0, 1, 3, 127, 128, -1],
    (TCP, socket.TCP_LINGER2): [5, 120, 121, 1000, -1, -5],
    (TCP, socket.TCP_WINDOW_CLAMP): [1, 5000, 100_000],
    (TCP, socket.TCP_KEEPIDLE): INTS,
    (TCP, socket.TCP_KEEPINTVL): INTS,
    (TCP, socket.TCP_KEEPCNT): [0, 1, 127, 128, -1],
    (TCP, socket.TCP_FASTOPEN): [0, 5, 1],
    (TCP, 30): [0, 1, 2, -1, 0],  # TCP_FASTOPEN_CONNECT
    (TCP, 34): [0, 1, 2],  # TCP_FASTOPEN_NO_COOKIE
    (TCP, 36): [0, 1, 2, -1],  # TCP_INQ
    (TCP, 9999): [1],
    (SOL, 9999): [1],
    (IP, 9999): [1],
    (IP, socket.IP_TTL): [1, 64, 255, 256, 0, -1],
    (IP, socket.IP_TOS): [0, 1, 0x10, 0x2F, 0xFF, 300, b"\x08"],
}
DATAGRAM = {
    (SOL, socket.SO_RCVBUF): [0, 1, 1000, 5000, 100_000],
    (SOL, socket.SO_SNDBUF): [0, 1, 1000, 5000, 100_000],
    (SOL, socket.SO_BROADCAST): FLAG,
    (TCP, socket.TCP_NODELAY): [1],
    (IP, socket.IP_TTL): [1, 64, 255, 256, 0, -1],
    (IP, socket.IP_TOS): [0, 1, 0x10, 0x2F, 0xFF, b"\x08"],
    (IP, 8): FLAG,
    (IP, 12): FLAG,
    (IP, 13): FLAG,
    (IP, 20): FLAG,  # IP_RECVORIGDSTADDR
}
SIX = {
    (IPV6, socket.IPV6_V6ONLY): FLAG,
    (IPV6, socket.IPV6_UNICAST_HOPS): [1, 64, 255, 256, -1],
    (IPV6, socket.IPV6_TCLASS): [0, 0x10, 0x2F, 255, 256, -1, -2],
    (IPV6, socket.IPV6_RECVPKTINFO): FLAG,
    (IPV6, socket.IPV6_RECVHOPLIMIT): FLAG,
    (IPV6, socket.IPV6_RECVTCLASS): FLAG,
}
ORIGINAL = {(IPV6, 74): FLAG, (IPV6, 11): FLAG}  # IPV6_RECVORIGDSTADDR, IPV6_FLOWINFO
IN_ADDR, NOBODY_S = socket.inet_aton("127.0.0.1"), socket.inet_aton("192.0.2.77")
GROUP4, GROUP6 = socket.inet_aton("239.7.7.7"), socket.inet_pton(socket.AF_INET6, "ff05::777")
MULTICAST = {
    (IP, socket.IP_MULTICAST_TTL): [0, 1, 64, 255, 256, -1, -2, b"\x08", b"", struct.pack("i", 3)],
    (IP, socket.IP_MULTICAST_LOOP): FLAG,
    (IP, 49): [0, 1, 2, -1, b"", b"\0", struct.pack("i", 1)],  # IP_MULTICAST_ALL
    (IP, socket.IP_MULTICAST_IF): [
        *(IN_ADDR, bytes(4), NOBODY_S, b"abc", b"", 0),
        *(GROUP4 + IN_ADDR, GROUP4 + IN_ADDR + bytes(4), bytes(8) + struct.pack("i", 1)),
        *(bytes(8) + struct.pack("i", 9999), bytes(12)),
    ],
    (IP, socket.IP_ADD_MEMBERSHIP): [
        *(GROUP4, GROUP4 + IN_ADDR, GROUP4 + IN_ADDR, IN_ADDR + IN_ADDR, GROUP4 + NOBODY_S),
        *(GROUP4 + bytes(4) + struct.pack("i", 1), GROUP4 + bytes(4) + struct.pack("i", 9999), b"", 5),
    ],
    (IP, socket.IP_DROP_MEMBERSHIP): [GROUP4, GROUP4 + IN_ADDR, IN_ADDR + IN_ADDR, b""],
}
MULTICAST6 = {
    (IPV6, socket.IPV6_MULTICAST_HOPS): [0, 1, 64, 255, 256, -1, -2, b"\x08", struct.pack("i", 3)],
    (IPV6, socket.IPV6_MULTICAST_LOOP): [0, 1, 2, -1, b"", b"\0", struct.pack("i", 1)],
    (IPV6, 29): [0, 1, 2, b"", struct.pack("i", 1)],  # IPV6_MULTICAST_ALL
    (IPV6, socket.IPV6_MULTICAST_IF): [1, 9999, 0, -1, b"", b"abc"],
    (IPV6, socket.IPV6_JOIN_GROUP): [
        *(GROUP6, GROUP6 + struct.pack("i", 1), GROUP6 + struct.pack("i", 1), GROUP6 + bytes(4)),
        *(bytes(16) + struct.pack("i", 1), GROUP6 + struct.pack("i", 9999), b"", 5),
    ],
    (IPV6, socket.IPV6_LEAVE_GROUP): [
        *(GROUP6, GROUP6 + struct.pack("i", 1), GROUP6 + struct.pack("i", 9999), bytes(20), b""),
    ],
}
# bytes of an option are the kernel's only where they are an int or a structure that we have whole
CASES = [
    *((socket.AF_INET, socket.SOCK_STREAM, option, values) for option, values in VALUES.items()),
    *((socket.AF_INET, socket.SOCK_DGRAM, option, values) for option, values in DATAGRAM.items()),
    *((socket.AF_INET6, socket.SOCK_STREAM, option, values) for option, values in SIX.items()),
    *((socket.AF_INET6, socket.SOCK_DGRAM, option, values) for option, values in SIX.items()),
    *((socket.AF_INET, socket.SOCK_DGRAM, option, values) for option, values in MULTICAST.items()),
    *((socket.AF_INET6, socket.SOCK_DGRAM, option, values) for option, values in MULTICAST.items()),
    *((socket.AF_INET6, socket.SOCK_DGRAM, option, values) for option, values in MULTICAST6.items()),
    *((socket.AF_INET6, socket.SOCK_DGRAM, option, values) for option, values in ORIGINAL.items()),
    *((socket.AF_INET, socket.SOCK_STREAM, option, values) for option, values in SIX.items()),
]


def outcome(call, *args):
    try:
        return call(*args)
    except OSError as exc:
        return errno.errorcode.get(exc.errno, exc.errno)


def exchange(sock, option, values, told=()):
    """What a socket answers to `values`, read in several ways after each."""
    results = []
    for value in values:
        results.append((value, outcome(sock.setsockopt, *option, value)))
        if results[-1][1] is None or value == values[-1]:
            reads = [
                outcome(sock.getsockopt, *option),
                *(outcome(sock.getsockopt, *option, n) for n in (2, 4, 8, 16)),
            ]
            results.append(("then", reads))
    return results


@pytest.mark.parametrize(("family", "kind", "option", "values"), CASES, ids=str)
async def test_the_same_as_the_kernel_s(family, kind, option, values):
    with socket.socket(family, kind) as kernel:
        expected = exchange(kernel, option, values)
    async with Stack() as stack:
        assert exchange(stack.socket(family, kind), option, values) == expected


CONNECTED = {
    option: values
    for option, values in VALUES.items()
    if option not in [(TCP, socket.TCP_DEFER_ACCEPT), (TCP, socket.TCP_MAXSEG), (TCP, socket.TCP_QUICKACK)]
}


@pytest.mark.parametrize(("option", "values"), CONNECTED.items(), ids=str)
async def test_the_same_on_a_connection(option, values):
    answers = []
    for stack in (None, Stack()):
        net = Net(stack)
        _, server = await net.connected()
        answers.append(exchange(server, option, values))
        for sock in net.made:
            sock.close()
        if stack is not None:
            await stack.close()
    assert answers[1] == answers[0]


async def test_every_option_is_compared():
    ours = {*COMMON, *TCP_OPTIONS, *UDP_OPTIONS}
    compared = {*VALUES, *DATAGRAM, *SIX, *MULTICAST, *MULTICAST6, *ORIGINAL}
    tested_elsewhere = {
        (TCP, socket.TCP_INFO),
        (SOL, socket.SO_MARK),  # the kernel asks for a privilege
        (SOL, socket.SO_OOBINLINE),  # always on here, by default off there
        (SOL, 47),  # SO_MAX_PACING_RATE
        (TCP, 33),  # TCP_FASTOPEN_KEY
        (IP, 14),  # IP_MTU
        (IPV6, 24),
        *((level, number) for level in (IP, IPV6) for number in range(37, 49)),  # test_sources
    }
    assert {option for option in ours - compared if option not in tested_elsewhere} == set()


async def test_the_mtu(net):
    client, _ = await net.connected()
    assert client.getsockopt(IP, 14) >= 65535
    with pytest.raises(OSError, match="not connected") as caught:
        net.socket().getsockopt(IP, 14)
    assert caught.value.errno == errno.ENOTCONN


async def test_tcp_info_has_linux_s_layout(net):
    client, server = await net.connected()
    await client.sendall(b"x" * 5000)
    got = 0
    while got < 5000:
        got += len(await server.recv(5000))
    server.shutdown(socket.SHUT_WR)
    assert await client.recv(1) == b""
    info = client.getsockopt(TCP, socket.TCP_INFO, 512)
    assert len(info) >= 232
    fields = LAYOUT.unpack(info.ljust(SIZE, b"\0")[:SIZE])
    assert fields[0] == 8  # TCP_CLOSE_WAIT
    assert fields[5] & 7 == 7  # timestamps, SACK, window scaling
    assert fields[8 + 2] > 1000  # snd_mss
    assert fields[8 + 15] < 1_000_000  # rtt, microseconds
    assert fields[8 + 18] >= 2  # snd_cwnd
    rates_and_bytes = fields[32:36]
    assert rates_and_bytes[2] in (5000, 5001)  # bytes_acked; Linux counts the SYN
    delivery = fields[42:]
    assert delivery[1] < 5_000_000  # busy_time, microseconds
    assert delivery[6] == 5000  # bytes_sent
    assert client.getsockopt(TCP, socket.TCP_INFO, 20) == client.getsockopt(TCP, socket.TCP_INFO, 512)[:20]


async def test_the_congestion_controller_is_swapped(net):
    client, _ = await net.connected()
    assert client.getsockopt(TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") in (b"cubic", b"bbr")
    client.setsockopt(TCP, socket.TCP_CONGESTION, b"reno")
    assert client.getsockopt(TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") == b"reno"
    if not net.kernel:
        assert client.endpoint.connection.sender.congestion.name == "reno"


async def test_unsupported_options_of_streams_and_datagrams(net):
    for sock in (net.socket(), net.socket(kind=socket.SOCK_DGRAM)):
        assert outcome(sock.getsockopt, SOL, 9999) == "ENOPROTOOPT"
        assert (
            outcome(sock.getsockopt, 77, 1) == outcome(sock.getsockopt, IPV6, socket.IPV6_V6ONLY) == "ENOTSUP"
        )


@pytest.mark.virtual_time
async def test_packets_are_marked(network):
    a, b = network.host("a", "10.0.0.1/24", "fd00::1/64"), network.host("b", "10.0.0.2/24", "fd00::2/64")
    network.link(a, b)
    seen = []
    receive = b.tcp.receive

    async def look(packet):
        seen.append((packet.tos, packet.ttl))
        await receive(packet)

    b.tcp.receive = look
    listener = b.socket(socket.AF_INET6)
    listener.bind(("::", 80))
    listener.listen()
    four, six = a.socket(), a.socket(socket.AF_INET6)
    four.setsockopt(IP, socket.IP_TOS, 0x2B)
    four.setsockopt(IP, socket.IP_TTL, 9)
    six.setsockopt(IPV6, socket.IPV6_TCLASS, 0x40)
    six.setsockopt(IPV6, socket.IPV6_UNICAST_HOPS, 8)
    await four.connect(("10.0.0.2", 80))
    await four.send(b"x")
    await asyncio.sleep(1)
    assert set(seen) == {(0x28, 9)}
    seen.clear()
    await six.connect(("fd00::2", 80))
    await asyncio.sleep(1)
    assert set(seen) == {(0x40, 8)}
    seen.clear()
    four.setsockopt(IP, socket.IP_TOS, 0)
    four.setsockopt(IP, socket.IP_TTL, -1)
    await four.send(b"x")
    await asyncio.sleep(1)
    assert (0, 64) in seen
