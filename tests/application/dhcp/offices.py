"""A server on a link whose other end a test plays: clients and relay agents."""

import asyncio
import contextlib
from socket import inet_aton

from asyncstack.application.dhcp import DhcpServer, Pool
from asyncstack.link.memory import memory_pair
from asyncstack.stack import Stack
from asyncstack.wire import arp
from asyncstack.wire.dhcp import REQUEST, Message, Type
from tests.application.dhcp.world import BROADCAST, EVERYBODY, NOBODY, OTHER_MAC, SERVER_MAC, Wire

US = inet_aton("10.0.0.1")
POOL = {"network": "10.0.0.0/24", "first": "10.0.0.100", "last": "10.0.0.149", "routers": ["10.0.0.1"]}


def mac(number):
    return b"\2\0\0\0" + number.to_bytes(2, "big")


FIRST = mac(1)


class Office(Wire):
    """Many clients on one wire. It answers ARP for no one unless told."""

    def __init__(self, end, server):
        super().__init__(end, 68)
        self.owners = {}
        self.server = server
        self._xid = 0

    def message(self, kind, client=FIRST, options=None, **fields):
        self._xid += 1
        given = {53: bytes([kind])} | (options or {})
        return Message(REQUEST, self._xid.to_bytes(4, "big"), client, given, **fields)

    def say(self, message, source=NOBODY, destination=EVERYBODY):
        to = BROADCAST if destination == EVERYBODY else SERVER_MAC
        self.send(message, source, destination, to, (68, 67))

    async def ask(self, kind, client=FIRST, options=None, source=NOBODY, destination=EVERYBODY, **fields):
        """Say it, and return the answer."""
        self.say(self.message(kind, client, options, **fields), source, destination)
        return await self.next()

    async def silence(self, kind, *args, seconds=5.0, **fields):
        """Say it, and nothing comes back."""
        self.say(self.message(kind, *args, **fields))
        await asyncio.sleep(seconds)
        assert self.seen == []

    async def lease(self, client=FIRST, options=None, **fields):
        """DISCOVER, OFFER, REQUEST, ACK; the last."""
        offer = await self.ask(Type.DISCOVER, client, options, **fields)
        assert offer.kind is Type.OFFER
        wanted = {50: offer.message.yiaddr, 54: US} | (options or {})
        ack = await self.ask(Type.REQUEST, client, wanted, **fields)
        assert ack.kind is Type.ACK and ack.message.yiaddr == offer.message.yiaddr
        return ack

    def has(self, address, who=OTHER_MAC):
        """A host with this address makes itself known."""
        self.owners[address] = who
        request = arp.Arp(arp.REQUEST, who, address, bytes(6), US)
        self.send_frame(BROADCAST, 0x0806, arp.build(request), who)


@contextlib.asynccontextmanager
async def office(pool=None, address="10.0.0.1/24", mtu=1500, others=(), **options):
    """A server at `address`, behind `others`, and its wire."""
    pair = memory_pair(ethernet=True, addresses=(SERVER_MAC, OTHER_MAC), mtu=mtu)
    async with Stack(name="server", seed=1) as stack:
        interface = stack.attach(pair[0], [*others, address], name="eth0")
        async with DhcpServer(stack, interface, pool or Pool(**POOL), **options) as server:
            server.stack = stack
            yield Office(pair[1], server)
        pair[1].stop()
