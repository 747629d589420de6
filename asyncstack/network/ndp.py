"""Neighbour discovery (RFC 4861) for the addresses that interfaces were given: who has which IPv6 address.

One `Ndp` serves a stack. It keeps hardly any state: the neighbours are in each Ethernet link's table, which asks for
solicitations and is told what others advertise. Messages go straight to the link, so that discovery needs nothing
of what it makes possible. Routers, prefixes and redirects are ignored and counted. Where we are a router (`be_router`),
who advertises that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from asyncstack.counters import Counters
from asyncstack.errors import WireError
from asyncstack.link.ethernet import EthernetLink
from asyncstack.link.frame import OutgoingFrame
from asyncstack.network.addresses import ANY_IPV6, is_multicast
from asyncstack.timing import Clock
from asyncstack.wire import icmpv6, ipv6
from asyncstack.wire.ethernet import ETHERTYPE_IPV6
from asyncstack.wire.ndp import (
    ALL_NODES,
    HOP_LIMIT,
    NdpMessage,
    NeighborAdvertisement,
    NeighborSolicitation,
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

_NO_MAC = bytes(6)


class Ndp:
    """The neighbour discovery of one stack. `Icmpv6.ndp` hands it the messages; `attach` each Ethernet interface."""

    def __init__(self, *, clock: Clock, counters: Counters) -> None:
        self._clock = clock
        self._counters = counters
        self._routers: dict[EthernetLink, Callable[[], None]] = {}  # where we are one, and who answers for it

    def attach(self, interface: Interface) -> None:
        """Resolve IPv6 neighbours on `interface` from here on. Nothing to do where there are no MACs."""
        link = interface.link
        if isinstance(link, EthernetLink):
            link.solicit_ipv6 = partial(self._solicit, link)
            link.announce_ipv6 = partial(self._announce, link)

    def be_router(self, interface: Interface, on_solicited: Callable[[], None] | None) -> None:
        """Call ourselves a router on `interface`, an Ethernet one: `on_solicited()` is called when a host asks for
        an advertisement. None: be a host again, and tell the link so (RFC 4861 6.2.5)."""
        link = interface.link
        assert isinstance(link, EthernetLink)
        if on_solicited is not None:
            self._routers[link] = on_solicited
        elif self._routers.pop(link, None) is not None:
            for address in link.addresses:
                if len(address) == 16:
                    self._announce(link, address)

    # receive

    def receive(self, packet: Packet, message: icmpv6.Message) -> None:
        """A message of type 133 to 137 arrived in `packet`; its checksum was right. Never raises."""
        link = packet.interface.link
        if not isinstance(link, EthernetLink):
            self._counters["ndp.ignored"] += 1
        elif packet.ttl != HOP_LIMIT:  # it comes from beyond a router
            self._counters["ndp.invalid"] += 1
        elif (
            message.type == icmpv6.NEIGHBOR_SOLICITATION
            or message.type == icmpv6.NEIGHBOR_ADVERTISEMENT
            or (message.type == icmpv6.ROUTER_SOLICITATION and link in self._routers)
        ):
            try:
                record = parse(message)
            except WireError:
                self._counters["ndp.invalid"] += 1
                return
            self._dispatch(packet, record, link)
        else:
            self._counters["ndp.ignored"] += 1

    def _dispatch(self, packet: Packet, record: NdpMessage, link: EthernetLink) -> None:
        if isinstance(record, NeighborSolicitation) and _is_valid_solicitation(packet, record):
            self._receive_solicitation(packet, record, link)
        elif isinstance(record, NeighborAdvertisement) and _is_valid_advertisement(packet, record):
            self._receive_advertisement(record, link)
        elif isinstance(record, RouterSolicitation) and _is_valid_router_solicitation(packet, record):
            if record.source_mac:
                link.neighbor_asked(packet.src, record.source_mac, self._clock())
            self._routers[link]()
        else:
            self._counters["ndp.invalid"] += 1

    def _receive_solicitation(self, packet: Packet, asked: NeighborSolicitation, link: EthernetLink) -> None:
        """RFC 4861 7.2.3, 7.2.4."""
        if asked.target not in link.addresses:
            self._counters["ndp.not_ours"] += 1
            return
        src, mac = packet.src, asked.source_mac
        router = link in self._routers
        answer = NeighborAdvertisement(asked.target, link.mac, router, solicited=True, override=True)
        if src == ANY_IPV6:
            # somebody checks whether our address is free: all have to hear that it is not
            answer.solicited = False
            self._send(link, answer, asked.target, ALL_NODES, multicast_mac(ALL_NODES))
        elif src in link.addresses:
            if mac != link.mac:
                self._counters["ndp.address_conflict"] += 1
        else:
            if mac:
                link.neighbor_asked(src, mac, self._clock())
            self._send(link, answer, asked.target, src, mac or None)

    def _receive_advertisement(self, told: NeighborAdvertisement, link: EthernetLink) -> None:
        """RFC 4861 7.2.5."""
        if told.target in link.addresses:
            if told.target_mac != link.mac:
                self._counters["ndp.address_conflict"] += 1
            return
        link.neighbor_advertised(
            told.target, told.target_mac, self._clock(), solicited=told.solicited, override=told.override
        )

    # send

    def _solicit(self, link: EthernetLink, target: bytes, mac: bytes | None) -> None:
        """Ask for `target`: at `mac` whether it is still there, or all who may have it (RFC 4861 7.2.2)."""
        source = _source_for(target, link)
        if not source:
            self._counters["ndp.no_source"] += 1
            return
        dst = target if mac else solicited_node_multicast(target)
        self._send(link, NeighborSolicitation(target, link.mac), source, dst, mac or multicast_mac(dst))

    def _announce(self, link: EthernetLink, address: bytes) -> None:
        """Tell all on the link that `address` is ours now (RFC 4861 7.2.6)."""
        news = NeighborAdvertisement(address, link.mac, link in self._routers, override=True)
        self._send(link, news, address, ALL_NODES, multicast_mac(ALL_NODES))

    def advertise_router(self, interface: Interface, record: RouterAdvertisement, source: bytes) -> None:
        """Send `record` to all nodes on `interface`, an Ethernet one, from `source`, its link-local address."""
        link = interface.link
        assert isinstance(link, EthernetLink)
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


def _is_unicast(mac: bytes) -> bool:
    """Whether one host may have `mac`; b"", an absent option, passes."""
    return not mac or (not mac[0] & 1 and mac != _NO_MAC)


def _source_for(target: bytes, link: EthernetLink) -> bytes:
    """Ours that shares the longest prefix with `target`, b"" if there is none: of its scope and its subnet."""
    wanted = int.from_bytes(target, "big")
    ours = [address for address in link.addresses if len(address) == 16]
    return min(ours, key=lambda address: int.from_bytes(address, "big") ^ wanted, default=b"")
