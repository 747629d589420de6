"""A client on a link whose other end a test plays: it sees every DHCP message and says what is answered, in virtual
time."""

import asyncio
import contextlib
from dataclasses import dataclass
from socket import inet_aton

from asyncstack.application.dhcp import Dhcp4Client
from asyncstack.link.frame import OutgoingFrame
from asyncstack.link.memory import memory_pair
from asyncstack.stack import Stack
from asyncstack.wire import arp, dhcp, ethernet, ipv4, udp
from asyncstack.wire.checksum import pseudo_header_sum, verify
from asyncstack.wire.dhcp import Message, Type

MAC, SERVER_MAC, OTHER_MAC = (
    bytes.fromhex("020000000001"),
    bytes.fromhex("020000000002"),
    bytes.fromhex("020000000003"),
)
BROADCAST = b"\xff" * 6
SERVER, OFFERED = inet_aton("10.0.0.1"), inet_aton("10.0.0.100")
EVERYBODY, NOBODY = inet_aton("255.255.255.255"), bytes(4)
LEASE = {
    54: SERVER,
    51: (3600).to_bytes(4, "big"),
    1: inet_aton("255.255.255.0"),
    3: SERVER,
    6: inet_aton("10.0.0.53"),
}


def addresses(client):
    """What the client's interface has of IPv4, as "10.0.0.50/24"."""
    return [str(entry) for entry in client.stack.addresses.of(client.interface, 4)]


def seconds(number):
    return number.to_bytes(4, "big")


@dataclass
class Seen:
    """A message and how it came."""

    time: float
    message: Message
    source: bytes
    destination: bytes
    mac: bytes

    @property
    def kind(self):
        return self.message.type

    def __getitem__(self, code):
        return self.message.options.get(code)


class Wire:
    """The other end of the link. `seen`: DHCP messages; `owners`: who answers ARP."""

    def __init__(self, end, port):
        self.end, self.port = end, port
        self.seen, self.frames = [], []
        self.owners = {SERVER: SERVER_MAC}
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        end.attach(self._loop)
        end.start(self._receive())

    async def _receive(self):
        while True:
            for frame in await self.end.receive():
                self._take(bytes(frame.data))

    def _take(self, data):
        self.frames.append(data)
        kind = int.from_bytes(data[12:14], "big")
        if kind == 0x0806:
            asked = arp.parse(memoryview(data)[14:])
            mac = self.owners.get(asked.target_ip)
            if asked.operation == arp.REQUEST and mac:
                answer = arp.Arp(arp.REPLY, mac, asked.target_ip, asked.sender_mac, asked.sender_ip)
                self.send_frame(asked.sender_mac, 0x0806, arp.build(answer), mac)
        if kind != 0x0800:
            return
        packet = ipv4.parse(memoryview(data)[14:])
        if packet.protocol != udp.PROTOCOL:
            return
        datagram = udp.parse(packet.payload)
        if datagram.dst_port == self.port:
            assert datagram.checksum and verify(
                packet.payload, pseudo_header_sum(packet.src, packet.dst, 17, len(packet.payload))
            )
            message = dhcp.parse(datagram.payload)
            self.seen.append(Seen(self._loop.time(), message, packet.src, packet.dst, data[:6]))
            self._arrived.set()

    async def next(self, kind=None, within=200.0):
        """The next message, which has to be of this kind."""
        async with asyncio.timeout(within):
            while not self.seen:
                self._arrived.clear()
                await self._arrived.wait()
        found = self.seen.pop(0)
        assert kind in (None, found.kind), found
        return found

    def send_frame(self, mac, kind, data, source=SERVER_MAC):
        self.end.send(OutgoingFrame([ethernet.build(mac, source, kind) + data]))

    def send(self, message, source, destination, mac, ports):
        data = dhcp.build(message, 1500)
        packet = ipv4.build(source, destination, 17, 8 + len(data)) + udp.build(*ports, len(data)) + data
        self.send_frame(mac, 0x0800, packet)

    def answer(self, seen, kind, address=OFFERED, to=None, options=None, **fields):
        """Answer a client's message, unicast to the address that it gets, or `to` another."""
        asked = seen.message
        given = {53: bytes([kind])} | (LEASE if options is None else options)
        fields = {"yiaddr": b"\0" * 4 if kind is Type.NAK else address} | fields
        message = Message(dhcp.REPLY, asked.xid, asked.chaddr, given, **fields)
        destination = address if to is None else to
        mac = BROADCAST if destination == EVERYBODY else asked.chaddr
        self.send(message, SERVER, destination, mac, (67, 68))


@contextlib.asynccontextmanager
async def client_world(**options):
    """A stack called "host" with a client that has not been started, and its wire."""
    pair = memory_pair(ethernet=True, addresses=(MAC, SERVER_MAC))
    async with Stack(name="host", seed=1) as stack:
        interface = stack.attach(pair[0], name="eth0")
        wire = Wire(pair[1], 67)
        client = Dhcp4Client(stack, interface, **options)
        client.stack = stack
        try:
            yield client, wire
        finally:
            await client.stop()
            pair[1].stop()


async def lease(client, wire, options=None, address=OFFERED):
    """Let it get an address."""
    starting = asyncio.create_task(client.start())
    wire.answer(await wire.next(Type.DISCOVER), Type.OFFER, address, options=options)
    wire.answer(await wire.next(Type.REQUEST), Type.ACK, address, options=options)
    await starting
