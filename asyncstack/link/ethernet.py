"""Ethernet II: framing, dispatch by ethertype, and the link addresses of next hops.

IPv4 next hops are resolved by ARP (RFC 826), IPv6 ones by neighbour discovery, which lives a layer up and hooks
itself in: it sets `solicit_ipv6` and `announce_ipv6`, and reports what it hears with `neighbor_advertised` and
`neighbor_asked`.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Final

from asyncstack.errors import os_error
from asyncstack.link.arp import LOCK_TIME, ArpProtocol
from asyncstack.link.claims import Claims, Conflict, Free
from asyncstack.link.claims import Event as ClaimEvent
from asyncstack.link.frame import Frame, OutgoingFrame
from asyncstack.link.neighbors import Event, Failed, NeighborTable
from asyncstack.timing import LoopTimer
from asyncstack.wire.ethernet import (
    BROADCAST,
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    HEADER_SIZE,
    build,
)
from asyncstack.wire.ipv4 import ALL_HOSTS
from asyncstack.wire.ndp import ALL_NODES, multicast_mac

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface, Sender

_LIMITED_BROADCAST: Final = b"\xff\xff\xff\xff"
_unpack = Struct("!6s6xH").unpack_from  # destination, ethertype


class EthernetLink:
    """The link layer of a TAP, a simulated network, or anything else with MAC addresses. Made by `Interface`.

    Hooks, set by the layer above: `is_broadcast(address)` says whether an IPv4 address means a whole subnet;
    `solicit_ipv6(target, mac)` sends a neighbour solicitation, to all where `mac` is None; `announce_ipv6(address)`
    sends an unsolicited advertisement; `on_neighbor(address, answers)` is told who has answered, and who has not, and
    says whether other ways have been found for what was to go there; `on_conflict(address, mac, lost)` is told who
    claims an IPv4 address of ours, and whether it is to be given up.
    """

    def __init__(self, interface: Interface) -> None:
        device = interface.device
        if len(device.address) != 6:
            raise ValueError(
                f"{device.name} has no MAC address yet: open the device before its interface is made"
            )
        self.mac = bytes(device.address)
        self.addresses: dict[bytes, None] = {}  # ours, of both families
        self.is_broadcast: Callable[[bytes], bool] = lambda address: False
        self.solicit_ipv6: Callable[[bytes, bytes | None], None] = lambda target, mac: None
        self.announce_ipv6: Callable[[bytes], None] = lambda address: None
        self.on_neighbor: Callable[[bytes, bool], bool] = lambda address, answers: False
        self.on_conflict: Callable[[bytes, bytes, bool], None] = lambda address, mac, lost: None
        self._interface = interface
        limit = interface.neighbor_limit
        rng, counters = interface.rng, interface.counters
        self.neighbors4 = NeighborTable("arp", rng=rng, counters=counters, limit=limit, lock_time=LOCK_TIME)
        self.neighbors6 = NeighborTable("ndp", rng=rng, counters=counters, limit=limit)
        self._claims = Claims(rng)
        self._arp = ArpProtocol(
            self.mac,
            self.addresses,
            self.neighbors4,
            counters,
            lambda address: self.is_broadcast(address),
            self._claims,
        )
        self._checked: dict[bytes, Callable[[bytes | None], None]] = {}
        self._timer = LoopTimer(interface.loop, interface.clock, self._timer_expired)
        self._closed = False
        # link addresses of groups that are let in, and for how many groups
        self._groups = dict.fromkeys((BROADCAST, multicast_mac(ALL_HOSTS), multicast_mac(ALL_NODES)), 1)

    # receive

    async def receive(self, frame: Frame) -> None:
        """Pass `frame` to the handler of its ethertype, if it is for us, for a group or for all."""
        data = frame.data
        interface = self._interface
        if len(data) < HEADER_SIZE:
            interface.counters["ethernet.malformed"] += 1
            return
        dst, ethertype = _unpack(data)
        if dst != self.mac:
            if not dst[0] & 1:
                interface.counters["ethernet.not_for_us"] += 1
                return
            if dst not in self._groups:
                interface.counters["ethernet.other_group"] += 1
                return
            if self._is_for_one_host(data, ethertype):
                interface.counters["ethernet.unicast_to_group"] += 1
                return
        handler = interface.handlers.get(ethertype)
        if handler is not None:
            await handler(data[HEADER_SIZE:], frame, interface)
        elif ethertype == ETHERTYPE_ARP:
            now = interface.clock()
            self._arp.receive(data[HEADER_SIZE:], not dst[0] & 1, now)
            self._serve(now)
        else:
            interface.counters["ethernet.unknown_type"] += 1

    def _is_for_one_host(self, data: memoryview, ethertype: int) -> bool:
        """Whether a frame to a group or to all holds an IP packet for one host, which RFC 1122 3.3.6 has us drop: one
        frame could make a whole network answer."""
        if ethertype == ETHERTYPE_IPV4 and len(data) >= HEADER_SIZE + 20:
            return data[HEADER_SIZE + 16] < 224 and not self.is_broadcast(bytes(data[30:34]))
        return (
            ethertype == ETHERTYPE_IPV6 and len(data) >= HEADER_SIZE + 40 and data[HEADER_SIZE + 24] != 0xFF
        )

    def neighbor_advertised(
        self, address: bytes, mac: bytes, now: float, *, solicited: bool, override: bool
    ) -> bool:
        """Neighbour discovery heard an advertisement (RFC 4861 7.2.5); `mac` is b"" if it held none. Returns whether it
        counts."""
        counts = self.neighbors6.receive_reply(address, mac, now, solicited=solicited, override=override)
        self._serve(now)
        return counts

    def neighbor_asked(self, address: bytes, mac: bytes, now: float) -> None:
        """Neighbour discovery heard `address`, at `mac`, ask for one of our addresses (RFC 4861 7.2.3)."""
        self.neighbors6.receive_request(address, mac, now)
        self._serve(now)

    def confirm(self, next_hop: bytes, now: float) -> None:
        """An upper layer made progress by way of `next_hop` (RFC 4861 7.3.1): it is reachable. Cheap."""
        (self.neighbors4 if len(next_hop) == 4 else self.neighbors6).confirm(next_hop, now)

    # send

    def resolve(self, next_hop: bytes, now: float) -> bytes | None:
        """The MAC for `next_hop`, None while it is unknown; then `park` or `enqueue`."""
        table = self.neighbors4 if len(next_hop) == 4 else self.neighbors6
        if next_hop not in table.entries:
            mac = self._without_lookup(next_hop)
            if mac is not None:
                return mac
            if self._closed:
                return None
        mac = table.lookup(next_hop, now)
        if table.pending:
            self._serve(now)
        return mac

    def _without_lookup(self, next_hop: bytes) -> bytes | None:
        """The MAC of a group or a broadcast address."""
        if len(next_hop) == 16:
            return multicast_mac(next_hop) if next_hop[0] == 0xFF else None
        if 224 <= next_hop[0] < 240:
            return multicast_mac(next_hop)
        if next_hop == _LIMITED_BROADCAST or self.is_broadcast(next_hop):
            return BROADCAST
        return None

    def send(self, frame: OutgoingFrame, mac: bytes, ethertype: int) -> bool:
        """Put the header for `mac` before `frame` and pass it on. False: dropped."""
        frame.parts = [build(mac, self.mac, ethertype), *frame.parts]
        if frame.checksum_start:
            frame.checksum_start += HEADER_SIZE
        return self._interface.transmit(frame)

    def enqueue(self, next_hop: bytes, frame: OutgoingFrame, ethertype: int) -> None:
        """Send `frame` (without link header) when `next_hop` is resolved. Bounded: the oldest are dropped."""
        table = self.neighbors4 if len(next_hop) == 4 else self.neighbors6
        if table.enqueue(next_hop, frame, ethertype):
            return
        mac = self.resolve(next_hop, self._interface.clock())
        if mac is not None:
            self.send(frame, mac, ethertype)
        else:
            table.enqueue(next_hop, frame, ethertype)

    def park(self, next_hop: bytes, sender: Sender) -> None:
        """Make `sender` ready when `next_hop` is resolved, or tell it that it is unreachable."""
        table = self.neighbors4 if len(next_hop) == 4 else self.neighbors6
        if not table.park(next_hop, sender):
            self._interface.mark_ready(sender)

    def unpark(self, sender: Sender) -> None:
        """`sender` was closed and waits no longer."""
        self.neighbors4.unpark(sender)
        self.neighbors6.unpark(sender)

    def forget_neighbors(self) -> None:
        """The link was away: whoever was found may be elsewhere now."""
        self.neighbors4.forget()
        self.neighbors6.forget()

    # addresses

    def check_address(
        self, address: bytes, probes: int, now: float, done: Callable[[bytes | None], None]
    ) -> None:
        """Ask `probes` times whether somebody has `address`, of IPv4 (RFC 5227 2.1), and call `done` with the MAC of
        who does, b"" if nobody, None if the link was closed. If it becomes ours meanwhile that ends, with b"". Raises
        OSError EALREADY while that is going on."""
        if self._closed:
            done(None)
            return
        if address in self._checked:
            raise os_error(errno.EALREADY, f"{ip_text(address)} is being checked on {self._interface.name}")
        self._checked[address] = done
        self._claims.check(address, now, probes)
        self._serve(now)

    def abandon_check(self, address: bytes) -> None:
        """Nobody waits for `check_address` any more."""
        if self._checked.pop(address, None) is not None:
            self._claims.abandon(address)

    def add_address(
        self, address: bytes, now: float, *, announce: bool = True, yielding: bool = False
    ) -> None:
        """`address` (4 or 16 bytes) is ours: answer for it, and announce it to the link. yielding: rather give it up
        than fight for it with another host that has it, too."""
        self.addresses[address] = None
        if len(address) == 4:
            self._claims.use(address, now, yielding=yielding)
            checked = self._checked.pop(address, None)
            if checked is not None:
                checked(b"")
        if announce:
            self.announce(address, now)

    def announce(self, address: bytes, now: float) -> None:
        """Tell the link that `address`, one of ours, is here."""
        if len(address) == 4:
            self._claims.announce(address)
            self._serve(now)
        else:
            self.announce_ipv6(address)

    def remove_address(self, address: bytes) -> None:
        """`address` is ours no longer."""
        self.addresses.pop(address, None)
        self._claims.give_up(address)

    def join(self, group: bytes) -> None:
        """Let frames to `group`, an IP address, in."""
        mac = multicast_mac(group)
        self._groups[mac] = self._groups.get(mac, 0) + 1

    def leave(self, group: bytes) -> None:
        """Undo one `join`: frames are let in as long as another group has the same link address."""
        mac = multicast_mac(group)
        self._groups[mac] -= 1
        if not self._groups[mac]:
            del self._groups[mac]

    def close(self) -> None:
        """Forget all neighbours, and those who wait for them; stop the timer."""
        self._closed = True
        self._timer.cancel()
        self.neighbors4.clear()
        self.neighbors6.clear()
        for address, done in list(self._checked.items()):
            self.abandon_check(address)
            done(None)

    # what the tables want done

    def _timer_expired(self, now: float) -> None:
        self.neighbors4.timer_expired(now)
        self.neighbors6.timer_expired(now)
        self._claims.timer_expired(now)
        self._serve(now)

    def _serve(self, now: float) -> None:
        if self._closed:
            return
        four, six = self.neighbors4, self.neighbors6
        four.pending = six.pending = False
        for mac, packet in self._arp.packets_to_send(now):
            self.send(OutgoingFrame([packet]), mac, ETHERTYPE_ARP)
        for target, unicast_mac in six.solicitations_to_send(now):
            self.solicit_ipv6(target, unicast_mac)
        for event in four.events() + six.events():
            self._settle(event)
        for claim_event in self._claims.events():
            self._settle_claim(claim_event)
        deadline = min(four.deadline, six.deadline, self._claims.deadline)
        if deadline < math.inf:
            self._timer.arm(deadline)
        else:
            self._timer.cancel()  # not just disarmed: an idle stack has no timer at all

    def _settle_claim(self, event: ClaimEvent) -> None:
        if isinstance(event, Conflict):
            self.on_conflict(event.address, event.mac, event.lost)
            return
        done = self._checked.pop(event.address, None)
        if done is not None:
            done(b"" if isinstance(event, Free) else event.mac)

    def _settle(self, event: Event) -> None:
        if isinstance(event, Failed):
            self._give_up(event)
            return
        self.on_neighbor(event.address, True)
        for frame, ethertype in event.frames:
            self.send(frame, event.mac, ethertype)
        for sender in event.senders:
            self._interface.mark_ready(sender)

    def _give_up(self, event: Failed) -> None:
        interface, senders = self._interface, event.senders
        if not event.evicted and self.on_neighbor(event.address, False):
            for sender in senders:
                interface.mark_ready(sender)  # there is another way
            senders = []
        packets = [list(frame.parts) for frame, _ in event.frames]
        interface.unreachable(senders, packets, _unreachable(event, interface.name))


def ip_text(address: bytes) -> str:
    """`address` for an error message."""
    from ipaddress import ip_address  # only here: addresses are bytes everywhere else

    return str(ip_address(address))


def _unreachable(event: Failed, interface: str) -> OSError:
    address = ip_text(event.address)
    if event.evicted:
        return os_error(errno.EHOSTUNREACH, f"the neighbour table of {interface} has no room for {address}")
    return os_error(errno.EHOSTUNREACH, f"no answer from {address} on {interface}")
