"""Neighbour discovery (RFC 4861) for the addresses that interfaces were given: who has which IPv6 address.

One `Ndp` serves a stack. It keeps hardly any state: the neighbours are in each Ethernet link's table, which asks for
solicitations and is told what others advertise. Messages go straight to the link, so that discovery needs nothing
of what it makes possible. Who advertises us as a router is handed in (`be_router`), and so is who believes other
routers (`be_host`), and who wants to know whether an address is free (`set_check`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from asyncstack.counters import Counters
from asyncstack.errors import WireError
from asyncstack.link.ethernet import EthernetLink
from asyncstack.link.frame import OutgoingFrame
from asyncstack.network.addresses import ANY_IPV6, is_link_local, is_multicast
from asyncstack.timing import Clock
from asyncstack.wire import icmpv6, ipv6
from asyncstack.wire.ethernet import ETHERTYPE_IPV6
from asyncstack.wire.ndp import (
    ALL_NODES,
    ALL_ROUTERS,
    HOP_LIMIT,
    NdpMessage,
    NeighborAdvertisement,
    NeighborSolicitation,
    Redirect,
    RouterAdvertisement,
    RouterSolicitation,
    build,
    multicast_mac,
    parse,
    solicited_node_multicast,
)
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface
    from asyncstack.network.redirects import Redirects

_NO_MAC = bytes(6)


class HostSide(Protocol):
    """Who configures an interface by what routers say."""

    def receive_advertisement(self, source: bytes, record: RouterAdvertisement) -> None:
        """The router at `source`, a link-local address, has said so. It is valid as RFC 4861 6.1.2 has it."""

    def neighbor_settled(self, address: bytes, answers: bool) -> bool:
        """`address` has answered, or does not. Returns whether there is another way for what was to go there."""

    def no_router(self, address: bytes) -> None:
        """`address` says that it is none (any more)."""


class Check(Protocol):
    """Who wants to know whether an address is free (RFC 4862 5.4)."""

    def receive_solicitation(self, nonce: bytes) -> None:
        """Somebody without an address has asked for it."""

    def receive_advertisement(self, mac: bytes) -> None:
        """Somebody has it."""

    def interface_down(self) -> None:
        """Nobody will hear any more."""


class Ndp:
    """The neighbour discovery of one stack. `Icmpv6.ndp` hands it the messages; `attach` each Ethernet interface.

    Without `redirects` these are ignored.
    """

    def __init__(self, *, clock: Clock, counters: Counters, redirects: Redirects | None = None) -> None:
        self._clock = clock
        self._counters = counters
        self._redirects = redirects
        self._routers: dict[EthernetLink, Callable[[], None]] = {}  # where we are one, and who answers for it
        self._hosts: dict[EthernetLink, HostSide] = {}
        self._checks: dict[tuple[EthernetLink, bytes], Check] = {}

    def attach(self, interface: Interface) -> None:
        """Resolve IPv6 neighbours on `interface` from here on. Nothing to do where there are no MACs."""
        link = interface.link
        if isinstance(link, EthernetLink):
            link.solicit_ipv6 = partial(self._solicit, link)
            link.announce_ipv6 = partial(self._announce, link)
            link.on_neighbor = partial(self._neighbor_settled, interface, link)

    def detach(self, interface: Interface) -> None:
        """`interface` is gone."""
        link = interface.link
        if isinstance(link, EthernetLink):
            self._hosts.pop(link, None)
            self._routers.pop(link, None)
            for check in [check for (where, _), check in self._checks.items() if where is link]:
                check.interface_down()

    def be_host(self, interface: Interface, side: HostSide | None) -> None:
        """Let `side` hear of the routers on `interface`, an Ethernet one; None: ignore them again."""
        link = _ethernet(interface)
        if side is None:
            self._hosts.pop(link, None)
        else:
            self._hosts[link] = side

    def be_router(self, interface: Interface, on_solicited: Callable[[], None] | None) -> None:
        """Call ourselves a router on `interface`, an Ethernet one: `on_solicited()` is called when a host asks for
        an advertisement. None: be a host again, and tell the link so (RFC 4861 6.2.5)."""
        link = _ethernet(interface)
        if on_solicited is not None:
            self._routers[link] = on_solicited
        elif self._routers.pop(link, None) is not None:
            for address in link.addresses:
                if len(address) == 16:
                    self._announce(link, address)

    def check_of(self, interface: Interface, address: bytes) -> Check | None:
        """Who is told about `address` on `interface`, an Ethernet one."""
        return self._checks.get((_ethernet(interface), address))

    def set_check(self, interface: Interface, address: bytes, check: Check | None) -> None:
        """Tell `check`, or nobody, who else says to have `address`; and who asks for it, if it is not ours yet."""
        key = _ethernet(interface), address
        if check is None:
            self._checks.pop(key, None)
        else:
            self._checks[key] = check

    # receive

    def receive(self, packet: Packet, message: icmpv6.Message) -> None:
        """A message of type 133 to 137 arrived in `packet`; its checksum was right. Never raises."""
        link = packet.interface.link
        if not isinstance(link, EthernetLink) or not self._wants(message.type, link):
            self._counters["ndp.ignored"] += 1
            return
        try:
            if packet.ttl != HOP_LIMIT:
                raise WireError("NDP: it comes from beyond a router")
            self._dispatch(packet, parse(message), link)
        except WireError:
            self._counters["ndp.invalid"] += 1

    def _wants(self, kind: int, link: EthernetLink) -> bool:
        if kind == icmpv6.ROUTER_SOLICITATION:
            return link in self._routers
        if kind == icmpv6.ROUTER_ADVERTISEMENT:
            return link in self._hosts
        if kind == icmpv6.REDIRECT:
            return self._redirects is not None and link not in self._routers
        return True

    def _dispatch(self, packet: Packet, record: NdpMessage, link: EthernetLink) -> None:
        if isinstance(record, NeighborSolicitation) and _is_valid_solicitation(packet, record):
            self._receive_solicitation(packet, record, link)
        elif isinstance(record, NeighborAdvertisement) and _is_valid_advertisement(packet, record):
            self._receive_advertisement(record, link)
        elif isinstance(record, RouterSolicitation) and _is_valid_router_solicitation(packet, record):
            if record.source_mac:
                link.neighbor_asked(packet.src, record.source_mac, self._clock())
            self._routers[link]()
        elif isinstance(record, RouterAdvertisement) and _is_from_router(packet, record.source_mac, link):
            if record.source_mac:
                link.neighbor_asked(packet.src, record.source_mac, self._clock())
            self._hosts[link].receive_advertisement(packet.src, record)
        elif isinstance(record, Redirect) and _is_valid_redirect(packet, record, link):
            self._receive_redirect(packet, record, link)
        else:
            self._counters["ndp.invalid"] += 1

    def _receive_solicitation(self, packet: Packet, asked: NeighborSolicitation, link: EthernetLink) -> None:
        """RFC 4861 7.2.3, 7.2.4."""
        src, mac = packet.src, asked.source_mac
        if asked.target not in link.addresses:
            check = self._checks.get((link, asked.target))
            if check is None:
                self._counters["ndp.not_ours"] += 1
            elif src == ANY_IPV6:  # who has an address is looking for a neighbour: RFC 4862 5.4.3
                check.receive_solicitation(asked.nonce)
            return
        router = link in self._routers
        answer = NeighborAdvertisement(asked.target, link.mac, router, solicited=True, override=True)
        if src == ANY_IPV6:
            # somebody checks whether our address is free: all have to hear that it is not
            answer.solicited = False
            self._send(link, answer, asked.target, ALL_NODES, multicast_mac(ALL_NODES))
        elif src in link.addresses:
            if mac != link.mac:
                self._conflict(link, src, mac)
        else:
            if mac:
                link.neighbor_asked(src, mac, self._clock())
            self._send(link, answer, asked.target, src, mac or None)

    def _receive_advertisement(self, told: NeighborAdvertisement, link: EthernetLink) -> None:
        """RFC 4861 7.2.5."""
        ours = told.target in link.addresses
        if ours and told.target_mac == link.mac:
            return
        check = self._checks.get((link, told.target))
        if check is not None:
            check.receive_advertisement(told.target_mac)
            return
        if ours:
            self._conflict(link, told.target, told.target_mac)
            return
        counts = link.neighbor_advertised(
            told.target, told.target_mac, self._clock(), solicited=told.solicited, override=told.override
        )
        if counts and not told.router and link in self._hosts:
            self._hosts[link].no_router(told.target)

    def _conflict(self, link: EthernetLink, address: bytes, mac: bytes) -> None:
        """Nothing is given up: RFC 4862 knows no defence, and who lies could take what he wants."""
        self._counters["ndp.address_conflict"] += 1
        link.on_conflict(address, mac, False)

    def _receive_redirect(self, packet: Packet, told: Redirect, link: EthernetLink) -> None:
        """RFC 4861 8.3."""
        assert self._redirects is not None
        believed = self._redirects.receive(packet.src, told.destination, told.target, packet.interface)
        if believed and told.target_mac:
            link.neighbor_asked(told.target, told.target_mac, self._clock())

    def _neighbor_settled(
        self, interface: Interface, link: EthernetLink, address: bytes, answers: bool
    ) -> bool:
        """Whether what was to go to `address` may go another way."""
        redirects, side = self._redirects, self._hosts.get(link)
        elsewhere = not answers and redirects is not None and redirects.neighbor_failed(address, interface)
        return (side is not None and side.neighbor_settled(address, answers)) or elsewhere

    # send

    def _solicit(self, link: EthernetLink, target: bytes, mac: bytes | None) -> None:
        """Ask for `target`: at `mac` whether it is still there, or all who may have it (RFC 4861 7.2.2)."""
        source = _source_for(target, link)
        if not source:
            self._counters["ndp.no_source"] += 1
            return
        dst = target if mac else solicited_node_multicast(target)
        self._send(link, NeighborSolicitation(target, link.mac), source, dst, mac or multicast_mac(dst))

    def ask_whether_free(self, interface: Interface, address: bytes, nonce: bytes) -> None:
        """Ask all who may have `address`, from no address (RFC 4862 5.4.2)."""
        group = solicited_node_multicast(address)
        question = NeighborSolicitation(address, nonce=nonce)
        self._send(_ethernet(interface), question, ANY_IPV6, group, multicast_mac(group))

    def ask_for_routers(self, interface: Interface) -> None:
        """Ask all routers on `interface`, an Ethernet one, to say what they have (RFC 4861 6.3.7, 4.1)."""
        link = _ethernet(interface)
        own = [address for address in link.addresses if len(address) == 16 and is_link_local(address)]
        source, mac = (own[0], link.mac) if own else (ANY_IPV6, b"")
        self._send(link, RouterSolicitation(mac), source, ALL_ROUTERS, multicast_mac(ALL_ROUTERS))

    def _announce(self, link: EthernetLink, address: bytes) -> None:
        """Tell all on the link that `address` is ours now (RFC 4861 7.2.6)."""
        news = NeighborAdvertisement(address, link.mac, link in self._routers, override=True)
        self._send(link, news, address, ALL_NODES, multicast_mac(ALL_NODES))

    def advertise_router(self, interface: Interface, record: RouterAdvertisement, source: bytes) -> None:
        """Send `record` to all nodes on `interface`, an Ethernet one, from `source`, its link-local address."""
        link = _ethernet(interface)
        self._send(link, record, source, ALL_NODES, multicast_mac(ALL_NODES))

    def _send(
        self, link: EthernetLink, record: NdpMessage, src: bytes, dst: bytes, mac: bytes | None
    ) -> None:
        message = build(record, src, dst)
        header = ipv6.build(src, dst, icmpv6.PROTOCOL, len(message), hop_limit=HOP_LIMIT)
        frame = OutgoingFrame([header, message])
        if mac is None:
            mac = link.resolve(dst, self._clock())
        if mac is None:
            link.enqueue(dst, frame, ETHERTYPE_IPV6)
        else:
            link.send(frame, mac, ETHERTYPE_IPV6)


def _ethernet(interface: Interface) -> EthernetLink:
    assert isinstance(interface.link, EthernetLink), f"{interface} has no neighbours to discover"
    return interface.link


def _is_valid_solicitation(packet: Packet, asked: NeighborSolicitation) -> bool:
    """RFC 4861 7.1.1, as far as it is about the packet and the address in the option."""
    if packet.src == ANY_IPV6:
        return packet.dst == solicited_node_multicast(asked.target) and not asked.source_mac
    return _is_unicast(asked.source_mac)


def _is_valid_router_solicitation(packet: Packet, asked: RouterSolicitation) -> bool:
    """RFC 4861 6.1.1."""
    return _is_unicast(asked.source_mac) and not (packet.src == ANY_IPV6 and asked.source_mac)


def _is_valid_advertisement(packet: Packet, told: NeighborAdvertisement) -> bool:
    """RFC 4861 7.1.2."""
    if told.solicited and is_multicast(packet.dst):
        return False
    return _is_unicast(told.target_mac)


def _is_from_router(packet: Packet, mac: bytes, link: EthernetLink) -> bool:
    """RFC 4861 6.1.2, 8.1: routers speak from their link-local addresses. Our own voice is none."""
    return is_link_local(packet.src) and packet.src not in link.addresses and _is_unicast(mac)


def _is_valid_redirect(packet: Packet, told: Redirect, link: EthernetLink) -> bool:
    """RFC 4861 8.1: to the destination itself, or to a router's link-local address."""
    return _is_from_router(packet, told.target_mac, link) and (
        told.target == told.destination or is_link_local(told.target)
    )


def _is_unicast(mac: bytes) -> bool:
    """Whether one host may have `mac`; b"", an absent option, passes."""
    return not mac or (not mac[0] & 1 and mac != _NO_MAC)


def _source_for(target: bytes, link: EthernetLink) -> bytes:
    """Ours that shares the longest prefix with `target`, b"" if there is none: of its scope and its subnet."""
    wanted = int.from_bytes(target, "big")
    ours = [address for address in link.addresses if len(address) == 16]
    return min(ours, key=lambda address: int.from_bytes(address, "big") ^ wanted, default=b"")
