"""Groups heard from certain senders only, on the loopback interface: every assertion holds for the kernel's sockets."""

import errno
import socket
import struct

import pytest

from asyncstack import Stack
from asyncstack.network.addresses import parse_address as A
from asyncstack.network.groups import SourceFilter
from asyncstack.transport.udp import group_options as names
from tests.transport.sockets.conftest import Net, raises
from tests.transport.sockets.test_multicast import (
    GROUP,
    GROUP6,
    HERE,
    IP,
    IPV6,
    LO,
    OTHER,
    got,
    join,
    receiver,
)

ONE, TWO, THREE = "127.0.0.1", "127.0.0.2", "127.0.0.3"
EXCLUDE, INCLUDE = 0, 1


class Sources:
    """The options on one socket, in both shapes that there are for IPv4."""

    def __init__(self, sock, group=GROUP, protocol_independent=False):
        self.sock, self.group, self.new = sock, group, protocol_independent

    def _one(self, old, new, source):
        if not self.new:
            self.sock.setsockopt(IP, old, A(self.group) + HERE + A(source))
        else:
            request = struct.pack("@I4x128s128s", LO, storage(self.group), storage(source))
            self.sock.setsockopt(level(self.group), new, request)

    def hear(self, source):
        self._one(names.IP_ADD_SOURCE_MEMBERSHIP, names.MCAST_JOIN_SOURCE_GROUP, source)

    def hear_no_more(self, source):
        self._one(names.IP_DROP_SOURCE_MEMBERSHIP, names.MCAST_LEAVE_SOURCE_GROUP, source)

    def block(self, source):
        self._one(names.IP_BLOCK_SOURCE, names.MCAST_BLOCK_SOURCE, source)

    def unblock(self, source):
        self._one(names.IP_UNBLOCK_SOURCE, names.MCAST_UNBLOCK_SOURCE, source)

    def choose(self, mode, *sources):
        if not self.new:
            packed = struct.pack("@4s4sII", A(self.group), HERE, mode, len(sources))
            self.sock.setsockopt(IP, names.IP_MSFILTER, packed + b"".join(map(A, sources)))
        else:
            packed = struct.pack("@I4x128sII", LO, storage(self.group), mode, len(sources))
            packed += b"".join(map(storage, sources))
            self.sock.setsockopt(level(self.group), names.MCAST_MSFILTER, packed)


def level(group):
    return IPV6 if ":" in group else IP


def storage(address):
    """A struct sockaddr_storage."""
    if ":" in address:
        packed = struct.pack("@HHI16s", socket.AF_INET6, 0, 0, A(address))
    else:
        packed = struct.pack("@HH4s", socket.AF_INET, 0, A(address))
    return packed.ljust(128, b"\0")


def fresh(net):
    """A socket that is bound and in no group; it hears of no group that others have joined."""
    sock = net.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(IP, 49, 0)  # IP_MULTICAST_ALL
    sock.bind(("", 0))
    return sock


async def heard(net, sock, group=GROUP):
    """From which sources `sock` hears."""
    for source in (ONE, TWO, THREE):
        sender = net.socket(kind=socket.SOCK_DGRAM)
        sender.setsockopt(IP, socket.IP_MULTICAST_IF, HERE)
        sender.bind((source, 0))
        await sender.sendto(source.encode(), (group, sock.getsockname()[1]))
        sender.close()
    return [data.decode() for data in await got(net, sock)]


SHAPES = pytest.mark.parametrize("shape", [False, True], ids=["ip_mreq_source", "group_source_req"])


@SHAPES
async def test_only_these(net, shape):
    sock = fresh(net)
    sources = Sources(sock, GROUP, shape)
    sources.hear(ONE)
    assert await heard(net, sock) == [ONE]
    sources.hear(THREE)
    assert await heard(net, sock) == [ONE, THREE]
    sources.hear_no_more(ONE)
    assert await heard(net, sock) == [THREE]
    sources.hear_no_more(THREE)
    assert await heard(net, sock) == []
    with raises(errno.EADDRNOTAVAIL):
        join(sock, GROUP, leave=True)  # the last source was the membership


@SHAPES
async def test_all_but_these(net, shape):
    sock = receiver(net, GROUP)
    sources = Sources(sock, GROUP, shape)
    sources.block(TWO)
    assert await heard(net, sock) == [ONE, THREE]
    sources.block(ONE)
    assert await heard(net, sock) == [THREE]
    sources.unblock(TWO)
    assert await heard(net, sock) == [TWO, THREE]
    sources.unblock(ONE)
    assert await heard(net, sock) == [ONE, TWO, THREE]
    join(sock, GROUP, leave=True)


@SHAPES
async def test_all_at_once(net, shape):
    sock = receiver(net, GROUP)
    sources = Sources(sock, GROUP, shape)
    sources.choose(INCLUDE, ONE, TWO)
    assert await heard(net, sock) == [ONE, TWO]
    sources.choose(EXCLUDE, ONE)
    assert await heard(net, sock) == [TWO, THREE]
    sources.choose(EXCLUDE)
    assert await heard(net, sock) == [ONE, TWO, THREE]
    sources.choose(INCLUDE)
    with raises(errno.EADDRNOTAVAIL):
        join(sock, GROUP, leave=True)


@SHAPES
async def test_errors(net, shape):
    sock = fresh(net)
    sources = Sources(sock, GROUP, shape)
    for call in (sources.block, sources.unblock, sources.hear_no_more):
        with raises(errno.EINVAL):
            call(ONE)  # nothing was joined
    with raises(errno.EINVAL):
        sources.choose(EXCLUDE, ONE)
    sources.hear(ONE)
    with raises(errno.EADDRNOTAVAIL):
        sources.hear(ONE)
    with raises(errno.EADDRNOTAVAIL):
        sources.hear_no_more(TWO)
    with raises(errno.EINVAL):
        sources.block(TWO)  # the other way round
    with raises(errno.EADDRINUSE):
        join(sock, GROUP)
    with raises(errno.EINVAL):
        Sources(sock, "10.0.0.1", shape).hear(ONE)
    with raises(errno.EINVAL):
        sources.choose(2, ONE)
    join(sock, GROUP, leave=True)
    join(sock, GROUP)
    sources.hear(ONE)  # of one that hears all: only this one then
    assert await heard(net, sock) == [ONE]


@SHAPES
async def test_sources_of_a_group_are_bounded(net, shape):
    sock = receiver(net, GROUP)
    sources = Sources(sock, GROUP, shape)
    with raises(errno.ENOBUFS):
        for number in range(1, 12):
            sources.block(f"10.0.0.{number}")
    assert number == 11
    with raises(errno.ENOBUFS):
        sources.choose(INCLUDE, *(f"10.0.0.{number}" for number in range(1, 12)))


async def test_structures_that_are_too_short(net):
    sock = receiver(net, GROUP)
    storages = storage(GROUP) + storage(ONE)
    for option, value in (
        (names.IP_BLOCK_SOURCE, A(GROUP) + HERE),
        (names.MCAST_JOIN_GROUP, struct.pack("@I4x", LO) + storages[:100]),
        (names.MCAST_BLOCK_SOURCE, struct.pack("@I4x", LO) + storages[:-1]),
        (names.IP_MSFILTER, struct.pack("@4s4sI", A(GROUP), HERE, EXCLUDE)),
        (names.IP_MSFILTER, struct.pack("@4s4sII", A(GROUP), HERE, EXCLUDE, 1)),
        (names.MCAST_MSFILTER, struct.pack("@I4x128sI", LO, storage(GROUP), EXCLUDE)),
        (names.MCAST_MSFILTER, struct.pack("@I4x128sII", LO, storage(GROUP), EXCLUDE, 1)),
    ):
        with raises(errno.EINVAL):
            sock.setsockopt(IP, option, value)


async def test_addresses_of_the_wrong_family(net):
    sock = receiver(net, GROUP)
    with raises(errno.EINVAL):
        sock.setsockopt(IP, names.MCAST_JOIN_GROUP, struct.pack("@I4x128s", LO, storage(GROUP6)))
    for group, source in ((GROUP6, ONE), (GROUP, "::1")):
        with raises(errno.EADDRNOTAVAIL):
            request = struct.pack("@I4x128s128s", LO, storage(group), storage(source))
            sock.setsockopt(IP, names.MCAST_BLOCK_SOURCE, request)


async def test_group_req(net):
    sock = fresh(net)
    request = struct.pack("@I4x128s", LO, storage(GROUP))
    sock.setsockopt(IP, names.MCAST_JOIN_GROUP, request)
    assert await heard(net, sock) == [ONE, TWO, THREE]
    with raises(errno.EADDRINUSE):
        sock.setsockopt(IP, names.MCAST_JOIN_GROUP, request)
    sock.setsockopt(IP, names.MCAST_LEAVE_GROUP, request)
    assert await heard(net, sock) == []
    with raises(errno.EADDRNOTAVAIL):
        sock.setsockopt(IP, names.MCAST_LEAVE_GROUP, request)
    with raises(errno.ENODEV):
        sock.setsockopt(IP, names.MCAST_JOIN_GROUP, struct.pack("@I4x128s", 999, storage(GROUP)))


async def test_ipv6_group_req(net):
    sock = net.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    request = struct.pack("@I4x128s", LO, storage(GROUP6))
    sock.setsockopt(IPV6, names.MCAST_JOIN_GROUP, request)
    with raises(errno.EADDRINUSE):
        sock.setsockopt(IPV6, names.MCAST_JOIN_GROUP, request)
    sources = Sources(sock, GROUP6, True)
    for number in range(64):
        sources.block(f"fd00::{number:x}")
    with raises(errno.ENOBUFS):
        sources.block("fd00::ffff")
    with raises(errno.EADDRNOTAVAIL):
        sources.unblock("fd00::ffff")
    with raises(errno.EINVAL):
        sources.hear("fd00::1")
    sources.choose(INCLUDE, "fd00::1")
    sources.hear("fd00::2")
    sock.setsockopt(IPV6, names.MCAST_LEAVE_GROUP, request)
    with raises(errno.EADDRNOTAVAIL):
        sock.setsockopt(IPV6, names.MCAST_LEAVE_GROUP, request)
    with raises(errno.EADDRNOTAVAIL):
        sock.setsockopt(IPV6, names.MCAST_JOIN_GROUP, struct.pack("@I4x128s", LO, storage(GROUP)))


async def test_each_socket_has_its_own_and_the_interface_lets_in_what_one_wants(net):
    first = fresh(net)
    first.setsockopt(IP, 49, 1)
    Sources(first).hear(ONE)
    other = fresh(net)
    Sources(other).hear(TWO)
    assert await heard(net, first) == [ONE]
    assert await heard(net, other) == [TWO]
    bystander = fresh(net)
    bystander.setsockopt(IP, 49, 1)
    assert await heard(net, bystander) == [ONE, TWO]  # what nobody here wants does not come in
    assert await heard(net, bystander, OTHER) == []


async def test_what_a_stack_listens_to():
    """Seen from below: the sockets' wishes merged, and gone with them."""
    async with Stack() as stack:
        net = Net(stack)
        lo = stack.interfaces[0]
        first, second = fresh(net), receiver(net, GROUP)
        Sources(second).block(ONE)
        Sources(second).block(TWO)
        Sources(first).hear(ONE)
        assert (A(GROUP), SourceFilter(True, frozenset([A(TWO)]))) in stack.addresses.groups.of(lo)
        second.close()
        assert (A(GROUP), SourceFilter(False, frozenset([A(ONE)]))) in stack.addresses.groups.of(lo)
        first.close()
        assert A(GROUP) not in dict(stack.addresses.groups.of(lo))
