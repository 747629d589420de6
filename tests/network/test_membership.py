"""Stacks on an Ethernet link tell routers of their groups: what the packets are like, and which queries count."""

import asyncio
import socket
import struct

import pytest

from asyncstack.link.frame import OutgoingFrame
from asyncstack.network.addresses import is_link_local
from asyncstack.network.addresses import parse_address as A
from asyncstack.network.groups import SourceFilter
from asyncstack.wire import icmpv6, igmp, ipv4, ipv6, mld
from asyncstack.wire.ethernet import ETHERTYPE_IPV4, ETHERTYPE_IPV6
from asyncstack.wire.membership import Kind, Membership, Query, Record, Report, Version
from asyncstack.wire.ndp import multicast_mac

pytestmark = pytest.mark.virtual_time

GROUP4, GROUP6 = A("239.1.2.3"), A("ff05::123")


class Site:
    """A host, and a router that hears what it says on the link; MLD and IGMP of this host alone."""

    def __init__(self, network, *addresses, ethernet=True, mtu=1500):
        self.host = network.host("host", *(addresses or ("10.0.0.1/24", "fd00::1/64", "fe80::1/64")))
        self.router = network.host("router", "10.0.0.2/24", "fd00::2/64", "fe80::2/64")
        network.link(self.host, self.router, ethernet=ethernet, mtu=mtu)
        self.interface, self.asking = self.host.interfaces[-1], self.router.interfaces[-1]
        self.packets = []
        self.interface.taps.append(self._tap)

    def _tap(self, interface, frame):
        if not isinstance(frame, OutgoingFrame):
            return
        data = memoryview(b"".join(frame.parts))
        if data[12:14] == b"\x08\x06":  # ARP
            return
        packet = (ipv4 if data[14] >> 4 == 4 else ipv6).parse(data[14:])
        if packet.protocol == ipv4.PROTOCOL_IGMP:
            self.packets.append((packet, igmp.parse(packet.payload), bytes(data[:6])))
        elif packet.protocol == icmpv6.PROTOCOL and packet.payload[0] in (131, 132, 143):
            message = icmpv6.parse(packet.payload, packet.src, packet.dst)
            self.packets.append((packet, mld.parse(message), bytes(data[:6])))

    def said(self, group):
        """Messages about `group`, records and others."""
        found = []
        for _, message, _ in self.packets:
            records = message.records if isinstance(message, Report) else [message]
            found += [each for each in records if each.group == group]
        return found

    def join(self, group, *sources):
        wanted = SourceFilter(not sources, frozenset(sources))
        self.host.addresses.groups.join(group, self.interface, "test", wanted)

    def ask(self, query, src=None, hops=1, alert=True):
        """A query from the router, by hand."""
        link = self.asking.link
        if len(query.group) == 4:
            dst = query.group if any(query.group) else A("224.0.0.1")
            message = igmp.build(query)
            header = ipv4.build(A(src or "10.0.0.2"), dst, 2, len(message), ttl=hops)
            ethertype = ETHERTYPE_IPV4
        else:
            dst = query.group if any(query.group) else A("ff02::1")
            source = A(src or "fe80::2")
            option = mld.HOP_BY_HOP if alert else b"\x3a\0\1\4\0\0\0\0"
            message = option + mld.build(query, source, dst)
            header = ipv6.build(source, dst, 0, len(message), hop_limit=hops)
            ethertype = ETHERTYPE_IPV6
        link.send(OutgoingFrame([header, message]), multicast_mac(dst), ethertype)


def general(group, version=Version.THIRD):
    return Query(version, bytes(len(group)), 1.0)


BOTH = pytest.mark.parametrize("group", [GROUP4, GROUP6], ids=["igmp", "mld"])


async def test_an_igmp_report(network):
    site = Site(network)
    site.join(GROUP4)
    packet, message, mac = site.packets[-1]
    assert message == Report([Record(Kind.TO_EXCLUDE, GROUP4)])
    assert (packet.src, packet.dst) == (A("10.0.0.1"), A("224.0.0.22"))
    assert (packet.ttl, packet.tos, packet.options) == (1, 0xC0, bytes.fromhex("94040000"))
    assert mac == bytes.fromhex("01005e000016")


async def test_an_mld_report(network):
    site = Site(network)
    await asyncio.sleep(2)
    site.join(GROUP6)
    packet, message, mac = site.packets[-1]
    assert message == Report([Record(Kind.TO_EXCLUDE, GROUP6)])
    assert is_link_local(packet.src) and packet.src in site.host.addresses.local
    assert (packet.dst, packet.ttl) == (A("ff02::16"), 1)
    assert mld.has_router_alert(packet.raw)
    assert mac == bytes.fromhex("333300000016")


async def test_solicited_node_groups_are_reported_and_those_of_the_link_are_not(network):
    site = Site(network)
    site.host.add_address(site.interface, A("fd00::12:3456"), 64)
    site.join(A("224.0.0.251"))
    site.join(A("ff01::5"))
    site.join(A("ff02::fb"))
    await asyncio.sleep(5)
    assert Record(Kind.TO_EXCLUDE, A("ff02::1:ff12:3456")) in site.said(A("ff02::1:ff12:3456"))
    assert site.said(A("ff02::fb"))
    assert site.said(A("224.0.0.251")) == site.said(A("ff01::5")) == site.said(A("ff02::1")) == []


async def test_what_no_router_could_hear_is_told_again(network):
    """RFC 3590: a report from no address is for switches; with a link-local address all of it is told."""
    site = Site(network)
    for entry in site.host.addresses.of(site.interface, 16):
        if is_link_local(entry.address):
            site.host.remove_address(entry.address)
    await asyncio.sleep(5)
    site.packets.clear()
    site.join(GROUP6)
    await asyncio.sleep(5)
    assert {packet.src for packet, _, _ in site.packets} == {bytes(16)}
    site.packets.clear()
    site.host.add_address(site.interface, A("fe80::1"), 64)
    await asyncio.sleep(5)
    assert {packet.src for packet, _, _ in site.packets} == {A("fe80::1")}
    assert Record(Kind.TO_EXCLUDE, GROUP6) in site.said(GROUP6)


async def test_a_link_that_is_up_again_is_told_all(network):
    """A switch may be another one now."""
    site = Site(network)
    site.join(GROUP4)
    site.join(GROUP6)
    await asyncio.sleep(5)
    site.packets.clear()
    for up in (False, True):
        site.host._link_changed(site.interface, up)
    await asyncio.sleep(5)
    for group in (GROUP4, GROUP6):
        assert Record(Kind.TO_EXCLUDE, group) in site.said(group)


@BOTH
async def test_queries_are_answered(network, group):
    site = Site(network)
    site.join(group)
    await asyncio.sleep(5)
    site.packets.clear()
    site.ask(general(group))
    await asyncio.sleep(2)
    assert site.said(group) == [Record(Kind.IS_EXCLUDE, group)]
    site.ask(general(group, Version.SECOND))
    await asyncio.sleep(2)
    assert site.said(group)[1:] == [Membership(group)]
    packet, _, mac = next(each for each in site.packets if each[1] == Membership(group))
    assert packet.dst == group and mac == multicast_mac(group)
    site.host.addresses.groups.leave(group, site.interface, "test")
    assert site.said(group)[2:] == [Membership(group, leave=True)]
    assert site.packets[-1][0].dst == A("224.0.0.2" if len(group) == 4 else "ff02::2")


@BOTH
async def test_no_filter_keeps_queries_out(network, group):
    """They come from a router to the group itself, in which it is no sender that anybody wants."""
    site = Site(network)
    site.join(group, bytes(len(group) - 1) + b"\7")
    await asyncio.sleep(5)
    site.packets.clear()
    site.ask(Query(Version.THIRD, group, 1.0))
    await asyncio.sleep(2)
    assert [record.kind for record in site.said(group)] == [Kind.IS_INCLUDE]


async def test_a_host_without_groups_remembers_an_older_router(network):
    site = Site(network)
    site.ask(general(GROUP4, Version.FIRST))
    await asyncio.sleep(1)
    site.join(GROUP4)
    assert site.said(GROUP4) == [Membership(GROUP4, version=Version.FIRST)]


@BOTH
async def test_another_hosts_report_is_heard(network, group):
    """Of a group that both are in: one report is enough for a router of version 2."""
    site = Site(network)
    site.ask(general(group, Version.SECOND))
    await asyncio.sleep(1)
    site.join(group)
    await asyncio.sleep(20)
    site.packets.clear()
    site.ask(Query(Version.SECOND, bytes(len(group)), 10.0))
    await asyncio.sleep(0.001)
    site.ask(Membership(group))
    await asyncio.sleep(20)
    assert site.said(group) == []


@pytest.mark.parametrize(
    "query, wrong",
    [
        (general(GROUP4), {"hops": 2}),
        (general(GROUP6), {"hops": 2}),
        (general(GROUP6), {"src": "fd00::2"}),
        (general(GROUP6), {"alert": False}),
    ],
)
async def test_queries_from_elsewhere_are_not_answered(network, query, wrong):
    site = Site(network)
    site.join(GROUP4)
    site.join(GROUP6)
    await asyncio.sleep(5)
    site.packets.clear()
    site.ask(query, **wrong)
    await asyncio.sleep(5)
    assert site.packets == []
    assert site.host.counters["igmp.invalid"] + site.host.counters["mld.invalid"] == 1


@BOTH
async def test_what_is_too_long_for_a_packet_is_cut(network, group):
    site = Site(network, mtu=1280)
    await asyncio.sleep(5)
    sources = [bytes(len(group) - 2) + number.to_bytes(2, "big") for number in range(1, 401)]
    groups = site.host.addresses.groups
    groups.join(group, site.interface, "test", SourceFilter(False, frozenset(sources)))
    assert len(site.said(group)) >= 2
    assert all(len(packet.raw) <= 1280 for packet, _, _ in site.packets)
    told = [source for record in site.said(group) for source in record.sources]
    assert sorted(told) == sources


async def test_groups_that_are_left_at_the_end_are_told(network):
    site = Site(network)
    transport, _ = await site.host.create_datagram_endpoint(asyncio.DatagramProtocol, ("0.0.0.0", 7))
    sock = transport.get_extra_info("socket")
    for number in range(3):
        request = struct.pack("@4s4si", A(f"239.1.2.{number}"), bytes(4), site.interface.index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    await asyncio.sleep(5)
    site.packets.clear()
    await site.host.close()
    for number in range(3):
        assert Record(Kind.TO_INCLUDE, A(f"239.1.2.{number}")) in site.said(A(f"239.1.2.{number}"))


async def test_links_without_routers_hear_nothing(network):
    """A TUN, or a link of bare IP: there is one other end, and it gets every packet."""
    site = Site(network, ethernet=False)
    site.join(GROUP4)
    site.join(GROUP6)
    await asyncio.sleep(5)
    assert not [name for name in site.host.counters if name.startswith(("igmp", "mld"))]


async def test_nothing_runs_while_nothing_is_to_be_told(network):
    site = Site(network)
    site.join(GROUP4)
    site.join(GROUP6)
    await asyncio.sleep(5)
    membership = site.host.icmpv6.mld
    listeners = [*membership._igmp._listeners.values(), *membership._mld._listeners.values()]
    assert [listener.timer.fires_at for listener in listeners] == [float("inf")] * 2
    await site.host.remove_interface(site.interface)
    assert not membership._igmp._listeners and not membership._mld._listeners


@pytest.mark.forges("a query cut short")
async def test_garbage_is_counted(network):
    site = Site(network)
    site.join(GROUP4)
    for payload, protocol in ((b"\x11\0", 2), (igmp.build(Membership(GROUP4, leave=True)), 2)):
        header = ipv4.build(A("10.0.0.2"), A("224.0.0.1"), protocol, len(payload), ttl=1)
        site.asking.link.send(OutgoingFrame([header, payload]), multicast_mac(A("224.0.0.1")), ETHERTYPE_IPV4)
    await asyncio.sleep(1)
    assert (site.host.counters["igmp.malformed"], site.host.counters["igmp.ignored"]) == (1, 1)


@pytest.mark.parametrize("mtu", [68, 80, 91, 92, 200])
async def test_links_that_hardly_carry_a_record(network, mtu):
    """IPv6 on such a link is not what RFC 8200 5 allows, and yet nothing breaks."""
    site = Site(network, mtu=mtu)
    sources = [GROUP6[:-2] + bytes((1, last)) for last in range(1, 4)]
    site.join(GROUP6, *sources)
    site.join(A("ff05::124"))
    await asyncio.sleep(5)
    told = [source for record in site.said(GROUP6) for source in record.sources]
    assert sorted(set(told)) == sources
    assert site.said(A("ff05::124"))
