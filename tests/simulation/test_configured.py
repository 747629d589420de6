"""Hosts on a simulated segment whose addresses come by DHCP, from routers, or from nobody."""

import asyncio
import errno
import re

import pytest

from asyncstack import AddressAdded, AddressRemoved, LinkUp, SourceFailed
from asyncstack.application.dhcp import DhcpServer, Pool
from asyncstack.application.radv import RouterAdvertiser
from asyncstack.network.addresses import Origin, format_address
from tests.transport.asyncio_contract.recorders import Recorder

pytestmark = pytest.mark.virtual_time


def given(host, *origins):
    entries = host.addresses.of(host.interfaces[-1])
    return [format_address(one.address) for one in entries if one.origin in origins]


def watched(host):
    """The events of `host` from now on."""
    seen = []
    host.subscribe(seen.append)
    return seen


def lan_with_server(network, *addresses):
    server, host = network.host("server", *addresses), network.host("pc")
    lan = network.lan("lan", server, delay=0.0001)
    return server, server.interfaces[-1], host, lan


async def test_nobody_answers(network):
    lan, host = network.lan("lan"), network.host("pc")
    began = host.clock()
    with pytest.raises(TimeoutError) as told:
        await host.add_interface(lan.port(), ["dhcp4", "slaac"], timeout=5.0)
    assert host.clock() - began == pytest.approx(5.0, abs=0.2)
    text = told.value.strerror
    assert "lan after 5." in text
    assert "dhcp4: no address by DHCP on lan within 5 s: no server answered" in text
    assert re.search(r"slaac: no router advertisement, after \d solicitations? on lan within 5 s$", text)
    assert [interface.name for interface in host.interfaces] == ["lo"]


async def test_a_server_that_comes_later(network):
    server, interface, host, lan = lan_with_server(network, "10.0.0.1/24")
    seen = watched(host)
    await host.add_interface(lan.port(), ["dhcp4"], wait=False, timeout=5.0)
    await asyncio.sleep(20.0)
    (failed,) = [event for event in seen if isinstance(event, SourceFailed)]
    assert (failed.word, failed.error.__class__) == ("dhcp4", TimeoutError)
    async with DhcpServer(server, interface, Pool(network="10.0.0.0/24")):
        await asyncio.sleep(70.0)
        assert len(given(host, Origin.DHCP4)) == 1


async def test_link_local_addresses(network):
    """RFC 3927: two hosts without a server reach each other."""
    lan, hosts = network.lan("lan"), [network.host("a"), network.host("b")]
    await asyncio.gather(*(host.add_interface(lan.port(), ["link-local"]) for host in hosts))
    (theirs,) = [one for one in given(hosts[1], Origin.LINK_LOCAL) if one.startswith("169.254.")]
    assert (await hosts[0].ping(theirs)).source == theirs


async def test_a_cable_that_is_put_back(network):
    """What was given is asked for again, and the connection over it goes on."""
    server, interface, host, lan = lan_with_server(network, "10.0.0.1/24", "fd00::1/64")
    pool = Pool(network="10.0.0.0/24")
    async with DhcpServer(server, interface, pool), RouterAdvertiser(server, interface, ["fd00::/64"]):
        await host.add_interface(lan.port("pc"), ["dhcp4", "slaac"])
        before = given(host, Origin.DHCP4, Origin.SLAAC)
        client = Recorder()
        await server.create_server(Recorder, None, 80)
        transport, _ = await host.create_connection(lambda: client, "10.0.0.1", 80)
        seen = watched(host)
        end = lan.cables["pc"].ends[0]
        end.set_link(False)
        transport.write(b"while it was out")
        await asyncio.sleep(8.0)
        sent = lan.cables["pc"].forward.stats.sent
        end.set_link(True)
        await asyncio.sleep(10.0)
        assert lan.cables["pc"].forward.stats.sent - sent >= 3  # a DHCPREQUEST, a solicitation, the data
        assert given(host, Origin.DHCP4, Origin.SLAAC) == before
        assert [type(event) for event in seen[1:]] == [LinkUp]
        assert (await host.ping("fd00::1")).source == "fd00::1"
        assert host.connections()[0].state.value == "ESTABLISHED"
        assert host.connections()[0].unacked == 0
        transport.abort()


async def test_a_cable_that_is_put_into_another_network(network):
    """The lease is refused there: its connections end and say why, and there is another address."""
    server, interface, host, lan = lan_with_server(network, "10.0.0.1/24")
    async with DhcpServer(server, interface, Pool(network="10.0.0.0/24")):
        await host.add_interface(lan.port("pc"), ["dhcp4"])
        client = Recorder()
        await server.create_server(Recorder, None, 80)
        await host.create_connection(lambda: client, "10.0.0.1", 80)
    (before,) = given(host, Origin.DHCP4)
    end = lan.cables["pc"].ends[0]
    end.set_link(False)
    server.remove_address(bytes([10, 0, 0, 1]))
    server.add_address(interface, bytes([10, 2, 0, 1]), 24)
    seen = watched(host)
    async with DhcpServer(server, interface, Pool(network="10.2.0.0/24"), authoritative=True):
        end.set_link(True)
        await asyncio.sleep(30.0)
        (after,) = given(host, Origin.DHCP4)
        assert (before[:5], after[:5]) == ("10.0.", "10.2.")
        gone, new = (
            next(event for event in seen if isinstance(event, kind))
            for kind in (AddressRemoved, AddressAdded)
        )
        assert format_address(gone.address.address) == before
        assert format_address(new.address.address) == after
        assert client.lost.errno == gone.error.errno == errno.EADDRNOTAVAIL
        assert host.names.table["pc"][:1] == [after]  # its name means the new one
        assert (await server.ping("pc")).source == after


async def test_a_removed_interface_gives_its_lease_back(network):
    server, interface, host, lan = lan_with_server(network, "10.0.0.1/24")
    async with DhcpServer(server, interface, Pool(network="10.0.0.0/24")) as dhcp:
        mine = await host.add_interface(lan.port("pc"), ["dhcp4"])
        client = Recorder()
        await server.create_server(Recorder, None, 80)
        await host.create_connection(lambda: client, "10.0.0.1", 80)
        assert len(dhcp.bindings) == 1
        await host.remove_interface(mine)
        await asyncio.sleep(0.1)
        assert not dhcp.bindings
        assert client.lost.errno == errno.ENETDOWN
