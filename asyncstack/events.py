"""What a stack tells: `subscribe` of its interfaces and addresses, `events` of what its connections do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asyncstack.link.interface import Interface
from asyncstack.network.addresses import InterfaceAddress


@dataclass(slots=True)
class InterfaceUp:
    """`interface` sends and receives."""

    interface: Interface


@dataclass(slots=True)
class InterfaceDown:
    """`interface` is gone: removed, or its device died of `error`."""

    interface: Interface
    error: OSError | None


@dataclass(slots=True)
class LinkDown:
    """Nothing passes over `interface` for now: its cable was pulled, or the kernel's side of a TUN was set down.

    Addresses, routes and connections stay. A connection ends if it waits for longer than `TcpConfig.user_timeout`, an
    address when its lifetime is over.
    """

    interface: Interface


@dataclass(slots=True)
class LinkUp:
    """`interface` sends and receives again. What DHCP and routers gave is asked for anew, and removed if it no longer
    holds (`AddressRemoved`)."""

    interface: Interface


@dataclass(slots=True)
class SourceFailed:
    """`word` ("dhcp4", or the addresses that were given) could not give `interface` an address, because of `error`.
    Told where nobody waits for it: `add_interface(wait=False)`."""

    interface: Interface
    word: str
    error: OSError


@dataclass(slots=True)
class AddressAdded:
    """`address` is ours: packets to it are taken, and it may be bound."""

    address: InterfaceAddress


@dataclass(slots=True)
class AddressRemoved:
    """`address` is ours no longer; because of `error`, if there is one. Its connections have ended."""

    address: InterfaceAddress
    error: OSError | None


@dataclass(slots=True)
class AddressConflict:
    """Another host on the link of `interface`, at `mac`, uses `address`, which is ours. It was told so (RFC 5227 2.4).

    lost: it insists, and the address is given up, as it was only leased or chosen; one that was configured is kept.
    """

    interface: Interface
    address: bytes
    mac: bytes
    lost: bool


Event = (
    InterfaceUp
    | InterfaceDown
    | LinkUp
    | LinkDown
    | AddressAdded
    | AddressRemoved
    | AddressConflict
    | SourceFailed
)


@dataclass(slots=True)
class ConnectionEvent:
    """Something happened to a TCP connection at `time`, seconds of the loop's clock.

    `local` and `remote` are addresses as `getsockname()` has them. `cwnd` and `ssthresh` are bytes after the event
    (an `ssthresh` of 2**62: no loss yet), `srtt` is seconds, 0.0 before the first sample.
    """

    time: float
    local: tuple[Any, ...]
    remote: tuple[Any, ...]
    cwnd: int
    ssthresh: int
    srtt: float


@dataclass(slots=True)
class ConnectionOpened(ConnectionEvent):
    """A SYN was sent, or (`passive`) received by a listener."""

    passive: bool


@dataclass(slots=True)
class ConnectionEstablished(ConnectionEvent):
    """The handshake is complete."""


@dataclass(slots=True)
class SegmentRetransmitted(ConnectionEvent):
    """`size` bytes from the sequence number `seq` (as on the wire) left once more."""

    seq: int
    size: int


@dataclass(slots=True)
class RecoveryStarted(ConnectionEvent):
    """Loss was found by acknowledgements (RFC 6675, RFC 8985), with `flight` bytes outstanding from `seq` on."""

    seq: int
    flight: int


@dataclass(slots=True)
class RetransmissionTimeout(ConnectionEvent):
    """The retransmission timer expired (RFC 6298), with `flight` bytes outstanding from `seq` on."""

    seq: int
    flight: int


@dataclass(slots=True)
class CongestionWindowChanged(ConnectionEvent):
    """`cwnd`, which was `before`, or `ssthresh` is another one."""

    before: int


@dataclass(slots=True)
class ConnectionClosed(ConnectionEvent):
    """The connection is over. `errno` is 0 and `reason` empty if it ended in order or by our own wish; `sent` and
    `received` are the bytes of the streams."""

    errno: int
    reason: str
    sent: int
    received: int
