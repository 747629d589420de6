"""IPv4 link-local addresses in virtual time: hosts on one simulated Ethernet."""

import asyncio
import itertools

import pytest

from asyncstack import AddressConflict, AddressRemoved, Network
from asyncstack.autoconf.link_local import LinkLocal, candidates
from asyncstack.network.addresses import Origin, format_address, is_link_local
from asyncstack.wire import arp, ethernet

pytestmark = pytest.mark.virtual_time(limit=3000)


@pytest.fixture
async def site():
    async with Network(seed=7) as net:
        yield net, net.lan("lan", delay=0.0005)


async def join(site, name, mac=None):
    """A host that has chosen its address, and its interface."""
    net, lan = site
    host = net.host(name)
    port = lan.port(name)
    if mac is not None:
        port.address = mac
    return host, await host.add_interface(port, ["link-local"])


def own(host, interface):
    return list(host.addresses.of(interface, 4))


def test_the_choice_depends_on_the_mac_alone_and_keeps_out_of_what_is_reserved():
    first, again, other = (candidates(bytes(5) + bytes([last])) for last in (1, 1, 2))
    series = [next(first) for _ in range(2000)]
    assert series == [next(again) for _ in range(2000)]
    assert series[0] != next(other)
    assert all(is_link_local(address) and 1 <= address[2] <= 254 for address in series)
    assert {address[2] for address in series} == set(range(1, 255))


async def test_two_hosts_find_addresses_and_talk(site):
    loop = asyncio.get_running_loop()
    (a, on_a), (b, on_b) = await asyncio.gather(join(site, "a"), join(site, "b"))
    assert 4.0 <= loop.time() <= 8.0
    (entry,), (other,) = own(a, on_a), own(b, on_b)
    assert (entry.prefix_length, entry.origin) == (16, Origin.LINK_LOCAL)
    reply = await a.ping(format_address(other.address))
    assert (reply.source, reply.ttl) == (format_address(other.address), 64)


async def test_a_choice_that_is_taken_is_passed_over(site):
    net, lan = site
    mac = b"\2\0\0\0\0\7"
    wanted = candidates(mac)
    first, second, third = (next(wanted) for _ in range(3))
    holder = net.host("holder")
    await holder.add_interface(
        lan.port("holder"), [f"{format_address(address)}/16" for address in (first, second)]
    )
    host, interface = await join(site, "a", mac)
    assert [entry.address for entry in own(host, interface)] == [third]


async def test_what_another_host_insists_on_is_left_to_it(site):
    net, lan = site
    host, interface = await join(site, "a")
    (entry,) = own(host, interface)
    told = []
    host.subscribe(told.append)
    await asyncio.sleep(30)
    intruder = net.host("intruder")
    await intruder.add_interface(lan.port("intruder"), [f"{entry}"])
    await asyncio.sleep(10)
    kinds = [type(event) for event in told]
    assert kinds[:3] == [AddressConflict, AddressConflict, AddressRemoved]
    assert [event.lost for event in told[:2]] == [False, True]
    (another,) = own(host, interface)
    assert another.address != entry.address
    assert await intruder.ping(format_address(another.address))


async def test_arp_packets_of_a_link_local_address_are_broadcast(site):
    """RFC 3927 2.5: replies, too."""
    _net, lan = site
    frames = []
    host, interface = await join(site, "a")
    other, _on_other = await join(site, "b")
    lan.taps.append(lambda device, frame: frames.append(bytes(frame.data)))
    for _ in range(3):
        await other.ping(format_address(own(host, interface)[0].address))
        await asyncio.sleep(60)
    packets = [(data[:6], arp.parse(memoryview(data)[14:])) for data in frames if data[12:14] == b"\x08\x06"]
    assert {packet.operation for _, packet in packets} == {arp.REQUEST, arp.REPLY}
    assert {to for to, _ in packets} == {ethernet.BROADCAST}


async def test_after_ten_conflicts_there_is_one_try_a_minute(site):
    """Somebody claims every address that is asked for."""
    net, lan = site
    asked = []
    mac = b"\2\0\0\0\0\x66"

    def claim(interface, frame):
        data = bytes(b"".join(frame.parts) if hasattr(frame, "parts") else frame.data)
        if data[12:14] == b"\x08\x06" and not any(data[28:32]):
            asked.append(asyncio.get_running_loop().time())
            reply = arp.Arp(arp.REPLY, mac, data[38:42], bytes(6), bytes(4))
            link = interface.link
            asyncio.get_running_loop().call_soon(
                lambda: (link._arp.receive(memoryview(arp.build(reply)), False, 0.0), link._serve(0.0))
            )

    host = net.host("a")
    interface = host.attach(lan.port("a"))
    interface.taps.append(claim)
    source = LinkLocal(host, interface)
    with pytest.raises(TimeoutError, match=r"no address of .* on lan within 30 s: 10 were taken"):
        await source.start()
    await asyncio.sleep(570)
    assert asked[9] < 11
    assert all(later - earlier >= 60 for earlier, later in itertools.pairwise(asked[10:]))
    assert 18 <= len(asked) <= 20
    interface.taps.clear()
    await asyncio.sleep(70)
    assert own(host, interface)  # it went on trying
    await source.stop()


async def test_an_interface_that_goes_down_meanwhile_is_an_error(site):
    net, lan = site
    host = net.host("a")
    interface = host.attach(lan.port("a"))
    source = LinkLocal(host, interface)
    task = asyncio.ensure_future(source.start())
    await asyncio.sleep(1)
    await host.remove_interface(interface)
    with pytest.raises(OSError, match="went down"):
        await task
    await source.stop()


async def test_the_end_gives_the_address_up_and_leaves_nothing(site):
    net, lan = site
    host = net.host("a")
    interface = host.attach(lan.port("a"))
    source = LinkLocal(host, interface)
    await source.start()
    assert own(host, interface)
    await source.stop()
    await source.stop()
    assert not own(host, interface)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_nothing_is_sent_to_a_router(site):
    _net, _lan = site
    host, interface = await join(site, "a")
    host.add_address(interface, b"\x0a\0\0\1", 24)
    host.routes.add(bytes(4), 0, interface, b"\x0a\0\0\xfe")
    (entry,) = [entry for entry in own(host, interface) if is_link_local(entry.address)]
    far, neighbor = b"\xc0\0\2\1", b"\xa9\xfe\x09\x09"
    assert host.routes.lookup(far).next_hop == b"\x0a\0\0\xfe"
    assert host.routes.lookup(far).source == b"\x0a\0\0\1"
    assert host.routes.lookup(neighbor).source == entry.address
    assert host.routes.lookup(far, entry.address).next_hop == far
    host.remove_address(entry.address)
    path = host.routes.lookup(neighbor)
    assert (path.next_hop, path.source) == (neighbor, b"\x0a\0\0\1")
