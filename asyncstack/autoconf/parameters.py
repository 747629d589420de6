"""What a router advertisement says about a link, put into effect on an interface (RFC 4861 6.3.4).

A value of 0 says nothing. Values that no router may send, or that would leave a host waiting for ever, are passed over.
"""

from __future__ import annotations

from typing import Final

from asyncstack.link.ethernet import EthernetLink
from asyncstack.link.interface import Interface
from asyncstack.link.neighbors import REACHABLE_TIME, RETRANS_TIMER
from asyncstack.network.pmtu import MINIMUM_IPV6
from asyncstack.network.routing import RoutingTable
from asyncstack.wire.ndp import RouterAdvertisement
from asyncstack.wire.packet import LARGEST_PACKET

MAX_REACHABLE_TIME: Final = 3_600_000  # milliseconds, RFC 4861 6.2.1
RETRANS_RANGE: Final = range(10, 10_001)  # milliseconds; Linux has the same least one
MIN_HOP_LIMIT: Final = 32  # a forged small one would cut off all but the nearest (CVE-2015-2922)


def apply_parameters(record: RouterAdvertisement, interface: Interface, routes: RoutingTable) -> None:
    """Use what `record` says on `interface`, an Ethernet one."""
    assert isinstance(interface.link, EthernetLink)
    neighbors = interface.link.neighbors6
    if 0 < record.reachable_time <= MAX_REACHABLE_TIME:
        neighbors.reachable_time = record.reachable_time / 1000
    if record.retrans_timer in RETRANS_RANGE:
        neighbors.retrans = record.retrans_timer / 1000
    mtu = record.mtu if MINIMUM_IPV6 <= record.mtu <= interface.mtu else interface.advertised_mtu
    hop_limit = record.hop_limit if record.hop_limit >= MIN_HOP_LIMIT else interface.advertised_hop_limit
    _set(interface, routes, mtu, hop_limit)


def reset_parameters(interface: Interface, routes: RoutingTable) -> None:
    """Undo all of that."""
    assert isinstance(interface.link, EthernetLink)
    neighbors = interface.link.neighbors6
    neighbors.reachable_time, neighbors.retrans = REACHABLE_TIME, RETRANS_TIMER
    _set(interface, routes, LARGEST_PACKET, 0)


def _set(interface: Interface, routes: RoutingTable, mtu: int, hop_limit: int) -> None:
    if (mtu, hop_limit) != (interface.advertised_mtu, interface.advertised_hop_limit):
        interface.advertised_mtu, interface.advertised_hop_limit = mtu, hop_limit
        routes.changed()
