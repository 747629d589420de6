"""UDP's layer: which endpoint a datagram is for, and what becomes of those that are for none."""

import asyncio
import errno

import pytest

from asyncstack import Stack, memory_pair
from asyncstack.link.frame import OutgoingFrame
from asyncstack.testing.plugin import async_fixture
from asyncstack.wire import icmp, icmpv6, ipv4, ipv6, udp
from tests.link.devices import Receiver, ip_frame, udp_frame
from tests.transport.asyncio_contract.recorders import Datagrams

pytestmark = pytest.mark.virtual_time

PEER, OURS = "10.0.0.1", "10.0.0.2"
PEER6, OURS6 = "fd00::1", "fd00::2"
UDP = 17


class Wire:
    """A stack, and the other end of its wire in the hands of the test."""

    def __init__(self, stack, device):
        self.stack = stack
        self.device = device
        self.receiver = Receiver(device)

    async def bind(self, local, remote=None, **arguments):
        _, protocol = await self.stack.create_datagram_endpoint(Datagrams, local, remote, **arguments)
        return protocol

    async def send(self, frame):
        """Have the stack receive `frame`, and give what it sent because of it."""
        known = len(self.receiver.frames)
        assert self.device.send(frame)
        await asyncio.sleep(0.001)
        return [bytes(frame.data) for frame in self.receiver.frames[known:]]


@async_fixture
async def wire():
    async with Stack() as stack:
        device, ours = memory_pair()
        stack.attach(ours, [f"{OURS}/24", f"{OURS6}/64"])
        made = Wire(stack, device)
        yield made
        await device.close()


def raw(src, dst, ports, payload, *, checksum=None, length=None):
    """A UDP packet with the fields that the test wants."""
    data = bytearray(udp.build(*ports, len(payload), 0) + payload)
    if length is not None:
        data[4:6] = length.to_bytes(2, "big")
    if checksum is not None:
        data[6:8] = checksum.to_bytes(2, "big")
    return ip_frame(src, dst, UDP, bytes(data))


async def test_the_most_specific_endpoint_gets_it(wire):
    anywhere = await wire.bind(("0.0.0.0", 7))
    here = await wire.bind((OURS, 8))
    peer = await wire.bind((OURS, 9), (PEER, 5000))
    for port, endpoint in ((7, anywhere), (8, here), (9, peer)):
        await wire.send(udp_frame(PEER, OURS, (5000, port), b"%d" % port))
        assert endpoint.datagrams == [(b"%d" % port, (PEER, 5000))]
    answer = await wire.send(udp_frame(PEER, OURS, (5001, 9), b"of somebody else"))
    assert len(peer.datagrams) == 1
    assert answer[0][20] == icmp.UNREACHABLE


async def test_families_do_not_mix(wire):
    four = await wire.bind(("0.0.0.0", 7))
    six = await wire.bind((OURS6, 7))
    await wire.send(udp_frame(PEER, OURS, (5000, 7), b"four"))
    await wire.send(udp_frame(PEER6, OURS6, (5000, 7), b"six"))
    assert four.datagrams == [(b"four", (PEER, 5000))]
    assert six.datagrams == [(b"six", (PEER6, 5000, 0, 0))]


@pytest.mark.parametrize(("src", "dst"), [(PEER, OURS), (PEER6, OURS6)])
async def test_nobody_listens(wire, src, dst):
    (answer,) = await wire.send(udp_frame(src, dst, (5000, 9), b"anybody?"))
    if ":" in dst:
        assert (answer[40], answer[41]) == (icmpv6.UNREACHABLE, 4)
    else:
        assert (answer[20], answer[21]) == (icmp.UNREACHABLE, 3)
    assert wire.stack.counters["udp.no_endpoint"] == 1


@pytest.mark.parametrize("dst", ["10.0.0.255", "255.255.255.255", "224.0.0.1"])
async def test_nobody_is_told_that_nobody_listens_to_a_broadcast(wire, dst):
    assert await wire.send(udp_frame(PEER, dst, (5000, 9), b"anybody?")) == []
    assert wire.stack.counters["udp.no_endpoint"] == 1


@pytest.mark.parametrize("dst", ["10.0.0.255", "255.255.255.255", "224.0.0.1"])
async def test_broadcasts_reach_who_is_bound_to_any_address(wire, dst):
    anywhere = await wire.bind(("0.0.0.0", 7))
    here = await wire.bind((OURS, 8))
    await wire.send(udp_frame(PEER, dst, (5000, 7), b"all"))
    await wire.send(udp_frame(PEER, dst, (5000, 8), b"all"))
    assert anywhere.datagrams == [(b"all", (PEER, 5000))]
    assert here.datagrams == []


@pytest.mark.parametrize(
    ("fields", "counter"),
    [
        ({"checksum": 0x1234}, "udp.bad_checksum"),
        ({"length": 7}, "udp.malformed"),
        ({"length": 0}, "udp.malformed"),
        ({"length": 100}, "udp.malformed"),
    ],
)
async def test_damaged_datagrams_are_counted_and_dropped(wire, fields, counter):
    endpoint = await wire.bind((OURS, 7))
    assert await wire.send(raw(PEER, OURS, (5000, 7), b"payload", **fields)) == []
    assert endpoint.datagrams == []
    assert wire.stack.counters[counter] == 1


async def test_a_header_cut_short(wire):
    endpoint = await wire.bind((OURS, 7))
    for size in range(8):
        assert await wire.send(ip_frame(PEER, OURS, UDP, udp.build(5000, 7, 0)[:size])) == []
    assert endpoint.datagrams == []
    assert wire.stack.counters["udp.malformed"] == 8


async def test_no_checksum_is_allowed_in_ipv4_alone(wire):
    four, six = await wire.bind((OURS, 7)), await wire.bind((OURS6, 7))
    await wire.send(raw(PEER, OURS, (5000, 7), b"unchecked", checksum=0))
    await wire.send(raw(PEER6, OURS6, (5000, 7), b"unchecked", checksum=0))
    assert four.datagrams == [(b"unchecked", (PEER, 5000))]
    assert six.datagrams == []
    assert wire.stack.counters["udp.bad_checksum"] == 1


async def test_bytes_behind_the_datagram_are_not_its_own(wire):
    endpoint = await wire.bind((OURS, 7))
    frame = udp_frame(PEER, OURS, (5000, 7), b"payload")
    data = udp.build(5000, 7, 7, 0) + b"payload" + b"padding"
    await wire.send(ip_frame(PEER, OURS, UDP, data))
    await wire.send(frame)
    assert [data for data, _ in endpoint.datagrams] == [b"payload", b"payload"]


@pytest.mark.parametrize(("src", "dst"), [(PEER, OURS), (PEER6, OURS6)])
async def test_datagrams_sent_have_a_checksum_that_is_right(wire, src, dst):
    endpoint = await wire.bind((dst, 7))
    endpoint.transport.sendto(b"data", (src, 5000))
    await asyncio.sleep(0.001)
    frame = wire.receiver.frames[-1]
    header = 40 if ":" in dst else 20
    assert (frame.checksum_start, frame.checksum_offset) == (header, 6)  # left to the device
    parsed = (ipv6 if header == 40 else ipv4).parse(frame.data)
    datagram = udp.parse(parsed.payload)
    assert (datagram.src_port, datagram.dst_port, bytes(datagram.payload)) == (7, 5000, b"data")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ((3, 3), errno.ECONNREFUSED),
        ((3, 1), errno.EHOSTUNREACH),
        ((3, 0), errno.ENETUNREACH),
        ((3, 2), errno.ENOPROTOOPT),
    ],
)
async def test_icmp_errors_reach_a_connected_endpoint(wire, message, expected):
    endpoint = await wire.bind((OURS, 7), (PEER, 5000))
    other = await wire.bind((OURS, 8))
    endpoint.transport.sendto(b"question")
    await asyncio.sleep(0.001)
    quoted = bytes(wire.receiver.frames[-1].data[:28])
    await wire.send(icmp_error(*message, quoted))
    assert [error.errno for error in endpoint.errors] == [expected]
    assert other.errors == []


def icmp_error(kind, code, quoted):
    return ip_frame(PEER, OURS, 1, icmp.build(kind, code, 0, quoted))


async def test_an_icmp_error_about_somebody_else_s_datagram(wire):
    endpoint = await wire.bind((OURS, 7), (PEER, 5000))
    stranger = bytes(udp_frame(OURS, PEER, (9, 5000), b"x").parts[0]) + udp.build(9, 5000, 1)
    await wire.send(icmp_error(3, 3, stranger))
    assert endpoint.errors == []


async def test_a_full_range_of_ports(wire):
    wire.stack.config.ephemeral_ports = (40000, 40009)
    endpoints = [await wire.bind((OURS, 0)) for _ in range(10)]
    ports = {endpoint.transport.get_extra_info("sockname")[1] for endpoint in endpoints}
    assert ports == set(range(40000, 40010))
    with pytest.raises(OSError, match="40000 to 40009 are in use") as caught:
        await wire.bind((OURS, 0))
    assert caught.value.errno == errno.EADDRNOTAVAIL
    endpoints[3].transport.close()
    again = await wire.bind((OURS, 0))
    assert again.transport.get_extra_info("sockname") == endpoints[3].transport.get_extra_info("sockname")


async def test_closed_endpoints_leave_nothing_in_the_tables(wire):
    before = len(wire.stack.udp.endpoints)
    for _ in range(50):
        endpoint = await wire.bind((OURS, 0), (PEER, 5000))
        endpoint.transport.close()
        endpoint.transport.abort()
    await asyncio.sleep(0)
    assert len(wire.stack.udp.endpoints) == before
    assert not wire.stack.udp.claims._by_port


async def test_a_scan_of_all_ports_makes_no_state(wire):
    endpoint = await wire.bind((OURS, 7))
    for port in range(1, 3000):
        wire.device.send(udp_frame(PEER, OURS, (port, port), b"x"))
        if port % 500 == 0:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.1)
    assert len(endpoint.datagrams) == 1
    assert len(wire.stack.udp.endpoints) == 1
    assert wire.stack.counters["udp.no_endpoint"] == 2998
    assert len(wire.receiver.frames) < 2998  # errors are limited


def test_frames_of_this_file_are_what_they_seem():
    frame = udp_frame(PEER, OURS, (1, 2), b"abc")
    assert isinstance(frame, OutgoingFrame)
    assert len(raw(PEER, OURS, (1, 2), b"abc")) == len(frame)
