"""Multicast and broadcast between hosts: who hears what, by which interface it leaves, what the link lets in."""

import asyncio
import errno
import socket
import struct

import pytest

from asyncstack.link.frame import OutgoingFrame
from asyncstack.network.addresses import parse_address
from asyncstack.wire.ndp import multicast_mac
from tests.transport.asyncio_contract.recorders import Datagrams
from tests.transport.sockets.conftest import raises

pytestmark = pytest.mark.virtual_time

IP, IPV6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6
GROUPS = pytest.mark.parametrize("group", ["239.1.2.3", "ff05::123"])


def two(network, **link):
    a = network.host("a", "10.0.0.1/24", "fd00::1/64")
    b = network.host("b", "10.0.0.2/24", "fd00::2/64")
    return a, b, network.link(a, b, **link)


def interface_of(host):
    return next(each for each in host.interfaces if each.name != "lo")


def wildcard(group):
    return "::" if ":" in group else "0.0.0.0"


def member(sock, group, interface=None, leave=False):
    """Join or leave, by the routing table or by index."""
    index = 0 if interface is None else interface.index
    if ":" in group:
        request = struct.pack("@16si", parse_address(group), index)
        sock.setsockopt(IPV6, socket.IPV6_LEAVE_GROUP if leave else socket.IPV6_JOIN_GROUP, request)
    else:
        request = struct.pack("@4s4si", parse_address(group), bytes(4), index)
        sock.setsockopt(IP, socket.IP_DROP_MEMBERSHIP if leave else socket.IP_ADD_MEMBERSHIP, request)


async def endpoint(host, group, port=7, **arguments):
    """(protocol, socket) of an endpoint on `port` of all addresses of the group's family."""
    transport, protocol = await host.create_datagram_endpoint(Datagrams, (wildcard(group), port), **arguments)
    return protocol, transport.get_extra_info("socket")


async def settled():
    await asyncio.sleep(1)


@GROUPS
@pytest.mark.parametrize("ethernet", [True, False])
async def test_join_and_leave_by_the_socket_of_a_transport(network, group, ethernet):
    a, b, _ = two(network, ethernet=ethernet, delay=0.01)
    source, _ = await endpoint(a, group)
    sink, sock = await endpoint(b, group)
    source.transport.sendto(b"too early", (group, 7))
    await settled()
    assert sink.datagrams == []
    member(sock, group)
    source.transport.sendto(b"heard", (group, 7))
    await settled()
    assert [data for data, _ in sink.datagrams] == [b"heard"]
    assert sink.datagrams[0][1][0] == ("fd00::1" if ":" in group else "10.0.0.1")
    member(sock, group, leave=True)
    source.transport.sendto(b"too late", (group, 7))
    await settled()
    assert len(sink.datagrams) == 1
    assert source.errors == []


@GROUPS
async def test_the_link_lets_in_what_was_joined(network, group):
    """By its Ethernet address, which 32 groups of IPv4 share."""
    a, b, _ = two(network, ethernet=True)
    twin = "239.129.2.3"
    await settled()  # a has reported its solicited-node group
    b.counters.clear()
    source, _ = await endpoint(a, group)
    source.transport.sendto(b"x", (group, 7))
    await settled()
    assert b.counters["ethernet.other_group"] == 1
    _, sock = await endpoint(b, group)
    member(sock, group)
    if ":" not in group:
        assert multicast_mac(parse_address(group)) == multicast_mac(parse_address(twin))
        member(sock, twin)
        member(sock, twin, leave=True)
    source.transport.sendto(b"x", (group, 7))
    await settled()
    assert b.counters["ethernet.other_group"] == 1
    member(sock, group, leave=True)
    source.transport.sendto(b"x", (group, 7))
    await settled()
    assert b.counters["ethernet.other_group"] == 2


@GROUPS
async def test_this_host_hears_itself_unless_told_not_to(network, group):
    a, b, _ = two(network)
    here, sock = await endpoint(a, group)
    there, other = await endpoint(b, group)
    source, sending = await endpoint(a, group, 0)
    member(sock, group)
    member(other, group)
    source.transport.sendto(b"1", (group, 7))
    await settled()
    sending.setsockopt(
        *((IPV6, socket.IPV6_MULTICAST_LOOP) if ":" in group else (IP, socket.IP_MULTICAST_LOOP)), 0
    )
    source.transport.sendto(b"2", (group, 7))
    await settled()
    assert [data for data, _ in here.datagrams] == [b"1"]
    assert here.datagrams[0][1] == there.datagrams[0][1]
    assert [data for data, _ in there.datagrams] == [b"1", b"2"]


@GROUPS
async def test_the_hop_limit_is_one_and_zero_stays_at_home(network, group):
    a, b, _ = two(network)
    option = (IPV6, socket.IPV6_MULTICAST_HOPS) if ":" in group else (IP, socket.IP_MULTICAST_TTL)
    hops, receive = [], b.udp.receive

    async def look(packet):
        hops.append(packet.ttl)
        await receive(packet)

    for handlers in (b.ipv4.handlers, b.ipv6.handlers):
        handlers[17] = type("Look", (), {"receive": staticmethod(look)})
    here, sock = await endpoint(a, group)
    _, other = await endpoint(b, group)
    member(sock, group)
    member(other, group)
    for value in (None, 9, 0, -1):
        if value is not None:
            sock.setsockopt(*option, value)
        here.transport.sendto(b"x", (group, 7))
        await settled()
    assert hops == [1, 9, 1]
    assert len(here.datagrams) == 4
    sock.setsockopt(*option, 0)
    here.transport.sendto(bytes(70_000), (group, 7))
    assert [error.errno for error in here.errors] == [errno.EMSGSIZE]


@pytest.mark.parametrize("group", ["ff01::5", "ff00::5"])
async def test_what_is_for_this_host_alone_does_not_leave_it(network, group):
    """RFC 4291 2.7: ff01 spans one interface, and no packet may be sent to ff00; Linux drops both below IP."""
    a, b, _ = two(network, ethernet=True)
    here, sock = await endpoint(a, group)
    there, other = await endpoint(b, group)
    member(sock, group, interface_of(a))
    member(other, group, interface_of(b))
    sent = []
    interface_of(a).taps.append(
        lambda _, frame: sent.append(b"".join(frame.parts)) if isinstance(frame, OutgoingFrame) else None
    )
    here.transport.sendto(b"x", (group, 7, 0, interface_of(a).index))
    await settled()
    assert [data for data, _ in here.datagrams] == [b"x"]
    assert there.datagrams == [] and not any(data[20] == 17 for data in sent)
    here.transport.sendto(b"x", ("ff02::5", 7, 0, interface_of(a).index))
    await settled()
    assert any(data[20] == 17 for data in sent)


@GROUPS
async def test_every_endpoint_hears_it_in_a_turn_of_its_own(network, group):
    a, _, _ = two(network)
    first, sock = await endpoint(a, group, reuse_port=True)
    second, _ = await endpoint(a, group, reuse_port=True)
    member(sock, group)
    first.transport.sendto(b"x", (group, 7))
    assert first.datagrams == second.datagrams == []  # not inside of sendto()
    await settled()
    assert [data for data, _ in first.datagrams] == [data for data, _ in second.datagrams] == [b"x"]


async def test_copies_for_this_host_are_bounded(network):
    a, _, _ = two(network)
    here, sock = await endpoint(a, "239.1.2.3")
    member(sock, "239.1.2.3")
    for _ in range(1000):
        here.transport.sendto(b"x", ("239.1.2.3", 7))
    await settled()
    assert len(here.datagrams) == 256
    assert a.counters["udp.copies_full"] == 744


@GROUPS
async def test_by_which_interface(network, group):
    a = network.host("a", "10.0.0.1/24", "10.1.0.1/24", "fd00::1/64", "fd01::1/64")
    b = network.host("b", "10.0.0.2/24", "fd00::2/64")
    c = network.host("c", "10.1.0.2/24", "fd01::2/64")
    network.link(a, b)
    network.link(a, c)
    left, right = (each for each in a.interfaces if each.name != "lo")
    source, sock = await endpoint(a, group)
    heard = []
    for host in (b, c):
        sink, joined = await endpoint(host, group)
        member(joined, group)
        heard.append(sink)
    for number, interface in enumerate((left, right, left)):
        if ":" in group:
            sock.setsockopt(IPV6, socket.IPV6_MULTICAST_IF, interface.index)
        else:
            sock.setsockopt(
                IP, socket.IP_MULTICAST_IF, struct.pack("@4s4si", bytes(4), bytes(4), interface.index)
            )
        source.transport.sendto(b"%d" % number, (group, 7))
        await settled()
    assert [[data for data, _ in sink.datagrams] for sink in heard] == [[b"0", b"2"], [b"1"]]
    # joined on one interface alone
    member(sock, group, right)
    for host, sink in ((b, heard[0]), (c, heard[1])):
        sink.transport.sendto(host.name.encode(), (group, 7))
    await settled()
    assert [data for data, _ in source.datagrams] == [b"c"]
    with raises(errno.EADDRNOTAVAIL):
        member(sock, group, left, leave=True)


@GROUPS
async def test_memberships_end_with_their_endpoint_and_their_interface(network, group):
    _, b, _ = two(network, ethernet=True)
    interface = interface_of(b)
    groups = b.addresses.groups
    before = groups.of(interface), dict(interface.link._groups)
    sink, sock = await endpoint(b, group)
    member(sock, group)
    assert (groups.of(interface), interface.link._groups) != before
    sink.transport.close()
    await sink.called("connection_lost")
    assert (groups.of(interface), interface.link._groups) == before
    again, sock = await endpoint(b, group)
    member(sock, group)
    await b.remove_interface(interface)
    assert groups.of(interface) == []
    with raises(errno.EADDRNOTAVAIL):
        member(sock, group, leave=True)
    again.transport.close()


async def test_broadcasts_are_heard_by_all_and_by_oneself(network):
    a, b, _ = two(network)
    here, _ = await endpoint(a, "0.0.0.0", allow_broadcast=True, reuse_port=True)
    also, _ = await endpoint(a, "0.0.0.0", reuse_port=True)
    there, _ = await endpoint(b, "0.0.0.0")
    _, bound = await b.create_datagram_endpoint(Datagrams, ("10.0.0.255", 8))
    for broadcast in ("10.0.0.255", "255.255.255.255"):
        here.transport.sendto(broadcast.encode(), (broadcast, 7))
        here.transport.sendto(broadcast.encode(), (broadcast, 8))
    await settled()
    both = [(text, ("10.0.0.1", 7)) for text in (b"10.0.0.255", b"255.255.255.255")]
    assert here.datagrams == also.datagrams == there.datagrams == both
    assert bound.datagrams == both[:1]


async def test_link_local_addresses_have_a_scope(network):
    a = network.host("a", "fe80::1/64", "10.0.0.1/24")
    b = network.host("b", "fe80::2/64", "10.0.0.2/24")
    network.link(a, b)
    near, far = interface_of(a), interface_of(b)
    source, _ = await endpoint(a, "ff02::5")
    sink, sock = await endpoint(b, "ff02::5")
    member(sock, "ff02::5")
    source.transport.sendto(b"all", ("ff02::5", 7, 0, near.index))
    source.transport.sendto(b"one", ("fe80::2", 7, 0, near.index))
    source.transport.sendto(b"by name", (f"fe80::2%{near.name}", 7))
    await settled()
    assert sink.datagrams == [(data, ("fe80::1", 7, 0, far.index)) for data in (b"all", b"one", b"by name")]
    sink.transport.sendto(b"answer", sink.datagrams[0][1])
    await settled()
    assert source.datagrams == [(b"answer", ("fe80::2", 7, 0, near.index))]
    source.transport.sendto(b"x", ("fe80::2", 7, 0, 99))
    assert [error.errno for error in source.errors] == [errno.ENODEV]
