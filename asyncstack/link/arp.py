"""ARP (RFC 826) with conflict detection (RFC 5227): answers for our addresses, and asks for the table's.

Sans-I/O: packets come in through `receive`, and leave through `packets_to_send`, each with the MAC it goes to. What is
asked, said and fought about our own addresses is the matter of `claims`.

What a hostile neighbour can do is bounded: a reply that nobody asked for, or a gratuitous one, changes existing
entries only, and then the new MAC counts as unverified; a question for us is the only thing that makes an entry; a
claim to one of our addresses is counted, and answered at most once in ten seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from asyncstack.counters import Counters
from asyncstack.errors import WireError
from asyncstack.link.claims import Claims
from asyncstack.link.neighbors import NeighborTable
from asyncstack.wire import arp
from asyncstack.wire.ethernet import BROADCAST

LOCK_TIME: Final = 1.0  # seconds in which the first of several replies wins, as in Linux

_NO_MAC: Final = bytes(6)
_NO_ADDRESS: Final = bytes(4)


class ArpProtocol:
    """ARP on one Ethernet. Owned by `EthernetLink`.

    `addresses`: ours, kept up to date by the owner; only those of 4 bytes matter here. `is_broadcast(address)`:
    whether an address means all hosts of a subnet, so that nobody can be at it.
    """

    def __init__(
        self,
        mac: bytes,
        addresses: Mapping[bytes, None],
        table: NeighborTable,
        counters: Counters,
        is_broadcast: Callable[[bytes], bool],
        claims: Claims,
    ) -> None:
        self._mac = mac
        self._addresses = addresses
        self._table = table
        self._counters = counters
        self._is_broadcast = is_broadcast
        self._claims = claims
        self._packets: list[tuple[bytes, bytes]] = []

    def receive(self, data: memoryview, to_us: bool, now: float) -> None:
        """An ARP packet arrived, `to_us` alone or to all. Never raises."""
        try:
            packet = arp.parse(data)
        except WireError:
            self._counters["arp.malformed"] += 1
            return
        sender, mac = packet.sender_ip, packet.sender_mac
        if mac[0] & 1 or mac == _NO_MAC or packet.operation not in (arp.REQUEST, arp.REPLY):
            self._counters["arp.malformed"] += 1
            return
        if self._claims and mac != self._mac and self._claims.heard(sender, self._probed(packet), mac, now):
            return
        if sender in self._addresses:
            if mac != self._mac:
                self._counters["arp.address_conflict"] += 1
                self._claims.conflict(sender, mac, now)
        elif packet.operation == arp.REQUEST and packet.target_ip in self._addresses:
            self._answer(packet, now)
        elif sender == _NO_ADDRESS:
            pass  # a probe for somebody else's address (RFC 5227 2.1.1)
        else:
            asked = to_us and packet.operation == arp.REPLY and self._table.is_asking(sender)
            self._table.receive_reply(sender, mac, now, solicited=asked)

    def _probed(self, packet: arp.Arp) -> bytes:
        """The address that `packet` asks for, if it is not ours: then it is answered, also while we check it anew."""
        target = packet.target_ip
        return _NO_ADDRESS if packet.operation != arp.REQUEST or target in self._addresses else target

    def packets_to_send(self, now: float) -> list[tuple[bytes, bytes]]:
        """(destination MAC, ARP packet) since the last call, with what the table and the claims have to ask and say."""
        for address, probe in self._claims.packets_to_send(now):
            source = _NO_ADDRESS if probe else address
            self._send(BROADCAST, arp.REQUEST, self._mac, source, _NO_MAC, address)
        for address, mac in self._table.solicitations_to_send(now):
            source = self._source_for(address)
            self._send(mac or BROADCAST, arp.REQUEST, self._mac, source, mac or _NO_MAC, address)
        packets, self._packets = self._packets, []
        return packets

    def _answer(self, request: arp.Arp, now: float) -> None:
        sender = request.sender_ip
        if sender == _NO_ADDRESS:
            pass  # a probe for our address: the answer says that it is taken
        elif _may_be_host(sender) and not self._is_broadcast(sender):
            self._table.receive_request(sender, request.sender_mac, now)
        else:
            self._counters["arp.malformed"] += 1
            return
        self._send(request.sender_mac, arp.REPLY, self._mac, request.target_ip, request.sender_mac, sender)

    def _source_for(self, target: bytes) -> bytes:
        """Ours that shares the longest prefix with `target`: most likely of the same subnet."""
        wanted = int.from_bytes(target, "big")
        ours = [address for address in self._addresses if len(address) == 4]
        return min(ours, key=lambda a: int.from_bytes(a, "big") ^ wanted, default=_NO_ADDRESS)

    def _send(
        self, to: bytes, operation: int, sender_mac: bytes, sender: bytes, target_mac: bytes, target: bytes
    ) -> None:
        if is_link_local(sender):
            to = BROADCAST  # RFC 3927 2.5: so that two hosts at one address find out
        packet = arp.Arp(operation, sender_mac, sender, target_mac, target)
        self._packets.append((to, arp.build(packet)))


def _may_be_host(address: bytes) -> bool:
    """Whether `address` can be that of one host on a link: not 0/8, not 127/8, no group, not reserved."""
    return address[0] not in (0, 127) and address[0] < 224


def is_link_local(address: bytes) -> bool:
    """Whether `address` is one that hosts choose for themselves, 169.254.0.0/16 (RFC 3927)."""
    return address[:2] == b"\xa9\xfe"
