"""The connections under fire: honest ones with a real peer, and scripted ones in states that a peer can be kept in."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

from asyncstack.wire.tcp import ACK, FIN, PSH, RST, SYN, Segment
from tests.fuzz.world import ECHO_PORT, OURS, PORT, SCRIPTED, THEIRS, Sink, World, tcp_packet

MASK = 0xFFFFFFFF
STEP = 0.005  # seconds between two writes of an honest application


# honest

# role: who writes during the storm, who has paused reading, who has sent its FIN (s: the stack, p: its peer)
ROLES = {
    "idle": ("", "", ""),
    "to us": ("p", "", ""),
    "to the peer": ("s", "", ""),
    "both ways": ("sp", "", ""),
    "peer half closed": ("s", "", "p"),
    "half closed": ("p", "", "s"),
    "our window closed": ("p", "s", ""),
    "peer's window closed": ("s", "p", ""),
}


class Honest:
    """A connection of the stack with its peer, that has to come through. `stack_side`, `peer_side`: its two ends."""

    def __init__(self, world: World, role: str, family: int, we_connect: bool) -> None:
        self.world, self.role = world, role
        self.name = f"{role}, IPv{'46'[family]}, {'client' if we_connect else 'server'}"
        self.writers, self.paused, self.closed = ROLES[role]
        self._family, self._we_connect = family, we_connect

    async def open(self) -> None:
        world = self.world
        host = ("10.0.0.1", "fd00::1")[self._family]
        if self._we_connect:
            host = ("10.0.0.2", "fd00::2")[self._family]
            waiting: asyncio.Future[Sink] = world.loop.create_future()

            def accept() -> Sink:
                sink = Sink(None)
                waiting.set_result(sink)
                return sink

            server = await world.peer.create_server(accept, host, 0)
            port = server.sockets[0].getsockname()[1]
            _, self.stack_side = await world.stack.create_connection(lambda: Sink(world.watch), host, port)
            self.peer_side = await waiting
            await asyncio.sleep(STEP)
            server.close()
        else:
            _, self.peer_side = await world.peer.create_connection(lambda: Sink(None), host, PORT)
            address, port, theirs, their_port = self.peer_side.key
            await asyncio.sleep(4 * STEP)  # the last ACK of the handshake is on its way
            self.stack_side = world.accepted[theirs, their_port, address, port]
        self.sides = {"s": self.stack_side, "p": self.peer_side}
        for side in self.paused:
            self.sides[side].transport.pause_reading()
        for side in self.closed:
            self.sides[side].write(1000)
            self.sides[side].end()

    @property
    def key(self):
        return self.stack_side.key

    def turn(self, rng: random.Random) -> None:
        """The applications do a little."""
        for side in self.writers:
            self.sides[side].write(rng.choice((1, 10, 100, 1000, 3000)))

    def give_up(self) -> None:
        """Both applications end it at once."""
        self.world.watch.ended_by_us.add(self.stack_side.connection)
        for side in (self.stack_side, self.peer_side):
            side.transport.abort()

    def again(self) -> Honest:
        """Another one like it."""
        return Honest(self.world, self.role, self._family, self._we_connect)

    def resume(self) -> None:
        for side in self.paused:
            self.sides[side].transport.resume_reading()

    def check(self) -> None:
        """Nothing that has arrived is wrong, and nobody was cut off."""
        for name, side in self.sides.items():
            assert not side.corrupt, f"{self.name}: {name} received bytes that nobody wrote"
            assert side.error is None, f"{self.name}: {name} was cut off: {side.error!r}"
            assert not side.lost or (self.sides["s"].eof and self.sides["p"].eof), (
                f"{self.name}: {name} is gone"
            )

    async def finish(self) -> None:
        """Write more, close both ends, and see that all of it arrives, and nothing else."""
        self.resume()
        stack_side, peer_side = self.stack_side, self.peer_side
        for name in "sp":
            side = self.sides[name]
            side.full = False
            if name not in self.closed:
                side.write(5000)
                side.end()
        for _ in range(600):
            if stack_side.eof and peer_side.eof:
                break
            await asyncio.sleep(0.5)
        self.check()
        assert (stack_side.received, peer_side.received) == (peer_side.sent, stack_side.sent), self.name
        assert stack_side.eof and peer_side.eof, self.name
        for side in (peer_side, stack_side):
            side.transport.close()


async def honest_connections(world: World) -> list[Honest]:
    made = []
    for number, role in enumerate(ROLES):
        for family in (0, 1):
            made.append(Honest(world, role, family, we_connect=(number + family) & 1 == 1))
    for honest in made:
        await honest.open()
    return made


# scripted


class Script:
    """One end of a connection whose other end is the stack: segments by hand, numbers read off the stack's."""

    def __init__(self, world: World, rng: random.Random, family: int) -> None:
        self.world, self.rng = world, rng
        self.ours, self.theirs = OURS[family], SCRIPTED[family]
        self.timestamps = rng.random() < 0.7
        self.sack = rng.random() < 0.7
        self.scale = rng.choice((-1, 0, 7, 14))
        self.port = rng.randrange(1024, 65536)
        self.key = (self.ours, PORT, self.theirs, self.port)
        self.isn = rng.getrandbits(32)
        self.task: asyncio.Task | None = None

    @property
    def connection(self):
        endpoint = self.world.stack.tcp.connections.get(self.key)
        return endpoint.connection if endpoint is not None else None

    def stamp(self) -> int:
        return (int(self.world.loop.time() * 1000) + 77) & MASK

    def segment(self, flags: int, payload: bytes = b"", **changes) -> Segment:
        """The next segment in order."""
        conn = self.connection
        ack = conn.sender.nxt & MASK if conn is not None and flags & ACK else 0
        seq = conn.receiver.nxt & MASK if conn is not None and conn.state.name != "SYN_SENT" else self.isn
        segment = Segment(self.port, self.key[1], seq, ack, flags, 65535, payload)
        if conn is None or conn.receiver.timestamps or flags & SYN:
            segment.ts_val = self.stamp() if self.timestamps else -1
        if flags & SYN:
            segment.mss, segment.window_scale, segment.sack_permitted = 1460, self.scale, self.sack
        return replace(segment, **changes)

    async def say(self, flags: int, payload: bytes = b"", **changes) -> None:
        segment = self.segment(flags, payload, **changes)
        self.world.say(tcp_packet(self.theirs, self.ours, segment))
        await self.world.settle()

    async def establish(self) -> Sink | None:
        await self.say(SYN)
        await self.say(ACK)
        return self.world.accepted.get(self.key)

    def connect(self) -> None:
        """The stack's side begins: its port is chosen now."""
        world = self.world
        remote = world.loop.create_task(self._connect(self.port))
        self.task = remote

    async def _connect(self, port: int) -> None:
        host = "10.0.0.66" if len(self.ours) == 4 else "fd00::66"
        try:
            await self.world.stack.create_connection(lambda: Sink(self.world.watch), host, port)
        except OSError:
            pass

    def find(self) -> None:
        """The 4-tuple of `connect`."""
        for key in self.world.stack.tcp.connections:
            if key[2:] == (self.theirs, self.port):
                self.key = key

    def give_up(self) -> None:
        """The application has had enough of it."""
        conn = self.connection
        if conn is not None:
            self.world.watch.ended_by_us.add(conn)
            self.world.stack.tcp.connections[self.key].abort()
        if self.task is not None:
            self.task.cancel()


async def _syn_sent(script: Script) -> None:
    script.connect()
    await script.world.settle()
    script.find()


async def _simultaneous(script: Script) -> None:
    await _syn_sent(script)
    await script.say(SYN)


async def _client(script: Script) -> None:
    await _syn_sent(script)
    await script.say(SYN | ACK)


async def _syn_received(script: Script) -> None:
    await script.say(SYN)


async def _established(script: Script) -> None:
    await script.establish()


async def _in_flight(script: Script) -> None:
    if sink := await script.establish():
        sink.write(20_000)


async def _out_of_order(script: Script) -> None:
    await script.establish()
    for gap in (10, 200, 400, 3000):
        conn = script.connection
        if conn is not None:
            await script.say(ACK, b"o" * 50, seq=(conn.receiver.nxt + gap) & MASK)


async def _peer_window_closed(script: Script) -> None:
    if sink := await script.establish():
        await script.say(ACK, window=0)
        sink.write(5000)


async def _our_window_closed(script: Script) -> None:
    sink = await script.establish()
    if sink is None:
        return
    sink.transport.pause_reading()
    for _ in range(100):  # hostile frames may have made it deaf to us
        conn = script.connection
        left = conn.receiver.edge - conn.receiver.nxt if conn is not None else 0
        if not left:
            break
        await script.say(ACK | PSH, b"w" * min(left, 1400))


async def _fin_wait_1(script: Script) -> None:
    if sink := await script.establish():
        sink.write(2000)
        sink.end()


async def _fin_wait_2(script: Script) -> None:
    if sink := await script.establish():
        sink.end()
        await script.world.settle()
        await script.say(ACK)


async def _orphan(script: Script) -> None:
    if sink := await script.establish():
        sink.transport.close()
        await script.world.settle()
        if script.rng.random() < 0.5:
            await script.say(ACK)


async def _close_wait(script: Script) -> None:
    await script.establish()
    await script.say(FIN | ACK, b"the end")


async def _last_ack(script: Script) -> None:
    if sink := await script.establish():
        await script.say(FIN | ACK)
        sink.transport.close()


async def _closing(script: Script) -> None:
    if sink := await script.establish():
        conn = script.connection
        before = conn.sender.nxt & MASK if conn is not None else 0
        sink.end()
        await script.world.settle()
        await script.say(FIN | ACK, ack=before)


async def _time_wait(script: Script) -> None:
    await _fin_wait_2(script)
    await script.say(FIN | ACK)


async def _reset(script: Script) -> None:
    """A 4-tuple that has just ended."""
    await script.establish()
    await script.say(RST)


STATES = (
    _syn_sent, _syn_sent, _simultaneous, _client, _syn_received, _syn_received, _established, _established,
    _in_flight, _in_flight, _out_of_order, _peer_window_closed, _our_window_closed, _fin_wait_1, _fin_wait_2,
    _orphan, _close_wait, _last_ack, _closing, _time_wait, _time_wait, _reset,
)  # fmt: skip


async def scripted(world: World, rng: random.Random, number: int) -> Script:
    """Victim `number`, in the state that is its turn."""
    script = Script(world, rng, rng.randrange(2))
    await STATES[number % len(STATES)](script)
    return script


__all__ = ["ECHO_PORT", "ROLES", "STATES", "THEIRS", "Honest", "Script", "honest_connections", "scripted"]
