"""The storm: hostile frames at a live stack, from a seed, while its honest connections go on.

    FUZZ_SEED=7 FUZZ_MUTATIONS=1000000 pytest tests/fuzz/test_live.py           other, and longer, storms
    FUZZ_REPLAY=<hex of a frame>[,<hex> ...] pytest tests/fuzz/test_live.py -k replay

Segments that an honest connection would have to take for its peer's are not sent at it: what they do is in the RFCs,
and shown on the scripted victims. Everything else is sent: damaged, old, beyond the window, with ACKs of nothing.
"""

from __future__ import annotations

import asyncio
import os
import random
import struct

from asyncstack.wire import ipv6
from tests.fuzz.corpus import corpus
from tests.fuzz.dissect import ACK, FIN, PSH, RST, SYN, URG, ones_sum
from tests.fuzz.mutations import mutate, option_soup, repair, repair_lengths, vnet_header
from tests.fuzz.oracle import judge
from tests.fuzz.victims import STATES, Honest, Script, honest_connections, scripted
from tests.fuzz.world import PLAIN, SCRIPTED, THEIRS, World, ip_packet, with_checksum

MASK = 0xFFFFFFFF
VICTIMS = 3 * len(STATES)
STRANGERS = 50  # connections that the storm itself has made
SEED = int(os.environ.get("FUZZ_SEED", "20240607"))
MUTATIONS = int(os.environ.get("FUZZ_MUTATIONS", "100000"))
SET_OUT = (
    ACK, ACK, ACK, ACK | PSH, FIN | ACK, RST, RST, RST | ACK, SYN, SYN | ACK, FIN, 0, URG | ACK, SYN | FIN, 63, 255,
)  # fmt: skip


class Storm:
    """Runs in `world`. `sent` counts hostile frames; `spared` those that an honest connection would have taken."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.rng = random.Random(f"{seed} {world.kind}")
        self.link = 14 if world.ethernet else 0
        self.sent = self.spared = self.repaired = self.replaced = 0
        self.scripts: list[Script] = []
        self.honest: list[Honest] = []
        self._made = 0
        self._turned = 0.0

    async def prepare(self) -> None:
        self.honest = await honest_connections(self.world)
        self.honest_keys = {honest.key for honest in self.honest}
        await self.maintain()
        self.refresh_corpus()

    def refresh_corpus(self) -> None:
        """Valid frames, with quotes of segments that are in flight now."""
        live = [self._quote(key) for key in self._keys() if len(key[0]) == 4][:1]
        live += [self._quote(key) for key in self._keys() if len(key[0]) == 16][:1]
        self.corpus = corpus(self.world, live)

    async def maintain(self) -> None:
        """Keep the victims at their number, and what is dead or in the way out of it."""
        world = self.world
        stack = world.stack
        alive = []
        for script in self.scripts:
            if script.key in stack.tcp.connections or script.key in stack.tcp._time_wait:
                alive.append(script)
            elif script.task is not None:
                script.task.cancel()
        self.scripts = alive
        if len(alive) >= VICTIMS // 2 and self.rng.random() < 0.3:
            self.scripts.pop(self.rng.randrange(len(alive))).give_up()
        wanted = {script.key for script in self.scripts} | self.honest_keys
        strangers = [sink for key, sink in world.accepted.items() if key not in wanted]
        over = [sink for key, sink in world.accepted.items() if key not in stack.tcp.connections]
        for sink in (*strangers[:-STRANGERS], *over):
            world.watch.ended_by_us.add(sink.connection)
            sink.transport.abort()
        world.introduce()
        await self._replace_tainted()
        while len(self.scripts) < VICTIMS:
            self.scripts.append(await scripted(world, self.rng, self._made))
            self._made += 1
        world.watch.forget({e.connection for e in stack.tcp.connections.values()})

    async def _replace_tainted(self) -> None:
        """A segment that was not acceptable when it was made may have become so on its way. What such a one has hit
        may be dead or corrupt with every right, and is no witness any more."""
        for number, honest in enumerate(self.honest):
            if honest.key in self.world.watch.tainted:
                honest.give_up()
                fresh = self.honest[number] = honest.again()
                self.replaced += 1
                self.honest_keys.discard(honest.key)
                await fresh.open()
                self.honest_keys.add(fresh.key)

    # one storm

    async def rage(self, number: int) -> None:
        """Send `number` mutations, in bursts, while time passes and the applications do their work."""
        rng, world = self.rng, self.world
        until = self.sent + number
        while self.sent < until:
            for _ in range(rng.choice((1, 4, 16, 48))):
                self.send(self.invent())
            await self.pause(rng.choice((0.0, 1e-6, 1e-4, 0.001, 0.005)))
            if rng.random() < 0.02:
                await self.maintain()
                self.refresh_corpus()
                await self.pause(rng.choice((0.01, 0.1, 0.3)))
                world.check_bounds()
            if rng.random() < 0.002:
                await self.pause(rng.choice((1.0, 3.0)))

    async def pause(self, seconds: float) -> None:
        now = self.world.loop.time()
        if now - self._turned >= 0.005:
            self._turned = now
            for honest in self.honest:
                honest.turn(self.rng)
        # a socket is read when the loop has nothing else to do
        await asyncio.sleep(max(seconds, 1e-6) if self.world.vnet else seconds)
        if self.world.watch.violations:
            self.world.check_bounds()

    def send(self, frame: bytes) -> None:
        """One hostile frame, with a virtio-net header where the device has one."""
        raw = frame
        if self.world.vnet:
            raw = vnet_header(self.rng, frame, 0.6) + frame
            if self.rng.random() < 0.01:
                raw = raw[: self.rng.randrange(12)]
        if self._would_be_taken(raw):
            self.spared += 1
            return
        self.sent += 1
        if raw:
            self.world.put(raw)

    def _would_be_taken(self, raw: bytes) -> bool:
        watch = self.world.watch
        found = watch.find(raw, False)
        segment = found.tcp
        if segment is not None and segment.key in self.honest_keys:
            endpoint = self.world.stack.tcp.connections.get(segment.key)
            if endpoint is None:
                return True
            verdict = judge(endpoint.connection, segment, self.world.loop.time(), False)
            return verdict.effect in ("accept", "reset")
        fragment = found.fragment
        return fragment is not None and fragment.flow[0] in THEIRS  # may be completed to anything

    # every truncation

    async def truncate(self) -> int:
        """Every truncation of every frame of the corpus, once as it is and once with the lengths made to fit."""
        frames = list(self.corpus)
        frames += [self.world.frame(self.aimed(script.key)) for script in self.scripts[:12]]
        for frame in frames:
            for size in range(len(frame) + 1):
                self.send(frame[:size])
                data = bytearray(frame[:size])
                repair_lengths(data, self.link)
                repair(data, self.link)
                self.send(bytes(data))
                if not size % 16:
                    await self.pause(0.0 if size % 64 else 1e-6)
            await self.pause(1e-4)
            if self.rng.random() < 0.1:
                await self.maintain()
        return len(frames)

    # what to send

    def invent(self) -> bytes:
        how = self.rng.random()
        if how < 0.35:
            frame = self._mutation(self.rng.choice(self.corpus))
        elif how < 0.8:
            frame = self.world.frame(self.aimed(self._victim()))
        elif how < 0.86:
            frame = self.world.frame(self.error(self._victim()))
        elif how < 0.92:
            frame = self.world.frame(self.fragment())
        else:
            frame = self.replayed()
        return frame

    def _mutation(self, frame: bytes) -> bytes:
        data = mutate(frame, self.corpus, self.rng, self.link)
        if self.rng.random() < 0.65:
            repair(data, self.link)
            self.repaired += 1
        return bytes(data)

    def _keys(self) -> list:
        return list(self.world.stack.tcp.connections)

    def _victim(self) -> tuple:
        """A live 4-tuple: of a script, an honest connection, TIME-WAIT, or whatever the storm has made."""
        how, rng = self.rng.random(), self.rng
        if how < 0.65 and self.scripts:
            return rng.choice(self.scripts).key
        if how < 0.85:
            return rng.choice(self.honest).key
        keys = list(self.world.stack.tcp._time_wait._entries) if how < 0.9 else self._keys()
        return rng.choice(keys) if keys else self.honest[0].key

    def _numbers(self, key) -> tuple[int, int, int, int, int, int]:
        """(RCV.NXT, right edge, SND.UNA, SND.NXT, largest window, TS.Recent) as they are now."""
        endpoint = self.world.stack.tcp.connections.get(key)
        if endpoint is not None:
            rcv, snd = endpoint.connection.receiver, endpoint.connection.sender
            return (
                rcv.nxt,
                rcv.edge,
                snd.una,
                snd.nxt,
                snd.max_window,
                rcv.ts_recent if rcv.timestamps else -1,
            )
        held = self.world.stack.tcp._time_wait._entries.get(key)
        if held is not None:
            entry = held[1]
            return entry.rcv_nxt, entry.rcv_nxt, entry.snd_nxt, entry.snd_nxt, 65535, entry.ts_recent
        return (self.rng.getrandbits(32),) * 4 + (65535, -1)

    def aimed(self, key) -> bytes:
        """A segment at `key`, right in some of its numbers and wrong in others; an IP packet."""
        rng = self.rng
        nxt, edge, una, snd_nxt, most, recent = self._numbers(key)
        near = rng.choice((-1460, -2, -1, 1, 2, 100, 1460))
        seq = rng.choice((nxt, nxt, nxt, nxt, nxt + near, nxt - 1, edge, edge - 1, edge + 1, nxt + 0x80000000,
                          rng.randrange(nxt, edge + 2), rng.getrandbits(32)))  # fmt: skip
        ack = rng.choice((snd_nxt, snd_nxt, snd_nxt, una, una - 1, snd_nxt + 1, una - most, una - most - 1,
                          rng.randrange(una, snd_nxt + 2), una + 0x80000000, rng.getrandbits(32)))  # fmt: skip
        flags = rng.choice(SET_OUT) if rng.random() < 0.9 else rng.getrandbits(8)
        size = rng.choice((0, 0, 0, 1, 1, 10, 100, 536, 1400, max(edge - nxt, 0), edge - nxt + 1))
        payload = rng.randbytes(min(max(size, 0), 1400))
        options = self._options(recent, una, snd_nxt, flags)
        window = rng.choice((0, 1, 100, 500, 65535, 65535, rng.getrandbits(16)))
        words = (5 + len(options) // 4) << 12
        urgent = rng.choice((0, 0, 1, 0xFFFF))
        head = struct.pack(
            "!HHIIHHHH", key[3], key[1], seq & MASK, ack & MASK, words | flags, window, 0, urgent
        )
        data = head + options + payload
        if rng.random() < 0.75:
            data = with_checksum(key[2], key[0], 6, data, 16)
            self.repaired += 1
        return ip_packet(key[2], key[0], 6, data)

    def _options(self, recent: int, una: int, snd_nxt: int, flags: int) -> bytes:
        rng = self.rng
        if rng.random() < 0.15:
            return option_soup(rng)
        options = b""
        if flags & SYN and rng.random() < 0.8:
            mss = rng.choice((0, 1, 88, 536, 1460, 65535))
            options = (
                b"\2\4"
                + mss.to_bytes(2, "big")
                + bytes((1, 3, 3, rng.choice((0, 7, 14, 15, 255))))
                + b"\1\1\4\2"
            )
        if recent >= 0 and rng.random() < 0.92:
            value = recent + rng.choice((0, 0, 1, 1, 10, 1000, -1, -1000, 0x7FFFFFFF, 0x80000000))
            options += struct.pack("!III", 0x0101080A, value & MASK, rng.getrandbits(32))
        if rng.random() < 0.3 and len(options) <= 20:
            blocks = []
            for _ in range(rng.randrange(1, 1 + (36 - len(options)) // 8)):
                left = rng.choice(
                    (una, snd_nxt, una + 1448, rng.randrange(una, snd_nxt + 2), rng.getrandbits(32))
                )
                blocks += [left & MASK, (left + rng.choice((-1448, 0, 1, 1448, 2896, 1 << 30))) & MASK]
            options += bytes((1, 1, 5, 2 + 4 * len(blocks))) + struct.pack(f"!{len(blocks)}I", *blocks)
        return options + b"\1" * (-len(options) % 4)

    def _quote(self, key, near: int = 0) -> bytes:
        """The head of a segment of ours, as an error would quote it."""
        _, _, una, snd_nxt, _, _ = self._numbers(key)
        seq = self.rng.choice((una, una, snd_nxt - 1, snd_nxt, una - 1, self.rng.getrandbits(32)))
        head = struct.pack("!HHIIHHHH", key[1], key[3], seq & MASK, 0, 0x5010, 500, 0, 0)
        size = self.rng.choice((0, 0, 1400))
        return ip_packet(key[0], key[2], 6, head + bytes(size))

    def error(self, key) -> bytes:
        """An ICMP error about a segment of `key`."""
        rng = self.rng
        src, dst = rng.choice(
            ((key[2], key[0]), ((SCRIPTED[0] if len(key[0]) == 4 else SCRIPTED[1]), key[0]))
        )
        quote = self._quote(key)
        if len(dst) == 4:
            kind, code = rng.choice(
                ((3, rng.randrange(17)), (3, 4), (3, 4), (11, rng.randrange(2)), (12, 0), (5, 1))
            )
            rest, protocol = rng.choice((0, 1, 67, 68, 296, 552, 576, 1000, 1400, 65535)), 1
        else:
            kind, code = rng.choice(((1, rng.randrange(8)), (2, 0), (2, 0), (3, 0), (4, rng.randrange(4))))
            rest, protocol = rng.choice((0, 1, 1279, 1280, 1300, 1400, 1 << 31)), 58
        quote = quote[: rng.choice((8, 28, 48, 56, 88, 200))]
        data = struct.pack("!BBHI", kind, code, 0, rest) + quote
        if protocol == 58:
            data = with_checksum(src, dst, 58, data, 2)
        else:
            data = data[:2] + (0xFFFF - ones_sum(data)).to_bytes(2, "big") + data[4:]
        return ip_packet(src, dst, protocol, data)

    def fragment(self) -> bytes:
        """A piece of a segment at a victim: it may fit to others, overlap them, or lie about the end."""
        rng = self.rng
        key = rng.choice(self.scripts).key
        packet = self.aimed(key)
        header = 20 if len(key[0]) == 4 else 40
        data = packet[header:]
        step = rng.choice((8, 16, 24, 64, 512))
        at = rng.choice((0, 0, step, 2 * step, rng.randrange(0, 65536, 8)))
        piece = data[at : at + step] if at < len(data) else rng.randbytes(rng.choice((1, 8, 64, 1400)))
        more = rng.random() < 0.6
        ident = rng.randrange(12)
        if rng.random() < 0.2:  # a whole segment, as the first and the last
            at, piece, more, ident = 0, data, False, rng.getrandbits(16)
            if rng.random() < 0.7:
                half = (len(data) // 2 + 7) & ~7
                self.send(self.world.frame(_piece(key, half, data[half:], False, ident)))
                piece, more = data[:half], True
        return _piece(key, at, piece, more, ident)

    def replayed(self) -> bytes:
        """A frame that was honest once."""
        captured = self.world.watch.captured
        if not captured:
            return self.rng.choice(self.corpus)
        frame = self.rng.choice(captured)[len(PLAIN) if self.world.vnet else 0 :]
        return frame if self.rng.random() < 0.4 or not frame else self._mutation(frame)


def _piece(key, at: int, piece: bytes, more: bool, ident: int) -> bytes:
    if len(key[0]) == 4:
        return ip_packet(
            key[2],
            key[0],
            6,
            piece,
            ident=ident,
            dont_fragment=False,
            more_fragments=more,
            fragment_offset=at,
        )
    return ip_packet(key[2], key[0], 44, ipv6.build_fragment(6, at, more, ident) + piece)
