"""A host whose interfaces come and go at random, and on each of its links a neighbour that means it ill."""

import asyncio
import errno
from contextlib import suppress

from asyncstack import Stack, StackConfig
from asyncstack.link.frame import OutgoingFrame
from asyncstack.link.memory import memory_pair
from asyncstack.network.addresses import format_address
from asyncstack.network.groups import NO_SOURCE, SourceFilter
from asyncstack.wire import arp, ethernet, icmpv6, igmp, ipv4, ipv6, mld, ndp
from asyncstack.wire.membership import Kind, Membership, Query, Record, Report, Version

EVIL = b"\2\0\0\0\0\x66"
LINK_LOCALS = [b"\xfe\x80" + bytes(13) + bytes((number,)) for number in range(1, 25)]
PREFIXES = [b"\x20\x01\x0d\xb8" + bytes(3) + bytes((number,)) for number in range(12)]
FAR = [b"\x20\x01\x0d\xb9" + bytes(11) + bytes((number,)) for number in range(8)]
GROUPS = [b"\xff\x05" + bytes(13) + bytes((number,)) for number in range(4)] + [b"\xef\1\2\3"]
LIFETIMES = (0, 1, 5, 100, 1800, 7199, 7200, 7201, 0xFFFE, 0xFFFFFFFE, 0xFFFFFFFF)
WORDS = (["slaac"], ["link-local"], ["slaac", "link-local"], ["10.9.0.2/24", "slaac"], ["2001:db8:0:1::5/64"])
PAUSES = (0.0, 0.0, 0.001, 0.1, 0.5, 1.0, 1.0, 3.0, 3.0, 10.0, 30.0, 100.0, 4000.0)
UNEXPECTED = frozenset((errno.EBADF, errno.EINVAL))


class Enemy:
    """The other end of the cable of one interface. It answers what it should not, and says what is not so."""

    def __init__(self, rng, number):
        self._rng = rng
        self.device, self._end = memory_pair(
            (f"eth{number}", "evil"), ethernet=True, addresses=(bytes((2, 0, 0, 0, 1, number)), EVIL)
        )
        self._end.start(self._read())
        self.wanted = list(LINK_LOCALS)  # addresses that the host has asked for, or has
        self.wanted4 = [b"\x0a\x09\0\2"]

    async def _read(self):
        while True:
            for frame in await self._end.receive():
                self._hear(bytes(frame.data))

    def _hear(self, data):
        kind = int.from_bytes(data[12:14], "big")
        if kind == ethernet.ETHERTYPE_ARP:
            asked = arp.parse(memoryview(data[14:]))
            self.wanted4 = [*self.wanted4[-8:], asked.target_ip]
            if self._rng.random() < 0.2:
                self.speak_arp()
        elif kind == ethernet.ETHERTYPE_IPV6 and data[20] == icmpv6.PROTOCOL and data[54] == 135:
            self.wanted = [*self.wanted[-30:], data[62:78]]
            chance = self._rng.random()
            if chance < 0.1:
                self._put(data[:6], ethernet.ETHERTYPE_IPV6, data[14:])  # a loop
            elif chance < 0.25:
                self._say(self._neighbor_advertisement())
            elif chance < 0.3:
                self._say(self._neighbor_solicitation())

    def _put(self, dst, ethertype, packet):
        self._end.send(OutgoingFrame([ethernet.build(dst, EVIL, ethertype) + packet]))

    def _to(self, dst):
        return ndp.multicast_mac(dst) if dst[0] == 0xFF else self.device.address

    def speak_arp(self):
        rng = self._rng
        sender, target = rng.choice([*self.wanted4, bytes(4)]), rng.choice(self.wanted4)
        packet = arp.Arp(rng.choice((arp.REQUEST, arp.REPLY)), EVIL, sender, bytes(6), target)
        self._put(
            rng.choice((ethernet.BROADCAST, self.device.address)), ethernet.ETHERTYPE_ARP, arp.build(packet)
        )

    def speak(self):
        """Say anything."""
        rng = self._rng
        if rng.random() < 0.2:
            self._query()
        elif rng.random() < 0.1:
            self.speak_arp()
        else:
            made = (
                self._router_advertisement, self._router_advertisement, self._neighbor_solicitation,
                self._neighbor_advertisement, self._redirect, lambda: ndp.RouterSolicitation(self._mac()),
            )  # fmt: skip
            self._say(rng.choice(made)())

    def _say(self, record):
        rng = self._rng
        src, dst = rng.choice([*LINK_LOCALS[:18], bytes(16)]), ndp.ALL_NODES
        if rng.random() < 0.3:
            dst = rng.choice(self.wanted)
        if isinstance(record, ndp.NeighborSolicitation):
            src = rng.choice([src, bytes(16), *self.wanted[-4:]])
            dst = ndp.solicited_node_multicast(record.target)
        if src == bytes(16) and hasattr(record, "source_mac"):
            record.source_mac = b""
        message = ndp.build(record, src, dst)
        if rng.random() < 0.03:
            message = message[: rng.randrange(len(message))]
        header = ipv6.build(src, dst, icmpv6.PROTOCOL, len(message), hop_limit=255)
        self._put(self._to(dst), ethernet.ETHERTYPE_IPV6, header + message)

    def _mac(self):
        return self._rng.choice((EVIL, b"", b"\2\0\0\0\0\x67"))

    def _flags(self, number):
        return [self._rng.random() < 0.5 for _ in range(number)]

    def _neighbor_solicitation(self):
        return ndp.NeighborSolicitation(
            self._rng.choice(self.wanted), self._mac(), self._rng.choice((b"", b"nonce1"))
        )

    def _neighbor_advertisement(self):
        return ndp.NeighborAdvertisement(self._rng.choice(self.wanted), self._mac(), *self._flags(3))

    def _redirect(self):
        rng = self._rng
        return ndp.Redirect(rng.choice(LINK_LOCALS + FAR), rng.choice(FAR), self._mac())

    def _router_advertisement(self):
        rng = self._rng
        record = ndp.RouterAdvertisement(
            rng.choice(LIFETIMES) & 0xFFFF, rng.choice((0, 1, 64)), *self._flags(2), rng.choice((0, 1, 30_000)),
            rng.choice((0, 1, 1000, 10_000)), self._mac(), rng.choice((0, 68, 1280, 1500, 9000)),
        )  # fmt: skip
        record.preference = rng.choice((-1, 0, 1))
        for _ in range(rng.randrange(4)):
            prefix = rng.choice([*PREFIXES, b"\xfe\x80" + bytes(6), b"\xff\5" + bytes(6)]) + bytes(8)
            record.prefixes.append(
                ndp.Prefix(prefix, rng.choice((0, 64, 64, 64, 128, 129, 255)), *self._flags(2), rng.choice(LIFETIMES),
                           rng.choice(LIFETIMES))
            )  # fmt: skip
            route = rng.choice([*PREFIXES, bytes(8), b"\xfe\x80" + bytes(6)]) + bytes(8)
            record.routes.append(
                ndp.RouteInformation(
                    route, rng.choice((0, 10, 64, 128)), rng.choice((-1, 0, 1)), rng.choice(LIFETIMES)
                )
            )
        record.rdnss = [ndp.Rdnss(rng.choice(LIFETIMES), [rng.choice(FAR), rng.choice(LINK_LOCALS)])]
        record.dnssl = [ndp.Dnssl(rng.choice(LIFETIMES), [rng.choice(("example.com", "a.example.org"))])]
        return record

    def _query(self):
        rng = self._rng
        group = rng.choice([*GROUPS, bytes(16), bytes(4), ndp.solicited_node_multicast(self.wanted[-1])])
        size = len(group)
        version = rng.choice((Version.SECOND, Version.THIRD, Version.FIRST if size == 4 else Version.THIRD))
        message = Query(version, group, rng.choice((0, 0.1, 1.0, 60.0)))
        if rng.random() < 0.3 and any(group):
            message = rng.choice(
                (Membership(group), Membership(group, leave=True), Report([Record(Kind.IS_EXCLUDE, group)]))
            )
        elif version is Version.THIRD:
            message.sources = tuple(rng.randbytes(size) for _ in range(rng.randrange(3)))
            message.robustness, message.interval = rng.choice((0, 1, 7)), rng.choice((0, 1, 125, 30_000))
        if size == 4:
            data, dst = igmp.build(message), group if any(group) else ipv4.ALL_HOSTS
            header = ipv4.build(b"\x0a\x09\0\x66", dst, ipv4.PROTOCOL_IGMP, len(data), ttl=1)
            self._put(ndp.multicast_mac(dst), ethernet.ETHERTYPE_IPV4, header + data)
        else:
            src, dst = LINK_LOCALS[0], group if any(group) else ndp.ALL_NODES
            data = mld.HOP_BY_HOP + mld.build(message, src, dst)
            header = ipv6.build(src, dst, ipv6.HOP_BY_HOP, len(data), hop_limit=1)
            self._put(self._to(dst), ethernet.ETHERTYPE_IPV6, header + data)


class Sink(asyncio.DatagramProtocol):
    """Takes everything, errors too."""


class Life:
    """One host and what happens to it, as `rng` has it. `history` says what was done last."""

    def __init__(self, rng, links=2):
        self._rng = rng
        config = StackConfig(
            temporary_addresses=rng.random() < 0.5,
            neighbor_limit=16,
            close_timeout=1.0,
            dad_transmits=rng.choice((1, 1, 0, 3)),
        )
        self.stack = Stack(config=config, seed=rng.randrange(1000))
        self.enemies = [Enemy(rng, number) for number in range(links)]
        self.history = []
        self._tasks = set()
        self._socket = None

    async def run(self, steps):
        """`steps` things that happen; `check` after each."""
        self._socket, _ = await self.stack.create_datagram_endpoint(Sink, local_addr=("::", 5000))
        acts = (
            self._add, self._add, self._remove, self._cancel, self._die, self._pull, self._add_address,
            self._remove_address, self._check_address, self._member, self._send, self._send, self._send, self._send,
        )  # fmt: skip
        for _ in range(steps):
            for _ in range(self._rng.randrange(20)):
                self._rng.choice(self.enemies).speak()
            act = self._rng.choice(acts)
            pause = self._rng.choice(PAUSES)
            self.history = [*self.history[-12:], (act.__name__, pause)]
            act()
            await asyncio.sleep(pause)
            self.check()
        for act in (self._add, self._add, self._check_address, self._check_address):
            act()
        await asyncio.sleep(0.3)
        for task in self._tasks:
            task.cancel()
        await self.stack.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, coroutine):
        task = asyncio.ensure_future(self._endure(coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _endure(self, coroutine):
        """What is refused is refused by an OSError that says why."""
        try:
            await coroutine
        except OSError as exc:
            assert exc.errno not in UNEXPECTED, exc
            assert str(exc), repr(exc)

    def _interface(self):
        return self._rng.choice(self.stack.interfaces[1:] or [None])

    def _add(self):
        device = self._rng.choice(self.enemies).device
        timeout, wait = self._rng.choice((0.5, 5.0, 100.0)), self._rng.random() < 0.7
        words = self._rng.choice(WORDS)
        self._start(self.stack.add_interface(device, words, name=device.name, timeout=timeout, wait=wait))

    def _remove(self):
        interface = self._interface()
        if interface is not None and self._rng.random() < 0.2:
            self._start(self.stack.remove_interface(interface))

    def _cancel(self):
        for task in list(self._tasks):
            if self._rng.random() < 0.1:
                task.cancel()

    def _die(self):
        if self._rng.random() < 0.1:
            self._rng.choice(self.enemies).device.set_down()

    def _pull(self):
        self._rng.choice(self.enemies).device.set_link(self._rng.random() < 0.9)

    def _add_address(self):
        interface = self._interface()
        if interface is not None:
            prefix = self._rng.choice([*PREFIXES[:3], b"\xfe\x80" + bytes(6)])
            with suppress(FileExistsError):
                self.stack.add_address(
                    interface, prefix + bytes(7) + bytes((self._rng.randrange(100, 104),)), 64
                )

    def _remove_address(self):
        own = [entry for entry in self.stack.addresses.local.values() if entry.interface.name != "lo"]
        if own:
            self.stack.remove_address(self._rng.choice(own).address)

    def _check_address(self):
        interface = self._interface()
        if interface is not None:
            address = self._rng.choice([*LINK_LOCALS[20:], PREFIXES[0] + bytes(7) + b"\x65", b"\x0a\x09\0\2"])
            self._start(self.stack.check_address(interface, address))

    def _member(self):
        interface, rng = self._interface(), self._rng
        if interface is not None:
            group = rng.choice(GROUPS)
            sources = frozenset(rng.randbytes(len(group)) for _ in range(rng.randrange(3)))
            wanted = SourceFilter(rng.random() < 0.5, sources)
            if wanted == NO_SOURCE:
                self.stack.addresses.groups.leave(group, interface, "test")
            else:
                self.stack.addresses.groups.join(group, interface, "test", wanted)

    def _send(self):
        rng = self._rng
        prefix = rng.choice(PREFIXES) + bytes(7) + bytes((rng.randrange(4),))
        address = rng.choice([*FAR, prefix])
        with suppress(OSError):
            self._socket.sendto(b"hello" * rng.choice((1, 1000)), (format_address(address), 7))

    # what has to hold at all times

    def check(self):
        stack = self.stack
        known, table = set(stack.interfaces), stack.addresses
        assert stack.counters["interface.receive_error"] == 0
        assert all(entry.interface in known for entry in table.local.values())
        assert all(route.interface in known for route in stack.routes.routes())
        for interface in stack.interfaces[1:]:
            own = table.of(interface)
            assert set(interface.link.addresses) == {entry.address for entry in own}
            assert len(own) < 60
            assert len(interface.link.neighbors6) <= 16 and len(interface.link.neighbors4) <= 16
            assert sum(route.interface is interface for route in stack.routes.routes()) < 400
        assert len(stack.ndp._checks) < 60
        assert len(stack.redirects) <= 256
        told = {stack.icmpv6.mld._mld, stack.icmpv6.mld._igmp} - {None}
        for listener in [one for protocol in told for one in protocol._listeners.values()]:
            assert listener.interface in known
            heard = {group for group, _ in table.groups.of(listener.interface)}
            assert set(listener.reporter.groups) <= heard
        assert {index for _, index in table.groups._members} <= {interface.index for interface in known}
