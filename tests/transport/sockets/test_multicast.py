"""Multicast on the loopback interface: every assertion holds for the kernel's sockets too."""

import errno
import socket
import struct

from asyncstack import Stack
from tests.transport.sockets.conftest import Net, raises

IP, IPV6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6
HERE = socket.inet_aton("127.0.0.1")
LO = 1  # the index of `lo`, in the kernel and in a stack
GROUP, OTHER = "239.7.7.7", "239.7.7.8"
GROUP6 = "ff05::777"
ALL4, ALL6 = (IP, 49), (IPV6, 29)


def member(group):
    if ":" in group:
        return socket.inet_pton(socket.AF_INET6, group) + struct.pack("@i", LO)
    return socket.inet_aton(group) + HERE


def join(sock, group, leave=False):
    if ":" in group:
        sock.setsockopt(IPV6, socket.IPV6_LEAVE_GROUP if leave else socket.IPV6_JOIN_GROUP, member(group))
    else:
        sock.setsockopt(IP, socket.IP_DROP_MEMBERSHIP if leave else socket.IP_ADD_MEMBERSHIP, member(group))


def receiver(net, group, port=0, host=""):
    """A socket on `port` that has joined `group`; others may share the port."""
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    sock = net.socket(family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    join(sock, group)
    return sock


def sender(net, group):
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    sock = net.socket(family, socket.SOCK_DGRAM)
    if ":" in group:
        sock.setsockopt(IPV6, socket.IPV6_MULTICAST_IF, LO)
    else:
        sock.setsockopt(IP, socket.IP_MULTICAST_IF, HERE)
    return sock


async def got(net, sock):
    """What has come."""
    await net.settled()
    found = []
    while True:
        try:
            found.append(await sock.recv(100, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return found


async def test_every_member_hears_it(net):
    await every_member_hears(net, GROUP)


async def test_every_member_hears_it_in_ipv6():
    """The kernel has no route to IPv6 groups on its loopback; over a TAP it is in interop."""
    async with Stack() as stack:
        await every_member_hears(Net(stack), GROUP6)


async def every_member_hears(net, group):
    first = receiver(net, group)
    port = first.getsockname()[1]
    members = [first, receiver(net, group, port), receiver(net, group, port, host=group)]
    source = sender(net, group)
    await source.sendto(b"to all", (group, port))
    assert [await got(net, one) for one in members] == [[b"to all"]] * 3
    join(first, group, leave=True)
    members[1].close()
    first.setsockopt(*(ALL6 if ":" in group else ALL4), 0)
    await source.sendto(b"again", (group, port))
    assert await got(net, first) == []
    assert await got(net, members[2]) == [b"again"]
    await source.sendto(b"another port", (group, port ^ 1))
    assert await got(net, members[2]) == []


async def test_a_group_that_only_another_socket_joined(net):
    await only_another_joined(net, GROUP)


async def test_an_ipv6_group_that_only_another_socket_joined():
    async with Stack() as stack:
        await only_another_joined(Net(stack), GROUP6)


async def only_another_joined(net, group):
    joined = receiver(net, group)
    port = joined.getsockname()[1]
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    other = net.socket(family, socket.SOCK_DGRAM)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    other.bind(("", port))
    source = sender(net, group)
    await source.sendto(b"1", (group, port))
    assert await got(net, other) == [b"1"]  # the default
    other.setsockopt(*(ALL6 if ":" in group else ALL4), 0)
    await source.sendto(b"2", (group, port))
    assert await got(net, other) == []
    joined.close()
    other.setsockopt(*(ALL6 if ":" in group else ALL4), 1)
    await source.sendto(b"3", (group, port))
    assert await got(net, other) == []  # nobody here is in the group any more


async def test_a_group_nobody_joined(net):
    sock = net.socket(kind=socket.SOCK_DGRAM)
    sock.bind(("", 0))
    await sender(net, GROUP).sendto(b"x", (GROUP, sock.getsockname()[1]))
    assert await got(net, sock) == []


async def test_bound_to_a_group_it_hears_nothing_else(net):
    bound = receiver(net, GROUP, host=GROUP)
    port = bound.getsockname()[1]
    join(bound, OTHER)
    source = sender(net, GROUP)
    for group in (GROUP, OTHER, "127.0.0.1"):
        await source.sendto(group.encode(), (group, port))
    assert await got(net, bound) == [GROUP.encode()]
    await bound.sendto(b"from it", ("127.0.0.1", source.getsockname()[1]))
    assert await source.recvfrom(100) == (b"from it", ("127.0.0.1", port))


async def test_an_answer_comes_from_the_member(net):
    group_member = receiver(net, GROUP)
    source = sender(net, GROUP)
    await source.sendto(b"question", (GROUP, group_member.getsockname()[1]))
    data, address = await group_member.recvfrom(100)
    assert (data, address) == (b"question", ("127.0.0.1", source.getsockname()[1]))
    await group_member.sendto(b"answer", address)
    assert await source.recvfrom(100) == (b"answer", ("127.0.0.1", group_member.getsockname()[1]))


async def test_an_ipv6_socket_in_an_ipv4_group(net):
    sock = net.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.bind(("::", 0))
    join(sock, GROUP)
    port = sock.getsockname()[1]
    source = sender(net, GROUP)
    await source.sendto(b"x", (GROUP, port))
    assert await sock.recvfrom(10) == (b"x", ("::ffff:127.0.0.1", source.getsockname()[1], 0, 0))


async def test_what_a_member_is_told(net):
    sock = receiver(net, GROUP)
    sock.setsockopt(IP, 8, 1)  # IP_PKTINFO
    sock.setsockopt(IP, 12, 1)  # IP_RECVTTL
    source = sender(net, GROUP)
    source.setsockopt(IP, socket.IP_MULTICAST_TTL, 3)
    await source.sendto(b"x", (GROUP, sock.getsockname()[1]))
    _, ancillary, _, _ = await sock.recvmsg(10, 200)
    found = {kind: value for _, kind, value in ancillary}
    assert struct.unpack("@i4s4s", found[8]) == (LO, HERE, socket.inet_aton(GROUP))
    assert struct.unpack("@i", found[socket.IP_TTL]) == (3,)


async def test_connected_to_a_group(net):
    sock = receiver(net, GROUP)
    source = sender(net, GROUP)
    await source.connect((GROUP, sock.getsockname()[1]))
    assert source.getsockname()[0] == "127.0.0.1"
    await source.send(b"x")
    assert await got(net, sock) == [b"x"]


async def test_broadcasts_on_loopback(net):
    sock = net.socket(kind=socket.SOCK_DGRAM)
    sock.bind(("", 0))
    source = net.socket(kind=socket.SOCK_DGRAM)
    where = ("127.255.255.255", sock.getsockname()[1])
    with raises(errno.EACCES):
        await source.sendto(b"x", where)
    source.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    await source.sendto(b"x", where)
    assert await got(net, sock) == [b"x"]
    bound = net.socket(kind=socket.SOCK_DGRAM)
    bound.bind(("127.255.255.255", 0))
    await source.sendto(b"y", bound.getsockname())
    assert await got(net, bound) == [b"y"]


async def test_leaving_what_was_not_joined(net):
    sock = receiver(net, GROUP)
    with raises(errno.EADDRNOTAVAIL):
        join(sock, OTHER, leave=True)
    join(sock, GROUP, leave=True)
    with raises(errno.EADDRNOTAVAIL):
        join(sock, GROUP, leave=True)
    with raises(errno.EADDRINUSE):
        for _ in range(2):
            join(sock, GROUP)


async def test_groups_of_one_socket_are_bounded(net):
    sock = net.socket(kind=socket.SOCK_DGRAM)
    with raises(errno.ENOBUFS):
        for number in range(21):
            join(sock, f"239.7.8.{number}")
    assert number == 20
