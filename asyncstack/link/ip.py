"""The link layer of a TUN: frames start at the IP header, and there are no neighbours to resolve."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from asyncstack.link.frame import Frame, OutgoingFrame
from asyncstack.wire.ethernet import ETHERTYPE_IPV4, ETHERTYPE_IPV6

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface, Sender


ETHERTYPES: Final = tuple({4: ETHERTYPE_IPV4, 6: ETHERTYPE_IPV6}.get(version, 0) for version in range(16))


async def _drop() -> None:
    """What becomes of a frame that nobody wants."""


class IpLink:
    """Bare IP. Has the methods of `EthernetLink`, most of them with nothing to do."""

    def __init__(self, interface: Interface) -> None:
        self._interface = interface
        self.addresses: dict[bytes, None] = {}
        self.is_broadcast: Callable[[bytes], bool] = lambda address: False  # nobody asks
        self.on_conflict: Callable[[bytes, bytes, bool], None] = lambda address, mac, lost: None

    def receive(self, frame: Frame) -> Awaitable[None]:
        """Pass `frame` to the handler of its IP version: to be awaited. Not a coroutine itself, which would cost as
        much again as finding the handler."""
        data, interface = frame.data, self._interface
        handler = interface.handlers.get(ETHERTYPES[data[0] >> 4] if data else 0)
        if handler is None:
            interface.counters["ip_link.unknown_version"] += 1
            return _drop()
        return handler(data, frame, interface)

    def resolve(self, next_hop: bytes, now: float) -> bytes | None:
        """b"": frames carry no link address."""
        return b""

    def send(self, frame: OutgoingFrame, mac: bytes, ethertype: int) -> bool:
        """Pass `frame` to the interface. False: dropped."""
        return self._interface.transmit(frame)

    def enqueue(self, next_hop: bytes, frame: OutgoingFrame, ethertype: int) -> None:
        """Never needed, since `resolve` always answers; sends at once."""
        self._interface.transmit(frame)

    def park(self, next_hop: bytes, sender: Sender) -> None:
        """Never needed, since `resolve` always answers; makes `sender` ready."""
        self._interface.mark_ready(sender)

    def unpark(self, sender: Sender) -> None:
        """Nobody waits here."""

    def confirm(self, next_hop: bytes, now: float) -> None:
        """There is no neighbour whose reachability could be confirmed."""

    def forget_neighbors(self) -> None:
        """There are none."""

    def check_address(
        self, address: bytes, probes: int, now: float, done: Callable[[bytes | None], None]
    ) -> None:
        """There is nobody who could have it."""
        done(b"")

    def abandon_check(self, address: bytes) -> None:
        """There was none."""

    def add_address(
        self, address: bytes, now: float, *, announce: bool = True, yielding: bool = False
    ) -> None:
        """Take `address` (4 or 16 bytes) as ours. Nobody on this link asks for it."""
        self.addresses[address] = None

    def announce(self, address: bytes, now: float) -> None:
        """Nobody on this link asks who has it."""

    def remove_address(self, address: bytes) -> None:
        """`address` is ours no longer."""
        self.addresses.pop(address, None)

    def join(self, group: bytes) -> None:
        """Every packet is let in."""

    def leave(self, group: bytes) -> None:
        """Every packet is let in."""

    def close(self) -> None:
        """Nothing to give back."""
