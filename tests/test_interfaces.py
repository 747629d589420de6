"""Addresses come and go while the stack runs: who is told, and what is left."""

import asyncio
import errno
from ipaddress import ip_address

import pytest

from asyncstack import AddressAdded, AddressRemoved, Stack
from asyncstack.events import AddressConflict, LinkDown, SourceFailed
from asyncstack.link.memory import memory_pair
from asyncstack.network.addresses import Origin
from tests.transport.asyncio_contract.recorders import Datagrams, Recorder

OTHER = ip_address("10.1.0.3").packed


def neighbours(a, b):
    near, far = memory_pair(ethernet=True)
    return a.attach(near, ["10.1.0.1/24"]), b.attach(far, ["10.1.0.2/24"])


async def test_an_address_comes_and_goes():
    async with Stack() as a, Stack() as b:
        _, interface = neighbours(a, b)
        events = []
        b.subscribe(events.append)
        entry = b.add_address(interface, OTHER, 24, origin=Origin.DHCP4)
        assert (await a.ping("10.1.0.3")).source == "10.1.0.3"
        b.remove_address(OTHER)
        with pytest.raises(TimeoutError):
            await a.ping("10.1.0.3", timeout=0.05)
        assert events == [AddressAdded(entry), AddressRemoved(entry, None)]
        assert entry.origin is Origin.DHCP4
        with pytest.raises(OSError, match=r"10\.1\.0\.3 is not an address"):
            b.remove_address(OTHER)


async def test_the_connections_of_an_address_end_with_it():
    async with Stack() as a, Stack() as b:
        _, interface = neighbours(a, b)
        b.add_address(interface, OTHER, 24)
        server = await a.create_server(Recorder, "10.1.0.1", 80)
        leaving, staying = Recorder(), Recorder()
        await b.create_connection(lambda: leaving, "10.1.0.1", 80, local_addr=("10.1.0.3", 0))
        await b.create_connection(lambda: staying, "10.1.0.1", 80)
        bound = Datagrams()
        await b.create_datagram_endpoint(lambda: bound, local_addr=("10.1.0.3", 53))
        b.remove_address(OTHER, OSError(errno.EADDRNOTAVAIL, "the lease has run out"))
        await asyncio.sleep(0.01)
        assert leaving.lost.errno == errno.EADDRNOTAVAIL
        assert not hasattr(staying, "lost") or staying.lost is None
        assert [error.strerror for error in bound.errors] == ["the lease has run out"]
        server.close()


async def test_the_route_to_a_network_lasts_as_long_as_an_address_there():
    async with Stack() as a, Stack() as b:
        _, interface = neighbours(a, b)
        before = [str(route) for route in b.routes.routes()]
        b.add_address(interface, OTHER, 24)
        b.remove_address(ip_address("10.1.0.2").packed)
        assert [str(route) for route in b.routes.routes()] == before
        assert (await b.ping("10.1.0.1")).source == "10.1.0.1"
        b.remove_address(OTHER)
        assert len(b.routes.routes()) == len(before) - 1
        b.add_address(interface, OTHER, 24, on_link=False)
        assert len(b.routes.routes()) == len(before) - 1


async def test_an_interface_that_is_gone_takes_no_address():
    async with Stack() as a, Stack() as b:
        gone, _ = neighbours(a, b)
        await a.remove_interface(gone)
        for attempt in (OTHER, ip_address("fd00::5").packed):
            with pytest.raises(OSError, match="is gone") as raised:
                a.add_address(gone, attempt, 24)
            assert raised.value.errno == errno.ENETDOWN
        began = a.clock()
        with pytest.raises(OSError, match="went down"):
            await a.check_address(gone, ip_address("fd00::5").packed)
        assert a.clock() - began < 0.5
        assert [entry.interface.name for entry in a.addresses.local.values()] == ["lo", "lo"]
        assert a.addresses.groups.of(gone) == []


async def test_no_interface_has_the_index_of_one_that_is_gone():
    """A scope that an application has kept (fe80::1%2) must not lead to another link; Linux counts on too."""
    async with Stack() as a, Stack() as b:
        first, _ = neighbours(a, b)
        await a.remove_interface(first)
        near, _ = memory_pair(ethernet=True)
        assert a.attach(near).index > first.index


async def test_events_can_be_read():
    async with Stack() as a, Stack() as b:
        office, _ = neighbours(a, b)
        told = []
        office.name = "office"
        a.subscribe(lambda event: told.append(repr(event)))
        entry = a.add_address(office, OTHER, 24, origin=Origin.DHCP4)
        a._tell(AddressConflict(office, OTHER, bytes.fromhex("02005e100001"), lost=True))
        a.remove_address(OTHER, OSError(errno.EADDRINUSE, "another host has it"))
        a._tell(SourceFailed(office, "dhcp4", TimeoutError("no answer")))
        a._tell(LinkDown(office))
        await asyncio.sleep(0)
        assert told == [
            "AddressAdded(10.1.0.3/24 on office, dhcp4)",
            "AddressConflict(10.1.0.3 on office, 02:00:5e:10:00:01 has it, lost)",
            "AddressRemoved(10.1.0.3/24 on office, dhcp4: another host has it)",
            "SourceFailed(dhcp4 on office: no answer)",
            "LinkDown(office)",
        ]
        assert repr(entry) == "<InterfaceAddress 10.1.0.3/24 on office, dhcp4>"
        assert "<Route 10.1.0.0/24 dev office metric 0>" in map(repr, a.routes.routes())


@pytest.mark.parametrize(("given", "meant"), [("10.0.0.5", "10.0.0.5/24"), ("2001:db8::5", "2001:db8::5/64")])
async def test_an_address_needs_its_prefix_length(given, meant):
    """Without one there would be no network on the link: `ip address add` takes it, and is regretted."""
    async with Stack() as stack:
        device, _ = memory_pair(ethernet=True)
        said = f"'{given}' needs a prefix length, such as {meant}"
        with pytest.raises(ValueError, match=said):
            await stack.add_interface(device, [given])
        with pytest.raises(ValueError, match=said):
            stack.attach(device, ["10.1.0.1/24", given])
        assert [interface.name for interface in stack.interfaces] == ["lo"]
        stack.attach(device, ["10.0.0.5/32"])


async def test_interfaces_of_one_stack_have_names_of_their_own():
    async with Stack() as stack:
        names = [stack.attach(memory_pair()[0]).name for _ in range(3)]
        assert names == ["memory0", "memory0#2", "memory0#3"]
        await stack.remove_interface(stack.interfaces[2])
        assert stack.attach(memory_pair()[0]).name == "memory0#2"
        with pytest.raises(ValueError, match="name='memory0': there is an interface of that name"):
            stack.attach(memory_pair()[0], name="memory0")
        assert stack.attach(memory_pair()[0], name="office").name == "office"
