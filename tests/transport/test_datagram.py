"""Datagram endpoints, beyond what the kernel's have in common with them: see asyncio_contract/test_datagrams."""

import asyncio
import errno

import pytest

from asyncstack import Stack, memory_pair
from asyncstack.transport.datagram import PATHS_KEPT
from tests.transport.asyncio_contract.recorders import Datagrams

pytestmark = pytest.mark.virtual_time


async def endpoints(network, **link):
    """An endpoint of host a, and one of host b on port 7."""
    a, b = network.host("a", "10.0.0.1/24", "fd00::1/64"), network.host("b", "10.0.0.2/24", "fd00::2/64")
    made = network.link(a, b, **link)
    _, near = await a.create_datagram_endpoint(Datagrams, ("0.0.0.0", 0))
    _, far = await b.create_datagram_endpoint(Datagrams, ("0.0.0.0", 7))
    return a, b, made, near, far


async def test_ipv6(network):
    _, b, _, _, _ = await endpoints(network)
    a = network.hosts["a"]
    _, far = await b.create_datagram_endpoint(Datagrams, ("::", 7))
    transport, near = await a.create_datagram_endpoint(Datagrams, remote_addr=("b", 7), family=10)
    transport.sendto(b"six")
    assert await far.received(1) == [b"six"]
    far.transport.sendto(b"answer", far.datagrams[0][1])
    assert await near.received(1) == [b"answer"]
    assert near.datagrams[0][1] == ("fd00::2", 7, 0, 0)
    assert transport.get_extra_info("peername") == ("fd00::2", 7, 0, 0)
    transport.sendto(b"again", ("fd00::2", 7, 0, 0))
    transport.sendto(b"again", ("fd00:0::2", 7))
    assert len(await far.received(3)) == 3


async def test_a_datagram_that_arrives_before_connection_made_waits_for_it(network):
    _, b, _, near, _ = await endpoints(network)
    near.transport.sendto(b"early", ("10.0.0.2", 9))
    # started now, the endpoint is bound in this turn, in which the datagram is about to arrive
    _, protocol = await b.create_datagram_endpoint(Datagrams, ("10.0.0.2", 9))
    assert await protocol.received(1) == [b"early"]
    assert protocol.callbacks == ["connection_made", "datagram_received"]


async def test_the_first_datagram_waits_for_the_neighbour(network):
    _, _, _, near, far = await endpoints(network, delay=0.01, ethernet=True)
    for number in range(3):
        near.transport.sendto(b"%d" % number, ("10.0.0.2", 7))
    assert await far.received(3) == [b"0", b"1", b"2"]


async def test_a_neighbour_that_does_not_answer(network):
    a, _, _, near, _ = await endpoints(network, ethernet=True)
    _, connected = await a.create_datagram_endpoint(Datagrams, remote_addr=("10.0.0.9", 7))
    connected.transport.sendto(b"anybody?")
    near.transport.sendto(b"anybody?", ("10.0.0.9", 7))
    await asyncio.sleep(10)
    assert [error.errno for error in connected.errors] == [errno.EHOSTUNREACH]
    assert near.errors == []


async def test_paths_remembered_are_bounded_and_follow_the_routes(network):
    a, _, _, near, far = await endpoints(network)
    for number in range(3 * PATHS_KEPT):
        near.transport.sendto(b"x", (f"10.0.0.{2 + number % 250}", 7))
    assert len(near.transport._paths) == PATHS_KEPT
    near.transport.sendto(b"now", ("10.0.0.2", 7))
    await far.until(lambda: far.datagrams[-1:] and far.datagrams[-1][0] == b"now")
    interface = next(each for each in a.interfaces if each.name != "lo")
    await a.remove_interface(interface)
    near.transport.sendto(b"no route now", ("10.0.0.2", 7))
    assert near.errors[-1].errno == errno.ENETUNREACH


async def test_a_connected_endpoint_hears_that_its_interface_went(network):
    a, _, link, near, _ = await endpoints(network)
    _, connected = await a.create_datagram_endpoint(Datagrams, remote_addr=("10.0.0.2", 7))
    link.ends[0].set_down()
    await asyncio.sleep(0.1)
    assert [error.errno for error in connected.errors] == [errno.ENETDOWN]
    assert near.errors == []
    assert not connected.transport.is_closing()


async def test_port_zero_is_nobody_s(network):
    _, _, _, near, _ = await endpoints(network)
    near.transport.sendto(b"x", ("10.0.0.2", 0))
    assert [error.errno for error in near.errors] == [errno.EINVAL]
    with pytest.raises(OverflowError):
        near.transport.sendto(b"x", ("10.0.0.2", 65536))


async def test_leaving_the_stack_closes_endpoints():
    async with Stack() as stack:
        near, _far = memory_pair()
        stack.attach(near, ["10.0.0.1/24"])
        transport, protocol = await stack.create_datagram_endpoint(Datagrams, ("10.0.0.1", 0))
    assert protocol.callbacks == ["connection_made", "connection_lost"]
    assert transport.is_closing()
    assert "closing" in repr(transport)


async def test_oneself_over_loopback(network):
    a, _, _, near, _ = await endpoints(network)
    _, own = await a.create_datagram_endpoint(Datagrams, ("127.0.0.1", 0))
    port = own.transport.get_extra_info("sockname")[1]
    near.transport.sendto(b"me", ("127.0.0.1", port))
    assert await own.received(1) == [b"me"]
