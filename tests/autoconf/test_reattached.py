"""A link that was cut and is back, perhaps as another one: are the addresses still ours alone?"""

import asyncio
import errno
from ipaddress import ip_address

import pytest

from asyncstack import AddressConflict, AddressRemoved, StackConfig
from asyncstack.application.dhcp import DhcpServer, Pool
from asyncstack.network.addresses import Origin, format_address
from asyncstack.wire.ethernet import ETHERTYPE_ARP
from tests.transport.asyncio_contract.recorders import Recorder

pytestmark = pytest.mark.virtual_time

PROBING = StackConfig(ipv4_conflict_probes=3)


def packed(text):
    return ip_address(text).packed


def removed(host):
    """The addresses that `host` loses from now on, and why."""
    seen = []
    host.subscribe(lambda event: seen.append(event) if isinstance(event, AddressRemoved) else None)
    return seen


def named(events):
    return [format_address(event.address.address) for event in events]


class Cable:
    """Of the host's port: out, and in again. Frames of the host are counted by `sent`."""

    def __init__(self, lan, port="pc"):
        self._cable = lan.cables[port]

    async def away(self, seconds=5.0):
        self._cable.ends[0].set_link(False)
        await asyncio.sleep(seconds)

    def back(self):
        self._cable.ends[0].set_link(True)


async def plugged(network, *addresses, config=None):
    """A segment, the host `pc` on it with `addresses`, and its cable."""
    host, lan = network.host("pc", config=config), network.lan("lan")
    interface = await host.add_interface(lan.port("pc"), list(addresses), timeout=40.0)
    return host, interface, lan, Cable(lan)


async def thief(network, lan, *addresses):
    """A host that takes `addresses` without asking; what it is called on the wire."""
    other = network.host("thief")
    mac = other.attach(lan.port("thief"), list(addresses)).link.mac.hex(":")
    await asyncio.sleep(1.0)  # until all have heard of it who can
    return mac


async def connected(host, server, address):
    client = Recorder()
    listening = await server.create_server(Recorder, None, 80)
    transport, _ = await host.create_connection(lambda: client, address, 80)
    return client, transport, listening


async def test_an_ipv6_address_that_was_taken_meanwhile_is_lost_and_its_connections_hear_why(network):
    host, interface, lan, cable = await plugged(network, "2001:db8::5/64")
    server = network.host("server")
    server.attach(lan.port("server"), ["2001:db8::1/64"])
    client, _, listening = await connected(host, server, "2001:db8::1")
    seen = removed(host)
    await cable.away()
    mac = await thief(network, lan, "2001:db8::5/64")
    cable.back()
    assert packed("2001:db8::5") in host.addresses.local  # in use until that is known
    await asyncio.sleep(3.0)
    assert named(seen) == ["2001:db8::5"]
    assert seen[0].error.errno == errno.EADDRINUSE
    assert f"2001:db8::5 on {interface.name}: {mac} has it" in str(seen[0].error)
    assert client.lost.errno == errno.EADDRINUSE
    assert (await server.ping("2001:db8::5")).source == "2001:db8::5"  # the other one
    listening.close()


async def test_one_that_nobody_has_taken_stays_and_its_connections_notice_nothing(network):
    host, _, lan, cable = await plugged(network, "2001:db8::5/64", "10.0.0.5/24")
    server = network.host("server")
    server.attach(lan.port("server"), ["2001:db8::1/64"])
    _, transport, listening = await connected(host, server, "2001:db8::1")
    before = [str(entry) for entry in host.addresses.local.values()]
    await cable.away()
    transport.write(b"meanwhile")
    cable.back()
    await asyncio.sleep(10.0)
    assert [str(entry) for entry in host.addresses.local.values()] == before
    assert host.connections()[0].unacked == 0
    transport.abort()
    listening.close()


async def test_the_link_is_told_once_it_is_known_that_nobody_has_it(network):
    host, _, lan, cable = await plugged(network, "2001:db8::5/64")
    await cable.away()
    told = []
    lan.taps.append(lambda _, frame: told.append((host.clock(), bytes(frame.data))))
    began = host.clock()
    cable.back()
    await asyncio.sleep(5.0)
    address = packed("2001:db8::5")
    about = [(at - began, data[54]) for at, data in told if data[54] in (135, 136) and data[62:78] == address]
    (asked, solicitation), (answered, advertisement) = about
    assert (solicitation, advertisement) == (135, 136)
    assert asked <= 1.0  # at random: hosts behind one switch are back together
    assert answered - asked == pytest.approx(1.0, abs=0.01)


async def test_without_checks_it_is_announced_at_once(network):
    host, _, lan, cable = await plugged(
        network, "2001:db8::5/64", "10.0.0.5/24", config=StackConfig(dad_transmits=0)
    )
    await cable.away()
    mac = await thief(network, lan, "2001:db8::5/64", "10.0.0.5/24")
    seen, conflicts = removed(host), []
    host.subscribe(lambda event: conflicts.append(event) if isinstance(event, AddressConflict) else None)
    cable.back()
    await asyncio.sleep(20.0)
    assert seen == []
    assert {event.mac.hex(":") for event in conflicts} == {mac}


async def test_a_link_local_address_that_was_taken_is_made_anew(network):
    host, interface, lan, cable = await plugged(network, "2001:db8::5/64")
    (before,) = [entry for entry in host.addresses.of(interface) if entry.origin is Origin.LINK_LOCAL]
    seen = removed(host)
    await cable.away()
    await thief(network, lan, f"{before}")
    cable.back()
    await asyncio.sleep(5.0)
    assert [event.address for event in seen] == [before]
    (after,) = [entry for entry in host.addresses.of(interface) if entry.origin is Origin.LINK_LOCAL]
    assert after.address[:8] == before.address[:8]
    assert after.address != before.address


async def test_an_ipv4_address_is_asked_for_where_that_is_wished(network):
    host, interface, lan, cable = await plugged(network, "10.0.0.5/24", config=PROBING)
    seen = removed(host)
    await cable.away()
    cable.back()
    await asyncio.sleep(10.0)
    assert seen == []
    await cable.away()
    mac = await thief(network, lan, "10.0.0.5/24")
    conflicts = []
    host.subscribe(lambda event: conflicts.append(event) if isinstance(event, AddressConflict) else None)
    cable.back()
    await asyncio.sleep(10.0)
    assert named(seen) == ["10.0.0.5"]
    assert f"{mac} on {interface.name} has 10.0.0.5" in str(seen[0].error)
    assert conflicts == []  # it is not defended: the other one was first


async def test_an_ipv4_address_that_is_asked_for_is_defended_against_newcomers(network):
    host, _, lan, cable = await plugged(network, "10.0.0.5/24", config=PROBING)
    seen = removed(host)
    newcomer = network.host("newcomer", config=PROBING)
    await cable.away()
    cable.back()
    with pytest.raises(OSError, match=r"has 10\.0\.0\.5"):
        await newcomer.add_interface(lan.port("newcomer"), ["10.0.0.5/24"])
    await asyncio.sleep(10.0)
    assert seen == []


@pytest.mark.parametrize("address", ["10.0.0.5/24", "2001:db8::5/64"])
async def test_of_two_whose_networks_become_one_one_keeps_it(network, address):
    hosts = [network.host(name, config=PROBING) for name in ("a", "b")]
    lan = network.lan("lan")
    cables = []
    for host in hosts:
        for cable in cables:
            await cable.away()
        await host.add_interface(lan.port(host.name), [address])
        cables.append(Cable(lan, host.name))
    seen = [removed(host) for host in hosts]
    await cables[-1].away()
    for cable in cables:
        cable.back()
    await asyncio.sleep(20.0)
    assert sorted(len(events) for events in seen) == [0, 1]


async def test_a_169_254_address_that_was_taken_is_chosen_anew(network):
    host, interface, lan, cable = await plugged(network, "link-local")
    (before,) = host.addresses.of(interface, 4)
    seen = removed(host)
    await cable.away()
    await thief(network, lan, f"{before}")
    cable.back()
    await asyncio.sleep(20.0)
    assert [event.address for event in seen] == [before]
    (after,) = host.addresses.of(interface, 4)
    assert after.address not in (before.address, b"")


async def test_a_lease_that_the_server_confirms_may_be_taken_all_the_same(network):
    """RFC 2131 4.4.1: an address is declined that ARP shows in use; the server gives another one."""
    server = network.host("server", "10.0.0.1/24")
    lan, host = network.lan("lan", server), network.host("pc", config=PROBING)
    async with DhcpServer(server, server.interfaces[-1], Pool(network="10.0.0.0/24")):
        interface = await host.add_interface(lan.port("pc"), ["dhcp4"], timeout=40.0)
        (before,) = host.addresses.of(interface, 4)
        seen = removed(host)
        cable = Cable(lan)
        await cable.away()
        cable.back()
        await asyncio.sleep(20.0)
        assert seen == []
        await cable.away()
        await thief(network, lan, f"{before}")
        cable.back()
        await asyncio.sleep(40.0)
        assert [event.address for event in seen] == [before]
        assert "another host uses it" in str(seen[0].error)
        (after,) = host.addresses.of(interface, 4)
        assert after.address != before.address


async def test_a_lease_is_announced_once_the_server_confirms_it(network):
    server = network.host("server", "10.0.0.1/24")
    lan, host = network.lan("lan", server), network.host("pc")
    async with DhcpServer(server, server.interfaces[-1], Pool(network="10.0.0.0/24")):
        interface = await host.add_interface(lan.port("pc"), ["dhcp4"])
        (entry,) = host.addresses.of(interface, 4)
        cable, said = Cable(lan), []
        lan.taps.append(lambda _, frame: said.append(bytes(frame.data)))
        await cable.away()
        said.clear()
        cable.back()
        await asyncio.sleep(5.0)
    kinds = [int.from_bytes(data[12:14], "big") for data in said]
    announced = [data for data in said if data[12:14] == ETHERTYPE_ARP.to_bytes(2, "big")]
    announced = [data for data in announced if data[28:32] == data[38:42] == entry.address]
    assert len(announced) == 2  # RFC 5227 2.3
    assert said.index(announced[0]) > kinds.index(0x0800)  # behind the request


async def test_what_is_being_asked_ends_with_the_link_and_with_the_interface(network):
    host, interface, lan, cable = await plugged(network, "2001:db8::5/64", "10.0.0.5/24", config=PROBING)
    seen = removed(host)
    for _ in range(3):
        await cable.away()
        cable.back()
        await asyncio.sleep(0.9)
    await cable.away()
    await thief(network, lan, "2001:db8::5/64", "10.0.0.5/24")
    cable.back()
    await asyncio.sleep(0.0)
    await host.remove_interface(interface)
    await asyncio.sleep(10.0)
    assert not any(event.error is not None and event.error.errno == errno.EADDRINUSE for event in seen)
    assert not host._rechecks


async def test_an_address_that_is_removed_while_it_is_asked_for(network):
    host, _, lan, cable = await plugged(network, "2001:db8::5/64", "10.0.0.5/24", config=PROBING)
    seen = removed(host)
    await cable.away()
    await thief(network, lan, "2001:db8::5/64", "10.0.0.5/24")
    cable.back()
    host.remove_address(packed("2001:db8::5"))
    host.remove_address(packed("10.0.0.5"))
    await asyncio.sleep(10.0)
    assert [event.error for event in seen] == [None, None]


async def test_who_is_where_is_asked_anew(network):
    """Another gateway has the address of the old one: no connection waits for the old one to be found dead."""
    host, _, lan, cable = await plugged(network, "10.0.0.5/24")
    gateway = network.host("old")
    gateway.attach(lan.port("old"), ["10.0.0.1/24"])
    await host.ping("10.0.0.1")
    await cable.away()
    lan.cables["old"].ends[0].set_link(False)
    network.host("new").attach(lan.port("new"), ["10.0.0.1/24"])
    cable.back()
    assert (await host.ping("10.0.0.1", timeout=1.0)).source == "10.0.0.1"
