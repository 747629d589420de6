"""The DHCP client of an interface: it puts what `ClientMachine` decides on the wire and into the stack."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from asyncstack.application.dhcp.asking import Asking, client_id_of
from asyncstack.application.dhcp.installing import Installed
from asyncstack.application.dhcp.lease import Lease, Parameters
from asyncstack.application.dhcp.machine import ClientMachine
from asyncstack.application.dhcp.neighbor import resolved
from asyncstack.application.dhcp.outcomes import Bound, Check, Event, Informed, Lost
from asyncstack.application.dhcp.retry import FIRST_RETRY
from asyncstack.application.dhcp.states import State
from asyncstack.errors import WireError, os_error
from asyncstack.events import AddressRemoved
from asyncstack.network.addresses import Origin, format_address, parse_address
from asyncstack.timing import LoopTimer
from asyncstack.transport.udp.interface_port import InterfacePort
from asyncstack.wire import dhcp
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack import events
    from asyncstack.application.dhcp.host import Host
    from asyncstack.link.interface import Interface

START_SECONDS: Final = 30.0
RELEASE_SECONDS: Final = 1.0  # for a RELEASE to find its server


class Dhcp4Client:
    """Keeps an IPv4 address on `interface`, and the routes, MTU and nameservers that belong to it (RFC 2131).

    hostname: told to the server; None: the stack's name. client_id: what servers know this client by; None: of the MAC
    (RFC 4361). request: an address to ask for first, as after a restart. timeout: seconds that `start` waits.
    first_retry: seconds until the first question is repeated. release: whether `stop` gives the address back.

    The first question goes out at once. RFC 2131 4.4.1 would have a client wait 1 to 10 seconds for its turn, after a
    power cut; as most clients do, this one leaves that out: somebody waits, and repetitions are spread at random.

    Nor is an offered address looked for by ARP before it is used, which 4.4.1 recommends: that costs at least 2 s, and
    servers look before they offer (2.2). With `StackConfig.ipv4_conflict_probes` it is, and declined if somebody has
    it; without, when the other host is heard of.

    `lease` is what it holds. It goes on without end: an address whose time runs out, or that a server takes away, is
    removed from the stack with an error that says so, and another one asked for.

    Raises OSError EOPNOTSUPP if there is no Ethernet, ValueError for a `client_id`, `request` or `first_retry` that can
    not be.
    """

    def __init__(
        self,
        stack: Host,
        interface: Interface,
        *,
        hostname: str | None = None,
        client_id: bytes | None = None,
        request: str | bytes | None = None,
        timeout: float = START_SECONDS,
        first_retry: float = FIRST_RETRY,
        release: bool = True,
    ) -> None:
        if not interface.device.ethernet:
            raise os_error(errno.EOPNOTSUPP, f"DHCP on {interface.name}, which is no Ethernet")
        if client_id is not None and not 2 <= len(client_id) <= 255:
            raise ValueError(f"client_id of {len(client_id)} bytes: give 2 to 255")
        name = stack.name if hostname is None else hostname
        if first_retry <= 0:
            raise ValueError(f"first_retry={first_retry}: give seconds, more than 0")
        mac = interface.device.address
        known = b"" if request is None else parse_address(request)
        if len(known) not in (0, 4):
            raise ValueError(f"request={request!r} is no IPv4 address")
        asking = Asking(mac, client_id or client_id_of(mac), _as_hostname(name), min(interface.mtu, 65535))
        self.interface = interface
        self.timeout = timeout
        self._stack = stack
        self._release = release
        self._machine = ClientMachine(asking, interface.rng, known=known, first_retry=first_retry)
        self._installed = Installed(stack, interface, self)
        # nobody waits for a renewal: in virtual time it alone does not keep the clock going
        self._timer = LoopTimer(stack.loop, stack.clock, self._expired, background=True)
        self._port: InterfacePort | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._checking: asyncio.Task[None] | None = None
        self._waiting: asyncio.Future[Parameters] | None = None
        self._trouble = ""  # the last one

    def __repr__(self) -> str:
        return f"<Dhcp4Client {self.interface.name} {self.state.name} {self.lease or ''}>"

    @property
    def state(self) -> State:
        """Where it is in RFC 2131's figure 5."""
        return self._machine.state

    @property
    def lease(self) -> Lease | None:
        """The address that it holds, and until when."""
        return self._machine.lease

    # what the owner wants

    async def start(self) -> None:
        """Return when there is an address. Raises TimeoutError after `timeout` seconds without one (and goes on trying
        until `stop`); OSError EADDRINUSE if there is a client already, ENETDOWN if the interface is gone, or goes."""
        self._open()
        self._machine.start(self._stack.clock())
        self._serve()
        await self._wait()

    async def inform(self) -> Parameters:
        """What a server says about the network of the first IPv4 address of the interface, which is not DHCP's
        (RFC 2131 3.4). The stack learns the nameservers, until `stop`. Raises as `start`, and OSError EADDRNOTAVAIL."""
        own = self._stack.addresses.of(self.interface, 4)
        if not own:
            raise os_error(errno.EADDRNOTAVAIL, f"{self.interface.name} has no IPv4 address to ask about")
        self._open()
        self._machine.inform(own[0].address, self._stack.clock())
        self._serve()
        try:
            return await self._wait()
        finally:
            self._machine.stop(self._stack.clock(), release=False)
            self._close()

    async def stop(self) -> None:
        """Give the address back to the server, and what belongs to it to the stack. Safe to call twice."""
        lease = self.lease
        try:
            if self._port is not None and lease is not None and self._release:
                await resolved(self._stack, self.interface, lease.server, lease.address, RELEASE_SECONDS)
        finally:
            self._machine.stop(self._stack.clock(), release=self._release)
            self._serve()
            self._close()
            self._installed.remove(None)

    def link_down(self) -> None:
        """The link is cut: the lease stays valid until its time is up."""

    def link_up(self) -> None:
        """The link is there again, perhaps another one: ask whether the lease is good there."""
        self._end_check()  # it was of the link before
        self._machine.link_up(self._stack.clock())
        self._serve()

    # its life

    def _open(self) -> None:
        if self._port is not None:
            raise RuntimeError(f"{self!r} runs already")
        if not self.interface.up:
            raise os_error(errno.ENETDOWN, f"{self.interface.name} is down: no DHCP there")
        self._port = InterfacePort(
            self._stack.udp, self.interface, dhcp.CLIENT_PORT, self._received, self._down
        )
        self._unsubscribe = self._stack.subscribe(self._told)
        self._waiting = self._stack.loop.create_future()

    def _close(self) -> None:
        self._timer.cancel()
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        if self._port is not None:
            self._port.close()
            self._port = None
        self._end_check()
        self._fail(os_error(errno.ECANCELED, f"the DHCP client of {self.interface.name} was stopped"))

    def _end_check(self) -> None:
        if self._checking is not None:
            self._checking.cancel()
            self._checking = None

    def _fail(self, error: OSError) -> None:
        """Tell who waits for an address, if anybody does."""
        waiting = self._waiting
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)
            waiting.exception()  # nobody has to be waiting

    async def _wait(self) -> Parameters:
        assert self._waiting is not None
        try:
            async with asyncio.timeout(self.timeout):
                return await asyncio.shield(self._waiting)
        except TimeoutError:
            if self._waiting.done():
                raise
            raise TimeoutError(self._why_none()) from None

    def _why_none(self) -> str:
        what = "parameters" if self.state is State.INFORMING else "address"
        where = f"no {what} by DHCP on {self.interface.name} within {self.timeout:g} s"
        if self._trouble:
            return f"{where}: {self._trouble}"
        if self.state is State.CHECKING:
            return f"{where}: still looking whether another host uses the one that was offered"
        asked = self._machine.asked
        return f"{where}: no server answered (asked {'once' if asked == 1 else f'{asked} times'})"

    def _down(self, error: OSError) -> None:
        """The interface is gone."""
        self._fail(error)
        self._machine.stop(self._stack.clock(), release=False)
        self._machine.events()
        self._close()
        self._installed.remove(None)

    def _told(self, event: events.Event) -> None:
        """The address may have been taken away by somebody else: because of a conflict, or on purpose."""
        if not isinstance(event, AddressRemoved) or not self._installed.is_lost(event.address):
            return
        if event.error is not None and event.error.errno == errno.EADDRINUSE:
            self._machine.taken(self._stack.clock())
            self._serve()
        else:
            self._machine.stop(self._stack.clock(), release=False)
            self._serve()
            self._close()

    # what happens

    def _received(self, data: bytes, packet: Packet) -> None:
        try:
            message = dhcp.parse(memoryview(data))
        except WireError:
            self._stack.counters["dhcp.malformed"] += 1
            return
        self._machine.receive_message(message, self._stack.clock())
        self._serve()

    def _expired(self, now: float) -> None:
        self._machine.timer_expired(now)
        self._serve()

    def _serve(self) -> None:
        """Do what the machine wants done."""
        for outgoing in self._machine.messages_to_send():  # the last one from an address goes before it
            self._send(dhcp.build(outgoing.message), outgoing.source, outgoing.destination)
        for event in self._machine.events():
            self._settle(event)
        self._timer.arm(self._machine.deadline)

    def _send(self, data: bytes, source: bytes, destination: bytes) -> None:
        try:
            if self._port is not None:
                self._port.send(data, dhcp.SERVER_PORT, source, destination)
        except OSError:
            self._stack.counters["dhcp.unsent"] += 1  # the machine asks again

    def _settle(self, event: Event) -> None:
        match event:
            case Check(lease):
                self._checking = self._stack.loop.create_task(self._check(lease))
            case Bound(lease):
                self._installed.update(lease.parameters)
                self._tell(lease.parameters)
            case Lost(_, reason):
                self._trouble = reason
                self._installed.remove(os_error(errno.EADDRNOTAVAIL, reason))
            case Informed(parameters):
                if parameters is not None:
                    self._installed.learn(parameters)
                    self._tell(parameters)

    def _tell(self, parameters: Parameters) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(parameters)

    async def _check(self, lease: Lease) -> None:
        """Look whether another host has the address, and if not take it."""
        free = True
        try:
            await self._stack.check_address(self.interface, lease.address)
            if self._installed.has(lease.address):
                self._installed.announce()
            else:
                self._installed.take(lease, Origin.DHCP4)
        except (OSError, ValueError) as exc:
            free = False
            self._trouble = f"{format_address(lease.address)} was offered: {exc}"
        self._checking = None
        self._machine.checked(free, self._stack.clock())
        self._serve()


def _as_hostname(name: str) -> str:
    """`name`, if it can be sent: letters, digits, hyphens, and dots."""
    plain = name.isascii() and name.replace("-", "").replace(".", "").isalnum()
    return name if plain and len(name) <= 63 else ""
