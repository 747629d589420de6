"""One seeded run of everything at once: random links, settings and applications, between two stacks in virtual time.

`run(seed)` ends if every connection ended as it should: all bytes equal, or an error that somebody caused. It raises
else. What counts as a stall:

- nothing may take longer than `PATIENCE` virtual seconds; the slowest link here takes a third of it, so a connection
  that waits for ever (with or without a timer that does nothing) ends there, and is described;
- `Inspector` looks at every connection again and again while the run goes on: whatever is unacknowledged or waits to
  be sent needs a timer that is set in the loop, or a turn to send; the books of the sender must agree.

Every setting has keepalive, because a peer that has nothing to send may wait for ever once a RST is lost.
"""

import asyncio
import errno
import math
import random
import socket

from asyncstack import Network, StackConfig, TcpConfig
from asyncstack.testing import GilbertElliott
from asyncstack.testing.clock import run as run_in_virtual_time
from asyncstack.transport.tcp.connection import Connection
from asyncstack.transport.tcp.scoreboard import FLYING, LOST, RESENT, SACKED
from asyncstack.transport.tcp.state import State
from asyncstack.transport.tcp.timeouts import ORPHAN_RETRIES
from asyncstack.transport.tcp.timers import PACE, PERSIST, RETRANSMIT

PATIENCE = 50_000.0
PORT = 80
LARGEST_BUFFER = 1 << 20  # what was promised stands when the buffer is made smaller
# None: of asyncio's `drain`, which says no errno; ETIMEDOUT: where the RST was lost
ABORTED = (errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, None)


def tcp_config(rng):
    return TcpConfig(
        congestion=rng.choice(["cubic", "reno", "bbr"]),
        pacing=rng.random() < 0.3,
        initial_window=rng.choice([1, 2, 10, 10]),
        receive_buffer=rng.choice([2500, 5000, 20_000, 100_000, LARGEST_BUFFER]),
        send_buffer=rng.choice([5000, 200_000, 4 << 20]),
        nodelay=rng.random() < 0.6,
        timestamps=rng.random() < 0.6,
        sack=rng.random() < 0.6,
        window_scaling=rng.random() < 0.7,
        delayed_ack=rng.choice([0.001, 0.04, 0.2]),
        max_out_of_order_ranges=rng.choice([1, 4, 128]),
        syn_retries=15,
        synack_retries=15,
        user_timeout=rng.choice([6000.0, 9000.0]),
        keepalive=True,
        keepalive_idle=rng.choice([20.0, 200.0]),
        keepalive_interval=10.0,
        keepalive_count=40,
        time_wait=3000.0,  # longer than any outage, or a last ACK that was lost ends in a RST
        fin_wait_2=3000.0,
    )


def direction(rng):
    """The impairments of one direction."""
    loss = rng.choice([0.0, 0.0, 0.01, 0.05, 0.15, 0.3, "bursts"])
    if loss == "bursts":
        loss = GilbertElliott.with_mean(rng.choice([0.02, 0.1]), rng.choice([2.0, 4.0]))
    return {
        "delay": rng.choice([0.0, 0.0002, 0.005, 0.05, 1.5]),
        "jitter": rng.choice([0.0, 0.0, 0.01, 0.5]),
        "loss": loss,
        "rate": rng.choice([None, None, 2e5, 5e6, 1e9]),
        "queue": rng.choice([None, 3000, 30_000]),
        "duplicate": rng.choice([0.0, 0.0, 0.02, 0.3]),
        "reorder": rng.choice([0.0, 0.0, 0.02, 0.3]),
        "reorder_delay": rng.choice([0.001, 0.05]),
        "corrupt": rng.choice([0.0, 0.0, 0.0, 0.03]),
    }


class Side:
    """What one end of a connection does."""

    def __init__(self, rng, role, small):
        self.rng = rng
        self.role = role  # "whole": sends, half-closes, reads to the end; "closer", "aborter"
        most = [0, 1, 700, 2000, 6000] if small else [0, 1, 700, 20_000, 60_000, 200_000, 600_000]
        self.data = rng.randbytes(rng.choice(most))
        self.chunk = rng.choice([1 << 20, 10_000, 1448, 100])
        if len(self.data) <= 2000:
            self.chunk = rng.choice([1, 7, 100, 1 << 20])
        self.pause = rng.choice([0.0, 0.0, 0.0, 0.001, 0.3])
        self.read_size = rng.choice([1 << 20, 1 << 20, 1000, 50])
        self.read_pause = rng.choice([0.0, 0.0, 0.0, 0.02, 1.0])
        if len(self.data) // self.chunk > 300:
            self.pause = min(self.pause, 0.001)
        self.long_pause = rng.choice([0.0, 0.0, 30.0, 500.0])
        self.received = bytearray()
        self.error = None

    def __repr__(self):
        return (
            f"<{self.role} sends {len(self.data)} by {self.chunk}, has {len(self.received)}, {self.error!r}>"
        )

    async def live(self, reader, writer):
        if self.rng.random() < 0.3:
            high = self.rng.choice([0, 1, 5000, 1 << 20])
            writer.transport.set_write_buffer_limits(high, min(high, self.rng.choice([0, 1000])))
        try:
            if self.role == "whole":
                await both(self._send(writer), self._read(reader))
            elif self.role == "closer":
                await self._send(writer, eof=False)
            else:
                await self._abort_some_time(reader, writer)
        except OSError as exc:
            self.error = exc
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError as exc:
                self.error = self.error or exc

    async def _abort_some_time(self, reader, writer):
        try:
            async with asyncio.timeout(self.rng.choice([0.0, 0.1, 3.0, 100.0])):
                await both(self._send(writer), self._read(reader))
        except TimeoutError as exc:
            if exc.errno is not None:
                raise
        writer.transport.abort()

    async def _send(self, writer, eof=True):
        for start in range(0, len(self.data), self.chunk):
            writer.write(self.data[start : start + self.chunk])
            if self.rng.random() < 0.9:
                await writer.drain()
            if self.pause:
                await asyncio.sleep(self.pause * self.rng.random())
        if eof:
            writer.write_eof()

    async def _read(self, reader):
        pause_at = self.rng.randrange(20_000)
        while data := await reader.read(self.read_size):
            self.received += data
            if self.read_pause and len(self.received) < 5000:
                await asyncio.sleep(self.read_pause * self.rng.random())
            if self.long_pause and len(self.received) > pause_at:
                await asyncio.sleep(self.long_pause)
                self.long_pause = 0.0


async def both(*coroutines):
    """Until all have ended, or one has failed."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Conversation:
    """A connection: the plans of both sides, and whether they came out."""

    def __init__(self, rng, small):
        roles = rng.choice(
            [("whole", "whole")] * 5 + [("closer", "whole"), ("whole", "closer")] + [("aborter", "whole")]
        )
        self.client = Side(rng, roles[0], small)
        self.server = Side(rng, roles[1], small)
        for one, other in ((self.client, self.server), (self.server, self.client)):
            if one.role == "closer":  # it does not read, so there must be nothing to read
                other.data = b""
        self.aborted = "aborter" in roles
        self.excused = False
        self.failed = None  # the client's connect()

    def check(self):
        for one, other in ((self.client, self.server), (self.server, self.client)):
            got, sent = bytes(one.received), other.data
            if self.aborted or self.excused:
                assert sent.startswith(got), f"not what was sent: {self}"
                assert one.error is None or one.error.errno in ABORTED, f"{self}"
                continue
            if self.failed is not None:  # no neighbour (three questions were lost), no route
                assert self.failed.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH), (
                    f"{self.failed!r}: {self}"
                )
                continue
            assert one.error is None, f"{self}"
            if one.role == "whole":
                assert got == sent, f"{len(got)} bytes of {len(sent)}: {self}"

    def __repr__(self):
        return f"client {self.client} server {self.server}"


class Inspector:
    """Looks at every connection of both stacks, whatever they are doing."""

    def __init__(self, stacks):
        self.stacks = stacks
        self.rerouted = set()
        self.looks = 0

    async def watch(self, rng):
        while True:
            await asyncio.sleep(rng.choice([0.0, 0.001, 0.1, 3.0, 60.0]) * rng.random())
            self.look()

    def look(self):
        for stack in self.stacks:
            lingering = set(stack.tcp.lingering.values()) - set(stack.tcp.connections.values())
            held = sum(endpoint.connection.receiver._counted for endpoint in lingering)
            for endpoint in stack.tcp.connections.values():
                self.looks += 1
                held += endpoint.held + endpoint.connection.receiver._counted
                self.check_books(endpoint.connection)
                if not endpoint.queued:
                    self.check_timers(endpoint, stack)
            assert stack.tcp.memory.held == held

    def check_timers(self, endpoint, stack):
        conn, snd = endpoint.connection, endpoint.connection.sender
        assert endpoint.deadline <= conn.deadline, describe(endpoint, "its timer is not set in the loop")
        if conn.state in (State.SYN_SENT, State.SYN_RECEIVED) or snd.una != snd.nxt:
            assert conn.timers[RETRANSMIT] < math.inf, describe(endpoint, "nothing will be sent again")
        elif conn.synchronized and snd.waiting:
            timer = min(conn.timers[kind] for kind in (RETRANSMIT, PERSIST, PACE))
            assert timer < math.inf, describe(endpoint, "what waits will not be sent")
        assert conn.state not in (State.CLOSED, State.TIME_WAIT), describe(endpoint, "has ended and is kept")
        if conn.synchronized and (conn.probe_due or conn.receiver.ack_now):
            # without a neighbour, or a route, it waits for the next retransmission of either side
            cut_off = stack in self.rerouted or not endpoint.path.interface.point_to_point
            assert cut_off, describe(endpoint, "an ACK is owed")

    def check_books(self, conn):
        snd, board = conn.sender, conn.sender.board
        if not conn.synchronized or conn.state is State.TIME_WAIT:
            return
        sums = {FLYING: 0, LOST: 0, SACKED: 0, RESENT: 0}
        at = snd.una
        for record in board.records:
            assert record.start == at < record.end, "the records do not join"
            at = record.end
            sums[record.state] += record.end - record.start
        assert at == snd.nxt, (at, snd.nxt)
        assert (board.lost, board.sacked, board.resent_bytes) == (sums[LOST], sums[SACKED], sums[RESENT])
        assert board.absent == board.lost + board.sacked + snd.presumed
        assert snd.pipe >= 0, "less than nothing in the network"
        assert snd.queue.una <= snd.nxt <= snd.queue.end + 1
        assert snd.congestion.cwnd >= snd.mss
        rcv = conn.receiver
        assert rcv.unread <= LARGEST_BUFFER + (1 << rcv.scale)
        assert rcv.edge >= rcv.nxt


def describe(endpoint, what):
    info = endpoint.connection.info(endpoint.layer.clock())
    timers = endpoint.connection.timers
    return f"{what}: {endpoint.key} at {endpoint.layer.clock()}, timers {timers}, {endpoint.deadline}; {info}"


class Weather:
    """Changes the world while it is in use."""

    def __init__(self, rng, link, inspector):
        self.rng, self.link, self.stacks = rng, link, inspector.stacks
        self.rerouted = inspector.rerouted

    async def blow(self):
        for _ in range(self.rng.randrange(6)):
            await asyncio.sleep(self.rng.choice([0.01, 0.2, 2.0, 50.0]) * self.rng.random())
            await self.rng.choice(
                [
                    self._cut,
                    self._block,
                    self._change,
                    self._move_route,
                    self._forget_neighbours,
                    self._shrink_path,
                    self._set_options,
                ]
            )()

    def _length(self):
        return self.rng.choice([0.001, 0.3, 10.0, 100.0])

    def _interface(self):
        number = self.rng.randrange(2)
        stack, device = self.stacks[number], self.link.ends[number]
        return stack, next(i for i in stack.interfaces if i.device is device)

    async def _cut(self):
        self.link.down()
        await asyncio.sleep(self._length())
        self.link.up()

    async def _block(self):
        _, interface = self._interface()
        device = interface.device
        device.writable = False
        await asyncio.sleep(self._length())
        device.writable = True
        device.on_writable()

    async def _change(self):
        side = self.rng.choice([self.link.forward, self.link.backward])
        side.set(**direction(self.rng))

    async def _move_route(self):
        stack, interface = self._interface()
        route = next(r for r in stack.routes.routes() if r.interface is interface)
        stack.routes.remove(route)
        self.rerouted.add(stack)
        await asyncio.sleep(self._length())
        stack.routes.add(route.prefix, route.prefix_length, interface)

    async def _forget_neighbours(self):
        _, interface = self._interface()
        for table in (
            getattr(interface.link, "neighbors4", None),
            getattr(interface.link, "neighbors6", None),
        ):
            while table is not None and table.entries:  # as when others push them out
                table._evict(next(iter(table.entries.values())))
        if hasattr(interface.link, "_serve"):
            interface.link._serve(interface.clock())

    async def _shrink_path(self):
        stack, interface = self._interface()
        for endpoint in list(stack.tcp.connections.values())[:1]:
            smaller = self.rng.randrange(552, 1501)
            if len(endpoint.key[2]) == 4 and smaller < interface.mtu:
                stack.routes.update_path_mtu(endpoint.key[2], smaller, interface.clock())

    async def _set_options(self):
        stack = self.rng.choice(self.stacks)
        for endpoint in list(stack.tcp.connections.values()):
            get = getattr(endpoint.owner, "get_extra_info", None)
            if get is None:
                continue
            sock = get("socket")
            if self.rng.random() < 0.5:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, self.rng.randrange(2))
            else:
                size = self.rng.choice([1, 5000, 50_000, 1 << 20])
                sock.setsockopt(
                    socket.SOL_SOCKET, self.rng.choice([socket.SO_RCVBUF, socket.SO_SNDBUF]), size
                )


class Excuses:
    """Notes the ports of connections that came to an end which is nobody's fault and that one side is not told of: data
    whose application has gone was sent too often; a half-open connection's neighbour did not answer."""

    def __init__(self):
        self.ports = set()

    def __enter__(self):
        self._before = Connection.timed_out, Connection.receive_unreachable
        timed_out, receive_unreachable = self._before

        def note_timeout(connection):
            if connection.orphan and connection.sender.timeouts >= ORPHAN_RETRIES:
                self.ports |= {connection.local_port, connection.remote_port}
            timed_out(connection)

        def note_unreachable(connection, number, now):
            if connection.state is State.SYN_RECEIVED:
                self.ports.add(connection.local_port)
            receive_unreachable(connection, number, now)

        Connection.timed_out, Connection.receive_unreachable = note_timeout, note_unreachable
        return self

    def __exit__(self, *exc):
        Connection.timed_out, Connection.receive_unreachable = self._before


async def _main(seed):
    with Excuses() as excuses:
        return await _run(seed, excuses)


async def _run(seed, excuses):
    rng = random.Random(seed)
    loop = asyncio.get_running_loop()
    reported = []
    loop.set_exception_handler(lambda loop, context: reported.append(context))
    six = rng.random() < 0.25
    mtu = rng.choice([1280, 1500, 9000]) if six else rng.choice([68, 128, 296, 576, 1500, 1500, 9000, 65535])
    async with Network(seed) as net:
        prefix = "fd00::{}/64" if six else "10.0.0.{}/24"
        a, b = (
            net.host(name, prefix.format(number), config=StackConfig(tcp=tcp_config(rng), close_timeout=1.0))
            for number, name in enumerate("ab", 1)
        )
        link = net.link(a, b, mtu=mtu, ethernet=rng.random() < 0.4)
        link.forward.set(**direction(rng))
        link.backward.set(**(direction(rng) if rng.random() < 0.7 else {}))
        conversations = [Conversation(rng, mtu < 576) for _ in range(rng.choice([1, 1, 1, 2, 5]))]
        inspector = Inspector((a, b))
        try:
            async with asyncio.timeout(PATIENCE):
                await _talk(rng, net, a, b, link, conversations, inspector)
        except TimeoutError:
            left = [describe(e, "left") for s in (a, b) for e in s.tcp.connections.values()]
            raise AssertionError(f"a stall: {conversations}\n" + "\n".join(left)) from None
        for number, conversation in enumerate(conversations):
            conversation.excused = PORT + number in excuses.ports
            conversation.check()
        assert a.tcp.memory.held == b.tcp.memory.held == 0
    assert not reported, reported
    assert loop.timers == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return inspector.looks, loop.time()


async def _talk(rng, net, a, b, link, conversations, inspector):
    serving = []

    async def serve(reader, writer, side):
        serving.append(asyncio.current_task())
        await side.live(reader, writer)

    servers = []
    for number, conversation in enumerate(conversations):
        side = conversation.server
        servers.append(await b.start_server(lambda r, w, side=side: serve(r, w, side), "b", PORT + number))

    async def connect(number, conversation):
        await asyncio.sleep(rng.choice([0.0, 0.1]) * rng.random())
        try:
            reader, writer = await a.open_connection("b", PORT + number)
        except OSError as exc:
            conversation.failed = exc
            return
        await conversation.client.live(reader, writer)

    helpers = [asyncio.create_task(inspector.watch(random.Random(rng.random())))]
    weather = asyncio.create_task(Weather(random.Random(rng.random()), link, inspector).blow())
    try:
        async with asyncio.TaskGroup() as group:
            for number, conversation in enumerate(conversations):
                group.create_task(connect(number, conversation))
            await weather
        while a.tcp.connections or b.tcp.connections or not all(task.done() for task in serving):
            if helpers[0].done():
                break
            await asyncio.sleep(10)
        await asyncio.gather(*serving)
        for server in servers:
            server.close()
        inspector.look()
    finally:
        weather.cancel()
        helpers[0].cancel()
        results = await asyncio.gather(*helpers, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


def run(seed):
    """(looks at connections, virtual seconds) of a run that went well; AssertionError and the like else."""
    return run_in_virtual_time(_main(seed), seed=seed, limit=3 * PATIENCE)
