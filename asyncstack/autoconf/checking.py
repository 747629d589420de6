"""Puts `network.dad` on the loop: asks whether an IPv6 address is free before a stack uses it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from asyncstack.errors import os_error
from asyncstack.link.ethernet import EthernetLink
from asyncstack.network.addresses import Origin, format_address, is_link_local
from asyncstack.network.dad import DuplicateDetection, State
from asyncstack.network.identifiers import IDGEN_RETRIES, LINK_LOCAL_PREFIX
from asyncstack.timing import LoopTimer
from asyncstack.wire.ndp import solicited_node_multicast

if TYPE_CHECKING:
    from asyncstack.interfaces import Interfaces
    from asyncstack.link.interface import Interface

# seconds before the first packet, for hosts that begin together: RFC 4861 6.3.7, 4862 5.4.2
MAX_DELAY: Final = 1.0

Done = Callable[[OSError | None], None]


class AddressCheck:
    """One address being checked on one Ethernet interface. `begin` makes it; whoever waits for it is told the end: None
    if the address is free, else EADDRINUSE with the MAC that has it, or ENETDOWN."""

    def __init__(self, stack: Interfaces, interface: Interface, address: bytes) -> None:
        assert isinstance(interface.link, EthernetLink)
        self._stack = stack
        self._interface = interface
        self._address = address
        self._waiting: dict[Done, None] = {}
        self._detection = DuplicateDetection(
            interface.rng, transmits=stack.config.dad_transmits, retrans=interface.link.neighbors6.retrans
        )
        self._timer = LoopTimer(stack.loop, stack.clock, self._timer_expired)

    @classmethod
    def begin(
        cls, stack: Interfaces, interface: Interface, address: bytes, done: Done, delay: float = 0.0
    ) -> AddressCheck:
        """Ask after `delay` seconds, and call `done(error)` at the end; who asks for the same address as another one
        shares the answer."""
        known = stack.ndp.check_of(interface, address)
        check = known if isinstance(known, AddressCheck) else cls(stack, interface, address)
        check._waiting[done] = None
        if check is not known:
            check._start(delay)
        return check

    def _start(self, delay: float) -> None:
        group = solicited_node_multicast(self._address)
        self._stack.ndp.set_check(self._interface, self._address, self)
        self._stack.addresses.groups.join(group, self._interface, self)
        now = self._stack.clock()
        self._detection.start(now, delay)
        self._serve(now)

    def cancel(self, done: Done) -> None:
        """Let `done` not be called. Safe to call twice."""
        if self._waiting.pop(done, self) is None and not self._waiting:
            self._end()

    def _end(self) -> None:
        group = solicited_node_multicast(self._address)
        self._stack.ndp.set_check(self._interface, self._address, None)
        self._stack.addresses.groups.leave(group, self._interface, self)
        self._timer.end()

    # what neighbour discovery hears

    def receive_solicitation(self, nonce: bytes) -> None:
        """Somebody without an address asked for it."""
        before = self._detection.looped
        self._detection.receive_solicitation(nonce)
        self._interface.counters["ndp.looped_back"] += self._detection.looped - before
        self._serve(self._stack.clock())

    def receive_advertisement(self, mac: bytes) -> None:
        """Somebody has it."""
        self._detection.receive_advertisement(mac)
        self._serve(self._stack.clock())

    def interface_down(self) -> None:
        """Nobody will say any more."""
        self._tell(_went_down(self._interface, self._address))

    def _timer_expired(self, now: float) -> None:
        self._detection.timer_expired(now)
        self._serve(now)

    def _serve(self, now: float) -> None:
        detection = self._detection
        for nonce in detection.solicitations_to_send(now):
            self._stack.ndp.ask_whether_free(self._interface, self._address, nonce)
        self._timer.arm(detection.deadline)
        if detection.state in (State.UNIQUE, State.DUPLICATE):
            self._tell(None if detection.state is State.UNIQUE else self._in_use())

    def _tell(self, error: OSError | None) -> None:
        self._end()
        waiting, self._waiting = self._waiting, {}
        for done in waiting:
            done(error)

    def _in_use(self) -> OSError:
        where = f"{format_address(self._address)} on {self._interface.name}"
        owner = self._detection.owner.hex(":")
        if not owner:
            return os_error(errno.EADDRINUSE, f"{where}: somebody else is about to take it")
        return os_error(errno.EADDRINUSE, f"{where}: {owner} has it")


async def check(stack: Interfaces, interface: Interface, address: bytes, delay: float = 0.0) -> None:
    """Return once `address` (16 bytes) is known to be free on `interface`, an Ethernet one; at once if
    `StackConfig.dad_transmits` is 0. It is asked for after `delay` seconds.

    Raises OSError: EADDRINUSE with the MAC that has it, ENETDOWN.
    """
    if not interface.up:
        raise _went_down(interface, address)
    if not stack.config.dad_transmits:
        return
    verdict: asyncio.Future[OSError | None] = stack.loop.create_future()

    def done(error: OSError | None) -> None:
        if not verdict.done():
            verdict.set_result(error)

    running = AddressCheck.begin(stack, interface, address, done, delay)
    try:
        error = await verdict
    finally:
        running.cancel(done)
    if error is not None:
        raise error


def _went_down(interface: Interface, address: bytes) -> OSError:
    text = f"{interface.name} went down, and {format_address(address)} was not checked"
    return os_error(errno.ENETDOWN, text)


async def have_link_local(stack: Interfaces, interface: Interface, delay: float = 0.0) -> bytes:
    """The link-local address of `interface`, an Ethernet one; made and checked if there is none (RFC 4862 5.3).

    Raises OSError: EADDRINUSE if others have all that are tried, ENETDOWN.
    """
    counter = 0
    while not (found := _link_local_of(stack, interface)):
        address = stack.own_address(interface, LINK_LOCAL_PREFIX, counter)
        try:
            await check(stack, interface, address, delay)
        except OSError as exc:
            counter += 1
            if counter >= IDGEN_RETRIES or exc.errno != errno.EADDRINUSE:
                raise
            continue
        if not _link_local_of(stack, interface):  # whoever shared the answer may have been faster
            stack.add_address(interface, address, 64, origin=Origin.LINK_LOCAL, announce=False)
    return found


def _link_local_of(stack: Interfaces, interface: Interface) -> bytes:
    addresses = (entry.address for entry in stack.addresses.of(interface, 16))
    return next((address for address in addresses if is_link_local(address)), b"")
