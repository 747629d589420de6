"""Ancillary data of datagrams: every assertion holds for the kernel's sockets too."""

import errno
import socket
import struct

import pytest

from tests.transport.sockets.conftest import raises

IP, IPV6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6
IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IP_RECVORIGDSTADDR, IPV6_RECVORIGDSTADDR = 8, 12, 13, 20, 74
TELL = [(IP, option) for option in (IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IP_RECVORIGDSTADDR)]
TELL6 = [
    (IPV6, option)
    for option in (
        *(socket.IPV6_RECVPKTINFO, socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVTCLASS, IPV6_RECVORIGDSTADDR),
    )
]
LO = 1
A, B = "127.0.0.1", "127.0.0.2"


def number(value):
    return struct.pack("@i", value)


def in4(text):
    return socket.inet_aton(text)


def in6(text):
    return socket.inet_pton(socket.AF_INET6, text)


def bound(net, host, options=(), family=None):
    sock = net.socket(family or (socket.AF_INET6 if ":" in host else socket.AF_INET), socket.SOCK_DGRAM)
    sock.bind((host, 0))
    for option in options:
        sock.setsockopt(*option, 1)
    return sock


async def test_all_that_ipv4_tells_in_its_order(net):
    sink, source = bound(net, A, TELL), bound(net, B)
    source.setsockopt(IP, socket.IP_TTL, 9)
    source.setsockopt(IP, socket.IP_TOS, 0x2B)
    await source.sendto(b"x", sink.getsockname())
    data, ancillary, flags, address = await sink.recvmsg(10, 500)
    port = sink.getsockname()[1].to_bytes(2, "big")
    assert (data, flags, address) == (b"x", 0, source.getsockname())
    assert ancillary == [
        (IP, IP_PKTINFO, number(LO) + in4(A) + in4(A)),
        (IP, socket.IP_TTL, number(9)),
        (IP, socket.IP_TOS, b"\x2b"),
        (IP, IP_RECVORIGDSTADDR, struct.pack("@H", socket.AF_INET) + port + in4(A) + bytes(8)),
    ]


async def test_all_that_ipv6_tells_in_its_order(net):
    sink, source = bound(net, "::1", TELL6), bound(net, "::1")
    source.setsockopt(IPV6, socket.IPV6_UNICAST_HOPS, 9)
    source.setsockopt(IPV6, socket.IPV6_TCLASS, 0x2B)
    await source.sendto(b"x", sink.getsockname())
    _, ancillary, flags, _ = await sink.recvmsg(10, 500)
    port = sink.getsockname()[1].to_bytes(2, "big")
    assert flags == 0
    assert ancillary == [
        (IPV6, socket.IPV6_PKTINFO, in6("::1") + number(LO)),
        (IPV6, socket.IPV6_HOPLIMIT, number(9)),
        (IPV6, socket.IPV6_TCLASS, number(0x2B)),
        (
            IPV6,
            IPV6_RECVORIGDSTADDR,
            struct.pack("@H", socket.AF_INET6) + port + bytes(4) + in6("::1") + bytes(4),
        ),
    ]


async def test_ipv4_on_an_ipv6_socket(net):
    sink, source = bound(net, "::", [*TELL[:3], *TELL6[:3]]), bound(net, B)
    source.setsockopt(IP, socket.IP_TOS, 3)
    await source.sendto(b"x", (A, sink.getsockname()[1]))
    _, ancillary, _, _ = await sink.recvmsg(10, 500)
    assert ancillary == [
        (IPV6, socket.IPV6_PKTINFO, in6(f"::ffff:{A}") + number(LO)),
        (IP, IP_PKTINFO, number(LO) + in4(A) + in4(A)),
        (IP, socket.IP_TTL, number(64)),
        (IP, socket.IP_TOS, b"\3"),
    ]


@pytest.mark.parametrize("size", [0, 15, 16, 20, 24, 28, 32, 40, 55, 56, 100])
async def test_a_control_buffer_that_is_too_small(net, size):
    sink, source = bound(net, A, TELL[:2]), bound(net, B)
    await source.sendto(b"x", sink.getsockname())
    _, ancillary, flags, _ = await sink.recvmsg(10, size)
    found = [(kind, len(value)) for _, kind, value in ancillary]
    whole = [(IP_PKTINFO, 12), (socket.IP_TTL, 4)]
    fits = size >= socket.CMSG_SPACE(12) + socket.CMSG_LEN(4)
    assert flags == (0 if fits else socket.MSG_CTRUNC)
    assert all(one[0] == two[0] and one[1] <= two[1] for one, two in zip(found, whole, strict=False))
    assert (found == whole) == fits


async def send(sock, ancillary, address, data=b"x"):
    return await sock.sendmsg([data[:1], data[1:]], ancillary, 0, address)


async def test_marks_of_one_datagram(net):
    sink, source = bound(net, A, TELL[:3]), bound(net, "0.0.0.0")
    await send(source, [(IP, socket.IP_TTL, number(7)), (IP, socket.IP_TOS, number(1))], sink.getsockname())
    await send(source, [(IP, socket.IP_TOS, b"\2")], sink.getsockname())
    await send(source, [(IP, IP_PKTINFO, number(0) + in4(B) + bytes(4))], sink.getsockname(), b"two")
    await send(source, [], sink.getsockname())
    found = []
    for _ in range(4):
        data, ancillary, _, address = await sink.recvmsg(10, 500)
        told = {kind: value for _, kind, value in ancillary}
        found.append((data, address[0], told[socket.IP_TTL], told[socket.IP_TOS]))
    assert found == [
        (b"x", A, number(7), b"\1"),
        (b"x", A, number(64), b"\2"),
        (b"two", B, number(64), b"\0"),
        (b"x", A, number(64), b"\0"),
    ]


async def test_marks_of_one_ipv6_datagram(net):
    sink, source = bound(net, "::1", TELL6[:3]), bound(net, "::")
    marks = [
        (IPV6, socket.IPV6_HOPLIMIT, number(7)),
        (IPV6, socket.IPV6_TCLASS, number(1)),
        (IPV6, socket.IPV6_PKTINFO, in6("::1") + number(LO)),
    ]
    await send(source, marks, sink.getsockname())
    _, ancillary, _, _ = await sink.recvmsg(10, 500)
    told = {kind: value for _, kind, value in ancillary}
    assert (told[socket.IPV6_HOPLIMIT], told[socket.IPV6_TCLASS]) == (number(7), number(1))


async def test_ipv4_marks_of_an_ipv6_socket(net):
    sink, source = bound(net, A, TELL[:3]), bound(net, "::")
    where = (f"::ffff:{A}", sink.getsockname()[1], 0, 0)
    await send(source, [(IPV6, socket.IPV6_PKTINFO, in6(f"::ffff:{B}") + number(0))], where)
    assert (await sink.recvmsg(10, 500))[3][0] == B
    await send(source, [(IP, socket.IP_TTL, number(5))], where)
    _, ancillary, _, _ = await sink.recvmsg(10, 500)
    assert (IP, socket.IP_TTL, number(5)) in ancillary


async def test_marks_on_a_connected_socket(net):
    sink, source = bound(net, A, TELL[:3]), net.socket(kind=socket.SOCK_DGRAM)
    await source.connect(sink.getsockname())
    await send(source, [(IP, socket.IP_TTL, number(5))], None)
    _, ancillary, _, _ = await sink.recvmsg(10, 500)
    assert (IP, socket.IP_TTL, number(5)) in ancillary


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        ((IP, socket.IP_TTL, number(0)), errno.EINVAL),
        ((IP, socket.IP_TTL, number(256)), errno.EINVAL),
        ((IP, socket.IP_TTL, b"\1"), errno.EINVAL),
        ((IP, socket.IP_TOS, number(256)), errno.EINVAL),
        ((IP, socket.IP_TOS, b"\1\2"), errno.EINVAL),
        ((IP, IP_PKTINFO, bytes(4)), errno.EINVAL),
        ((IP, IP_PKTINFO, number(0) + in4("192.0.2.77") + bytes(4)), errno.ENETUNREACH),
        ((IP, IP_PKTINFO, number(9999) + bytes(8)), errno.ENODEV),
        ((IP, 99, b""), errno.EINVAL),
    ],
    ids=str,
)
async def test_marks_that_are_none(net, mark, expected):
    sink, source = bound(net, A), bound(net, "0.0.0.0")
    with raises(expected):
        await send(source, [mark], sink.getsockname())


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        ((IPV6, socket.IPV6_HOPLIMIT, number(256)), errno.EINVAL),
        ((IPV6, socket.IPV6_HOPLIMIT, number(-2)), errno.EINVAL),
        ((IPV6, socket.IPV6_TCLASS, number(256)), errno.EINVAL),
        ((IPV6, socket.IPV6_TCLASS, b"\1"), errno.EINVAL),
        ((IPV6, socket.IPV6_PKTINFO, bytes(4)), errno.EINVAL),
        ((IPV6, socket.IPV6_PKTINFO, in6("2001:db8::77") + number(0)), errno.EINVAL),
        ((IPV6, socket.IPV6_PKTINFO, bytes(16) + number(9999)), errno.ENODEV),
        ((IPV6, 9999, b""), errno.EINVAL),
    ],
    ids=str,
)
async def test_ipv6_marks_that_are_none(net, mark, expected):
    sink, source = bound(net, "::1"), bound(net, "::")
    with raises(expected):
        await send(source, [mark], sink.getsockname())


async def test_what_is_for_another_level_is_passed_over(net):
    sink, source = bound(net, A), bound(net, B)
    await send(source, [(IPV6, socket.IPV6_HOPLIMIT, number(256))], sink.getsockname())
    assert await sink.recv(10) == b"x"
