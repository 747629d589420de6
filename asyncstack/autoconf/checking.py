"""Puts `network.dad` on the loop: asks whether an IPv6 address is free before a stack uses it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from asyncstack.errors import os_error
from asyncstack.link.ethernet import EthernetLink
from asyncstack.network.addresses import format_address
from asyncstack.network.dad import DuplicateDetection, State
from asyncstack.timing import LoopTimer
from asyncstack.wire.ndp import solicited_node_multicast

if TYPE_CHECKING:
    from asyncstack.interfaces import Interfaces
    from asyncstack.link.interface import Interface

Done = Callable[[OSError | None], None]


class AddressCheck:
    """One address being checked on one Ethernet interface, from `start` until `done(error)`, or `cancel`.

    `error` is None if the address is free, else EADDRINUSE with the MAC that has it.
    """

    def __init__(self, stack: Interfaces, interface: Interface, address: bytes, done: Done) -> None:
        self._stack = stack
        self._interface = interface
        self._address = address
        self._done = done
        assert isinstance(interface.link, EthernetLink)
        self._detection = DuplicateDetection(
            interface.rng, transmits=stack.config.dad_transmits, retrans=interface.link.neighbors6.retrans
        )
        self._timer = LoopTimer(stack.loop, stack.clock, self._timer_expired)

    def start(self, delay: float = 0.0) -> None:
        """Ask, after `delay` seconds. Raises OSError EALREADY if the address is being checked."""
        self._stack.ndp.begin_check(self._interface, self._address, self)
        group = solicited_node_multicast(self._address)
        self._stack.addresses.groups.join(group, self._interface, self)
        now = self._stack.clock()
        self._detection.start(now, delay)
        self._serve(now)

    def cancel(self) -> None:
        """Leave it open. Safe to call twice."""
        if self._stack.ndp.end_check(self._interface, self._address, self):
            group = solicited_node_multicast(self._address)
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

    def _timer_expired(self, now: float) -> None:
        self._detection.timer_expired(now)
        self._serve(now)

    def _serve(self, now: float) -> None:
        detection = self._detection
        for nonce in detection.solicitations_to_send(now):
            self._stack.ndp.ask_whether_free(self._interface, self._address, nonce)
        self._timer.arm(detection.deadline)
        if detection.state in (State.UNIQUE, State.DUPLICATE):
            self.cancel()
            self._done(None if detection.state is State.UNIQUE else self._in_use())

    def _in_use(self) -> OSError:
        where = f"{format_address(self._address)} on {self._interface.name}"
        owner = self._detection.owner.hex(":")
        if not owner:
            return os_error(errno.EADDRINUSE, f"{where}: somebody else is about to take it")
        return os_error(errno.EADDRINUSE, f"{where}: {owner} has it")


async def check(stack: Interfaces, interface: Interface, address: bytes, delay: float = 0.0) -> None:
    """Return once `address` (16 bytes) is known to be free on `interface`, an Ethernet one; at once if
    `StackConfig.dad_transmits` is 0. It is asked for after `delay` seconds.

    Raises OSError: EADDRINUSE with the MAC that has it, EALREADY, ENETDOWN.
    """
    if not stack.config.dad_transmits:
        return
    verdict: asyncio.Future[OSError | None] = stack.loop.create_future()

    def done(error: OSError | None) -> None:
        if not verdict.done():
            verdict.set_result(error)

    one = AddressCheck(stack, interface, address, done)
    one.start(delay)
    try:
        error = await verdict
    finally:
        one.cancel()
    if error is not None:
        raise error
    if not interface.up:
        raise os_error(
            errno.ENETDOWN, f"{interface.name} went down while {format_address(address)} was checked"
        )
