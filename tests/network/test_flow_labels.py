"""RFC 6437: one label for each flow, the same in every packet of it, and not to be foretold."""

import asyncio
import random
import socket

import pytest

from asyncstack import StackConfig
from asyncstack.network.flow_labels import FlowLabels
from asyncstack.testing.impairment import Verdict
from asyncstack.wire import ipv6
from tests.network.host import Host
from tests.transport.asyncio_contract.recorders import Datagrams, Recorder

IPV6_FLOWINFO = 11
LABEL = 0x54321


def labels_of(link, protocol):
    """{(source port, destination port): the labels seen} of what is sent on `link`, both ways; filled as it goes."""
    seen = {}

    def look(passing):
        packet = passing.ip
        if packet is not None and packet.protocol == protocol:
            ports = (int.from_bytes(packet.payload[:2], "big"), int.from_bytes(packet.payload[2:4], "big"))
            seen.setdefault(ports, set()).add(packet.flow_label)
        return Verdict.PASS

    link.set(rule=look)
    return seen


@pytest.fixture
def pair(network):
    def make(config=None):
        a = network.host("a", "2001:db8::1/64", config=config)
        b = network.host("b", "2001:db8::2/64", config=config)
        return a, b, network.link(a, b, delay=0.01)

    return make


@pytest.mark.virtual_time
async def test_every_segment_of_a_connection_has_its_label(pair):
    a, b, link = pair()

    async def serve(reader, writer):
        writer.write(await reader.read())
        writer.close()

    await b.start_server(serve, "2001:db8::2", 80)
    seen = labels_of(link, 6)
    for _ in range(3):
        reader, writer = await a.open_connection("2001:db8::2", 80)
        writer.write(bytes(100_000))
        writer.write_eof()
        assert len(await reader.read()) == 100_000
        writer.close()
    assert len(seen) == 6, "three connections, two directions"
    assert all(len(labels) == 1 for labels in seen.values())
    labels = [label for one in seen.values() for label in one]
    assert len(set(labels)) == 6 and 0 not in labels


@pytest.mark.virtual_time
async def test_a_refusal_and_a_cookie_have_the_label_that_a_connection_would_have(pair):
    config = StackConfig()
    config.tcp.syn_cookies = "always"
    a, b, link = pair(config)
    await b.create_server(Recorder, "2001:db8::2", 80)
    seen = labels_of(link, 6)
    transport, _ = await a.create_connection(Recorder, "2001:db8::2", 80)
    transport.write(b"x")
    await asyncio.sleep(1)
    with pytest.raises(ConnectionRefusedError):
        await a.create_connection(Recorder, "2001:db8::2", 81)
    assert len(seen) == 4
    assert all(len(labels) == 1 and 0 not in labels for labels in seen.values())


@pytest.mark.virtual_time
async def test_datagrams(pair):
    a, b, link = pair()
    await b.create_datagram_endpoint(Datagrams, ("2001:db8::2", 7))
    seen = labels_of(link, 17)
    for _ in range(3):
        transport, _ = await a.create_datagram_endpoint(Datagrams, remote_addr=("2001:db8::2", 7))
        for _ in range(3):
            transport.sendto(b"hello")
    await asyncio.sleep(1)
    assert all(len(labels) == 1 for labels in seen.values())
    assert len({label for one in seen.values() for label in one}) == 3


@pytest.mark.virtual_time
async def test_a_label_that_the_application_gives(pair):
    a, b, link = pair()
    heard = b.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    heard.bind(("::", 7))
    heard.setsockopt(socket.IPPROTO_IPV6, IPV6_FLOWINFO, 1)
    await b.create_server(Recorder, None, 80)
    there, datagrams, segments = ("2001:db8::2", 7, LABEL, 0), labels_of(link, 17), None
    one = a.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    await one.sendto(b"by address", there)
    await one.sendto(b"its own", there[:2])
    mark = (socket.IPPROTO_IPV6, IPV6_FLOWINFO, (LABEL + 1).to_bytes(4, "big"))
    await one.sendmsg([b"by ancillary data"], [mark], 0, there[:2])
    await one.connect(there)
    await one.send(b"connected")
    told = []
    for _ in range(4):
        data, ancillary, _, _ = await heard.recvmsg(100, 100)
        told.append((data, *(int.from_bytes(info, "big") for _, _, info in ancillary)))
    assert told[0] == (b"by address", LABEL)
    assert told[1][1] not in (0, LABEL)
    assert told[2:] == [(b"by ancillary data", LABEL + 1), (b"connected", LABEL)]
    assert len(datagrams) == 1
    segments = labels_of(link, 6)
    stream = a.socket(socket.AF_INET6)
    await stream.connect(("2001:db8::2", 80, LABEL, 0))
    a.routes.changed()  # the path is looked up again
    stream.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0x28)
    await stream.sendall(b"x")
    await asyncio.sleep(1)
    assert segments[stream.getsockname()[1], 80] == {LABEL}


@pytest.mark.virtual_time
async def test_a_label_is_all_that_connections_between_two_hosts_do_not_share(pair):
    a, b, link = pair()
    await b.create_server(Recorder, "2001:db8::2", 80)
    seen = labels_of(link, 6)
    for _ in range(3):
        await a.create_connection(Recorder, "2001:db8::2", 80)
    await asyncio.sleep(1)
    assert len({label for labels in seen.values() for label in labels}) == 6
    for host in (a, b):
        endpoints = list(host.tcp.connections.values())
        path = endpoints[0].path
        assert [endpoint.path is path for endpoint in endpoints] == [True] * 3
        assert [(e.key[0] is path.source, e.key[2] is path.destination) for e in endpoints] == [
            (True, True)
        ] * 3


@pytest.mark.virtual_time
async def test_without_automatic_labels(pair):
    a, b, link = pair(StackConfig(auto_flow_labels=False))
    await b.create_server(Recorder, None, 80)
    seen = labels_of(link, 6)
    await a.create_connection(Recorder, "2001:db8::2", 80)
    assert list(seen.values()) == [{0}, {0}]


def test_labels_are_spread_and_not_known_to_others():
    host = Host()
    path, four = host.path("fd00::9"), host.path("10.0.0.9")
    labels, others = FlowLabels(random.Random(1)), FlowLabels(random.Random(2))
    found = [labels.of(path, 6, port, 80) for port in range(2000)]
    assert len(set(found)) > 1980
    assert found == [labels.of(path, 6, port, 80) for port in range(2000)]
    assert sum(others.of(path, 6, port, 80) == label for port, label in enumerate(found)) < 5
    counts = [sum(label >> bit & 1 for label in found) for bit in range(20)]
    assert all(900 < count < 1100 for count in counts), "each bit is set in half of them"
    assert labels.mark(four, 6, 1, 2) == 0
    assert labels.mark(path, 6, 1, 2, 0xFFF54321) == LABEL << 8


def test_fragments_have_the_label_too():
    host = Host()
    host.ipv6.send(host.path("fd00::9"), 17, [bytes(4000)], tos=LABEL << 8 | 0x28, dont_fragment=False)
    packets = [ipv6.parse(memoryview(data)) for data in host.sent()]
    assert [(packet.flow_label, packet.tos) for packet in packets] == [(LABEL, 0x28)] * 3
