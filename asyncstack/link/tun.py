"""A TUN: the kernel's interface whose other end is a file descriptor, at the level of IP packets."""

from __future__ import annotations

from typing import ClassVar

from asyncstack.link.attach import IFF_TUN
from asyncstack.link.tuntap import TunTapDevice


class TunDevice(TunTapDevice):
    """IP packets to and from the kernel: `TunDevice("as0", peer="10.9.0.1/24")`.

    name: the kernel's interface, at most 15 bytes; "" lets the kernel choose, and `name` says what after `open`.
    An interface that exists is attached to, which needs no privilege if its owner made it for this user.
    peer: the kernel's own addresses on it with prefix length, one or several of either family; it is brought
    up too, and what was changed on an interface that stays is undone by `close`. Without `peer` the interface
    is left as it is.
    mtu: largest IP packet, bytes; set in the kernel too where that is allowed, else the smaller of both counts.
    offload: let TCP super-segments and partial checksums cross.
    fd: an fd that is attached already (without packet information); `close` closes it.

    Raises ValueError for a name, address or MTU that can not be.
    """

    kind: ClassVar[int] = IFF_TUN
    ethernet = False
