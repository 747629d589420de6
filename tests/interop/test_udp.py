"""Broadcast, multicast and ancillary data between a stack and the kernel's sockets, which are made here."""

import asyncio
import errno
import socket
import struct

import pytest

from asyncstack.wire.ndp import multicast_mac
from tests.interop.kernel import until
from tests.interop.medium import BOTH_FAMILIES, OURS, PEER, TAP, TUN, TWO_OF_THEM
from tests.transport.asyncio_contract.recorders import Datagrams

pytestmark = pytest.mark.tun

BOTH = pytest.mark.parametrize(("medium", "ours", "peer_address"), BOTH_FAMILIES)
FEW = pytest.mark.parametrize(("medium", "ours", "peer_address"), TWO_OF_THEM)
IP, IPV6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6
GROUP4, GROUP6 = "239.7.7.7", "ff05::777"


class Kernel:
    """A socket of the kernel, which is on the other side of the device."""

    def __init__(self, host, port=0):
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(self.family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((host, port))
        self.came = []  # as recvmsg gives it

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    @property
    def port(self):
        return self.sock.getsockname()[1]

    def look(self):
        while True:
            try:
                self.came.append(self.sock.recvmsg(1 << 16, 500))
            except BlockingIOError:
                return [message[0] for message in self.came]

    async def received(self, count):
        await until(lambda: len(self.look()) >= count)
        return self.look()


def member(group, index):
    if ":" in group:
        return (
            IPV6,
            socket.IPV6_JOIN_GROUP,
            socket.inet_pton(socket.AF_INET6, group) + struct.pack("@i", index),
        )
    request = struct.pack("@4s4si", socket.inet_aton(group), bytes(4), index)
    return IP, socket.IP_ADD_MEMBERSHIP, request


def leave_by(sock, group, index):
    """Send to groups by the interface with this index."""
    if ":" in group:
        sock.setsockopt(IPV6, socket.IPV6_MULTICAST_IF, index)
    else:
        sock.setsockopt(IP, socket.IP_MULTICAST_IF, struct.pack("@4s4si", bytes(4), bytes(4), index))


async def endpoint(peered, host, factory=Datagrams, **arguments):
    """(protocol, port, socket) of an endpoint of the stack."""
    transport, protocol = await peered.stack.create_datagram_endpoint(factory, (host, 0), **arguments)
    sock = transport.get_extra_info("socket")
    return protocol, sock.getsockname()[1], sock


def group_of(address):
    """(the group to test with, any address, of the family of `address`)."""
    return (GROUP6, "::") if ":" in address else (GROUP4, "0.0.0.0")


@BOTH
async def test_the_kernel_sends_to_a_group(peered, ours, peer_address):
    group, anywhere = group_of(ours)
    protocol, port, sock = await endpoint(peered, anywhere)
    with Kernel(peer_address) as kernel:
        leave_by(kernel.sock, group, socket.if_nametoindex("as0"))
        kernel.sock.sendto(b"not joined", (group, port))
        sock.setsockopt(*member(group, peered.interface.index))
        # nothing overtakes on this link
        kernel.sock.sendto(b"joined", (group, port))
        assert await protocol.received(1) in ([b"joined"], [b"not joined", b"joined"])
        kernel.sock.sendto(b"more", (group, port))
        await protocol.until(lambda: protocol.datagrams[-1][0] == b"more")
        assert protocol.datagrams[-1][1][:2] == (peer_address, kernel.port)
        protocol.transport.sendto(b"answer", protocol.datagrams[-1][1])
        assert await kernel.received(1) == [b"answer"]
    if peered.interface.device.ethernet:
        assert multicast_mac(socket.inet_pton(kernel.family, group)) in peered.interface.link._groups
    protocol.transport.close()


@BOTH
async def test_the_kernel_is_in_a_group(peered, ours, peer_address):
    group, anywhere = group_of(ours)
    protocol, _, sock = await endpoint(peered, anywhere)
    leave_by(sock, group, peered.interface.index)
    with Kernel(anywhere) as kernel:
        kernel.sock.setsockopt(*member(group, socket.if_nametoindex("as0")))
        kernel.sock.setsockopt(
            *((IPV6, socket.IPV6_RECVHOPLIMIT) if ":" in group else (IP, 12)), 1
        )  # IP_RECVTTL
        protocol.transport.sendto(b"x" * 3000, (group, kernel.port))  # in fragments
        sock.setsockopt(
            *((IPV6, socket.IPV6_MULTICAST_HOPS) if ":" in group else (IP, socket.IP_MULTICAST_TTL)), 5
        )
        protocol.transport.sendto(b"y", (group, kernel.port))
        assert await kernel.received(2) == [b"x" * 3000, b"y"]
        assert [message[1][0][2] for message in kernel.came] == [struct.pack("@i", 1), struct.pack("@i", 5)]
        assert kernel.came[0][3][0] == ours
    assert protocol.errors == []
    protocol.transport.close()


@pytest.mark.parametrize("medium", [TAP])
async def test_a_tap_lets_in_the_groups_that_were_joined(peered):
    counters = peered.stack.counters
    protocol, port, sock = await endpoint(peered, "0.0.0.0")
    with Kernel(PEER) as kernel:
        leave_by(kernel.sock, GROUP4, socket.if_nametoindex("as0"))
        before = counters["ethernet.other_group"]
        kernel.sock.sendto(b"x", (GROUP4, port))
        await until(lambda: counters["ethernet.other_group"] > before)
        sock.setsockopt(*member(GROUP4, peered.interface.index))
        kernel.sock.sendto(b"y", (GROUP4, port))
        assert await protocol.received(1) == [b"y"]
    protocol.transport.close()


@pytest.mark.parametrize("medium", [TAP])
async def test_broadcasts_both_ways(peered):
    first, port, _ = await endpoint(peered, "0.0.0.0", allow_broadcast=True, reuse_port=True)
    second, _ = (await peered.stack.create_datagram_endpoint(Datagrams, ("0.0.0.0", port), reuse_port=True))[
        ::-1
    ]
    with Kernel("0.0.0.0") as kernel:
        kernel.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        kernel.sock.setsockopt(socket.SOL_SOCKET, 25, b"as0")  # SO_BINDTODEVICE
        for address in ("10.9.0.255", "255.255.255.255"):
            kernel.sock.sendto(address.encode(), (address, port))
        both = [b"10.9.0.255", b"255.255.255.255"]
        assert await first.received(2) == await second.received(2) == both
        assert first.datagrams[0][1] == (PEER, kernel.port)
        for address in ("10.9.0.255", "255.255.255.255"):
            first.transport.sendto(address.encode(), (address, kernel.port))
        assert await kernel.received(2) == both
    for protocol in (first, second):
        protocol.transport.close()


class Messages(Datagrams):
    """Keeps (data, ancillary data, address), and sends it back from the address it was sent to, with ECN's CE."""

    def message_received(self, data, ancillary, address):
        self.datagrams.append((data, address))
        self.told = {(level, kind): value for level, kind, value in ancillary}
        self.note("message_received")
        source = [one for one in ancillary if one[:2] in ((IP, 8), (IPV6, socket.IPV6_PKTINFO))]
        marks = (
            [(IP, socket.IP_TOS, b"\3")]
            if "." in address[0]
            else [(IPV6, socket.IPV6_TCLASS, struct.pack("@i", 3))]
        )
        self.transport.sendmsg([data], [*source[-1:], *marks], 0, address)


@FEW
async def test_ancillary_data_of_an_endpoint_of_both_families(peered, ours, peer_address):
    protocol, port, sock = await endpoint(peered, "::", Messages)
    for level, option in [(IP, 8), (IP, 12), (IP, 13)]:
        sock.setsockopt(level, option, 1)
    for option in (socket.IPV6_RECVPKTINFO, socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVTCLASS):
        sock.setsockopt(IPV6, option, 1)
    six = ":" in ours
    with Kernel(peer_address) as kernel:
        tos = (IPV6, socket.IPV6_TCLASS) if six else (IP, socket.IP_TOS)
        kernel.sock.setsockopt(*tos, 0x2A)
        kernel.sock.setsockopt(*((IPV6, socket.IPV6_UNICAST_HOPS) if six else (IP, socket.IP_TTL)), 9)
        kernel.sock.setsockopt(*((IPV6, socket.IPV6_RECVTCLASS) if six else (IP, 13)), 1)
        kernel.sock.sendto(b"x", (ours, port))
        assert await kernel.received(1) == [b"x"]
        _, ancillary, _, address = kernel.came[0]
        assert address[:2] == (ours, port)
        assert ancillary == [(*tos, struct.pack("@i", 3) if six else b"\3")]
    packed = struct.pack("@i", 0x2A)
    assert protocol.told[tos] == (packed if six else b"\x2a")
    assert protocol.told[(IPV6, socket.IPV6_HOPLIMIT) if six else (IP, socket.IP_TTL)] == struct.pack("@i", 9)
    mapped = peer_address if six else f"::ffff:{peer_address}"
    assert protocol.datagrams[0][1][0] == mapped
    protocol.transport.close()


@pytest.mark.parametrize("medium", [TUN])
async def test_the_kernel_says_that_an_address_can_not_be_reached(peered):
    """It is the router: no route, then a port that nobody has."""
    sock = peered.stack.socket(socket.AF_INET, socket.SOCK_DGRAM)
    await sock.connect((PEER, 9))
    _, protocol = await peered.stack.create_datagram_endpoint(Datagrams, sock=sock)
    protocol.transport.sendto(b"anybody?")
    await protocol.called("error_received")
    protocol.transport.sendto(b"anybody?")
    await protocol.called("error_received", 2)
    assert [error.errno for error in protocol.errors] == [errno.ECONNREFUSED] * 2
    _, dual = await peered.stack.create_datagram_endpoint(Datagrams, ("::", 0))
    with Kernel(PEER) as kernel:
        dual.transport.sendto(b"mapped", (f"::ffff:{PEER}", kernel.port, 0, 0))
        assert await kernel.received(1) == [b"mapped"]
        kernel.sock.sendto(b"back", kernel.came[0][3])
        assert await dual.received(1) == [b"back"]
        assert dual.datagrams[0][1] == (f"::ffff:{PEER}", kernel.port, 0, 0)
    assert kernel.came[0][3][0] == OURS
    await asyncio.sleep(0)
    for each in (protocol, dual):
        each.transport.close()
