"""`Slaac`: an interface is configured by what the routers on its link advertise (RFC 4861 6.3, RFC 4862, RFC 8106).

The decisions are made by machines without a clock, one for each thing that is learned: `network.routers`, `prefixes`,
`slaac` (the addresses), `rdnss`, and `solicitor` for the questions. This puts them on the loop and does what they say:
addresses, routes, nameservers. All of them share a timer, which runs only while something has a time to end.

After the link was away it may be another network's. Prefixes tell (RFC 6059): if the first router to answer advertises
none of those that are known, the other routers, what they said, and their prefixes are forgotten. Addresses stay, for
their connections, but no new ones are made from them while there are others. Should the first router just have been
a new one, the next advertisement of an old one brings all of that back.
"""

from __future__ import annotations

import asyncio
import errno
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from asyncstack.autoconf.advertised_routes import AdvertisedRoutes
from asyncstack.autoconf.checking import MAX_DELAY, AddressCheck, Done, have_link_local
from asyncstack.autoconf.parameters import apply_parameters, reset_parameters
from asyncstack.errors import os_error
from asyncstack.events import AddressRemoved, Event
from asyncstack.network.addresses import InterfaceAddress, Origin, format_address, is_link_local
from asyncstack.network.prefixes import OnLinkPrefixes, network_of
from asyncstack.network.rdnss import AdvertisedDns
from asyncstack.network.routers import Routers
from asyncstack.network.slaac import AutoAddress, AutoAddresses, Change, State, TemporaryLifetimes
from asyncstack.network.solicitor import RouterSolicitor
from asyncstack.timing import LoopTimer
from asyncstack.wire.ndp import RouterAdvertisement

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface
    from asyncstack.stack import Stack

START_SECONDS: Final = 12.0  # three solicitations

_OURS: Final = (Origin.SLAAC, Origin.TEMPORARY)


class Slaac:
    """A source of addresses (`asyncstack.sources`) for one Ethernet interface: the word "slaac".

    timeout: seconds that `start` waits. It goes on without end: what routers say later is believed too.
    """

    def __init__(self, stack: Stack, interface: Interface, *, timeout: float = START_SECONDS) -> None:
        if not interface.device.ethernet:
            raise os_error(errno.EOPNOTSUPP, f"SLAAC on {interface.name}, which is no Ethernet")
        self._stack = stack
        self._interface = interface
        self._timeout = timeout
        rng, counters, config = interface.rng, interface.counters, stack.config
        self._forget_network()
        self._solicitor = RouterSolicitor(rng)
        lives = TemporaryLifetimes() if config.temporary_addresses else None
        self._addresses = AutoAddresses(
            lambda prefix, counter: stack.own_address(interface, prefix, counter), rng, counters, lives
        )
        self._routes = AdvertisedRoutes(stack.routes, interface)
        self._checks: dict[Done, AddressCheck] = {}
        self._usable: asyncio.Future[None] | None = None  # while `start` waits
        self._beginning: asyncio.Task[None] | None = None
        self._heard: RouterAdvertisement | None = None  # the last one
        self._elsewhere = False  # perhaps: the link was away
        self._unsubscribe: Callable[[], None] | None = None
        self._link_local = b""
        # nobody waits for a lifetime to end: in virtual time it alone does not keep the clock going
        self._timer = LoopTimer(stack.loop, stack.clock, self._timer_expired, background=True)

    def _forget_network(self) -> None:
        counters = self._interface.counters
        self._routers = Routers(counters)
        self._prefixes = OnLinkPrefixes(counters)
        self._dns = AdvertisedDns(counters)

    # as a source

    def _missing(self) -> str:
        """What `start` waits for."""
        tentative = [one for one in self._addresses if one.state is State.TENTATIVE]
        if not self._link_local:
            return "no answer whether somebody has the link-local address"
        if tentative:
            return f"no answer whether somebody has {format_address(tentative[0].address)}"
        asked = self._solicitor.asked
        if self._heard is None:
            return f"no router advertisement, after {asked} solicitation{'s' if asked != 1 else ''}"
        managed = ", which tells hosts to use DHCPv6," if self._heard.managed else ""
        return f"no prefix to make addresses from in a router's advertisement{managed}"

    async def start(self) -> None:
        """Return when there is a global address, from the first prefix that a router advertises.

        Raises TimeoutError after `timeout` seconds without one (and goes on until `stop`); OSError EADDRINUSE if others
        have every address that is tried.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._start()
        except TimeoutError:
            text = f"{self._missing()} on {self._interface.name} within {self._timeout:g} s"
            raise TimeoutError(errno.ETIMEDOUT, text) from None

    async def _start(self) -> None:
        loop = self._stack.loop
        self._usable = loop.create_future()
        self._beginning = loop.create_task(self._begin())  # which goes on when nobody waits any more
        try:
            await self._usable
        finally:
            self._usable = None

    async def _begin(self) -> None:
        stack, interface = self._stack, self._interface
        delay = interface.rng.uniform(0, MAX_DELAY) if stack.config.dad_transmits else 0.0
        try:
            self._link_local = await have_link_local(stack, interface, delay)
        except OSError as exc:
            self._fail(exc)
            return
        self._unsubscribe = stack.subscribe(self._told)
        stack.ndp.be_host(interface, self)
        self._solicitor.start(stack.clock())
        self._serve(stack.clock())

    def _fail(self, error: OSError) -> None:
        if self._usable is not None and not self._usable.done():
            self._usable.set_exception(error)

    async def stop(self) -> None:
        """Give up the addresses, the routes and the nameservers. The link-local address stays."""
        stack, interface = self._stack, self._interface
        self._timer.end()
        if self._beginning is not None:
            self._beginning.cancel()
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        stack.ndp.be_host(interface, None)
        for done, check in self._checks.items():
            check.cancel(done)
        self._checks.clear()
        for one in self._addresses:
            self._remove(one, None)
        self._routes.sync([], {})
        stack.forget_nameservers(self)
        reset_parameters(interface, stack.routes)

    def link_down(self) -> None:
        """Nothing to do: what was advertised holds as long as was said."""

    def link_up(self) -> None:
        """Ask the routers that are there now. Whether the addresses are still ours alone is found out as for all others
        (`autoconf.rechecking`)."""
        now = self._stack.clock()
        if self._link_local:
            self._elsewhere = True
            self._solicitor.start(now)
            self._serve(now)

    # what neighbour discovery hears (`network.ndp.HostSide`)

    def receive_advertisement(self, source: bytes, record: RouterAdvertisement) -> None:
        """The router at `source` says so (RFC 4861 6.3.4)."""
        now = self._stack.clock()
        self._heard = record
        self._interface.counters["ndp.router_advertisements"] += 1
        self._look_around(record, now)
        apply_parameters(record, self._interface, self._stack.routes)
        self._routers.receive_advertisement(source, record, now)
        self._prefixes.receive(record.prefixes, now)
        self._addresses.receive(source, record.prefixes, now)
        self._dns.receive(record, now)
        if record.lifetime:
            self._solicitor.receive_router()
        self._serve(now)

    def _look_around(self, record: RouterAdvertisement, now: float) -> None:
        """Whether this is another network. An advertisement without a prefix does not tell."""
        told = {network_of(one) for one in record.prefixes if not is_link_local(one.prefix)}
        if not self._elsewhere or not told:
            return
        self._elsewhere = False
        known = {prefix for prefix, _ in self._prefixes.prefixes()}
        known |= {one.prefix + bytes(8) for one in self._addresses if one.preferred_until > now}
        if known and not told & known:
            self._interface.counters["ndp.other_network"] += 1
            self._forget_network()
            self._addresses.leave(now)
            reset_parameters(self._interface, self._stack.routes)

    def neighbor_settled(self, address: bytes, answers: bool) -> bool:
        """Perhaps a router: then another one is used from now on."""
        self._routers.neighbor_settled(address, answers, self._stack.clock())
        changed = self._sync_routes()
        self._arm()
        return changed

    def no_router(self, address: bytes) -> None:
        """`address` says that it is none."""
        self._routers.no_router(address)
        self._sync_routes()
        self._arm()

    def _told(self, event: Event) -> None:
        """Somebody else has an address that was ours: it was found out since the link is back."""
        if isinstance(event, AddressRemoved) and event.address.interface is self._interface:
            error, taken = event.error, event.address
            if taken.origin in _OURS and error is not None and error.errno == errno.EADDRINUSE:
                now = self._stack.clock()
                self._addresses.verdict(taken.address, False, now)
                self._serve(now)

    # what the machines want done

    def _timer_expired(self, now: float) -> None:
        for machine in (self._routers, self._prefixes, self._addresses, self._dns, self._solicitor):
            machine.timer_expired(now)
        for router in self._routers.probes_to_send(now):
            self._interface.link.resolve(router, now)
        self._serve(now)

    def _serve(self, now: float) -> None:
        if self._interface.up:
            if self._solicitor.solicitations_to_send(now):
                self._stack.ndp.ask_for_routers(self._interface)
            for one in self._addresses.addresses_to_check(now):
                self._check(one)
        for change, one in self._addresses.events():
            self._apply(change, one)
        self._sync_routes()
        if self._heard is not None:
            self._stack.learn_nameservers(self, self._dns.servers(), self._dns.domains(), self._interface)
        self._arm()

    def _sync_routes(self) -> bool:
        return self._routes.sync(self._prefixes.prefixes(), self._routers.routes())

    def _arm(self) -> None:
        machines = (self._routers, self._prefixes, self._addresses, self._dns, self._solicitor)
        deadline = min(machine.deadline for machine in machines)
        if deadline < math.inf:
            self._timer.arm(deadline)
        else:
            self._timer.cancel()

    # addresses

    def _check(self, one: AutoAddress) -> None:
        stack, interface = self._stack, self._interface
        if not stack.config.dad_transmits:
            self._addresses.verdict(one.address, True, stack.clock())
            return

        def done(error: OSError | None) -> None:
            del self._checks[done]
            if error is not None and error.errno == errno.ENETDOWN:
                return
            self._addresses.verdict(one.address, error is None, stack.clock())
            self._serve(stack.clock())

        delay = interface.rng.uniform(0, MAX_DELAY)
        self._checks[done] = AddressCheck.begin(stack, interface, one.address, done, delay)

    def _apply(self, change: Change, one: AutoAddress) -> None:
        if change is Change.ASSIGN:
            self._assign(one)
        elif change is Change.RENEW:
            self._renew(one)
        elif change is Change.REMOVE:
            text = f"the valid lifetime of {format_address(one.address)} is over"
            self._remove(one, os_error(errno.EADDRNOTAVAIL, text))
        else:
            text = f"others have all addresses that were tried, the last one {format_address(one.address)}"
            self._fail(os_error(errno.EADDRINUSE, text))

    def _assign(self, one: AutoAddress) -> None:
        if one.address not in self._stack.addresses.local:  # else somebody has typed it
            entry = self._stack.add_address(
                self._interface,
                one.address,
                64,
                origin=Origin.TEMPORARY if one.temporary else Origin.SLAAC,
                preferred_until=one.preferred_until,
                on_link=False,
            )
            entry.router = one.router
        if self._usable is not None and not self._usable.done():
            self._usable.set_result(None)

    def _entry(self, one: AutoAddress) -> InterfaceAddress | None:
        """`one` in the stack's table, if it is there and from us."""
        entry = self._stack.addresses.local.get(one.address)
        if entry is not None and entry.interface is self._interface and entry.origin in _OURS:
            return entry
        return None

    def _renew(self, one: AutoAddress) -> None:
        entry = self._entry(one)
        if entry is not None:
            self._stack.addresses.prefer(entry, one.preferred_until)

    def _remove(self, one: AutoAddress, error: OSError | None) -> None:
        if self._entry(one) is not None:
            self._stack.remove_address(one.address, error)
