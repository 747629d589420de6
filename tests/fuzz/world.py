"""A live stack for hostile frames: in virtual time, on one device of each kind, with honest company.

`stack` is the one under fire, `peer` an honest stack at the other end of the link, with which it keeps connections that
have to come through unharmed. Further peers exist only as scripts (see `victims`): theirs are the states that an honest
stack does not stay in.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections import deque
from itertools import pairwise

from asyncstack import Stack, TapDevice, TunDevice
from asyncstack.config import StackConfig, TcpConfig
from asyncstack.link.attach import Attachment
from asyncstack.link.frame import Frame, OutgoingFrame
from asyncstack.link.tuntap import TunTapDevice
from asyncstack.testing.links import Link
from asyncstack.wire import arp, ethernet, ipv4, ipv6, ndp, tcp
from asyncstack.wire.checksum import fold, pseudo_header_sum, sum16
from tests.fuzz.watch import Watch

KINDS = ("memory", "ethernet", "tun", "tap")
OURS = (socket.inet_aton("10.0.0.1"), socket.inet_pton(socket.AF_INET6, "fd00::1"))
THEIRS = (socket.inet_aton("10.0.0.2"), socket.inet_pton(socket.AF_INET6, "fd00::2"))
SCRIPTED = (socket.inet_aton("10.0.0.66"), socket.inet_pton(socket.AF_INET6, "fd00::66"))
SCRIPTED_MAC = b"\x02\x66\x66\x66\x66\x66"
PLAIN = bytes(10)  # a virtio-net header that says nothing
PORT, ECHO_PORT = 80, 7
BLOCK = random.Random(1).randbytes(65521)  # its length is prime: no offset looks like another


def small_config() -> StackConfig:
    """Tables small enough to be full."""
    tcp_config = TcpConfig(receive_buffer=128 << 10, send_buffer=256 << 10)
    return StackConfig(
        tcp=tcp_config,
        neighbor_limit=64,
        fragment_datagrams=32,
        fragment_bytes=128 << 10,
        time_wait_limit=64,
    )


class _SocketDevice:
    """A TUN or TAP whose fd is one end of a socket pair: the kernel's part is played by the other end."""

    def __init__(self, end: socket.socket, **arguments) -> None:
        super().__init__("fuzz0", **arguments)
        self._end = end

    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        await TunTapDevice.open(self, loop)

    def _attach(self) -> Attachment:
        return Attachment(self._end.detach(), "fuzz0", True, False)

    async def _configure(self, attachment: Attachment) -> None:
        pass


class SocketTun(_SocketDevice, TunDevice):
    pass


class SocketTap(_SocketDevice, TapDevice):
    pass


def ip_packet(src: bytes, dst: bytes, protocol: int, payload: bytes, **fields) -> bytes:
    build = ipv4.build if len(src) == 4 else ipv6.build
    return build(src, dst, protocol, len(payload), **fields) + payload


def with_checksum(src: bytes, dst: bytes, protocol: int, data: bytes, at: int) -> bytes:
    """`data` with its transport checksum, which covers the pseudo-header, filled in at `at`."""
    data = data[:at] + b"\0\0" + data[at + 2 :]
    value = 0xFFFF - fold(pseudo_header_sum(src, dst, protocol, len(data)) + sum16(data))
    return data[:at] + value.to_bytes(2, "big") + data[at + 2 :]


def tcp_packet(src: bytes, dst: bytes, segment: tcp.Segment) -> bytes:
    data = tcp.build(segment, 0) + bytes(segment.payload)
    return ip_packet(src, dst, 6, with_checksum(src, dst, 6, data, 16))


class Sink(asyncio.Protocol):
    """An application that takes what comes; the watch hears of every byte."""

    def __init__(self, watch: Watch | None) -> None:
        self.watch = watch
        self.transport = None
        self.ended = self.lost = False
        self.error = None
        self.eof = False
        self.received = 0
        self.sent = 0
        self.full = False
        self.corrupt = False

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.key = transport._endpoint.key
        self.connection = transport._endpoint.connection

    def data_received(self, data: bytes) -> None:
        if self.watch is not None:
            self.watch.delivered(self.connection, self.connection.receiver.start + self.received, data)
        if data != pattern(self.received, len(data)):
            self.corrupt = True
        self.received += len(data)

    def write(self, size: int) -> None:
        if not (self.full or self.ended or self.lost or self.transport.is_closing()):
            self.transport.write(pattern(self.sent, size))
            self.sent += size

    def end(self) -> None:
        """Half-close."""
        self.ended = True
        self.transport.write_eof()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False

    def eof_received(self) -> bool:
        self.eof = True
        return True

    def connection_lost(self, exc) -> None:
        self.lost = True
        self.error = exc


def pattern(position: int, size: int) -> bytes:
    position %= len(BLOCK)
    return (BLOCK[position:] + BLOCK * (size // len(BLOCK) + 1))[:size]


class Datagrams(asyncio.DatagramProtocol):
    """Answers every datagram, and checks that it came in one that was whole."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.received = 0

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        self.received += 1
        known = (
            (key, payload) for key, payload in self.watch.datagrams if payload == data and key[3] == addr[1]
        )
        if next(known, None) is None:
            self.watch.fail(f"a datagram of {len(data)} bytes from {addr} that was in no sound packet")
        try:
            self.transport.sendto(data[:64], addr)
        except OSError:
            pass  # no route back to where it says it came from


class World:
    """`async with World(kind, seed)`: a stack under fire, its peer, the link, and the watch."""

    def __init__(self, kind: str, seed: int) -> None:
        self.kind, self.seed = kind, seed
        self.ethernet = kind in ("ethernet", "tap")
        self.vnet = kind in ("tun", "tap")
        self.loop = asyncio.get_running_loop()
        self.reported: list[dict] = []  # to the loop's exception handler
        self.accepted: dict[tuple, Sink] = {}  # by the key of our side
        self.link = None

    async def __aenter__(self) -> World:
        self.loop.set_exception_handler(lambda loop, context: self.reported.append(context))
        self.stack = Stack(small_config(), name="stack", seed=f"{self.seed} stack")
        self.peer = Stack(small_config(), name="peer", seed=f"{self.seed} peer")
        await self._join()
        self.mac = getattr(self.device, "address", b"")
        self.peer_mac = getattr(self.peer_device, "address", b"")
        self.watch = Watch(self.stack, self.interface, mac=self.mac, vnet=self.vnet)
        self.watch.__enter__()
        self.sent: deque[bytes] = deque(maxlen=4096)  # by the stack, as the link sees it
        self.interface.taps.append(self._tap)
        for host in ("10.0.0.1", "fd00::1"):
            await self.stack.create_server(self._accept, host, PORT, backlog=1000)
            _, self.datagrams = await self.stack.create_datagram_endpoint(
                lambda: Datagrams(self.watch), (host, ECHO_PORT)
            )
        self.introduce()
        await self.settle()
        return self

    async def __aexit__(self, *exc_info) -> None:
        self.watch.__exit__(*exc_info)
        await self.stack.close()
        if self.vnet:  # unlike a TUN a socket whose other end is closed can be read for ever
            self.loop.remove_reader(self.peer_device._fd)
        await self.peer.close()
        if self.link is not None:
            await self.link.close()
        self.loop.set_exception_handler(None)

    async def _join(self) -> None:
        ours, theirs = ["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"]
        if not self.vnet:
            self.link = Link("link", loop=self.loop, seed=self.seed, ethernet=self.ethernet)
            self.link.set(delay=0.005)
            self.device, self.peer_device = self.link.ends
            self.interface = self.stack.attach(self.device, ours)
            self.peer.attach(self.peer_device, theirs)
            return
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in ends:
            end.setblocking(False)
        arguments = {"rng": random.Random(self.seed)} if self.ethernet else {}
        make = SocketTap if self.ethernet else SocketTun
        self.device, self.peer_device = (make(end, **arguments) for end in ends)
        self.interface = await self.stack.add_interface(self.device, ours)
        await self.peer.add_interface(self.peer_device, theirs)

    def _tap(self, interface, frame) -> None:
        if isinstance(frame, OutgoingFrame):
            self.sent.append(b"".join(frame.parts))

    def _accept(self) -> Sink:
        return Registered(self)

    # frames in

    def frame(self, packet: bytes, *, src_mac: bytes = SCRIPTED_MAC) -> bytes:
        """`packet` as a frame of this world, without a virtio-net header."""
        if not self.ethernet:
            return packet
        kind = ethernet.ETHERTYPE_IPV4 if packet[:1] and packet[0] >> 4 == 4 else ethernet.ETHERTYPE_IPV6
        return ethernet.build(self.mac, src_mac, kind) + packet

    def put(self, raw: bytes, *, hostile: bool = True) -> None:
        """Let `raw` (with a virtio-net header where the device has one) arrive."""
        if hostile:
            self.watch.injected[raw] += 1
        if self.vnet:
            os.write(self.peer_device._fd, raw)
        else:
            self.device._put(Frame(memoryview(raw)))

    def say(self, packet: bytes) -> None:
        """An IP packet of a scripted peer."""
        self.put((PLAIN if self.vnet else b"") + self.frame(packet), hostile=False)

    async def settle(self) -> None:
        """Until what was put in is processed."""
        for _ in range(3):
            await asyncio.sleep(1e-6)

    def introduce(self) -> None:
        """Let the scripted peers be known as neighbours."""
        if not self.ethernet:
            return
        prefix = PLAIN if self.vnet else b""
        question = arp.build(arp.Arp(arp.REQUEST, SCRIPTED_MAC, SCRIPTED[0], bytes(6), OURS[0]))
        self.put(prefix + ethernet.build(self.mac, SCRIPTED_MAC, 0x0806) + question, hostile=False)
        group = ndp.solicited_node_multicast(OURS[1])
        message = ndp.build(ndp.NeighborSolicitation(OURS[1], SCRIPTED_MAC), SCRIPTED[1], group)
        self.say(ip_packet(SCRIPTED[1], group, 58, message, hop_limit=255))

    # sums over everything

    def check_bounds(self) -> None:
        """Every table within its bound, every deadline a time that makes sense."""
        stack, config = self.stack, self.stack.config
        layer, now = stack.tcp, self.loop.time()
        assert not self.reported, self.reported
        assert stack.counters["interface.receive_error"] == 0
        assert not self.watch.violations, "\n".join(self.watch.violations)
        half_open = sum(len(listener._half_open) for listener in layer.listeners)
        assert half_open <= 1024 * len(layer.listeners)
        assert len(layer.connections) <= half_open + len(self.accepted) + 200
        assert len(layer._time_wait) <= config.time_wait_limit
        assert 0 <= layer.memory.held <= config.memory
        for ip in (stack.ipv4, stack.ipv6):
            assert len(ip.reassembly) <= config.fragment_datagrams
            assert ip.reassembly.bytes <= config.fragment_bytes
            assert ip.reassembly.bytes == sum(d.cost for d in ip.reassembly._datagrams.values())
        assert len(stack.routes.pmtu) <= 1024
        assert len(stack.addresses.groups) <= 8
        link = self.interface.link
        if self.ethernet:
            for table in (link.neighbors4, link.neighbors6):
                assert len(table.entries) <= config.neighbor_limit
                assert len(table.entries) == len(table._unproven) + len(table._in_use)
                assert len(table._timers) <= 2 * config.neighbor_limit + 1
                assert 0 <= table._queued_bytes <= 1 << 20
                assert table._queued_bytes == sum(
                    len(frame) for entry in table.entries.values() for frame, _ in entry.frames
                )
        assert len(self.interface._ready) <= len(layer.connections) + len(stack.udp.endpoints)
        assert len(stack.counters) < 200
        assert self.loop.timers <= len(layer.connections) + len(self.peer.tcp.connections) + 60
        assert len(self.loop._timers) <= 3 * self.loop.timers + 600
        for endpoint in layer.connections.values():
            self._check_connection(endpoint.connection, now)

    @staticmethod
    def _check_connection(conn, now: float) -> None:
        rcv, snd = conn.receiver, conn.sender
        assert all(now - 1.0 <= due for due in conn.timers), conn.timers  # NaN too
        assert all(due == float("inf") or due < now + 8000 for due in conn.timers), conn.timers
        assert snd.una <= snd.nxt <= snd.queue.end + 2
        assert rcv.nxt <= rcv.edge
        assert rcv.edge - rcv.nxt + rcv.unread <= 2 * conn.config.receive_buffer
        if rcv.held is not None:
            ranges = rcv.held._ranges
            assert 0 < len(ranges) <= conn.config.max_out_of_order_ranges
            assert ranges[-1].end <= rcv.edge
            assert all(a.end < b.start for a, b in pairwise(ranges))
        board = snd.board
        assert 0 <= board.absent <= max(snd.nxt - snd.una, 0)
        records = board.records
        assert len(records) <= (snd.nxt - snd.una) // 24 + 64
        assert 1 <= snd.mss <= 65535 and conn.sender.congestion.cwnd >= snd.mss
        assert snd.congestion.cwnd <= 64 << 20


class Registered(Sink):
    """A connection that the stack's server accepted."""

    def __init__(self, world: World) -> None:
        super().__init__(world.watch)
        self._world = world

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        self._world.accepted[self.key] = self

    def connection_lost(self, exc) -> None:
        super().connection_lost(exc)
        if self._world.accepted.get(self.key) is self:
            del self._world.accepted[self.key]
