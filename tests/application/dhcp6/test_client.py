"""The client on a simulated cable in virtual time, and a server of a few lines at the other end."""

import asyncio

import pytest

from asyncstack.application.dhcp6 import Dhcp6Client
from asyncstack.application.radv import RouterAdvertiser
from asyncstack.events import AddressAdded, AddressRemoved
from asyncstack.network.addresses import Origin, parse_address
from asyncstack.wire import dhcp6
from asyncstack.wire.dhcp6 import IaAddress, IaNa, Message, Status

pytestmark = pytest.mark.virtual_time(limit=10_000)

SERVER = bytes.fromhex("00030001020000000009")
POOL = [parse_address(f"fd00:6::{n}") for n in range(1, 9)]
DNS = parse_address("fd00:6::53")


class Server(asyncio.DatagramProtocol):
    """Gives the addresses of POOL one after the other, for 100 s (preferred) and 200 s."""

    def __init__(self, host, interface):
        self.heard, self.pool, self.leased, self.mute = [], list(POOL), {}, set()
        self.host, self.interface = host, interface

    async def start(self):
        await self.host.create_datagram_endpoint(lambda: self, ("::", 547))
        self.host.addresses.groups.join(dhcp6.ALL_AGENTS, self.interface, self)
        return self

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        asked = dhcp6.parse(data)
        self.heard.append((asyncio.get_running_loop().time(), asked.type, addr))
        if asked.type not in self.mute:
            answer = self.answer(asked)
            answer.client_id, answer.server_id = asked.client_id, SERVER
            self.transport.sendto(dhcp6.build(answer), addr)

    def answer(self, asked):
        if asked.type == dhcp6.SOLICIT:
            return Message(dhcp6.ADVERTISE, asked.transaction, ia_nas=[self.give(asked)], preference=255)
        if asked.type in (dhcp6.REQUEST, dhcp6.RENEW, dhcp6.REBIND):
            return Message(
                dhcp6.REPLY, asked.transaction, ia_nas=[self.give(asked)], nameservers=[DNS], search=["lan"]
            )
        if asked.type == dhcp6.INFORMATION_REQUEST:
            return Message(dhcp6.REPLY, asked.transaction, nameservers=[DNS])
        if asked.type == dhcp6.DECLINE:
            self.leased.pop(asked.client_id, None)
        return Message(dhcp6.REPLY, asked.transaction, status=Status(dhcp6.SUCCESS))

    def give(self, asked):
        iaid = asked.ia_nas[0].iaid
        if asked.client_id not in self.leased:
            if not self.pool:
                return IaNa(iaid, status=Status(dhcp6.NO_ADDRS_AVAIL, "the pool is empty"))
            self.leased[asked.client_id] = self.pool.pop(0)
        return IaNa(iaid, 50, 80, [IaAddress(self.leased[asked.client_id], 100, 200)])

    def types(self):
        """What was heard since the last look."""
        found = [kind for _, kind, _ in self.heard]
        self.heard.clear()
        return found


class Site:
    def __init__(self, network, *addresses):
        self.host, self.server_host = network.host("pc"), network.host("server")
        self.link = network.link(
            self.host, self.server_host, delay=0.001, ethernet=True,
            addresses=(list(addresses or ["fe80::1/64"]), ["fe80::9/64"]),
        )  # fmt: skip
        self.interface, self.events = self.host.interfaces[1], []
        self.host.subscribe(self.events.append)
        self.server = Server(self.server_host, self.server_host.interfaces[1])

    def client(self, **arguments):
        return Dhcp6Client(self.host, self.interface, **arguments)

    def ours(self):
        """The addresses by DHCP."""
        return [e.address for e in self.host.addresses.of(self.interface, 16) if e.origin is Origin.DHCP6]


@pytest.fixture
async def site(network):
    site = Site(network)
    await site.server.start()
    return site


async def test_an_address_and_nameservers_come_and_go(site):
    client = site.client()
    await client.start()
    [entry] = [e for e in site.host.addresses.of(site.interface, 16) if e.origin is Origin.DHCP6]
    assert (entry.address, entry.prefix_length) == (POOL[0], 128)
    assert 90 < entry.preferred_until - site.host.clock() < 101
    assert site.host.resolver.config.nameservers == ["fd00:6::53"]
    assert site.host.resolver.config.search == ["lan"]
    assert all(addr[0] == "fe80::1" for _, _, addr in site.server.heard)
    assert site.server.types() == [dhcp6.SOLICIT, dhcp6.REQUEST]
    await client.stop()
    await client.stop()
    assert (site.ours(), site.server.types()) == ([], [dhcp6.RELEASE])
    assert not site.host.resolver.config.nameservers
    assert not any(POOL[0] == route.prefix for route in site.host.routes.routes())


async def test_it_renews_as_long_as_it_runs_and_connections_stay(site):
    client = site.client()
    await client.start()
    site.server.types()
    before = site.ours()
    await asyncio.sleep(1000)
    assert (site.ours(), set(site.server.types())) == (before, {dhcp6.RENEW})
    assert not any(isinstance(event, AddressRemoved) for event in site.events)
    await client.stop()


async def test_without_a_server_the_address_is_deprecated_and_lost_in_time(site):
    client = site.client()
    await client.start()
    site.server.mute.update(range(1, 12))
    await asyncio.sleep(110)
    [entry] = [e for e in site.host.addresses.of(site.interface, 16) if e.origin is Origin.DHCP6]
    assert entry.preferred_until < site.host.clock()
    await asyncio.sleep(100)
    [lost] = [event for event in site.events if isinstance(event, AddressRemoved)]
    assert (site.ours(), "lifetime has ended" in str(lost.error)) == ([], True)
    site.server.mute.clear()
    await asyncio.sleep(200)
    assert len(site.ours()) == 1
    await client.stop()


async def test_an_address_that_is_preferred_again_is_the_better_source_again(site):
    """Also for who has asked for a path meanwhile."""
    client = site.client()
    await client.start()
    site.server.mute.update(range(1, 12))
    await asyncio.sleep(110)
    spare, routes = parse_address("fd00:6:0:1::77"), site.host.routes
    site.host.add_address(site.interface, spare, 64)
    routes.add(bytes(16), 0, site.interface, parse_address("fe80::9"))
    assert routes.lookup(POOL[7]).source == spare
    site.server.mute.clear()
    await asyncio.sleep(50)
    assert routes.lookup(POOL[7]).source == POOL[0]
    await client.stop()


async def test_an_address_that_somebody_has_is_declined(site, monkeypatch):
    async def check(interface, address):
        await asyncio.sleep(1)
        if address in POOL[:2]:
            raise OSError(98, "02:00:00:00:00:77 has it")

    monkeypatch.setattr(site.host, "check_address", check)
    client = site.client()
    await client.start()
    assert site.ours() == [POOL[2]]
    assert site.server.types() == [dhcp6.SOLICIT, dhcp6.REQUEST, dhcp6.DECLINE] * 2 + [
        dhcp6.SOLICIT,
        dhcp6.REQUEST,
    ]
    await client.stop()


async def test_a_renewal_while_the_address_is_checked(site, monkeypatch):
    """A check that takes longer than T1: the address is checked once, and is no conflict with itself."""
    checked = []

    async def check(interface, address):
        checked.append(address)
        await asyncio.sleep(70)

    monkeypatch.setattr(site.host, "check_address", check)
    client = site.client(timeout=100)
    await client.start()
    assert (checked, site.ours()) == ([POOL[0]], [POOL[0]])
    assert dhcp6.RENEW in site.server.types()
    await client.stop()


async def test_a_port_that_is_taken(site):
    transport, _ = await site.host.create_datagram_endpoint(asyncio.DatagramProtocol, ("fe80::1", 546))
    with pytest.raises(TimeoutError, match="Address already in use"):
        await site.client(timeout=3).start()
    transport.close()


async def test_an_address_that_is_taken_from_us_is_declined(site):
    client = site.client()
    await client.start()
    site.server.types()
    site.host.remove_address(POOL[0], OSError(98, "02:00:00:00:00:77 has it"))
    await asyncio.sleep(10)
    assert (site.ours(), site.server.types()[0]) == ([POOL[1]], dhcp6.DECLINE)
    await client.stop()


async def test_an_address_that_somebody_removes_is_given_back(site):
    """Declined, the server would take it for another host's."""
    client = site.client()
    await client.start()
    site.server.types()
    site.host.remove_address(POOL[0])
    await asyncio.sleep(300)
    assert (site.ours(), site.server.types()) == ([], [dhcp6.RELEASE])
    assert client.machine.lease.addresses == {} and site.host.counters["dhcp6.declined"] == 0
    await client.stop()
    assert site.server.types() == []


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (lambda site: site.server.mute.update(range(1, 12)), "no server answered"),
        (lambda site: site.server.pool.clear(), "NoAddrsAvail (the pool is empty)"),
    ],
)
async def test_what_was_missing_and_for_how_long(site, break_it, why):
    break_it(site)
    client = site.client(timeout=12)
    began = site.host.clock()
    with pytest.raises(TimeoutError, match="no address by DHCPv6 on pc-server within 12 s") as raised:
        await client.start()
    assert why in str(raised.value)
    assert site.host.clock() - began == pytest.approx(12)
    # it goes on trying
    site.server.mute.clear()
    site.server.pool.append(POOL[7])
    await asyncio.sleep(30)
    assert len(site.ours()) == 1
    await client.stop()


async def test_it_has_a_link_local_address_made(site):
    site.host.remove_address(parse_address("fe80::1"))
    client = site.client()
    await client.start()
    made = site.host.addresses.of(site.interface, 16)
    assert [entry.origin for entry in made] == [Origin.LINK_LOCAL, Origin.DHCP6]
    await client.stop()


async def test_only_the_rest(site):
    client = site.client(stateful=False)
    await client.start()
    assert site.host.resolver.config.nameservers == ["fd00:6::53"]
    assert (site.ours(), site.server.types()) == ([], [dhcp6.INFORMATION_REQUEST])
    await client.stop()
    assert site.server.types() == []


async def test_the_link_comes_back(site):
    client = site.client()
    await client.start()
    site.server.types()
    client.link_down()
    await asyncio.sleep(5)
    client.link_up()
    await asyncio.sleep(5)
    assert (len(site.ours()), site.server.types()) == (1, [dhcp6.CONFIRM])
    await client.stop()


async def test_a_stop_does_not_wait_for_a_server_that_is_gone(site):
    client = site.client()
    await client.start()
    site.link.down()
    began = site.host.clock()
    await client.stop()
    assert (site.ours(), site.host.clock() - began <= 2.01) == ([], True)


async def test_a_stop_ends_a_start(site):
    site.server.mute.update(range(1, 12))
    client = site.client()
    starting = asyncio.create_task(client.start())
    await asyncio.sleep(3)
    await client.stop()
    with pytest.raises(OSError, match="stopped"):
        await starting
    assert site.host.udp.endpoints == {}


async def test_the_interface_goes(site):
    client, waiting = site.client(), site.client()
    await client.start()
    await client.stop()
    site.server.mute.update(range(1, 12))
    starting = asyncio.create_task(waiting.start())
    await asyncio.sleep(3)
    await site.host.remove_interface(site.interface)
    with pytest.raises(OSError, match="removed"):
        await starting
    await waiting.stop()
    assert site.host.udp.endpoints == {}


async def test_the_link_local_address_may_come_later(network):
    site = Site(network, "10.0.0.1/24")
    await site.server.start()
    client = site.client()
    starting = asyncio.create_task(client.start())
    await asyncio.sleep(2)
    site.host.add_address(site.interface, parse_address("fe80::1"), 64, origin=Origin.LINK_LOCAL)
    await starting
    assert site.ours() == [POOL[0]]
    assert any(isinstance(event, AddressAdded) for event in site.events)
    await client.stop()


async def test_as_a_word_of_add_interface(network):
    """With "slaac" beside it, as on a network whose router says "managed"."""
    host, server_host = network.host("pc"), network.host("server", "fe80::9/64", "fd00:6::99/64")
    lan = network.lan("office", server_host, delay=0.001)
    server = await Server(server_host, server_host.interfaces[1]).start()
    async with RouterAdvertiser(server_host, server_host.interfaces[1], ["fd00:6::/64"], managed=True):
        interface = await host.add_interface(lan.port(), ["slaac", "dhcp6"])
        own = {entry.origin: entry for entry in host.addresses.of(interface, 16)}
        assert set(own) == {Origin.LINK_LOCAL, Origin.SLAAC, Origin.DHCP6}
        assert own[Origin.DHCP6].address == POOL[0]
        reply = await server_host.ping("fd00:6::1")
        assert reply.source == "fd00:6::1"
        await host.remove_interface(interface)
    assert server.types() == [dhcp6.SOLICIT, dhcp6.REQUEST, dhcp6.RELEASE]


async def test_add_interface_says_that_there_is_no_server(network):
    host, other = network.host("pc"), network.host("other", "fe80::9/64")
    lan = network.lan("office", other)
    with pytest.raises(TimeoutError, match=r"no address by DHCPv6 on .* no server answered"):
        await host.add_interface(lan.port(), ["dhcp6"], timeout=10)
    assert [interface.name for interface in host.interfaces] == ["lo"]


async def test_it_leaves_nothing(site):
    client = site.client()
    await client.start()
    await client.stop()
    await asyncio.sleep(0)
    assert site.host.udp.endpoints == {}
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await site.host.close()
    await site.server_host.close()
    assert asyncio.get_running_loop().timers == 0
