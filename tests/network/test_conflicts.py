"""Two hosts and one address, whole stacks in virtual time."""

import asyncio
import errno

import pytest

from asyncstack import AddressAdded, AddressConflict, AddressRemoved, Network, StackConfig
from asyncstack.network.addresses import Origin, parse_address
from tests.network.host import fails

pytestmark = pytest.mark.virtual_time(limit=300)

WANTED = parse_address("10.0.0.7")


class Pair:
    """Two hosts on an Ethernet, and what each is told."""

    def __init__(self, net):
        config = StackConfig(ipv4_conflict_probes=3)
        self.a = net.host("a", "10.0.0.1/24", config=config)
        self.b = net.host("b", "10.0.0.2/24", config=config)
        self.link = net.link(self.a, self.b, ethernet=True, delay=0.001)
        self.told = {host: [] for host in (self.a, self.b)}
        for host, told in self.told.items():
            host.subscribe(told.append)

    def interface(self, host):
        return host.interfaces[-1]

    async def check(self, host):
        await host.check_address(self.interface(host), WANTED)

    def add(self, host, origin):
        return host.add_address(self.interface(host), WANTED, 24, origin=origin)


@pytest.fixture
async def pair():
    async with Network(seed=1) as net:
        yield Pair(net)


async def test_a_free_address_takes_four_to_seven_seconds(pair):
    loop = asyncio.get_running_loop()
    start = loop.time()
    await pair.check(pair.a)
    assert 4.0 <= loop.time() - start <= 7.0
    assert pair.interface(pair.a).link._timer.deadline == float("inf")


async def test_an_address_that_another_host_has_is_not_free(pair):
    pair.add(pair.b, Origin.STATIC)
    with fails(errno.EADDRINUSE) as raised:
        await pair.check(pair.a)
    assert pair.interface(pair.b).link.mac.hex(":") in str(raised.value)
    assert not pair.told[pair.a]


async def test_of_two_that_ask_at_once_at_most_one_gets_it(pair):
    results = await asyncio.gather(pair.check(pair.a), pair.check(pair.b), return_exceptions=True)
    assert sum(isinstance(result, OSError) for result in results) >= 1


async def test_a_check_can_be_cancelled_and_its_end_is_told_when_the_interface_goes(pair):
    task = asyncio.ensure_future(pair.check(pair.a))
    await asyncio.sleep(1.0)
    with fails(errno.EALREADY):
        await pair.check(pair.a)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    task = asyncio.ensure_future(pair.check(pair.a))
    await asyncio.sleep(1.0)
    await pair.a.remove_interface(pair.interface(pair.a))
    with fails(errno.ENETDOWN):
        await task


async def test_a_leased_address_is_lost_to_a_host_that_insists(pair):
    entry = pair.add(pair.a, Origin.DHCP4)
    await asyncio.sleep(20.0)
    pair.told[pair.a].clear()
    pair.add(pair.b, Origin.STATIC)  # announces it: a defends it, which b answers in turn
    await asyncio.sleep(1.0)
    mac = pair.interface(pair.b).link.mac
    first, second, removed = pair.told[pair.a]
    assert first == AddressConflict(pair.interface(pair.a), WANTED, mac, lost=False)
    assert second == AddressConflict(pair.interface(pair.a), WANTED, mac, lost=True)
    assert isinstance(removed, AddressRemoved)
    assert (removed.address, removed.error.errno) == (entry, errno.EADDRINUSE)
    assert WANTED not in pair.a.addresses.local
    assert WANTED in pair.b.addresses.local
    kinds = [type(event) for event in pair.told[pair.b]]
    assert kinds == [AddressAdded, AddressConflict]


async def test_connections_on_a_lost_address_end(pair):
    pair.add(pair.a, Origin.DHCP4)
    reason = asyncio.get_running_loop().create_future()

    class Client(asyncio.Protocol):
        def connection_lost(self, exc):
            reason.set_result(exc)

    await pair.b.create_server(asyncio.Protocol, "10.0.0.2", 80)
    await pair.a.create_connection(Client, "10.0.0.2", 80, local_addr=("10.0.0.7", 0))
    link = pair.interface(pair.a).link
    for _ in range(2):
        pair.interface(pair.b).link.announce(WANTED, pair.b.clock())
    assert (await reason).errno == errno.EADDRINUSE
    assert WANTED not in link.addresses


async def test_a_check_ends_where_somebody_makes_the_address_ours_meanwhile(pair):
    checking = asyncio.create_task(pair.check(pair.a))
    await asyncio.sleep(2)
    pair.add(pair.a, Origin.STATIC)
    await asyncio.wait_for(checking, 1)


async def test_on_an_interface_that_is_gone_nothing_is_checked(pair):
    interface = pair.interface(pair.a)
    await pair.a.remove_interface(interface)
    with fails(errno.ENETDOWN):
        await asyncio.wait_for(pair.a.check_address(interface, WANTED), 10)
