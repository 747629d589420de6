"""Ancillary data through a transport."""

import asyncio
import errno
import socket
import struct

import pytest

from tests.transport.asyncio_contract.recorders import Datagrams

pytestmark = pytest.mark.virtual_time

IP, IPV6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6


class Messages(Datagrams):
    """Keeps (data, ancillary data, address)."""

    def __init__(self):
        super().__init__()
        self.messages = []

    def message_received(self, data, ancillary, address):
        self.messages.append((data, {kind: value for _, kind, value in ancillary}, address))
        self.note("message_received")


async def pair(network, family):
    a = network.host("a", "10.0.0.1/24", "fd00::1/64")
    b = network.host("b", "10.0.0.2/24", "10.0.0.3/24", "fd00::2/64", "fd00::3/64")
    network.link(a, b, delay=0.01)
    _, near = await a.create_datagram_endpoint(Datagrams, family=family)
    _, far = await b.create_datagram_endpoint(Messages, ("::", 7))
    return near, far


@pytest.mark.parametrize("host", ["10.0.0.3", "fd00::3"])
async def test_an_answer_from_the_address_that_was_asked_with_its_ecn(network, host):
    """As a QUIC server on all addresses does it."""
    near, far = await pair(network, socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock, sending = (each.transport.get_extra_info("socket") for each in (far, near))
    for level, option in [(IP, 8), (IP, 13), (IPV6, socket.IPV6_RECVPKTINFO), (IPV6, socket.IPV6_RECVTCLASS)]:
        sock.setsockopt(level, option, 1)
    sending.setsockopt(IP, socket.IP_TOS, 2)
    if ":" in host:
        sending.setsockopt(IPV6, socket.IPV6_TCLASS, 2)
    near.transport.sendto(b"question", (host, 7))
    await far.called("message_received")
    ((data, told, address),) = far.messages
    assert (data, far.datagrams) == (b"question", [])
    if ":" in host:
        assert told[socket.IPV6_TCLASS] == struct.pack("@i", 2)
        answer = (IPV6, socket.IPV6_PKTINFO, told[socket.IPV6_PKTINFO])
    else:
        assert told[socket.IP_TOS] == b"\2"
        answer = (IP, 8, told[8])
    far.transport.sendmsg([b"ans", b"wer"], [answer], 0, address)
    assert await near.received(1) == [b"answer"]
    assert near.datagrams[0][1][0] == host


async def test_a_protocol_without_the_method_gets_the_datagrams_alone(network):
    near, far = await pair(network, socket.AF_INET)
    far.transport.get_extra_info("socket").setsockopt(IP, 8, 1)
    other = Datagrams()
    far.transport.set_protocol(other)
    near.transport.sendto(b"x", ("10.0.0.2", 7))
    assert await other.received(1) == [b"x"]
    assert far.messages == []


async def test_what_waited_is_told_in_full(network):
    near, _ = await pair(network, socket.AF_INET)
    host = network.hosts["b"]
    sock = host.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(IP, 12, 1)  # IP_RECVTTL
    sock.bind(("10.0.0.2", 8))
    near.transport.sendto(b"early", ("10.0.0.2", 8))
    await asyncio.sleep(1)
    _, protocol = await host.create_datagram_endpoint(Messages, sock=sock)
    await protocol.called("message_received")
    assert protocol.messages == [(b"early", {socket.IP_TTL: struct.pack("@i", 64)}, protocol.messages[0][2])]
    assert protocol.callbacks == ["connection_made", "message_received"]


async def test_marks_that_are_none_are_told_as_errors(network):
    near, _ = await pair(network, socket.AF_INET)
    near.transport.sendmsg([b"x"], [(IP, socket.IP_TTL, b"")], 0, ("10.0.0.2", 7))
    assert [error.errno for error in near.errors] == [errno.EINVAL]
    with pytest.raises(ValueError, match="address"):
        near.transport.sendmsg([b"x"])
