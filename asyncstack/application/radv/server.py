"""`RouterAdvertiser`: tells the hosts on a link of a router, of prefixes and of nameservers (RFC 4861, 8106, 4191)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from types import TracebackType
from typing import Final, Literal

from asyncstack.application.host import Host
from asyncstack.application.radv.times import AdvertisementTimes, Due
from asyncstack.link.interface import Interface, check_interface
from asyncstack.network.addresses import ANY_IPV6, format_address, is_link_local, parse_address, parse_network
from asyncstack.timing import LoopTimer
from asyncstack.wire.ndp import ALL_NODES, ALL_ROUTERS, Dnssl, Prefix, Rdnss, RouterAdvertisement, build

INTERVAL: Final = (200.0, 600.0)  # RFC 4861 6.2.1
LIFETIME: Final = 1800  # three times the longest interval
VALID: Final = 86400  # of prefixes, as radvd has them; RFC 4861 itself has 30 and 7 days
PREFERRED: Final = 14400
LONGEST_LIFETIME: Final = 9000  # RFC 4861 6.2.1
LEAST_MTU: Final = 1280
IPV6_HEADER: Final = 40
MAC_OPTION: Final = 8

PREFERENCES: Final = {"low": -1, "medium": 0, "high": 1}


class RouterAdvertiser:
    """A router's advertisements on one Ethernet interface, for `async with`; leaving it sends the hosts elsewhere.

    prefixes: "fd00:1::/64" (hosts make addresses in it), or a `wire.ndp.Prefix` with its flags and lifetimes, of any
    length if it is not autonomous. dns: addresses of nameservers; search: domains. lifetime: seconds for which hosts
    may use us as their default router, which an advertisement renews; 0: not at all. mtu: of the link, 0: nothing is
    said. managed, other: ask DHCPv6 for addresses, or for the rest. interval: (least, most) seconds between
    advertisements.

    It speaks from a link-local address, which is made where there is none. Raises ValueError for what can not be
    advertised, and at `async with` OSError EADDRINUSE if somebody else has that address.
    """

    def __init__(
        self,
        stack: Host,
        interface: Interface,
        prefixes: Iterable[str | Prefix] = (),
        *,
        dns: Iterable[str] = (),
        search: Iterable[str] = (),
        lifetime: int = LIFETIME,
        mtu: int = 0,
        managed: bool = False,
        other: bool = False,
        preference: Literal["low", "medium", "high"] = "medium",
        hop_limit: int = 64,
        interval: tuple[float, float] = INTERVAL,
    ) -> None:
        check_interface(interface)
        if not interface.device.ethernet:
            raise ValueError(f"{interface.name} is no Ethernet interface: nobody there looks for routers")
        for name, given in (("prefixes", prefixes), ("dns", dns), ("search", search)):
            if isinstance(given, str):
                raise ValueError(f"{name}={given!r}: give a list")
        if lifetime and not interval[1] <= lifetime <= LONGEST_LIFETIME:
            raise ValueError(
                f"lifetime={lifetime}: 0, or the {interval[1]:g} s of the longest interval to {LONGEST_LIFETIME} "
                "seconds (RFC 4861 6.2.1)"
            )
        if not 0 <= hop_limit <= 255:
            raise ValueError(f"hop_limit={hop_limit}: 0 to 255, 0: nothing is said")
        if mtu and not LEAST_MTU <= mtu <= interface.mtu:
            raise ValueError(f"mtu={mtu}: {LEAST_MTU} to the {interface.mtu} of {interface.name}")
        if preference not in PREFERENCES:
            raise ValueError(f"preference={preference!r}: give one of {', '.join(PREFERENCES)}")
        self._stack = stack
        self._interface = interface
        self._times = AdvertisementTimes(interval, interface.rng)
        self._timer = LoopTimer(stack.loop, stack.clock, self._timer_expired, background=True)
        remembered = math.ceil(3 * interval[1])  # RFC 8106 5.1
        self._record = RouterAdvertisement(
            lifetime=lifetime,
            hop_limit=hop_limit,
            managed=managed,
            other=other,
            preference=PREFERENCES[preference] if lifetime else 0,  # RFC 4191 2.2
            mtu=mtu,
            prefixes=[_prefix(one) for one in prefixes],
        )
        servers, domains = [_server(one) for one in dns], list(search)
        if servers:
            self._record.rdnss = [Rdnss(remembered, servers)]
        if domains:
            self._record.dnssl = [Dnssl(remembered, domains)]
        size = IPV6_HEADER + MAC_OPTION + len(build(self._record, ANY_IPV6, ALL_NODES))
        if size > interface.mtu:
            raise ValueError(
                f"an advertisement of {size} bytes does not fit the {interface.mtu} of {interface.name}"
            )

    async def __aenter__(self) -> RouterAdvertiser:
        stack, interface = self._stack, self._interface
        await stack.have_link_local(interface)
        stack.addresses.groups.join(ALL_ROUTERS, interface, self)
        stack.ndp.be_router(interface, self._solicited)
        self._times.start(stack.clock())
        self._serve()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, interface = self._stack, self._interface
        self._times.stop(stack.clock())
        self._serve()
        self._timer.end()
        stack.ndp.be_router(interface, None)
        stack.addresses.groups.leave(ALL_ROUTERS, interface, self)

    def _source(self) -> bytes:
        """The address to speak from, the first link-local one (RFC 4861 4.2); b"" without one."""
        own = self._stack.addresses.of(self._interface, 16)
        return next((entry.address for entry in own if is_link_local(entry.address)), b"")

    def _solicited(self) -> None:
        self._times.receive_solicitation(self._stack.clock())
        self._serve()

    def _timer_expired(self, now: float) -> None:
        self._times.timer_expired(now)
        self._serve()

    def _serve(self) -> None:
        for due in self._times.advertisements_to_send(self._stack.clock()):
            if self._interface.up:
                self._advertise(due)
        self._timer.arm(self._times.deadline)

    def _advertise(self, due: Due) -> None:
        record = self._record
        if due is Due.CEASE:
            record = _ended(record)
        source = self._source()
        if not source:
            return  # it was taken from us; another may come
        record.source_mac = bytes(self._interface.device.address)
        self._stack.ndp.advertise_router(self._interface, record, source)


def _ended(record: RouterAdvertisement) -> RouterAdvertisement:
    """The last one: no router, no nameservers. Addresses stay valid, as they may be another router's too."""
    return replace(
        record,
        lifetime=0,
        preference=0,
        prefixes=[],
        rdnss=[replace(one, lifetime=0) for one in record.rdnss],
        dnssl=[replace(one, lifetime=0) for one in record.dnssl],
    )


def _prefix(given: str | Prefix) -> Prefix:
    if isinstance(given, Prefix):
        if given.preferred_lifetime > given.valid_lifetime:
            raise ValueError(f"{given}: it can not be preferred for longer than it is valid")
        if given.autonomous:
            _check_autonomous(given.prefix, given.length)
        return given
    prefix, length = parse_network(given)
    if len(prefix) != 16 or is_link_local(prefix) or prefix[0] == 0xFF:
        raise ValueError(f"{given!r} is no IPv6 prefix that hosts can have addresses in")
    _check_autonomous(prefix, length)
    return Prefix(prefix, length, True, True, VALID, PREFERRED)


def _check_autonomous(prefix: bytes, length: int) -> None:
    """RFC 2464 4: hosts add identifiers of 64 bits, and pass over (RFC 4862 5.5.3 d) what does not fit them."""
    if length != 64:
        wanted = format_address(prefix[:8] + bytes(8))
        raise ValueError(
            f"{format_address(prefix)}/{length}: hosts make addresses in a /64 only: give one, such as '{wanted}/64', "
            f"or a wire.ndp.Prefix with autonomous=False, which says no more than that it is on the link"
        )


def _server(text: str) -> bytes:
    address = parse_address(text)
    if len(address) != 16:
        raise ValueError(f"dns={text!r}: router advertisements name nameservers with IPv6 addresses only")
    return address
