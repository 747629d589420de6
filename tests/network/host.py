"""A host without devices: its packets end in a list, its timers run when a test says so."""

import math
import random
from contextlib import contextmanager

import pytest

from asyncstack.counters import Counters
from asyncstack.link.frame import Frame
from asyncstack.network.addresses import AddressTable, parse_address, parse_interface
from asyncstack.network.icmp import Icmp
from asyncstack.network.icmpv6 import Icmpv6
from asyncstack.network.ipv4 import Ipv4
from asyncstack.network.ipv6 import Ipv6
from asyncstack.network.routing import RoutingTable


def run(coroutine):
    """Run a coroutine that may not suspend."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise AssertionError("receive() suspended")


@contextmanager
def fails(number):
    """An OSError with this errno is raised inside."""
    with pytest.raises(OSError) as raised:
        yield raised
    assert raised.value.errno == number


class Handle:
    def __init__(self, when, callback):
        self.when, self.callback, self.cancelled = when, callback, False

    def cancel(self):
        self.cancelled = True


class Loop:
    """The three methods of a loop that a LoopTimer uses, and a clock that a test moves."""

    def __init__(self):
        self.now = 1000.0
        self._handles = []

    def time(self):
        return self.now

    def call_at(self, when, callback):
        handle = Handle(when, callback)
        self._handles.append(handle)
        return handle

    def call_at_background(self, when, callback):
        return self.call_at(when, callback)

    @property
    def pending(self):
        return [handle for handle in self._handles if not handle.cancelled]

    def advance(self, seconds):
        until = self.now + seconds
        while due := [handle for handle in self.pending if handle.when <= until]:
            first = min(due, key=lambda handle: handle.when)
            self._handles.remove(first)
            self.now = max(self.now, first.when)
            first.callback()
        self.now = until


class Link:
    """Every neighbour is known, but those in `unresolved`."""

    def __init__(self):
        self.sent, self.waiting, self.unresolved, self.room = [], [], set(), math.inf

    def resolve(self, next_hop, now):
        return None if next_hop in self.unresolved else b""

    def send(self, frame, mac, ethertype):
        if len(self.sent) >= self.room:
            return False
        self.sent.append((frame, ethertype))
        return True

    def enqueue(self, next_hop, frame, ethertype):
        self.waiting.append((next_hop, frame, ethertype))


class Device:
    ethernet = True


class Interface:
    def __init__(self, name, index, mtu=1500):
        self.name, self.index, self.mtu, self.up = name, index, mtu, True
        self.advertised_mtu, self.advertised_hop_limit = 65535, 0
        self.device, self.link = Device(), Link()
        self.point_to_point = False

    def __repr__(self):
        return f"<{self.name}>"


class Recorder:
    """A transport that keeps what it is given."""

    def __init__(self):
        self.packets, self.errors, self.believes = [], [], None

    async def receive(self, packet):
        packet.payload = bytes(packet.payload)
        self.packets.append(packet)

    def receive_error(self, error):
        self.errors.append(error)
        return self.believes


class Host:
    def __init__(self, *addresses, mtu=1500, errors_per_second=1000.0, **limits):
        self.loop, self.counters = Loop(), Counters()
        self.addresses = AddressTable(self.loop.time)
        self.routes = RoutingTable(self.addresses)
        common = {
            "loop": self.loop,
            "clock": self.loop.time,
            "counters": self.counters,
            "rng": random.Random(7),
        }
        self.ipv4 = Ipv4(self.addresses, self.routes, **common, **limits)
        self.ipv6 = Ipv6(self.addresses, self.routes, **common, **limits)
        self.icmp = Icmp(self.ipv4, errors_per_second=errors_per_second)
        self.icmpv6 = Icmpv6(self.ipv6, errors_per_second=errors_per_second)
        self.interfaces = []
        self.lo = self.routes.loopback = self.attach("lo", "127.0.0.1/8", "::1/128", mtu=65535)
        self.eth0 = self.attach("eth0", *(addresses or ("10.0.0.1/24", "fd00::1/64", "fe80::1/64")), mtu=mtu)

    def attach(self, name, *addresses, mtu=1500):
        interface = Interface(name, len(self.interfaces) + 1, mtu)
        self.interfaces.append(interface)
        for text in addresses:
            address, length = parse_interface(text)
            self.addresses.add(address, length, interface)
            entries = self.addresses.of(interface, len(address))
            if name != "lo" and not any(one.covers(address) for one in entries[:-1]):
                self.routes.add(address, length, interface)
        return interface

    def receive(self, data, interface=None, **facts):
        """Let a packet arrive; what went out meanwhile, as bytes."""
        data = bytes(data)
        layer = self.ipv6 if data and data[0] >> 4 == 6 else self.ipv4
        view = memoryview(data)
        run(layer.receive(view, Frame(view, **facts), interface or self.eth0))
        return self.sent()

    def frames(self, interface=None):
        """The frames sent since the last look."""
        link = (interface or self.eth0).link
        frames, link.sent = [frame for frame, _ in link.sent], []
        return frames

    def sent(self, interface=None):
        return [b"".join(frame.parts) for frame in self.frames(interface)]

    def path(self, destination, source=""):
        return self.routes.lookup(parse_address(destination), parse_address(source) if source else b"")

    def register(self, protocol, layer=None):
        recorder = Recorder()
        (layer or self.ipv4).register(protocol, recorder)
        return recorder
