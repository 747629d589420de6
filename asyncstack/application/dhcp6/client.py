"""`Dhcp6Client`: an interface gets addresses, or only nameservers, by DHCPv6 (RFC 8415)."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Any, Final

from asyncstack.application.dhcp6.duid import make_duid
from asyncstack.application.dhcp6.lease import Bound, Event, Lost
from asyncstack.application.dhcp6.machine import Dhcp6Machine
from asyncstack.application.dhcp6.states import State
from asyncstack.application.host import Host
from asyncstack.errors import os_error
from asyncstack.events import AddressAdded, AddressRemoved, InterfaceDown
from asyncstack.events import Event as StackEvent
from asyncstack.link.interface import Interface
from asyncstack.network.addresses import InterfaceAddress, Origin, format_address, is_link_local
from asyncstack.timing import LoopTimer
from asyncstack.wire.dhcp6 import ALL_AGENTS, CLIENT_PORT, SERVER_PORT

START_TIMEOUT: Final = 30.0
RELEASE_TIMEOUT: Final = 2.0  # for the answer to a Release, which no server has to give


class Dhcp6Client:
    """A DHCPv6 client on one interface: a source of addresses, see `asyncstack.sources`.

    stateful: with addresses; False: only the nameservers and the search list. duid: what the client calls itself; made
    of the interface's MAC if not given. timeout: seconds that `start` waits.

    Raises OSError EOPNOTSUPP if there is no Ethernet.
    """

    def __init__(
        self,
        stack: Host,
        interface: Interface,
        *,
        stateful: bool = True,
        rapid_commit: bool = True,
        duid: bytes = b"",
        timeout: float = START_TIMEOUT,
    ) -> None:
        if not interface.device.ethernet:
            raise os_error(errno.EOPNOTSUPP, f"DHCPv6 on {interface.name}, which is no Ethernet")
        self.machine = Dhcp6Machine(
            duid or make_duid(bytes(interface.device.address), interface.rng),
            interface.index,
            rng=interface.rng,
            counters=stack.counters,
            stateful=stateful,
            rapid_commit=rapid_commit,
        )
        self._stack = stack
        self._interface = interface
        self._stateful = stateful
        self._timeout = timeout
        self._timer = LoopTimer(stack.loop, stack.clock, self._timer_expired, background=True)
        self._local = b""  # the link-local address that it speaks from
        self._transport: asyncio.DatagramTransport | None = None
        self._entries: dict[bytes, InterfaceAddress] = {}  # what it has given to the interface
        self._checking: set[bytes] = set()  # addresses that may be taken
        self._tasks: set[asyncio.Task[None]] = set()
        self._usable: asyncio.Future[None] | None = None
        self._released: asyncio.Future[None] | None = None
        self._unsubscribe: Callable[[], None] = _nothing
        self._trouble = ""

    def __repr__(self) -> str:
        return f"<Dhcp6Client {self._interface.name} {self.machine.state.value}>"

    # the source

    async def start(self) -> None:
        """Return when there is an address that was checked; without addresses, when the server has told. After an error
        it goes on trying, until `stop`.

        Raises TimeoutError that says what was missing, OSError ENETDOWN if the interface went meanwhile.
        """
        stack = self._stack
        if self._usable is None:
            self._usable = stack.loop.create_future()
            self._unsubscribe = stack.subscribe(self._hear)
            self._speak_from(self._link_local())
        usable = self._usable
        try:
            async with asyncio.timeout(self._timeout):
                await stack.have_link_local(self._interface)
                await asyncio.shield(usable)
        except TimeoutError:
            raise TimeoutError(self._what_is_missing()) from None

    async def stop(self) -> None:
        """Give the addresses back, to the stack at once, and tell the server (RFC 8415 18.2.7)."""
        if self._usable is None or self._released is not None:
            return
        self._released = self._stack.loop.create_future()
        try:
            for task in self._tasks:
                task.cancel()
            self.machine.release(self._stack.clock())
            self._serve()
            async with asyncio.timeout(RELEASE_TIMEOUT):
                await self._released
        except TimeoutError:
            pass
        finally:
            self._end(os_error(errno.ECANCELED, "the DHCPv6 client was stopped"))

    def link_down(self) -> None:
        """The link is cut. What it has stays valid until its time is up."""

    def link_up(self) -> None:
        """The link is there again, perhaps another one: ask whether the addresses fit it."""
        self.machine.link_up(self._stack.clock())
        self._serve()

    def _what_is_missing(self) -> str:
        name = self._interface.name
        if not self._local:
            why = "it has no link-local address to ask from"
        else:
            why = self._trouble or self.machine.why
        return f"no {'address' if self._stateful else 'answer'} by DHCPv6 on {name} within {self._timeout:g} s: {why}"

    def _end(self, error: OSError) -> None:
        """Take back all that is left."""
        self._unsubscribe()
        self._timer.end()
        for task in self._tasks:
            task.cancel()
        for address in list(self._entries):
            self._remove(address, None)
        self._stack.forget_nameservers(self)
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        if self._usable is not None and not self._usable.done():
            self._usable.set_exception(error)
            self._usable.exception()  # nobody needs to have waited

    # what happens on the interface

    def _hear(self, event: StackEvent) -> None:
        if isinstance(event, InterfaceDown) and event.interface is self._interface:
            self._entries.clear()
            why = event.error or os_error(errno.ENETDOWN, f"interface {self._interface.name} was removed")
            self._end(why)
        elif isinstance(event, AddressAdded):
            if not self._local and event.address.interface is self._interface:
                self._speak_from(self._link_local())
        elif isinstance(event, AddressRemoved):
            address = event.address.address
            if self._entries.get(address) is event.address:  # not by us
                del self._entries[address]
                self._address_gone(address, event.error)
            elif address == self._local:
                self._speak_from(self._link_local())

    def _address_gone(self, address: bytes, error: OSError | None) -> None:
        """Another host has it (RFC 4862 5.4), or somebody here wants it no more."""
        if error is not None and error.errno == errno.EADDRINUSE:
            self._refuse(address, str(error))
        else:
            self.machine.release(self._stack.clock())
            self._stack.forget_nameservers(self)
            self._serve()

    def _link_local(self) -> bytes:
        for entry in self._stack.addresses.of(self._interface, 16):
            if is_link_local(entry.address):
                return entry.address
        return b""

    def _speak_from(self, local: bytes) -> None:
        """Send from `local`, a link-local address, once there is one (RFC 8415 13.1)."""
        self._local = local
        if local:
            self._spawn(self._open(local))

    async def _open(self, local: bytes) -> None:
        if self._transport is not None:
            self._transport.abort()
        address = (format_address(local), CLIENT_PORT)
        try:
            transport, _ = await self._stack.create_datagram_endpoint(lambda: _Receiver(self), address)
        except OSError as exc:
            self._trouble = str(exc)
            return
        self._transport = transport
        if self.machine.state is State.IDLE:
            self.machine.start(self._stack.clock())
        self._serve()

    def _spawn(self, coroutine: Any) -> None:
        task = self._stack.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # what the machine wants

    def receive(self, data: bytes) -> None:
        """A datagram to the client's port."""
        self.machine.receive_message(data, self._stack.clock())
        self._serve()

    def _timer_expired(self, now: float) -> None:
        self.machine.timer_expired(now)
        self._serve()

    def _serve(self) -> None:
        machine, transport = self.machine, self._transport
        for data in machine.messages_to_send(self._stack.clock()):
            if transport is not None:
                transport.sendto(data, (_AGENTS, SERVER_PORT, 0, self._interface.index))
        for event in machine.events():
            self._settle(event)
        if self._released is not None and machine.state is State.IDLE and not self._released.done():
            self._released.set_result(None)
        if machine.state is State.INFORMED:
            self._set_usable()
        self._timer.arm(machine.deadline)

    def _settle(self, event: Event) -> None:
        if isinstance(event, Bound):
            for one in event.addresses:
                entry = self._entries.get(one.address)
                if entry is not None:
                    self._stack.addresses.prefer(entry, one.preferred_until)
                elif one.address not in self._checking:
                    self._checking.add(one.address)
                    self._spawn(self._take(one.address))
        elif isinstance(event, Lost):
            for address in event.addresses:
                self._remove(address, event.why)
        else:
            self._stack.learn_nameservers(self, event.nameservers, event.search, self._interface)

    async def _take(self, address: bytes) -> None:
        """Use `address`, if nobody else on the link does."""
        interface = self._interface
        try:
            await self._stack.check_address(interface, address)
            now = self.machine.lease.addresses.get(address)
            if now is None:
                return  # the server has thought otherwise meanwhile
            self._entries[address] = self._stack.add_address(
                interface,
                address,
                128,
                origin=Origin.DHCP6,
                preferred_until=now.preferred_until,
                on_link=False,
            )
        except OSError as exc:
            self._refuse(address, str(exc))
        else:
            self._set_usable()
        finally:
            self._checking.discard(address)

    def _refuse(self, address: bytes, why: str) -> None:
        self._trouble = f"{format_address(address)} was given, but {why}"
        self._stack.counters["dhcp6.declined"] += 1
        self.machine.decline(address, self._stack.clock())
        self._serve()

    def _remove(self, address: bytes, why: str | None) -> None:
        if self._entries.pop(address, None) is not None:
            name = format_address(address)
            error = os_error(errno.EADDRNOTAVAIL, f"{name}: {why}") if why else None
            self._stack.remove_address(address, error)

    def _set_usable(self) -> None:
        if self._usable is not None and not self._usable.done():
            self._usable.set_result(None)


class _Receiver(asyncio.DatagramProtocol):
    """Passes datagrams on."""

    def __init__(self, client: Dhcp6Client) -> None:
        self._client = client

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._client.receive(data)


def _nothing() -> None:
    pass


_AGENTS: Final = format_address(ALL_AGENTS)
