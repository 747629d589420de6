"""ARP for IPv4 on Ethernet (RFC 826): 28 bytes.

parse(data: memoryview) -> Arp(operation, sender_mac, sender_ip, target_mac, target_ip)
build(arp: Arp) -> bytes
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from asyncstack.errors import WireError

REQUEST: Final = 1
REPLY: Final = 2
SIZE: Final = 28

_PACKET = struct.Struct("!HHBBH6s4s6s4s")
_unpack_from = _PACKET.unpack_from
_pack = _PACKET.pack

_ETHERNET: Final = 1
_IPV4: Final = 0x0800


@dataclass(slots=True)
class Arp:
    """An ARP packet. MACs are 6 bytes, addresses 4; a request's `target_mac` means nothing."""

    operation: int
    sender_mac: bytes
    sender_ip: bytes
    target_mac: bytes
    target_ip: bytes


def parse(data: memoryview) -> Arp:
    """The packet in `data`; padding behind it is ignored. Any operation passes.

    Raises WireError when it is too short or not about IPv4 on Ethernet.
    """
    if len(data) < SIZE:
        raise WireError(f"ARP: {len(data)} bytes, a packet has 28")
    hardware, protocol, hardware_size, protocol_size, operation, *addresses = _unpack_from(data)
    if (hardware, protocol, hardware_size, protocol_size) != (_ETHERNET, _IPV4, 6, 4):
        raise WireError(f"ARP: hardware {hardware} and protocol {protocol:#06x} are not Ethernet and IPv4")
    sender_mac, sender_ip, target_mac, target_ip = addresses
    return Arp(operation, sender_mac, sender_ip, target_mac, target_ip)


def build(arp: Arp) -> bytes:
    """The packet, 28 bytes; the frame's padding is the device's matter."""
    return _pack(
        _ETHERNET, _IPV4, 6, 4, arp.operation, arp.sender_mac, arp.sender_ip, arp.target_mac, arp.target_ip
    )
