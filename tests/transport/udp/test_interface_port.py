"""A UDP port of one interface."""

import asyncio
import errno
from socket import inet_aton

import pytest

from asyncstack.link.memory import memory_pair
from asyncstack.stack import Stack
from asyncstack.transport.udp.interface_port import InterfacePort

pytestmark = pytest.mark.virtual_time

EVERYBODY, NOBODY = inet_aton("255.255.255.255"), bytes(4)


class Site:
    """Two stacks on a cable, without addresses, and what their ports 5300 heard."""

    def __init__(self, a, b):
        pair = memory_pair(ethernet=True, addresses=(b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"))
        self.interfaces = [a.attach(pair[0]), b.attach(pair[1])]
        self.heard, self.downs = [], []
        self.ports = [
            self.open(stack, interface) for stack, interface in zip((a, b), self.interfaces, strict=True)
        ]

    def open(self, stack, interface):
        def receive(data, packet):
            self.heard.append((data, packet.dst))

        return InterfacePort(stack.udp, interface, 5300, receive, self.downs.append)


async def test_without_any_address_it_is_heard_by_all_and_by_one():
    async with Stack(seed=1) as a, Stack(seed=2) as b:
        site = Site(a, b)
        assert site.ports[0].send(b"all", 5300, NOBODY, EVERYBODY)
        somebody = inet_aton("10.0.0.9")  # not there yet, but its neighbour is known
        a.add_address(site.interfaces[0], inet_aton("10.0.0.1"), 24)
        assert site.ports[0].send(b"one", 5300, inet_aton("10.0.0.1"), somebody, mac=b"\2\0\0\0\0\2")
        assert site.ports[0].send(b"other port", 5301, NOBODY, EVERYBODY)
        await asyncio.sleep(1)
        assert site.heard == [(b"all", EVERYBODY), (b"one", somebody)]
        assert b.counters["udp.no_endpoint"] == 1
        site.ports[1].close()
        assert site.ports[0].send(b"all", 5300, NOBODY, EVERYBODY)
        await asyncio.sleep(1)
        assert len(site.heard) == 2 and b.udp.interface_ports == {}


async def test_an_endpoint_comes_first_and_broadcasts_are_for_both():
    async with Stack(seed=1) as a, Stack(seed=2) as b:
        site = Site(a, b)
        a.add_address(site.interfaces[0], inet_aton("10.0.0.1"), 24)
        b.add_address(site.interfaces[1], inet_aton("10.0.0.2"), 24)
        endpoint = b.socket(type=2)
        endpoint.bind(("0.0.0.0", 5300))
        for data, to in ((b"one", inet_aton("10.0.0.2")), (b"all", EVERYBODY)):
            site.ports[0].send(data, 5300, inet_aton("10.0.0.1"), to)
        # the one waits for ARP
        assert [(await endpoint.recvfrom(9))[0] for _ in range(2)] == [b"all", b"one"]
        assert site.heard == [(b"all", EVERYBODY)]


async def test_it_is_there_once_and_ends_with_its_interface():
    async with Stack(seed=1) as a, Stack(seed=2) as b:
        site = Site(a, b)
        with pytest.raises(OSError) as raised:
            site.open(a, site.interfaces[0])
        assert raised.value.errno == errno.EADDRINUSE
        await a.remove_interface(site.interfaces[0])
        assert [error.errno for error in site.downs] == [errno.ENETDOWN]
        assert a.udp.interface_ports == {}
        with pytest.raises(OSError):
            site.ports[0].send(b"late", 5300, NOBODY, EVERYBODY)
