"""The simulated network: hosts, names, addresses, links, and an end that leaves nothing behind."""

import asyncio
import gc
import socket
import warnings

import dpkt
import pytest
import uvloop

from asyncstack.config import StackConfig
from asyncstack.testing.clock import run
from asyncstack.testing.network import Network
from asyncstack.testing.plugin import async_fixture

pytestmark = pytest.mark.virtual_time


@async_fixture
async def pair(network):
    a, b = network.host("a", "10.0.0.1/24", "fd00::1/64"), network.host("b", "10.0.0.2/24", "fd00::2/64")
    return network, a, b


async def test_hosts_know_each_other_by_name(pair):
    net, a, b = pair
    net.link(a, b, delay=0.025)
    for host in ("b", "B", "10.0.0.2", "fd00::2"):
        reply = await a.ping(host)
        assert reply.rtt == pytest.approx(0.05)
    assert (await b.ping("a")).rtt == pytest.approx(0.05)


async def test_unknown_name(pair):
    net, a, b = pair
    net.link(a, b)
    with pytest.raises(socket.gaierror, match="'c' is no address and not in the stack's hosts table"):
        await a.ping("c")


async def test_ethernet_link_resolves_addresses(pair):
    net, a, b = pair
    link = net.link(a, b, delay=0.01, ethernet=True)
    await asyncio.sleep(1)  # the announcements of the addresses are over
    for host in ("10.0.0.2", "fd00::2"):
        assert (await a.ping(host)).rtt == pytest.approx(0.04)  # a round trip of ARP, or of NDP, before
        assert (await a.ping(host)).rtt == pytest.approx(0.02)
    assert link.forward.stats.dropped == 0


async def test_router_has_the_right_address_on_each_link(network):
    a, router, b = (
        network.host("a", "10.1.0.1/24"),
        network.host("router", "10.2.0.254/24", "10.1.0.254/24"),
        network.host("b", "10.2.0.1/24"),
    )
    network.link(a, router, delay=0.01)
    network.link(router, b, delay=0.02)
    assert (await a.ping("10.1.0.254")).rtt == pytest.approx(0.02)
    assert (await b.ping("10.2.0.254")).rtt == pytest.approx(0.04)
    assert (await router.ping("a")).rtt == pytest.approx(0.02)
    assert (await router.ping("b")).rtt == pytest.approx(0.04)


async def test_second_link_between_two_hosts(pair):
    net, a, b = pair
    first = net.link(a, b, delay=0.1)
    second = net.link(a, b, delay=0.001, addresses=("10.9.0.1/24", ["10.9.0.2/24"]))
    assert [link.name for link in net.links] == ["a-b", "a-b#2"]
    assert (await a.ping("b")).rtt == pytest.approx(0.2)
    assert (await a.ping("10.9.0.2")).rtt == pytest.approx(0.002)
    assert (first.forward.stats.sent, second.forward.stats.sent) == (1, 1)


async def test_errors_of_use_are_told(network):
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.1.0.1/24")
    with pytest.raises(
        ValueError, match=r"a \(10\.0\.0\.1/24\) and b \(10\.1\.0\.1/24\) have no network in common"
    ):
        network.link(a, b)
    with pytest.raises(ValueError, match="has a host 'A' already"):
        network.host("A")
    with pytest.raises(ValueError, match=r"10\.0\.0\.300"):
        network.host("c", "10.0.0.300/24")
    with pytest.raises(ValueError, match=r"'10\.0\.0\.3' needs a prefix length, such as 10\.0\.0\.3/24"):
        network.host("c", "10.0.0.3")
    with pytest.raises(
        ValueError, match=r"'dhcp4' is no address: .*add_interface\(lan\.port\(\), \[\"dhcp4\"\]\)"
    ):
        network.host("c", "dhcp4")
    with pytest.raises(ValueError, match="loss=7"):
        network.link(a, b, loss=7, addresses=("10.9.0.1/24", "10.9.0.2/24"))
    async with Network(seed=1) as other:
        stranger = other.host("a", "10.0.0.9/24")
        with pytest.raises(ValueError, match="is no host of this network"):
            network.link(stranger, b)
    assert network.links == []


async def test_a_refused_link_leaves_the_addresses_free(pair):
    net, a, b = pair
    with pytest.raises(ValueError, match="delay"):
        net.link(a, b, delay=-1)
    net.link(a, b)
    assert (await a.ping("b")).rtt == 0.0


async def test_config_is_the_networks_or_the_hosts_own():
    common, own = StackConfig(ttl=9), StackConfig(ttl=33)
    async with Network(seed=1, config=common) as net:
        assert net.host("a").config is common
        assert net.host("b", config=own).config is own


async def test_link_goes_down_and_comes_up(pair):
    net, a, b = pair
    link = net.link(a, b, delay=0.01)
    link.down()
    with pytest.raises(TimeoutError):
        await a.ping("b", timeout=3)
    link.up()
    await a.ping("b")


async def test_mtu_is_the_interfaces(pair):
    net, a, b = pair
    net.link(a, b, mtu=600, delay=0.01)
    assert {interface.mtu for stack in (a, b) for interface in stack.interfaces[1:]} == {600}
    reply = await a.ping("b", size=3000)
    assert reply.rtt == pytest.approx(0.02)


async def test_seed_is_the_loops_or_random():
    assert Network().seed != Network().seed
    assert Network(5).seed == 5
    assert "seed=5" in repr(Network(5))


def test_run_gives_its_seed_to_networks():
    async def main():
        return Network().seed

    assert run(main(), seed=1234) == 1234


async def test_capture_sees_the_packets_of_all_links(pair, tmp_path):
    net, a, b = pair
    path = tmp_path / "run.pcapng"
    async with net.capture(path):
        net.link(a, b, delay=0.01)
        await a.ping("10.0.0.2")
        await b.ping("10.0.0.1")
    with path.open("rb") as file:
        packets = [(when, dpkt.ip.IP(data)) for when, data in dpkt.pcapng.Reader(file)]
    assert [(float(when), packet.data.type) for when, packet in packets] == [
        (0.0, dpkt.icmp.ICMP_ECHO),
        (0.02, dpkt.icmp.ICMP_ECHOREPLY),
        (0.03, dpkt.icmp.ICMP_ECHO),
        (0.03, dpkt.icmp.ICMP_ECHOREPLY),
    ]


async def test_end_leaves_nothing_behind():
    loop = asyncio.get_running_loop()
    tasks = asyncio.all_tasks()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with Network(seed=1) as net:
            a, b = net.host("a", "10.0.0.1/24"), net.host("b", "10.0.0.2/24")
            net.link(a, b, delay=5.0, ethernet=True)
            with pytest.raises(OSError):
                await a.ping("b", timeout=0.1)
        gc.collect()
    assert asyncio.all_tasks() == tasks
    assert loop.timers == 0
    with pytest.raises(RuntimeError, match="closed"):
        a.attach(net.links[0].ends[0])


async def test_datagrams_are_lost_as_told_and_repeat():
    async def received():
        class Sink(asyncio.DatagramProtocol):
            def datagram_received(self, data, address):
                numbers.append(int.from_bytes(data, "big"))

        numbers = []
        async with Network(seed=3) as net:
            a, b = net.host("a", "10.0.0.1/24"), net.host("b", "10.0.0.2/24")
            net.link(a, b, delay=0.01, loss=0.2, reorder=0.1, duplicate=0.1)
            await b.create_datagram_endpoint(Sink, ("10.0.0.2", 9))
            sender, _ = await a.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("b", 9))
            for number in range(1000):
                sender.sendto(number.to_bytes(2, "big"))
                await asyncio.sleep(0.0001)
            await asyncio.sleep(1)
        return numbers

    first = await received()
    assert first == await received()
    assert first != sorted(first)
    assert 750 < len(set(first)) < 850


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_real_time(factory):
    """The same network on loops whose clock does not jump."""

    async def echo(reader, writer):
        writer.write(await reader.read())
        writer.close()
        await writer.wait_closed()

    async def main():
        async with Network(seed=1) as net:
            a, b = net.host("a", "10.0.0.1/24"), net.host("b", "10.0.0.2/24")
            link = net.link(a, b, delay=0.02, rate=200e6)
            assert 0.04 <= (await a.ping("b")).rtt < 1.0
            await b.start_server(echo, "b", 80)
            reader, writer = await a.open_connection("b", 80)
            data = bytes(range(256)) * 2000
            writer.write(data)
            writer.write_eof()
            assert await reader.read() == data
            writer.close()
            await writer.wait_closed()
            assert link.forward.stats.dropped == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
