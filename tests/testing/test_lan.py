"""A simulated Ethernet segment: what its switch learns, and that hosts on it work as on a wire."""

import asyncio

import dpkt
import pytest

from asyncstack.events import LinkDown
from asyncstack.link.frame import OutgoingFrame
from asyncstack.testing.clock import run
from asyncstack.testing.lan import AGEING_SECONDS, Lan
from asyncstack.testing.network import Network

pytestmark = pytest.mark.virtual_time

ALL = b"\xff" * 6


class Station:
    """Something at a port that keeps what it receives."""

    def __init__(self, lan, mac):
        self.device = lan.port()
        self.mac = bytes([2, 0, 0, 0, mac >> 8, mac & 0xFF])
        self.heard = []
        self.device.start(self._receive())

    async def _receive(self):
        while True:
            for frame in await self.device.receive():
                self.heard.append((bytes(frame.data[6:12]), bytes(frame.data[14:])))

    def send(self, to, text=b"hello", source=None):
        mac = to.mac if isinstance(to, Station) else to
        assert self.device.send(OutgoingFrame([mac, source or self.mac, b"\x88\xb5", text]))


class Segment:
    """A LAN with four stations."""

    def __init__(self, **settings):
        self.lan = Lan("lan", loop=asyncio.get_running_loop(), seed=1, **settings)
        self.stations = [Station(self.lan, number) for number in range(1, 5)]

    async def heard(self):
        """What each has heard since, how often."""
        await asyncio.sleep(0.1)
        found = [len(station.heard) for station in self.stations]
        for station in self.stations:
            station.heard.clear()
        return found


async def test_unknown_and_group_frames_go_to_all_others():
    segment = Segment()
    a, b, *_ = segment.stations
    for to in (b, ALL, bytes.fromhex("333300000001")):
        a.send(to)
        assert await segment.heard() == [0, 1, 1, 1]
    await segment.lan.close()


async def test_a_mac_that_was_heard_has_a_port():
    segment = Segment()
    a, b, c, _ = segment.stations
    b.send(ALL)
    await segment.heard()
    a.send(b)
    assert await segment.heard() == [0, 1, 0, 0]
    c.send(ALL, source=b.mac)  # b has moved to where c is
    await segment.heard()
    a.send(b)
    assert await segment.heard() == [0, 0, 1, 0]
    c.send(b)  # on this side of the switch
    assert await segment.heard() == [0, 0, 0, 0]
    await asyncio.sleep(AGEING_SECONDS)
    a.send(b)
    assert await segment.heard() == [0, 1, 1, 1]
    await segment.lan.close()


async def test_the_table_is_bounded():
    segment = Segment(mac_limit=100)
    a, b, *_ = segment.stations
    b.send(ALL)
    for number in range(5000):
        a.send(ALL, source=bytes([2, 1, 0, 0, number >> 8, number & 0xFF]))
        if number % 50 == 0:
            b.send(ALL)  # who speaks is not forgotten
            await asyncio.sleep(0)
    a.send(ALL, source=b"\x03\0\0\0\0\1")  # no host's
    a.device.send(OutgoingFrame([b"short"]))
    await segment.heard()
    assert len(segment.lan.macs) == 100
    a.send(b)
    assert await segment.heard() == [0, 1, 0, 0]
    await segment.lan.close()


async def test_impairments_are_of_each_cable(network):
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24", "fd00::2/64")
    lan = network.lan("lan", a, b, delay=0.01)
    await a.ping("b")
    assert (await a.ping("10.0.0.2")).rtt == pytest.approx(0.04)
    lan.cables["b"].set(delay=0.02)
    assert (await a.ping("b")).rtt == pytest.approx(0.06)
    lan.set(delay=0.0)
    c = network.host("c", "10.0.0.3/24")
    c.attach(lan.port("c"), ["10.0.0.3/24"])
    assert (await c.ping("b")).rtt < 0.001
    lan.set(loss=1.0)
    with pytest.raises(TimeoutError):
        await c.ping("b")


async def test_hosts_speak_tcp_over_it(network):
    """Super-segments and partial checksums pass, and where a cable takes time they are cut."""
    hosts = [network.host(f"h{number}", f"10.0.0.{number}/24") for number in range(1, 11)]
    lan = network.lan("lan", *hosts)
    lan.cables["h2"].set(delay=0.001, rate=100e6)
    received = []

    async def take(reader, writer):
        received.append(len(await reader.read(-1)))
        writer.close()

    await hosts[0].start_server(take, None, 80)
    for host in hosts[1:]:
        _, writer = await host.open_connection("h1", 80)
        writer.write(bytes(300_000))
        writer.close()
        await writer.wait_closed()
    await asyncio.sleep(1.0)
    assert received == [300_000] * 9
    assert hosts[5].counters["ethernet.not_for_us"] < 10  # the switch has learned


async def test_a_capture_has_each_frame_once(network, tmp_path):
    a, b, c = (network.host(name, f"10.0.0.{number}/24") for number, name in enumerate("abc", 1))
    async with network.capture(tmp_path / "lan.pcapng"):
        network.lan("lan", a, b, c)
        await asyncio.sleep(5.0)
        await a.ping("b")
    with (tmp_path / "lan.pcapng").open("rb") as file:
        frames = [dpkt.ethernet.Ethernet(data) for _, data in dpkt.pcapng.Reader(file)]
    assert sum(isinstance(frame.data, dpkt.ip.IP) for frame in frames) == 2
    asked = [frame.data for frame in frames if isinstance(frame.data, dpkt.arp.ARP)]
    assert (
        sum(arp.spa != arp.tpa for arp in asked) == 2
    )  # a's question, b's answer; announcements have spa == tpa


async def test_a_pulled_cable_is_noticed_at_its_host_only(network):
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
    lan = network.lan("lan", a, b)
    await a.ping("b")
    seen = []
    a.subscribe(seen.append)
    b.subscribe(seen.append)
    end = lan.cables["a"].ends[0]
    end.set_link(False)
    with pytest.raises(TimeoutError):
        await b.ping("a")
    assert seen == [LinkDown(a.interfaces[-1])]
    end.set_link(True)
    assert (await b.ping("a")).rtt < 0.1


async def test_a_port_is_one_interface_of_one_stack(network):
    lan = network.lan("office")
    a, b = network.host("a"), network.host("b")
    port = lan.port("a")
    first = await a.add_interface(port, ["10.0.0.1/24"])
    await b.add_interface(lan.port("b"), ["10.0.0.2/24"])
    for host in (a, b):
        with pytest.raises(OSError, match="office is open already"):
            await host.add_interface(port, ["10.0.0.3/24"])
        with pytest.raises(OSError, match="office is open already"):
            host.attach(port, ["10.0.0.3/24"])
    assert first.up and (await b.ping("10.0.0.1")).source == "10.0.0.1"  # the first goes on


def test_the_same_seed_gives_the_same_run():
    async def history(seed):
        async with Network(seed) as net:
            hosts = [net.host(f"h{number}", f"10.0.0.{number}/24") for number in range(1, 6)]
            net.lan("lan", *hosts, delay=0.01, jitter=0.01, loss=0.2)
            found = []
            for host in hosts:
                for other in hosts:
                    try:
                        found.append((await host.ping(other.name)).rtt)
                    except OSError:
                        found.append(None)
            return found, [bytes(host.interfaces[-1].device.address) for host in hosts]

    assert run(history(3)) == run(history(3))
    assert run(history(3)) != run(history(4))


async def test_bad_use(network):
    a = network.host("a")
    lan = network.lan("lan", a)
    with pytest.raises(ValueError, match="has a LAN 'lan' already"):
        network.lan("lan")
    with pytest.raises(ValueError, match="lan has a port 'a' already"):
        lan.port("a")
    with pytest.raises(ValueError, match="loss"):
        network.lan("other", loss=2.0)
    router, b = network.host("router", "10.0.0.1/24", "10.0.1.1/24"), network.host("b", "10.0.1.2/24")
    first = network.lan("first", router)
    with pytest.raises(
        ValueError, match=r"router has no address left for the LAN 'second'.*router\.attach\(second\."
    ):
        network.lan("second", b, router)
    assert (
        set(network.lans) == {"lan", "first"} and set(first.cables) == {"router"} and len(b.interfaces) == 1
    )
    async with Network() as other:
        with pytest.raises(ValueError, match="is no host of this network"):
            network.lan("third", other.host("b"))


async def test_two_ports_of_one_host_have_two_names():
    async with Network(seed=1) as net:
        router = net.host("router", "10.0.0.1/24")
        lan = net.lan("lan", router)
        router.attach(lan.port("second"), ["10.0.1.1/24"])
        assert [interface.name for interface in router.interfaces] == ["lo", "lan", "lan#2"]
