"""Plays a script between two stacks in virtual time, and holds what came out against the properties of TCP.

- what arrives is a prefix of what was sent; all of it, if nobody aborted or closed before the other had ended
- every connection ends, once, and both ends are told; nothing is raised in a callback
- nothing is left: no connection, TIME-WAIT entry, timer, task or byte of a buffer
- at every packet: what a connection holds fits its buffers, and the stack's account of it is right
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from asyncstack import Network, Stack, StackConfig, TcpConfig
from asyncstack.link.frame import Frame
from asyncstack.testing import run
from asyncstack.testing.links import LinkEnd
from asyncstack.transport.tcp.connection import Connection
from asyncstack.transport.tcp.endpoint import CHECKSUM_OFFSET
from asyncstack.wire import checksum, ipv4, ipv6, tcp
from asyncstack.wire.checksum import pseudo_header_sum
from tests.model.adversary import Adversary
from tests.model.dialogue import Record
from tests.model.ends import STREAM, End
from tests.model.script import CLIENT, ENDS, HELD_BACK, SERVER, Script, Step
from tests.model.strays import STRAYS

PORT: Final = 80
ADDRESSES: Final = {
    4: {CLIENT: "10.0.0.1/24", SERVER: "10.0.0.2/24"},
    6: {CLIENT: "fd00::1/64", SERVER: "fd00::2/64"},
}
LEAST_MTU: Final = {4: 68, 6: 1280}
HEALED_BY: Final = 36.0  # seconds: the link is good again, before anybody gives up
HEALED_AFTER: Final = 20.0  # seconds after the last step, if that is sooner; then both ends finish
SMALLEST_BUFFER: Final = 2304
SLACK: Final = 64 << 10  # a window that was promised before memory was short
PATIENCE: Final = 1500.0  # seconds until every connection has ended
TIME_WAIT: Final = 60.0
COMMON: Final[dict[str, Any]] = {  # else half a connection, whose RST was lost, may wait for ever
    "keepalive": True,
    "keepalive_idle": 30.0,
    "keepalive_interval": 10.0,
    "time_wait": TIME_WAIT,
}


class World:
    """Two hosts, the adversary between them, an application at each end."""

    def __init__(self, script: Script, record: Record) -> None:
        self.script = script
        self.record = record
        self.ends = {name: End(name) for name in ENDS}
        self.more: list[End] = []  # connections that nobody opened
        self.stacks: dict[str, Stack] = {}
        self.devices: dict[str, LinkEnd] = {}
        self.ways: dict[str, Adversary] = {}
        self.raised: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(lambda loop, context: self.raised.append(context))

    async def play(self) -> None:
        """All of it, from an empty loop to an empty loop."""
        script = self.script
        async with Network(0) as net:
            for name, settings in ((CLIENT, script.client), (SERVER, script.server)):
                tcp_config = TcpConfig(**{**COMMON, **dict(settings)})
                config = StackConfig(tcp=tcp_config, close_timeout=0.0, memory=script.memory)
                self.stacks[name] = net.host(name, ADDRESSES[script.version][name], config=config)
            link = net.link(
                self.stacks[CLIENT], self.stacks[SERVER], mtu=max(script.mtu, LEAST_MTU[script.version])
            )
            self._occupy(link.ends)
            server = await self.stacks[SERVER].create_server(self._accept, SERVER, PORT)
            before = self._left()
            await self._talk()
            assert self.faults or self._left() == before, f"(timers, tasks) were {before}, are {self._left()}"
            server.close()
        assert not self.raised, self.raised
        assert not self.faults, self.faults

    def _occupy(self, devices: tuple[LinkEnd, LinkEnd]) -> None:
        for name, device, peer in zip(ENDS, devices, devices[::-1], strict=True):
            fates = [fate for fate in self.script.fates if fate.sender == name]

            def watch(data: bytes, fate: str, name: str = name) -> None:
                self.record.packet(self.loop.time(), name, data, fate)
                self.look()

            way = self.ways[name] = Adversary(fates, self.script.delay, peer.arrive, watch)
            self.devices[name] = device
            device.outward = way  # type: ignore[assignment]

    def _accept(self) -> End:
        end = self.ends[SERVER]
        if end.made:
            end = End(SERVER)
            self.more.append(end)
            self._finish(end)
        return end

    def _left(self) -> tuple[int, int]:
        return self.loop.timers, len(asyncio.all_tasks())  # type: ignore[attr-defined]

    async def _talk(self) -> None:
        client = self.ends[CLIENT]
        healing = self.loop.call_at(HEALED_BY, self._heal)
        connecting = asyncio.ensure_future(
            self.stacks[CLIENT].create_connection(lambda: client, SERVER, PORT)
        )
        for step in self.script.steps:
            await asyncio.sleep(step.after)
            self._do(step, connecting)
        await asyncio.sleep(HEALED_AFTER)
        healing.cancel()
        self._heal()
        await asyncio.sleep(HELD_BACK)
        self.record.step(self.loop.time(), "all", "is well again, and both ends finish")
        for end in self.ends.values():
            self._finish(end)
        await self._end(connecting)

    @staticmethod
    def _finish(end: End) -> None:
        for deed in ("resumes", "half-closes", "finishes"):
            end.do(deed)

    def _heal(self) -> None:
        for way in self.ways.values():
            way.healed = True

    def _do(self, step: Step, connecting: asyncio.Future[Any]) -> None:
        now = self.loop.time()
        if step.deed == "gets":
            self._inject(step.who, STRAYS[step.number])
            return
        self.record.step(now, step.who, step.deed + (f" {step.number} bytes" if step.number else ""))
        end = self.ends[step.who]
        if step.who == CLIENT and step.deed == "aborts" and not connecting.done():
            end.rude = end.aborted = True
            connecting.cancel()
        else:
            end.do(step.deed, step.number)
        self.look()

    def _inject(self, who: str, make: Any) -> None:
        """A segment that the peer never sent arrives."""
        endpoint = next(iter(self.stacks[who].tcp.connections.values()), None)
        if endpoint is None:
            return
        local, _, remote, _ = endpoint.key
        segment = make(endpoint.connection)
        pseudo = pseudo_header_sum(remote, local, tcp.PROTOCOL, 0)
        body = bytearray(tcp.build_partial(segment, pseudo) + segment.payload)
        checksum.complete(body, 0, CHECKSUM_OFFSET)
        build = ipv4.build if self.script.version == 4 else ipv6.build
        packet = build(remote, local, tcp.PROTOCOL, len(body)) + bytes(body)
        self.record.step(self.loop.time(), who, f"gets {make.__name__}: flags {segment.flags:#x}")
        self.devices[who].arrive([Frame(memoryview(packet))])
        self.look()

    async def _end(self, connecting: asyncio.Future[Any]) -> None:
        """Wait until all is over."""
        until = self.loop.time() + PATIENCE
        while not self._over(connecting) and not self.faults:
            assert self.loop.time() < until, self._unfinished(connecting)
            await asyncio.sleep(5.0)
        await asyncio.sleep(3 * TIME_WAIT)
        if self.faults:
            return
        for name, stack in self.stacks.items():
            assert not stack.tcp.connections, f"{name} has connections left"
            assert not len(stack.tcp._time_wait), f"{name} has connections in TIME-WAIT left"
            assert not stack.tcp.lingering, f"{name} has transports left"
            assert stack.tcp.memory.held == 0, f"{name} believes it holds {stack.tcp.memory.held} bytes"
        self._check_streams(connecting)

    def _over(self, connecting: asyncio.Future[Any]) -> bool:
        ends = [*self.ends.values(), *self.more]
        tables = [stack.tcp.connections for stack in self.stacks.values()]
        return connecting.done() and not any(tables) and all(len(end.lost) == end.made for end in ends)

    def _unfinished(self, connecting: asyncio.Future[Any]) -> str:
        lines = [f"not over after {PATIENCE:g} s; connect is {'done' if connecting.done() else 'waiting'}"]
        for name, stack in self.stacks.items():
            for endpoint in stack.tcp.connections.values():
                conn = endpoint.connection
                lines.append(f"{name}: {conn.info(self.loop.time())}, timers {conn.timers}")
        lines += [
            f"{end.name}: made {end.made}, lost {end.lost}" for end in [*self.ends.values(), *self.more]
        ]
        return "\n".join(lines)

    # properties

    def _check_streams(self, connecting: asyncio.Future[Any]) -> None:
        client, server = self.ends[CLIENT], self.ends[SERVER]
        failed = not connecting.cancelled() and connecting.exception()
        for end, other in ((client, server), (server, client), *((more, client) for more in self.more)):
            assert not end.complaints, f"{end.name}: {end.complaints}"
            sent, got = STREAM[other.name][: other.written], bytes(end.received)
            assert sent.startswith(got), f"what the {end.name} got is not what was sent: {got[-100:]!r}"
        polite = not any(
            end.aborted or (end.rude and other.written) for end, other in ((client, server), (server, client))
        )
        silent = client.rude and not client.written and not server.made
        if silent and dict(self.script.client).get("fast_open"):
            return  # the SYN waits for data, and who closes without any never sent it, as on Linux
        if not polite:
            return
        assert not failed, f"connect: {failed!r}"
        for end, other in ((client, server), (server, client)):
            if not end.rude:
                got = len(end.received)
                assert got == other.written, f"the {end.name} got {got} of {other.written} bytes"
                assert end.ended, f"the {end.name} was not told of the end"
            if not (client.rude or server.rude):
                assert end.lost == [None], f"{end.name}: an orderly close ended in {end.lost}"

    def look(self) -> None:
        """At any time: the books are right, and nothing holds more than it may. Faults are kept: whoever calls is in
        the midst of sending."""
        for name, stack in self.stacks.items():
            memory = stack.tcp.memory
            counted = waiting = 0
            # those that linger have ended, with data that their reader has not taken yet
            for endpoint in {*stack.tcp.connections.values(), *stack.tcp.lingering.values()}:
                counted += (
                    endpoint.held + endpoint.connection.receiver._counted
                )  # that lags until an ACK leaves
                waiting += self._look_at(name, endpoint.connection)
            self._expect(
                memory.held == counted,
                f"{name} believes it holds {memory.held} bytes, its connections {counted}",
            )
            most = memory.limit + SLACK
            self._expect(waiting <= most, f"{name} holds {waiting} received bytes, may hold {memory.limit}")

    def _look_at(self, name: str, conn: Connection) -> int:
        """The bytes received that `conn` holds."""
        rcv, limit = conn.receiver, conn.config.receive_buffer
        room = max(limit, SMALLEST_BUFFER) + (1 << rcv.scale)
        self._expect(rcv.unread <= room, f"{name} holds {rcv.unread} bytes unread, its buffer has {limit}")
        offer = rcv.edge - rcv.nxt
        self._expect(offer <= room, f"{name} offers {offer} bytes, its buffer has {limit}")
        if rcv.held is None:
            return rcv.unread
        ranges, most = len(rcv.held), conn.config.max_out_of_order_ranges
        self._expect(ranges <= most, f"{name} holds {ranges} ranges out of order, may hold {most}")
        return rcv.unread + rcv.held.size

    def _expect(self, true: bool, else_: str) -> None:
        if not true and not self.faults:
            self.record.step(self.loop.time(), "look:", else_)
            self.faults.append(else_)


async def _play(script: Script, record: Record) -> None:
    await World(script, record).play()
    loop = asyncio.get_running_loop()
    assert loop.timers == 0, "timers are left"  # type: ignore[attr-defined]
    assert asyncio.all_tasks() == {asyncio.current_task()}, "tasks are left"


def play(script: Script) -> Record:
    """Play `script`; what happened is returned. Whatever goes wrong is raised with the dialogue as its note."""
    record = Record()
    try:
        run(_play(script, record), seed=0, limit=10 * PATIENCE)
    except BaseException as exc:
        exc.add_note(f"{script!r}\n{record}")
        raise
    return record
