"""`Stack.traceroute` in virtual time. The routers are a rule of the link, which answers in their place."""

import asyncio
import gc
from contextlib import aclosing

import pytest

from asyncstack import Hop, ProbeReply, UnreachableError
from asyncstack.cli.traceroute import DATA_SIZE, SYN_SIZE
from asyncstack.link.frame import OutgoingFrame
from asyncstack.network.addresses import parse_address
from asyncstack.network.errors import Unreachable
from asyncstack.testing import Verdict
from asyncstack.wire import icmp, icmpv6, ipv4, ipv6

pytestmark = pytest.mark.virtual_time

ROUTERS = {4: ["192.0.2.1", "192.0.2.2", "192.0.2.3"], 6: ["2001:db8::1", "2001:db8::2", "2001:db8::3"]}
HOSTS = {4: ("10.0.0.1", "10.0.0.2"), 6: ("fd00::1", "fd00::2")}
BOTH = pytest.mark.parametrize("version", [4, 6])
EVERY = pytest.mark.parametrize("method", ["udp", "icmp", "tcp"])


class Way:
    """Two hosts, and between them routers that count the TTL down; `silent` ones say nothing about it."""

    def __init__(self, network, version, silent=(), refuses=None):
        self.version, self.silent, self.refuses = version, silent, refuses
        ours, theirs = HOSTS[version]
        self.routers = ROUTERS[version]
        length = "/24" if version == 4 else "/64"
        self.a = network.host("a", ours + length)
        self.b = network.host("b", theirs + length)
        self.seen = []  # TTLs
        self.sizes = set()
        self.link = network.link(self.a, self.b, delay=0.005)
        self.link.forward.set(rule=self.pass_routers)
        self.back = self.b.interfaces[-1]

    def pass_routers(self, passing):
        data = bytes(passing.data)
        ttl = data[8] if self.version == 4 else data[7]
        self.seen.append(ttl)
        self.sizes.add(len(data))
        if ttl > len(self.routers):
            return Verdict.PASS
        router = self.routers[ttl - 1]
        if router not in self.silent:
            self.complain(router, data, refused=router == self.refuses)
        return Verdict.DROP

    def complain(self, router, data, refused):
        src, dst = parse_address(router), parse_address(HOSTS[self.version][0])
        if self.version == 4:
            kind = (3, 13) if refused else (11, 0)
            message = icmp.build(*kind, 0, data[:28])
            header = ipv4.build(src, dst, icmp.PROTOCOL, len(message))
        else:
            message = icmpv6.build(src, dst, *((1, 1) if refused else (3, 0)), 0, data[:100])
            header = ipv6.build(src, dst, icmpv6.PROTOCOL, len(message))
        self.back.transmit(OutgoingFrame([header, message]))

    async def trace(self, **arguments):
        return [hop async for hop in self.a.traceroute("b", **arguments)]


@BOTH
@EVERY
async def test_every_hop_and_then_the_host(network, version, method):
    way = Way(network, version)
    hops = await way.trace(method=method)
    assert [hop.ttl for hop in hops] == [1, 2, 3, 4]
    assert [hop.last for hop in hops] == [False, False, False, True]
    for hop, source in zip(hops, [*way.routers, HOSTS[version][1]], strict=True):
        assert [reply.source for reply in hop.replies] == [source] * 3
        assert all(0 < reply.rtt <= 0.0101 for reply in hop.replies)
    assert {reply.error for hop in hops[:3] for reply in hop.replies} == {Unreachable.TIME_EXCEEDED}
    assert {reply.error for reply in hops[3].replies} == {None}
    assert not way.a._probes
    assert not way.a.tcp.connections and not way.b.tcp.connections


@BOTH
@EVERY
async def test_probes_are_as_large_as_the_command_says(network, version, method):
    way = Way(network, version)
    await way.trace(method=method, max_hops=3)
    assert way.sizes == {(SYN_SIZE if method == "tcp" else DATA_SIZE) + (20 if version == 4 else 40)}


@EVERY
async def test_a_router_that_is_silent(network, method):
    way = Way(network, 4, silent=["192.0.2.2"])
    hops = await way.trace(method=method, timeout=1.0, queries=2)
    assert [[reply and reply.source for reply in hop.replies] for hop in hops] == [
        ["192.0.2.1"] * 2,
        [None, None],
        ["192.0.2.3"] * 2,
        ["10.0.0.2"] * 2,
    ]


@BOTH
async def test_a_router_that_lets_nobody_pass_is_the_last(network, version):
    refuser = ROUTERS[version][1]
    hops = await Way(network, version, refuses=refuser).trace(queries=1)
    assert [hop.last for hop in hops] == [False, True]
    assert hops[1] == Hop(2, [ProbeReply(refuser, hops[1].replies[0].rtt, Unreachable.ADMIN)])


async def test_a_tcp_port_that_is_open(network):
    """What answers the probe is reset, so that the server is not left half open."""
    way = Way(network, 4)
    server = await way.b.start_server(lambda reader, writer: None, None, 80)
    hops = await way.trace(method="tcp")
    assert hops[-1].last and hops[-1].replies[0].source == "10.0.0.2"
    await asyncio.sleep(1)
    assert not way.b.tcp.connections
    server.close()


async def test_a_udp_port_that_answers(network):
    class Loud(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, addr):
            self.transport.sendto(b"here", addr)

    way = Way(network, 4)
    for port in range(33434 + 9, 33434 + 12):
        await way.b.create_datagram_endpoint(Loud, local_addr=("10.0.0.2", port))
    hops = await way.trace()
    assert [reply.source for reply in hops[-1].replies] == ["10.0.0.2"] * 3


async def test_where_to_begin_and_to_end(network):
    way = Way(network, 4)
    hops = await way.trace(first_ttl=2, max_hops=3, queries=1)
    assert [hop.ttl for hop in hops] == [2, 3]
    assert not hops[-1].last
    assert sorted(way.seen) == [2, 3]


async def test_who_stops_asking_leaves_nothing(network):
    way = Way(network, 4, silent=ROUTERS[4])
    async with aclosing(way.a.traceroute("b", timeout=60)) as hops:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await anext(hops)
    assert not way.a._probes
    assert len(asyncio.all_tasks()) == 1
    assert len(way.seen) == 16, "so many are out at a time, and nothing goes beyond the host"


async def test_the_interface_goes(network):
    """All probes end with it; the error is told once."""
    way = Way(network, 4, silent=ROUTERS[4])
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    waiting = asyncio.create_task(way.trace(timeout=60))
    await asyncio.sleep(1)
    way.link.ends[0].set_down()
    with pytest.raises(OSError, match="down"):
        await waiting
    del waiting
    await asyncio.sleep(1)
    gc.collect()
    assert complaints == []


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "a"])
async def test_oneself(network, host):
    way = Way(network, 4)
    hops = [hop async for hop in way.a.traceroute(host)]
    assert [hop.last for hop in hops] == [True]


@pytest.mark.parametrize(
    "arguments",
    [
        {"method": "sctp"},
        {"first_ttl": 0},
        {"first_ttl": 9, "max_hops": 8},
        {"max_hops": 256},
        {"port": 65500},
        {"port": -1},
        {"port": 65536, "method": "tcp"},
        {"queries": 0},
        {"queries": 11, "method": "icmp"},
    ],
)
async def test_what_can_not_be(network, arguments):
    with pytest.raises(ValueError, match=str(next(iter(arguments.values())))):
        await Way(network, 4).trace(**arguments)


@BOTH
async def test_ping_with_a_ttl_is_told_who_stopped_it(network, version):
    way = Way(network, version)
    with pytest.raises(UnreachableError) as caught:
        await way.a.ping("b", ttl=2)
    assert (caught.value.reporter, caught.value.kind) == (way.routers[1], Unreachable.TIME_EXCEEDED)
    assert (await way.a.ping("b", ttl=4)).source == HOSTS[version][1]
