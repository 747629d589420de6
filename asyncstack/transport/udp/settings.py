"""What a UDP endpoint has of its own beside what every socket has."""

from __future__ import annotations

from dataclasses import dataclass, field

from asyncstack.transport.options import Settings


@dataclass(slots=True)
class Multicast:
    """What goes for datagrams to groups of one family: the hop limit, the interface by index (0: the routing table
    says) and by address, whether this host hears them too; and whether groups are heard that only others here joined.
    """

    hops: int = 1
    loop: bool = True
    all: bool = True
    index: int = 0
    address: bytes = b""


@dataclass(slots=True)
class DatagramSettings(Settings):
    """`Settings` of a UDP endpoint, whose `packet_info`, `receive_ttl` and `receive_tos` are IPv4's."""

    packet_info6: bool = False
    receive_hop_limit: bool = False
    receive_traffic_class: bool = False
    receive_flow_info: bool = False
    original_destination: bool = False
    original_destination6: bool = False
    multicast4: Multicast = field(default_factory=Multicast)
    multicast6: Multicast = field(default_factory=Multicast)

    def multicast(self, size: int) -> Multicast:
        """Of the family whose addresses have `size` bytes."""
        return self.multicast4 if size == 4 else self.multicast6
