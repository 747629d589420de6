"""Groups that sockets of the kernel join on interfaces that only a stack has, and what of them is carried over."""

import asyncio
import errno
import socket
import struct

import pytest

from asyncstack import Network
from asyncstack.loop.loops import SelectorEventLoop
from asyncstack.loop.memberships import interface_named
from asyncstack.loop.program import MOST_WISHES, Program
from asyncstack.loop.replacing import replaced
from asyncstack.loop.settings import LinkSettings, NetworkSettings, Settings
from asyncstack.network.addresses import parse_address as A
from asyncstack.network.groups import ANY_SOURCE, SourceFilter
from asyncstack.transport.udp import group_options as names
from tests.transport.sockets.conftest import raises
from tests.transport.sockets.test_sources import storage

IP, IPV6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6
GROUP, GROUP6 = "239.1.2.3", "ff05::123"
OURS, THEIRS = "192.0.2.1", "192.0.2.2"  # which no kernel has
HOSTS = {"a": [f"{OURS}/24", "2001:db8::1/64"], "b": [f"{THEIRS}/24", "2001:db8::2/64"]}
SETTINGS = Settings(network=NetworkSettings(HOSTS, [LinkSettings(["a", "b"])], seed=1))


@pytest.mark.parametrize(
    "level, option, value, about",
    [
        (IP, socket.IP_ADD_MEMBERSHIP, A(GROUP) + A(OURS), A(OURS)),
        (IP, socket.IP_ADD_MEMBERSHIP, A(GROUP) + bytes(4), 0),
        (IP, names.IP_ADD_SOURCE_MEMBERSHIP, A(GROUP) + A(OURS) + A(THEIRS), A(OURS)),
        (IP, socket.IP_MULTICAST_IF, A(OURS), A(OURS)),
        (IP, socket.IP_MULTICAST_IF, A(GROUP) + A(OURS), A(OURS)),
        (IP, socket.IP_MULTICAST_IF, bytes(4), 0),
        (IPV6, socket.IPV6_MULTICAST_IF, 7, 7),
        (IPV6, socket.IPV6_JOIN_GROUP, A(GROUP6) + struct.pack("@i", 7), 7),
        (IP, names.MCAST_JOIN_GROUP, struct.pack("@I4x128s", 7, storage(GROUP)), 7),
        (IP, socket.IP_TTL, 7, None),
        (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1, None),
    ],
)
def test_the_interface_that_an_option_names(level, option, value, about):
    assert interface_named(level, option, value) == about


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self):
        self.received = asyncio.Queue()

    def datagram_received(self, data, addr):
        self.received.put_nowait((data, addr))


def in_a_program(main, settings=SETTINGS):
    with replaced(Program(settings)), asyncio.Runner() as runner:
        return runner.run(asyncio.wait_for(main(), 10))


def test_a_program_joins_and_sends_on_an_interface_of_the_stack():
    async def main():
        loop = asyncio.get_running_loop()
        a, b = loop.stacks
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("", 5000))
        sock.setsockopt(IP, socket.IP_ADD_MEMBERSHIP, A(GROUP) + A(OURS))
        sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sending.bind((THEIRS, 0))
        sending.setsockopt(IP, socket.IP_MULTICAST_IF, A(THEIRS))
        with a.current():
            transport, protocol = await loop.create_datagram_endpoint(Datagrams, sock=sock)
        with b.current():
            source, _ = await loop.create_datagram_endpoint(Datagrams, sock=sending)
        source.sendto(b"x", (GROUP, 5000))
        data, address = await protocol.received.get()
        transport.close()
        source.close()
        return data, address[0]

    assert in_a_program(main) == (b"x", THEIRS)


def test_the_same_in_ipv6_by_index():
    """A number that no interface of the kernel has, as the stack's would be."""

    async def main():
        loop = asyncio.get_running_loop()
        a, _ = loop.stacks
        index = a.interfaces[-1].index
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.bind(("::", 5000))
        sock.setsockopt(IPV6, socket.IPV6_JOIN_GROUP, A(GROUP6) + struct.pack("@i", index))
        with a.current():
            transport, _ = await loop.create_datagram_endpoint(Datagrams, sock=sock)
        found = dict(a.addresses.groups.of(a.interfaces[-1]))
        transport.close()
        return found

    assert in_a_program(main)[A(GROUP6)] == ANY_SOURCE


def test_what_is_neither_the_kernels_nor_the_stacks_is_refused():
    async def main():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sock, raises(errno.ENODEV):
            sock.setsockopt(IP, socket.IP_ADD_MEMBERSHIP, A(GROUP) + A("192.0.2.99"))
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        with sock, raises(errno.ENODEV):
            sock.setsockopt(IPV6, socket.IPV6_JOIN_GROUP, A(GROUP6) + struct.pack("@i", 9999))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, raises(errno.ENOBUFS):
            for done in range(MOST_WISHES + 1):  # noqa: B007
                sock.setsockopt(IP, socket.IP_ADD_MEMBERSHIP, A(GROUP) + A(OURS))
        assert done == MOST_WISHES

    in_a_program(main)


@pytest.mark.parametrize("exclude", [False, True])
def test_sources_chosen_in_the_kernel_go_for_the_stack(exclude):
    """A loop that routes adopts the socket; the kernel joined on its own loopback."""

    async def main():
        async with Network(seed=1) as net:
            a, b = net.host("a", f"{OURS}/24"), net.host("b", f"{THEIRS}/24")
            net.link(a, b)
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            place = A(GROUP) + A("127.0.0.1")
            if exclude:
                sock.setsockopt(IP, socket.IP_ADD_MEMBERSHIP, place)
                sock.setsockopt(IP, names.IP_BLOCK_SOURCE, place + A(THEIRS))
            else:
                sock.setsockopt(IP, names.IP_ADD_SOURCE_MEMBERSHIP, place + A(THEIRS))
            sock.bind(("", 5000))
            with a.current():
                transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, sock=sock)
            found = dict(a.addresses.groups.of(a.interfaces[-1]))[A(GROUP)]
            transport.close()
            await asyncio.sleep(0)
            return found

    with asyncio.Runner(loop_factory=SelectorEventLoop) as runner:
        assert runner.run(main()) == SourceFilter(exclude, frozenset([A(THEIRS)]))


@pytest.mark.parametrize(
    "where, told", [(("10.0.0.2", 7), " 10.0.0.2:7,"), (("fd00::2", 7, 0, 0), " [fd00::2]:7,")]
)
def test_a_refusal_names_the_address(where, told):
    assert told in str(Program(SETTINGS).refuse("connect() to", where, "wait"))
