"""IGMP hosts, versions 1 to 3 (RFC 3376, RFC 2236): which IPv4 groups are listened to on each Ethernet interface.

Groups of 224.0.0.0/24 stay on their link, and no router has to know of them. Messages go straight to the link.
"""

from __future__ import annotations

from asyncstack.errors import WireError
from asyncstack.link.ethernet import EthernetLink
from asyncstack.link.frame import OutgoingFrame
from asyncstack.link.interface import Interface
from asyncstack.network.addresses import ANY_IPV4, is_multicast
from asyncstack.network.listeners import Listeners
from asyncstack.network.reporting import Told
from asyncstack.wire import igmp, ipv4
from asyncstack.wire.ethernet import ETHERTYPE_IPV4
from asyncstack.wire.membership import Membership, Query, Report
from asyncstack.wire.ndp import multicast_mac
from asyncstack.wire.packet import Packet

_CONTROL = 0xC0  # RFC 3376 4: the precedence of internetwork control


class Igmp(Listeners):
    """The IGMP of one stack."""

    name = "igmp"
    overhead = ipv4.HEADER_SIZE + len(igmp.ROUTER_ALERT) + 8

    def receive(self, packet: Packet) -> None:
        """A packet of protocol 2. Never raises."""
        try:
            message = igmp.parse(packet.payload)
        except WireError:
            self.counters["igmp.malformed"] += 1
            return
        if packet.ttl != 1:  # it may come from beyond a router
            self.counters["igmp.invalid"] += 1
        elif isinstance(message, Query) and (is_multicast(message.group) or not any(message.group)):
            self.heard_query(packet.interface, message)
        elif isinstance(message, Membership) and not message.leave:
            self.heard_report(packet.interface, message.group)
        else:
            self.counters["igmp.ignored"] += 1

    @staticmethod
    def is_told(group: bytes) -> bool:
        """Not those of 224.0.0.0/24."""
        return group[:3] != b"\xe0\x00\x00"

    def send(self, interface: Interface, link: EthernetLink, told: Told) -> None:
        """RFC 3376 4: a router alert, and one hop to go."""
        if isinstance(told, Report):
            dst = igmp.ALL_V3_ROUTERS
        else:
            dst = igmp.ALL_ROUTERS if told.leave else told.group
        ours = self.addresses.of(interface, 4)
        source = ours[0].address if ours else ANY_IPV4  # which routers accept (RFC 3376 4.2.13)
        message = igmp.build(told)
        header = ipv4.build(
            source, dst, ipv4.PROTOCOL_IGMP, len(message), ttl=1, tos=_CONTROL, options=igmp.ROUTER_ALERT
        )
        link.send(OutgoingFrame([header, message]), multicast_mac(dst), ETHERTYPE_IPV4)
