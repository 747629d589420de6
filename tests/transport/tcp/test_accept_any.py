"""Listeners on networks and ranges of ports: who has a connection, and in whose name it speaks."""

import asyncio
import ipaddress
import socket
import struct

import pytest

from asyncstack import ANY_PORT, StackConfig, TcpConfig
from asyncstack.link.frame import OutgoingFrame
from asyncstack.testing.plugin import async_fixture
from asyncstack.wire import icmp
from asyncstack.wire.tcp import ACK, FIN, RST, SYN
from tests.fuzz.world import ip_packet, with_checksum
from tests.transport.asyncio_contract.recorders import Recorder
from tests.transport.wire import OURS, OURS6, PEER, PEER6, wire

__all__ = ["wire"]
pytestmark = pytest.mark.virtual_time
MASK = 0xFFFFFFFF
OTHER, OTHER6 = "10.77.1.2", "2001:db8::77"


class Taken(Recorder):
    """Knows which server it is of, and for whom it speaks."""

    def __init__(self, name, taken):
        super().__init__()
        self.name, self.taken = name, taken

    def connection_made(self, transport):
        super().connection_made(transport)
        self.taken.append((self.name, transport.get_extra_info("sockname")[:2]))


class Listening:
    def __init__(self, wire):
        self.wire = wire
        self.taken = []
        self.port = 20_000

    async def serve(self, name, host, port, **options):
        return await self.wire.stack.create_server(lambda: Taken(name, self.taken), host, port, **options)

    async def connect(self, dst, port, src=None):
        """Who takes a connection to there: (name, (host, port)), "RST", or "nobody"."""
        self.port += 1
        src = src or (PEER6 if ":" in dst else PEER)
        before = len(self.taken)
        self.wire.packets()
        self.wire.send((self.port, port), SYN, src=src, dst=dst, mss=1460)
        await asyncio.sleep(0.001)
        answers = [(ours, one) for ours, _, one in self.wire.packets() if one.dst_port == self.port]
        if not answers:
            return "nobody"
        ((ours, answer),) = answers
        assert (ours, answer.src_port) == (ipaddress.ip_address(dst).packed, port)
        if answer.flags & RST:
            return "RST"
        self.wire.send((self.port, port), ACK, 1001, (answer.seq + 1) & MASK, src=src, dst=dst)
        await asyncio.sleep(0.001)
        assert len(self.taken) == before + 1
        return self.taken[-1]


@async_fixture
async def listening(wire):
    yield Listening(wire)


async def test_every_address_and_every_port(listening):
    await listening.serve("any", ["0.0.0.0/0", "::/0"], ANY_PORT)
    for host, port in ((OTHER, 80), (OTHER, 65535), (OURS, 22), ("8.8.8.8", 1), (OTHER6, 443), (OURS6, 443)):
        assert await listening.connect(host, port) == ("any", (host, port))


async def test_without_such_a_listener_foreign_addresses_are_not_ours(listening):
    await listening.serve("plain", None, 80)
    assert await listening.connect(OTHER, 80) == "nobody"
    assert await listening.connect(OTHER, 81) == "nobody"  # not even a RST
    assert await listening.connect(OURS, 81) == "RST"
    assert listening.wire.stack.counters["ipv4.not_ours"] == 2


async def test_the_most_specific_listener_has_it(listening):
    """One port of ours; then the longest prefix; of equal ones the narrowest range."""
    await listening.serve("any", ["0.0.0.0/0", "::/0"], ANY_PORT)
    await listening.serve("net", "10.0.0.0/8", ANY_PORT)
    await listening.serve("net 80", ipaddress.ip_network("10.0.0.0/8"), 80)
    await listening.serve("net low", "10.0.0.0/8", range(1, 1024))
    await listening.serve("part", "10.77.0.0/16", ANY_PORT)
    await listening.serve("host", f"{OTHER}/32", range(100, 200))
    await listening.serve("plain", OURS, 80)
    await listening.serve("ours", None, range(1, 100))
    for host, port, name in (
        (OURS, 80, "plain"), (OURS, 81, "net low"), (OURS, 8080, "net"), ("10.1.0.2", 80, "net 80"),
        ("10.9.9.9", 80, "net 80"), ("10.9.9.9", 81, "net low"), ("10.9.9.9", 1024, "net"),
        (OTHER, 150, "host"), (OTHER, 80, "part"), (OTHER, 99, "part"), (OTHER, 200, "part"),
        ("11.0.0.1", 80, "any"), (OTHER6, 80, "any"), (OURS6, 80, "ours"), (OURS6, 100, "any"),
    ):  # fmt: skip
        assert await listening.connect(host, port) == (name, (host, port)), (host, port)


async def test_any_port_of_our_addresses_alone(listening):
    await listening.serve("ours", None, ANY_PORT)
    await listening.serve("one", OURS, range(5000, 5010))
    assert await listening.connect(OURS, 4999) == ("ours", (OURS, 4999))
    assert await listening.connect(OURS, 5000) == ("one", (OURS, 5000))
    assert await listening.connect("10.1.0.2", 5000) == ("ours", ("10.1.0.2", 5000))
    assert await listening.connect(OTHER, 5000) == "nobody"


async def test_a_closed_listener_takes_nothing_and_its_connections_go_on(listening):
    server = await listening.serve("any", "0.0.0.0/0", ANY_PORT)
    wire = listening.wire
    await listening.connect(OTHER, 80)
    server.close()
    assert await listening.connect(OTHER, 80) == "nobody"
    (endpoint,) = wire.stack.tcp.connections.values()
    connection = endpoint.connection
    port, nxt = connection.remote_port, connection.sender.nxt & MASK
    wire.stack.routes.changed()  # the way is looked up anew, still from there
    wire.send((port, 80), ACK, 1001, nxt, dst=OTHER, payload=b"more")
    await asyncio.sleep(0.1)
    assert [(ours, one.flags, one.ack) for ours, _, one in wire.packets()] == [
        (ipaddress.ip_address(OTHER).packed, ACK, 1005)
    ]
    endpoint.owner.close()
    await asyncio.sleep(0.001)
    wire.packets()
    wire.send((port, 80), FIN | ACK, 1005, (nxt + 1) & MASK, dst=OTHER)
    await asyncio.sleep(0.001)
    assert len(wire.packets()) == 1
    wire.send(
        (port, 80), FIN | ACK, 1005, (nxt + 1) & MASK, dst=OTHER
    )  # TIME-WAIT answers in its name as well
    await asyncio.sleep(0.001)
    assert [(ours, one.flags) for ours, _, one in wire.packets()] == [
        (ipaddress.ip_address(OTHER).packed, ACK)
    ]
    await asyncio.sleep(61)
    wire.send((port, 80), FIN | ACK, 1005, (nxt + 1) & MASK, dst=OTHER)
    await asyncio.sleep(0.001)
    assert not wire.packets()


async def test_only_tcp_for_the_listener_is_taken(listening):
    """Nothing else that is sent to others is ours now, and no reset is sent for those who are not covered."""
    await listening.serve("part", "10.77.0.0/16", 80)
    assert await listening.connect(OTHER, 80) == ("part", (OTHER, 80))
    assert await listening.connect(OTHER, 81) == "nobody"
    assert await listening.connect("10.78.0.1", 80) == "nobody"
    wire = listening.wire
    wire.send((9, 80), ACK, 5, 77, dst=OTHER)  # of no connection, but in the listener's name
    await asyncio.sleep(0.001)
    assert [(ours, one.flags) for ours, _, one in wire.packets()] == [
        (ipaddress.ip_address(OTHER).packed, RST)
    ]


@pytest.mark.parametrize(
    "dst", ["255.255.255.255", "224.0.0.1", "10.0.255.255", "127.0.0.1", "0.0.0.0", "240.1.2.3"]
)
async def test_what_is_no_host_is_never_taken(listening, dst):
    await listening.serve("any", ["0.0.0.0/0", "::/0"], ANY_PORT)
    assert await listening.connect(dst, 80) == "nobody"


@pytest.mark.parametrize("dst", ["ff02::1", "::", "::1"])
async def test_what_is_no_host_is_never_taken_ipv6(listening, dst):
    await listening.serve("any", ["0.0.0.0/0", "::/0"], ANY_PORT)
    assert await listening.connect(dst, 80) == "nobody"


async def test_land_at_a_foreign_address(listening):
    """Source and destination alike: we would talk to ourselves."""
    await listening.serve("any", ["0.0.0.0/0", "::/0"], ANY_PORT)
    assert await listening.connect(OTHER, 80, src=OTHER) == "nobody"
    assert await listening.connect(OTHER6, 80, src=OTHER6) == "nobody"


@pytest.mark.parametrize("wire", [StackConfig(tcp=TcpConfig(syn_cookies="always"))], indirect=True)
async def test_syn_cookies_in_another_s_name(listening):
    await listening.serve("any", "0.0.0.0/0", ANY_PORT)
    assert await listening.connect(OTHER, 80) == ("any", (OTHER, 80))
    assert listening.wire.stack.counters["tcp.cookies_received"] == 1


async def test_what_excludes_what(listening):
    await listening.serve("net", "10.0.0.0/8", ANY_PORT)
    await listening.serve("http", "10.0.0.0/8", 80)
    for host, port in (("10.0.0.0/8", 80), ("10.0.0.0/8", ANY_PORT)):
        with pytest.raises(OSError, match=r"10\.0\.0\.0/8"):
            await listening.serve("again", host, port)
    await listening.serve("some", "10.0.0.0/8", range(100, 200))
    with pytest.raises(OSError, match="ports 150 to 249"):
        await listening.serve(
            "across", "10.0.0.0/8", range(150, 250)
        )  # of one width: neither is more specific
    with pytest.raises(OSError, match="not an address of this stack"):
        await listening.serve("not ours", OTHER, ANY_PORT)
    shared = [await listening.serve(n, "10.9.0.0/16", ANY_PORT, reuse_port=True) for n in range(2)]
    with pytest.raises(OSError, match=r"10\.9\.0\.0/16"):
        await listening.serve("alone", "10.9.0.0/16", ANY_PORT)
    for server in shared:
        server.close()
    await listening.serve("alone", "10.9.0.0/16", ANY_PORT)


@pytest.mark.parametrize(
    ("host", "port", "error"),
    [
        ("10.0.0.1/8", 80, "host bits"), ("10.0.0.0/33", 80, "10.0.0.0/33"), ("10.0.0.0/8", 0, "ANY_PORT"),
        ("10.0.0.0/8", None, "ANY_PORT"), (OURS, range(0), "ANY_PORT"), (OURS, range(10), "ANY_PORT"),
        (OURS, range(1, 70_000), "ANY_PORT"), (OURS, range(1, 100, 2), "step 1"), ("10.0.0.0/8", 70_000, "ANY_PORT"),
    ],
)  # fmt: skip
async def test_arguments_that_make_no_sense(listening, host, port, error):
    with pytest.raises(ValueError, match=error):
        await listening.serve("none", host, port)


async def test_a_network_of_the_other_family(listening):
    with pytest.raises(ValueError, match="other address family"):
        await listening.serve("v6", "10.0.0.0/8", 80, family=socket.AF_INET6)


async def test_how_a_server_names_itself(listening):
    server = await listening.serve("any", ["0.0.0.0/0", "::/0", OURS], ANY_PORT)
    assert [one.getsockname()[:2] for one in server.sockets] == [("0.0.0.0/0", 0), ("::/0", 0), (OURS, 0)]
    assert "0.0.0.0/0" in repr(server)


async def test_a_look_up_does_not_grow_with_the_listeners(listening):
    """1,000 plain listeners and 1,000 networks: a constant number of places is looked at."""
    for number in range(1000):
        await listening.serve("plain", OURS, 10_000 + number, start_serving=False)
        await listening.serve("net", f"10.{number % 250}.{number // 250}.0/24", ANY_PORT, start_serving=False)
    listeners = listening.wire.stack.tcp.listeners
    assert len(listeners) == 2000
    looks = []
    families = listeners.reaches._families[4]
    assert [prefixes.length for prefixes in families] == [24]
    families[0].places = Counting(families[0].places, looks)
    found = listeners.find(bytes((10, 7, 2, 9)), 5, bytes(4), 1, local=False)
    assert found.sockname[0] == "10.7.2.0/24"
    assert listeners.find(bytes((11, 7, 2, 9)), 5, bytes(4), 1, local=False) is None
    assert len(looks) == 2


class Counting(dict):
    def __init__(self, held, looks):
        super().__init__(held)
        self.looks = looks

    def get(self, key, default=None):
        self.looks.append(key)
        return super().get(key, default)


# errors about what was said in the name of others


def too_big(family, src, dst, ports, seq, mtu):
    """What a router says about a segment from `src` to `dst`."""
    quoted_tcp = struct.pack("!HHI", *ports, seq)
    src, dst, router = (ipaddress.ip_address(one).packed for one in (src, dst, dst))
    if family == 4:
        body = ip_packet(src, dst, 6, quoted_tcp + bytes(1400))[:28]
        message = with_checksum(b"", b"", 0, struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + body, 2)
        total = sum(struct.unpack(f"!{len(message) // 2}H", message[:2] + b"\0\0" + message[4:]))
        total = 0xFFFF - ((total & 0xFFFF) + (total >> 16))
        return ip_packet(router, src, 1, message[:2] + total.to_bytes(2, "big") + message[4:])
    body = ip_packet(src, dst, 6, quoted_tcp + bytes(1400))[:48]
    return ip_packet(
        router, src, 58, with_checksum(router, src, 58, struct.pack("!BBHI", 2, 0, 0, mtu) + body, 2)
    )


@pytest.mark.parametrize(("host", "peer"), [(OTHER, PEER), (OTHER6, PEER6)], ids=("IPv4", "IPv6"))
async def test_rfc1191_a_path_mtu_of_a_connection_in_another_s_name(listening, host, peer):
    """The report goes to the other host's address, and is for us; only while such a connection has that in flight."""
    wire = listening.wire
    await listening.serve("any", ["0.0.0.0/0", "::/0"], ANY_PORT)
    await listening.connect(host, 80)
    (endpoint,) = wire.stack.tcp.connections.values()
    conn = endpoint.connection
    family = 6 if ":" in host else 4
    endpoint.owner.write(bytes(5000))
    await asyncio.sleep(0.001)
    assert any(len(one.payload) > 1200 for _, _, one in wire.packets())
    for port, seq, mtu in (
        (conn.remote_port + 1, 0, 1290),
        (conn.remote_port, 1 << 30, 1290),
        (conn.remote_port, 0, 1300),
    ):
        report = too_big(family, host, peer, (80, port), (conn.sender.una + seq) & MASK, mtu)
        wire.device.send(OutgoingFrame([report]))
    await asyncio.sleep(0.001)
    assert wire.stack.routes.pmtu.get(ipaddress.ip_address(peer).packed) == 1300
    headers = 40 if family == 4 else 60
    assert conn.path_mss == 1300 - headers
    again = [one for _, _, one in wire.packets()]
    assert again and conn.sender.mss == 1300 - headers


async def test_nothing_else_of_icmp_is_taken_for_others(listening):
    wire = listening.wire
    await listening.serve("any", ["0.0.0.0/0", "::/0"], ANY_PORT)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await echo_to(wire, OTHER)
    assert wire.stack.counters["ipv4.not_ours"] == 1
    assert not wire.stack.counters["icmp.echo_replies"]


async def echo_to(wire, host):
    message = icmp.build_echo(1, 1, b"hello")
    wire.device.send(
        OutgoingFrame(
            [ip_packet(ipaddress.ip_address(PEER).packed, ipaddress.ip_address(host).packed, 1, message)]
        )
    )
    while not wire.receiver.frames:
        await asyncio.sleep(0.01)


# SO_REUSEPORT


async def test_so_reuseport_spreads_connections_and_keeps_each_where_it_is(listening):
    servers = [await listening.serve(n, OURS, 80, reuse_port=True) for n in range(4)]
    for _ in range(200):
        await listening.connect(OURS, 80)
    shares = [[name for name, _ in listening.taken].count(n) for n in range(4)]
    assert sum(shares) == 200 and min(shares) > 20
    servers[0].close()
    for _ in range(20):
        name, _ = await listening.connect(OURS, 80)
        assert name != 0


async def test_so_reuseport_has_to_be_asked_for_by_all(listening):
    await listening.serve("first", OURS, 80, reuse_port=True)
    with pytest.raises(OSError, match="port 80"):
        await listening.serve("second", OURS, 80)
    await listening.serve("third", None, 80, reuse_port=True)
    await listening.serve("alone", OURS, 81)
    with pytest.raises(OSError, match="port 81"):
        await listening.serve("fourth", OURS, 81, reuse_port=True)
    assert (await listening.connect(OURS, 80))[0] == "first"
    assert (await listening.connect("10.1.0.2", 80))[0] == "third"


async def test_so_reuseport_of_networks(listening):
    for n in range(2):
        await listening.serve(n, "10.77.0.0/16", ANY_PORT, reuse_port=True)
    for _ in range(60):
        await listening.connect(OTHER, 80)
    assert {name for name, _ in listening.taken} == {0, 1}


async def test_a_client_whose_gateway_takes_everything(network):
    """Two stacks: the client's default route leads to one that answers for the whole Internet. Data both ways."""
    client = network.host("client", "10.5.0.1/24", "2001:db8:5::1/64")
    gateway = network.host("gateway", "10.5.0.254/24", "2001:db8:5::254/64")
    network.link(client, gateway, delay=0.01)
    interface = client.interfaces[-1]
    client.routes.add(bytes(4), 0, interface, bytes((10, 5, 0, 254)))
    client.routes.add(bytes(16), 0, interface, ipaddress.ip_address("2001:db8:5::254").packed)

    async def proxy(reader, writer):
        host, port = writer.get_extra_info("sockname")[:2]
        writer.write(f"{host} {port} ".encode() + await reader.readexactly(100_000))
        writer.close()

    await gateway.start_server(proxy, ["0.0.0.0/0", "::/0"], ANY_PORT)
    for host, port in (("93.184.216.34", 80), ("2606:2800::1", 443), ("10.5.0.254", 9)):
        reader, writer = await client.open_connection(host, port)
        writer.write(bytes(100_000))
        assert await reader.read() == f"{host} {port} ".encode() + bytes(100_000)
        writer.close()
