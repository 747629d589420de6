"""MLD hosts, versions 1 and 2 (RFC 3810, RFC 2710): which IPv6 groups are listened to on each Ethernet interface.

The solicited-node groups of our own addresses are among them: switches want to know (RFC 4862 5.4.2). Messages go
straight to the link, from a link-local address or, as long as there is none, from no address (RFC 3590).
"""

from __future__ import annotations

from asyncstack.errors import WireError
from asyncstack.link.ethernet import EthernetLink
from asyncstack.link.frame import OutgoingFrame
from asyncstack.link.interface import Interface
from asyncstack.network.addresses import ANY_IPV6, is_link_local, is_multicast
from asyncstack.network.listeners import Listeners
from asyncstack.network.reporting import Told
from asyncstack.wire import icmpv6, ipv6, mld
from asyncstack.wire.ethernet import ETHERTYPE_IPV6
from asyncstack.wire.membership import Membership, Query, Report
from asyncstack.wire.ndp import ALL_NODES, ALL_ROUTERS, multicast_mac
from asyncstack.wire.packet import Packet


class Mld(Listeners):
    """The MLD of one stack."""

    name = "mld"
    overhead = ipv6.HEADER_SIZE + len(mld.HOP_BY_HOP) + 8

    def receive(self, packet: Packet, message: icmpv6.Message) -> None:
        """An MLD message in `packet`; its checksum was right. Never raises."""
        try:
            heard = mld.parse(message)
        except WireError:
            self.counters["mld.malformed"] += 1
            return
        if packet.ttl != 1 or not is_link_local(packet.src) or not mld.has_router_alert(packet.raw):
            self.counters["mld.invalid"] += 1  # RFC 3810 6.2
        elif isinstance(heard, Query) and (is_multicast(heard.group) or not any(heard.group)):
            self.heard_query(packet.interface, heard)
        elif isinstance(heard, Membership) and not heard.leave:
            self.heard_report(packet.interface, heard.group)
        else:
            self.counters["mld.ignored"] += 1

    @staticmethod
    def is_told(group: bytes) -> bool:
        """Not the group that all are in, and none that stays on this host (RFC 3810 6)."""
        return group != ALL_NODES and group[1] & 0x0F > 1

    def send(self, interface: Interface, link: EthernetLink, told: Told) -> None:
        """RFC 3810 5: a router alert, and one hop to go."""
        if isinstance(told, Report):
            dst = mld.ALL_V2_ROUTERS
        else:
            dst = ALL_ROUTERS if told.leave else told.group
        addresses = (entry.address for entry in self.addresses.of(interface, 16))
        source = next((address for address in addresses if is_link_local(address)), ANY_IPV6)
        message = mld.build(told, source, dst)
        length = len(mld.HOP_BY_HOP) + len(message)
        header = ipv6.build(source, dst, ipv6.HOP_BY_HOP, length, hop_limit=1)
        frame = OutgoingFrame([header, mld.HOP_BY_HOP, message])
        link.send(frame, multicast_mac(dst), ETHERTYPE_IPV6)
