"""A simulated LAN with routers that say what a test has them say, and a host that believes them."""

import asyncio
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network

from asyncstack import Network
from asyncstack.application.radv import RouterAdvertiser
from asyncstack.link.frame import OutgoingFrame
from asyncstack.wire.ethernet import ETHERTYPE_IPV6
from asyncstack.wire.ndp import ALL_ROUTERS, Prefix, RouterAdvertisement

PREFIX, OTHER = "2001:db8:1::/64", "2001:db8:2::/64"
FAR = "2001:db8:99::1"


def packed(text):
    return ip_address(text).packed


def prefix_of(text, valid=86400, preferred=14400, **flags):
    return Prefix(
        ip_network(text).network_address.packed,
        64,
        valid_lifetime=valid,
        preferred_lifetime=preferred,
        **flags,
    )


class Router:
    """A stack that says what a test has it say, and passes packets on to hosts it knows of."""

    def __init__(self, lan, stack, address):
        self.stack, self.address = stack, packed(address)
        self.interface = stack.attach(lan.port(stack.name), [f"{address}/64"])
        self.asked = []  # when somebody looked for routers
        stack.addresses.groups.join(ALL_ROUTERS, self.interface, self)
        stack.ndp.be_router(self.interface, lambda: self.asked.append(stack.clock()))
        self.neighbors = {}
        self._receive = self.interface.handlers[ETHERTYPE_IPV6]
        self.interface.handlers[ETHERTYPE_IPV6] = self._forward

    async def _forward(self, data, frame, interface):
        mac = self.neighbors.get(bytes(data[24:40]))
        if mac is None:
            await self._receive(data, frame, interface)
        else:
            facts = max(frame.checksum_start - 14, 0), frame.checksum_offset, frame.gso_size
            interface.link.send(OutgoingFrame([bytes(data)], *facts), mac, ETHERTYPE_IPV6)

    def say(self, *prefixes, lifetime=1800, **fields):
        fields.setdefault("source_mac", bytes(self.interface.device.address))
        record = RouterAdvertisement(lifetime, prefixes=list(prefixes), **fields)
        self.stack.ndp.advertise_router(self.interface, record, self.address)

    def advertiser(self, *prefixes, **options):
        return RouterAdvertiser(self.stack, self.interface, prefixes, **options)


@asynccontextmanager
async def site(*routers, config=None):
    """A network with a LAN, routers with fe80::1, fe80::2 ... and a host `pc` without an interface yet."""
    async with Network(seed=1) as net:
        lan = net.lan("lan")
        made = [
            Router(lan, net.host(name), f"fe80::{number}") for number, name in enumerate(routers, start=1)
        ]
        yield net, lan, net.host("pc", config=config), *made


def addresses(stack, *origins):
    """The global IPv6 addresses of a stack, or those with one of the origins."""
    return [
        str(ip_address(entry.address))
        for entry in stack.addresses.local.values()
        if (entry.origin in origins if origins else entry.address[0] == 0x20)
    ]


def routes(stack, interface):
    return {
        str(route).partition(" dev")[0] for route in stack.routes.routes() if route.interface is interface
    }


async def configured(lan, pc, router, *prefixes, **fields):
    """The interface of `pc` after one advertisement."""
    task = asyncio.ensure_future(pc.add_interface(lan.port("pc"), ["slaac"]))
    await asyncio.sleep(5)
    router.say(*(prefixes or [prefix_of(PREFIX)]), **fields)
    return await task


# routers


def ip_and_length(text):
    network = ip_network(text)
    return network.network_address.packed, network.prefixlen
