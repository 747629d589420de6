"""Where the attacks take place: a victim, an honest host on a link of its own, and an uplink in the attacker's hands.

What the victim says to addresses that it does not know goes up the uplink, where it is counted and forgotten. All have
addresses of both families; a test says over which it goes.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import random
from collections import deque
from ipaddress import ip_address

from asyncstack import memory_pair
from asyncstack.link.frame import Frame
from asyncstack.transport.tcp.endpoint import TcpEndpoint
from asyncstack.wire import ipv4, ipv6, tcp
from asyncstack.wire.checksum import checksum
from asyncstack.wire.tcp import Segment
from tests.fuzz.world import ip_packet, tcp_packet, with_checksum

FAMILIES = (4, 6)
VICTIM, HONEST = {4: "10.0.0.1", 6: "fd00::1"}, {4: "10.0.0.2", 6: "fd00::2"}
PORT = 80
MASK = 0xFFFFFFFF
BATCH = 64


class Uplink:
    """The attacker's end: `say` lets packets arrive at the victim, `heard` has the last of its answers."""

    def __init__(self, victim):
        far, near = memory_pair()
        self.near = near
        self.far = far
        gateways = ["192.0.2.254", "2001:db8::fe"]
        victim.attach(near, ["192.0.2.1/24", "2001:db8::1/64"], gateway=gateways, name="uplink")
        self.heard: deque[tuple[bytes, Segment]] = deque(maxlen=70_000)
        self.count = 0
        far.start(self._receive())

    async def _receive(self):
        while True:
            for frame in await self.far.receive():
                data = frame.data
                self.count += 1
                if data[0] >> 4 == 4 and data[9] == 6:
                    self.heard.append((bytes(data[16:20]), tcp.parse(data[20:])))
                elif data[0] >> 4 == 6 and data[6] == 6:
                    self.heard.append((bytes(data[24:40]), tcp.parse(data[40:])))

    def say(self, packet: bytes) -> None:
        """An IP packet whose sums are right."""
        self.near._put(Frame(memoryview(packet)))

    def segment(self, src: bytes, segment: Segment) -> None:
        """A segment for the victim from `src`, which need not be the attacker's own address."""
        self.near._put(Frame(memoryview(tcp_packet(src, victim_of(src), segment))))

    def vouched(self, src: bytes, segment: Segment) -> None:
        """As `segment`, its checksum vouched for by the device: for masses of them."""
        header = tcp.build(segment, 0) + bytes(segment.payload)
        packet = ip_packet(src, victim_of(src), 6, header)
        self.near._put(Frame(memoryview(packet), checksum_valid=True))

    def icmp(self, kind: int, code: int, quoted: bytes, src: bytes, mtu: int = 0) -> None:
        """An ICMP error of the family of `src` about a packet that begins with `quoted`."""
        body = bytes((kind, code, 0, 0)) + mtu.to_bytes(4, "big") + quoted
        if len(src) == 16:
            self.say(ip_packet(src, victim_of(src), 58, with_checksum(src, victim_of(src), 58, body, 2)))
            return
        body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
        self.say(ip_packet(src, victim_of(src), 1, body))


def packed(address: str) -> bytes:
    return ip_address(address).packed


def victim_of(src: bytes) -> bytes:
    """The victim's address of the family of `src`."""
    return _VICTIMS[len(src)]


_VICTIMS = {len(packed(address)): packed(address) for address in VICTIM.values()}


def quote(segment: Segment, version: int) -> bytes:
    """The start of a packet of the victim to the honest host, as a router quotes it."""
    build = ipv4.build if version == 4 else ipv6.build
    return build(packed(VICTIM[version]), packed(HONEST[version]), 6, 1460) + tcp.build(segment, 0)[:8]


class Field:
    """`victim`, `honest` and the `uplink`; `check` looks at what is left."""

    def __init__(self, network, config=None):
        self.loop = asyncio.get_running_loop()
        self.victim = network.host("victim", f"{VICTIM[4]}/24", f"{VICTIM[6]}/64", config=config)
        self.honest = network.host("honest", f"{HONEST[4]}/24", f"{HONEST[6]}/64")
        self.link = network.link(self.victim, self.honest, delay=0.005, rate=30e6)
        self.uplink = Uplink(self.victim)
        self.rng = random.Random(42)
        self.tasks = len(asyncio.all_tasks())

    def stranger(self, version: int = 4) -> bytes:
        """The address of nobody here."""
        if version == 6:
            return b"\x2a\x00" + self.rng.randbytes(14)
        return bytes((self.rng.randrange(11, 127), *self.rng.randbytes(2), self.rng.randrange(1, 255)))

    async def gone(self, seconds: float) -> None:
        """After `seconds` there is nothing of any connection: no endpoint, byte, timer or task."""
        await asyncio.sleep(seconds)
        tcp_layer = self.victim.tcp
        assert not tcp_layer.connections and not len(tcp_layer._time_wait)
        assert tcp_layer.memory.held == 0
        assert all(listener.half_open == 0 for listener in tcp_layer.listeners)
        assert len(asyncio.all_tasks()) <= self.tasks
        gc.collect()
        left = [one for one in gc.get_objects() if type(one) is TcpEndpoint and one.layer is tcp_layer]
        assert not left


class Transfer:
    """Bytes that nobody can guess, both ways at once over one connection, for as long as it is told to."""

    CHUNK = 32 << 10

    def __init__(self, field, seed, version=4):
        self.field = field
        self.version = version
        self.block = random.Random(seed).randbytes(self.CHUNK)
        self.sent = [hashlib.sha256(), hashlib.sha256()]
        self.received = [hashlib.sha256(), hashlib.sha256()]
        self.bytes = [0, 0]
        self.ending = False

    async def start(self) -> None:
        accepted = self.field.loop.create_future()
        server = await self.field.victim.start_server(
            lambda reader, writer: accepted.set_result((reader, writer)), VICTIM[self.version], 0
        )
        port = server.sockets[0].getsockname()[1]
        client = await self.field.honest.open_connection(VICTIM[self.version], port)
        self.endpoint = None
        self.ends = [client, await accepted]
        server.close()
        ours, theirs = packed(VICTIM[self.version]), packed(HONEST[self.version])
        key = (ours, port, theirs, client[1].get_extra_info("sockname")[1])
        self.endpoint = self.field.victim.tcp.connections[key]
        jobs = [self._write(0), self._write(1), self._read(0), self._read(1)]
        self.jobs = [asyncio.ensure_future(job) for job in jobs]

    @property
    def connection(self):
        """The victim's side."""
        return self.endpoint.connection

    async def _write(self, end):
        _, writer = self.ends[end]
        number = 0
        while not self.ending:
            data = number.to_bytes(8, "big") + self.block[8:]
            self.sent[end].update(data)
            writer.write(data)
            await writer.drain()
            number += 1
        writer.write_eof()

    async def _read(self, end):
        reader, _ = self.ends[end]
        while data := await reader.read(1 << 20):
            self.received[end].update(data)
            self.bytes[end] += len(data)

    async def finish(self) -> None:
        """Everything that was sent has come, and nothing else."""
        self.ending = True
        await asyncio.gather(*self.jobs)
        for _, writer in self.ends:
            writer.close()
        assert self.received[1].digest() == self.sent[0].digest()
        assert self.received[0].digest() == self.sent[1].digest()
        assert min(self.bytes) > 0
        self.endpoint = None
