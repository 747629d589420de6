"""The DHCP server of an interface: it puts what `ServerMachine` decides on the wire and on the disk."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Final

from asyncstack.application.dhcp.answering import LARGEST, Reply
from asyncstack.application.dhcp.bindings import Binding, Event, Phase
from asyncstack.application.dhcp.keeping import Keeping
from asyncstack.application.dhcp.neighbor import is_used
from asyncstack.application.dhcp.pool import Pool, check_apart
from asyncstack.application.dhcp.serving import ServerMachine
from asyncstack.errors import WireError, os_error
from asyncstack.link.interface import check_interface
from asyncstack.timing import LoopTimer
from asyncstack.transport.udp.interface_port import InterfacePort
from asyncstack.wire import dhcp
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.application.dhcp.host import Host
    from asyncstack.link.interface import Interface

CHECK_SECONDS: Final = 0.5
EVENTS_LIMIT: Final = 4096


class DhcpServer:
    """Leases addresses of `pool`, or several, to the hosts on `interface` and behind relay agents (RFC 2131), for
    `async with`.

    leases: a file that keeps them over a restart, or a crash. check: seconds for which an address is looked for on the
    network before it is offered, 0: not at all. authoritative: there is no other server on this network, so that hosts
    it does not know are put right at once. relays_only: all pools are for networks behind relay agents, none for the
    link itself. per_second: messages taken on average. wall_clock: seconds since 1970, for the file.

    Raises OSError EOPNOTSUPP if there is no Ethernet, ValueError for pools that overlap; at `async with` EADDRNOTAVAIL
    if the interface has no IPv4 address, ValueError if none is in a pool's network, EADDRINUSE if there is a server
    already, EBUSY if another one keeps its leases in the file, ValueError for a file of something else, and what else
    opening it does. A file that is damaged in part is kept beside as FILE.damaged, and the log ("asyncstack.dhcp") says
    so.
    """

    def __init__(
        self,
        stack: Host,
        interface: Interface,
        pool: Pool | Iterable[Pool],
        *,
        leases: str | os.PathLike[str] | None = None,
        check: float = CHECK_SECONDS,
        authoritative: bool = False,
        relays_only: bool = False,
        per_second: float = 500.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        check_interface(interface)
        if not interface.device.ethernet:
            raise os_error(errno.EOPNOTSUPP, f"DHCP on {interface.name}, which is no Ethernet")
        self.interface = interface
        self.pools = [pool] if isinstance(pool, Pool) else list(pool)
        check_apart(self.pools)
        self._stack = stack
        self._leases = leases
        self._check_seconds = check
        self._authoritative = authoritative
        self._relays_only = relays_only
        self._per_second = per_second
        self._wall_clock = wall_clock
        self._machine: ServerMachine | None = None
        self._port: InterfacePort | None = None
        self._keeping: Keeping | None = None
        self._timer = LoopTimer(stack.loop, stack.clock, self._expired, background=True)
        self._checking: set[asyncio.Task[None]] = set()
        self._waiting: deque[Event] = deque(maxlen=EVENTS_LIMIT)
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<DhcpServer {self.interface.name} {len(self.bindings)} leases>"

    # what the owner wants

    async def __aenter__(self) -> DhcpServer:
        machine = ServerMachine(
            self._own_address(),
            self.pools,
            self.interface.rng,
            self._stack.counters,
            check=self._check_seconds > 0,
            authoritative=self._authoritative,
            per_second=self._per_second,
            largest=min(LARGEST, self.interface.mtu),
        )
        self._port = InterfacePort(
            self._stack.udp, self.interface, dhcp.SERVER_PORT, self._received, self._down
        )
        try:
            if self._leases is not None:
                await self._restore(machine, self._leases)
        except BaseException:
            self._down(None)
            raise
        self._machine = machine  # who asked before has got no answer that the file would not have allowed
        self._serve()
        return self

    def _own_address(self) -> bytes:
        """The one to serve from: hosts on the link get addresses of the pool that it is in."""
        own = self._stack.addresses.of(self.interface, 4)
        if not own:
            raise os_error(errno.EADDRNOTAVAIL, f"{self.interface.name} has no IPv4 address to serve from")
        fitting = [entry for entry in own if any(entry.address in pool for pool in self.pools)]
        if not fitting and not self._relays_only:
            networks = ", ".join(pool.network for pool in self.pools)
            raise ValueError(
                f"no pool ({networks}) is for a network of {self.interface.name} ({', '.join(map(str, own))}): "
                "give one for it, or the interface an address there; or relays_only=True"
            )
        return (fitting or own)[0].address

    async def _restore(self, machine: ServerMachine, path: str | os.PathLike[str]) -> None:
        from asyncstack.application.dhcp.lease_file import LeaseFile  # most servers have none

        ahead = self._wall_clock() - self._stack.clock()
        file = LeaseFile(path, lambda at: at + ahead, lambda at: at - ahead)
        for binding in await file.open():
            machine.restore(binding)
        self._stack.counters["dhcp.lease_file_damaged"] += file.damaged
        self._keeping = Keeping(file, machine.bindings, self._send, self._disk_failed)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._down(None)
        if self._keeping is not None:
            keeping, self._keeping = self._keeping, None
            await keeping.close()

    def _down(self, error: OSError | None) -> None:
        """Answer nobody any more."""
        if self._port is not None:
            self._port.close()
            self._port = None
        self._timer.cancel()
        for task in self._checking:
            task.cancel()
        self._changed.set()

    @property
    def bindings(self) -> list[Binding]:
        """The leases of now."""
        if self._machine is None:
            return []
        return [one for one in self._machine.bindings.by_address.values() if one.phase is Phase.BOUND]

    def __aiter__(self) -> DhcpServer:
        return self

    async def __anext__(self) -> Event:
        """What happens to leases, those from the file first: `async for event in server`. The oldest are dropped if
        nobody reads; it ends with the server."""
        while not self._waiting:
            if self._port is None:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()

    # what happens

    def _received(self, data: bytes, packet: Packet) -> None:
        try:
            message = dhcp.parse(memoryview(data))
        except WireError:
            self._stack.counters["dhcp.malformed"] += 1
            return
        if self._machine is not None:
            self._machine.receive_message(message, self._stack.clock())
            self._serve()

    def _expired(self, now: float) -> None:
        if self._machine is not None:
            self._machine.timer_expired(now)
            self._serve()

    def _serve(self) -> None:
        """Do what the machine wants done."""
        machine = self._machine
        if machine is None or self._port is None:
            return
        for address in machine.checks():
            task = self._stack.loop.create_task(self._check(machine, address))
            self._checking.add(task)
            task.add_done_callback(self._checking.discard)
        for binding in machine.changed():
            if self._keeping is not None:
                self._keeping.keep(binding, None)
        for reply in machine.replies_to_send():
            if reply.binding is None or self._keeping is None:
                self._send(reply)
            elif not self._keeping.keep(reply.binding, reply):
                self._stack.counters["dhcp.disk_queue_full"] += 1
        if events := machine.events():
            self._waiting.extend(events)
            self._changed.set()
        self._timer.arm(machine.deadline)

    async def _check(self, machine: ServerMachine, address: bytes) -> None:
        try:
            used = await is_used(self._stack, self.interface, address, self._check_seconds)
        except RuntimeError:
            return  # the stack is being closed, and asks nobody any more
        machine.checked(address, not used, self._stack.clock())
        self._serve()

    def _send(self, reply: Reply) -> None:
        if self._port is None or self._machine is None:
            return
        try:
            self._port.send(reply.data, reply.port, self._machine.own, reply.address, reply.mac)
        except OSError:
            self._stack.counters["dhcp.unsent"] += 1

    def _disk_failed(self, error: OSError) -> None:
        self._stack.counters["dhcp.lease_file_failed"] += 1
        what = f"the DHCP server on {self.interface.name} can not keep leases in {self._leases}"
        self._stack.loop.call_exception_handler({"message": what, "exception": error})
