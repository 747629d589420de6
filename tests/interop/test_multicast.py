"""Group membership towards the kernel's side of a TAP: queries from there are answered, as tshark reads it; the kernel
sends to groups and hears them, from certain senders only; and what it reports itself looks the same."""

import asyncio
import socket
import struct
from contextlib import asynccontextmanager

import pytest

import asyncstack
from asyncstack.network.addresses import is_link_local
from asyncstack.network.addresses import parse_address as A
from asyncstack.transport.udp import group_options as names
from tests.interop.kernel import run, until
from tests.interop.loops import on_uvloop
from tests.interop.medium import OURS, PEER, TAP, host
from tests.interop.test_udp import Kernel, endpoint, leave_by, member
from tests.interop.tshark import faults, tshark
from tests.programs import require_program
from tests.transport.sockets.test_sources import storage

pytestmark = pytest.mark.tun

IP, IPV6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6
GROUP4, GROUP6 = "239.7.7.7", "ff05::777"
OTHER = "10.9.0.77"  # one more address of the kernel's
ROUTER_ALERT4 = bytes.fromhex("94040000")
ROUTER_ALERT6 = bytes.fromhex("0000 0502 0000 0100")  # a hop-by-hop header
IS_EXCLUDE, TO_INCLUDE, TO_EXCLUDE, ALLOW, BLOCK = "2", "3", "4", "5", "6"


class Wire:
    """A stack on a TAP with a capture that tshark reads in the end."""

    def __init__(self, made, path):
        self.stack, self.interface, self.path = made.stack, made.interface, path
        self.index = socket.if_nametoindex("as0")
        self.link_local = [
            socket.inet_ntop(socket.AF_INET6, entry.address)
            for entry in made.stack.addresses.of(made.interface, 16)
            if is_link_local(entry.address)
        ]

    def ask(self, message):
        """Send a query, of IGMP without its checksum, from a raw socket; the kernel hears it too."""
        if message[0] == 0x11:
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP) as raw:
                raw.setsockopt(IP, socket.IP_OPTIONS, ROUTER_ALERT4)
                raw.setsockopt(IP, socket.IP_MULTICAST_IF, A(PEER))
                group = message[4:8] if any(message[4:8]) else A("224.0.0.1")
                total = sum(struct.unpack(f"!{len(message) // 2}H", message))
                total = (total & 0xFFFF) + (total >> 16)
                message = message[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + message[4:]
                raw.sendto(message, (socket.inet_ntoa(group), 0))
            return
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
            raw.setsockopt(IPV6, socket.IPV6_HOPOPTS, ROUTER_ALERT6)
            raw.setsockopt(IPV6, socket.IPV6_MULTICAST_HOPS, 1)
            group = message[8:24] if any(message[8:24]) else A("ff02::1")
            raw.bind((_kernels_link_local(), 0, 0, self.index))
            raw.sendto(message, (socket.inet_ntop(socket.AF_INET6, group), 0, 0, self.index))

    async def reported(self, group):
        """What the stack, and what the kernel, reported about `group`: (type, record type, TTL or hop limit) each."""
        version, ours = ("ip", [OURS]) if "." in group else ("ipv6", self.link_local)
        fields = (
            ("igmp.type", "igmp.record_type", "igmp.maddr", "igmp.num_grp_recs", "ip.ttl", "ip.opt.len")
            if "." in group
            else (
                "icmpv6.type",
                "icmpv6.mldr.mar.record_type",
                "icmpv6.mldr.mar.multicast_address",
                "icmpv6.mld.multicast_address",
                "ipv6.hlim",
                "ipv6.opt.router_alert",
            )
        )
        which = "igmp && igmp.type != 0x11" if "." in group else "icmpv6.type in {131, 132, 143}"
        arguments = [word for name in (f"{version}.src", *fields) for word in ("-e", name)]
        printed = await tshark(self.path, "-Y", which, "-T", "fields", *arguments)
        stack, kernel = [], []
        for line in printed.splitlines():
            source, kind, records, groups, other, hops, alert = line.split("\t")
            assert alert, f"no router alert: {line}"
            who = stack if source in ours else kernel
            if records:
                pairs = zip(records.split(","), groups.split(","), strict=True)
                who += [(kind, record, hops) for record, about in pairs if about == group]
            elif group in (groups, other):
                who.append((kind, "", hops))
        return stack, kernel


@asynccontextmanager
async def wired(tmp_path):
    require_program("tshark")
    path = tmp_path / "run.pcapng"
    async with asyncstack.Capture(path) as capture, host(TAP) as made:
        capture.attach(made.interface)
        await until(_kernels_link_local)
        yield Wire(made, path)
    assert await faults(path) == []


def _kernels_link_local():
    """Its address on the TAP; "" as long as it is not known to be its own."""
    with open("/proc/net/if_inet6") as file:
        lines = [line.split() for line in file]
    found = (
        address for address, _, _, scope, flags, name in lines if (name, scope, flags) == ("as0", "20", "80")
    )
    return next((socket.inet_ntop(socket.AF_INET6, bytes.fromhex(address)) for address in found), "")


def query4(group=bytes(4), code=3, sources=None):
    """3: within 0.3 seconds. Without `sources` one of IGMPv2."""
    rest = b"" if sources is None else struct.pack("!BBH", 2, 125, len(sources)) + b"".join(sources)
    return struct.pack("!BBH4s", 0x11, code, 0, group) + rest


def query6(group=bytes(16), code=300, sources=None):
    rest = b"" if sources is None else struct.pack("!BBH", 2, 125, len(sources)) + b"".join(sources)
    return struct.pack("!BBHHH16s", 130, 0, 0, code, 0, group) + rest


# group, query, what its counters begin with; types of reports of the third version, of the second, and of leaving
FAMILIES = [
    (GROUP4, query4, "igmp", "0x22", "0x16", "0x17"),
    (GROUP6, query6, "mld", "143", "131", "132"),
]


async def listening(wire, group):
    """A socket of the stack in `group`, once all has been said about that."""
    protocol, port, sock = await endpoint(wire, "::" if ":" in group else "0.0.0.0")
    sock.setsockopt(*member(group, wire.interface.index))
    await asyncio.sleep(1.2)
    return protocol, port, sock


@on_uvloop
async def test_queries_of_version_3_are_answered_as_the_kernel_does(tmp_path):
    async with wired(tmp_path) as wire:
        await asyncio.gather(*(ask_in_version_3(wire, *family[:3]) for family in FAMILIES))
    for group, _, _, third, _, _ in FAMILIES:
        stack, kernel = await wire.reported(group)
        joined, left = [(third, TO_EXCLUDE, "1")] * 2, [(third, TO_INCLUDE, "1")] * 2
        assert stack == [*joined, *[(third, IS_EXCLUDE, "1")] * 2, *left]
        assert kernel.count((third, IS_EXCLUDE, "1")) == 2
        assert set(kernel) == set(stack)


async def ask_in_version_3(wire, group, query, counter):
    with Kernel("::" if ":" in group else "0.0.0.0") as kernel:
        kernel.sock.setsockopt(*member(group, wire.index))
        protocol, _, sock = await listening(wire, group)
        reports = wire.stack.counters[f"{counter}.reports"]
        wire.ask(query(sources=[]))
        await until(lambda: wire.stack.counters[f"{counter}.reports"] == reports + 1)
        wire.ask(query(A(group), sources=[]))
        await until(lambda: wire.stack.counters[f"{counter}.reports"] == reports + 2)
        await asyncio.sleep(0.5)  # the kernel's answers
    reports = wire.stack.counters[f"{counter}.reports"]
    sock.setsockopt(*leaving(group, wire.interface.index))
    await until(lambda: wire.stack.counters[f"{counter}.reports"] == reports + 2)
    protocol.transport.close()


def leaving(group, index):
    level, _, request = member(group, index)
    return level, socket.IPV6_LEAVE_GROUP if ":" in group else socket.IP_DROP_MEMBERSHIP, request


@on_uvloop
async def test_queries_of_version_2_are_answered_in_it(tmp_path):
    """MLDv1 for IPv6. The kernel, which hears them too, then speaks it as well."""
    async with wired(tmp_path) as wire:
        await asyncio.gather(*(ask_in_version_2(wire, *family[:3]) for family in FAMILIES))
    for group, _, _, third, second, leave in FAMILIES:
        stack, _ = await wire.reported(group)
        assert stack == [*[(third, TO_EXCLUDE, "1")] * 2, *[(second, "", "1")] * 2, (leave, "", "1")]


async def ask_in_version_2(wire, group, query, counter):
    protocol, _, sock = await listening(wire, group)
    wire.ask(query())
    await until(lambda: wire.stack.counters[f"{counter}.queries"] == 1)
    await asyncio.sleep(0.5)
    if counter == "igmp":
        with open("/proc/net/igmp") as file:
            kernels = [line.split() for line in file if "as0" in line]
        assert any((words[1], words[4]) == ("as0", "V2") for words in kernels)
    wire.ask(query(A(group)))
    await until(lambda: wire.stack.counters[f"{counter}.queries"] == 2)
    await asyncio.sleep(0.5)
    sock.setsockopt(*leaving(group, wire.interface.index))
    await asyncio.sleep(0.1)
    protocol.transport.close()


@on_uvloop
async def test_only_one_sender_is_heard(tmp_path):
    """The kernel sends from two addresses; routers are told of the one that is wanted."""
    async with wired(tmp_path) as wire:
        await run("ip", "addr", "add", f"{OTHER}/24", "dev", "as0")
        protocol, port, sock = await endpoint(wire, "0.0.0.0")
        request = struct.pack("@I4x128s128s", wire.interface.index, storage(GROUP4), storage(OTHER))
        sock.setsockopt(IP, names.MCAST_JOIN_SOURCE_GROUP, request)
        await asyncio.sleep(1.2)
        with Kernel(PEER) as first, Kernel(OTHER) as second:
            for kernel in (first, second, first, second):
                leave_by(kernel.sock, GROUP4, wire.index)
                kernel.sock.sendto(kernel.sock.getsockname()[0].encode(), (GROUP4, port))
            assert await protocol.received(2) == [OTHER.encode()] * 2
            wire.ask(query4(A(GROUP4), sources=[A(PEER), A(OTHER)]))
            await until(lambda: wire.stack.counters["igmp.queries"] == 1)
            await asyncio.sleep(0.5)
        assert wire.stack.counters["ipv4.not_ours"] >= 2
        reports = wire.stack.counters["igmp.reports"]
        sock.setsockopt(IP, names.MCAST_LEAVE_SOURCE_GROUP, request)
        await until(lambda: wire.stack.counters["igmp.reports"] == reports + 2)
        protocol.transport.close()
    stack, _ = await wire.reported(GROUP4)
    assert [record for _, record, _ in stack] == [ALLOW, ALLOW, "1", BLOCK, BLOCK]
    said = await tshark(
        wire.path, "-Y", f"ip.src == {OURS} && igmp.saddr", "-T", "fields", "-e", "igmp.saddr"
    )
    assert set(said.split()) == {OTHER}


@pytest.mark.parametrize(("source", "heard"), [(OURS, [b"1", b"2"]), (OTHER, [])])
@on_uvloop
async def test_the_kernel_hears_one_sender(tmp_path, source, heard):
    async with wired(tmp_path) as wire:
        protocol, _, sock = await endpoint(wire, "0.0.0.0")
        leave_by(sock, GROUP4, wire.interface.index)
        with Kernel("0.0.0.0") as kernel, Kernel(PEER) as direct:
            kernel.sock.setsockopt(IP, names.IP_ADD_SOURCE_MEMBERSHIP, A(GROUP4) + A(PEER) + A(source))
            protocol.transport.sendto(b"1", (GROUP4, kernel.port))
            protocol.transport.sendto(b"2", (GROUP4, kernel.port))
            protocol.transport.sendto(b"last", (PEER, direct.port))
            assert await direct.received(1) == [b"last"]
            assert kernel.look() == heard
        assert protocol.errors == []
        protocol.transport.close()


@on_uvloop
async def test_the_kernels_groups_are_not_ours(tmp_path):
    """`ip maddr` shows what the kernel's sockets are in, and nothing of the stack's, whose host is another."""
    async with wired(tmp_path) as wire:
        protocol, _, sock = await endpoint(wire, "0.0.0.0")
        sock.setsockopt(*member(GROUP4, wire.interface.index))
        with Kernel("0.0.0.0") as kernel:
            kernel.sock.setsockopt(*member("239.7.7.8", wire.index))
            shown = await run("ip", "maddr", "show", "dev", "as0")
        assert "239.7.7.8" in shown and GROUP4 not in shown
        sock.setsockopt(*leaving(GROUP4, wire.interface.index))
        protocol.transport.close()
